"""From a remote to its configuration, and what drives the conversation."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from importlib import import_module
from typing import Any, Final

from airflow_elt_provider.errors import ConfigurationError
from airflow_elt_provider.remotes.config_as_code.server import ConfigServer
from airflow_elt_provider.remotes.flow import Flow, arun
from airflow_elt_provider.remotes.model import Remote
from airflow_elt_provider.remotes.settings import RemoteSettings
from airflow_elt_provider.remotes.transports import HttpxTransport, tls_context

_SERVERS: Final = {
    "airbyte": ("airbyte", "AirbyteConfiguration"),
    "fivetran": ("fivetran", "FivetranConfiguration"),
    "digdag": ("digdag", "DigdagConfiguration"),
}


def config_server(remote: Remote) -> ConfigServer:
    """Return the configuration of a remote.

    :raises ConfigurationError: for a remote that has none that can be read.
    """
    if remote.name not in _SERVERS:
        raise ConfigurationError(f"The configuration of {remote.name!r} cannot be read.", hint="use its own tools")
    module, name = _SERVERS[remote.name]
    made: ConfigServer = getattr(import_module(f"{__package__}.{module}"), name)(remote)
    return made


def driver(settings: RemoteSettings) -> Callable[[Flow[Any]], Any]:
    """Return what drives flows of this server from a thread without an event loop, many requests at once."""
    tls = tls_context(settings)

    async def driven(flow: Flow[Any]) -> Any:
        transport = HttpxTransport(settings, tls)
        try:
            return await arun(flow, transport)
        finally:
            await transport.aclose()

    return lambda flow: asyncio.run(driven(flow))
