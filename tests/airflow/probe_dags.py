"""DAGs that the tests of a real scheduler run; the tests copy this file into their DAG folder."""

from __future__ import annotations

import json
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from airflow_elt_provider.operators._task import EltOperator, run_identity

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


with DAG("probe_identity", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)):
    for name, retries in (("none", 0), ("two", 2)):
        Recorder(task_id=name, retries=retries, retry_delay=timedelta(seconds=1))
