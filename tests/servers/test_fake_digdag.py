"""The fake Digdag: what it answers, and how its attempts begin and end."""

from __future__ import annotations

import gzip
import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests

from tests.fakes.digdag import FakeDigdag
from tests.fakes.digdag_control import ConflictError
from tests.fakes.http_fake import Fault

if TYPE_CHECKING:
    from collections.abc import Iterator

NOW = 1_800_000_000.25
DAY = "2027-01-14T00:00:00+00:00"
ATTEMPT = {
    "id", "index", "project", "workflow", "sessionId", "sessionUuid", "sessionTime", "retryAttemptName", "done",
    "success", "cancelRequested", "params", "createdAt", "finishedAt", "status",
}  # fmt: skip
TASK = {
    "id", "fullName", "parentId", "config", "upstreams", "isGroup", "state", "cancelRequested", "exportParams",
    "storeParams", "stateParams", "updatedAt", "retryAt", "startedAt", "error",
}  # fmt: skip
PROJECT = {"id", "name", "revision", "createdAt", "updatedAt", "deletedAt", "archiveType", "archiveMd5"}
WORKFLOW = {"id", "name", "project", "revision", "timezone", "config"}


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


def refusal(response: requests.Response) -> int:
    """Return the status of a refusal, which its body repeats next to a message."""
    assert response.json().keys() == {"message", "status"}
    assert response.json()["status"] == response.status_code
    return response.status_code


def test_the_version_is_open(client: Client) -> None:
    client.auth = None
    assert client.data("/api/version").keys() == {"version"}
    assert refusal(client.call("GET", "/api/projects")) == 401
    client.auth = ("user", "wrong")
    assert refusal(client.call("GET", "/api/projects")) == 401


def test_a_server_without_users(client: Client) -> None:
    with FakeDigdag() as free:
        assert requests.get(free.url + "/api/projects", timeout=10).json() == {"projects": []}


def test_projects_and_workflows(client: Client, workflow: str) -> None:
    project = client.data("/api/project", name="rental")
    assert project.keys() == PROJECT
    assert client.data("/api/projects")["projects"] == [project]
    assert client.data("/api/projects", name="no")["projects"] == []
    assert client.data(f"/api/projects/{project['id']}") == project
    found = client.data("/api/workflow", project="rental", name="nightly")
    assert found.keys() == WORKFLOW
    assert found["id"] == workflow
    assert client.data(f"/api/projects/{project['id']}/workflows/nightly") == found
    assert client.data(f"/api/projects/{project['id']}/workflows")["workflows"] == [found]


@pytest.mark.parametrize(
    "path",
    [
        "/api/project?name=no",
        "/api/projects/99",
        "/api/workflow?project=rental&name=no",
        "/api/workflow?project=rental&revision=no&name=nightly",
        "/api/attempts?project=no",
        "/api/attempts?project=rental&workflow=no",
        "/api/attempts/99",
        "/api/attempts/99/tasks",
        "/api/attempts/99/retries",
        "/api/logs/99/files",
        "/api/nothing",
    ],
)
def test_what_is_missing(client: Client, workflow: str, path: str) -> None:
    assert refusal(client.call("GET", path)) == 404


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


def test_a_new_revision_has_the_same_sessions(server: FakeDigdag, client: Client, workflow: str) -> None:
    client.put(workflow)
    server.new_revision("rental", "second", b"")
    newer = server.add_workflow("rental", "nightly")
    assert newer != workflow
    assert client.put(newer).status_code == 409
    assert client.data("/api/workflow", project="rental", name="nightly")["id"] == newer
    assert client.data("/api/workflow", project="rental", name="nightly", revision="initial")["id"] == workflow


@pytest.mark.parametrize("body", [{"sessionTime": "2027-01-14"}, {"sessionTime": "x"}, {"resume": {"mode": "FAILED"}}])
def test_wrong_starts(client: Client, workflow: str, body: dict[str, Any]) -> None:
    attempt = client.put(workflow).json()["id"]
    if "resume" in body:
        body = {"resume": {**body["resume"], "attemptId": attempt}, "retryAttemptName": "2"}
    assert refusal(client.call("PUT", "/api/attempts", {"workflowId": workflow, "sessionTime": DAY, **body})) == 400


def test_a_workflow_that_is_not_there(client: Client) -> None:
    assert refusal(client.put("99")) == 404


