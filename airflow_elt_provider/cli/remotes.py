"""Connections of remotes, opened without Airflow."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from airflow_elt_provider.core.connection import ConnectionParts
from airflow_elt_provider.errors import ConfigurationError
from airflow_elt_provider.registry import find_remote

if TYPE_CHECKING:
    from airflow_elt_provider.remotes.model import Remote
    from airflow_elt_provider.remotes.settings import RemoteSettings


def ask(parts: ConnectionParts) -> str:
    """Ask a remote whether it takes us as we are, and return what it says; changes nothing.

    :raises ConfigurationError: tells apart a host that is not there, a certificate, a login page, a wrong audience, a
        missing role, a clock, a wrong dialect and wrong credentials.
    """
    from airflow_elt_provider.remotes.flow import readable, run
    from airflow_elt_provider.remotes.transports import RequestsTransport

    settings, remote = opened(parts)
    transport = RequestsTransport(settings)
    try:
        return run(readable(remote.check(), "The server"), transport)
    finally:
        transport.close()


def opened(parts: ConnectionParts) -> tuple[RemoteSettings, Remote]:
    """Return the remote behind a connection, and how it is reached; it is asked when it is used.

    :raises ConfigurationError: for a connection that leads to none, or cannot be meant.
    """
    name = find_remote(parts.conn_type, parts.conn_id).name
    if name not in _OPENERS:
        raise ConfigurationError(
            f"The command line cannot ask a {name!r}.", hint="use the Test button of Airflow's form"
        )
    return _OPENERS[name](parts)


def _airbyte(parts: ConnectionParts) -> tuple[RemoteSettings, Remote]:
    from airflow_elt_provider.remotes.airbyte import Airbyte, application_token, without_api_path
    from airflow_elt_provider.remotes.opening import open_session
    from airflow_elt_provider.remotes.settings import parse_settings

    settings = without_api_path(parse_settings(parts))
    return settings, Airbyte(open_session(settings, token=application_token))


def _fivetran(parts: ConnectionParts) -> tuple[RemoteSettings, Remote]:
    from airflow_elt_provider.remotes.fivetran import Fivetran, account_budget
    from airflow_elt_provider.remotes.opening import open_session
    from airflow_elt_provider.remotes.settings import parse_settings

    settings = parse_settings(parts, default_host="https://api.fivetran.com", default_auth="basic")
    return settings, Fivetran(open_session(settings, budget=account_budget()))


def _digdag(parts: ConnectionParts) -> tuple[RemoteSettings, Remote]:
    from airflow_elt_provider.remotes.digdag import Digdag
    from airflow_elt_provider.remotes.opening import open_session
    from airflow_elt_provider.remotes.settings import parse_settings

    settings = parse_settings(parts)
    return settings, Digdag(open_session(settings))


_OPENERS: Final[dict[str, Callable[[ConnectionParts], tuple[RemoteSettings, Remote]]]] = {
    "airbyte": _airbyte,
    "fivetran": _fivetran,
    "digdag": _digdag,
}
