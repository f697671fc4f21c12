"""The two drivers' ways to send a request: ``requests`` in a worker, ``httpx.AsyncClient`` in a triggerer.

Both obey the same settings: timeouts, proxies, authorities, client certificate. Neither follows a redirect, keeps a
cookie, or reads ``.netrc``: credentials go to the connection's host and nowhere else.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
import ssl
import tempfile
from functools import cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import certifi
import httpx
import requests
import requests.adapters
from requests.utils import get_environ_proxies, select_proxy
from urllib3.exceptions import NewConnectionError

from airflow_elt_provider.core.secret import Secret
from airflow_elt_provider.errors import AnswerLostError, ConfigurationError, EltError, UnreachableError
from airflow_elt_provider.remotes.flow import Answer, Request
from airflow_elt_provider.remotes.settings import RemoteSettings

CONNECT_SECONDS: Final = 10.0
MOST_AT_ONCE: Final = 64
"""Requests that one event loop has under way at one server: more only lengthen its queue."""
_PROXY_AUTH: Final = 407
_PROXY_LOGIN: Final = "put it into proxy: http://user:password@host:port"
_NO_TLS: Final = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "RECORD LAYER FAILURE", "HTTP_REQUEST")
_UNUSABLE: Final = (
    requests.exceptions.InvalidURL,
    requests.exceptions.InvalidHeader,
    requests.exceptions.InvalidSchema,
    httpx.InvalidURL,
    httpx.UnsupportedProtocol,
    UnicodeError,
)
_BUNDLES: Final = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")


class RequestsTransport:
    """Sends requests from a worker; keeps connections open between them."""

    def __init__(self, settings: RemoteSettings) -> None:
        self._settings = settings
        if settings.client_cert or settings.ca_bundle:
            tls_context(settings)  # says what is wrong with the files
        self._session = requests.Session()
        self._session.trust_env = False  # it would put .netrc in the place of our Authorization
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self._session.verify = ca_file(settings)
        self._session.cert = client_files(settings)
        proxy = proxy_of(settings)
        self._session.proxies = dict.fromkeys(("http", "https"), proxy) if proxy else {}

    def send(self, request: Request) -> Answer:
        url = self._settings.base_url + request.path
        try:
            answer = self._session.request(
                request.method,
                url,
                params=list(request.query),
                data=request.payload(),
                headers=headers_of(request),
                timeout=(CONNECT_SECONDS, request.timeout or self._settings.timeout),
                allow_redirects=False,
            )
        except (requests.RequestException, UnicodeError) as error:
            raise _translated(error, request, self._settings) from None
        names = {name.lower(): value for name, value in answer.headers.items()}
        return Answer(answer.status_code, names, answer.content, url)

    def close(self) -> None:
        """Close what is open."""
        self._session.close()


class HttpxTransport:
    """Sends requests from one event loop.

    :param tls: what :func:`tls_context` returns; reading certificates takes 70 ms of CPU, so do it in a thread.
    """

    def __init__(self, settings: RemoteSettings, tls: ssl.SSLContext | None = None) -> None:
        self._settings = settings
        self._tls = tls or tls_context(settings)
        self._places = asyncio.Semaphore(MOST_AT_ONCE)
        self._client: httpx.AsyncClient | None = None

    def _opened(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            verify=self._tls,
            proxy=proxy_of(self._settings),
            trust_env=False,  # it reads NO_PROXY in another way than requests
            follow_redirects=False,
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            limits=httpx.Limits(max_connections=MOST_AT_ONCE, max_keepalive_connections=8),
        )

    async def send(self, request: Request) -> Answer:
        url = self._settings.base_url + request.path
        address = f"{url}?{urlencode(request.query)}" if request.query else url
        timeout = httpx.Timeout(request.timeout or self._settings.timeout, connect=CONNECT_SECONDS, pool=None)
        async with self._places:
            client = self._client = self._client or self._opened()
            try:
                answer = await client.request(
                    request.method, address, content=request.payload(), headers=headers_of(request), timeout=timeout
                )
            except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError, UnicodeError) as error:
                raise _translated(error, request, self._settings) from None
        names = {name.lower(): value for name, value in answer.headers.items()}
        return Answer(answer.status_code, names, answer.content, url)

    async def aclose(self) -> None:
        """Close what is open; the next request opens it again."""
        client, self._client = self._client, None
        if client:
            await client.aclose()


def headers_of(request: Request) -> dict[str, str]:
    """Return the headers to send."""
    own = {"Accept": request.accept, "User-Agent": "airflow-elt-provider"}
    if request.body is not None:
        own["Content-Type"] = request.content_type
    return {**own, **request.headers}


def proxy_of(settings: RemoteSettings) -> str | None:
    """Return the URL of the HTTP proxy: the connection's, or the environment's unless NO_PROXY exempts the host."""
    if settings.proxy:
        return settings.proxy.reveal()
    found = select_proxy(settings.base_url, dict(get_environ_proxies(settings.base_url)))
    return found if not found or "://" in found else f"http://{found}"


def ca_file(settings: RemoteSettings) -> str:
    """Return the file of the authorities to trust.

    :raises ConfigurationError: when there is no such file.
    """
    named = settings.ca_bundle or next((os.environ[name] for name in _BUNDLES if os.environ.get(name)), "")
    if named and not Path(named).exists():
        raise ConfigurationError(
            f"The CA bundle {named!r} of connection {settings.name!r} is not on this machine.",
            hint="give a file that is on every worker, triggerer and API server (ca_bundle, or REQUESTS_CA_BUNDLE)",
        )
    return named or certifi.where()


def client_files(settings: RemoteSettings) -> tuple[str, str] | str | None:
    """Return the client certificate as requests and OpenSSL want it: files. None for none."""
    if not settings.client_cert:
        return None
    certificate = _as_file(Secret(settings.client_cert))
    return (certificate, _as_file(settings.client_key)) if settings.client_key else certificate


def tls_context(settings: RemoteSettings) -> ssl.SSLContext:
    """Return what TLS connections are made with: verified, TLS 1.2 at least.

    :raises ConfigurationError: for a bundle or a client certificate that cannot be read.
    """
    bundle = ca_file(settings)
    try:
        folder = Path(bundle).is_dir()
        context = ssl.create_default_context(cafile=None if folder else bundle, capath=bundle if folder else None)
        files = client_files(settings)
        if files:
            context.load_cert_chain(*([files] if isinstance(files, str) else files))
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(
            f"Connection {settings.name!r}: the CA bundle or the client certificate cannot be read ({error.args[-1]}).",
            hint="both are PEM; the private key belongs to the certificate and has no passphrase",
        ) from None
    return context


def _as_file(value: Secret) -> str:
    text = value.reveal()
    return _kept(value) if text.lstrip().startswith("-----BEGIN") else text


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="elt-tls-")  # only this user may enter; removed at exit


def _kept(value: Secret) -> str:
    text = value.reveal().strip().replace("\\n", "\n") + "\n"
    if not Path(_folder().name).is_dir():  # swept away, as /tmp is now and then
        _folder().cleanup()
        _folder.cache_clear()
    path = Path(_folder().name) / hashlib.sha256(text.encode()).hexdigest()
    if not path.exists():
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
            file.write(text)
        Path(file.name).replace(path)  # at once: another thread may be about to read it
    return str(path)


def _translated(error: Exception, request: Request, settings: RemoteSettings) -> EltError:
    """Return our error for one of the clients'. Their texts may hold a proxy's password: none is passed on."""
    what, causes = f"{request} at {settings.base_url}{_way(settings)}", _causes(error)
    early = _never_possible(error, what, causes) or _not_sent(error, what, causes)
    if early:
        return early
    if isinstance(error, requests.Timeout | httpx.TimeoutException):
        return AnswerLostError(f"{what}: no answer within {request.timeout or settings.timeout:g} s.")
    return AnswerLostError(f"{what}: the connection broke ({type(error).__name__}).")


def _way(settings: RemoteSettings) -> str:
    proxy = urlsplit(proxy_of(settings) or "")
    return f" through the HTTP proxy {proxy.hostname}:{proxy.port or 80}" if proxy.hostname else ""


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