def test_too_many_attempts(server: FakeDigdag, client: Client, workflow: str) -> None:
    server.most_running = 1
    first = client.put(workflow).json()
    assert refusal(client.put(workflow, "2027-01-15T00:00:00Z")) == 400
    assert refusal(client.put(workflow)) == 400
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
    root, extract, load, mart = client.data(f"/api/attempts/{attempt}/tasks")["tasks"]
    assert root.keys() == TASK
    assert [task["fullName"] for task in (root, extract, load)] == ["+nightly", "+nightly+extract", "+nightly+load"]
    assert [task["state"] for task in (root, extract, load, mart)] == ["group_error", "success", "error", "blocked"]
    assert (root["isGroup"], root["parentId"], load["parentId"], load["upstreams"]) == (
        True,
        None,
        root["id"],
        [extract["id"]],
    )
    assert load["error"]["message"] == "No such table"
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
    assert [one["id"] for one in client.data(f"/api/attempts/{second}/retries")["attempts"]] == [first]
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
    attempt = client.put(workflow).json()["id"]
    server.kill_seconds = 5
    assert client.call("POST", f"/api/attempts/{attempt}/kill").status_code == 204
    seen = client.data(f"/api/attempts/{attempt}")
    assert (seen["done"], seen["cancelRequested"]) == (False, True)
    assert refusal(client.call("POST", f"/api/attempts/{attempt}/kill")) == 409
    client.now += 5
    seen = client.data(f"/api/attempts/{attempt}")
    assert (seen["done"], seen["success"], seen["status"]) == (True, False, "killed")
    assert client.states(attempt) == ["canceled"] * 4
    assert server.killed == [attempt]


def test_what_has_finished_cannot_be_killed(server: FakeDigdag, client: Client, workflow: str) -> None:
    attempt = client.put(workflow).json()["id"]
    server.finish(attempt)
    assert refusal(client.call("POST", f"/api/attempts/{attempt}/kill")) == 409
    other = server.begin(workflow, "2027-01-20T00:00:00Z")
    server.kill_by_someone(other)
    assert client.status(other) == "killed"


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
    assert [file["taskName"] for file in files] == ["+nightly+extract", "+nightly+load"]
    chosen = client.data(path, task="+nightly+load")["files"]
    assert chosen == files[1:]
    assert chosen[0].keys() == {"fileName", "fileSize", "taskName", "fileTime", "agentId", "direct"}
    response = client.call("GET", f"{path}/{requests.utils.quote(chosen[0]['fileName'], safe='')}")
    assert response.headers["Content-Type"] == "application/gzip"
    assert len(response.content) == chosen[0]["fileSize"]
    assert "No such table" in gzip.decompress(response.content).decode()
    assert refusal(client.call("GET", f"{path}/no.log.gz")) == 404


def test_an_upload(server: FakeDigdag, client: Client) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        content = b"timezone: UTC\n\n+extract:\n  echo>: a\n\n+load:\n  +inner:\n    echo>: b\n"
        member = tarfile.TarInfo("nightly.dig")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))

    def upload(body: bytes, revision: str) -> requests.Response:
        url = f"{server.url}/api/projects?project=rental&revision={revision}"
        return requests.put(url, body, headers={"Content-Type": "application/gzip"}, auth=client.auth, timeout=10)

    assert upload(packed.getvalue(), "1").json().keys() == PROJECT
    assert server.projects[upload(packed.getvalue(), "2").json()["id"]].latest().archive == packed.getvalue()
    assert list(client.data("/api/workflow", project="rental", name="nightly")["config"]) == ["+extract", "+load"]
    assert refusal(upload(packed.getvalue(), "2")) == 409
    assert refusal(upload(b"not an archive", "3")) == 400


def test_secrets_never_leave(server: FakeDigdag, client: Client, workflow: str) -> None:
    project = client.data("/api/project", name="rental")["id"]
    path = f"/api/projects/{project}/secrets"
    response = client.call("PUT", path + "/db.password", {"value": "hidden"})
    assert response.status_code == 200
    assert "hidden" not in response.text
    assert client.data(path) == {"secrets": [{"key": "db.password"}]}
    assert server.projects[project].secrets == {"db.password": "hidden"}
    assert client.call("DELETE", path + "/db.password").status_code == 200
    assert refusal(client.call("DELETE", path + "/db.password")) == 404


def test_schedules(server: FakeDigdag, client: Client, workflow: str) -> None:
    server.add_workflow("rental", "planned", schedule="2027-01-16T00:00:00+00:00")
    (schedule,) = client.data("/api/schedules")["schedules"]
    assert schedule.keys() == {"id", "project", "workflow", "nextRunTime", "nextScheduleTime", "disabledAt"}
    assert schedule["nextRunTime"] == "2027-01-16T00:00:00Z"


def test_an_attempt_starts_though_its_answer_is_lost(server: FakeDigdag, client: Client, workflow: str) -> None:
    server.inject(Fault("PUT", r"/attempts$", when="after", then="cut"))
    with pytest.raises(requests.ConnectionError):
        client.put(workflow)
    assert client.put(workflow).status_code == 409
    assert len(server.starts("rental", "nightly")) == 1


def test_as_a_process() -> None:
    command = [sys.executable, "-m", "tests.fakes.digdag", "--workflows", "2", "--run-seconds", "0"]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        told = json.loads(process.stdout.readline())
        body = {"workflowId": told["workflows"][1], "sessionTime": DAY}
        assert requests.put(told["url"] + "/api/attempts", json=body, timeout=10).status_code == 200
        assert requests.get(told["url"] + "/_stats", timeout=10).json() == {"requests": 1, "most_in_flight": 1}
        process.stdin.close()
        assert process.wait(10) == 0
