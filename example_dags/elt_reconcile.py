"""
Load a table, and prove that source and target are equal: count and content, down to the keys that differ.

Connections: `film_rental` (postgres), `warehouse` (duckdb). The stage is that of `[elt] stage`.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow_elt_provider.operators.reconcile import ReconcileOperator
from airflow_elt_provider.operators.sync import SyncTableOperator

try:
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG

with DAG(
    dag_id="elt_reconcile",
    schedule="@daily",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=1)},
    doc_md=__doc__,
    tags=["elt", "example"],
):
    customer = {
        "source_conn_id": "film_rental",
        "source_table": "public.customer",
        "destination_conn_id": "warehouse",
        "target_table": "raw.reconciled_customer",
        "exclude_columns": ["email"],
    }
    sync = SyncTableOperator(task_id="sync", mode="merge", deletes="hard", **customer)
    reconcile = ReconcileOperator(task_id="reconcile", max_differences=0, **customer)
    sync >> reconcile
