"""Short ways to call the fake Airbyte."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import requests

from tests.fakes.airbyte import FakeAirbyte

NOBODY = "00000000-0000-4000-8000-000000000000"


def public(server: FakeAirbyte, method: str, path: str, **options: Any) -> requests.Response:
    """Call the public API."""
    return requests.request(method, f"{server.url}/api/public/v1{path}", timeout=10, **options)


def config(server: FakeAirbyte, path: str, **body: Any) -> requests.Response:
    """Call the configuration API."""
    return requests.post(f"{server.url}/api/v1{path}", json=body, timeout=10)


def start(server: FakeAirbyte, connection_id: str, kind: str = "sync") -> requests.Response:
    """Start a job by the public API."""
    return public(server, "POST", "/jobs", json={"connectionId": connection_id, "jobType": kind})


def listed(server: FakeAirbyte, **asked: Any) -> list[int]:
    """List the ids of jobs by the public API."""
    response = public(server, "GET", "/jobs", params=asked)
    assert response.status_code == 200, response.text
    return [job["jobId"] for job in response.json()["data"]]


def problem(response: requests.Response) -> tuple[int, str, Any]:
    """Return the status, title and message of a problem."""
    assert response.headers["Content-Type"].startswith("application/problem+json")
    body = response.json()
    assert body["status"] == response.status_code
    return response.status_code, body["title"], (body["data"] or {}).get("message")


def iso(moment: float) -> str:
    """Write a time with its fractions."""
    return datetime.fromtimestamp(moment, UTC).isoformat().replace("+00:00", "Z")


def token(server: FakeAirbyte, secret: str = "secret", **options: Any) -> requests.Response:
    """Ask for a token."""
    body = {"client_id": "client", "client_secret": secret, "grant_type": "client_credentials"}
    return public(server, "POST", "/applications/token", **(options or {"json": body}))
