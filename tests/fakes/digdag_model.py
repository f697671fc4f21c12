"""What a fake Digdag holds: projects, workflows, attempts and their tasks."""

from __future__ import annotations

import gzip
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


@dataclass
class Attempt:
    """One try of a session. `by`: "api", or whoever a test names; `done_before`: tasks that a resume skips."""

    id: str
    workflow: Workflow
    session: Session
    retry_name: str | None
    params: dict[str, Any]
    by: str
    created: float
    index: int
    planned_seconds: float | None = None
    done_before: tuple[str, ...] = ()
    status: Status = "running"
    cancel_requested: bool = False
    finished: float | None = None
    failed_task: str | None = None
    message: str = ""
    logs: dict[str, str] = field(default_factory=dict)

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

    def states(self, now: float) -> dict[str, str]:
        """The state of each task: one after the other, each as long as the others."""
        left = [task for task in self.workflow.tasks if task not in self.done_before]
        states = dict.fromkeys(self.done_before, "success")
        reached = self._reached(len(left), now)
        for number, task in enumerate(left):
            states[task] = self._state(task, number - reached)
        return {task: states[task] for task in self.workflow.tasks}

    def _reached(self, count: int, now: float) -> int:
        if self.failed_task is not None:
            return [task for task in self.workflow.tasks if task not in self.done_before].index(self.failed_task)
        elapsed = (self.finished or now) - self.created
        return min(count - 1, int(elapsed / self.planned_seconds * count)) if self.planned_seconds else 0

    def _state(self, task: str, distance: int) -> str:
        if self.status == "success" or distance < 0:
            return "success"
        if self.status == "killed":
            return "canceled"
        if task == self.failed_task:
            return "error"
        return "running" if distance == 0 and self.status == "running" else "blocked"

    def task_rows(self, now: float) -> list[dict[str, Any]]:
        """The root, which groups, and the tasks."""
        root = f"+{self.workflow.name}"
        roots = {"running": "planned", "success": "success", "error": "group_error", "killed": "canceled"}
        rows = [self._task_row(1, root, roots[self.status], now)]
        for number, (task, state) in enumerate(self.states(now).items(), start=2):
            rows.append(self._task_row(number, root + task, state, now))
        return rows

    def _task_row(self, number: int, full_name: str, state: str, now: float) -> dict[str, Any]:
        first = int(self.id) * 1000
        return {
            "id": str(first + number),
            "fullName": full_name,
            "parentId": None if number == 1 else str(first + 1),
            "upstreams": [str(first + number - 1)] if number > 2 else [],
            "isGroup": number == 1,
            "state": state,
            "cancelRequested": self.cancel_requested,
            "config": {} if number == 1 else {"echo>": full_name},
            "exportParams": {},
            "storeParams": {},
            "stateParams": {},
            "error": {"message": self.message, "stacktrace": ""} if state == "error" else {},
            "startedAt": None if state == "blocked" else instant(self.created),
            "updatedAt": instant(self.finished or now),
            "retryAt": None,
        }

    def files(self, now: float) -> dict[str, tuple[str, bytes]]:
        """The log files of the tasks that started: the task's full name and the gzip of its log, by file name."""
        files: dict[str, tuple[str, bytes]] = {}
        for number, (task, state) in enumerate(self.states(now).items()):
            if task in self.done_before or state == "blocked":
                continue
            full_name = f"+{self.workflow.name}{task}"
            text = self.logs.get(task) or self._log(full_name, state)
            name = f"{full_name}@{int(self.created):08x}{number:08x}.1%40fake.log.gz"
            files[name] = (full_name, gzip.compress(text.encode(), mtime=0))
        return files

    def _log(self, full_name: str, state: str) -> str:
        lines = [f"{instant(self.created)} [INFO] {full_name}: echo>: {full_name}"]
        if state == "error":
            lines.append(f"{instant(self.finished)} [ERROR] Task {full_name} failed.\n{self.message}")
        return "\n".join(lines) + "\n"


def workflows_in(archive: bytes) -> dict[str, list[str]]:
    """Return the names of the tasks of each .dig file in a tar.gz; only outermost tasks of plain files are seen."""
    found: dict[str, list[str]] = {}
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as files:
        for member in files:
            name = member.name.removeprefix("./")
            content = files.extractfile(member)
            if content and name.endswith(".dig") and "/" not in name:
                text = content.read().decode()
                found[name.removesuffix(".dig")] = re.findall(r"^(\+[\w-]+):", text, re.MULTILINE)
    return found
