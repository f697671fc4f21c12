"""
What a sync would read, write and change, before anybody lets it: a table in the log, and nothing else.

Connections: `film_rental` (postgres), `warehouse` (duckdb). The stage is that of `[elt] stage`.
"""

from __future__ import annotations

from datetime import UTC, datetime

from airflow_elt_provider.operators.plan import PlanOperator

try:
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG

with DAG(
    dag_id="elt_plan",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    doc_md=__doc__,
    tags=["elt", "example"],
):
    PlanOperator(
        task_id="payment",
        source_conn_id="film_rental",
        source_table="public.payment",
        destination_conn_id="warehouse",
        target_table="raw.planned_payment",
        capture="full",
        mode="merge",
        deletes="soft",
        max_delete_ratio=0.1,
    )
