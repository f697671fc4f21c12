"""
The same journey as three tasks, each with its own retries: extract, stage, merge.

Connections: `film_rental` (postgres), `warehouse` (duckdb). The stage is that of `[elt] stage`.

Each task can be tried alone: `airflow tasks test elt_three_steps extract 2026-01-01` prints the manifest's URI; written
into `manifest=` and `staged=` in place of the output of the task before, it makes the other two run alone as well.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow_elt_provider.operators.extract import ExtractOperator
from airflow_elt_provider.operators.merge import MergeOperator
from airflow_elt_provider.operators.stage import StageOperator

try:
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG

with DAG(
    dag_id="elt_three_steps",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    default_args={"retries": 2, "retry_delay": timedelta(minutes=1)},
    doc_md=__doc__,
    tags=["elt", "example"],
):
    extract = ExtractOperator(
        task_id="extract",
        source_conn_id="film_rental",
        source_table="public.customer",
        target_table="raw.customer",
        capture="cursor",
        cursor_column="last_update",
        destination_conn_id="warehouse",
    )
    stage = StageOperator(
        task_id="stage",
        manifest=extract.output,
        destination_conn_id="warehouse",
        target_table="raw.customer",
    )
    MergeOperator(
        task_id="merge",
        staged=stage.output,
        destination_conn_id="warehouse",
        checks=["not_null(customer_id)", "row_count(min=0)"],
    )
