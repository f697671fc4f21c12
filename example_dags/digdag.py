"""
A workflow of a Digdag server at 07:00 in Tokyo, with this run's date as its session time: a retry after a failed
attempt goes on from the tasks that failed. Beside it, a sensor waits for a workflow that Digdag's own schedule starts.

Connection: `digdag` (eltdigdag), e.g. `{"conn_type": "eltdigdag", "host": "https://digdag.example.com", "login":
"airflow", "password": "…"}`.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from airflow_elt_provider.operators.remote import DigdagSyncOperator
from airflow_elt_provider.sensors.remote import RemoteSyncSensor

try:
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG

with DAG(
    dag_id="digdag",
    schedule="0 7 * * *",
    start_date=datetime(2026, 1, 1, tzinfo=ZoneInfo("Asia/Tokyo")),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=5)},
    doc_md=__doc__,
    tags=["elt", "example"],
):
    DigdagSyncOperator(
        task_id="daily",
        conn_id="digdag",
        project="elt",
        workflow="daily",
        session_time="{{ data_interval_start }}",
        params={"airflow_run": "{{ run_id }}", "tables": ["rental", "payment"]},
        resume="failed",
        deferrable=True,
        execution_timeout=timedelta(hours=6),
    )
    RemoteSyncSensor(
        task_id="scaled_in",
        conn_id="digdag",
        remote_id="elt/scale_in",
        completed_after="{{ data_interval_end }}",
        deferrable=True,
        timeout=timedelta(hours=6).total_seconds(),
    )
