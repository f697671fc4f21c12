"""An HTTPS proxy that ends TLS for Google's hosts, so that unpatched clients reach the fakes.

>>> with ConnectProxy(dict.fromkeys(GOOGLE_HOSTS, google.port), directory) as proxy:
...     subprocess.run(command, env=os.environ | proxy.environment())

google-auth has settings for the metadata server and for token_uri, but none for the IAM host: this is the way there.
Every other host is refused, so that no test reaches the Internet.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Mapping
from pathlib import Path

from servers.certificates import Authority
from servers.event_loop import BUFFER, LoopbackServer
from servers.processes import LOOPBACK

GOOGLE_HOSTS = ("iamcredentials.googleapis.com", "oauth2.googleapis.com", "sts.googleapis.com")
CHUNK = 1 << 16
REFUSED = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
CONNECTED = b"HTTP/1.1 200 Connection established\r\n\r\n"


class ConnectProxy(LoopbackServer):
    """Serves CONNECT for `hosts` (name -> loopback port of a plain HTTP server); `seen` has all hosts asked for."""

    def __init__(self, hosts: Mapping[str, int], directory: Path) -> None:
        """Describe a proxy; the certificates of its throw-away authority go to `directory`."""
        super().__init__()
        self.hosts = dict(hosts)
        self.seen: list[str] = []
        authority = Authority.create(directory, "Fake Google CA")
        self.ca_file = authority.certificate
        self._contexts = {host: _context(authority, host) for host in hosts}

    @property
    def url(self) -> str:
        """Its address, for HTTPS_PROXY."""
        return f"http://{LOOPBACK}:{self.port}"

    def environment(self) -> dict[str, str]:
        """Return the variables that send requests, httpx and curl through it; loopback stays direct."""
        proxies = dict.fromkeys(("HTTPS_PROXY", "https_proxy"), self.url)
        authorities = {name: str(self.ca_file) for name in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "CURL_CA_BUNDLE")}
        return proxies | authorities | dict.fromkeys(("NO_PROXY", "no_proxy"), f"{LOOPBACK},localhost")

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        method, target, _ = head.decode("latin-1").split(" ", 2)
        host = target.removeprefix("http://").partition("/")[0].partition(":")[0]
        self.seen.append(host)
        if method != "CONNECT" or host not in self.hosts:
            writer.write(REFUSED)
            await writer.drain()
            return
        writer.write(CONNECTED)
        await writer.drain()
        await writer.start_tls(self._contexts[host])
        back, forth = await asyncio.open_connection(LOOPBACK, self.hosts[host], limit=BUFFER)
        try:
            await _pump_both((reader, forth), (back, writer))
        except asyncio.CancelledError:
            writer.transport.abort()  # at the end nobody waits for a farewell over TLS
            raise
        finally:
            forth.close()


def _context(authority: Authority, host: str) -> ssl.SSLContext:
    issued = authority.issue(host, [host])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(issued.certificate, issued.key)
    return context


async def _pump_both(*ways: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
    pumps = [asyncio.ensure_future(_pump(*way)) for way in ways]
    try:  # TLS knows no half-closed connection: the first end is the end
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for pump in pumps:
            pump.cancel()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
