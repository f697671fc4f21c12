"""
Every night: what changed in Airbyte's web UI since the night before is posted to Slack, and the configuration is
exported to a bucket of Google's: one YAML file an object, no secrets.

On the first night the folder is empty: the comparison says so and fails, and the export fills it.

Connections: `airbyte_iap` (eltairbyte), `google` (google_cloud_platform), `slack_default` (slackwebhook).

Parameter: `folder`, the URI of the folder.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow_elt_provider.notifications.slack import EltSlackNotifier
from airflow_elt_provider.operators.remote_config import RemoteConfigDiffOperator, RemoteConfigExportOperator

try:
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG

with DAG(
    dag_id="elt_remote_config",
    schedule="0 2 * * *",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=5)},
    params={"folder": "gs://acme-elt-config/airbyte"},
    doc_md=__doc__,
    tags=["elt", "example"],
):
    airbyte = {"conn_id": "airbyte_iap", "folder": "{{ params.folder }}", "folder_conn_id": "google"}
    diff = RemoteConfigDiffOperator(
        task_id="diff",
        schemas=True,
        on_difference="fail",
        on_failure_callback=[EltSlackNotifier(note="Was this meant? The export of tonight takes it over.")],
        **airbyte,
    )
    export = RemoteConfigExportOperator(task_id="export", trigger_rule="all_done", **airbyte)
    diff >> export
