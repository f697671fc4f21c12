"""DAGs that the tests of a real scheduler run; the tests copy this file into their DAG folder."""

from __future__ import annotations

import json
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from airflow_elt_provider.operators._task import EltOperator, run_identity
from airflow_elt_provider.operators.checkpoint import CheckpointOperator
from airflow_elt_provider.operators.extract import ExtractOperator
from airflow_elt_provider.operators.merge import MergeOperator
from airflow_elt_provider.operators.stage import StageOperator
from airflow_elt_provider.operators.sync import SyncTableOperator

try:
    from airflow.sdk import DAG
except ImportError:
    from airflow import DAG

RECORD = Path(os.environ.get("ELT_TEST_FOLDER", "/nowhere"))


class Recorder(EltOperator):
    """Writes down who it is, then fails, sleeps or succeeds as a file tells it."""

    def run_step(self, context: Any) -> None:
        run = run_identity(context)
        line = {
            "task": run.task_id,
            "generation": run.generation,
            "load": run.load_id("s"),
            "try": context["ti"].try_number,
        }
        with (RECORD / "record.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")
        order = RECORD / f"{run.task_id}.order"
        word = order.read_text().strip() if order.exists() else "succeed"
        if word == "fail":
            raise RuntimeError("as ordered")
        if word == "sleep":
            order.write_text("succeed")
            self._stoppable(lambda: time.sleep(60), lambda: None)


START = datetime(2026, 1, 1, tzinfo=UTC)

with DAG("probe_identity", schedule=None, start_date=START):
    for name, retries in (("none", 0), ("two", 2)):
        Recorder(task_id=name, retries=retries, retry_delay=timedelta(seconds=1))

with DAG("probe_kill", schedule=None, start_date=START):
    SyncTableOperator(
        task_id="slow",
        source_conn_id="rds",
        query="SELECT 1 AS id, pg_sleep(120)::text AS slept",
        primary_key=["id"],
        destination_conn_id="lake",
        target_table="raw.slow",
    )

with DAG("probe_append", schedule=None, start_date=START):
    reading = {
        "source_conn_id": "rds",
        "source_table": "public.actor",
        "mode": "append",
        "cursor_column": "last_update",
    }
    one = SyncTableOperator(task_id="sync", destination_conn_id="lake", target_table="raw.one", **reading)
    checkpoint = CheckpointOperator(task_id="checkpoint", destination_conn_id="lake", stream="steps")
    extract = ExtractOperator(task_id="extract", stream="steps", checkpoint=checkpoint.output, **reading)
    stage = StageOperator(task_id="stage", manifest=extract.output, destination_conn_id="lake", target_table="raw.two")
    MergeOperator(task_id="merge", staged=stage.output, destination_conn_id="lake")
