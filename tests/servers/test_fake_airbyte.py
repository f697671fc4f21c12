"""The fake Airbyte, over real sockets: what it serves, its public API, and as a process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import requests

from tests.fakes.airbyte import FakeAirbyte
from tests.fakes.airbyte_state import AlreadyRunningError
from tests.fakes.http_fake import Fault
from tests.servers.airbyte_calls import NOBODY, config, listed, problem, public, start

if TYPE_CHECKING:
    from collections.abc import Iterator

PROJECT = Path(__file__).parents[2]


@pytest.fixture
def server() -> Iterator[FakeAirbyte]:
    """Run a server of today with both APIs."""
    with FakeAirbyte(config="current") as running:
        yield running


@pytest.fixture
def old() -> Iterator[FakeAirbyte]:
    """Run a server of 0.40."""
    with FakeAirbyte(public=False, config="0.40") as running:
        yield running


# --- what is served ---


@pytest.mark.parametrize(("has_public", "version"), [(True, None), (False, "0.40"), (True, "current")])
def test_health_tells_the_dialects(has_public, version):
    with FakeAirbyte(public=has_public, config=version) as server:
        new = requests.get(f"{server.url}/api/public/v1/health", timeout=10)
        older = requests.get(f"{server.url}/api/v1/health", timeout=10)
    assert new.headers["Content-Type"].startswith("text/plain" if has_public else "text/html")
    if version:
        assert older.json() == {"available": True}
    else:
        assert older.headers["Content-Type"].startswith("text/html")


def test_an_unknown_path_is_the_web_interface(server):
    for method, path in (("GET", "/"), ("POST", "/v1/jobs"), ("GET", "/api/nothing")):
        response = requests.request(method, server.url + path, timeout=10)
        assert response.status_code == 200
        assert response.headers["Content-Type"].startswith("text/html")
        assert '<div id="root">' in response.text


def test_new_config_calls_are_unknown_to_the_old_server(old):
    assert "html" in config(old, "/connections/status", connectionIds=[]).headers["Content-Type"]


# --- the public API: jobs ---


def test_a_sync_runs_and_succeeds(server):
    connection = server.add_connection("shop", ["orders", "users"])
    job = start(server, connection).json()
    assert job["status"] == "running"
    assert job["jobType"] == "sync"
    assert "duration" not in job
    assert "rowsSynced" not in job
    server.advance(3723)
    server.finish(job["jobId"], rows=7, bytes=700)
    job = public(server, "GET", f"/jobs/{job['jobId']}").json()
    assert (job["status"], job["rowsSynced"], job["bytesSynced"], job["duration"]) == ("succeeded", 7, 700, "PT1H2M3S")
    assert server.starts(connection) == [job["jobId"]]


def test_a_clear_is_a_reset_and_a_refresh_is_refused(server):
    one, two = server.add_connection("one"), server.add_connection("two")
    assert start(server, one, "clear").json()["jobType"] == "reset"
    assert problem(start(server, two, "refresh")) == (
        422,
        "unprocessable-entity",
        "Refreshes are not supported in the public API",
    )
    assert listed(server, jobType="clear") == listed(server, jobType="reset") == server.starts(one)
    assert listed(server, jobType="sync") == []


def test_a_second_start_is_told_to_try_later(server):
    connection = server.add_connection("shop")
    server.begin(connection)
    assert problem(start(server, connection)) == (
        409,
        "try-again-later",
        f"A sync is already running for: {connection}",
    )
    with pytest.raises(AlreadyRunningError):
        server.begin(connection)
    assert len(server.starts(connection)) == 1


def test_an_inactive_connection_does_not_start(server):
    connection = server.add_connection("shop", status="inactive")
    assert problem(start(server, connection)) == (409, "state-conflict", "Could not fulfill request")
    assert server.starts(connection) == []


@pytest.mark.parametrize("path", ["/jobs/99", f"/connections/{NOBODY}", f"/sources/{NOBODY}", f"/workspaces/{NOBODY}"])
def test_unknown_ids(server, path):
    assert problem(public(server, "GET", path))[:2] == (404, "resource-not-found")


def test_starting_an_unknown_connection(server):
    assert problem(start(server, NOBODY))[:2] == (404, "resource-not-found")


@pytest.mark.parametrize(
    "asked",
    [
        {"limit": 101},
        {"limit": 0},
        {"limit": "many"},
        {"offset": -1},
        {"orderBy": "rows|ASC"},
        {"orderBy": "updatedAt"},
        {"status": "exploded"},
        {"jobType": "nap"},
        {"updatedAtStart": "yesterday"},
        {"connectionId": "not-a-uuid"},
    ],
)
def test_wrong_questions(server, asked):
    assert problem(public(server, "GET", "/jobs", params=asked))[:2] == (400, "bad-request")


@pytest.mark.parametrize("body", [b"", b"[]", b'{"connectionId": "x", "jobType": "sync"}'])
def test_wrong_bodies(server, body):
    assert problem(public(server, "POST", "/jobs", data=body))[0] == 400


def test_deleting_cancels_what_runs_on_the_connection_whatever_job_was_named(server):
    connection = server.add_connection("shop")
    first = server.begin(connection)
    server.finish(first)
    second = server.begin(connection)
    answer = public(server, "DELETE", f"/jobs/{first}").json()
    assert (answer["jobId"], answer["status"]) == (first, "succeeded")
    assert server.job(second).status == "cancelled"
    assert server.cancelled_by_api == [second]
    assert problem(public(server, "DELETE", f"/jobs/{first}")) == (
        409,
        "state-conflict",
        "Job is not currently running",
    )


def test_someone_cancels(server):
    job = server.begin(server.add_connection("shop"))
    server.cancel_by_someone(job)
    assert public(server, "GET", f"/jobs/{job}").json()["status"] == "cancelled"
    assert server.cancelled_by_api == []


def test_any_word_can_be_a_status_and_keeps_the_connection_busy(server):
    connection = server.add_connection("shop")
    job = server.begin(connection)
    for word in ("queued", "incomplete", "reticulating"):
        server.set_status(job, word)
        assert public(server, "GET", f"/jobs/{job}").json()["status"] == word
        assert start(server, connection).status_code == 409
    server.set_status(job, "failed")
    assert start(server, connection).status_code == 200


def test_forgotten_jobs(server):
    connection = server.add_connection("shop")
    job = server.begin(connection)
    server.forget_jobs()
    assert public(server, "GET", f"/jobs/{job}").status_code == 404
    assert listed(server) == []
    assert start(server, connection).json()["jobId"] == job + 1


def test_a_rate_limit_gives_no_time(server):
    fault = Fault("GET", r"/jobs", status=429, body={"message": "You are being rate limited."})
    server.inject(fault)
    response = public(server, "GET", "/jobs")
    assert response.status_code == 429
    assert "Retry-After" not in response.headers
    assert public(server, "GET", "/jobs").status_code == 200


def test_a_start_whose_answer_is_lost_has_happened(server):
    connection = server.add_connection("shop")
    server.inject(Fault("POST", r"/jobs$", when="after", then="cut"))
    with pytest.raises(requests.ConnectionError):
        start(server, connection)
    assert len(server.starts(connection)) == 1


# --- the public API: everything else ---


def test_connections(server):
    stream = {"name": "users", "namespace": "app", "primary_key": ["id"], "fields": {"id": {}, "mail": {}}}
    connection = server.add_connection("shop", [stream])
    got = public(server, "GET", f"/connections/{connection}").json()
    assert got["configurations"]["streams"][0]["primaryKey"] == [["id"]]
    assert "jsonSchema" not in json.dumps(got)
    changed = public(server, "PATCH", f"/connections/{connection}", json={"status": "inactive", "prefix": "x_"}).json()
    assert (changed["status"], changed["prefix"]) == ("inactive", "x_")
    assert start(server, connection).status_code == 409
    for _ in range(24):
        server.add_connection("more")
    assert len(public(server, "GET", "/connections").json()["data"]) == 20
    assert public(server, "GET", "/connections", params={"limit": 101}).status_code == 400


def test_choosing_streams(server):
    connection = server.add_connection("shop", ["orders", "users"])
    chosen = {"streams": [{"name": "users", "syncMode": "full_refresh_append"}]}
    got = public(server, "PATCH", f"/connections/{connection}", json={"configurations": chosen}).json()
    assert [(s["name"], s["syncMode"]) for s in got["configurations"]["streams"]] == [("users", "full_refresh_append")]
    wrong = {"configurations": {"streams": [{"name": "nothing"}]}}
    assert public(server, "PATCH", f"/connections/{connection}", json=wrong).status_code == 400


def test_streams_come_from_a_cache_unless_told_otherwise(server):
    connection = server.add_connection("shop", ["users"])
    source = public(server, "GET", f"/connections/{connection}").json()["sourceId"]
    server.set_source_streams(connection, [{"name": "users", "fields": {"id": {}, "mail": {}}}])
    cached = public(server, "GET", "/streams", params={"sourceId": source}).json()
    fresh = public(server, "GET", "/streams", params={"sourceId": source, "ignoreCache": "true"}).json()
    assert cached[0]["propertyFields"] == [["id"]]
    assert fresh[0]["propertyFields"] == [["id"], ["mail"]]
    assert "streamnamespace" in fresh[0]


@pytest.mark.parametrize(("what", "key"), [("workspaces", "workspaceId"), ("sources", "sourceId")])
def test_lists_of_objects(server, what, key):
    server.add_connection("shop")
    (one,) = public(server, "GET", f"/{what}").json()["data"]
    assert public(server, "GET", f"/{what}/{one[key]}").json() == one


# --- as a process ---


def test_a_process_of_its_own():
    command = [sys.executable, "-m", "tests.fakes.airbyte", "--connections", "300", "--run-seconds", "60", "--begin"]
    with subprocess.Popen(command, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        told = json.loads(process.stdout.readline())
        assert len(told["connections"]) == 300
        page = requests.get(f"{told['url']}/api/public/v1/jobs", params={"limit": 100}, timeout=10).json()
        assert [job["status"] for job in page["data"]] == ["running"] * 100
        stats = requests.get(f"{told['url']}/_stats", timeout=10).json()
        assert (stats["requests"], stats["running"], stats["most_in_flight"]) == (1, 300, 1)
        process.stdin.close()
        assert process.wait(10) == 0
