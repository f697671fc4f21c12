"""What a fake Digdag holds: projects, workflows, attempts and their tasks."""

from __future__ import annotations

import hashlib
import io
import re
import tarfile
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
            "archiveType": "db",
            "archiveMd5": b64encode(hashlib.md5(revision.archive, usedforsecurity=False).digest()).decode(),
        }


@dataclass
class Revision:
    """One upload."""

    name: str
    archive: bytes
    created_at: float
    workflows: list[Workflow] = field(default_factory=list)


@dataclass
class Workflow:
    """A workflow of one revision; the next revision of it has another id."""

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


@dataclass(frozen=True)
class Written:
    """What the fake understands of a .dig file: the outermost tasks and the zone."""

    tasks: list[str]
    timezone: str


def workflows_in(archive: bytes) -> dict[str, Written]:
    """Return what each plain .dig file of a tar.gz says, by the name of its workflow."""
    found: dict[str, Written] = {}
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as files:
        for member in files:
            name = member.name.removeprefix("./")
            content = files.extractfile(member)
            if content and name.endswith(".dig") and "/" not in name:
                found[name.removesuffix(".dig")] = _written(content.read().decode())
    return found


def _written(text: str) -> Written:
    zone = re.search(r"""^timezone:\s*["']?([\w/+-]+)""", text, re.MULTILINE)
    return Written(re.findall(r"^(\+[\w-]+):", text, re.MULTILINE), zone[1] if zone else "UTC")
