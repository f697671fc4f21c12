"""
PostgreSQL through S3 into Databricks, every hour: one schema's tables, each in a Delta table of its own.

A row that is inserted into `actor` is one row in the log of the next run, and then in the target.

Connections, as `AIRFLOW_CONN_*` in JSON:

* `film_rental`: `{"conn_type": "postgres", "host": "vpce-0a1b2c3d.vpce-svc.eu-central-1.vpce.amazonaws.com",
  "schema": "dvdrental", "login": "elt_reader", "password": "...", "extra": {"sslmode": "verify-full",
  "sslrootcert": "/etc/ssl/rds-ca.pem"}}`: over a private link, if you like, with TLS. It needs `CONNECT` on the
  database, `USAGE` on the schema and `SELECT` on the tables.
* `aws`: `{"conn_type": "aws", "extra": {"role_arn": "arn:aws:iam::123456789012:role/elt-stage",
  "region_name": "eu-central-1"}}`. The role needs `s3:PutObject`, `s3:GetObject` and `s3:DeleteObject` on
  `arn:aws:s3:::acme-elt-stage/film_rental/*` and `s3:ListBucket` on the bucket.
* `databricks`: `{"conn_type": "databricks", "host": "dbc-0a1b2c3d-4e5f.cloud.databricks.com", "login": "<client id>",
  "password": "<secret>", "extra": {"service_principal_oauth": true, "catalog": "main",
  "http_path": "/sql/1.0/warehouses/0123456789abcdef"}}`, or a personal access token as the password of a connection
  without login.

What the service principal needs, besides `CAN USE` on the warehouse:

    GRANT USE CATALOG ON CATALOG main TO `elt-writer`;
    GRANT USE SCHEMA, CREATE TABLE, SELECT, MODIFY ON SCHEMA main._elt TO `elt-writer`;
    GRANT USE SCHEMA, CREATE TABLE, SELECT, MODIFY ON SCHEMA main.postgres_rds_dvdrental_public TO `elt-writer`;
    GRANT READ FILES ON EXTERNAL LOCATION elt_stage TO `elt-writer`;

Make both schemas first; with `CREATE SCHEMA` on the catalog they are made for you.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow_elt_provider.operators.sync import SyncTableOperator

try:
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG

TABLES = {"actor": "actor_id", "film": "film_id", "customer": "customer_id", "rental": "rental_id"}

with DAG(
    dag_id="elt_postgres_s3_databricks",
    schedule="@hourly",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 3, "retry_delay": timedelta(minutes=2)},
    params={"full_refresh": False, "stage": "s3://acme-elt-stage/film_rental"},
    doc_md=__doc__,
    tags=["elt", "example"],
):
    for table, key in TABLES.items():
        SyncTableOperator(
            task_id=table,
            source_conn_id="film_rental",
            source_table=f"public.{table}",
            stage="{{ params.stage }}",
            stage_conn_id="aws",
            destination_conn_id="databricks",
            target_table=f"postgres_rds_dvdrental_public.{table}",
            capture="cursor",
            cursor_column="last_update",
            mode="merge",
            full_refresh="{{ params.full_refresh }}",
            checks=[f"not_null({key})"],
            table_options={"cluster_by": [key]},
        )
