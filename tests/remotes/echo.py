"""A server that says what reached it, and a forwarding HTTP proxy that writes down what it was shown."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterable

from aiohttp import web

from servers.event_loop import LoopbackServer
from servers.processes import LOOPBACK
from tests.fakes.http_fake import FakeServer, answer


class Echo(FakeServer):
    """Says what reached it; `/moved` redirects, `/cookie` sets one, `/crowd` waits for one."""

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        return [
            web.get("/moved", self._moved),
            web.get("/cookie", self._cookie),
            web.get("/crowd", self._crowd),
            web.route("*", "/{path:.*}", self._echo),
        ]

    async def _moved(self, _request: web.Request) -> web.Response:
        return answer("", 302, {"Location": "/elsewhere"})

    async def _cookie(self, _request: web.Request) -> web.Response:
        return answer({}, headers={"Set-Cookie": "session=abc; Path=/"})

    async def _crowd(self, _request: web.Request) -> web.Response:
        """Answer when 64 wait here, and nobody else has come for a while."""
        for _ in range(1000):
            if self.most_in_flight >= 64:
                break
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        return answer({})

    async def _echo(self, request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        return answer({"path": request.raw_path, "headers": headers, "body": await request.text()})


class Tunnel(LoopbackServer):
    """An HTTP proxy: CONNECT to any name leads to `port` on this machine; `heads` is what it was shown.

    :param login: `user:password` that it wants.
    """

    def __init__(self, port: int, login: str = "") -> None:
        super().__init__()
        self._to, self._login = port, login
        self.heads: list[str] = []

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.heads.append(head.decode("latin-1"))
        wanted = base64.b64encode(self._login.encode()).decode()
        if self._login and f"Basic {wanted}" not in self.heads[-1]:
            writer.write(
                b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            )
            return await writer.drain()
        back, forth = await asyncio.open_connection(LOOPBACK, self._to)
        if head.startswith(b"CONNECT"):
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            forth.write(head)
        pumps = [asyncio.ensure_future(_pump(*way)) for way in ((reader, forth), (back, writer))]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            forth.close()
        return None


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()
