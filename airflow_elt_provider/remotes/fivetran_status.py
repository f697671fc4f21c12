"""What Fivetran says of a connection, and what follows from it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Self

from airflow_elt_provider.errors import ConfigurationError
from airflow_elt_provider.remotes.model import Phase, Sighting, Watch, parse_time

_KNOWN: Final = frozenset({"scheduled", "syncing", "paused", "rescheduled"})
"""``sync_state`` of the API's specification."""


@dataclass(frozen=True)
class Mark:
    """When the last syncs of a connection ended; "" for never."""

    succeeded_at: str
    failed_at: str

    @property
    def times(self) -> tuple[datetime | None, datetime | None]:
        """The same as times: the server may write one in several ways."""
        return parse_time(self.succeeded_at), parse_time(self.failed_at)

    def __str__(self) -> str:
        return json.dumps([self.succeeded_at, self.failed_at])

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what ``str`` wrote."""
        return cls(*json.loads(text))


@dataclass(frozen=True, slots=True)
class Connection:
    """One connection, as one answer shows it."""

    id: str
    service: str
    schema: str
    group_id: str
    paused: bool
    schedule_type: str
    succeeded_at: str
    failed_at: str
    setup_state: str
    sync_state: str
    rescheduled_for: str
    tasks: Sequence[Mapping[str, Any]]
    warnings: Sequence[Mapping[str, Any]]
    networking_method: str = ""
    private_link_id: str = ""
    agent_id: str = ""

    @classmethod
    def parse(cls, value: Mapping[str, Any]) -> Self:
        """Read an answer's ``data``."""
        status = value.get("status") or {}

        def text(source: Mapping[str, Any], name: str) -> str:
            return str(source.get(name) or "")

        return cls(
            id=str(value["id"]),
            service=text(value, "service"),
            schema=text(value, "schema"),
            group_id=text(value, "group_id"),
            paused=value.get("paused") is True,
            schedule_type=text(value, "schedule_type"),
            succeeded_at=text(value, "succeeded_at"),
            failed_at=text(value, "failed_at"),
            setup_state=text(status, "setup_state"),
            sync_state=text(status, "sync_state"),
            rescheduled_for=text(status, "rescheduled_for"),
            tasks=status.get("tasks") or (),
            warnings=status.get("warnings") or (),
            networking_method=text(value, "networking_method"),
            private_link_id=text(value, "private_link_id"),
            agent_id=text(value, "hybrid_deployment_agent_id"),
        )

    @property
    def mark(self) -> Mark:
        """When its last syncs ended."""
        return Mark(self.succeeded_at, self.failed_at)

    @property
    def syncing(self) -> bool:
        """Whether a sync runs, or is put off."""
        return self.sync_state in {"syncing", "rescheduled"}

    @property
    def broken(self) -> bool:
        """Whether it needs somebody's hand before it can sync."""
        return self.setup_state in {"broken", "incomplete"}

    @property
    def reason(self) -> str:
        """What Fivetran wants done: its tasks, else its warnings."""
        wanted = self.tasks or self.warnings
        return "; ".join(f"{one.get('message') or ''} ({one.get('code') or 'no code'})" for one in wanted)

    def moved(self, mark: Mark) -> bool:
        """Whether a sync ended since the mark."""
        return self.mark.times != mark.times

    def succeeded_since(self, mark: Mark) -> bool:
        """Whether the sync that ended last since the mark succeeded."""
        if parse_time(self.succeeded_at) == parse_time(mark.succeeded_at):
            return False
        return _later(self.succeeded_at, self.failed_at)

    def refuse_unfit(self) -> None:
        """Refuse to start what cannot run: a connection that is paused or broken.

        :raises ConfigurationError: says what has to be done.
        """
        if self.paused:
            raise ConfigurationError(
                f"Fivetran's connection {self.id!r} ({self.schema}) is paused, by somebody who meant it.",
                hint="enable it in the dashboard; a sync does not un-pause",
            )
        if self.broken:
            raise ConfigurationError(
                f"Fivetran's connection {self.id!r} ({self.schema}) is {self.setup_state}. {self.reason}",
                hint="mend the connection in the dashboard and run its setup tests",
            )

    def due_again(self, now: datetime) -> str:
        """Return the time for which a sync was put off, if it has come and nobody else begins it; else ""."""
        at = parse_time(self.rescheduled_for)
        put_off = self.sync_state == "rescheduled" and self.schedule_type == "manual" and not self.paused
        return self.rescheduled_for if put_off and at and at <= now else ""

    def sighting(self, watch: Watch) -> Sighting:
        """Return what this says of a sync."""
        if watch.after:
            return self._since(watch)
        mark = Mark.parse(watch.mark)
        if self.sync_state == "syncing" or not self.moved(mark):
            return self._under_way()
        good = self.succeeded_since(mark)
        return Sighting("", Phase.SUCCEEDED if good else Phase.FAILED, "succeeded" if good else "failed")

    def _under_way(self) -> Sighting:
        word = self.sync_state
        if word == "rescheduled":
            return Sighting("", Phase.ACTIVE, word, note=f"put off until {self.rescheduled_for}")
        if word == "paused" or self.paused:
            return Sighting("", Phase.CANCELLED, "paused", note="somebody paused the connection while it was syncing")
        if word != "syncing" and self.setup_state == "broken":
            return Sighting("", Phase.FAILED, "broken", note=self.reason)
        return Sighting("", Phase.ACTIVE, word, known=word in _KNOWN)

    def _since(self, watch: Watch) -> Sighting:
        after, good = parse_time(watch.after), parse_time(self.succeeded_at)
        if after and good and good >= after:
            return Sighting("", Phase.SUCCEEDED, "succeeded")
        last = f"the last success was at {self.succeeded_at or 'no time'}"
        if self.paused or self.broken:
            last += "; it is paused" if self.paused else f"; it is {self.setup_state}"
        return Sighting("", Phase.ACTIVE, self.sync_state, known=self.sync_state in _KNOWN, note=last)


def _later(one: str, other: str) -> bool:
    """Whether the first time is the later; no time is the earliest."""
    first, second = parse_time(one), parse_time(other)
    return first is not None and (second is None or first > second)
