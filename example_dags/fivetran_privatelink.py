"""
A Fivetran connection over a private link: link and setup tests are checked by a task of their own, then the sync, then
a task that takes the tables it wrote from XCom.

A sensor waits for a second connection that Fivetran's own schedule starts: it is not ours to start, and done once it
has succeeded after this run began.

Connection: `fivetran` (eltfivetran), API key as login and API secret as password.

Parameters: `connection_id` and `scheduled_id`, Fivetran's ids of the two connections, as in their Setup tabs.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow_elt_provider.operators.remote import FivetranPreflightOperator, FivetranSyncOperator
from airflow_elt_provider.sensors.remote import RemoteSyncSensor

try:
    from airflow.sdk import DAG, task
except ImportError:  # Airflow 2
    from airflow import DAG
    from airflow.decorators import task

with DAG(
    dag_id="fivetran_privatelink",
    schedule="@daily",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=5)},
    params={"connection_id": "speak_inexpensive", "scheduled_id": "quietly_waiting"},
    doc_md=__doc__,
    tags=["elt", "example"],
):
    preflight = FivetranPreflightOperator(
        task_id="preflight",
        conn_id="fivetran",
        connection_id="{{ params.connection_id }}",
        checks=["private_link", "setup_tests"],
    )
    dvdrental = FivetranSyncOperator(
        task_id="dvdrental",
        conn_id="fivetran",
        connection_id="{{ params.connection_id }}",
        deferrable=True,
        execution_timeout=timedelta(hours=6),
    )
    scheduled = RemoteSyncSensor(
        task_id="scheduled",
        conn_id="fivetran",
        remote_id="{{ params.scheduled_id }}",
        completed_after="{{ data_interval_end }}",
        deferrable=True,
        timeout=timedelta(hours=6).total_seconds(),
    )

    @task
    def tables(synced: dict[str, Any]) -> list[str]:
        """Return the names of the tables in the destination: what a check or a mapped task goes on with."""
        return [f"{stream['namespace']}.{stream['name']}" for stream in synced["streams"]]

    preflight >> dvdrental
    tables(dvdrental.output)
