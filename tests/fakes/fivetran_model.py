"""What a fake Fivetran account holds: connections and their syncs, agents, private links, groups, and quotas."""

from __future__ import annotations

import copy
import json
import math
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

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


def timestamp(seconds: float | None) -> str | None:
    """Write a time as Fivetran does."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


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
    """A connection; setting any attribute is seen by the next request, so replace lists and never change them."""

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
            "config": self.config,
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


@dataclass
class Agent:
    """A Hybrid Deployment agent; `strangers` connections use it besides those of this account."""

    id: str
    group_id: str
    online: bool
    strangers: int
    last_used_at: float
    registered_at: float
    version: str = "1.9.4"

    def row(self, users: list[Connection]) -> dict[str, Any]:
        """The agent, used by these connections."""
        usage = [{"connection_id": used.id, "schema": used.schema, "service": used.service} for used in users]
        usage += [
            {"connection_id": f"stranger_{number}", "schema": f"other_{number}", "service": "postgres"}
            for number in range(self.strangers)
        ]
        return {
            "id": self.id,
            "version": self.version,
            "enabled": True,
            "online": self.online,
            "usage": usage,
            "display_name": f"agent {self.id}",
            "group_id": self.group_id,
            "registered_at": timestamp(self.registered_at),
            "created_by": "concerning_batch",
            "deployment_type": "DOCKER",
            "updated_at": timestamp(self.registered_at),
            "last_used_at": timestamp(self.last_used_at),
        }


@dataclass
class Group:
    """A group: what a destination belongs to."""

    id: str
    name: str
    created_at: float

    def row(self) -> dict[str, Any]:
        """The group as it is answered."""
        return {"id": self.id, "name": self.name, "created_at": timestamp(self.created_at)}


@dataclass
class PrivateLink:
    """A private link; `state` is CREATING, UPDATING, DESTROYING, OK or FAIL."""

    id: str
    state: str
    state_summary: str
    created_at: float

    def row(self) -> dict[str, Any]:
        """The link as it is answered."""
        return {
            "id": self.id,
            "name": f"link_{self.id}",
            "region": "AWS_EU_WEST_1",
            "service": "SOURCE_AWS",
            "cloud_provider": "AWS",
            "account_id": "account",
            "state": self.state,
            "state_summary": self.state_summary,
            "resource_upstream_status": "IDLE" if self.state == "OK" else "PENDING",
            "host": f"{self.id}.privatelink.example",
            "created_at": timestamp(self.created_at),
            "created_by": "concerning_batch",
            "config": {"connection_service_name": "com.amazonaws.vpce.eu-west-1.example"},
        }


def schema_config(names: dict[str, list[str]]) -> dict[str, Any]:
    """Return the data selection of schemas with these tables, all enabled."""
    schemas = {
        name: {
            "name_in_destination": name,
            "enabled": True,
            "tables": {table: _table(table) for table in tables},
        }
        for name, tables in names.items()
    }
    return {"schema_change_handling": "ALLOW_ALL", "enable_new_by_default": True, "schemas": schemas}


def _table(name: str) -> dict[str, Any]:
    return {
        "name_in_destination": name,
        "enabled": True,
        "sync_mode": "SOFT_DELETE",
        "enabled_patch_settings": {"allowed": True},
        "supports_columns_config": True,
        "supports_history_mode": True,
        "columns": {},
    }


def enable_all(config: dict[str, Any], *, enabled: bool) -> dict[str, Any]:
    """Return the data selection with everything, or nothing, in it."""
    changed = copy.deepcopy(config)
    for schema in changed["schemas"].values():
        schema["enabled"] = enabled
        for table in schema["tables"].values():
            table["enabled"] = enabled
    return changed


def merged_schemas(config: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """Return the data selection after a change; KeyError names a schema or table that is not in it."""
    merged = copy.deepcopy(config)
    for key in ("schema_change_handling", "is_type_locked"):
        if key in change:
            merged[key] = change[key]
    merged["enable_new_by_default"] = merged["schema_change_handling"] == "ALLOW_ALL"
    for name, schema in change.get("schemas", {}).items():
        kept = merged["schemas"][name]
        kept["enabled"] = schema.get("enabled", kept["enabled"])
        for table, wanted in schema.get("tables", {}).items():
            columns = kept["tables"][table]["columns"]
            kept["tables"][table].update({key: wanted[key] for key in ("enabled", "sync_mode") if key in wanted})
            for column, values in wanted.get("columns", {}).items():
                columns[column] = {**columns.get(column, _column(column)), **values}
    return merged


def _column(name: str) -> dict[str, Any]:
    return {"name_in_destination": name, "enabled": True, "hashed": False, "enabled_patch_settings": {"allowed": True}}


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
