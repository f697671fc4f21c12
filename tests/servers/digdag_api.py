"""A client for the stories of digdag_stories.py, and the project that they are about."""

from __future__ import annotations

import io
import tarfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol

import requests

PROJECT = "rental"
FIRST = "2026-01-02T00:00:00+00:00"
WORKFLOWS = {
    "good": "timezone: UTC\n+say:\n  sh>: echo hello ${name}\n+store:\n  sh>: echo stored\n",
    "brittle": "timezone: UTC\n+first:\n  sh>: echo\n+need_go:\n  sh>: test ${go} = yes\n+third:\n  sh>: echo\n",
    "slow": "timezone: UTC\n+sleep:\n  sh>: sleep 5\n+after:\n  sh>: echo after\n",
    "tokyo": "timezone: Asia/Tokyo\n+say:\n  sh>: echo hello ${name}\n",
}
ATTEMPT = {
    "id", "index", "project", "workflow", "sessionId", "sessionUuid", "sessionTime", "retryAttemptName", "done",
    "success", "cancelRequested", "params", "createdAt", "finishedAt", "status",
}  # fmt: skip
TASK = {
    "id", "fullName", "parentId", "config", "upstreams", "isGroup", "state", "cancelRequested", "exportParams",
    "storeParams", "stateParams", "updatedAt", "retryAt", "startedAt", "error",
}  # fmt: skip
PROJECT_FIELDS = {"id", "name", "revision", "createdAt", "updatedAt", "deletedAt", "archiveType", "archiveMd5"}
LOG_FILE = {"fileName", "fileSize", "taskName", "fileTime", "agentId", "direct"}


class Server(Protocol):
    """A running server."""

    @property
    def url(self) -> str:
        """Where it is."""


class Api:
    """What a client asks; every answer must be JSON unless it is a file."""

    def __init__(self, url: str, guarded: Callable[[str, str], AbstractContextManager[Server]]) -> None:
        """Talk to the server at `url`; `guarded` makes another one, which asks for a user and a password."""
        self.url = url
        self.guarded = guarded
        self.ids: dict[str, str] = {}

    def call(self, method: str, path: str, status: int = 200, **options: Any) -> Any:
        """Ask, and return the answer, which must have this status."""
        answer = requests.request(method, f"{self.url}/api/{path}", timeout=30, **options)
        assert answer.status_code == status, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json()

    def push(self, revision: str, status: int = 200, kind: str = "application/gzip") -> Any:
        """Upload the project."""
        query = {"project": PROJECT, "revision": revision}
        return self.call("PUT", "projects", status, params=query, headers={"Content-Type": kind}, data=archive())

    def project(self) -> Any:
        """Return the project."""
        return self.call("GET", "project", params={"name": PROJECT})

    def workflow(self, name: str) -> str:
        """Return the id of a workflow."""
        if name not in self.ids:
            self.ids[name] = self.call("GET", "workflow", params={"project": PROJECT, "name": name})["id"]
        return self.ids[name]

    def start(self, workflow: str, at: str = FIRST, status: int = 200, **more: Any) -> Any:
        """Start an attempt."""
        body = {"workflowId": self.workflow(workflow), "sessionTime": at, "params": {"name": "x"}, **more}
        return self.call("PUT", "attempts", status, json=body)

    def wait(self, attempt: Any) -> Any:
        """Return the attempt when it is done."""
        deadline = time.monotonic() + 120
        while not attempt["done"]:
            assert time.monotonic() < deadline, attempt
            time.sleep(0.1)
            attempt = self.call("GET", f"attempts/{attempt['id']}")
        return attempt

    def tasks(self, attempt: Any) -> dict[str, Any]:
        """Return the tasks by their full names."""
        rows = self.call("GET", f"attempts/{attempt['id']}/tasks")["tasks"]
        return {row["fullName"]: row for row in rows}

    def states(self, attempt: Any) -> dict[str, str]:
        """Return the states of the tasks by their full names."""
        return {name: task["state"] for name, task in self.tasks(attempt).items()}

    def files(self, attempt: Any, **query: Any) -> list[Any]:
        """Return the log files."""
        return list(self.call("GET", f"logs/{attempt['id']}/files", params=query)["files"])


def archive() -> bytes:
    """Return the workflows as a tar.gz."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as files:
        for name, text in WORKFLOWS.items():
            member = tarfile.TarInfo(f"{name}.dig")
            member.size = len(text)
            files.addfile(member, io.BytesIO(text.encode()))
    return packed.getvalue()
