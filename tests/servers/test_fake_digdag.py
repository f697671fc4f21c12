"""The fake Digdag: what it has in common with the real one, and its projects, workflows and secrets."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import requests

from airflow_elt_provider.remotes.config_as_code.digdag.archive import Archive, unpacked
from tests.fakes.digdag import FakeDigdag
from tests.servers.digdag_api import PROJECT_FIELDS, Api
from tests.servers.digdag_calls import DAY, Client, refusal
from tests.servers.digdag_stories import STORIES, Story, by_names

if TYPE_CHECKING:
    from collections.abc import Iterator

WORKFLOW = {"id", "name", "project", "revision", "timezone", "config"}


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


@pytest.fixture(scope="module")
def api() -> Iterator[Api]:
    """Run a Digdag with the stories' project."""
    with FakeDigdag() as server:
        server.plan, server.kill_seconds = by_names, 0.3
        api = Api(server.url, FakeDigdag)
        api.push("one")
        yield api


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
def test_story(api: Api, story: Story) -> None:
    """What the real one does too: tests/heavy/test_digdag_server.py."""
    story(api)


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
    assert project.keys() == PROJECT_FIELDS
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
        "/api/attempts/99",
        "/api/attempts/99/tasks",
        "/api/attempts/99/retries",
        "/api/logs/99/files",
        "/api/nothing",
    ],
)
def test_what_is_missing(client: Client, workflow: str, path: str) -> None:
    assert refusal(client.call("GET", path)) == 404


def test_a_new_revision_has_the_same_sessions(server: FakeDigdag, client: Client, workflow: str) -> None:
    client.put(workflow)
    server.new_revision("rental", "second", b"")
    newer = server.add_workflow("rental", "nightly")
    assert newer != workflow
    assert client.put(newer).status_code == 409
    assert client.data("/api/workflow", project="rental", name="nightly")["id"] == newer
    assert client.data("/api/workflow", project="rental", name="nightly", revision="initial")["id"] == workflow


def test_an_upload(server: FakeDigdag, client: Client) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        content = b"timezone: 'Asia/Tokyo'\n\n+extract:\n  echo>: a\n\n+load:\n  +inner:\n    echo>: b\n"
        member = tarfile.TarInfo("nightly.dig")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))

    def upload(body: bytes, revision: str) -> requests.Response:
        url = f"{server.url}/api/projects?project=rental&revision={revision}"
        return requests.put(url, body, headers={"Content-Type": "application/gzip"}, auth=client.auth, timeout=10)

    assert upload(packed.getvalue(), "1").json().keys() == PROJECT_FIELDS
    assert server.projects[upload(packed.getvalue(), "2").json()["id"]].latest().archive == packed.getvalue()
    assert list(client.data("/api/workflow", project="rental", name="nightly")["config"]) == ["+extract", "+load"]
    assert client.data("/api/workflow", project="rental", name="nightly")["timezone"] == "Asia/Tokyo"
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
    assert client.call("DELETE", path + "/db.password").status_code == 200


def test_schedules(server: FakeDigdag, client: Client, workflow: str) -> None:
    server.add_workflow("rental", "planned", schedule="2027-01-16T00:00:00+00:00")
    (schedule,) = client.data("/api/schedules")["schedules"]
    assert schedule.keys() == {"id", "project", "workflow", "nextRunTime", "nextScheduleTime", "disabledAt"}
    assert schedule["nextRunTime"] == "2027-01-16T00:00:00Z"


def test_a_disabled_schedule_rests_over_pushes(server: FakeDigdag, client: Client) -> None:
    def push(revision: str, minute: str | None, **more: str) -> requests.Response:
        text = f"schedule:\n  hourly>: {minute}:00\n+load:\n  echo>: a\n" if minute else "+load:\n  echo>: a\n"
        query = {"project": "rental", "revision": revision, **more}
        body, kind = Archive({"load.dig": text.encode()}).packed(), {"Content-Type": "application/gzip"}
        return requests.put(
            f"{server.url}/api/projects", body, params=query, headers=kind, auth=client.auth, timeout=10
        )

    project = push("1", "30", schedule_from="2027-01-16T00:45:00Z").json()["id"]
    path = f"/api/projects/{project}"
    (schedule,) = client.data("/api/schedules")["schedules"]
    assert (schedule["nextRunTime"], schedule["disabledAt"]) == ("2027-01-16T01:30:00Z", None)
    disabled = client.call("POST", f"/api/schedules/{schedule['id']}/disable", {}).json()
    assert disabled.keys() == {*schedule, "createdAt", "updatedAt"}
    push("2", "15")
    (kept,) = client.data(f"{path}/schedules", workflow="load")["schedules"]
    assert (kept["id"], kept["disabledAt"]) == (schedule["id"], disabled["disabledAt"])
    assert kept["workflow"]["id"] != schedule["workflow"]["id"]
    assert client.call("POST", f"/api/schedules/{kept['id']}/enable", {}).json()["disabledAt"] is None
    assert client.data("/api/schedules", last_id=kept["id"]) == {"schedules": []}
    assert refusal(push("3", "15", schedule_from="tomorrow")) == 400
    push("3", None)
    assert refusal(client.call("GET", f"/api/schedules/{kept['id']}")) == 404
    assert [one["revision"] for one in client.data(f"{path}/revisions")["revisions"]] == ["3", "2", "1"]
    archive = client.call("GET", f"{path}/archive", revision="1")
    assert archive.headers["Content-Type"] == "application/gzip"
    assert b"30:00" in unpacked(archive.content, "x").files["load.dig"]
    assert refusal(client.call("GET", f"{path}/archive", revision="4")) == 404
    assert client.call("DELETE", path).json()["name"] == "rental"
    assert refusal(client.call("GET", path)) == 404
    assert client.data("/api/projects") == {"projects": []}


def test_as_a_process() -> None:
    command = [sys.executable, "-m", "tests.fakes.digdag", "--workflows", "2", "--run-seconds", "0"]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        told = json.loads(process.stdout.readline())
        body = {"workflowId": told["workflows"][1], "sessionTime": DAY, "params": {}}
        assert requests.put(told["url"] + "/api/attempts", json=body, timeout=10).status_code == 200
        assert requests.get(told["url"] + "/_stats", timeout=10).json() == {"requests": 1, "most_in_flight": 1}
        process.stdin.close()
        assert process.wait(10) == 0
