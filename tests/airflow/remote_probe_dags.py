"""DAGs of remote syncs that a test runs on a real Airflow; it copies this file into its DAG folder."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta

from airflow_elt_provider.operators.remote import AirbyteSyncOperator
from airflow_elt_provider.sensors.remote import RemoteSyncSensor

try:
    from airflow.sdk import DAG
except ImportError:
    from airflow import DAG

MANY = json.loads(os.environ.get("ELT_TEST_MANY", "[]"))
"""Ids of the connections that are synced all at once."""
ONE = json.loads(os.environ.get("ELT_TEST_CONNECTIONS", "{}"))
"""The id of the connection that a task syncs, by the task's name."""
START = datetime(2026, 1, 1, tzinfo=UTC)
AT_ONCE = {"retry_delay": timedelta(0)}


def one(task_id, *, conn_id="airbyte", **options):
    """Return a task that syncs its own connection."""
    return AirbyteSyncOperator(
        task_id=task_id,
        conn_id=conn_id,
        connection_id=ONE.get(task_id, "none"),
        **{"deferrable": True, "poll_interval": 2, **AT_ONCE, **options},
    )


with DAG("remote_many", schedule=None, start_date=START, max_active_tasks=64):
    AirbyteSyncOperator.partial(task_id="sync", conn_id="airbyte", deferrable=True, poll_interval=2, retries=0).expand(
        connection_id=MANY
    )

for name, options in {
    "cleared": {},
    "failed": {},
    "success": {},
    "taken": {"conn_id": "other"},
    "late": {"execution_timeout": timedelta(seconds=15), "retries": 1},
    "blocking_failed": {"deferrable": False},
    "blocking_killed": {"deferrable": False, "retries": 1},
}.items():
    with DAG(f"remote_{name}", schedule=None, start_date=START):
        one(name, **options)

with DAG("remote_reasons", schedule=None, start_date=START):
    one("wrong_config", retries=2)
    one("broken_system", retries=1)

with DAG("remote_sensors", schedule=None, start_date=START):
    for name, options in {
        "seen": {},
        "in_vain": {"timeout": 10},
        "not_minded": {"timeout": 10, "soft_fail": True},
    }.items():
        RemoteSyncSensor(
            task_id=name,
            conn_id="airbyte",
            remote_id=ONE.get(name, "none"),
            completed_after="{{ dag_run.start_date }}",
            deferrable=True,
            poll_interval=2,
            **options,
        )

with DAG("remote_secrets", schedule=None, start_date=START):
    one("guarded", conn_id="guarded")
    one("guarded_blocking", conn_id="guarded", deferrable=False)
    one("unreachable", conn_id="unreachable", outage_tolerance=0)
    one("refused", conn_id="refused")
    one("ill_written", conn_id="ill_written")
