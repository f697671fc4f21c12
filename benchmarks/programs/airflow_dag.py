"""The DAG of the benchmark: each task leaves its process's peak memory in a file."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG, chain

from airflow_elt_provider.operators.sync import SyncTableOperator


def leave_peak(context: Any, _result: Any = None) -> None:
    """Write the peak of this process, which began as a fork of the task's supervisor."""
    status = Path("/proc/self/status").read_text()
    peak = int(status.partition("VmHWM:")[2].split()[0]) / 1024
    name = context["ti"].task_id
    (Path(os.environ["BENCHMARK_FOLDER"]) / f"{name}.json").write_text(json.dumps({"peak_mib": peak}))


def do_nothing() -> None:
    """Do nothing."""


with DAG("benchmark", schedule=None, catchup=False):
    common: dict[str, Any] = {
        "source_conn_id": "source", "source_table": "public.events", "mode": "replace", "post_execute": leave_peak,
    }  # fmt: skip
    chain(
        PythonOperator(task_id="nothing", python_callable=do_nothing, post_execute=leave_peak),
        SyncTableOperator(task_id="to_postgres", destination_conn_id="target", target_table="public.events", **common),
        SyncTableOperator(task_id="to_duckdb", destination_conn_id="embedded", target_table="main.events", **common),
    )
