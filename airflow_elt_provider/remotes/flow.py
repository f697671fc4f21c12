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
import logging
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol, TypeAlias, TypeVar
from urllib.parse import quote

from airflow_elt_provider.core.secret import Secret
from airflow_elt_provider.errors import ConfigurationError, EltError, RateLimitedError, TransientError

log = logging.getLogger(__name__)
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
    :param secrets: what the body holds of them: no error repeats one.
    """

    method: str
    path: str
    query: Sequence[tuple[str, str]] = ()
    body: Any = field(default=None, repr=False)
    content_type: str = "application/json"
    accept: str = "application/json"
    timeout: float | None = None
    plain: bool = False
    bare: bool = False
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    secrets: Sequence[Secret] = ()

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
        except (ValueError, RecursionError):
            raise TransientError(f"{self.url} answered {self.status} with something that is no JSON.") from None

    def listed(self, name: str) -> list[Any]:
        """Return a list of the JSON object that the body is.

        :raises TransientError: when it is not there: an error with status 200 is no empty list.
        """
        value = self.json()
        found = value.get(name) if isinstance(value, dict) else None
        if isinstance(found, list):
            return found
        raise TransientError(f"{self.url} answered {self.status} without a list {name!r}: {self.text[:200]!r}")


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

_ODD: Final = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What reading an answer of an unexpected form raises."""


def readable(flow: Flow[_T], what: str) -> Flow[_T]:
    """Drive a flow, and take an answer of an unexpected form for none: the server may answer better later.

    :param what: names the server in the message.
    :raises TransientError: where the flow stumbled over such an answer.
    """
    try:
        return (yield from flow)
    except _ODD as error:
        log.warning("%s gave an answer of an unexpected form.", what, exc_info=error)
        raise TransientError(
            f"{what} gave an answer of an unexpected form ({type(error).__name__}: {str(error)[:100]})."
        ) from error


def apart(flows: Sequence[Flow[_T]], what: str, *, alone: bool = True) -> Flow[list[_T | EltError]]:
    """Drive several flows whose failures are their own; the result holds outcomes and errors, in order.

    :param alone: whether nothing else tells that the server answers: then, when all of them fail, it does not.
    :raises EltError: the first failure, when all have failed and are alone; or when the server asks for time.
    """
    kept: list[tuple[_T | EltError]] = yield Together([_kept(readable(flow, what)) for flow in flows])
    results = [result for (result,) in kept]
    errors = [result for result in results if isinstance(result, EltError)]
    busy = next((error for error in errors if isinstance(error, RateLimitedError)), None)
    if busy or (alone and errors and len(errors) == len(results)):
        raise busy or errors[0]
    return results


def _kept(flow: Flow[_T]) -> Flow[tuple[_T | EltError]]:
    """Return the outcome or the error, wrapped: an error by itself would be taken for a failure of the whole."""
    try:
        return ((yield from flow),)
    except EltError as error:
        return (error,)


def each(items: Sequence[Any], read: Callable[[Any], _T], what: str) -> list[_T]:
    """Return what a function reads of each item; one of an unexpected form is left out and said."""
    found: list[_T] = []
    for item in items:
        try:
            found.append(read(item))
        except _ODD as error:
            log.warning("%s: left out an item of an unexpected form (%s: %s)", what, type(error).__name__, error)
    return found


def segment(text: str) -> str:
    """Return an id as one segment of a path: whatever it holds, it leads nowhere else.

    :raises ConfigurationError: when it is none.
    """
    if text.strip(" .") == "":
        raise ConfigurationError(f"{text!r} is no id.", hint="copy the id from the remote's web UI")
    return quote(text, safe="")


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
