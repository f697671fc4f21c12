"""The fake Airbyte's configuration API, of 0.40 and of today."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
import requests

from tests.fakes.airbyte import FakeAirbyte
from tests.servers.airbyte_calls import NOBODY, config

if TYPE_CHECKING:
    from collections.abc import Iterator


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


def test_the_old_server_runs_a_sync(old):
    connection = old.add_connection("shop", [{"name": "orders", "namespace": "app"}, "users"])
    started = config(old, "/connections/sync", connectionId=connection).json()
    job = started["job"]
    assert (job["configType"], job["configId"], job["status"]) == ("sync", connection, "running")
    assert abs(job["createdAt"] - time.time()) < 5
    assert isinstance(job["createdAt"], int)
    old.finish(job["id"], rows=10, bytes=99, streams=[{"name": "orders", "namespace": "app", "rows": 10, "bytes": 99}])
    (attempt,) = config(old, "/jobs/get", id=job["id"]).json()["attempts"]
    assert (attempt["attempt"]["status"], attempt["attempt"]["totalStats"]["recordsCommitted"]) == ("succeeded", 10)
    (stream,) = attempt["attempt"]["streamStats"]
    assert (stream["streamName"], stream["streamNamespace"], stream["stats"]["recordsEmitted"]) == ("orders", "app", 10)
    assert config(old, "/jobs/get_light", id=job["id"]).json().keys() == {"job"}


def test_a_failure_says_why(old):
    job = old.begin(old.add_connection("shop"))
    old.incomplete(job, "hiccup", ["line 1"])
    assert config(old, "/jobs/get_light", id=job).json()["job"]["status"] == "incomplete"
    old.retry(job)
    old.fail(job, "config_error", "wrong password", retryable=False, log_lines=["line 2", "line 3"])
    info = config(old, "/jobs/get", id=job).json()
    assert info["job"]["status"] == "failed"
    assert [attempt["logs"]["logLines"] for attempt in info["attempts"]] == [["line 1"], ["line 2", "line 3"]]
    (first,), (last,) = (attempt["attempt"]["failureSummary"]["failures"] for attempt in info["attempts"])
    assert (first["failureType"], first["retryable"]) == ("system_error", True)
    assert (last["failureType"], last["externalMessage"], last["retryable"]) == (
        "config_error",
        "wrong password",
        False,
    )


def test_refusals_of_the_configuration_api(old):
    connection, idle = old.add_connection("shop"), old.add_connection("idle", status="inactive")
    old.begin(connection)
    conflict = config(old, "/connections/sync", connectionId=connection)
    assert conflict.status_code == 409
    assert conflict.json()["message"] == f"A sync is already running for: {connection}"
    assert conflict.json()["exceptionClassName"].endswith("ValueConflictKnownException")
    missing = config(old, "/connections/get", connectionId=NOBODY)
    assert (missing.status_code, missing.json()["id"]) == (404, NOBODY)
    invalid = config(old, "/connections/get", connectionId="x")
    assert (invalid.status_code, invalid.json()["validationErrors"][0]["propertyPath"]) == (422, "connectionId")
    assert config(old, "/jobs/get").status_code == 422
    assert config(old, "/jobs/get", id=99).status_code == 404
    assert config(old, "/connections/sync", connectionId=idle).status_code == 500
    assert requests.get(f"{old.url}/api/v1/jobs/get", timeout=10).status_code == 405


def test_the_old_list_of_jobs(old):
    connection = old.add_connection("shop")
    jobs = []
    for kind in ("sync", "reset", "sync", "sync"):
        jobs.append(old.begin(connection, kind))
        old.finish(jobs[-1])
    old.begin(old.add_connection("other"))
    asked = {"configTypes": ["sync"], "configId": connection, "pagination": {"pageSize": 2, "rowOffset": 1}}
    found = config(old, "/jobs/list", **asked).json()
    assert [item["job"]["id"] for item in found["jobs"]] == [jobs[2], jobs[0]]
    assert found["totalJobCount"] == 3
    assert found["jobs"][0]["attempts"][0]["status"] == "succeeded"
    assert config(old, "/jobs/list", configId=connection).status_code == 422
    both = config(old, "/jobs/list", configTypes=["sync", "reset_connection"], configId=connection).json()
    assert len(both["jobs"]) == 4
    assert config(old, "/jobs/get_last_replication_job", connectionId=connection).json()["job"]["id"] == jobs[3]


def test_the_old_server_cancels_what_runs(old):
    connection = old.add_connection("shop")
    first = old.begin(connection)
    old.finish(first)
    second = old.begin(connection)
    assert config(old, "/jobs/cancel", id=first).json()["job"]["id"] == first
    assert old.job(second).status == "cancelled"
    (attempt,) = config(old, "/jobs/get", id=second).json()["attempts"]
    assert attempt["attempt"]["failureSummary"]["failures"][0]["failureType"] == "manual_cancellation"
    assert config(old, "/jobs/cancel", id=first).status_code == 409


def test_statuses_of_many_connections(server):
    busy, failed, fresh = (server.add_connection(name) for name in ("busy", "failed", "fresh"))
    done = server.begin(failed)
    server.finish(done)
    server.fail(server.begin(failed), message="no disk")
    running = server.begin(busy)
    found = config(server, "/connections/status", connectionIds=[busy, failed, fresh, NOBODY]).json()
    assert [status["connectionId"] for status in found] == [busy, failed, fresh]
    assert found[0]["activeJob"]["id"] == running
    assert (found[1]["lastSyncJobId"], found[1]["lastSyncJobStatus"]) == (done + 1, "failed")
    assert found[1]["failureReason"]["externalMessage"] == "no disk"
    assert found[1]["lastSuccessfulSync"] == int(server.jobs[done].updated)
    assert "lastSyncJobId" not in found[2]


def test_attempts_without_logs_and_with_them(server):
    job = server.begin(server.add_connection("shop"))
    server.fail(job, log_lines=["x" * 100])
    assert "xxx" not in config(server, "/jobs/get_without_logs", id=job).text
    attempt = config(server, "/attempt/get_for_job", jobId=job, attemptNumber=0).json()
    assert attempt["logs"]["logLines"] == ["x" * 100]
    assert config(server, "/attempt/get_for_job", jobId=job, attemptNumber=1).status_code == 404


def test_a_schema_that_changed(old):
    before = {"name": "users", "primary_key": ["id"], "fields": {"id": {"type": "integer"}, "age": {"type": "integer"}}}
    connection = old.add_connection("shop", [before, "orders"])
    source = config(old, "/connections/get", connectionId=connection).json()["sourceId"]
    asked = {"sourceId": source, "connectionId": connection, "disable_cache": True}
    assert config(old, "/sources/discover_schema", **asked).json()["catalogDiff"]["transforms"] == []
    after = {**before, "fields": {"age": {"type": "string"}, "mail": {"type": "string"}}}
    old.set_source_streams(connection, [after, "visits"])
    found = config(old, "/sources/discover_schema", **asked).json()
    assert found["breakingChange"] is True
    kinds = {change["transformType"]: change for change in found["catalogDiff"]["transforms"]}
    assert kinds.keys() == {"remove_stream", "add_stream", "update_stream"}
    fields = {(c["transformType"], *c["fieldName"]) for c in kinds["update_stream"]["updateStream"]}
    assert fields == {("remove_field", "id"), ("update_field_schema", "age"), ("add_field", "mail")}


def test_a_connection_is_changed_by_its_catalog(old):
    connection = old.add_connection("shop", ["users", "orders"])
    catalog = config(old, "/connections/get", connectionId=connection).json()["syncCatalog"]
    catalog["streams"][0]["config"]["selected"] = False
    changed = config(old, "/connections/update", connectionId=connection, syncCatalog=catalog, status="inactive").json()
    assert [item["stream"]["name"] for item in changed["syncCatalog"]["streams"]] == ["orders"]
    assert changed["status"] == "inactive"


@pytest.mark.parametrize(("what", "key"), [("connections", "connectionId"), ("destinations", "destinationId")])
def test_old_lists_of_objects(old, what, key):
    old.add_connection("shop")
    (workspace,) = config(old, "/workspaces/list").json()["workspaces"]
    (one,) = config(old, f"/{what}/list", workspaceId=workspace["workspaceId"]).json()[what]
    assert config(old, f"/{what}/get", **{key: one[key]}).json() == one
