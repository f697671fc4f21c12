"""The real Digdag server over REST: what the fake one (tests/fakes/digdag.py) has to answer too."""

from __future__ import annotations

import gzip
import io
import tarfile
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from servers.digdag import DigdagServer, unavailable

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(600)]

PROJECT = "rental"
FIRST = "2026-01-02T00:00:00+00:00"
WORKFLOWS = {
    "good": "timezone: UTC\n+say:\n  sh>: echo hello ${name}\n+store:\n  sh>: echo stored\n",
    "brittle": "timezone: UTC\n+first:\n  sh>: echo\n+second:\n  sh>: test ${go} = yes\n+third:\n  sh>: echo\n",
    "slow": "timezone: UTC\n+wait:\n  sh>: sleep 5\n+after:\n  sh>: echo after\n",
    "tokyo": "timezone: Asia/Tokyo\n+say:\n  sh>: echo hello\n",
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


class Api:
    """What a client asks; every answer must be JSON unless it is a file."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.ids: dict[str, str] = {}

    def call(self, method: str, path: str, status: int = 200, **options: Any) -> Any:
        """Ask, and return the answer, which must have this status."""
        answer = requests.request(method, f"{self.url}/api/{path}", timeout=30, **options)
        assert answer.status_code == status, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json()

    def push(self, revision: str, status: int = 200) -> Any:
        """Upload the project."""
        query = {"project": PROJECT, "revision": revision}
        headers = {"Content-Type": "application/gzip"}
        return self.call("PUT", "projects", status, params=query, headers=headers, data=archive())

    def workflow(self, name: str) -> str:
        """Return the id of a workflow."""
        if name not in self.ids:
            self.ids[name] = self.call("GET", "workflow", params={"project": PROJECT, "name": name})["id"]
        return self.ids[name]

    def start(self, workflow: str, at: str = FIRST, status: int = 200, **more: Any) -> Any:
        """Start an attempt."""
        body = {"workflowId": self.workflow(workflow), "sessionTime": at, "params": {}, **more}
        return self.call("PUT", "attempts", status, json=body)

    def wait(self, attempt: Any) -> Any:
        """Return the attempt when it is done."""
        deadline = time.monotonic() + 120
        while not attempt["done"]:
            assert time.monotonic() < deadline, attempt
            time.sleep(0.3)
            attempt = self.call("GET", f"attempts/{attempt['id']}")
        return attempt

    def tasks(self, attempt: Any) -> dict[str, Any]:
        """Return the tasks by their full names."""
        rows = self.call("GET", f"attempts/{attempt['id']}/tasks")["tasks"]
        return {row["fullName"]: row for row in rows}


def archive() -> bytes:
    """Return the workflows as a tar.gz."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as files:
        for name, text in WORKFLOWS.items():
            member = tarfile.TarInfo(f"{name}.dig")
            member.size = len(text)
            files.addfile(member, io.BytesIO(text.encode()))
    return packed.getvalue()


@pytest.fixture(scope="module")
def api() -> Iterator[Api]:
    """A running server with the project, or a skip with the reason."""
    if reason := unavailable():
        pytest.skip(reason)
    with DigdagServer() as server:
        api = Api(server.url)
        pushed = api.push("one")
        assert pushed.keys() >= PROJECT_FIELDS
        yield api


def test_version(api: Api) -> None:
    assert api.call("GET", "version")["version"].startswith("0.10.")


def test_revision_is_taken_once(api: Api) -> None:
    assert api.push("one", 409)["status"] == 409


def test_attempt_succeeds(api: Api) -> None:
    started = api.start("good", params={"name": "you"})
    assert started.keys() >= ATTEMPT
    assert (started["status"], started["done"], started["finishedAt"]) == ("running", False, None)
    assert (started["params"], started["sessionTime"], started["index"]) == ({"name": "you"}, FIRST, 1)
    done = api.wait(started)
    assert (done["status"], done["success"], done["done"]) == ("success", True, True)
    tasks = api.tasks(done)
    assert list(tasks) == ["+good", "+good+say", "+good+store"]
    assert {task["state"] for task in tasks.values()} == {"success"}
    assert all(task.keys() >= TASK for task in tasks.values())
    assert tasks["+good"]["startedAt"] is None


def test_session_time_is_told_in_the_zone_of_the_workflow(api: Api) -> None:
    assert api.start("tokyo", "2026-01-02T00:00:00Z")["sessionTime"] == "2026-01-02T09:00:00+09:00"


def test_repeat_is_a_conflict_with_the_attempt(api: Api) -> None:
    """Of the same second, too: fractions do not make another session."""
    started = api.start("good", "2026-01-03T00:00:00Z", params={"name": "a"})
    again = api.start("good", "2026-01-03T00:00:00.5Z", 409, params={"name": "b"})
    assert (again["id"], again["params"]) == (started["id"], {"name": "a"})
    api.wait(started)
    assert api.start("good", "2026-01-03T00:00:00Z", 409)["id"] == started["id"]


def test_failed_attempt_is_resumed(api: Api) -> None:
    failed = api.wait(api.start("brittle", params={"go": "no"}))
    assert (failed["status"], failed["success"], failed["done"]) == ("error", False, True)
    tasks = api.tasks(failed)
    states = {name: tasks[f"+brittle{name}"]["state"] for name in ("", "+first", "+second", "+third")}
    assert states == {"": "group_error", "+first": "success", "+second": "error", "+third": "blocked"}
    assert tasks["+brittle+second"]["error"]["message"]
    assert "+brittle^failure-alert" in tasks
    resume = {"resume": {"attemptId": failed["id"], "mode": "failed"}, "retryAttemptName": "second-try"}
    resumed = api.wait(api.start("brittle", params={"go": "yes"}, **resume))
    assert (resumed["status"], resumed["index"], resumed["sessionId"]) == ("success", 2, failed["sessionId"])
    assert api.tasks(resumed)["+brittle+first"]["startedAt"] is None
    assert api.start("brittle", status=409, **resume)["id"] == resumed["id"]
    retries = api.call("GET", f"attempts/{resumed['id']}/retries")["attempts"]
    assert {attempt["id"] for attempt in retries} == {failed["id"], resumed["id"]}


def test_kill(api: Api) -> None:
    """The running task ends by itself; until then the attempt runs, and may be killed again."""
    started = api.start("slow")
    deadline = time.monotonic() + 60
    while api.tasks(started)["+slow+wait"]["state"] != "running":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert api.call("POST", f"attempts/{started['id']}/kill", json={})["id"] == started["id"]
    asked = api.call("GET", f"attempts/{started['id']}")
    assert (asked["status"], asked["cancelRequested"]) == ("running", True)
    api.call("POST", f"attempts/{started['id']}/kill", json={})
    killed = api.wait(asked)
    assert (killed["status"], killed["success"]) == ("killed", False)
    states = {name: task["state"] for name, task in api.tasks(killed).items()}
    assert states == {"+slow": "canceled", "+slow+wait": "canceled", "+slow+after": "blocked"}
    assert api.call("POST", f"attempts/{started['id']}/kill", 409, json={})["status"] == 409


def test_logs(api: Api) -> None:
    done = api.wait(api.start("good", "2026-01-04T00:00:00Z", params={"name": "log"}))
    files = api.call("GET", f"logs/{done['id']}/files")["files"]
    assert {file["taskName"] for file in files} == {"+good+say", "+good+store"}
    chosen = api.call("GET", f"logs/{done['id']}/files", params={"task": "+good+say"})["files"]
    assert [file["taskName"] for file in chosen] == ["+good+say"]
    assert chosen[0].keys() >= {"fileName", "fileSize", "taskName", "fileTime", "agentId", "direct"}
    text = requests.get(f"{api.url}/api/logs/{done['id']}/files/{chosen[0]['fileName']}", timeout=30)
    assert text.headers["Content-Type"] == "application/gzip"
    assert b"hello log" in gzip.decompress(text.content)
    api.call("GET", f"logs/{done['id']}/files/none.log.gz", 404)


def test_attempts_are_listed_from_the_newest_on(api: Api) -> None:
    ids = [api.start("tokyo", f"2026-02-0{day}T00:00:00Z")["id"] for day in (1, 2, 3)]
    query = {"project": PROJECT, "workflow": "tokyo", "page_size": 2}
    page = [attempt["id"] for attempt in api.call("GET", "attempts", params=query)["attempts"]]
    assert page == ids[:0:-1]
    rest = api.call("GET", "attempts", params={**query, "last_id": page[-1]})["attempts"]
    assert rest[0]["id"] == ids[0]
    assert api.call("GET", "attempts", 400, params={"page_size": 101})["status"] == 400


def test_only_the_last_attempt_of_a_session_is_listed(api: Api) -> None:
    first = api.wait(api.start("good", "2026-03-01T00:00:00Z"))
    second = api.wait(api.start("good", "2026-03-01T00:00:00Z", retryAttemptName="again"))
    query = {"project": PROJECT, "workflow": "good"}
    listed = {attempt["id"] for attempt in api.call("GET", "attempts", params=query)["attempts"]}
    assert second["id"] in listed
    assert first["id"] not in listed
    every = api.call("GET", "attempts", params={**query, "include_retried": "true"})["attempts"]
    assert {first["id"], second["id"]} <= {attempt["id"] for attempt in every}


def test_what_is_not_there(api: Api) -> None:
    assert api.call("GET", "attempts/999999", 404)["status"] == 404
    assert api.call("POST", "attempts/999999/kill", 404, json={})["status"] == 404
    assert api.call("GET", "project", 404, params={"name": "none"})["status"] == 404


def test_secrets_tell_their_names_only(api: Api) -> None:
    project = api.call("GET", "project", params={"name": PROJECT})["id"]
    api.call("PUT", f"projects/{project}/secrets/db.password", json={"value": "hidden"})
    listed = api.call("GET", f"projects/{project}/secrets")
    assert listed == {"secrets": [{"key": "db.password"}]}
    api.call("DELETE", f"projects/{project}/secrets/db.password")
    assert api.call("GET", f"projects/{project}/secrets") == {"secrets": []}


def test_credentials() -> None:
    if reason := unavailable():
        pytest.skip(reason)
    with DigdagServer(user="user", password="right") as server:
        assert requests.get(f"{server.url}/api/version", timeout=30).ok
        answers = [
            requests.get(f"{server.url}/api/attempts", auth=auth, timeout=30)
            for auth in (None, ("user", "wrong"), server.auth)
        ]
        assert [answer.status_code for answer in answers] == [401, 401, 200]
        assert answers[0].json()["status"] == 401
