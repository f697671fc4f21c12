"""A fault proxy that reads PostgreSQL's frontend messages, so that it can cut at a chosen statement.

>>> with PostgresFaultProxy(server.port) as proxy:
...     cut = proxy.cut_on_query(b"^COMMIT", when="after")     # the server commits; its answer is lost
...     ...
...     assert cut.done.is_set()

Statements are seen in simple queries and in Parse/Bind/Execute.  A connection that negotiates TLS through the
proxy is opaque to it. The proxy expects a client that waits for each answer (psycopg2 does): in a pipeline,
"after" would also lose earlier answers.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from servers.fault_proxy import Cut, FaultProxy, Link
from servers.processes import LOOPBACK

When = Literal["before", "after"]
LENGTH = 4
NEGOTIATIONS = (
    80877103,
    80877104,
)  # SSLRequest, GSSENCRequest: one byte answers, then the startup message follows
READY_FOR_QUERY = re.compile(rb"Z\x00\x00\x00\x05[ITE]\Z")


class FrontendMessages:
    """Split what a client sends into messages, and tell which statement each one runs."""

    def __init__(self) -> None:
        """Start at the startup message."""
        self._pending = bytearray()
        self._started = False
        self._statements: dict[bytes, bytes] = {}  # by prepared statement's name
        self._portals: dict[bytes, bytes] = {}

    def feed(self, data: bytes) -> Iterator[tuple[bytes, bytes | None]]:
        """Yield each complete message with the statement that it makes the server run, if any."""
        self._pending += data
        while True:
            tag = 1 if self._started else 0
            if len(self._pending) < tag + LENGTH:
                return
            size = tag + int.from_bytes(self._pending[tag : tag + LENGTH])
            if size < tag + LENGTH:
                raise ConnectionAbortedError("the client does not speak PostgreSQL's protocol")
            if len(self._pending) < size:
                return
            message = bytes(self._pending[:size])
            del self._pending[:size]
            yield message, self._statement(message)

    def _statement(self, message: bytes) -> bytes | None:
        if not self._started:
            self._started = int.from_bytes(message[LENGTH : 2 * LENGTH]) not in NEGOTIATIONS
            return None
        kind, body = message[:1], message[1 + LENGTH :]
        first, _, rest = body.partition(b"\0")
        match kind:
            case b"Q":
                return first
            case b"P":
                self._statements[first] = rest.partition(b"\0")[0]
            case b"B":
                self._portals[first] = self._statements.get(rest.partition(b"\0")[0], b"")
            case b"E":
                return self._portals.get(first)
        return None


@dataclass
class QueryCut:
    """A cut that waits for its statement."""

    pattern: re.Pattern[bytes]
    when: When
    how: Cut
    skip: int  # matching statements that still pass
    done: threading.Event = field(default_factory=threading.Event)
    statement: bytes = b""  # the one that was cut

    def takes(self, statement: bytes) -> bool:
        """Whether the cut is due at this statement; each cut happens once."""
        if self.done.is_set() or self.statement or not self.pattern.search(statement):
            return False
        self.skip -= 1
        if self.skip >= 0:
            return False
        self.statement = statement
        return True


class PostgresFaultProxy(FaultProxy):
    """A fault proxy that can cut a connection at a statement."""

    def __init__(self, upstream_port: int, upstream_host: str = LOOPBACK) -> None:
        """Stand in front of a PostgreSQL server."""
        super().__init__(upstream_port, upstream_host)
        self.statements: list[bytes] = []  # every statement seen, in order of arrival
        self._cuts: list[QueryCut] = []
        self._messages: dict[Link, FrontendMessages] = {}
        self._swallowed: dict[Link, tuple[QueryCut, bytearray]] = {}

    def cut_on_query(self, pattern: bytes, when: When, *, how: Cut = "rst", skip: int = 0) -> QueryCut:
        """Cut the connection that runs a statement matching the regular expression `pattern`, once.

        Case is ignored.  "before": the server never sees the statement, and both sides are cut.  "after": the
        server runs it, and when it has answered, the client is cut instead of being told.  `skip` lets as
        many matching statements pass first.
        """
        cut = QueryCut(re.compile(pattern, re.IGNORECASE | re.DOTALL), when, how, skip)
        self._cuts.append(cut)
        return cut

    def heal(self) -> None:
        """Take every fault away, cuts that have not happened too."""
        self._cuts.clear()
        super().heal()

    async def _serve_link(self, link: Link) -> None:
        self._messages[link] = FrontendMessages()
        try:
            await super()._serve_link(link)
        finally:
            del self._messages[link]
            self._swallowed.pop(link, None)

    async def _pass_up(self, link: Link, data: bytes) -> None:
        passed = bytearray()
        for message, statement in self._messages[link].feed(data):
            cut = self._due(statement)
            if cut and cut.when == "before":
                await self._forward(link, "up", bytes(passed))
                self.counts.cuts += 1
                cut.done.set()
                await link.cut(cut.how)
                raise ConnectionResetError("cut by the proxy before a statement")
            if cut:
                self._swallowed[link] = (cut, bytearray())
            passed += message
        await self._forward(link, "up", bytes(passed))

    async def _pass_down(self, link: Link, data: bytes) -> None:
        if link not in self._swallowed:
            await self._forward(link, "down", data)
            return
        cut, answer = self._swallowed[link]
        answer += data
        del answer[:-6]
        if READY_FOR_QUERY.search(answer):
            self.counts.cuts += 1
            cut.done.set()
            await link.cut(cut.how)
            raise ConnectionResetError("cut by the proxy after a statement")

    def _due(self, statement: bytes | None) -> QueryCut | None:
        if statement is None:
            return None
        self.statements.append(statement)
        return next((cut for cut in self._cuts if cut.takes(statement)), None)
