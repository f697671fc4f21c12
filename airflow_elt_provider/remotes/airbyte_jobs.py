"""What both of Airbyte's APIs say of a job, in one form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Protocol

from airflow_elt_provider.remotes.flow import Flow, JsonObject
from airflow_elt_provider.remotes.model import Phase, Report, Sighting, StreamReport, Watch, iso, parse_time

PHASES: Final = {
    "pending": Phase.ACTIVE,
    "queued": Phase.ACTIVE,
    "running": Phase.ACTIVE,
    "incomplete": Phase.ACTIVE,  # an attempt failed, the next one comes
    "succeeded": Phase.SUCCEEDED,
    "failed": Phase.FAILED,
    "cancelled": Phase.CANCELLED,
}
"""``JobStatusEnum`` of the public API's specification; the configuration API's is a part of it."""
START_SECONDS: Final = 150.0
"""How long to wait for the answer to a start: the server itself waits up to 60 s for the job's id, 0.40 without end."""
LOG_LINES: Final = 50


@dataclass(frozen=True)
class Job:
    """One job of a connection."""

    id: int
    connection_id: str
    status: str
    created: datetime | None
    updated: datetime | None
    rows: int | None = None
    bytes: int | None = None

    @property
    def phase(self) -> Phase:
        """What the status means; an unknown one is active."""
        return PHASES.get(self.status, Phase.ACTIVE)

    @property
    def active(self) -> bool:
        """Whether it has not ended."""
        return self.phase is Phase.ACTIVE

    def watch(self) -> Watch:
        """Return what waits for it. Its mark is when it began."""
        return Watch(self.connection_id, str(self.id), iso(self.created) or "")

    def sighting(self) -> Sighting:
        """Return what is seen of it."""
        return Sighting(str(self.id), self.phase, self.status, self.status in PHASES, rows=self.rows, bytes=self.bytes)


def public_job(value: Mapping[str, Any]) -> Job:
    """Read a ``JobResponse`` of the public API."""
    return Job(
        int(value["jobId"]),
        str(value["connectionId"]),
        str(value["status"]),
        parse_time(value.get("startTime")),
        parse_time(value.get("lastUpdatedAt")) or parse_time(value.get("startTime")),
        _count(value.get("rowsSynced")),
        _count(value.get("bytesSynced")),
    )


def config_job(value: Mapping[str, Any]) -> Job:
    """Read a ``JobRead`` of the configuration API."""
    return Job(
        int(value["id"]),
        str(value["configId"]),
        str(value["status"]),
        parse_time(value.get("createdAt")),
        parse_time(value.get("updatedAt")),
    )


class Conflict:
    """The answer of a start that met another run."""


class Dialect(Protocol):
    """One of Airbyte's APIs."""

    def connection(self, connection_id: str) -> Flow[JsonObject]:
        """Return the connection: ``status``, ``name``, ``workspaceId`` ("" where unknown).

        :raises ConfigurationError: when there is none of that id.
        """

    def jobs(self, connection_id: str, *, above: int = 0, since: datetime | None = None) -> Flow[list[Job]]:
        """Return the latest syncs of a connection, newest first: those above an id, or begun since then."""

    def start(self, connection_id: str) -> Flow[Job | Conflict]:
        """Start a sync."""

    def job(self, job_id: str) -> Flow[Job | None]:
        """Return a job; None when the server does not know it."""

    def cancel(self, job_id: str) -> Flow[None]:
        """Cancel whatever runs on the connection of this job: Airbyte offers nothing narrower."""

    def look(self, watches: Sequence[Watch]) -> Flow[Mapping[Watch, Sighting]]:
        """Return what is new of these jobs."""

    def details(self, job_id: str) -> Flow[JsonObject | None]:
        """Return a ``JobInfoRead`` with attempts and logs; None where it cannot be had."""

    def check(self) -> Flow[str]:
        """Return a sentence about the server."""


def report_of(job: Job, details: JsonObject | None, url: str) -> Report:
    """Return the report of a job from all that is known of it."""
    attempts: list[JsonObject] = (details or {}).get("attempts") or []
    last = attempts[-1] if attempts else {}
    attempt = last.get("attempt") or {}
    totals = attempt.get("totalStats") or {}
    return Report(
        remote="airbyte",
        remote_id=job.connection_id,
        job_id=str(job.id),
        status=job.status,
        url=url,
        started_at=iso(job.created),
        finished_at=iso(attempt.get("endedAt") or job.updated),
        rows=_first(job.rows, _total("records", totals, attempt)),
        bytes=_first(job.bytes, _total("bytes", totals, attempt)),
        attempts=len(attempts) or None,
        streams=[_stream(value, job) for value in attempt.get("streamStats") or []],
        **_failure(attempt, last, job),
    )


def _total(what: str, totals: JsonObject, attempt: JsonObject) -> int | None:
    return _first(totals.get(f"{what}Committed"), attempt.get(f"{what}Synced"), totals.get(f"{what}Emitted"))


def _stream(value: JsonObject, job: Job) -> StreamReport:
    stats = value.get("stats") or {}
    return StreamReport(
        str(value.get("streamName")),
        str(value.get("streamNamespace") or ""),
        _first(stats.get("recordsCommitted"), stats.get("recordsEmitted")),
        _first(stats.get("bytesCommitted"), stats.get("bytesEmitted")),
        job.status,
    )


def _failure(attempt: JsonObject, last: JsonObject, job: Job) -> JsonObject:
    """Return reason, whether a retry may help, and the log's end; a configuration error never passes by itself."""
    if job.phase is Phase.SUCCEEDED:
        return {}
    failures: list[JsonObject] = (attempt.get("failureSummary") or {}).get("failures") or []
    said = [_sentence(failure) for failure in failures]
    final = any(one.get("failureType") == "config_error" or one.get("retryable") is False for one in failures)
    lines = ((last.get("logs") or {}).get("logLines")) or []
    return {"reason": "; ".join(said), "retryable": not final, "log_tail": [str(line) for line in lines[-LOG_LINES:]]}


def _sentence(failure: JsonObject) -> str:
    message = failure.get("externalMessage") or failure.get("internalMessage") or "no message"
    origin, kind = failure.get("failureOrigin"), failure.get("failureType")
    where = ", ".join(str(word) for word in (origin, kind) if word)
    return f"{message} ({where})" if where else str(message)


def _first(*values: Any) -> int | None:
    return next((count for count in map(_count, values) if count is not None), None)


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
