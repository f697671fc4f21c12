"""
Every state that the customers' rows were ever in, from PostgreSQL into DuckDB, once a day.

`raw.customer_history` gets a version of a row for each change that a run finds: it held from `_elt_valid_from` to
`_elt_valid_to`, exclusively. The rows as they are now are `SELECT ... WHERE _elt_is_current`; the rows as they were at
a moment are `SELECT ... WHERE _elt_valid_from <= :moment AND (_elt_valid_to > :moment OR _elt_valid_to IS NULL)`.

Connections: `film_rental` (postgres), `warehouse` (duckdb). The stage is that of `[elt] stage`.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow_elt_provider.operators.sync import SyncTableOperator

try:
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG

with DAG(
    dag_id="elt_history",
    schedule="@daily",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=1)},
    doc_md=__doc__,
    tags=["elt", "example"],
):
    SyncTableOperator(
        task_id="customer",
        source_conn_id="film_rental",
        source_table="public.customer",
        destination_conn_id="warehouse",
        target_table="raw.customer_history",
        mode="history",
        deletes="soft",  # a row that is gone ends its version; "ignore" would leave it current
    )
