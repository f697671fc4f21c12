"""A conversation with a server, written once, without I/O.

A ``Flow`` is a generator that yields steps and is sent their results; its return value is the outcome::

    def connection(session: Session, id: str) -> Flow[JsonObject]:
        answer = yield from session.ask(Request("GET", f"/v1/connections/{id}"))
        return answer.json()

:func:`run` drives it in a worker, :func:`arun` in a triggerer's event loop. What a flow is sent is the same in both.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol, TypeAlias, TypeVar

from airflow_elt_provider.errors import EltError, TransientError

JsonObject: TypeAlias = dict[str, Any]


@dataclass(frozen=True)
class Request:
    """An HTTP request to the remote.

    :param path: below the remote's base URL; begins with ``/``.
    :param query: names and values; a name may come several times.
    :param body: what is sent, as JSON unless ``content_type`` says otherwise.
    :param timeout: seconds to wait for the answer; None: as the connection says.
    :param plain: whether to leave out the application's own authentication (the proxy's is always there).
    :param bare: whether to leave out every authentication.
    """

    method: str
    path: str
    query: Sequence[tuple[str, str]] = ()
    body: Any = None
    content_type: str = "application/json"
    accept: str = "application/json"
    timeout: float | None = None
    plain: bool = False
    bare: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)

    def payload(self) -> bytes | None:
        """Return the bytes to send."""
        if self.body is None or isinstance(self.body, bytes):
            return self.body
        return json.dumps(self.body).encode()

    def with_headers(self, headers: Mapping[str, str]) -> Request:
        """Return the same request with these headers beside its own."""
        return replace(self, headers={**headers, **self.headers})

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


@dataclass(frozen=True)
class Answer:
    """What came back.

    :param headers: by lower-case name.
    :param url: the full URL that was asked, for messages.
    """

    status: int
    headers: Mapping[str, str]
    content: bytes
    url: str

    @property
    def text(self) -> str:
        """The body as text."""
        return self.content.decode("utf-8", errors="replace")

    @property
    def is_json(self) -> bool:
        """Whether the server says that the body is JSON, ``application/problem+json`` included."""
        kind = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        return kind == "application/json" or kind.endswith("+json")

    def json(self) -> Any:
        """Return the body, read as JSON.

        :raises TransientError: when it is none: an answer that broke off.
        """
        try:
            return json.loads(self.content)
        except ValueError:
            raise TransientError(f"{self.url} answered {self.status} with something that is no JSON.") from None


@dataclass(frozen=True)
class Pause:
    """Wait so many seconds."""

    seconds: float


@dataclass(frozen=True)
class Call:
    """Call a function that may block for a while; in an event loop it runs in a thread."""

    function: Callable[[], Any]


@dataclass(frozen=True)
class Together:
    """Drive several flows, at once where the driver can; the result is the list of their outcomes, in order.

    When one of them fails, all are driven to their end first, then the first failure is raised.
    """

    flows: Sequence[Generator[Any, Any, Any]]


Step: TypeAlias = Request | Pause | Call | Together
_T = TypeVar("_T")
Flow: TypeAlias = Generator[Step, Any, _T]

TURN: Final = 500
"""How many things a flow works through before others get their turn of the event loop: a few milliseconds."""


class Transport(Protocol):
    """Sends requests; blocks."""

    def send(self, request: Request) -> Answer:
        """Send a request and return its answer.

        :raises UnreachableError: when it certainly did not arrive.
        :raises AnswerLostError: when it may have arrived.
        """


class AsyncTransport(Protocol):
    """Sends requests from an event loop."""

    async def send(self, request: Request) -> Answer:
        """Send a request and return its answer; raises as :meth:`Transport.send` does."""

    async def aclose(self) -> None:
        """Close what is open; the next request opens it again."""


def run(flow: Flow[_T], transport: Transport, sleep: Callable[[float], Any] = time.sleep) -> _T:
    """Drive a flow to its end and return its outcome.

    :param sleep: waits so many seconds; may raise to end the flow.
    """

    def perform(step: Step) -> Any:
        if isinstance(step, Request):
            return transport.send(step)
        if isinstance(step, Pause):
            return sleep(step.seconds)
        if isinstance(step, Call):
            return step.function()
        return _all_or_first_failure([attempt(run, flow, transport, sleep) for flow in step.flows])

    def attempt(function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return function(*arguments)
        except EltError as error:
            return error

    given = None
    try:
        while True:
            given = attempt(perform, _resume(flow, given))
    except StopIteration as end:
        outcome: _T = end.value
        return outcome


async def arun(flow: Flow[_T], transport: AsyncTransport) -> _T:
    """Drive a flow to its end in an event loop and return its outcome."""

    async def perform(step: Step) -> Any:
        if isinstance(step, Request):
            return await transport.send(step)
        if isinstance(step, Pause):
            return await asyncio.sleep(step.seconds)
        if isinstance(step, Call):
            return await asyncio.to_thread(step.function)
        tasks = [asyncio.ensure_future(arun(flow, transport)) for flow in step.flows]
        try:
            return _all_or_first_failure(await asyncio.gather(*tasks, return_exceptions=True))
        finally:
            for task in tasks:
                task.cancel()

    given = None
    try:
        while True:
            step = _resume(flow, given)
            try:
                given = await perform(step)
            except EltError as error:
                given = error
    except StopIteration as end:
        outcome: _T = end.value
        return outcome


def _resume(flow: Flow[Any], given: Any) -> Step:
    return flow.throw(given) if isinstance(given, EltError) else flow.send(given)


def _all_or_first_failure(results: Sequence[Any]) -> list[Any] | BaseException:
    for result in results:
        if isinstance(result, BaseException):
            if not isinstance(result, EltError):
                raise result
            return result
    return list(results)
