"""An HTTP proxy in front of an S3 emulator: errors and cuts, and conditional writes one at a time."""

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
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

from servers.event_loop import RESET_ON_CLOSE
from servers.processes import LOOPBACK

When = Literal["before", "after", "body"]
CHUNK = 1 << 18
ANSWER_SECONDS = 60.0
# Of one connection, not of the message; and Expect, which this proxy has already answered.
HOP_BY_HOP = {"connection", "keep-alive", "te", "transfer-encoding", "upgrade", "expect"}


@dataclass
class Fault:
    """What happens to some requests: an S3 error (`status`, `code`) or a cut connection (`when`)."""

    method: str
    key: str
    status: int = 0
    code: str = ""
    when: When | None = None
    times: int = 1
    skip: int = 0
    hits: int = 0  # how often it has happened
    _seen: int = field(default=0, repr=False)

    def takes(self, method: str, path: str) -> bool:
        """Whether it happens to this request; counts the requests that match."""
        if method != self.method or not re.search(self.key, path):
            return False
        self._seen += 1
        if self._seen <= self.skip or self.hits >= self.times:
            return False
        self.hits += 1
        return True


class S3Front:
    """The proxy: a thread for each connection, on a free loopback port."""

    def __init__(self, upstream_port: int) -> None:
        """Stand in front of an emulator."""
        self.requests: list[tuple[str, str]] = []
        self.conditional = threading.Lock()
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        self._server = _Server((LOOPBACK, 0), functools.partial(_Exchange, self, upstream_port))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="S3Front", daemon=True)

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

    def fault_for(self, method: str, path: str) -> Fault | None:
        """Note a request and say what happens to it."""
        with self._lock:
            self.requests.append((method, path))
            return next((fault for fault in self._faults if fault.takes(method, path)), None)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Stay silent: clients that go away are part of the tests."""


class _Exchange(BaseHTTPRequestHandler):
    """One client's connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def __init__(self, front: S3Front, upstream_port: int, *connection: Any) -> None:
        """Serve a connection to its end, as the base class does."""
        self.front = front
        self.upstream_port = upstream_port
        super().__init__(*connection)

    def do_GET(self) -> None:
        """Pass the request on, or let its fault happen."""
        path = unquote(urlsplit(self.path).path)
        body = self._body()
        fault = self.front.fault_for(self.command, path)
        if fault and fault.status:
            self._refuse(fault, path)
        elif fault and fault.when == "before":
            self._reset()
        else:
            self._pass_on(body, fault.when if fault else None)

    do_HEAD = do_PUT = do_POST = do_DELETE = do_GET  # noqa: N815 - the base class looks for these names

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            length = int(self.headers.get("Content-Length", 0))
            content = self.rfile.read(length)
            if len(content) < length:  # the client died: S3 stores no half of a file
                raise ConnectionResetError
            return content
        body = bytearray()
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():  # trailers
            pass
        return bytes(body)

    def _pass_on(self, body: bytes, cut: When | None) -> None:
        # moto looks and then writes, each request in a thread: two conditional writes at once must not both
        # win.
        conditional = "If-None-Match" in self.headers or "If-Match" in self.headers
        upstream = http.client.HTTPConnection(LOOPBACK, self.upstream_port, timeout=ANSWER_SECONDS)
        with (
            contextlib.closing(upstream),
            self.front.conditional if conditional else contextlib.nullcontext(),
        ):
            upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in HOP_BY_HOP | {"content-length"}:
                    upstream.putheader(name, value)
            upstream.putheader("Content-Length", str(len(body)))
            upstream.endheaders(body)
            self._answer(upstream.getresponse(), cut)

    def _answer(self, answer: http.client.HTTPResponse, cut: When | None) -> None:
        if cut == "after":
            answer.read()
            self._reset()
            return
        content = answer.read() if answer.length is None else None  # chunked: its length is known only at its end
        length = answer.headers.get("Content-Length") if content is None else str(len(content))
        self.send_response_only(answer.status, answer.reason)
        for name, value in answer.headers.items():
            if name.lower() not in HOP_BY_HOP | {"content-length"}:
                self.send_header(name, value)
        self.send_header("Content-Length", length or "0")
        self.end_headers()
        half = int(length or 0) // 2 if cut == "body" else None
        self._send(answer, content, half)

    def _send(self, answer: http.client.HTTPResponse, content: bytes | None, stop_after: int | None) -> None:
        if stop_after is not None:
            self.wfile.write((content or answer.read())[:stop_after])
            self._reset()
            return
        if content is not None:
            self.wfile.write(content)
        while content is None and (data := answer.read(CHUNK)):
            self.wfile.write(data)

    def _refuse(self, fault: Fault, path: str) -> None:
        text = f"<Error><Code>{fault.code}</Code><Message>Injected for {path}</Message></Error>"
        content = b"" if self.command == "HEAD" else text.encode()
        self.send_response_only(fault.status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _reset(self) -> None:
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        os.close(self.connection.detach())  # the base class would shut it down first, and that sends FIN
