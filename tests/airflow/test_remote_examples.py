"""Every example DAG of the remote engines, really run against servers that answer as the engines do."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_elt_provider.remotes.tokens import TOKENS
from servers.bigquery import BigQueryServer, unavailable
from tests.airflow import in_process
from tests.fakes.airbyte import FakeAirbyte
from tests.fakes.digdag import FakeDigdag
from tests.fakes.digdag_control import Plan
from tests.fakes.fivetran import FakeFivetran
from tests.fakes.google import FakeGoogle
from tests.fakes.iap import FakeIap

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLES = Path(__file__).parents[2] / "example_dags"
COMPOSER, KEYED = (f"{name}@proj.iam.gserviceaccount.com" for name in ("composer", "keyed"))
RUN_SECONDS = 1.0
_DAYS = itertools.count(1)
needs_google = pytest.mark.skipif(in_process.AIRFLOW_2, reason="the oldest Airflow is tested without Google's provider")


def placed(name: str) -> Path:
    """Copy an example into the DAG folder; a failure shall show at once."""
    copied = in_process.dags_folder() / f"{name}.py"
    copied.write_text((EXAMPLES / copied.name).read_text().replace('"retries": 2', '"retries": 0'))
    return copied


def run(name: str, **arguments: Any) -> in_process.Run:
    return in_process.run_file(placed(name), name, **arguments)


def connection(conn_type: str, url: str, **fields: Any) -> str:
    return json.dumps({"conn_type": conn_type, "host": url, **fields})


# --- Airbyte ---


@pytest.fixture(scope="module")
def google() -> Iterator[FakeGoogle]:
    with FakeGoogle() as running:
        running.metadata_account = COMPOSER
        yield running


@pytest.fixture
def airbyte() -> Iterator[FakeAirbyte]:
    """An Airbyte of 0.40, with its own user and password."""
    with FakeAirbyte(public=False, config="0.40", auth="basic") as server:
        server.run_seconds = RUN_SECONDS
        yield server


@pytest.fixture
def iap(google: FakeGoogle, airbyte: FakeAirbyte) -> Iterator[FakeIap]:
    TOKENS._places.clear()
    with FakeIap(google, airbyte.url, members={COMPOSER, KEYED}) as running:
        yield running


@pytest.fixture
def key(google: FakeGoogle, tmp_path: Path) -> str:
    return google.service_account(KEYED, tmp_path / "key.json").read_text()


def behind(iap: FakeIap, **extra: Any) -> str:
    """A connection to Airbyte by way of the proxy, which gets its token in a header of its own."""
    fields = {"login": "airbyte", "password": "password", "extra": {"iap_audience": iap.audience, **extra}}
    return connection("eltairbyte", iap.url, **fields)


def assert_one_start(airbyte: FakeAirbyte, connection_id: str, result: dict[str, Any]) -> None:
    (job,) = airbyte.starts(connection_id)
    assert len(airbyte.asked("connections/sync$", "POST")) == 1
    assert (result["remote"], result["remote_id"], result["job_id"]) == ("airbyte", connection_id, str(job))
    assert result["status"] == "succeeded"
    assert result["rows"] == airbyte.job(job).attempts[-1].rows > 0
    assert f"/connections/{connection_id}" in result["url"]


def assert_let_in(iap: FakeIap, email: str) -> None:
    assert {(one.status, one.email, one.token_header) for one in iap.log} == {(200, email, "Proxy-Authorization")}
    assert iap.seen_tokens == 1


@needs_google
def test_airbyte_behind_iap(airbyte, iap, key):
    connection_id = airbyte.add_connection("zendesk", ["tickets", "users"])
    dag_id = "airbyte_iap_bigquery"
    in_process.boot()
    with in_process.environment(AIRFLOW_CONN_AIRBYTE_IAP=behind(iap, keyfile_dict=key)):
        dag = in_process.load(placed(dag_id), register=True)[dag_id]
        conf = {"connection_id": connection_id}
        done = in_process._left(dag.test(logical_date=in_process.DATE, run_conf=conf, mark_success_pattern="transform"))
    assert done.states == {"sync": "success", "transform": "success"}
    assert_one_start(airbyte, connection_id, done.xcoms["sync"])
    assert_let_in(iap, KEYED)


@needs_google
@pytest.mark.heavy
@pytest.mark.timeout(600)
def test_airbyte_behind_iap_then_bigquery(airbyte, iap, key):
    if reason := unavailable():
        pytest.skip(reason)
    connection_id = airbyte.add_connection("zendesk", ["tickets"])
    warehouse = json.dumps({"conn_type": "google_cloud_platform", "extra": {"keyfile_dict": key, "project": "elt"}})
    with BigQueryServer() as bigquery:
        for dataset in ("raw", "mart"):
            bigquery.create_dataset(dataset)
        bigquery.query("CREATE TABLE raw.tickets AS SELECT 'open' AS status UNION ALL SELECT 'open'")
        with in_process.environment(
            AIRFLOW_CONN_AIRBYTE_IAP=behind(iap, google_conn_id="google_cloud_default"),
            AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT=warehouse,
            **bigquery.env(),
        ):
            done = run("airbyte_iap_bigquery", conf={"connection_id": connection_id, "project_id": "elt"})
        assert done.states == {"sync": "success", "transform": "success"}
        job = done.xcoms["sync"]["job_id"]
        found = bigquery.query("SELECT status, tickets, airbyte_job FROM mart.tickets_by_status")
        assert found == [{"status": "open", "tickets": "2", "airbyte_job": job}]
    assert_one_start(airbyte, connection_id, done.xcoms["sync"])
    assert_let_in(iap, KEYED)


# --- Fivetran ---


@pytest.fixture
def fivetran() -> Iterator[FakeFivetran]:
    with FakeFivetran("key", "secret") as server:
        server.run_seconds = RUN_SECONDS
        found = connection("eltfivetran", server.url, login="key", password="secret")
        with in_process.environment(AIRFLOW_CONN_FIVETRAN=found):
            yield server


@pytest.mark.lowest
def test_fivetran_hybrid(fivetran):
    agent = fivetran.add_agent(usage=9)
    connection_id = fivetran.add_connection("rds", hybrid_deployment_agent_id=agent)
    done = run("fivetran_hybrid", conf={"connection_id": connection_id})
    assert done.state == "success"
    assert [sync.by for sync in fivetran.syncs(connection_id)] == ["api"]
    result = done.xcoms["rds"]
    assert (result["remote_id"], result["status"], result["rows"]) == (connection_id, "succeeded", None)
    assert {stream["name"] for stream in result["streams"]} == {"customer", "payment"}


@pytest.mark.lowest
@pytest.mark.parametrize("agent", [{"online": False}, {"usage": 10}], ids=["offline", "full"])
def test_fivetran_hybrid_starts_nothing_without_its_agent(fivetran, agent):
    connection_id = fivetran.add_connection("rds", hybrid_deployment_agent_id=fivetran.add_agent(**agent))
    done = run("fivetran_hybrid", conf={"connection_id": connection_id})
    assert done.states == {"rds": "failed"}
    assert fivetran.syncs(connection_id) == []


@pytest.mark.lowest
def test_fivetran_privatelink(fivetran):
    linked = {"networking_method": "PrivateLink", "private_link_id": fivetran.add_private_link()}
    connection_id = fivetran.add_connection("dvdrental", tables={"public": ["actor", "film"]}, **linked)
    scheduled = fivetran.add_connection("crm")
    fivetran.begin(scheduled, "schedule")
    done = run("fivetran_privatelink", conf={"connection_id": connection_id, "scheduled_id": scheduled})
    assert set(done.states.values()) == {"success"}
    assert set(done.xcoms["preflight"]) == {"private_link", "setup_tests"}
    assert fivetran.setup_tests_of == [connection_id]
    assert [sync.by for sync in fivetran.syncs(connection_id)] == ["api"]
    assert [sync.by for sync in fivetran.syncs(scheduled)] == ["schedule"]
    assert done.xcoms["scheduled"]["remote_id"] == scheduled
    assert {table.rpartition(".")[2] for table in done.xcoms["tables"]} == {"actor", "film"}


@pytest.mark.lowest
def test_fivetran_privatelink_starts_nothing_over_a_broken_link(fivetran):
    link = fivetran.add_private_link("FAIL", "The endpoint was rejected.")
    connection_id = fivetran.add_connection("dvdrental", private_link_id=link)
    scheduled = fivetran.add_connection("crm")
    fivetran.begin(scheduled, "schedule")
    done = run("fivetran_privatelink", conf={"connection_id": connection_id, "scheduled_id": scheduled})
    assert done.states == {"preflight": "failed", "dvdrental": "upstream_failed", "tables": "upstream_failed",
                           "scheduled": "success"}  # fmt: skip
    assert fivetran.syncs(connection_id) == []


# --- Digdag ---


@pytest.fixture
def digdag() -> Iterator[FakeDigdag]:
    with FakeDigdag("airflow", "password") as server:
        server.run_seconds = RUN_SECONDS
        server.add_workflow("elt", "daily", ["+extract", "+load"])
        server.begin(server.add_workflow("elt", "scale_in", ["+scale"]), "2026-01-05T00:00:00Z", by="schedule")
        found = connection("eltdigdag", server.url, login="airflow", password="password")
        with in_process.environment(AIRFLOW_CONN_DIGDAG=found):
            yield server


@pytest.mark.lowest
def test_digdag(digdag):
    done = run("digdag")
    assert set(done.states.values()) == {"success"}
    (attempt,) = digdag.starts("elt", "daily")
    assert done.xcoms["daily"]["job_id"] == attempt.id
    assert [stream["status"] for stream in done.xcoms["daily"]["streams"]] == ["success", "success"]
    assert attempt.params["tables"] == ["rental", "payment"]
    assert attempt.params["airflow_run"] == done.run.run_id
    assert attempt.session.time == done.run.data_interval_start
    (scaled,) = digdag.starts("elt", "scale_in")
    assert done.xcoms["scaled_in"]["job_id"] == scaled.id


@pytest.mark.lowest
def test_digdag_goes_on_from_the_failed_task(digdag):
    first, good = Plan(RUN_SECONDS, "error", "+load"), Plan(RUN_SECONDS)
    digdag.plan = lambda attempt: first if attempt.index == 1 else good
    copied = placed("digdag")
    copied.write_text(copied.read_text().replace('"retries": 0, "retry_delay": timedelta(minutes=5)',
                                                 '"retries": 1, "retry_delay": timedelta(seconds=0)'))  # fmt: skip
    done = in_process.run_file(copied, "digdag")
    assert done.states["daily"] == "success"
    failed, resumed = digdag.starts("elt", "daily")
    assert (failed.status, resumed.status) == ("error", "success")
    assert resumed.done_before == ("+extract",)
    assert done.xcoms["daily"]["job_id"] == resumed.id


# --- each task alone, as `airflow tasks test` runs it ---


def tasks_test(dag_id: str, task_id: str, **params: str) -> str:
    """Run a task alone in a process of its own and return what it printed."""
    in_process.boot()
    copied = placed(dag_id)
    if in_process.AIRFLOW_2:  # its `tasks test` cannot defer a task that has one (`start_date` is None there)
        copied.write_text(copied.read_text().replace("execution_timeout=timedelta(hours=6),", ""))
    airflow = Path(sys.executable).with_name("airflow")
    date = f"2026-02-{next(_DAYS):02d}"  # one that no other run has: its parameters would count
    words = [airflow, "tasks", "test", dag_id, task_id, date, "--task-params", json.dumps(params)]
    done = subprocess.run(words, env=dict(os.environ), capture_output=True, text=True, check=False, timeout=280)
    text = done.stdout + done.stderr
    assert done.returncode == 0, text[-5000:]
    assert in_process.AIRFLOW_2 or "new_state=success" in text, text[-5000:]  # Airflow 3 exits with 0 in any case
    return text


@needs_google
@pytest.mark.slow
def test_airbyte_alone_with_nothing_but_an_audience(airbyte, iap, google, tmp_path):
    """As on Cloud Composer: the token comes from the metadata server."""
    connection_id = airbyte.add_connection("zendesk", ["tickets", "users"])
    machine = f"127.0.0.1:{google.port}"
    with in_process.environment(
        AIRFLOW_CONN_AIRBYTE_IAP=behind(iap),
        GCE_METADATA_HOST=machine,
        GCE_METADATA_IP=machine,
        CLOUDSDK_CONFIG=str(tmp_path),
    ):
        text = tasks_test("airbyte_iap_bigquery", "sync", connection_id=connection_id)
    (job,) = airbyte.starts(connection_id)
    assert airbyte.job(job).status == "succeeded"
    assert f"{connection_id} (job {job}): succeeded" in text
    assert_let_in(iap, COMPOSER)
    assert not any(token in text for token in iap._judged)


@pytest.mark.lowest
@pytest.mark.slow
@pytest.mark.parametrize(
    ("dag_id", "task_id"),
    [
        ("fivetran_hybrid", "rds"),
        ("fivetran_privatelink", "preflight"),
        ("fivetran_privatelink", "dvdrental"),
        ("fivetran_privatelink", "scheduled"),
    ],
)
def test_fivetran_alone(fivetran, dag_id, task_id):
    settings = {"hybrid_deployment_agent_id": fivetran.add_agent(), "private_link_id": fivetran.add_private_link()}
    ids = {"connection_id": fivetran.add_connection("rental", **settings)}
    if dag_id == "fivetran_privatelink":
        ids["scheduled_id"] = fivetran.add_connection("crm")
        fivetran.begin(ids["scheduled_id"], "schedule")
    tasks_test(dag_id, task_id, **ids)
    started = [sync.by for sync in fivetran.syncs(ids["connection_id"])]
    assert started == (["api"] if task_id in {"rds", "dvdrental"} else [])


@pytest.mark.lowest
@pytest.mark.slow
@pytest.mark.parametrize("task_id", ["daily", "scaled_in"])
def test_digdag_alone(digdag, task_id):
    text = tasks_test("digdag", task_id)
    assert [attempt.status for attempt in digdag.starts("elt", "daily")] == ["success"] * (task_id == "daily")
    assert "elt/daily" in text if task_id == "daily" else "elt/scale_in" in text


# --- what Airflow stores ---


def assert_can_be_stored(dag_id: str) -> None:
    from airflow.serialization import serialized_objects

    in_process.boot()  # Airflow 2 looks aliases up when it stores a DAG
    (dag,) = in_process.load(EXAMPLES / f"{dag_id}.py").values()
    assert dag.dag_id == dag_id
    assert dag.doc_md
    serializer = serialized_objects.SerializedDAG if in_process.AIRFLOW_2 else serialized_objects.DagSerialization
    again = serializer.from_dict(json.loads(json.dumps(serializer.to_dict(dag))))
    assert set(again.task_dict) == set(dag.task_dict)


@pytest.mark.lowest
@pytest.mark.parametrize("dag_id", ["fivetran_hybrid", "fivetran_privatelink", "digdag"])
def test_an_example_can_be_stored(dag_id):
    assert_can_be_stored(dag_id)


@needs_google
def test_the_example_with_bigquery_can_be_stored():
    assert_can_be_stored("airbyte_iap_bigquery")
