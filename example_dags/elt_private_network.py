"""
A source in a private network: extract runs on a worker there, with no route to the destination; everything else
runs elsewhere, with no route to the source. Only the stage is reached from both.

The worker in the private network listens to the queue `private`: a Celery worker, or an Edge worker, which needs
outbound traffic only (docs/many-workers.md). Neither it nor its queue knows the destination: the checkpoint is read
beside the destination, and handed over.

Connections: `film_rental` (postgres), `warehouse` (duckdb). The stage is that of `[elt] stage`.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow_elt_provider.operators.checkpoint import CheckpointOperator
from airflow_elt_provider.operators.extract import ExtractOperator
from airflow_elt_provider.operators.merge import MergeOperator
from airflow_elt_provider.operators.stage import StageOperator

try:
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG

STREAM = "film_rental.inventory"

with DAG(
    dag_id="elt_private_network",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=1)},
    doc_md=__doc__,
    tags=["elt", "example"],
):
    checkpoint = CheckpointOperator(task_id="checkpoint", destination_conn_id="warehouse", stream=STREAM)
    extract = ExtractOperator(
        task_id="extract",
        queue="private",
        source_conn_id="film_rental",
        source_table="public.inventory",
        stream=STREAM,
        capture="cursor",
        cursor_column="last_update",
        checkpoint=checkpoint.output,
    )
    stage = StageOperator(
        task_id="stage",
        manifest=extract.output,
        destination_conn_id="warehouse",
        target_table="raw.inventory",
    )
    MergeOperator(task_id="merge", staged=stage.output, destination_conn_id="warehouse")
