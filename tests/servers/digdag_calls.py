"""Calls of the fake Digdag, and a clock that only tests move."""

from __future__ import annotations

from typing import Any

import requests

from tests.fakes.digdag import FakeDigdag

NOW = 1_800_000_000.25
DAY = "2027-01-14T00:00:00+00:00"


class Client:
    """Calls of a user, and a clock that only tests move."""

    def __init__(self, server: FakeDigdag) -> None:
        self.server = server
        self.now = NOW
        self.auth: tuple[str, str] | None = ("user", "password")
        server.clock = lambda: self.now

    def call(self, method: str, path: str, body: Any = None, **query: Any) -> requests.Response:
        return requests.request(method, self.server.url + path, json=body, params=query, auth=self.auth, timeout=10)

    def data(self, path: str, **query: Any) -> Any:
        return self.call("GET", path, **query).json()

    def put(self, workflow: str, time: str = DAY, **more: Any) -> requests.Response:
        return self.call("PUT", "/api/attempts", {"workflowId": workflow, "sessionTime": time, "params": {}, **more})

    def states(self, attempt: str) -> list[str]:
        return [task["state"] for task in self.data(f"/api/attempts/{attempt}/tasks")["tasks"]]

    def status(self, attempt: str) -> str:
        return str(self.data(f"/api/attempts/{attempt}")["status"])

    def ids(self, **query: Any) -> list[str]:
        return [attempt["id"] for attempt in self.data("/api/attempts", **query)["attempts"]]


def refusal(response: requests.Response) -> int:
    """Return the status of a refusal, which its body repeats next to a message."""
    assert response.json().keys() == {"message", "status"}
    assert response.json()["status"] == response.status_code
    return response.status_code
