"""The operators of remotes in DAGs: here and deferred, against fake servers over sockets."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from airflow_elt_provider.operators._remote_values import deadline_of
from tests.airflow import in_process
from tests.fakes.airbyte import FakeAirbyte
from tests.fakes.digdag import FakeDigdag
from tests.fakes.fivetran import FakeFivetran
from tests.fakes.http_fake import Fault

pytestmark = pytest.mark.lowest

IMPORTS = """
from airflow_elt_provider.operators.remote import *
from airflow_elt_provider.sensors.remote import RemoteSyncSensor
"""
BOTH = pytest.mark.parametrize("deferrable", [True, False], ids=["deferred", "here"])
FAST = "poll_interval=0.2, outage_tolerance=5"


def connection(kind, url, **fields):
    extra = fields.pop("extra", {})
    return json.dumps({"conn_type": f"elt{kind}", "host": url, "extra": extra, **fields})


def run(body, conn, **arguments):
    with in_process.environment(AIRFLOW_CONN_REMOTE=conn):
        return in_process.run(IMPORTS + body, **arguments)


@pytest.fixture
def airbyte():
    with FakeAirbyte(config="current") as server:
        server.run_seconds = 0.3
        yield server


def sync(server, connection_id, *, deferrable=False, more=""):
    return run(
        f'AirbyteSyncOperator(task_id="t", conn_id="remote", connection_id={connection_id!r}, deferrable={deferrable}, '
        f"{FAST}, {more})",
        connection("airbyte", server.url),
    )


@BOTH
def test_a_sync_runs_once_and_says_what_it_did(airbyte, deferrable):
    users = airbyte.add_connection("a", streams=["users", "orders"])
    left = sync(airbyte, users, deferrable=deferrable)
    assert left.state == "success"
    result = left.xcoms["t"]
    assert set(result) == {
        "remote", "remote_id", "job_id", "status", "started_at", "finished_at", "rows", "bytes", "attempts", "streams",
        "url",
    }  # fmt: skip
    assert (result["remote"], result["remote_id"], result["status"]) == ("airbyte", users, "succeeded")
    assert [str(job) for job in airbyte.starts(users)] == [result["job_id"]]
    assert {stream["name"] for stream in result["streams"]} == {"users", "orders"}
    assert result["url"].startswith(f"{airbyte.url}/workspaces/")


@BOTH
def test_another_run_starts_another_sync(airbyte, deferrable):
    users = airbyte.add_connection("a")
    jobs = {sync(airbyte, users, deferrable=deferrable).xcoms["t"]["job_id"] for _ in range(2)}
    assert len(jobs) == 2


@BOTH
def test_an_answer_that_was_lost_starts_nothing_twice(airbyte, deferrable):
    users = airbyte.add_connection("a")
    airbyte.inject(Fault("POST", r"/jobs$", when="after", then="cut"))
    assert sync(airbyte, users, deferrable=deferrable).state == "success"
    assert len(airbyte.starts(users)) == 1


@BOTH
def test_an_outage_shorter_than_its_tolerance_fails_nothing(airbyte, deferrable):
    users = airbyte.add_connection("a")
    airbyte.inject(Fault("GET", r"/jobs", status=502, times=2, skip=1))
    assert sync(airbyte, users, deferrable=deferrable).state == "success"


@contextmanager
def failing(server, *failure, **details):
    """Fail each job soon after it began."""

    def fail():
        done = set()
        while not over.wait(0.05):
            for job in set(server.jobs) - done:
                server.fail(job, *failure, **details)
                done.add(job)

    server.run_seconds, over = None, threading.Event()
    thread = threading.Thread(target=fail)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@BOTH
def test_a_configuration_error_burns_no_retries_and_shows_reason_and_log(airbyte, deferrable, caplog, capfd):
    users = airbyte.add_connection("a")
    with failing(airbyte, "config_error", "The password is wrong", log_lines=["line one", "line two"]):
        left = sync(airbyte, users, deferrable=deferrable, more="retries=2, retry_delay=timedelta(0)")
    assert (left.state, left.tries["t"], len(airbyte.starts(users))) == ("failed", 1, 1)
    said = caplog.text + "".join(capfd.readouterr())  # Airflow 3 prints a task's log
    assert "line two" in said
    assert "The password is wrong" in said


def test_a_failed_sync_is_tried_again_with_a_new_job(airbyte):
    users = airbyte.add_connection("a")
    outcomes = iter(["failed", "succeeded"])
    airbyte.outcome = lambda _job: next(outcomes)
    left = sync(airbyte, users, more="retries=1, retry_delay=timedelta(0)")
    assert (left.state, len(airbyte.starts(users))) == ("success", 2)


@contextmanager
def running_until_asked_for(server, connection_id):
    """Let somebody else's job run until our task has seen it."""

    def finish():
        while not over.wait(0.05):
            if len(server.asked(rf"/jobs/{job}$")):
                server.finish(job)
                return

    server.run_seconds, over = None, threading.Event()
    job = server.begin(connection_id)
    server.run_seconds = 0.3
    thread = threading.Thread(target=finish)
    thread.start()
    try:
        yield job
    finally:
        over.set()
        thread.join()


