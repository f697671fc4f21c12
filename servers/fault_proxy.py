"""TCP faults between a client and a server, switchable while connections live.

>>> with FaultProxy(server.port) as proxy:
...     proxy.down.cut_after = 1 << 20          # the answer breaks off with a reset after one MiB
...     proxy.up.latency = 0.05                 # what the client sends arrives 50 ms late
...     proxy.heal()

"up" is what the client sends, "down" what the server answers.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Literal

from servers.event_loop import BUFFER, LoopbackServer, reset
from servers.processes import LOOPBACK

Cut = Literal["rst", "fin", "hang"]
CHUNK = 1 << 16
POLL_SECONDS = 0.01


@dataclass
class Faults:
    """What goes wrong in one direction."""

    latency: float = 0.0  # seconds that each piece of data waits
    bandwidth: float = 0.0  # bytes per second; 0 is no limit
    black_hole: bool = False  # data waits until this is False again
    cut_after: int | None = None  # bytes of one connection that pass before it is cut
    cut_how: Cut = "rst"  # both sides get a reset, or an orderly end, or nothing ever again


@dataclass
class Counts:
    """What a proxy has seen."""

    connections: int = 0
    refused: int = 0
    cuts: int = 0
    up: int = 0  # bytes passed on
    down: int = 0


@dataclass(eq=False)
class Link:
    """One client's connection through the proxy: both of its ends."""

    client_reader: asyncio.StreamReader
    client: asyncio.StreamWriter
    server_reader: asyncio.StreamReader
    server: asyncio.StreamWriter
    passed: dict[str, int] = field(default_factory=lambda: {"up": 0, "down": 0})

    async def cut(self, how: Cut) -> None:
        """Cut both ends; "hang" stays silent until the proxy is closed or drops it."""
        if how == "hang":
            await asyncio.Event().wait()
        for writer in (self.client, self.server):
            if how == "rst":
                reset(writer)
            else:
                writer.close()


class FaultProxy(LoopbackServer):
    """A TCP proxy that breaks connections on demand."""

    def __init__(self, upstream_port: int, upstream_host: str = LOOPBACK) -> None:
        """Stand in front of a server; everything passes until a fault is set."""
        super().__init__()
        self.upstream = (upstream_host, upstream_port)
        self.up = Faults()
        self.down = Faults()
        self.counts = Counts()
        self._links: dict[Link, asyncio.Task[None]] = {}

    def heal(self) -> None:
        """Take every fault away; what was cut stays cut."""
        self.up = Faults()
        self.down = Faults()
        self.accept()

    def refuse(self) -> None:
        """Refuse new connections, as a host does where nothing listens; those that live go on."""
        self._run(self._unlisten())

    def accept(self) -> None:
        """Take connections again after `refuse()`."""
        if self._listener is None:
            self._run(self._listen())

    def drop_all(self) -> None:
        """Reset every connection that lives now."""
        self._run(self._drop_all())

    # --- what a subclass that knows a protocol extends ---

    async def _serve_link(self, link: Link) -> None:
        self._links[link] = asyncio.ensure_future(self._pump_both(link))
        try:
            await self._links[link]
        finally:
            del self._links[link]

    async def _pass_up(self, link: Link, data: bytes) -> None:
        await self._forward(link, "up", data)

    async def _pass_down(self, link: Link, data: bytes) -> None:
        await self._forward(link, "down", data)

    # --- inside ---

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.counts.connections += 1
        try:
            server_reader, server = await asyncio.open_connection(*self.upstream, limit=BUFFER)
        except OSError:
            self.counts.refused += 1
            reset(writer)
            return
        try:
            await self._serve_link(Link(reader, writer, server_reader, server))
        finally:
            server.close()

    async def _pump_both(self, link: Link) -> None:
        pumps = [asyncio.ensure_future(self._pump_up(link)), asyncio.ensure_future(self._pump_down(link))]
        try:
            done, _ = await asyncio.wait(pumps, return_when=asyncio.FIRST_EXCEPTION)
            for pump in done:
                pump.result()
        finally:
            for pump in pumps:
                pump.cancel()

    async def _pump_up(self, link: Link) -> None:
        while data := await link.client_reader.read(CHUNK):
            await self._pass_up(link, data)
        link.server.write_eof()

    async def _pump_down(self, link: Link) -> None:
        while data := await link.server_reader.read(CHUNK):
            await self._pass_down(link, data)
        link.client.write_eof()

    async def _forward(self, link: Link, direction: Literal["up", "down"], data: bytes) -> None:
        """Send `data` on, through the faults of its direction."""
        faults = self._faults(direction)
        if faults.latency:
            await asyncio.sleep(faults.latency)
        while (faults := self._faults(direction)).black_hole:  # noqa: ASYNC110 - a plain attribute, set from any thread
            await asyncio.sleep(POLL_SECONDS)
        room = len(data) if faults.cut_after is None else max(0, faults.cut_after - link.passed[direction])
        writer = link.server if direction == "up" else link.client
        writer.write(data[:room])
        await writer.drain()
        self._count(link, direction, min(room, len(data)))
        if room < len(data):
            self.counts.cuts += 1
            await asyncio.sleep(
                POLL_SECONDS
            )  # a reset overtakes data that the peer has not read: let what may pass arrive
            await link.cut(faults.cut_how)
            raise ConnectionResetError("cut by the proxy")
        if faults.bandwidth:
            await asyncio.sleep(len(data) / faults.bandwidth)

    def _faults(self, direction: Literal["up", "down"]) -> Faults:
        return self.up if direction == "up" else self.down

    def _count(self, link: Link, direction: Literal["up", "down"], size: int) -> None:
        link.passed[direction] += size
        if direction == "up":
            self.counts.up += size
        else:
            self.counts.down += size

    async def _drop_all(self) -> None:
        for link, pumps in list(self._links.items()):
            reset(link.client)
            reset(link.server)
            pumps.cancel()
