"""What is said of a remote sync, by whatever engine it runs on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Literal, Protocol, Self

from airflow_elt_provider.errors import ConfigurationError, EltError
from airflow_elt_provider.remotes.flow import Flow
from airflow_elt_provider.remotes.session import Session

OnRunning = Literal["adopt", "wait", "fail"]


class Phase(StrEnum):
    """What a status means to somebody who waits. What we do not know counts as active."""

    ACTIVE = "active"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class Watch:
    """What is waited for; small, JSON, and without a secret: it travels to the triggerer.

    :param remote_id: the remote's own id of what is synced: a connection, or ``project/workflow``.
    :param job_id: the remote's id of this run; "" where it has none (Fivetran).
    :param mark: what was last known before this run began; its form is the remote's own.
    :param after: for a sensor: any run that succeeded after this time will do (ISO 8601).
    """

    remote_id: str
    job_id: str = ""
    mark: str = ""
    after: str = ""

    def to_json(self) -> dict[str, str]:
        """Return it as JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, str]) -> Self:
        """Read what :meth:`to_json` wrote."""
        return cls(**value)

    def __str__(self) -> str:
        return f"{self.remote_id} (job {self.job_id})" if self.job_id else self.remote_id


@dataclass(frozen=True)
class Sighting:
    """One look at a run.

    :param word: the remote's own status.
    :param known: whether we know that word.
    :param note: what a person should hear of it besides, "" for nothing.
    :param lost: whether the server says that it has no such run: it may have forgotten it in a restart.
    """

    job_id: str
    phase: Phase
    word: str
    known: bool = True
    attempts: int | None = None
    rows: int | None = None
    bytes: int | None = None
    note: str = ""
    lost: bool = False

    @classmethod
    def of_lost(cls, watch: Watch, why: EltError | None = None) -> Self:
        """Return the sighting of a run that the server does not know, or of which it alone cannot tell."""
        note = why.message if why else ""
        return cls(watch.job_id, Phase.ACTIVE, "unknown to the server", known=False, lost=True, note=note)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {**asdict(self), "phase": self.phase.value}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_json` wrote."""
        return cls(**{**value, "phase": Phase(value["phase"])})

    @property
    def ended(self) -> bool:
        """Whether the run is over."""
        return self.phase is not Phase.ACTIVE

    def __str__(self) -> str:
        counts = [
            f"{value:,} {name}" for name, value in (("rows", self.rows), ("bytes", self.bytes)) if value is not None
        ]
        attempt = [f"attempt {self.attempts}"] if self.attempts and self.attempts > 1 else []
        return ", ".join([self.word, *attempt, *counts, *([self.note] if self.note else [])])


@dataclass(frozen=True)
class StreamReport:
    """One stream (table) of a run; None: the remote does not say."""

    name: str
    namespace: str = ""
    rows: int | None = None
    bytes: int | None = None
    status: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return it as XCom shows it."""
        return {"name": self.name, "namespace": self.namespace, "rows": self.rows, "bytes": self.bytes,
                "status": self.status}  # fmt: skip


@dataclass(frozen=True)
class Report:
    """What a run did. Times are ISO 8601 in UTC; None: the remote does not say.

    :param reason: why it did not succeed, in the remote's own words.
    :param retryable: whether the remote thinks that another attempt may go better.
    :param log_tail: the last lines of its log.
    """

    remote: str
    remote_id: str
    job_id: str
    status: str
    url: str
    started_at: str | None = None
    finished_at: str | None = None
    rows: int | None = None
    bytes: int | None = None
    attempts: int | None = None
    streams: Sequence[StreamReport] = ()
    reason: str = ""
    retryable: bool = True
    log_tail: Sequence[str] = ()

    def to_json(self) -> dict[str, Any]:
        """Return it as XCom shows it."""
        return {
            "remote": self.remote,
            "remote_id": self.remote_id,
            "job_id": self.job_id,
            "status": self.status,
            "started_at": self.started_at,
            "finished_at": self.finished_at,
            "rows": self.rows,
            "bytes": self.bytes,
            "attempts": self.attempts,
            "streams": [stream.to_json() for stream in self.streams],
            "url": self.url,
        }


@dataclass(frozen=True)
class Order:
    """A sync that is to run once.

    :param remote_id: what is to be synced.
    :param key: identity of this run of the task, the same for all its retries.
    :param on_running: what to do about a run of somebody else that is under way: adopt it if it began after
        ``adopt_after``, wait for its end and then start our own, or fail.
    :param adopt_after: only runs that began at or after this time are adopted; None: any.
    :param since: where no mark was saved by an earlier try: runs that began at or after this time are taken for ours;
        None: this is the first try.
    """

    remote_id: str
    key: str = ""
    on_running: OnRunning = "adopt"
    adopt_after: datetime | None = None
    since: datetime | None = None

    def may_adopt(self, began: datetime | None) -> bool:
        """Say whether a run under way that began then is as good as our own."""
        if self.on_running != "adopt":
            return False
        return self.adopt_after is None or began is None or not_before(began, self.adopt_after)


@dataclass(frozen=True)
class Started:
    """What came of an order.

    :param watch: the run to wait for.
    :param ours: False for somebody else's run that has to end first; give the order again then.
    :param how: ``started``, ``found`` (an earlier try's), ``adopted`` (somebody else's), or ``waiting``.
    :param url: the web page of the run, or the nearest to it.
    """

    watch: Watch
    how: Literal["started", "found", "adopted", "waiting"]
    url: str

    @property
    def ours(self) -> bool:
        """Whether the run is the one that the order wants."""
        return self.how != "waiting"


class Intents(Protocol):
    """Where a try writes down what it is about to do, so that the next try finds it."""

    def read(self) -> str | None:
        """Return the mark that an earlier try of this run saved; None or "" for none."""

    def write(self, mark: str) -> None:
        """Save the mark, before anything is started."""


class Remote(Protocol):
    """One sync engine, in one dialect."""

    name: str
    session: Session

    def start(self, order: Order, intents: Intents) -> Flow[Started]:
        """Start the sync, or find the one that an earlier try started, or adopt one; never start it twice.

        :raises ConfigurationError: when it cannot start before somebody changes something.
        """

    def find(self, order: Order, intents: Intents) -> Flow[Watch | None]:
        """Return the run that the order has led to and that runs now; None for none."""

    def refuse_unknown(self, remote_id: str) -> Flow[None]:
        """Ask for what a sensor waits for.

        :raises ConfigurationError: when the server has nothing of that id.
        """

    def look(self, watches: Sequence[Watch]) -> Flow[Mapping[Watch, Sighting]]:
        """Return what is new of these runs, in as few requests as the remote allows. May leave out the unchanged."""

    def cancel(self, watch: Watch) -> Flow[bool]:
        """Cancel the run if it is the one that runs now. Return whether it was cancelled."""

    def report(self, watch: Watch, sighting: Sighting) -> Flow[Report]:
        """Return what the run did, and why it failed."""

    def check(self) -> Flow[str]:
        """Return a sentence about the server if all is well with connection and credentials."""


def parse_time(text: str | float | None) -> datetime | None:
    """Return a time that a remote wrote: ISO 8601, or seconds since 1970; None where it wrote none."""
    if text is None or text == "":
        return None
    if isinstance(text, int | float):
        return datetime.fromtimestamp(text, UTC)
    value = datetime.fromisoformat(text)
    return value if value.tzinfo else value.replace(tzinfo=UTC)


def not_before(time: datetime, bound: datetime) -> bool:
    """Whether a time that a remote wrote is at or after a bound; many write whole seconds, so its second counts."""
    return time >= bound.replace(microsecond=0)


def iso(value: datetime | str | float | None) -> str | None:
    """Return a time as ISO 8601 in UTC."""
    found = value if isinstance(value, datetime) else parse_time(value)
    return found.astimezone(UTC).isoformat() if found else None


def already_running(remote: str, order: Order, what: str) -> ConfigurationError:
    """Return the error of ``on_running="fail"``."""
    return ConfigurationError(
        f"{remote}: {order.remote_id} is being synced by somebody else ({what}), and on_running='fail'.",
        hint="wait for it and clear the task, or use on_running='adopt' or 'wait'",
    )
