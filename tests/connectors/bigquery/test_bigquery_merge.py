"""BigQuery's own ways, against its emulator: jobs and their ids, staging tables, changes of type, partitions.

The stories that every destination has in common are the contract suite's.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from google.cloud import bigquery

from airflow_elt_provider.connectors.bigquery.destination import BigQueryDestination
from airflow_elt_provider.connectors.bigquery.jobs import BigQueryJobs
from airflow_elt_provider.connectors.bigquery.script import UNEXPECTED
from airflow_elt_provider.connectors.bigquery.staging import nonce_of
from airflow_elt_provider.core.plan import Interval
from airflow_elt_provider.errors import ConfigurationError, DataError, StaleLoadError, TransientError
from airflow_elt_provider.stages.gcs import GcsStage
from airflow_elt_provider.stages.gcs_settings import GcsStageSettings
from servers.bigquery import unavailable
from servers.gcs import client_of
from tests.connectors.staged_loads import Loads, bring_in, odd, staged
from tests.contract.at_work import Servers
from tests.contract.bigquery_at_work import BUCKET, BigQueryAtWork, bigquery_project

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(300)]
ONE, TWO, THREE = (1, "a", Decimal("1.10")), (2, "b", None), (3, None, Decimal("0.00"))


@dataclass
class BucketLoads(Loads):
    """Loads whose files are in a bucket."""

    storage: str = ""

    @property
    def stage(self) -> GcsStage:  # type: ignore[override]
        return GcsStage(lambda: client_of(self.storage), BUCKET, self.folder.name, GcsStageSettings())


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    if reason := unavailable():
        pytest.skip(reason)
    running = Servers()
    yield running
    running.close()


@pytest.fixture
def work(servers: Servers, tmp_path: Path) -> Iterator[BigQueryAtWork]:
    with bigquery_project(servers, tmp_path) as work:
        assert isinstance(work, BigQueryAtWork)
        yield work


@pytest.fixture
def loads(work: BigQueryAtWork, tmp_path: Path) -> BucketLoads:
    return BucketLoads(tmp_path / work.project, "raw.item", storage=work.storage)


@pytest.fixture
def destination(work: BigQueryAtWork) -> BigQueryDestination:
    return opened(work)


def opened(work: BigQueryAtWork, **settings: Any) -> BigQueryDestination:
    destination = work.open(lambda _: None)
    assert isinstance(destination, BigQueryDestination)
    return BigQueryDestination(work.settings(**settings)) if settings else destination


def rows(work: BigQueryAtWork, columns: str = "id, name, amount") -> list[tuple[Any, ...]]:
    return work.query(f"SELECT {columns} FROM raw.item ORDER BY 1")


def jobs_of(work: BigQueryAtWork, load_id: str) -> dict[str, Any]:
    return {job.job_id: job for job in work.client.list_jobs() if load_id in job.job_id}


# --- load jobs ---


def test_more_files_than_one_job_takes(work, loads, destination):
    load = loads.make(*[(at, "x", None) for at in range(6)], odd(6, None, None, amount="NaN"))
    assert len(load.manifest.files) == 3
    receipt = bring_in(opened(work, max_uris=1, labels={"elt_dag": "d"}), load, loads.stage)
    assert (receipt.inserted, receipt.nulled) == (7, {"amount": 1})
    jobs = jobs_of(work, load.load_id)
    loaded = [job for job in jobs.values() if job.job_type == "load"]
    assert sorted(job.job_id.rsplit("_", 2)[1] for job in loaded) == ["0", "1", "2"]
    assert all(job.labels == {"elt_dag": "d", "elt_load": load.load_id} for job in jobs.values())


def test_a_staging_table_is_labelled_expires_and_is_found(work, loads, destination):
    load = staged(destination, loads.make(ONE, TWO), loads.stage)
    table = work.client.get_table(f"_elt.{load.staging}")
    assert table.labels == {"elt_load": load.load_id, "elt_rows": "2"}
    assert timedelta(hours=23) < table.expires - table.created < timedelta(hours=25)
    assert destination.staged(load.load_id) == load.staging
    assert destination.collect_garbage(timedelta(hours=1)) == []
    assert destination.collect_garbage(timedelta(0)) == [load.staging]
    assert destination.staged(load.load_id) is None
    with pytest.raises(DataError, match="no staging table"):
        destination.commit(load, loads.stage, destination.prepare(load))


def test_a_load_job_is_found_again_and_a_spent_id_is_not_used(work, loads, destination):
    """The answer to the first insert is lost; then the job of an id has failed."""
    load = loads.make(ONE, TWO)
    bring_in(destination, loads.make(THREE, stream="other"), loads.stage)
    jobs = BigQueryJobs(work.settings(), None)
    table = work.client.create_table(bigquery.Table(f"{work.project}._elt.mine", schema=[
        bigquery.SchemaField("id", "INT64"), bigquery.SchemaField("name", "STRING"),
        bigquery.SchemaField("amount", "NUMERIC", precision=12, scale=2),
    ]))  # fmt: skip
    uris = [file.uri for file in load.manifest.files]
    config = bigquery.LoadJobConfig(source_format="PARQUET", write_disposition="WRITE_APPEND", schema=table.schema)
    for _ in range(2):
        jobs.finish("loading", jobs.load("loading", "the-only-one", uris, table, config))
    assert work.query("SELECT COUNT(*) FROM _elt.mine") == [(2,)]
    with pytest.raises(FileNotFoundError):
        jobs.finish("loading", jobs.load("loading", "failed", ["gs://stage/nowhere"], table, config))


# --- the script ---


def test_a_script_that_was_sent_is_waited_for(work, loads, destination):
    """The client dies after sending: its retry finds the job by its id, and nothing happens twice."""
    load = staged(destination, loads.make(ONE, TWO), loads.stage)
    changes = destination.prepare(load)
    receipt = destination.commit(load, loads.stage, changes)
    # As if the receipt had not been looked for: the same merge once more, with the staging table gone.
    assert destination.commit(load, loads.stage, changes) == receipt
    assert len([job for job in jobs_of(work, load.load_id) if job.startswith("elt_merge")]) == 1
    assert rows(work) == [ONE, TWO]


def test_the_id_of_a_script_that_failed_is_spent(work, loads, destination):
    """A failed attempt's number is taken; the retry has the next, and asks everything anew."""
    load = staged(destination, loads.make(ONE, TWO), loads.stage)
    changes = destination.prepare(load)
    nonce = load.staging.rpartition("_")[2]
    spent = f"elt_merge_{load.load_id}_{nonce}_0"
    work.client.query("ASSERT FALSE AS 'somebody stumbled'", job_id=spent, job_retry=None)
    receipt = destination.commit(load, loads.stage, changes)
    assert receipt.inserted == 2
    assert f"elt_merge_{load.load_id}_{nonce}_1" in jobs_of(work, load.load_id)


