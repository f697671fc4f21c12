"""The attempts of the fake Digdag: how they begin and end, and what a test may do to them."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING, Any

import pytest
import requests

from tests.fakes.digdag import FakeDigdag
from tests.fakes.digdag_control import ConflictError
from tests.fakes.http_fake import Fault
from tests.servers.digdag_api import ATTEMPT, LOG_FILE, TASK
from tests.servers.digdag_calls import DAY, Client, refusal

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def server() -> Iterator[FakeDigdag]:
    """Run a Digdag."""
    with FakeDigdag(user="user", password="password") as running:
        yield running


@pytest.fixture
def client(server: FakeDigdag) -> Client:
    """Lend a client with a clock."""
    return Client(server)


@pytest.fixture
def workflow(server: FakeDigdag, client: Client) -> str:
    """Lend a workflow with three tasks."""
    return server.add_workflow("rental", "nightly", ["+extract", "+load", "+mart"])


def test_an_attempt(client: Client, workflow: str) -> None:
    response = client.put(workflow, params={"day": 14})
    assert response.status_code == 200
    attempt = response.json()
    assert attempt.keys() == ATTEMPT
    assert (attempt["sessionTime"], attempt["createdAt"], attempt["params"]) == (
        DAY,
        "2027-01-15T08:00:00Z",
        {"day": 14},
    )
    assert (attempt["done"], attempt["success"], attempt["status"], attempt["finishedAt"]) == (
        False,
        False,
        "running",
        None,
    )
    assert isinstance(attempt["id"], str)
    assert client.data(f"/api/attempts/{attempt['id']}") == attempt


def test_a_repeat_is_answered_with_the_attempt_that_exists(server: FakeDigdag, client: Client, workflow: str) -> None:
    first = client.put(workflow).json()
    repeat = client.put(workflow, "2027-01-14T01:00:00+01:00", params={"other": True})
    assert (repeat.status_code, repeat.json()) == (409, first)
    again = client.put(workflow, retryAttemptName="2")
    assert (again.status_code, again.json()["sessionId"], again.json()["index"]) == (200, first["sessionId"], 2)
    assert client.put(workflow, retryAttemptName="2").json()["id"] == again.json()["id"]
    assert [attempt.by for attempt in server.starts("rental", "nightly")] == ["api", "api"]


def test_a_session_is_known_by_its_second(client: Client, workflow: str) -> None:
    first = client.put(workflow, "2027-01-14T00:00:00.100000Z")
    assert first.json()["sessionTime"] == DAY
    assert client.put(workflow, "2027-01-14T00:00:00.900000Z").status_code == 409


@pytest.mark.parametrize(
    "body",
    [
        {"sessionTime": "2027-01-14"},
        {"sessionTime": "2027-01-14 00:00:00Z"},
        {"params": 1},
        {"resume": {"mode": "FAILED"}},
    ],
)
def test_wrong_starts(client: Client, workflow: str, body: dict[str, Any]) -> None:
    attempt = client.put(workflow).json()["id"]
    if "resume" in body:
        body = {"resume": {**body["resume"], "attemptId": attempt}, "retryAttemptName": "2"}
    assert refusal(client.put(workflow, **{"time": body.pop("sessionTime", DAY), **body})) == 400


def test_a_workflow_that_is_not_there(client: Client) -> None:
    assert refusal(client.put("99")) == 404


def test_too_many_attempts(server: FakeDigdag, client: Client, workflow: str) -> None:
    server.most_running = 1
    first = client.put(workflow).json()
    assert refusal(client.put(workflow, "2027-01-15T00:00:00Z")) == 400
    repeat = client.put(workflow)
    assert refusal(repeat) == 400
    assert repeat.json()["message"] == "Too many attempts running. Limit: 1, Current: 1"
    server.finish(first["id"])
    assert client.put(workflow).status_code == 409


def test_attempts_end_by_themselves(server: FakeDigdag, client: Client, workflow: str) -> None:
    server.run_seconds = 30
    attempt = client.put(workflow).json()["id"]
    assert client.states(attempt) == ["planned", "running", "blocked", "blocked"]
    client.now += 15
    assert client.states(attempt) == ["planned", "success", "running", "blocked"]
    client.now += 60
    assert client.states(attempt) == ["success"] * 4
    seen = client.data(f"/api/attempts/{attempt}")
    assert (seen["done"], seen["success"], seen["status"], seen["finishedAt"]) == (
        True,
        True,
        "success",
        "2027-01-15T08:00:30Z",
    )


def test_tasks(server: FakeDigdag, client: Client, workflow: str) -> None:
    attempt = client.put(workflow).json()["id"]
    server.fail(attempt, "+load", "No such table")
    root, extract, load, mart, alert = client.data(f"/api/attempts/{attempt}/tasks")["tasks"]
    assert root.keys() == TASK
    assert [task["fullName"] for task in (root, extract, load)] == ["+nightly", "+nightly+extract", "+nightly+load"]
    assert [task["state"] for task in (root, extract, load, mart)] == ["group_error", "success", "error", "blocked"]
    assert (alert["fullName"], alert["state"], alert["parentId"]) == ("+nightly^failure-alert", "success", root["id"])
    assert (root["isGroup"], root["parentId"], load["parentId"], load["upstreams"]) == (
        True,
        None,
        root["id"],
        [extract["id"]],
    )
    assert load["error"]["message"] == "No such table (runtime)"
    assert (extract["error"], mart["startedAt"]) == ({}, None)
    assert client.status(attempt) == "error"


def test_resuming_skips_what_is_done(server: FakeDigdag, client: Client, workflow: str) -> None:
    attempt = client.put(workflow).json()["id"]
    server.fail(attempt, "+load")
    resume = {"attemptId": attempt, "mode": "failed"}
    assert client.put(workflow, resume=resume).status_code == 409
    second = client.put(workflow, resume=resume, retryAttemptName="2").json()["id"]
    assert client.states(second) == ["planned", "success", "running", "blocked"]
    server.finish(second)
    third = {"attemptId": second, "mode": "from", "from": "+mart"}
    assert client.states(client.put(workflow, resume=third, retryAttemptName="3").json()["id"])[1:3] == ["success"] * 2
    assert refusal(client.put(workflow, resume={"attemptId": second, "mode": "failed"}, retryAttemptName="4")) == 400
    assert refusal(client.put(workflow, resume={**third, "from": "+no"}, retryAttemptName="4")) == 400


def test_retries(server: FakeDigdag, client: Client, workflow: str) -> None:
    first = server.begin(workflow, DAY)
    second = server.begin(workflow, DAY, "2")
    assert [one["id"] for one in client.data(f"/api/attempts/{second}/retries")["attempts"]] == [first, second]
    assert client.ids() == [second]
    assert client.ids(include_retried="true") == [second, first]
    with pytest.raises(ConflictError):
        server.begin(workflow, DAY, "2")


def test_lists_are_the_newest_first(server: FakeDigdag, client: Client, workflow: str) -> None:
    other = server.add_workflow("rental", "hourly")
    far = server.add_workflow("sales", "nightly")
    ids = [server.begin(name, f"2027-01-{day:02}T00:00:00Z") for name in (workflow, other, far) for day in (1, 2)]
    assert client.ids() == ids[::-1]
    assert client.ids(project="rental") == ids[3::-1]
    assert client.ids(project="rental", workflow="nightly") == ids[1::-1]
    assert client.ids(workflow="hourly") == ids[::-1]
    assert client.ids(page_size=2) == ids[:3:-1]
    assert client.ids(page_size=2, last_id=ids[4]) == ids[3:1:-1]
    assert refusal(client.call("GET", "/api/attempts", page_size=101)) == 400


def test_a_page_holds_a_hundred(server: FakeDigdag, client: Client, workflow: str) -> None:
    for minute in range(120):
        server.begin(workflow, f"2027-01-01T{minute // 60:02}:{minute % 60:02}:00Z")
    first = client.ids()
    assert (len(first), len(client.ids(last_id=first[-1]))) == (100, 20)


def test_kill(server: FakeDigdag, client: Client, workflow: str) -> None:
    attempt = client.put(workflow).json()
    server.kill_seconds = 5
    path = f"/api/attempts/{attempt['id']}/kill"
    assert client.call("POST", path).json() == attempt
    client.now += 4
    assert client.call("POST", path).json()["cancelRequested"] is True
    assert client.states(attempt["id"]) == ["planned", "running", "blocked", "blocked"]
    client.now += 1
    seen = client.data(f"/api/attempts/{attempt['id']}")
    assert (seen["done"], seen["success"], seen["status"]) == (True, False, "killed")
    assert client.states(attempt["id"]) == ["canceled", "canceled", "blocked", "blocked"]
    assert refusal(client.call("POST", path)) == 409
    assert server.killed == [attempt["id"]] * 2


def test_a_kill_stops_what_has_not_begun(server: FakeDigdag, client: Client, workflow: str) -> None:
    server.run_seconds, server.kill_seconds = 30, 60
    attempt = client.put(workflow).json()["id"]
    client.now += 15
    client.call("POST", f"/api/attempts/{attempt}/kill", {})
    client.now += 45
    assert client.states(attempt) == ["planned", "success", "running", "blocked"]
    asked = [task["cancelRequested"] for task in client.data(f"/api/attempts/{attempt}/tasks")["tasks"]]
    assert asked == [True, False, True, True]
    client.now += 15
    assert client.states(attempt) == ["canceled", "success", "canceled", "blocked"]


def test_a_task_may_fail_before_its_attempt(server: FakeDigdag, client: Client, workflow: str) -> None:
    server.run_seconds, server.outcome, server.error_seconds = 30, "error", 2
    attempt = client.put(workflow).json()["id"]
    client.now += 31
    assert client.states(attempt) == ["planned", "success", "success", "error", "running"]
    assert client.status(attempt) == "running"
    with pytest.raises(LookupError):
        server.finish(attempt)
    client.now += 1
    assert client.states(attempt) == ["group_error", "success", "success", "error", "success"]
    assert client.data(f"/api/attempts/{attempt}")["finishedAt"] == "2027-01-15T08:00:32Z"


def test_somebody_else_kills(server: FakeDigdag, client: Client, workflow: str) -> None:
    attempt = server.begin(workflow, DAY)
    server.kill_by_someone(attempt)
    assert client.status(attempt) == "killed"


def test_forgotten_attempts(server: FakeDigdag, client: Client, workflow: str) -> None:
    server.run_seconds = 5
    attempt = client.put(workflow).json()["id"]
    server.forget_attempts()
    client.now += 5
    assert refusal(client.call("GET", f"/api/attempts/{attempt}")) == 404
    assert client.put(workflow).status_code == 200
    assert len(server.starts("rental", "nightly")) == 2


def test_logs(server: FakeDigdag, client: Client, workflow: str) -> None:
    attempt = client.put(workflow).json()["id"]
    server.fail(attempt, "+load", "No such table")
    path = f"/api/logs/{attempt}/files"
    files = client.data(path)["files"]
    assert [file["taskName"] for file in files] == [
        f"+nightly{task}" for task in ("+extract", "+load", "^failure-alert")
    ]
    chosen = client.data(path, task="+nightly+load")["files"]
    assert chosen == files[1:2]
    assert chosen[0].keys() == LOG_FILE
    assert chosen[0]["fileName"] == "+nightly+load@6b49d20000000001.12648@vm.log.gz"
    response = client.call("GET", f"{path}/{requests.utils.quote(chosen[0]['fileName'], safe='')}")
    assert response.headers["Content-Type"] == "application/gzip"
    assert len(response.content) == chosen[0]["fileSize"]
    assert "No such table" in gzip.decompress(response.content).decode()
    assert refusal(client.call("GET", f"{path}/no.log.gz")) == 404


def test_an_attempt_starts_though_its_answer_is_lost(server: FakeDigdag, client: Client, workflow: str) -> None:
    server.inject(Fault("PUT", r"/attempts$", when="after", then="cut"))
    with pytest.raises(requests.ConnectionError):
        client.put(workflow)
    assert client.put(workflow).status_code == 409
    assert len(server.starts("rental", "nightly")) == 1
