"""What every Digdag server does: told to the fake one (test_fake_digdag.py) and to the real one (tests/heavy).

The real one runs the workflows; in the fake they go by the names of their tasks, see `by_names`.
"""

from __future__ import annotations

import gzip
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import requests

from tests.fakes.digdag_control import Plan
from tests.fakes.digdag_model import Attempt
from tests.servers.digdag_api import ATTEMPT, FIRST, LOG_FILE, PROJECT, PROJECT_FIELDS, TASK, Api


def by_names(attempt: Attempt) -> Plan:
    """Do in the fake what the workflows above say."""
    tasks = attempt.workflow.tasks
    attempt.logs["+say"] = f"hello {attempt.params.get('name')}\n"
    if "+need_go" in tasks and attempt.params.get("go") != "yes":
        return Plan(0.2, "error", "+need_go", "Command failed with code 1")
    return Plan(5.0 if "+sleep" in tasks else 0.2)


def the_version_is_told(api: Api) -> None:
    assert api.call("GET", "version")["version"].startswith("0.")


def a_revision_is_taken_once(api: Api) -> None:
    project = api.project()
    assert project.keys() >= PROJECT_FIELDS
    refused = api.push("one", 409)
    assert refused == {
        "status": 409,
        "message": f"Resource already exists: revision=one in project id={project['id']}",
    }


def an_attempt_succeeds(api: Api) -> None:
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
    assert (tasks["+good"]["isGroup"], tasks["+good"]["startedAt"]) == (True, None)
    assert tasks["+good+store"]["startedAt"]


def a_session_time_is_told_in_the_zone_of_the_workflow(api: Api) -> None:
    assert api.start("tokyo", "2026-01-02T00:00:00Z")["sessionTime"] == "2026-01-02T09:00:00+09:00"


def a_repeat_is_a_conflict_with_the_attempt(api: Api) -> None:
    """Of the same second, too: fractions do not make another session."""
    started = api.start("good", "2026-01-03T00:00:00Z", params={"name": "a"})
    again = api.start("good", "2026-01-03T00:00:00.5Z", 409, params={"name": "b"})
    assert (again["id"], again["params"]) == (started["id"], {"name": "a"})
    api.wait(started)
    assert api.start("good", "2026-01-03T00:00:00Z", 409)["id"] == started["id"]


def a_failed_attempt_is_resumed(api: Api) -> None:
    failed = api.wait(api.start("brittle", params={"go": "no"}))
    assert (failed["status"], failed["success"], failed["done"]) == ("error", False, True)
    resume: dict[str, Any] = {"resume": {"attemptId": failed["id"], "mode": "failed"}, "retryAttemptName": "second-try"}
    resumed = api.wait(api.start("brittle", params={"go": "yes"}, **resume))
    assert (resumed["status"], resumed["index"], resumed["sessionId"]) == ("success", 2, failed["sessionId"])
    skipped = api.tasks(resumed)["+brittle+first"]
    assert (skipped["state"], skipped["startedAt"]) == ("success", None)
    assert skipped["id"] != api.tasks(failed)["+brittle+first"]["id"]
    assert api.start("brittle", status=409, **resume)["id"] == resumed["id"]
    retries = api.call("GET", f"attempts/{resumed['id']}/retries")["attempts"]
    assert {attempt["id"] for attempt in retries} == {failed["id"], resumed["id"]}


def a_failure_raises_an_alert(api: Api) -> None:
    failed = api.wait(api.start("brittle", "2026-01-05T00:00:00Z", params={"go": "no"}))
    assert api.states(failed) == {
        "+brittle": "group_error",
        "+brittle+first": "success",
        "+brittle+need_go": "error",
        "+brittle+third": "blocked",
        "+brittle^failure-alert": "success",
    }
    tasks = api.tasks(failed)
    assert tasks["+brittle+need_go"]["error"]["message"].endswith(" (runtime)")
    alert = tasks["+brittle^failure-alert"]
    assert (alert["parentId"], alert["upstreams"], alert["isGroup"]) == (tasks["+brittle"]["id"], [], False)
    named = {file["taskName"] for file in api.files(failed)}
    assert named == {"+brittle+first", "+brittle+need_go", "+brittle^failure-alert"}


def a_kill_waits_for_the_running_task(api: Api) -> None:
    """Until that ends the attempt runs, and may be killed again."""
    started = api.start("slow")
    deadline = time.monotonic() + 60
    while api.states(started)["+slow+sleep"] != "running":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    told = api.call("POST", f"attempts/{started['id']}/kill", json={})
    assert (told["id"], told["cancelRequested"]) == (started["id"], False)
    asked = api.call("GET", f"attempts/{started['id']}")
    assert (asked["status"], asked["cancelRequested"]) == ("running", True)
    assert api.states(started)["+slow+sleep"] == "running"
    api.call("POST", f"attempts/{started['id']}/kill", json={})
    killed = api.wait(asked)
    assert (killed["status"], killed["success"]) == ("killed", False)
    assert api.states(killed) == {"+slow": "canceled", "+slow+sleep": "canceled", "+slow+after": "blocked"}
    assert api.call("POST", f"attempts/{started['id']}/kill", 409, json={})["status"] == 409


