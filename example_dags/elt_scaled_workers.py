"""
Workers on ECS only while they are needed: scale out, every table of a schema in parallel, scale in. At 07:00 in Tokyo.

The service runs the workers of the queue `scaled` (Celery or Edge). `scale_in` is the teardown of `scale_out`: it runs
whether the tables went well or not, and a run whose tables failed stays failed. When the workers do not come at all,
`scale_out` itself takes the desired count back.

Connections: `film_rental` (postgres), `warehouse` (duckdb here; a server where the workers are several machines),
`aws_default` (aws). The stage is that of `[elt] stage`.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.timetables.trigger import CronTriggerTimetable

from airflow_elt_provider.operators.ecs import EcsServiceScaleOperator
from airflow_elt_provider.task_groups import sync_tables

try:
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG

with DAG(
    dag_id="elt_scaled_workers",
    schedule=CronTriggerTimetable("0 7 * * *", timezone="Asia/Tokyo"),
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(seconds=30)},
    doc_md=__doc__,
    tags=["elt", "example"],
) as dag:
    scale_out = EcsServiceScaleOperator(
        task_id="scale_out",
        cluster="workers",
        service="celery",
        desired_count=4,
        deferrable=True,
        poll_interval=15,
    )
    film_rental = sync_tables(
        group_id="film_rental",
        source_conn_id="film_rental",
        source_schema="public",
        include=["actor", "category", "city", "country", "film*"],
        destination_conn_id="warehouse",
        target_table="scaled.{table}",
        max_active_tables=8,
        queue="scaled",
    )
    scale_out >> film_rental >> scale_out.scale_in(task_id="scale_in")
