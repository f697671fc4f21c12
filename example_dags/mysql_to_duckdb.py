"""
Tables of a MySQL shop into DuckDB, every hour: changes and deletes, found without the binary log.

Connections: `shop` (mysql; its user needs SELECT), `warehouse` (duckdb). The stage is that of `[elt] stage`.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow_elt_provider.operators.sync import SyncTableOperator

try:
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG

with DAG(
    dag_id="mysql_to_duckdb",
    schedule="@hourly",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=1)},
    doc_md=__doc__,
    tags=["elt", "example"],
):
    SyncTableOperator(
        task_id="customers",
        source_conn_id="shop",
        source_table="customers",
        destination_conn_id="warehouse",
        target_table="raw.customers",
        capture="fingerprint",
        mode="merge",
        deletes="hard",
        column_types={"active": "boolean"},  # tinyint(1) is a number otherwise
    )
    SyncTableOperator(
        task_id="orders",
        source_conn_id="shop",
        source_table="orders",
        destination_conn_id="warehouse",
        target_table="raw.orders",
        capture="cursor",
        cursor_column="updated_at",
        mode="merge",
    )