def test_many_spent_ids_do_not_use_up_the_tries(work, loads, destination):
    """An earlier task's tries all found the target changed: this one's have not begun."""
    load = staged(destination, loads.make(ONE), loads.stage)
    changes = destination.prepare(load)
    for number in range(8):
        job_id = f"elt_merge_{load.load_id}_{nonce_of(load.staging)}_{number}"
        work.client.query(f"ASSERT FALSE AS '{UNEXPECTED}'", job_id=job_id, job_retry=None)
    assert destination.commit(load, loads.stage, changes).inserted == 1


def test_two_attempts_of_an_interval_load_at_once(work, loads, destination):
    """It leaves the checkpoint alone, so that only the receipt keeps its twin out."""
    bring_in(destination, loads.make(ONE, TWO, THREE, mode="replace"), loads.stage)
    load = loads.make((2, "new", None), mode="append", version=None, interval=Interval("2", "3"), cursor="id", key=())
    twins = [staged(destination, load, loads.stage) for _ in range(2)]
    changes = destination.prepare(load)
    found: list[Any] = []

    def merge(twin: Any) -> None:
        found.append(opened(work).commit(twin, loads.stage, changes))

    threads = [threading.Thread(target=merge, args=(twin,)) for twin in twins]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found[0] == found[1]
    assert rows(work) == [ONE, (2, "new", None), THREE]


def test_a_stale_load_is_told_from_an_aborted_one(work, loads, destination):
    twins = [loads.make(row, version=0) for row in (ONE, TWO)]
    bring_in(destination, twins[0], loads.stage)
    with pytest.raises(StaleLoadError, match="checkpoint version 0"):
        bring_in(destination, twins[1], loads.stage)
    assert rows(work) == [ONE]


def test_cancel_ends_what_runs(work, destination):
    jobs = BigQueryJobs(work.settings(), None)
    slow = (
        "SELECT COUNT(*) FROM UNNEST(GENERATE_ARRAY(1, 30000)) a, UNNEST(GENERATE_ARRAY(1, 100000)) b WHERE a + b < 0"
    )
    caught: list[BaseException] = []

    def run() -> None:
        try:
            jobs.query("Counting", slow)
        except TransientError as error:
            caught.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    deadline = time.monotonic() + 60
    while thread.is_alive() and time.monotonic() < deadline:
        time.sleep(1)
        jobs.cancel()
    thread.join(60)
    assert "cancelled" in str(caught[0])
    jobs.cancel()


