"""TLS in front of a PostgreSQL that was built without it, as the wheel's is.

>>> authority = Authority.create(directory)
>>> with TlsFront(server.port, authority.issue("server", ["localhost"])) as front:
...     options = {"sslmode": "verify-full", "sslrootcert": authority.certificate}
...     psycopg2.connect(server.dsn(host="localhost", port=front.port, **options))

The handshake is real; connections that do not ask for TLS are refused.  The password is checked by PostgreSQL
behind it, without channel binding (`channel_binding=require` cannot work).  A client without the certificate
asked for sees the connection end, not the TLS alert that says why.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import TYPE_CHECKING

from servers.event_loop import BUFFER, LoopbackServer
from servers.processes import LOOPBACK

if TYPE_CHECKING:
    from servers.certificates import Authority, Certificate

CHUNK = 1 << 16
SSL_REQUEST = bytes.fromhex("0000000804d2162f")
GSS_ENCRYPTION_REQUEST = bytes.fromhex("0000000804d21630")


class TlsFront(LoopbackServer):
    """Answers a client's SSLRequest, does the handshake and passes what is inside to a plain server."""

    def __init__(self, upstream_port: int, certificate: Certificate, *, clients: Authority | None = None) -> None:
        """Stand in front of a PostgreSQL; with `clients`, only clients whose certificate it signed get in."""
        super().__init__()
        self.upstream_port = upstream_port
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate.certificate, certificate.key)
        if clients:
            self._context.verify_mode = ssl.CERT_REQUIRED
            self._context.load_verify_locations(clients.certificate)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readexactly(len(SSL_REQUEST))
        while request == GSS_ENCRYPTION_REQUEST:
            writer.write(b"N")
            request = await reader.readexactly(len(SSL_REQUEST))
        if request != SSL_REQUEST:
            return
        writer.write(b"S")
        await writer.drain()
        await writer.start_tls(self._context)
        server_reader, server = await asyncio.open_connection(LOOPBACK, self.upstream_port, limit=BUFFER)
        try:
            await self._pump_both((reader, server), (server_reader, writer))
        finally:
            server.close()

    async def _pump_both(self, *ways: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
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
