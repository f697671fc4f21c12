"""
Once a day: staged files and dead staging tables that nobody needs any more go.

Connections: `warehouse` (duckdb). The stage is that of `[elt] stage`, the age that of `[elt] stage_retention`.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow_elt_provider.operators.gc import StageCleanupOperator

try:
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG

with DAG(
    dag_id="elt_stage_cleanup",
    schedule="@daily",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=5)},
    doc_md=__doc__,
    tags=["elt", "example"],
):
    StageCleanupOperator(task_id="clean_up", destination_conn_id="warehouse")
