"""
One table of PostgreSQL into DuckDB, every hour: only what changed since the last run, exactly once.

Connections: `film_rental` (postgres), `warehouse` (duckdb). The stage is that of `[elt] stage`.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow_elt_provider.operators.sync import SyncTableOperator

try:
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG

with DAG(
    dag_id="elt_sync_table",
    schedule="@hourly",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=1)},
    params={"full_refresh": False},
    doc_md=__doc__,
    tags=["elt", "example"],
):
    SyncTableOperator(
        task_id="rental",
        source_conn_id="film_rental",
        source_table="public.rental",
        destination_conn_id="warehouse",
        target_table="raw.rental",
        capture="cursor",
        cursor_column="last_update",
        mode="merge",
        full_refresh="{{ params.full_refresh }}",
        checks=["not_null(rental_id)"],
    )
