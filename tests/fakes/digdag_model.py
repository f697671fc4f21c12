"""What a fake Digdag holds: projects, workflows, attempts and their tasks."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal
from zoneinfo import ZoneInfo

Outcome = Literal["success", "error"]
Status = Literal["running", "success", "error", "killed"]


def instant(seconds: float | None) -> str | None:
    """Write a moment as Digdag does: whole seconds, and Z."""
    return None if seconds is None else datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass
class Project:
    """A project; every upload is a revision with workflows of its own."""

    id: str
    name: str
    created_at: float
    revisions: list[Revision] = field(default_factory=list)
    secrets: dict[str, str] = field(default_factory=dict)
    schedules: dict[str, Schedule] = field(default_factory=dict)

    def latest(self) -> Revision:
        """The revision that counts."""
        return self.revisions[-1]

    def named(self) -> dict[str, str]:
        """The project as others mention it."""
        return {"id": self.id, "name": self.name}

    def row(self) -> dict[str, Any]:
        """The project as it is answered."""
        revision = self.latest()
        return {
            **self.named(),
            "revision": revision.name,
            "createdAt": instant(self.created_at),
            "updatedAt": instant(revision.created_at),
            "deletedAt": None,
            **revision.kept(),
        }


@dataclass
class Revision:
    """One upload; `storage`: where its archive is given out, "" for the server itself."""

    name: str
    archive: bytes
    created_at: float
    storage: str = ""
    workflows: list[Workflow] = field(default_factory=list)

    def kept(self) -> dict[str, Any]:
        """How its archive is kept."""
        md5 = hashlib.md5(self.archive, usedforsecurity=False).digest()
        return {"archiveType": "s3" if self.storage else "db", "archiveMd5": b64encode(md5).decode()}

    def row(self) -> dict[str, Any]:
        """The revision as it is listed: without an id."""
        return {"revision": self.name, "createdAt": instant(self.created_at), **self.kept(), "userInfo": {}}


@dataclass
class Workflow:
    """A workflow of one revision; the next revision of it has another id. `schedule`: the time of the next session."""

    id: str
    name: str
    project: Project
    revision: str
    tasks: list[str]
    timezone: str = "UTC"
    schedule: str | None = None

    def row(self) -> dict[str, Any]:
        """The workflow as it is answered."""
        return {
            "id": self.id,
            "name": self.name,
            "project": self.project.named(),
            "revision": self.revision,
            "timezone": self.timezone,
            "config": {task: {"echo>": task} for task in self.tasks},
        }


@dataclass
class Schedule:
    """What starts a workflow by itself; over all revisions that have it the same one, disabled or not."""

    id: str
    workflow: Workflow
    created_at: float
    updated_at: float
    disabled_at: float | None = None

    def row(self) -> dict[str, Any]:
        """The schedule as it is answered; the fake's sessions have the times at which they run."""
        assert self.workflow.schedule
        planned = datetime.fromisoformat(self.workflow.schedule)
        return {
            "id": self.id,
            "project": self.workflow.project.named(),
            "workflow": {"id": self.workflow.id, "name": self.workflow.name},
            "nextRunTime": instant(planned.timestamp()),
            "nextScheduleTime": planned.isoformat(),
            "disabledAt": instant(self.disabled_at),
        }

    def summary(self) -> dict[str, Any]:
        """The schedule as the calls that change it answer."""
        return {**self.row(), "createdAt": instant(self.created_at), "updatedAt": instant(self.updated_at)}


@dataclass
class Session:
    """A workflow at a time: the attempts of it share this."""

    id: str
    uuid: str
    time: datetime
    attempts: list[Attempt] = field(default_factory=list)

    def row(self) -> dict[str, Any]:
        """The session as it is answered, with less of its last attempt than attempts themselves tell."""
        last = self.attempts[-1].row()
        told = ("id", "retryAttemptName", "done", "success", "cancelRequested", "params", "createdAt", "finishedAt")
        return {
            "id": self.id,
            "project": last["project"],
            "workflow": last["workflow"],
            "sessionUuid": self.uuid,
            "sessionTime": last["sessionTime"],
            "lastAttempt": {name: last[name] for name in told},
        }


@dataclass
class Attempt:
    """One try of a session.

    `by`: "api", or whoever a test names; `done_before`: tasks that a resume skips. From `killed_at` on no further task
    begins; from `failed_at` on a task is `error`, though the attempt may run a moment longer.
    """

    id: str
    workflow: Workflow
    session: Session
    retry_name: str | None
    params: dict[str, Any]
    by: str
    created: float
    index: int
    planned_seconds: float | None = None
    planned_task: str | None = None
    done_before: tuple[str, ...] = ()
    status: Status = "running"
    cancel_requested: bool = False
    killed_at: float | None = None
    failed_at: float | None = None
    finished: float | None = None
    failed_task: str | None = None
    message: str = ""
    logs: dict[str, str] = field(default_factory=dict)

    def tasks_to_run(self) -> list[str]:
        """The tasks that a resume does not skip."""
        return [task for task in self.workflow.tasks if task not in self.done_before]

    def row(self) -> dict[str, Any]:
        """The attempt as it is answered; what does not apply is null."""
        zone = ZoneInfo(self.workflow.timezone)
        return {
            "id": self.id,
            "index": self.index,
            "project": self.workflow.project.named(),
            "workflow": {"name": self.workflow.name, "id": self.workflow.id},
            "sessionId": self.session.id,
            "sessionUuid": self.session.uuid,
            "sessionTime": self.session.time.astimezone(zone).isoformat(),
            "retryAttemptName": self.retry_name,
            "done": self.status != "running",
            "success": self.status == "success",
            "cancelRequested": self.cancel_requested,
            "params": self.params,
            "createdAt": instant(self.created),
            "finishedAt": instant(self.finished),
            "status": self.status,
        }
