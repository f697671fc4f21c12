"""What happens on an Airbyte server: connections are added, jobs start, change and end. Tests control it from here."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from heapq import heappop, heappush
from typing import Any

from tests.fakes.airbyte_configured import Configured
from tests.fakes.airbyte_jobs import TERMINAL, Attempt, Job, JobIndex, Query, failure, shares
from tests.fakes.airbyte_objects import Connection, UnknownIdError

AUTOMATIC_ROWS, AUTOMATIC_BYTES = 1000, 100_000
FAILED_ATTEMPT = "The source could not be read"


class AlreadyRunningError(Exception):
    """A job runs on this connection."""


class NotRunningError(Exception):
    """No job runs on this connection."""


class NotActiveError(Exception):
    """The connection is not active, so nothing starts on it."""


class AirbyteState(Configured):
    """The state of an Airbyte server, and how tests change it.

    `run_seconds` and `pending_seconds` hold for the attempts that start after they are set: a job is pending for
    `pending_seconds` and ends `run_seconds` after it began to run (None: not by itself) with `outcome`: a status, or a
    function that gives the status of a job. "incomplete" is an attempt that fails, as long a pause, and an attempt
    that succeeds. A status set by hand stays until it is set again. `resets` are the jobs that deleted data because an
    API was asked to.
    """

    def __init__(self, **options: Any) -> None:
        """Start with an empty workspace."""
        super().__init__(**options)
        self.jobs: dict[int, Job] = {}
        self.index = JobIndex()
        self.run_seconds: float | None = None
        self.pending_seconds = 0.0
        self.outcome: str | Callable[[Job], str] = "succeeded"
        self.cancelled_by_api: list[int] = []
        self.resets: list[int] = []
        self._due: list[tuple[float, int, int]] = []
        self._last_id = 0
        self._turns = 0
        self._shift = 0.0
        self._latest = 0.0

    # --- time ---

    def now(self) -> float:
        """The server's clock, in epoch seconds and whole microseconds, as its database has; it never goes back."""
        self._latest = max(self._latest, round(time.time() + self._shift, 6))
        return self._latest

    def advance(self, seconds: float) -> None:
        """Put the server's clock forward."""
        with self.lock:
            self._shift += seconds

    def settle(self) -> None:
        """Let everything happen that was due by now, each at its own time."""
        now = self.now()
        while self._due and self._due[0][0] <= now:
            at, job_id, turn = heappop(self._due)
            job = self.jobs.get(job_id)
            if job and job.turn == turn:
                self._proceed(job, at)

    # --- jobs ---

    def job(self, job_id: int) -> Job:
        """Return a job as it is now."""
        with self.lock:
            self.settle()
            if job_id not in self.jobs:
                raise UnknownIdError("job", job_id)
            return self.jobs[job_id]

    def starts(self, connection_id: str) -> list[int]:
        """Return the ids of the connection's jobs, in order of their start."""
        with self.lock:
            return list(self.connection(connection_id).job_ids)

    def begin(self, connection_id: str, kind: str = "sync", *, by_api: bool = False) -> int:
        """Start a job and return its id; from a test: somebody else started it."""
        with self.lock:
            self.settle()
            connection = self.connection(connection_id)
            if connection.status != "active":
                raise NotActiveError(connection_id)
            if connection.running is not None:
                raise AlreadyRunningError(connection_id)
            now = self.now()
            self._last_id += 1
            self._turns += 1
            job = Job(self._last_id, connection_id, connection.workspace_id, kind, "pending", now, now)
            job.by_api, job.turn = by_api, self._turns
            if by_api and kind == "reset":
                self.resets.append(job.id)
            self.jobs[job.id] = job
            self.index.add(job)
            connection.job_ids.append(job.id)
            connection.running = job.id
            self._plan(job, now, self.pending_seconds)
            self.settle()
            return job.id

    def finish(
        self,
        job_id: int,
        rows: int = 0,
        bytes: int = 0,  # noqa: A002
        streams: Sequence[Mapping[str, Any]] | None = None,
    ) -> None:
        """Let a job succeed; `streams` are {name, namespace, rows, bytes}, or the rows are shared out among all."""
        with self.lock:
            job = self.job(job_id)
            self._end_job(job, "succeeded", self.now(), (rows, bytes, streams))

    def fail(
        self,
        job_id: int,
        failure_type: str = "system_error",
        message: str = FAILED_ATTEMPT,
        *,
        retryable: bool | None = None,
        origin: str = "source",
        log_lines: Sequence[str] = (),
    ) -> None:
        """Let a job fail for good."""
        with self.lock:
            job = self.job(job_id)
            self._blame(job, failure(self.now(), message, failure_type, origin, retryable=retryable), log_lines)
            self._end_job(job, "failed", self.now())

    def incomplete(self, job_id: int, message: str = FAILED_ATTEMPT, log_lines: Sequence[str] = ()) -> None:
        """Let the attempt fail; the job waits for its next one (`retry`)."""
        with self.lock:
            self._pause(self.job(job_id), failure(self.now(), message, retryable=True), self.now(), log_lines)

    def retry(self, job_id: int) -> None:
        """Start the next attempt of an incomplete job."""
        with self.lock:
            job = self.job(job_id)
            self._run_job(job, self.now())

    def set_status(self, job_id: int, word: str) -> None:
        """Give a job any status."""
        with self.lock:
            job, now = self.job(job_id), self.now()
            if word in TERMINAL:
                self._end_job(job, word, now)
            elif word == "running":
                self._run_job(job, now, alone=True)
            else:
                self._change(job, word, now)
                self.connection(job.connection_id).running = job.id

    def cancel_by_someone(self, job_id: int) -> None:
        """Cancel a job as somebody in the web interface does."""
        with self.lock:
            self._cancel_job(self.job(job_id))

    def cancel_for_api(self, job_id: int) -> None:
        """Cancel, as the API does, whatever runs on the job's connection, which need not be this job."""
        with self.lock:
            running = self.connection(self.job(job_id).connection_id).running
            if running is None:
                raise NotRunningError(job_id)
            self._cancel_job(self.jobs[running])
            self.cancelled_by_api.append(running)

    def wipe(self) -> None:
        """Lose all configuration and all jobs, as a server installed anew has none; the databases stay."""
        with self.lock:
            self.forget_jobs()
            self.catalogue.forget()

    def stop_jobs(self, connection: Connection) -> None:
        """Cancel what runs on a connection that goes away."""
        if connection.running is not None:
            self._cancel_job(self.jobs[connection.running])

    def forget_jobs(self) -> None:
        """Lose all jobs, as a server restored from an old backup has; later ids still count on."""
        with self.lock:
            self.jobs.clear()
            self.index.clear()
            self._due.clear()
            for connection in self.catalogue.connections.values():
                connection.job_ids.clear()
                connection.running = None

    def page(self, query: Query) -> list[Job]:
        """Return a page of jobs."""
        return self.index.page(query, self._among(query))

    def count(self, query: Query) -> int:
        """Count the jobs that fit, on all pages."""
        return self.index.count(query, self._among(query))

    # --- inside ---

    def _among(self, query: Query) -> list[Job] | None:
        if not query.connections:
            return None
        known = (self.catalogue.connections.get(identifier) for identifier in query.connections)
        return [self.jobs[job_id] for connection in known if connection for job_id in connection.job_ids]

    def _plan(self, job: Job, now: float, seconds: float | None) -> None:
        if seconds is not None:
            heappush(self._due, (round(now + seconds, 6), job.id, job.turn))

    def _proceed(self, job: Job, at: float) -> None:
        if job.status in {"pending", "incomplete"}:
            self._run_job(job, at)
            return
        outcome = self.outcome if isinstance(self.outcome, str) else self.outcome(job)
        if outcome == "incomplete" and len(job.attempts) == 1:
            self._pause(job, failure(at, FAILED_ATTEMPT, retryable=True), at)
            self._plan(job, at, self.run_seconds)
        elif outcome in {"succeeded", "incomplete"}:
            self._end_job(job, "succeeded", at, (AUTOMATIC_ROWS, AUTOMATIC_BYTES, None))
        elif outcome == "cancelled":
            self._cancel_job(job, at)
        else:
            self._blame(job, failure(at, FAILED_ATTEMPT))
            self._end_job(job, outcome, at)

    def _change(self, job: Job, status: str, now: float) -> None:
        self._turns += 1
        job.status, job.updated, job.turn = status, now, self._turns
        self.index.changed(job)

    def _run_job(self, job: Job, now: float, *, alone: bool = False) -> None:
        if not job.attempts or job.attempts[-1].ended is not None:
            job.attempts.append(Attempt(len(job.attempts), now, now))
        job.started = job.started or now
        self.connection(job.connection_id).running = job.id
        self._change(job, "running", now)
        if not alone:
            self._plan(job, now, self.run_seconds)

    def _attempt(self, job: Job, now: float) -> Attempt:
        if not job.attempts:
            job.attempts.append(Attempt(0, now, now))
        return job.attempts[-1]

    def _end_job(self, job: Job, status: str, now: float, counts: tuple[int, int, Any] | None = None) -> None:
        attempt = self._attempt(job, now)
        if counts:
            attempt.rows, attempt.bytes = counts[0], counts[1]
            attempt.streams = shares(self.connection(job.connection_id).streams, *counts)
        attempt.end("succeeded" if status == "succeeded" else "failed", now)
        connection = self.connection(job.connection_id)
        if connection.running == job.id:
            connection.running = None
        self._change(job, status, now)

    def _cancel_job(self, job: Job, at: float | None = None) -> None:
        now = self.now() if at is None else at
        message = "Setting attempt to FAILED because the job was cancelled"
        self._blame(job, failure(now, message, "manual_cancellation", "airbyte_platform"))
        self._end_job(job, "cancelled", now)

    def _blame(self, job: Job, cause: dict[str, Any], lines: Sequence[str] = ()) -> None:
        attempt = self._attempt(job, self._latest)
        attempt.failures.append(cause)
        attempt.logs.extend(lines)

    def _pause(self, job: Job, cause: dict[str, Any], now: float, lines: Sequence[str] = ()) -> None:
        self._blame(job, cause, lines)
        job.attempts[-1].end("failed", now)
        self._change(job, "incomplete", now)
