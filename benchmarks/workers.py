"""Small tables by the hundred on two Celery workers, and what Airflow itself costs of it."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from benchmarks.bench import FOLDER, Bench
from benchmarks.measuring import Contestant, Measured, Role, Run
from benchmarks.report import Report
from servers.airflow import PROGRAMS
from servers.airflow_celery import CeleryAirflow
from servers.postgres import PostgresServer

TABLES: Final = 200
ROWS: Final = 100
EXAMPLE: Final = FOLDER.parent / "example_dags" / "elt_many_workers.py"
NOTHING_FILE: Final = Path(__file__).parent / "programs" / "workers_dag.py"
SYNC: Final = "elt_many_workers on two workers"
NOTHING: Final = "tasks that do nothing, same workers"
ALONE: Final = "no Airflow, one process"
STEPS: Final = ("extract", "stage", "merge")
DAYS: Final = itertools.count(1)


@dataclass(frozen=True)
class Place:
    """Where it happens."""

    server: PostgresServer
    source: str
    target: str
    stage: Path
    airflow: CeleryAirflow
    bench: Bench

    def connections(self) -> dict[str, str]:
        """Return the connections of the example."""
        return _connections(self.server, self.source, self.target)


def run(bench: Bench) -> Report:
    """Let three DAG runs and processes take turns on one Airflow."""
    with _place(bench) as place:
        contestants = [
            Contestant(ALONE, Role.LIMIT, lambda: _alone(place)),
            Contestant(NOTHING, Role.LIMIT, lambda: _dag_run(place, "nothing", "nothing")),
            Contestant(SYNC, Role.OURS, lambda: _synced(place)),
        ]
        measured = bench.take_turns(contestants, 0, 2)
    sync, nothing, alone = (measured[name] for name in (SYNC, NOTHING, ALONE))
    return Report(
        "workers", f"{TABLES} tables of {ROWS} rows, PostgreSQL to PostgreSQL, two Celery workers of two tasks each",
        measured, columns=("tables/min", "worker cpu", "core cpu", "task", *STEPS),
        notes=(
            _compared(sync, nothing, alone),
            "cpu: seconds of processor time for each table: of the workers; of scheduler, API server and DAG processor",
            "task, extract, stage, merge: medians over the tasks, in seconds.",
        ),
    )  # fmt: skip


def _compared(sync: Measured, nothing: Measured, alone: Measured) -> str:
    wall, cpu = nothing.seconds / sync.seconds, nothing.detail("worker cpu") / sync.detail("worker cpu")
    without = alone.detail("worker cpu") / sync.detail("worker cpu")
    return (
        f"tasks that do nothing take {wall:.0%} of the time and {cpu:.0%} of the workers' processor time of those that "
        f"sync; the syncs without Airflow, in one process, {alone.seconds / sync.seconds:.0%} and {without:.0%}."
    )


@contextmanager
def _place(bench: Bench) -> Iterator[Place]:
    folder = bench.new_folder("workers")
    (folder / "dags").mkdir()
    for file in (EXAMPLE, NOTHING_FILE):
        (folder / "dags" / file.name).write_text(file.read_text())
    with PostgresServer({"max_connections": 200}) as server:
        source, target, metadata = (server.create_database() for _ in range(3))
        _fill(server, source)
        uri = server.airflow_uri(metadata).replace("postgres:", "postgresql+psycopg2:")
        env = {
            "AIRFLOW__ELT__STAGE": f"file://{folder / 'stage'}",
            "BENCHMARK_TABLES": str(TABLES),
            # Nothing is lost here, and most tasks wait for a slot.
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "300",
            "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "600",
        }
        with CeleryAirflow(folder / "dags", uri, env | _connections(server, source, target)) as airflow:
            for dag_id in (EXAMPLE.stem, "nothing"):
                airflow.wait_for_dag(dag_id)
            yield Place(server, source, target, folder / "stage", airflow, bench)


def _connections(server: PostgresServer, source: str, target: str) -> dict[str, str]:
    return {
        "AIRFLOW_CONN_SHOP": server.airflow_connection(source),
        "AIRFLOW_CONN_REPORTING": server.airflow_connection(target),
    }


def _fill(server: PostgresServer, database: str) -> None:
    with closing(server.connect(database)) as connection, connection, connection.cursor() as cursor:
        cursor.execute("CREATE SCHEMA shop")
        for name in _tables():
            cursor.execute(f"CREATE TABLE shop.{name} (id int PRIMARY KEY, name text, price numeric(9,2))")
            cursor.execute(f"INSERT INTO shop.{name} SELECT n, 'n ' || n, n * 1.25 FROM generate_series(1, {ROWS}) n")


def _tables() -> list[str]:
    return [f"{'item' if number % 4 else 'log'}_{number:03}" for number in range(1, TABLES + 1)]


def _alone(place: Place) -> Run:
    _empty(place)
    return place.bench.run("many_process", f"file://{place.stage}", *_tables(), env=place.connections())


def _synced(place: Place) -> Run:
    _empty(place)
    done = _dag_run(place, EXAMPLE.stem, "shop.sync", results=True)
    with closing(place.server.connect(place.target)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*), count(DISTINCT stream), sum(inserted) FROM _elt.receipts")
        if cursor.fetchone() != (TABLES, TABLES, TABLES * ROWS):
            raise RuntimeError("not every table was merged once")
    return done


def _empty(place: Place) -> None:
    with closing(place.server.connect(place.target)) as connection, connection, connection.cursor() as cursor:
        cursor.execute("DROP SCHEMA IF EXISTS raw, _elt CASCADE")


def _dag_run(place: Place, dag_id: str, task_id: str, *, results: bool = False) -> Run:
    airflow, run_id = place.airflow, f"run_{next(DAYS)}"
    groups = {"worker cpu": airflow.workers, "core cpu": PROGRAMS}
    before = {name: airflow.cpu_seconds(*programs) for name, programs in groups.items()}
    airflow.trigger(dag_id, run_id, f"2026-01-{next(DAYS):02}")
    state = airflow.wait_for_run(dag_id, run_id, timeout=1800)
    used = {name: airflow.cpu_seconds(*programs) - before[name] for name, programs in groups.items()}
    if state != "success":
        airflow.keep_logs(FOLDER / "workers-logs")
        raise RuntimeError(f"the run of {dag_id} ended as {state}; its logs are in {FOLDER.name}/workers-logs")
    instances = [ti for ti in airflow.task_instances(dag_id, run_id) if ti["task_id"] == task_id]
    seconds = _seconds(instances)
    details: dict[str, float] = {
        "tables/min": 60 * len(instances) / seconds, "task": statistics.median(ti["duration"] for ti in instances),
    }  # fmt: skip
    details |= {name: spent / len(instances) for name, spent in used.items()}
    if results:
        found = [airflow.xcom(dag_id, run_id, task_id, ti["map_index"])["seconds"] for ti in instances]
        details |= {step: statistics.median(one[step] for one in found) for step in STEPS}
    return Run(seconds, None, details)


def _seconds(instances: list[Mapping[str, Any]]) -> float:
    """Return the time from the first task's begin to the last one's end."""
    begun = min(datetime.fromisoformat(ti["start_date"]) for ti in instances)
    return (max(datetime.fromisoformat(ti["end_date"]) for ti in instances) - begun).total_seconds()
