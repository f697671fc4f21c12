"""
A table too large for one task: the first load is read by three tasks at once, each its range of keys, and merged once.

On several workers (Celery, Kubernetes) the ranges are read by several machines. Every later run has one task, which
reads what changed; the first of them also brings what moved while the ranges were read one beside the other.

Connections: `film_rental` (postgres), `warehouse` (duckdb). The stage is that of `[elt] stage`.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow_elt_provider.task_groups import sync_partitioned_table

try:
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG

with DAG(
    dag_id="elt_partitioned_table",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(seconds=30)},
    doc_md=__doc__,
    tags=["elt", "example"],
):
    sync_partitioned_table(
        group_id="rental",
        source_conn_id="film_rental",
        source_table="public.rental",
        destination_conn_id="warehouse",
        target_table="large.rental",
        deletes="hard",
        partitions=3,
        max_active_partitions=3,
    )
