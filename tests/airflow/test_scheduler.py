"""What only a real scheduler does: retries, clears and kills."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import pytest

from tests.airflow import in_process
from tests.airflow.real import real_airflow

pytestmark = [pytest.mark.lowest, pytest.mark.slow]

SLEEPING = """
SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep%' AND state = 'active' AND pid <> pg_backend_pid()
"""

SLOW = """
SyncTableOperator(task_id="slow", source_conn_id="rds", query="SELECT 1 AS id, pg_sleep(100)::text AS slept",
                  primary_key=["id"], destination_conn_id="lake", target_table="raw.slow",
                  execution_timeout=timedelta(seconds=2))
"""


def wait_until(true, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.2)


def generations(folder, task):
    return [line["generation"] for line in recorded_of(folder, task)]


def recorded_of(folder, task):
    file = folder / "record.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    return [line for line in lines if line["task"] == task]


def test_retries_clears_and_kills(place, tmp_path):
    """One test for all, because a scheduler takes its time to start."""
    dags, folder = tmp_path / "dags", tmp_path / "orders"
    dags.mkdir()
    folder.mkdir()
    shutil.copy(Path(__file__).with_name("probe_dags.py"), dags)
    env = {
        "ELT_TEST_FOLDER": str(folder),
        "AIRFLOW_CONN_RDS": place.server.airflow_connection(place.dbname),
        "AIRFLOW_CONN_LAKE": json.dumps({"conn_type": "duckdb", "host": str(tmp_path / "lake.duckdb")}),
        "AIRFLOW__ELT__STAGE": f"file://{tmp_path}/stage",
    }
    with real_airflow(dags, env) as airflow:
        retries_keep_and_clears_change_the_load(airflow, folder)
        a_kill_reaches_the_server(airflow, place)
        a_cleared_append_takes_the_place_of_its_rows(airflow, place)


def retries_keep_and_clears_change_the_load(airflow, folder):
    (folder / "two.order").write_text("fail")
    airflow.trigger("probe_identity", "r")
    assert airflow.wait("probe_identity", "r") == "failed"
    assert generations(folder, "none") == [0]
    assert generations(folder, "two") == [0, 0, 0], "two retries are the same load"
    (folder / "record.jsonl").unlink()
    (folder / "two.order").write_text("succeed")
    airflow.clear("probe_identity", "r")
    wait_until(lambda: recorded_of(folder, "none") and recorded_of(folder, "two"))
    assert airflow.wait("probe_identity", "r") == "success"
    assert generations(folder, "none") == [1], "cleared after success"
    assert generations(folder, "two") == [3], "cleared after failure"


def a_kill_reaches_the_server(airflow, place):
    airflow.trigger("probe_kill", "r")
    wait_until(lambda: place.sql(SLEEPING) == [(1,)])
    airflow.mark_failed("probe_kill", "r", "slow")
    begun = time.monotonic()
    wait_until(lambda: place.sql(SLEEPING) == [(0,)], seconds=30)
    assert time.monotonic() - begun < 20
    assert airflow.wait("probe_kill", "r") == "failed"


def a_cleared_append_takes_the_place_of_its_rows(airflow, place):
    airflow.trigger("probe_append", "r")
    assert airflow.wait("probe_append", "r") == "success"
    loads = _loads(place)
    airflow.clear("probe_append", "r")
    wait_until(lambda: airflow.wait("probe_append", "r") == "success" and _loads(place) != loads)
    for table in ("raw.one", "raw.two"):
        assert place.lake(f"SELECT count(*), count(DISTINCT id) FROM {table}") == [(3, 3)], table


def _loads(place):
    return place.lake("SELECT DISTINCT _elt_load_id FROM raw.one") + place.lake(
        "SELECT DISTINCT _elt_load_id FROM raw.two"
    )


def test_a_timeout_cancels_the_query(place):
    begun = time.monotonic()
    with in_process.airflow_2_raises_timeouts():
        run = in_process.run(SLOW)
        assert run.state == "failed"
    assert place.sql(SLEEPING) == [(0,)]
    assert time.monotonic() - begun < 60
