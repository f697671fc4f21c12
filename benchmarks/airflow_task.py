"""Peak memory of the process in which a real Airflow runs the task."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from benchmarks.bench import SOURCE, Bench
from benchmarks.journeys import duckdb_connection, postgres_connection
from benchmarks.measuring import Contestant, Role, Run
from benchmarks.report import Report
from servers.airflow import AirflowServer

DAG_ID: Final = "benchmark"
DAG_FILE: Final = Path(__file__).parent / "programs" / "airflow_dag.py"
NOTHING: Final = "a task that does nothing"


def run(bench: Bench) -> Report:
    """Run one DAG on a throw-away Airflow; its tasks run one after the other."""
    folder = bench.new_folder("airflow")
    (folder / "dags").mkdir()
    (folder / "dags" / DAG_FILE.name).write_text(DAG_FILE.read_text())
    with bench.database() as target:
        instances = _run(_airflow(bench, folder, target))
    runs = {task: _measured(folder, instance) for task, instance in instances.items()}
    names = {
        "nothing": NOTHING,
        "to_postgres": "SyncTableOperator to PostgreSQL",
        "to_duckdb": "SyncTableOperator to DuckDB",
    }
    contestants = [
        Contestant(name, Role.LIMIT if task == "nothing" else Role.OURS, lambda t=task: runs[t])
        for task, name in names.items()
    ]
    return Report(
        "airflow_task", "peak memory of the Airflow task process, full replace", bench.take_turns(contestants, 0, 1),
        notes=["seconds are the task's as Airflow counts them; what exceeds the task that does nothing is ours."],
    )  # fmt: skip


def _airflow(bench: Bench, folder: Path, target: str) -> AirflowServer:
    return AirflowServer(
        folder / "dags",
        {
            "AIRFLOW_CONN_SOURCE": bench.server.airflow_uri(SOURCE),
            "AIRFLOW_CONN_TARGET": postgres_connection(bench, target),
            "AIRFLOW_CONN_EMBEDDED": duckdb_connection(folder / "embedded.duckdb"),
            "AIRFLOW__ELT__STAGE": f"file://{folder / 'stage'}",
            "BENCHMARK_FOLDER": str(folder),
        },
        parallelism=1,
    )


def _run(airflow: AirflowServer) -> Mapping[str, Mapping[str, Any]]:
    with airflow:
        airflow.wait_for_dag(DAG_ID)
        airflow.run("dags", "trigger", DAG_ID, "--run-id", "once")
        state = airflow.wait_for_run(DAG_ID, "once", timeout=1800)
        if state != "success":
            raise RuntimeError(f"the DAG run ended as {state}")
        return {instance["task_id"]: instance for instance in airflow.task_instances(DAG_ID, "once")}


def _measured(folder: Path, instance: Mapping[str, Any]) -> Run:
    found = json.loads((folder / f"{instance['task_id']}.json").read_text())
    return Run(instance["duration"], found["peak_mib"])
