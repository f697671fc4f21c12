"""
Every table of a schema, 200 or more, spread over many workers: found at run time, a mapped task each.

The workers are Airflow's own, here those of CeleryExecutor. The destination must take several writers at once (any
but DuckDB), and the stage must be reached from all workers. A worker that is lost costs its tasks a retry and
nothing else: give them one, and tell Airflow how soon to notice (docs/many-workers.md).

Connections: `shop` (postgres), `reporting` (postgres). The stage is that of `[elt] stage`.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow_elt_provider.task_groups import sync_tables

try:
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG

with DAG(
    dag_id="elt_many_workers",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    max_active_runs=1,
    max_active_tasks=64,
    default_args={"retries": 2, "retry_delay": timedelta(seconds=10)},
    doc_md=__doc__,
    tags=["elt", "example"],
):
    sync_tables(
        group_id="shop",
        source_conn_id="shop",
        source_schema="shop",
        destination_conn_id="reporting",
        target_table="raw.{table}",
        # What is only ever added to is appended; of everything else the target mirrors the source.
        overrides={"log_*": {"mode": "append", "capture": "cursor", "cursor_column": "id"}},
        # About as many as the workers have slots: more would only wait in the queue, where Airflow loses patience.
        max_active_tables=16,
    )