# --- changes of type ---


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_a_change_of_type_that_died_is_finished(work, loads, destination, steps):
    """After the new column, after it was filled, after the names changed."""
    bring_in(destination, loads.make(ONE, TWO), loads.stage)
    loads.version = 1
    text = ("id bigint", "name text", "amount text")
    dialect = destination._dialect
    statements = dialect.alter_type(loads.make(ONE).target, "amount", "NUMERIC(12,2)", "STRING")
    for sql in statements[:steps]:
        work.run(sql)
    if steps == 3:
        work.run("UPDATE raw.item SET amount = NULL WHERE id = 1")  # written between the filling and the renaming
    receipt = loads.merge(destination, (3, "c", "many"), columns=text)
    assert receipt.inserted == 1
    assert work.columns("raw.item") == {"id": "INT64", "name": "STRING", "amount": "STRING"}
    assert rows(work) == [(1, "a", "1.10"), (2, "b", None), (3, "c", "many")]


def test_a_column_of_the_partitioning_keeps_its_type(work, loads, destination):
    loads.settings = {"table_options": {"cluster_by": ["id"]}}
    loads.merge(destination, ONE)
    with pytest.raises(ConfigurationError, match="partitioned or clustered by 'id'"):
        loads.merge(destination, ("x", "a", None), columns=("id text", "name text", "amount decimal(12,2)"))


# --- tables ---


def test_a_partitioned_table_that_wants_a_filter(work, loads, destination):
    loads.settings = {"table_options": {"partition_by": "day", "cluster_by": ["id"], "require_partition_filter": True}}
    loads.columns = ("id bigint", "name text", "day date")
    first = [(1, "a", None), (2, "b", None), (3, "c", None)]
    whole = {"deletes": "hard", "complete": True}
    assert loads.merge(destination, *first, **whole).inserted == 3
    table = work.client.get_table("raw.item")
    assert (table.time_partitioning.field, table.clustering_fields, table.require_partition_filter) == (
        "day", ["id"], True,
    )  # fmt: skip
    receipt = loads.merge(destination, (1, "A", None), (2, "b", None), (4, "d", None), **whole)
    assert (receipt.inserted, receipt.updated, receipt.deleted) == (1, 1, 1)
    found = work.query("SELECT id, name FROM raw.item WHERE day IS NULL OR day > '0001-01-01' ORDER BY id")
    assert found == [(1, "A"), (2, "b"), (4, "d")]


def test_views_and_other_projects(work, loads, destination):
    loads.merge(destination, ONE)
    work.run("CREATE VIEW raw.seen AS SELECT 1 AS id")
    with pytest.raises(ConfigurationError, match="it is a view"):
        loads.merge(destination, ONE, target="raw.seen", stream="view", version=0)
    ours = opened(work, dataset="raw")
    assert loads.merge(ours, TWO, target="item").inserted == 1
    assert rows(work) == [ONE, TWO]


def test_asking_creates_nothing(work, destination):
    assert destination.checkpoint("stream") is None
    assert destination.receipt("x") is None
    assert destination.receipts("stream") == []
    assert destination.staged("x") is None
    assert destination.forget("stream") is False
    assert list(destination.collect_garbage(timedelta(0))) == []
    assert [item.dataset_id for item in work.client.list_datasets()] == []


def test_a_frozen_column_loses_no_digit(work, loads, destination):
    loads.merge(destination, ONE)
    finer = {"columns": ("id bigint", "name text", "amount decimal(20,6)"), "on_schema_drift": "freeze"}
    assert loads.merge(destination, (2, "b", Decimal("2.200000")), **finer).inserted == 1
    for value in ("2.200001", "99999999999999.000000"):
        with pytest.raises(DataError, match="1 values do not fit"):
            loads.merge(destination, (3, "c", Decimal(value)), **finer)
    assert rows(work) == [ONE, (2, "b", Decimal("2.20"))]


def test_json_as_text(work, loads):
    destination = opened(work, json="string")
    loads.columns = ("id bigint", "doc json")
    odd_json = '{"n": 12345678901234567890.123,  "a": 1}'
    assert loads.merge(destination, (1, odd_json)).nulled == {}
    assert rows(work, "id, doc") == [(1, odd_json)]


def test_the_settings_reach_the_job(work, loads):
    destination = opened(work, maximum_bytes_billed=10**9, job_timeout=600)
    load = loads.make(ONE)
    bring_in(destination, load, loads.stage)
    (merge,) = [job for name, job in jobs_of(work, load.load_id).items() if name.startswith("elt_merge")]
    assert merge.maximum_bytes_billed == 10**9
