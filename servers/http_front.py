"""An HTTP proxy in front of an emulator: notes what passes, and lets errors and cut connections happen."""

from __future__ import annotations

import contextlib
import functools
import http.client
import os
import re
import socket
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, Literal
from urllib.parse import parse_qsl, unquote, urlsplit

from servers.event_loop import RESET_ON_CLOSE
from servers.processes import LOOPBACK

When = Literal["before", "after", "body"]
CHUNK = 1 << 18
ANSWER_SECONDS = 60.0
# Of one connection, not of the message; and Expect, which this proxy has already answered.
HOP_BY_HOP = {"connection", "keep-alive", "te", "transfer-encoding", "upgrade", "expect", "content-length"}


@dataclass
class Fault:
    """What happens to some requests: an error (`status`, `code`, `message`) or a cut connection (`when`)."""

    operation: str
    place: str
    status: int = 0
    code: str = ""
    when: When | None = None
    times: int = 1
    skip: int = 0
    message: str = ""
    hits: int = 0  # how often it has happened
    _seen: int = field(default=0, repr=False)

    def takes(self, asked: Asked) -> bool:
        """Whether it happens to this request; counts the requests that match."""
        if asked.operation != self.operation or not re.search(self.place, asked.place):
            return False
        self._seen += 1
        if self._seen <= self.skip or self.hits >= self.times:
            return False
        self.hits += 1
        return True


@dataclass(frozen=True)
class Asked:
    """A request as it arrived.

    `operation` and `place` are what faults go by: the method and the decoded path, where a front does not
    know better names.  `headers` are in lower case.
    """

    operation: str
    place: str
    query: dict[str, str]
    headers: dict[str, str]


@dataclass(frozen=True)
class Reply:
    """What an emulator answered, whole."""

    status: int
    headers: dict[str, str]
    content: bytes


class HttpFront:
    """The proxy: a thread for each connection, on a free loopback port."""

    exchange: ClassVar[type[Exchange]]

    def __init__(self, upstream_port: int) -> None:
        """Stand in front of an emulator."""
        self.asked: list[Asked] = []
        self.turn = threading.Lock()  # for requests that must not happen at the same time
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        self._server = _Server((LOOPBACK, 0), functools.partial(self.exchange, self, upstream_port))
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), name=type(self).__name__, daemon=True
        )

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._server.server_address[1]

    def start(self) -> None:
        """Start to answer."""
        self._thread.start()

    def close(self) -> None:
        """Stop to answer."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()

    def inject(self, fault: Fault) -> Fault:
        """Let a fault happen from now on."""
        with self._lock:
            self._faults.append(fault)
        return fault

    def heal(self) -> None:
        """Take every fault away."""
        with self._lock:
            self._faults.clear()

    def fault_for(self, asked: Asked) -> Fault | None:
        """Note a request and say what happens to it."""
        with self._lock:
            self.asked.append(asked)
            return next((fault for fault in self._faults if fault.takes(asked)), None)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Stay silent: clients that go away are part of the tests."""


class Exchange(BaseHTTPRequestHandler):
    """One client's connection; subclasses say how an emulator is asked and what its errors look like."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def __init__(self, front: Any, upstream_port: int, *connection: Any) -> None:
        """Serve a connection to its end, as the base class does."""
        self.front = front
        self.upstream_port = upstream_port
        super().__init__(*connection)

    def do_GET(self) -> None:
        """Pass the request on, or let its fault happen."""
        body = self._body()
        asked = self._asked(body)
        fault = self.front.fault_for(asked)
        if fault and fault.status:
            self._refuse(fault, asked)
        elif fault and fault.when == "before":
            self._reset()
        else:
            self._pass_on(asked, body, fault.when if fault else None)

    do_HEAD = do_PUT = do_POST = do_DELETE = do_PATCH = do_GET  # noqa: N815 - the base class looks for these names

    # --- what differs ---

    def _asked(self, body: bytes) -> Asked:  # noqa: ARG002 - others look into it
        parts = urlsplit(self.path)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        headers = {name.lower(): value for name, value in self.headers.items()}
        return Asked(self.command, unquote(parts.path), query, headers)

    def _pass_on(self, asked: Asked, body: bytes, cut: When | None) -> None:
        raise NotImplementedError

    def _refusal(self, fault: Fault, asked: Asked) -> Reply:
        raise NotImplementedError

    # --- asking and answering ---

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            length = int(self.headers.get("Content-Length", 0))
            content = self.rfile.read(length)
            if len(content) < length:  # the client died: an object store keeps no half of a file
                raise ConnectionResetError
            return content
        body = bytearray()
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():  # trailers
            pass
        return bytes(body)

    def _request(self, upstream: http.client.HTTPConnection, body: bytes, **changed: str) -> http.client.HTTPResponse:
        """Send the request as it came, with some headers changed (`content_range` for Content-Range)."""
        instead = {name.replace("_", "-"): value for name, value in changed.items()}
        upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() not in HOP_BY_HOP:
                upstream.putheader(name, instead.get(name.lower(), value))
        upstream.putheader("Content-Length", str(len(body)))
        upstream.endheaders(body)
        return upstream.getresponse()

    def _connected(self) -> contextlib.closing[http.client.HTTPConnection]:
        return contextlib.closing(http.client.HTTPConnection(LOOPBACK, self.upstream_port, timeout=ANSWER_SECONDS))

    def _answer(self, reply: Reply, cut: When | None = None) -> None:
        if cut == "after":
            self._reset()
            return
        self.send_response_only(reply.status)
        for name, value in reply.headers.items():
            if name.lower() not in HOP_BY_HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.content)))
        self.end_headers()
        if cut == "body":
            self.wfile.write(reply.content[: len(reply.content) // 2])
            self._reset()
        elif self.command != "HEAD":
            self.wfile.write(reply.content)

    def _refuse(self, fault: Fault, asked: Asked) -> None:
        self._answer(self._refusal(fault, asked))

    def _reset(self) -> None:
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        os.close(self.connection.detach())  # the base class would shut it down first, and that sends FIN
