"""
CSV files on S3 into a table of Hologres, every hour: merged in one transaction, so that a retry repeats nothing.

Whoever writes the files puts them below `original-data/` of the bucket, in UTF-8 with a header row, plain or
encrypted with a KMS key. Each run reads the files that are new or were replaced since the last one; where several
of them have a row of one key, the newest file's counts.

Connections: `aws_default` (aws, with the bucket's region), `hologres_default` (hologres). The stage is that of
`[elt] stage`, the bucket's name the variable `orders_bucket`, or `company-orders`.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow_elt_provider.operators.sync import SyncTableOperator

try:
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG

with DAG(
    dag_id="elt_s3_csv_hologres",
    schedule="@hourly",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=1)},
    doc_md=__doc__,
    tags=["elt", "example"],
):
    SyncTableOperator(
        task_id="book_order",
        source_conn_id="aws_default",
        path="s3://{{ var.value.get('orders_bucket', 'company-orders') }}/original-data/**/*.csv",
        capture="new_files",
        column_types={
            "order_id": "text",
            "user_id": "bigint",
            "book_id": "bigint",
            "book_name": "text",
            "order_cnt": "bigint",
            "order_amt": "bigint",
        },
        primary_key=["order_id"],
        destination_conn_id="hologres_default",
        target_table="public.book_order",
        mode="merge",
        table_options={
            "orientation": "column",
            "distribution_key": ["order_id"],
            "bitmap_columns": ["user_id", "book_id"],
            "time_to_live_in_seconds": 3153600000,
        },
    )
