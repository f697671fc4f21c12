"""
Three tables into DuckDB by the write-ahead log: one replication slot, read once, then a mapped task per table.

Connections: `film_rental` (postgres, whose user may read the log: `ALTER ROLE ... REPLICATION`, on a server with
`wal_level = logical`), `warehouse` (duckdb). The stage is that of `[elt] stage`.

The slot keeps the server's log until all three tables have merged it; see `SELECT * FROM pg_replication_slots`. When
the DAG is retired, drop it: `SELECT pg_drop_replication_slot('elt_film_rental')`.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow_elt_provider.operators.merge import MergeOperator
from airflow_elt_provider.operators.slot import ExtractSlotOperator
from airflow_elt_provider.operators.stage import StageOperator

try:
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG

with DAG(
    dag_id="wal_many_tables",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=1)},
    doc_md=__doc__,
    tags=["elt", "example"],
):
    extract = ExtractSlotOperator(
        task_id="extract",
        source_conn_id="film_rental",
        destination_conn_id="warehouse",
        slot="elt_film_rental",
        deletes="hard",
        tables=[
            {"source_table": "public.customer", "target_table": "wal.customer", "exclude_columns": ["email"]},
            {"source_table": "public.rental", "target_table": "wal.rental"},
            {"source_table": "public.payment", "target_table": "wal.payment", "deletes": "soft"},
        ],
    )
    stage = StageOperator.partial(
        task_id="stage",
        destination_conn_id="warehouse",
    ).expand_kwargs(extract.output)
    MergeOperator.partial(
        task_id="merge",
        destination_conn_id="warehouse",
        max_active_tis_per_dag=1,
    ).expand(staged=stage.output)