def logs_are_files(api: Api) -> None:
    done = api.wait(api.start("good", "2026-01-04T00:00:00Z", params={"name": "log"}))
    assert {file["taskName"] for file in api.files(done)} == {"+good+say", "+good+store"}
    (chosen,) = api.files(done, task="+good+say")
    assert chosen.keys() >= LOG_FILE
    assert chosen["fileName"].startswith("+good+say@")
    assert chosen["fileName"].endswith(f".{chosen['agentId']}.log.gz")
    path = f"{api.url}/api/logs/{done['id']}/files"
    for name in (chosen["fileName"], quote(chosen["fileName"], safe="")):
        text = requests.get(f"{path}/{name}", timeout=30)
        assert text.headers["Content-Type"] == "application/gzip"
        assert b"hello log" in gzip.decompress(text.content)
    api.call("GET", f"logs/{done['id']}/files/none.log.gz", 404)


def attempts_are_listed_from_the_newest_on(api: Api) -> None:
    ids = [api.start("tokyo", f"2026-02-0{day}T00:00:00Z")["id"] for day in (1, 2, 3)]
    query = {"project": PROJECT, "workflow": "tokyo", "page_size": 2}
    page = [attempt["id"] for attempt in api.call("GET", "attempts", params=query)["attempts"]]
    assert page == ids[:0:-1]
    rest = api.call("GET", "attempts", params={**query, "last_id": page[-1]})["attempts"]
    assert rest[0]["id"] == ids[0]
    assert api.call("GET", "attempts", 400, params={"page_size": 101})["status"] == 400


def only_the_last_attempt_of_a_session_is_listed(api: Api) -> None:
    first = api.wait(api.start("good", "2026-03-01T00:00:00Z"))
    second = api.wait(api.start("good", "2026-03-01T00:00:00Z", retryAttemptName="again"))
    query = {"project": PROJECT, "workflow": "good"}
    listed = {attempt["id"] for attempt in api.call("GET", "attempts", params=query)["attempts"]}
    assert second["id"] in listed
    assert first["id"] not in listed
    every = api.call("GET", "attempts", params={**query, "include_retried": "true"})["attempts"]
    assert {first["id"], second["id"]} <= {attempt["id"] for attempt in every}
    sessions = api.call("GET", f"projects/{api.project()['id']}/sessions")["sessions"]
    last = {session["id"]: session["lastAttempt"]["id"] for session in sessions}
    assert last[second["sessionId"]] == second["id"]
    assert sessions[0].keys() >= {"id", "project", "workflow", "sessionUuid", "sessionTime", "lastAttempt"}


def what_is_not_there_is_told(api: Api) -> None:
    missing = {"status": 404, "message": "Resource does not exist: session attempt id=999999"}
    assert api.call("GET", "attempts/999999", 404) == missing
    assert api.call("POST", "attempts/999999/kill", 404, json={}) == missing
    assert api.call("GET", "project", 404, params={"name": "none"})["status"] == 404
    assert api.call("GET", "attempts", 404, params={"project": "none"})["status"] == 404
    assert api.call("GET", "attempts", params={"project": PROJECT, "workflow": "none"}) == {"attempts": []}


def wrong_starts_are_refused(api: Api) -> None:
    right: dict[str, Any] = {"workflowId": api.workflow("good"), "sessionTime": FIRST, "params": {}}
    for time_told in ("2026-01-02T00:00:00", "2026-01-02"):
        assert api.call("PUT", "attempts", 400, json={**right, "sessionTime": time_told})["status"] == 400
    del right["params"]
    assert api.call("PUT", "attempts", 400, json=right)["status"] == 400
    assert api.call("PUT", "attempts", 400, data="{}", headers={"Content-Type": "text/plain"})["status"] == 400
    assert api.push("two", 400, "application/json")["status"] == 400


def secrets_tell_their_names_only(api: Api) -> None:
    path = f"projects/{api.project()['id']}/secrets"
    api.call("PUT", f"{path}/db.password", json={"value": "hidden"})
    assert api.call("GET", path) == {"secrets": [{"key": "db.password"}]}
    api.call("DELETE", f"{path}/db.password")
    api.call("DELETE", f"{path}/db.password")
    assert api.call("GET", path) == {"secrets": []}


def strangers_are_refused(api: Api) -> None:
    """Without a challenge."""
    with api.guarded("user", "right") as server:
        assert requests.get(f"{server.url}/api/version", timeout=30).ok
        people = (None, ("user", "wrong"), ("user", "right"))
        answers = [requests.get(f"{server.url}/api/attempts", auth=auth, timeout=30) for auth in people]
        assert [answer.status_code for answer in answers] == [401, 401, 200]
        assert answers[0].json() == {"status": 401, "message": "Missing Authorization header"}
        assert answers[1].json() == {"status": 401, "message": "unauthorized"}
        assert "WWW-Authenticate" not in answers[0].headers


Story = Callable[[Api], None]
STORIES: list[Story] = [
    the_version_is_told,
    a_revision_is_taken_once,
    an_attempt_succeeds,
    a_session_time_is_told_in_the_zone_of_the_workflow,
    a_repeat_is_a_conflict_with_the_attempt,
    a_failed_attempt_is_resumed,
    a_failure_raises_an_alert,
    a_kill_waits_for_the_running_task,
    logs_are_files,
    attempts_are_listed_from_the_newest_on,
    only_the_last_attempt_of_a_session_is_listed,
    what_is_not_there_is_told,
    wrong_starts_are_refused,
    secrets_tell_their_names_only,
    strangers_are_refused,
]
