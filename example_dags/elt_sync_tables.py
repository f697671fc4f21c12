"""
Every table of a schema into DuckDB: found at run time, a mapped task each, four at a time.

Connections: `film_rental` (postgres), `warehouse` (duckdb). The stage is that of `[elt] stage`.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow_elt_provider.task_groups import sync_tables

try:
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG

with DAG(
    dag_id="elt_sync_tables",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(seconds=30)},
    doc_md=__doc__,
    tags=["elt", "example"],
):
    sync_tables(
        group_id="film_rental",
        source_conn_id="film_rental",
        source_schema="public",
        include=["*"],
        exclude=["tmp_*"],
        destination_conn_id="warehouse",
        target_table="{schema}.{table}",
        overrides={
            "rental": {"capture": "cursor", "cursor_column": "last_update"},
            "payment": {"capture": "cursor", "cursor_column": "last_update"},
        },
        max_active_tables=4,
    )
