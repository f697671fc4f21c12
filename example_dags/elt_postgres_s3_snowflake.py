"""
PostgreSQL into Snowflake through a bucket of yours, every hour: rows that were inserted, changed or **deleted** at the
source are so in Snowflake after the next run. No agent, no replication slot, no port that is open from outside: the
worker opens connections to PostgreSQL, to S3 and to Snowflake.

| connection | type | |
|---|---|---|
| `rds` | postgres | a user that may only read (PostgreSQL 14: `GRANT pg_read_all_data TO elt_reader`) |
| `company_s3` | aws | keys or a role: Get, Put, Delete and List on one bucket |
| `snowflake` | snowflake | key pair, OAuth or password; grants and the storage integration: docs/systems/snowflake.md |

```json
{
  "conn_type": "snowflake",
  "login": "ELT",
  "extra": {
    "account": "myorg-myaccount",
    "private_key_file": "/run/secrets/snowflake_key.p8",
    "role": "ELT_WRITER",
    "warehouse": "LOADING",
    "database": "RAW",
    "elt_storage_integration": "ELT_S3"
  }
}
```
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow_elt_provider.operators.sync import SyncTableOperator

try:
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG

STAGE = "s3://company-elt/prod"

with DAG(
    dag_id="elt_postgres_s3_snowflake",
    schedule="@hourly",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=1)},
    doc_md=__doc__,
    tags=["elt", "example", "snowflake"],
):
    for table in ("actor", "customer"):
        SyncTableOperator(
            task_id=table,
            source_conn_id="rds",
            source_table=f"public.{table}",
            destination_conn_id="snowflake",
            target_table=f"dvdrental.{table}",
            stage=STAGE,
            stage_conn_id="company_s3",
            capture="full",  # compares the whole table: the way to see deletes without a log
            mode="merge",
            deletes="hard",
        )

    SyncTableOperator(
        task_id="rental",
        source_conn_id="rds",
        source_table="public.rental",
        destination_conn_id="snowflake",
        target_table="dvdrental.rental",
        stage=STAGE,
        stage_conn_id="company_s3",
        capture="full",
        mode="merge",
        deletes="soft",  # gone rows stay, with the time in _ELT_DELETED_AT
        table_options={"cluster_by": ["rental_date"]},
    )
