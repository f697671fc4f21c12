"""
A day of a table per run, by date: backfills run in any order and side by side, and leave the checkpoint alone.

`airflow backfill create --dag-id elt_backfill_interval --from-date 2026-01-01 --to-date 2026-01-31` (Airflow 2:
`airflow dags backfill`). A run that is cleared takes the place of the rows it loaded before.

Connections: `film_rental` (postgres), `warehouse` (duckdb). The stage is that of `[elt] stage`.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow_elt_provider.operators.sync import SyncTableOperator

try:
    from airflow.sdk import DAG, CronDataIntervalTimetable

    schedule: object = CronDataIntervalTimetable("@daily", timezone="UTC")
except ImportError:  # Airflow 2, where every timetable has data intervals
    from airflow import DAG

    schedule = "@daily"

with DAG(
    dag_id="elt_backfill_interval",
    schedule=schedule,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=3,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=1)},
    doc_md=__doc__,
    tags=["elt", "example"],
):
    SyncTableOperator(
        task_id="payment",
        source_conn_id="film_rental",
        source_table="public.payment",
        destination_conn_id="warehouse",
        target_table="raw.payment_by_day",
        mode="append",
        capture="cursor",
        cursor_column="payment_date",
        interval=("{{ data_interval_start }}", "{{ data_interval_end }}"),
    )
