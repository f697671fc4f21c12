"""
A sync that starts only where its source still has the schema that somebody accepted. A new field is taken over, in
Airbyte and in the lock; a field that is gone, another type or another key fails the task before anything is moved,
and Slack says which. The schema that was found waits beside the lock for a review.

The lock comes from `elt remote export`, or from the DAG `elt_remote_config`.

Connections: `airbyte_iap` (eltairbyte), `google` (google_cloud_platform), `slack_default` (slackwebhook).

Parameters: `connection_id`, the UUID in the address of Airbyte's web UI; `folder`, the URI of the exported folder.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow_elt_provider.notifications.slack import EltSlackNotifier
from airflow_elt_provider.operators.remote import AirbyteSyncOperator

try:
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG

with DAG(
    dag_id="elt_schema_gate",
    schedule="@daily",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=5)},
    params={"connection_id": "7d9c8e1f-0a2b-4c3d-9e5f-6a7b8c9d0e1f", "folder": "gs://acme-elt-config/airbyte"},
    doc_md=__doc__,
    tags=["elt", "example"],
):
    AirbyteSyncOperator(
        task_id="sync",
        conn_id="airbyte_iap",
        connection_id="{{ params.connection_id }}",
        schema_lock="{{ params.folder }}",
        schema_lock_conn_id="google",
        on_schema_drift={"field_added": "apply", "stream_added": "ignore"},
        on_drift="propose",
        deferrable=True,
        execution_timeout=timedelta(hours=6),
        on_failure_callback=[EltSlackNotifier()],
    )
