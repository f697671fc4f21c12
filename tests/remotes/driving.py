"""Both ways to drive a flow, and the settings that a connection means."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Callable
from typing import Any

from airflow_elt_provider.core.connection import ConnectionParts
from airflow_elt_provider.core.secret import Secret
from airflow_elt_provider.remotes.flow import Answer, Flow, Request, arun, run
from airflow_elt_provider.remotes.settings import RemoteSettings, parse_settings
from airflow_elt_provider.remotes.transports import HttpxTransport, RequestsTransport

Driver = Callable[[Flow[Any], RemoteSettings], Any]
_NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
_UNUSED_TLS = ssl.create_default_context()  # reading certificates takes time
_PARTS = ("port", "login", "schema")


def driven_by_requests(flow: Flow[Any], settings: RemoteSettings) -> Any:
    """Drive a flow as a worker does; close what that opened."""
    transport = RequestsTransport(settings)
    try:
        return run(flow, transport)
    finally:
        transport.close()


def driven_by_httpx(flow: Flow[Any], settings: RemoteSettings) -> Any:
    """Drive a flow as a triggerer does; close what that opened."""

    async def driven() -> Any:
        transport = HttpxTransport(settings, _NO_TLS if _is_plain(settings) else None)
        try:
            return await arun(flow, transport)
        finally:
            await transport.aclose()

    return asyncio.run(driven())


def _is_plain(settings: RemoteSettings) -> bool:
    """Whether no certificate is looked at: reading the authorities takes longer than most tests."""
    named = any(os.environ.get(name) for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"))
    return settings.base_url.startswith("http:") and not settings.proxy and not named


def settings_of(url: str, *, conn_id: str = "remote", conn_type: str = "elt_airbyte", **fields: Any) -> RemoteSettings:
    """Return the settings of a connection to `url`: login, password, port and schema are its own, the rest is extra."""
    parts = {name: fields.pop(name) for name in _PARTS if name in fields}
    password = fields.pop("password", None)
    secret = Secret(password) if password else None
    return parse_settings(ConnectionParts(conn_id, conn_type, host=url, password=secret, extra=fields, **parts))


def asked(request: Request) -> Flow[Answer]:
    """Ask without a session: the bare transport."""
    answer: Answer = yield request
    return answer
