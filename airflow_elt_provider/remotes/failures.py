"""What the clients' errors mean: whether the request arrived, and whether another attempt may go better."""

from __future__ import annotations

import socket
import ssl
from typing import Any, Final

import httpx
import requests
from urllib3.exceptions import NewConnectionError
from urllib3.exceptions import TimeoutError as SlowError

from airflow_elt_provider.errors import AnswerLostError, ConfigurationError, EltError, UnreachableError
from airflow_elt_provider.remotes.flow import Request
from airflow_elt_provider.remotes.proxies import way
from airflow_elt_provider.remotes.settings import RemoteSettings

CONNECT_SECONDS: Final = 10.0
_PROXY_AUTH: Final = 407
_PROXY_LOGIN: Final = "put it into proxy: http://user:password@host:port"
_NO_TLS: Final = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "RECORD LAYER FAILURE", "HTTP_REQUEST")
_UNUSABLE: Final = (ImportError, ValueError, httpx.InvalidURL, httpx.UnsupportedProtocol)
"""ValueErrors are all of requests' and urllib3's errors about URLs, schemes, headers and proxies."""


def translated(error: Exception, request: Request, settings: RemoteSettings) -> EltError:
    """Return our error for one of the clients'. Their texts may hold a proxy's password: none is passed on."""
    what, causes = f"{request} at {settings.base_url}{way(settings)}", _causes(error)
    early = _never_possible(error, what, causes) or _not_sent(error, what, causes)
    if early:
        return early
    if isinstance(error, requests.Timeout | httpx.TimeoutException | SlowError):
        return AnswerLostError(f"{what}: no answer within {request.timeout or settings.timeout:g} s.")
    return AnswerLostError(f"{what}: the connection broke ({type(error).__name__}).")


def _never_possible(error: Exception, what: str, causes: list[BaseException]) -> ConfigurationError | None:
    """Return the error for what goes no better the next time."""
    refused = next((cause for cause in causes if isinstance(cause, ssl.SSLError)), None)
    if refused is not None:
        text = str(refused).upper()
        if "CERTIFICATE" in text or "ALERT" in text:
            return _certificate(refused, what)
        if any(sign in text for sign in _NO_TLS):
            return ConfigurationError(f"{what}: there is no TLS.", hint="is the schema http, or the port another one?")
    if isinstance(error, requests.exceptions.ProxyError | httpx.ProxyError) and f" {_PROXY_AUTH} " in f" {error} ":
        return ConfigurationError(f"{what}: the HTTP proxy wants a login (407).", hint=_PROXY_LOGIN)
    if isinstance(error, _UNUSABLE):
        hint = "correct host, proxy and headers of the connection"
        return ConfigurationError(f"{what}: that cannot be sent ({type(error).__name__}).", hint=hint)
    return None


def _not_sent(error: Exception, what: str, causes: list[BaseException]) -> UnreachableError | None:
    """Return the error for a request that certainly did not arrive."""
    if any(isinstance(cause, socket.gaierror) or "name resolution" in str(cause) for cause in causes):
        hint = "correct the host of the connection, or this machine's DNS"
        return UnreachableError(f"{what}: no such host.", hint=hint)
    if isinstance(error, requests.ConnectTimeout | httpx.ConnectTimeout | httpx.PoolTimeout):
        hint = "is there a route, and is the port open?"
        return UnreachableError(f"{what}: no connection within {CONNECT_SECONDS:.0f} s.", hint=hint)
    if isinstance(error, requests.exceptions.ProxyError | httpx.ProxyError):
        return UnreachableError(f"{what}: the HTTP proxy refused.", hint="check proxy, or HTTPS_PROXY and NO_PROXY")
    if any(isinstance(cause, ConnectionRefusedError) for cause in causes):
        return UnreachableError(f"{what}: connection refused.", hint="does the server run, and is the port right?")
    if isinstance(error, httpx.ConnectError) or any(isinstance(cause, NewConnectionError) for cause in causes):
        reason = next((cause.strerror for cause in causes if isinstance(cause, OSError) and cause.strerror), "")
        return UnreachableError(f"{what}: no connection ({reason or type(error).__name__}).", hint="is there a route?")
    return None


def _certificate(error: ssl.SSLError, what: str) -> ConfigurationError:
    reason = getattr(error, "verify_message", "") or error.reason or "TLS"
    if "ALERT" in str(error).upper():
        return ConfigurationError(
            f"{what}: the server refused our side of TLS ({reason}).",
            hint="it may ask for a client certificate: client_cert and client_private_key",
        )
    return ConfigurationError(
        f"{what}: the server's certificate was refused ({reason}).",
        hint="for a private authority give its file as ca_bundle; for a wrong name correct the host",
    )


def _causes(error: BaseException) -> list[BaseException]:
    """Return the error and all that led to it, the ones that clients keep in their arguments included."""
    found: list[BaseException] = []
    waiting: list[Any] = [error]
    while waiting:
        one = waiting.pop()
        if isinstance(one, BaseException) and one not in found:
            found.append(one)
            waiting += [one.__cause__, one.__context__, getattr(one, "reason", None), *one.args]
    return found
