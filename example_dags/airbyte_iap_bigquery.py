"""
Airbyte behind Identity-Aware Proxy, then a transformation in BigQuery, which writes down the job that brought its rows.
The sync waits in the triggerer; a retry finds the job that the first try started.

Connections: `airbyte_iap` (eltairbyte), e.g. `{"conn_type": "eltairbyte", "host": "https://airbyte.example.com",
"extra": {"iap_audience": "123-abc.apps.googleusercontent.com"}}`; `google_cloud_default` (google_cloud_platform).

Parameters: `connection_id`, the UUID in the address of Airbyte's web UI; `project_id`, Google's project.

The sync alone: `airflow tasks test airbyte_iap_bigquery sync 2026-01-05`.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.providers.google.cloud.operators.bigquery import BigQueryInsertJobOperator  # noqa: TID253 - it is what runs here

from airflow_elt_provider.operators.remote import AirbyteSyncOperator

try:
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG

TRANSFORMATION = """
CREATE OR REPLACE TABLE mart.tickets_by_status AS
SELECT status, COUNT(*) AS tickets, '{{ ti.xcom_pull(task_ids="sync")["job_id"] }}' AS airbyte_job
FROM raw.tickets GROUP BY status
"""

with DAG(
    dag_id="airbyte_iap_bigquery",
    schedule="@daily",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=5)},
    params={"connection_id": "7d9c8e1f-0a2b-4c3d-9e5f-6a7b8c9d0e1f", "project_id": "my-project"},
    doc_md=__doc__,
    tags=["elt", "example"],
):
    sync = AirbyteSyncOperator(
        task_id="sync",
        conn_id="airbyte_iap",
        connection_id="{{ params.connection_id }}",
        deferrable=True,
        on_running="adopt",
        outage_tolerance=timedelta(minutes=30),
        execution_timeout=timedelta(hours=6),
    )
    transform = BigQueryInsertJobOperator(
        task_id="transform",
        gcp_conn_id="google_cloud_default",
        project_id="{{ params.project_id }}",
        configuration={"query": {"query": TRANSFORMATION, "useLegacySql": False}},
    )
    sync >> transform