@BOTH
def test_what_somebody_else_runs_is_adopted(airbyte, deferrable):
    users = airbyte.add_connection("a")
    with running_until_asked_for(airbyte, users) as job:
        assert sync(airbyte, users, deferrable=deferrable).xcoms["t"]["job_id"] == str(job)
    assert airbyte.starts(users) == [job]


@BOTH
def test_what_somebody_else_runs_is_waited_for(airbyte, deferrable):
    users = airbyte.add_connection("a")
    with running_until_asked_for(airbyte, users) as job:
        left = sync(airbyte, users, deferrable=deferrable, more="on_running='wait'")
    assert left.state == "success"
    assert int(left.xcoms["t"]["job_id"]) > job
    assert len(airbyte.starts(users)) == 2


def test_what_somebody_else_runs_fails_the_task(airbyte):
    users = airbyte.add_connection("a")
    airbyte.run_seconds = None
    airbyte.begin(users)
    assert sync(airbyte, users, more="on_running='fail'").state == "failed"
    assert len(airbyte.starts(users)) == 1


@pytest.mark.parametrize("wanted", ["", "{{ var.value.get('nothing', '') }}", "7d9c0000-0000-0000-0000-000000000000"])
def test_a_connection_that_cannot_be_meant_starts_nothing(airbyte, wanted):
    airbyte.add_connection("a")
    assert sync(airbyte, wanted).state == "failed"
    assert not airbyte.jobs


@BOTH
def test_each_stream_is_an_asset(airbyte, deferrable):
    if in_process.AIRFLOW_2:
        pytest.skip("Airflow 2 wants aliases registered by a scheduler: test_events.py shows them there")
    users = airbyte.add_connection("a", streams=["users", "orders"])
    assert sync(airbyte, users, deferrable=deferrable).state == "success"
    from airflow.models.asset import AssetEvent
    from airflow.utils.session import create_session

    with create_session() as session:
        events = {event.uri: event.extra for event in session.query(AssetEvent) if users in event.uri}
    assert set(events) == {f"elt://remote/{users}/users", f"elt://remote/{users}/orders"}
    assert all(extra["rows"] > 0 and extra["job_id"] for extra in events.values())


def test_open_lineage_hears_of_the_streams(airbyte):
    users = airbyte.add_connection("a", streams=["users"])
    assert sync(airbyte, users).state == "success"
    lines = Path(in_process.dags_folder().parent / "lineage.jsonl").read_text().splitlines()
    outputs = [output for line in lines for output in json.loads(line).get("outputs", [])]
    (found,) = [output for output in outputs if output["name"] == f"{users}.users"]
    assert found["namespace"].startswith("airbyte://127.0.0.1")
    assert found["outputFacets"]["outputStatistics"]["rowCount"] > 0


@BOTH
def test_a_sensor_waits_for_what_others_start(airbyte, deferrable):
    users = airbyte.add_connection("a")
    airbyte.run_seconds = 1.0
    before = datetime.now(UTC) - timedelta(seconds=2)
    airbyte.begin(users)
    left = run(
        f'RemoteSyncSensor(task_id="t", conn_id="remote", remote_id={users!r}, completed_after="{before.isoformat()}", '
        f"deferrable={deferrable}, poll_interval=0.2, poke_interval=0.2, timeout=30)",
        connection("airbyte", airbyte.url),
    )
    assert (left.state, left.xcoms["t"]["status"]) == ("success", "succeeded")


@BOTH
def test_a_sensor_gives_up(airbyte, deferrable):
    users = airbyte.add_connection("a")
    left = run(
        f'RemoteSyncSensor(task_id="t", conn_id="remote", remote_id={users!r}, completed_after="2026-01-01", '
        f"deferrable={deferrable}, poll_interval=0.2, poke_interval=0.2, timeout=1, soft_fail=True)",
        connection("airbyte", airbyte.url),
    )
    assert left.states["t"] == "skipped"


