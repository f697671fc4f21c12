"""The jobs of an Airbyte server, and an index that lists them by time without reading all of them."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from math import inf
from typing import Any

from tests.fakes.airbyte_objects import Stream

TERMINAL = frozenset({"failed", "succeeded", "cancelled"})
SPARE = 1000


@dataclass(slots=True)
class Attempt:
    """One attempt of a job; `number` counts from 0, as the API shows it."""

    number: int
    created: float
    updated: float
    status: str = "running"
    ended: float | None = None
    rows: int | None = None
    bytes: int | None = None
    streams: list[dict[str, Any]] = field(default_factory=list)
    failures: list[dict[str, Any]] = field(default_factory=list)
    logs: list[str] = field(default_factory=list)

    def end(self, status: str, now: float) -> None:
        """End it; a second end changes nothing."""
        if self.ended is None:
            self.status, self.ended, self.updated = status, now, now


@dataclass(slots=True)
class Job:
    """A job. `kind` is sync or reset; `turn` changes with every change of the job."""

    id: int
    connection_id: str
    workspace_id: str
    kind: str
    status: str
    created: float
    updated: float
    started: float | None = None
    attempts: list[Attempt] = field(default_factory=list)
    by_api: bool = False
    turn: int = 0

    @property
    def active(self) -> bool:
        """Whether it has not ended; a word nobody knows is active."""
        return self.status not in TERMINAL

    @property
    def rows(self) -> int | None:
        """The rows of all attempts, or None when nothing was counted."""
        return _total(attempt.rows for attempt in self.attempts)

    @property
    def bytes(self) -> int | None:
        """The bytes of all attempts, or None when nothing was counted."""
        return _total(attempt.bytes for attempt in self.attempts)


@dataclass(frozen=True)
class Query:
    """Which jobs, in which order; empty sets and None ask for nothing. The bounds of time belong to what they bound."""

    connections: frozenset[str] = frozenset()
    workspaces: frozenset[str] = frozenset()
    statuses: frozenset[str] = frozenset()
    kinds: frozenset[str] = frozenset()
    created_from: float | None = None
    created_to: float | None = None
    updated_from: float | None = None
    updated_to: float | None = None
    by_update: bool = False
    descending: bool = True
    limit: int = 20
    offset: int = 0

    def tests(self, *, windowed: bool) -> list[Callable[[Job], bool]]:
        """Return what a job must pass; `windowed`: the bounds of the time it is ordered by are seen to already."""
        tests: list[Callable[[Job], bool]] = []
        if self.connections:
            tests.append(lambda job: job.connection_id in self.connections)
        if self.workspaces:
            tests.append(lambda job: job.workspace_id in self.workspaces)
        if self.statuses:
            tests.append(lambda job: job.status in self.statuses)
        if self.kinds:
            tests.append(lambda job: job.kind in self.kinds)
        if not windowed or self.by_update:
            tests += _within(lambda job: job.created, self.created_from, self.created_to)
        if not windowed or not self.by_update:
            tests += _within(lambda job: job.updated, self.updated_from, self.updated_to)
        return tests


class JobIndex:
    """Jobs by creation and by last change.

    The changes are a log that only grows at its end, since time does; an entry whose job has changed again is dead,
    and the dead are swept out when they outnumber the living.
    """

    def __init__(self) -> None:
        """Start empty."""
        self._created: list[tuple[float, int, Job]] = []
        self._log: list[tuple[float, int, Job]] = []

    def add(self, job: Job) -> None:
        """Take in a new job."""
        self._created.append((job.created, job.id, job))
        self._log.append((job.updated, job.turn, job))

    def changed(self, job: Job) -> None:
        """Note that a job has changed, at its `updated`, which is not before any other."""
        self._log.append((job.updated, job.turn, job))
        if len(self._log) > 2 * len(self._created) + SPARE:
            self._log = [entry for entry in self._log if entry[1] == entry[2].turn]

    def clear(self) -> None:
        """Forget all."""
        self._created, self._log = [], []

    def page(self, query: Query, among: list[Job] | None = None) -> list[Job]:
        """Return the jobs of a page; `among` are the only ones that can fit, in order of creation."""
        return list(islice(self._fitting(query, among), query.offset, query.offset + query.limit))

    def count(self, query: Query, among: list[Job] | None = None) -> int:
        """Count the jobs that fit, on all pages."""
        return sum(1 for _ in self._fitting(query, among))

    def _fitting(self, query: Query, among: list[Job] | None) -> Iterator[Job]:
        jobs = self._window(query) if among is None else _ordered(query, among)
        for test in query.tests(windowed=among is None):
            jobs = filter(test, jobs)
        return jobs

    def _window(self, query: Query) -> Iterator[Job]:
        if query.by_update:
            entries = _between(self._log, query.updated_from, query.updated_to)
        else:
            entries = _between(self._created, query.created_from, query.created_to)
        ordered = reversed(entries) if query.descending else iter(entries)
        if not query.by_update:
            return (job for _, _, job in ordered)
        return (job for _, turn, job in ordered if turn == job.turn)


def _ordered(query: Query, jobs: list[Job]) -> Iterator[Job]:
    key: Callable[[Job], tuple[float, int]] = (
        (lambda job: (job.updated, job.turn)) if query.by_update else (lambda job: (job.created, job.id))
    )
    return iter(sorted(jobs, key=key, reverse=query.descending))


def _between(
    entries: list[tuple[float, int, Job]], first: float | None, last: float | None
) -> list[tuple[float, int, Job]]:
    start = 0 if first is None else bisect_left(entries, first, key=_time)
    end = len(entries) if last is None else bisect_right(entries, last, key=_time)
    return entries[start:end]


def _time(entry: tuple[float, int, Job]) -> float:
    return entry[0]


def _within(time: Callable[[Job], float], first: float | None, last: float | None) -> list[Callable[[Job], bool]]:
    if first is None and last is None:
        return []
    low, high = -inf if first is None else first, inf if last is None else last
    return [lambda job: low <= time(job) <= high]


def _total(counts: Iterator[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def failure(
    now: float, message: str, kind: str = "system_error", origin: str = "source", *, retryable: bool | None = None
) -> dict[str, Any]:
    """Return a FailureReason; unlike all other times its `timestamp` is in milliseconds."""
    inside = f"io.airbyte.workers.exception.WorkerException: {message}"
    known = {} if retryable is None else {"retryable": retryable}
    return {
        "failureOrigin": origin,
        "failureType": kind,
        "externalMessage": message,
        "internalMessage": inside,
        "stacktrace": f"{inside}\n\tat io.airbyte.workers.general.DefaultReplicationWorker.run",
        "timestamp": int(now * 1000),
        **known,
    }


def shares(streams: Sequence[Stream], rows: int, size: int, given: Sequence[Mapping[str, Any]] | None) -> list[Any]:
    """Return what each stream moved: as given, or the rows and bytes in equal shares."""
    if given is not None:
        return [{"namespace": None, "rows": 0, "bytes": 0, **stream} for stream in given]
    count = len(streams)
    return [
        {
            "name": stream.name,
            "namespace": stream.namespace,
            "rows": rows // count + (place < rows % count),
            "bytes": size // count + (place < size % count),
        }
        for place, stream in enumerate(streams)
    ]
