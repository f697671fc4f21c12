"""
PostgreSQL through a bucket into BigQuery, every hour: a partitioned and clustered table that follows its source.

Connections, as `AIRFLOW_CONN_*` in JSON:

* `film_rental`: `{"conn_type": "postgres", "host": "db.internal", "schema": "film_rental", "login": "elt_reader",
  "password": "..."}`. The role needs `CONNECT` on the database, `USAGE` on the schema and `SELECT` on the tables.
* `google`: `{"conn_type": "google_cloud_platform", "extra": {"project": "acme-dwh", "elt_location": "EU",
  "impersonation_chain": "elt-writer@acme-dwh.iam.gserviceaccount.com"}}`. Without `impersonation_chain` and keys it is
  the worker's own service account that works.

What `elt-writer` needs:

* `roles/bigquery.jobUser` on the project: `bigquery.jobs.create`;
* `roles/bigquery.dataEditor` on the datasets `raw` and `_elt`: `bigquery.tables.create`, `get`, `getData`, `list`,
  `update`, `updateData`, `delete`, and `bigquery.datasets.get`. Make the datasets first, in the bucket's location; with
  `bigquery.datasets.create` on the project (`roles/bigquery.user`) they are made for you;
* `roles/storage.objectUser` on the bucket: `storage.objects.create`, `get`, `list` and `delete`;
* the account that impersonates it needs `roles/iam.serviceAccountTokenCreator` on it.

The bucket is in the datasets' location. A rule of its own that deletes objects after some weeks does no harm.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow_elt_provider.operators.sync import SyncTableOperator

try:
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG

with DAG(
    dag_id="elt_postgres_gcs_bigquery",
    schedule="@hourly",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 3, "retry_delay": timedelta(minutes=2)},
    params={"full_refresh": False, "stage": "gs://acme-elt-stage/film_rental"},
    doc_md=__doc__,
    tags=["elt", "example"],
):
    SyncTableOperator(
        task_id="rental",
        source_conn_id="film_rental",
        source_table="public.rental",
        stage="{{ params.stage }}",
        stage_conn_id="google",
        destination_conn_id="google",
        target_table="raw.rental",
        capture="cursor",
        cursor_column="last_update",
        mode="merge",
        full_refresh="{{ params.full_refresh }}",
        checks=["not_null(rental_id)"],
        table_options={
            "partition_by": "DATE(rental_date)",
            "cluster_by": ["rental_id"],
            "labels": {"team": "dwh"},
            "description": "Rentals, as the film rental application has them",
        },
    )
