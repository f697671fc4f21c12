"""The demo: a film rental business in PostgreSQL arrives in DuckDB by an Airflow DAG, twice, and nothing is missing."""

from __future__ import annotations

import json
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from demo import film_rental
from demo.proof import compare
from demo.report import agreement_table, heading, result_table
from servers.airflow import AirflowServer
from servers.postgres import PostgresServer

if TYPE_CHECKING:
    from collections.abc import Mapping

DAG = "elt_sync_tables"
SCHEMA = "public"
EXAMPLES = Path(__file__).parents[1] / "example_dags"


def main() -> int:
    """Run the demo and return 0 when source and warehouse agree at the end."""
    started = time.monotonic()
    heading("1. A throw-away PostgreSQL with a film rental business")
    with PostgresServer() as server:
        dbname = server.create_database("film_rental")
        with closing(server.connect(dbname)) as source:
            rows = film_rental.create(source)
            source.commit()
            print(f"{sum(rows.values()):,} rows in {len(rows)} tables on 127.0.0.1:{server.port}")
            return _with_airflow(server, dbname, source, started)


def _with_airflow(server: PostgresServer, dbname: str, source: Any, started: float) -> int:
    heading("2. A throw-away Airflow: API server, scheduler, DAG processor, LocalExecutor")
    airflow = AirflowServer(EXAMPLES)
    warehouse = airflow.home / "warehouse.duckdb"
    airflow.env |= {
        "AIRFLOW_CONN_FILM_RENTAL": server.airflow_connection(dbname),
        "AIRFLOW_CONN_WAREHOUSE": json.dumps({"conn_type": "duckdb", "host": str(warehouse)}),
        "AIRFLOW__ELT__STAGE": f"file://{airflow.home / 'stage'}",
    }
    with airflow:
        airflow.wait_for_dag(DAG)
        print(f"up after {time.monotonic() - started:.0f} s; four tables at a time")
        _run(airflow, "first", "2026-01-01")
        heading("4. A day of business: rows inserted and updated at the source")
        changed = {table: change for table, change in film_rental.change(source).items() if any(vars(change).values())}
        source.commit()
        print(", ".join(f"{table} +{change.inserted} ~{change.updated}" for table, change in changed.items()))
        results = _run(airflow, "second", "2026-01-02")
        return _prove(source, warehouse, results, changed, started)


def _run(airflow: AirflowServer, run_id: str, date: str) -> dict[str, Mapping[str, Any]]:
    number = {"first": 3, "second": 5}[run_id]
    heading(f"{number}. airflow dags trigger {DAG} --run-id {run_id}")
    begun = time.monotonic()
    airflow.run("dags", "trigger", DAG, "--run-id", run_id, "--logical-date", date)
    state = airflow.wait_for_run(DAG, run_id)
    took = time.monotonic() - begun
    instances = airflow.task_instances(DAG, run_id)
    if state != "success":
        for instance in instances:
            print(f"{instance['task_id']}[{instance['map_index']}] {instance['state']}", file=sys.stderr)
        raise SystemExit(f"run {run_id} {state}; logs are in {airflow.home / 'logs'}")
    results: dict[str, Mapping[str, Any]] = {}
    for instance in instances:
        if instance["operator_name"] == "SyncTableOperator":
            result = airflow.xcom(DAG, run_id, instance["task_id"], instance["map_index"])
            results[result["stream"].partition("->")[0].rpartition(".")[2]] = result
    print(result_table(results))
    print(f"the DAG run took {took:.1f} s")
    return results


def _prove(source: Any, warehouse: Path, results: Mapping[str, Any], changed: Mapping[str, Any], started: float) -> int:
    heading("6. Proof, read with the drivers of PostgreSQL and DuckDB")
    agreements = compare(source, warehouse, sorted(results), SCHEMA)
    print(agreement_table(agreements))
    miscounted = [
        table
        for table, change in changed.items()
        if (results[table]["inserted"], results[table]["updated"]) != (change.inserted, change.updated)
    ]
    for table in miscounted:
        print(f"{table}: the source changed {changed[table]}, the DAG reports {results[table]}")
    good = not miscounted and not any(agreement.different for agreement in agreements)
    verdict = "source and warehouse agree, and every change was counted once" if good else "NOT THE SAME"
    print(f"\n{verdict}; {time.monotonic() - started:.0f} s in all")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
