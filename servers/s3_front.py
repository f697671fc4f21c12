"""An HTTP proxy in front of an S3 emulator: errors and cuts, and conditional writes one at a time."""

from __future__ import annotations

import contextlib
import http.client
from xml.sax.saxutils import escape

from servers.http_front import CHUNK, HOP_BY_HOP, Asked, Exchange, Fault, HttpFront, Reply, When


class _Exchange(Exchange):
    """One client's connection."""

    def _pass_on(self, asked: Asked, body: bytes, cut: When | None) -> None:
        # moto looks and then writes, each request in a thread: two conditional writes at once must not both
        # win.
        conditional = {"if-none-match", "if-match"} & asked.headers.keys()
        with self._connected() as upstream, self.front.turn if conditional else contextlib.nullcontext():
            self._stream(self._request(upstream, body), cut)

    def _stream(self, answer: http.client.HTTPResponse, cut: When | None) -> None:
        if cut == "after":
            answer.read()
            self._reset()
            return
        content = answer.read() if answer.length is None else None  # chunked: its length is known only at its end
        length = answer.headers.get("Content-Length") if content is None else str(len(content))
        self.send_response_only(answer.status, answer.reason)
        for name, value in answer.headers.items():
            if name.lower() not in HOP_BY_HOP:
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

    def _refusal(self, fault: Fault, asked: Asked) -> Reply:
        said = escape(fault.message or f"Injected for {asked.place}")
        text = f"<Error><Code>{fault.code}</Code><Message>{said}</Message></Error>"
        content = b"" if self.command == "HEAD" else text.encode()
        return Reply(fault.status, {"Content-Type": "application/xml"}, content)


class S3Front(HttpFront):
    """The proxy in front of moto."""

    exchange = _Exchange

    @property
    def requests(self) -> list[tuple[str, str]]:
        """Method and path of every request since the start."""
        return [(asked.operation, asked.place) for asked in self.asked]
