"""What all fake servers have in common: a port, a record of requests, and faults.

>>> with FakeAirbyte() as server:
...     server.inject(Fault("POST", r"/sync$", when="after", then="hang"))  # the job starts, the answer never comes
...     server.inject(Fault("GET", r"/jobs", status=429, headers={"Retry-After": "2"}, times=3))
"""

from __future__ import annotations

import asyncio
import json
import re
import ssl
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Self

from aiohttp import web

from servers.processes import LOOPBACK, ReservedPort, reusable_socket

if TYPE_CHECKING:
    from servers.certificates import Authority, Certificate

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
REMEMBERED = 200_000


@dataclass(frozen=True)
class Seen:
    """A request that arrived, in order of arrival."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    at: float

    def json(self) -> Any:
        """The body, read as JSON."""
        return json.loads(self.body)


@dataclass
class Fault:
    """What happens to some requests.

    `method` and `path` are patterns (searched in the method, and in the path without its query). "before": the server
    does nothing of what is asked; "after": it does it first. Then: "answer" with `status`, `headers` and `body`; "cut"
    the connection; "hang" until healed or closed; or "pass", the server's own answer, `delay` seconds later. It
    happens `times` times (None: until healed), after `skip` matching requests have passed.
    """

    method: str
    path: str
    when: Literal["before", "after"] = "before"
    then: Literal["answer", "cut", "hang", "pass"] = "answer"
    status: int = 503
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = ""
    delay: float = 0.0
    times: int | None = 1
    skip: int = 0
    hits: int = 0
    _matched: int = field(default=0, repr=False)

    def takes(self, method: str, path: str) -> bool:
        """Whether it happens to this request; counts the requests that match."""
        if not re.fullmatch(self.method, method) or not re.search(self.path, path):
            return False
        self._matched += 1
        if self._matched <= self.skip or (self.times is not None and self.hits >= self.times):
            return False
        self.hits += 1
        return True


class FakeServer:
    """An HTTP server in a thread of its own; subclasses give `routes()` and keep the state.

    Handlers run in the server's loop, one at a time between awaits; code of a test that reads or changes the state
    holds `self.lock`, and so do handlers while they change it.
    """

    def __init__(self, *, certificate: Certificate | None = None, clients: Authority | None = None) -> None:
        """Describe a server; `certificate` makes it speak TLS, `clients` only to those with a certificate."""
        self.lock = threading.RLock()
        self.latency = 0.0
        self.requests: deque[Seen] = deque(maxlen=REMEMBERED)
        self.in_flight = 0
        self.most_in_flight = 0
        self._faults: list[Fault] = []
        self._healed = asyncio.Event()
        self._port = ReservedPort()
        self._tls = _tls(certificate, clients)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._runner: web.AppRunner | None = None
        self._thread: threading.Thread | None = None

    # --- what subclasses give ---

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        """Return what is served."""
        raise NotImplementedError

    async def admit(self, request: web.Request) -> web.StreamResponse | None:
        """Return a refusal, or None to let the request in: authentication."""
        return None

    # --- life ---

    @property
    def port(self) -> int:
        """The port it listens on; the same after `stop` and `start`."""
        return self._port.number

    @property
    def url(self) -> str:
        """Its address, without a path."""
        return f"{'https' if self._tls else 'http'}://{LOOPBACK}:{self.port}"

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Stop, and give the port back."""
        self.close()

    def start(self) -> None:
        """Open the port."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=type(self).__name__, daemon=True)
        self._thread.start()
        self._run(self._listen())

    def stop(self) -> None:
        """Close the port and cut every connection; the state stays."""
        loop, thread = self._loop, self._thread
        if loop is None or thread is None:
            return
        self._run(self._end())
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
        self._loop = self._thread = None

    def close(self) -> None:
        """Stop for good."""
        self.stop()
        self._port.release()

    # --- faults ---

    def inject(self, fault: Fault) -> Fault:
        """Let a fault happen from now on."""
        with self.lock:
            self._faults.append(fault)
        return fault

    def heal(self) -> None:
        """Take every fault away; what hangs is cut."""
        with self.lock:
            self._faults.clear()
        if self._loop:
            self._loop.call_soon_threadsafe(self._release)

    def asked(self, path: str, method: str = ".*") -> list[Seen]:
        """Return the requests whose path and method fit these patterns."""
        return [
            seen for seen in list(self.requests) if re.search(path, seen.path) and re.fullmatch(method, seen.method)
        ]

    # --- inside ---

    def _run(self, work: Any) -> None:
        assert self._loop
        asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _listen(self) -> None:
        self._healed = asyncio.Event()
        application = web.Application(middlewares=[self._serve], client_max_size=1 << 28)
        application.add_routes(self.routes())
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.SockSite(self._runner, reusable_socket(self.port), ssl_context=self._tls, backlog=1024).start()

    async def _end(self) -> None:
        assert self._runner
        self._release()
        await self._runner.cleanup()

    def _release(self) -> None:
        self._healed.set()
        self._healed = asyncio.Event()

    def _fault(self, method: str, path: str) -> Fault | None:
        with self.lock:
            return next((fault for fault in self._faults if fault.takes(method, path)), None)

    @web.middleware
    async def _serve(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        body = await request.read()
        self.requests.append(
            Seen(request.method, request.path, request.query_string, dict(request.headers), body, time.time())
        )
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            return await self._answer(request, handler)
        finally:
            self.in_flight -= 1

    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if self.latency:
            await asyncio.sleep(self.latency)
        fault = self._fault(request.method, request.path)
        if fault is None:
            return await self.admit(request) or await handler(request)
        own = None
        if fault.when == "after" or fault.then == "pass":
            own = await self.admit(request) or await handler(request)
        await asyncio.sleep(fault.delay)
        if fault.then == "hang":
            await self._healed.wait()
        if fault.then in {"cut", "hang"}:
            if request.transport:
                request.transport.abort()
            raise asyncio.CancelledError
        if fault.then == "pass":
            assert own is not None
            return own
        return answer(fault.body, fault.status, fault.headers)


def answer(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """Return a response: JSON of what is not text, text as it is (HTML where it looks so)."""
    if not isinstance(body, str):
        return web.json_response(body, status=status, headers=headers)
    kind = "text/html" if body.lstrip().startswith("<") else "text/plain"
    return web.Response(text=body, status=status, headers=headers, content_type=kind)


def _tls(certificate: Certificate | None, clients: Authority | None) -> ssl.SSLContext | None:
    if certificate is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.certificate, certificate.key)
    if clients:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(clients.certificate)
    return context
