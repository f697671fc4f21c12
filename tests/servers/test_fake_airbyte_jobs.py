"""The fake Airbyte: lists of jobs in their order, and jobs that end by themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.fakes.airbyte import FakeAirbyte
from tests.servers.airbyte_calls import NOBODY, config, iso, listed, public, start

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def server() -> Iterator[FakeAirbyte]:
    """Run a server of today with both APIs."""
    with FakeAirbyte(config="current") as running:
        yield running


@pytest.fixture
def ten(server: FakeAirbyte) -> list[int]:
    """Run ten jobs, a minute apart, of which the odd ones succeeded in reverse order, an hour later."""
    jobs = []
    for number in range(10):
        jobs.append(server.begin(server.add_connection(f"c{number}")))
        server.advance(60)
    server.advance(3600)
    for job in reversed(jobs[1::2]):
        server.finish(job)
        server.advance(60)
    return jobs


def test_order(server, ten):
    assert listed(server) == list(reversed(ten))
    assert listed(server, orderBy="createdAt|ASC") == ten
    assert listed(server, orderBy="updatedAt|ASC") == ten[0::2] + list(reversed(ten[1::2]))
    assert listed(server, orderBy="updatedAt|DESC") == ten[1::2] + list(reversed(ten[0::2]))


def test_bounds_of_time_include_their_ends(server, ten):
    third, last = server.jobs[ten[2]], server.jobs[ten[9]]
    assert listed(server, createdAtStart=iso(third.created), orderBy="createdAt|ASC") == ten[2:]
    assert listed(server, createdAtEnd=iso(third.created), orderBy="createdAt|ASC") == ten[:3]
    assert listed(server, updatedAtStart=iso(last.updated), orderBy="updatedAt|ASC") == list(reversed(ten[1::2]))
    assert listed(server, updatedAtEnd=iso(last.updated), orderBy="updatedAt|ASC") == [*ten[0::2], ten[9]]
    assert listed(server, updatedAtStart=iso(last.updated), orderBy="createdAt|ASC") == ten[1::2]
    assert listed(server, updatedAtStart=iso(last.updated), createdAtEnd=iso(third.created)) == [ten[1]]


def test_filters(server, ten):
    connection = server.jobs[ten[4]].connection_id
    assert listed(server, connectionId=connection) == [ten[4]]
    assert listed(server, connectionId=connection, status="succeeded") == []
    assert listed(server, status="running") == list(reversed(ten[0::2]))
    assert listed(server, connectionId=NOBODY) == []


def test_jobs_of_workspaces(server, ten):
    other = server.add_workspace("other")
    job = server.begin(server.add_connection("elsewhere", workspace_id=other))
    assert listed(server, workspaceIds=other) == [job]
    assert listed(server, workspaceIds=[other, server.catalogue.workspace_id], limit=3) == [job, ten[9], ten[8]]
    assert job not in listed(server, workspaceIds=server.catalogue.workspace_id)


def test_pages(server, ten):
    first = public(server, "GET", "/jobs", params={"limit": 4, "orderBy": "updatedAt|ASC"}).json()
    assert first["previous"] == ""
    assert not first["next"].startswith(server.url)
    query = first["next"].partition("?")[2]
    second = public(server, "GET", f"/jobs?{query}").json()
    last = public(server, "GET", f"/jobs?{second['next'].partition('?')[2]}").json()
    assert last["next"] == ""
    assert last["previous"].endswith("limit=4&offset=4")
    found = [job["jobId"] for page in (first, second, last) for job in page["data"]]
    assert found == listed(server, orderBy="updatedAt|ASC")


def test_a_full_last_page_still_names_a_next_one(server, ten):
    page = public(server, "GET", "/jobs", params={"limit": 10}).json()
    assert public(server, "GET", f"/jobs?{page['next'].partition('?')[2]}").json()["data"] == []


def test_the_order_holds_through_thousands_of_changes(server):
    connections = [server.add_connection(f"c{number}") for number in range(50)]
    for _ in range(60):
        jobs = [server.begin(connection) for connection in connections]
        for job in jobs:
            server.finish(job)
    found, offset = [], 0
    while page := listed(server, orderBy="updatedAt|ASC", limit=100, offset=offset):
        found, offset = found + page, offset + 100
    assert found == sorted(server.jobs)


def test_jobs_of_workspaces_by_their_last_change(server, ten):
    workspace = server.catalogue.workspace_id
    asked = {"workspaceIds": [workspace], "configTypes": ["sync"], "orderByField": "updatedAt", "orderByMethod": "ASC"}
    since = iso(server.jobs[ten[9]].updated)
    found = config(
        server, "/jobs/list_for_workspaces", **asked, updatedAtStart=since, pagination={"pageSize": 2}
    ).json()
    assert [item["job"]["id"] for item in found["jobs"]] == [ten[9], ten[7]]
    assert found["totalJobCount"] == 5
    running = config(server, "/jobs/list_for_workspaces", **asked, statuses=["running"]).json()
    assert [item["job"]["id"] for item in running["jobs"]] == ten[0::2]


# --- jobs that end by themselves ---


def test_a_job_ends_by_itself_at_its_own_time(server):
    server.run_seconds = 100
    job = start(server, server.add_connection("shop")).json()
    server.advance(99)
    assert public(server, "GET", f"/jobs/{job['jobId']}").json()["status"] == "running"
    server.advance(1000)
    done = public(server, "GET", f"/jobs/{job['jobId']}").json()
    assert (done["status"], done["duration"], done["rowsSynced"]) == ("succeeded", "PT1M40S", 1000)


def test_a_job_is_pending_first(server):
    server.pending_seconds, server.run_seconds = 5, 10
    connection = server.add_connection("shop")
    job = start(server, connection).json()
    assert job["status"] == "pending"
    server.advance(6)
    assert server.job(job["jobId"]).status == "running"
    server.advance(10)
    assert server.job(job["jobId"]).status == "succeeded"


@pytest.mark.parametrize(("outcome", "attempts"), [("failed", 1), ("cancelled", 1), ("succeeded", 1)])
def test_outcomes(server, outcome, attempts):
    server.run_seconds, server.outcome = 10, outcome
    job = server.begin(server.add_connection("shop"))
    server.advance(11)
    assert (server.job(job).status, len(server.job(job).attempts)) == (outcome, attempts)


def test_an_outcome_may_depend_on_the_job(server):
    server.run_seconds, server.outcome = 10, lambda job: "failed" if job.id % 2 else "succeeded"
    jobs = [server.begin(server.add_connection(f"c{number}")) for number in range(4)]
    server.advance(11)
    assert [server.job(job).status for job in jobs] == ["failed", "succeeded"] * 2


def test_an_attempt_fails_and_the_next_one_succeeds(server):
    server.run_seconds, server.outcome = 10, "incomplete"
    job = server.begin(server.add_connection("shop"))
    seen = []
    for _ in range(4):
        seen.append(server.job(job).status)
        server.advance(10.5)
    assert seen == ["running", "incomplete", "running", "succeeded"]
    assert [attempt.status for attempt in server.job(job).attempts] == ["failed", "succeeded"]


def test_a_cancelled_job_stays_cancelled(server):
    server.run_seconds = 10
    job = server.begin(server.add_connection("shop"))
    public(server, "DELETE", f"/jobs/{job}")
    server.advance(20)
    assert server.job(job).status == "cancelled"
