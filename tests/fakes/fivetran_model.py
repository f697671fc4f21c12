"""What a fake Fivetran account holds above all: connections and their syncs, and quotas."""

from __future__ import annotations

import json
import math
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Literal

from tests.fakes.fivetran_objects import timestamp
from tests.fakes.fivetran_schemas import Known
from tests.fakes.fivetran_secrets import masked

__all__ = ["SETTINGS", "Connection", "Outcome", "Quota", "Sync", "SyncState", "timestamp"]
Outcome = Literal["succeeded", "failed"]
SyncState = Literal["running", "succeeded", "failed", "stopped", "rescheduled"]
SETTINGS: dict[str, Any] = {
    "service_version": 1,
    "connected_by": "concerning_batch",
    "pause_after_trial": False,
    "sync_frequency": 360,
    "daily_sync_time": None,
    "data_delay_sensitivity": "NORMAL",
    "data_delay_threshold": 0,
    "networking_method": "Directly",
    "private_link_id": None,
    "proxy_agent_id": None,
    "hybrid_deployment_agent_id": None,
    "destination_schema_names": "FIVETRAN_NAMING",
    "external_secrets_manager_id": None,
}


@dataclass
class Sync:
    """One run of a connection. Fivetran never tells its id; only tests see these.

    `by`: "api" (POST /sync), "resync", "patch" (is_historical_sync), "schedule", or whoever a test names.
    """

    connection_id: str
    by: str
    started: float
    historical: bool = False
    state: SyncState = "running"
    ended: float | None = None


@dataclass
class Connection:
    """A connection; setting any attribute is seen by the next request, so replace lists and never change them.

    `captured`: whether its schemas were read from the source yet; `awaited`: what is to be set once they are;
    `first_waits`: whether its first sync begins as soon as it is connected and not paused.
    """

    id: str
    schema: str
    service: str
    group_id: str
    created_at: float
    paused: bool = False
    schedule_type: str = "auto"
    setup_state: str = "connected"
    sync_state: str = "scheduled"
    update_state: str = "on_schedule"
    succeeded_at: float | None = None
    failed_at: float | None = None
    historical: bool = False
    rescheduled_for: float | None = None
    schema_status: str | None = "ready"
    tasks: list[dict[str, str]] = field(default_factory=list)
    warnings: list[dict[str, str]] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=lambda: dict(SETTINGS))
    config: dict[str, Any] = field(default_factory=dict)
    setup_tests: list[dict[str, str]] = field(default_factory=list)
    schemas: dict[str, Any] = field(default_factory=dict)
    captured: bool = True
    known: Known = field(default_factory=dict)
    awaited: dict[str, Any] = field(default_factory=dict)
    auth: dict[str, Any] = field(default_factory=dict)
    first_waits: bool = False
    source_works: bool = True
    completable: bool = True
    resync_waits: bool = False
    sync: Sync | None = None
    _text: str | None = field(default=None, init=False, repr=False, compare=False)

    def __setattr__(self, name: str, value: object) -> None:
        """Set, and forget the text made for lists."""
        object.__setattr__(self, name, value)
        if name != "_text":
            object.__setattr__(self, "_text", None)

    def text(self) -> str:
        """The JSON of this connection in a list; made once per change, so that long pages are cheap."""
        text = self._text or json.dumps(self.row())
        self._text = text
        return text

    def row(self) -> dict[str, Any]:
        """The connection as an item of a list."""
        return {
            "id": self.id,
            "service": self.service,
            "schema": self.schema,
            "group_id": self.group_id,
            "paused": self.paused,
            "schedule_type": self.schedule_type,
            **self.settings,
            "created_at": timestamp(self.created_at),
            "succeeded_at": timestamp(self.succeeded_at),
            "failed_at": timestamp(self.failed_at),
            "status": self.status(),
        }

    def details(self) -> dict[str, Any]:
        """The connection alone: also its configuration and the last setup tests."""
        return {
            **self.row(),
            "config": {**masked(self.config), "public_key": f"ssh-rsa of {self.group_id}"},
            "setup_tests": self.setup_tests,
            "source_sync_details": {},
            "destination_configuration": {},
        }

    def status(self) -> dict[str, Any]:
        """The part that a poller reads."""
        return {
            "setup_state": self.setup_state,
            "schema_status": self.schema_status,
            "sync_state": self.sync_state,
            "update_state": self.update_state,
            "is_historical_sync": self.historical,
            "rescheduled_for": timestamp(self.rescheduled_for),
            "tasks": self.tasks,
            "warnings": self.warnings,
        }

    def uses(self, agent_id: str) -> bool:
        """Whether it runs on this agent."""
        return bool(self.settings["hybrid_deployment_agent_id"] == agent_id)

    def run_tests(self) -> None:
        """Run the setup tests: they also mend, or break, the setup state."""
        last = {"title": "Validate Login", "status": "PASSED", "message": ""}
        if not self.source_works:
            last = {"title": "Validate Login", "status": "FAILED", "message": "Invalid login credentials."}
        self.setup_tests = [{"title": "Connect to Host", "status": "PASSED", "message": ""}, last]
        if self.source_works:
            self.setup_state = "connected"
        elif self.setup_state == "connected":
            self.setup_state = "broken"


class Quota:
    """So many calls in any `seconds`; None means any number."""

    def __init__(self, limit: int | None, seconds: float) -> None:
        """Start with nothing used."""
        self.limit = limit
        self.seconds = seconds
        self._used: deque[float] = deque()

    def take(self, now: float) -> int | None:
        """Use one, or return after how many whole seconds there is one again."""
        while self._used and self._used[0] <= now - self.seconds:
            self._used.popleft()
        if self.limit is None or len(self._used) < self.limit:
            self._used.append(now)
            return None
        return max(1, math.ceil(self._used[0] + self.seconds - now)) if self._used else math.ceil(self.seconds)
