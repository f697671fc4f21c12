"""
Every change of two tables, deletes included, from PostgreSQL into DuckDB, once an hour.

`actor` is compared with hashes of what the last load saw: no cursor column, no replication slot, no more than `SELECT`.
One new row is reported as one. `customer` arrives with its e-mail addresses hashed and its names redacted; rows that
are gone are marked, and up to ten rows that cannot be taken are set aside in a file instead of failing the load.

Connections: `film_rental` (postgres), `warehouse` (duckdb), `privacy_key` (any type; its password is the key of the
hashes). The stage is that of `[elt] stage`.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow_elt_provider.operators.sync import SyncTableOperator

try:
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG

with DAG(
    dag_id="elt_every_change",
    schedule="@hourly",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args={
        "retries": 2,
        "retry_delay": timedelta(minutes=1),
        "source_conn_id": "film_rental",
        "destination_conn_id": "warehouse",
        "capture": "fingerprint",
    },
    doc_md=__doc__,
    tags=["elt", "example"],
):
    SyncTableOperator(
        task_id="actor",
        source_table="public.actor",
        target_table="mirror.actor",
        deletes="hard",
        max_delete_ratio=0.2,  # more than a fifth at once is no everyday delete: nothing is merged then
    )
    SyncTableOperator(
        task_id="customer",
        source_table="public.customer",
        target_table="mirror.customer",
        deletes="soft",
        hash_columns={"email": "privacy_key"},
        redact_columns=["last_name"],
        max_quarantined_rows=10,
    )
