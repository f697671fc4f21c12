"""The HTTP proxy between us and the remote: the connection's, or the environment's."""

from __future__ import annotations

from importlib.util import find_spec

from requests.utils import get_environ_proxies, select_proxy

from airflow_elt_provider.errors import ConfigurationError
from airflow_elt_provider.remotes.settings import PROXY_SCHEMES, RemoteSettings, split_url


def proxy_of(settings: RemoteSettings, socks: str) -> str | None:
    """Return the URL of the proxy; None for none.

    :param socks: the package by which the client speaks SOCKS.
    :raises ConfigurationError: for a proxy that it cannot use; does not show it, it may hold a password.
    """
    found = _found(settings)
    if not found:
        return None
    parts = split_url(found)
    which = f"of connection {settings.name!r}" if settings.proxy else "of the environment (HTTPS_PROXY and the like)"
    if parts is None or parts.scheme not in PROXY_SCHEMES or not parts.hostname:
        hint = "write http://[user:password@]host:port"
        raise ConfigurationError(f"The proxy {which} is no URL that can be used.", hint=hint)
    if parts.scheme.startswith("socks") and find_spec(socks) is None:
        hint = f"install {socks} on every worker and triggerer, or use an HTTP proxy"
        raise ConfigurationError(f"The proxy {which} speaks {parts.scheme}, and {socks} is not here.", hint=hint)
    return found


def way(settings: RemoteSettings) -> str:
    """Return how a message calls the way to the remote; "" for the direct one."""
    proxy = split_url(_found(settings) or "")
    return f" through the HTTP proxy {proxy.hostname}:{proxy.port or 80}" if proxy and proxy.hostname else ""


def _found(settings: RemoteSettings) -> str | None:
    """Return the connection's proxy, or the environment's unless NO_PROXY exempts the host."""
    if settings.proxy:
        return settings.proxy.reveal()
    found = select_proxy(settings.base_url, dict(get_environ_proxies(settings.base_url)))
    return found if not found or "://" in found else f"http://{found}"
