"""The two drivers' ways to send a request: ``requests`` in a worker, ``httpx.AsyncClient`` in a triggerer.

Both obey the same settings: timeouts, proxies, authorities, client certificate. Neither follows a redirect, keeps a
cookie, or reads ``.netrc``: credentials go to the connection's host and nowhere else.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import ssl
import tempfile
from functools import cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

import certifi
import httpx
import requests
from urllib3.exceptions import HTTPError

from airflow_elt_provider.core.secret import Secret
from airflow_elt_provider.errors import ConfigurationError
from airflow_elt_provider.remotes.bodies import CODING, Body, too_slow
from airflow_elt_provider.remotes.failures import CONNECT_SECONDS, translated
from airflow_elt_provider.remotes.flow import Answer, Request
from airflow_elt_provider.remotes.proxies import proxy_of
from airflow_elt_provider.remotes.settings import RemoteSettings

MOST_AT_ONCE: Final = 64
"""Requests that one event loop has under way at one server: more only lengthen its queue."""
_PIECE: Final = 1 << 16
_LOCATION: Final = "elt_location"
_BUNDLES: Final = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")


class _Direct(requests.Session):
    """Follows no redirect, nor looks where it leads: requests would read all of its body, and fail at a broken URL."""

    def get_redirect_target(self, resp: requests.Response) -> None:  # noqa: ARG002
        return None


class RequestsTransport:
    """Sends requests from a worker; keeps connections open between them."""

    def __init__(self, settings: RemoteSettings) -> None:
        self._settings = settings
        if settings.client_cert or settings.ca_bundle:
            tls_context(settings)  # says what is wrong with the files
        self._session = _Direct()
        self._session.trust_env = False  # it would put .netrc in the place of our Authorization
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self._session.verify = ca_file(settings)
        self._session.cert = client_files(settings)
        proxy = proxy_of(settings, "socks")
        self._session.proxies = dict.fromkeys(("http", "https"), proxy) if proxy else {}

    def send(self, request: Request) -> Answer:
        url, seconds = self._settings.base_url + request.path, request.timeout or self._settings.timeout
        try:
            with self._session.request(
                request.method,
                url,
                params=list(request.query),
                data=request.payload(),
                headers=headers_of(request),
                timeout=(CONNECT_SECONDS, seconds),
                allow_redirects=False,
                stream=True,
            ) as answer:
                coding = answer.headers.get("content-encoding", "")
                body = Body(f"{request} at {self._settings.base_url}", coding, _whole(seconds))
                # Of what is there already: read() would wait for a full piece. urllib3 1 has no other.
                read = getattr(answer.raw, "read1", answer.raw.read)
                while data := read(_PIECE, decode_content=False):
                    body.add(data)
        except (requests.RequestException, HTTPError, ValueError) as error:
            raise translated(error, request, self._settings) from None
        names = {name.lower(): value for name, value in answer.headers.items()}
        return Answer(answer.status_code, names, body.whole(), url)

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
        self._under_way = 0
        self._client: httpx.AsyncClient | None = None

    def _opened(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            verify=self._tls,
            proxy=proxy_of(self._settings, "socksio"),
            trust_env=False,  # it reads NO_PROXY in another way than requests
            follow_redirects=False,
            event_hooks={"response": [_keep_location]},
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            limits=httpx.Limits(max_connections=MOST_AT_ONCE, max_keepalive_connections=8),
        )

    async def send(self, request: Request) -> Answer:
        url = self._settings.base_url + request.path
        address = f"{url}?{urlencode(request.query)}" if request.query else url
        seconds, what = request.timeout or self._settings.timeout, f"{request} at {self._settings.base_url}"
        timeout = httpx.Timeout(seconds, connect=CONNECT_SECONDS, pool=None)
        headers = headers_of(request)
        async with self._places:
            self._under_way += 1
            try:
                client = self._client = self._client or self._opened()
                async with (
                    asyncio.timeout(_whole(seconds)),
                    client.stream(
                        request.method, address, content=request.payload(), headers=headers, timeout=timeout
                    ) as answer,
                ):
                    body = Body(what, answer.headers.get("content-encoding", ""), _whole(seconds))
                    async for data in answer.aiter_raw():
                        body.add(data)
            except TimeoutError:
                raise too_slow(what, _whole(seconds)) from None
            except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError, ImportError, ValueError) as error:
                raise translated(error, request, self._settings) from None
            finally:
                self._under_way -= 1
        names = {name.lower(): value for name, value in answer.headers.items()}
        return Answer(answer.status_code, names | answer.extensions[_LOCATION], body.whole(), url)

    async def aclose(self) -> None:
        """Close what is open, unless requests are under way: then the next call does; a request opens it again."""
        if self._under_way:
            return
        client, self._client = self._client, None
        if client:
            await client.aclose()


async def _keep_location(answer: httpx.Response) -> None:
    """Put aside where a redirect leads: httpx looks there even if it does not follow, and fails at a broken URL."""
    location = answer.headers.pop("location", None)
    answer.extensions[_LOCATION] = {} if location is None else {"location": location}


def _whole(seconds: float) -> float:
    """Return the seconds for a whole answer, of which each piece may take so many."""
    return CONNECT_SECONDS + 2 * seconds


def headers_of(request: Request) -> dict[str, str]:
    """Return the headers to send."""
    own = {"Accept": request.accept, "Accept-Encoding": CODING, "User-Agent": "airflow-elt-provider"}
    if request.body is not None:
        own["Content-Type"] = request.content_type
    return {**own, **request.headers}


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