@BOTH
def test_fivetran_after_its_checks(deferrable):
    with FakeFivetran() as server:
        server.run_seconds = 0.3
        agent, link = server.add_agent(usage=3), server.add_private_link()
        shop = server.add_connection(
            "shop", tables={"public": ["actor", "film"]}, hybrid_deployment_agent_id=agent, private_link_id=link
        )
        left = run(
            f'FivetranSyncOperator(task_id="t", conn_id="remote", connection_id={shop!r}, deferrable={deferrable}, '
            f'preflight=["agent", "private_link", "setup_tests"], {FAST})\n'
            f'FivetranPreflightOperator(task_id="p", conn_id="remote", connection_id={shop!r}, checks="agent")',
            connection("fivetran", server.url, login="key", password="secret"),
        )
        assert left.state == "success"
        assert {stream["name"] for stream in left.xcoms["t"]["streams"]} == {"actor", "film"}
        assert left.xcoms["p"] == {"agent": left.xcoms["p"]["agent"]}
        assert [one.by for one in server.syncs(shop)] == ["api"]
        assert all(not seen.json()["force"] for seen in server.asked(r"/sync$"))


@pytest.mark.parametrize("check", ["agent", "private_link", "setup_tests"])
def test_a_check_that_fails_starts_nothing(check):
    with FakeFivetran() as server:
        agent, link = server.add_agent(online=False), server.add_private_link(state="FAIL", state_summary="no endpoint")
        shop = server.add_connection("shop", hybrid_deployment_agent_id=agent, private_link_id=link)
        if check == "setup_tests":
            server.break_setup(shop, "no route to the database")
        left = run(
            f'FivetranSyncOperator(task_id="t", conn_id="remote", connection_id={shop!r}, preflight={check!r}, {FAST})',
            connection("fivetran", server.url, login="key", password="secret"),
        )
        assert left.state == "failed"
        assert not server.syncs(shop)


def test_digdag_goes_on_from_the_failed_task():
    with FakeDigdag() as server:
        server.run_seconds, server.outcome = 0.2, "error"
        server.add_workflow("elt", "daily")
        conn = connection("digdag", server.url)
        body = (
            'DigdagSyncOperator(task_id="t", conn_id="remote", project="elt", workflow="daily", params={"a": 1}, '
            f'resume="failed", retries=1, retry_delay=timedelta(0), {FAST})'
        )
        left = run(body, conn)
        assert left.state == "failed"
        first, second = server.starts("elt", "daily")
        assert first.retry_name.rsplit("-", 1)[0] == second.retry_name.rsplit("-", 1)[0]
        puts = [seen.json() for seen in server.asked("/api/attempts$", "PUT")]
        assert puts[-1]["resume"] == {"mode": "failed", "attemptId": str(first.id)}
        assert {put["params"]["a"] for put in puts} == {1}
        server.outcome = "success"
        assert run(body, conn).state == "success"


WRONG = {
    "AirbyteSyncOperator(task_id='t', conn_id='c', connection_id='x', on_running='kill')": "on_running='kill'",
    "AirbyteSyncOperator(task_id='t', conn_id='c', connection_id='x', poll_interval=0)": "poll_interval=0",
    "AirbyteSyncOperator(task_id='t', conn_id='c', connection_id='x', outage_tolerance='1h')": "outage_tolerance='1h'",
    "FivetranSyncOperator(task_id='t', conn_id='c', connection_id='x', preflight=['agnet'])": "'agnet'",
    "DigdagSyncOperator(task_id='t', conn_id='c', project='p', workflow='w', resume='all')": "resume='all'",
    "FivetranPreflightOperator(task_id='t', conn_id='c', connection_id='x', checks='link')": "'link'",
}


@pytest.mark.parametrize(("body", "message"), WRONG.items())
def test_a_parameter_that_cannot_be_meant_is_an_import_error(body, message):
    _, path = in_process.write(IMPORTS + body)
    with pytest.raises(AssertionError, match="ConfigurationError") as refused:
        in_process.load(path)
    assert message in str(refused.value)


def test_operators_defer_when_airflow_is_configured_so():
    _, path = in_process.write(IMPORTS + "AirbyteSyncOperator(task_id='t', conn_id='c', connection_id='x')")
    with in_process.environment(AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE="True"):
        (dag,) = in_process.load(path).values()
    assert dag.get_task("t").deferrable is True


def test_a_connection_of_another_type_is_refused(airbyte):
    body = "FivetranSyncOperator(task_id='t', conn_id='remote', connection_id='x')"
    assert run(body, connection("airbyte", airbyte.url)).state == "failed"
    assert not airbyte.requests


def test_a_start_that_nobody_noted_is_noted_before_airflow_counts_from_it():
    """`airflow tasks test` of Airflow 2 has none, and fails when it adds `execution_timeout` to it."""
    ti = SimpleNamespace(start_date=None)
    deadline = deadline_of({"ti": ti}, timedelta(hours=1))
    assert deadline == (ti.start_date + timedelta(hours=1)).timestamp()
    assert deadline_of({"ti": ti}, timedelta(hours=2)) == deadline + 3600
    assert deadline_of({"ti": SimpleNamespace()}, None) is None
