"""
A Fivetran connection whose work an agent in our own network does: the agent is online and has room, then the sync.

Connection: `fivetran` (eltfivetran), API key as login and API secret as password.

Parameter: `connection_id`, Fivetran's id of the connection, as in its Setup tab.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow_elt_provider.operators.remote import FivetranSyncOperator

try:
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG

with DAG(
    dag_id="fivetran_hybrid",
    schedule="@hourly",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=5)},
    params={"connection_id": "speak_inexpensive"},
    doc_md=__doc__,
    tags=["elt", "example"],
):
    FivetranSyncOperator(
        task_id="rds",
        conn_id="fivetran",
        connection_id="{{ params.connection_id }}",
        preflight=["agent"],
        deferrable=True,
        execution_timeout=timedelta(hours=6),
    )
