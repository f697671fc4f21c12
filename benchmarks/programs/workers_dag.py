"""As many mapped tasks that do nothing as there are tables: what Airflow itself costs of `elt_many_workers`."""

from __future__ import annotations

import os

from airflow.sdk import DAG, task

with DAG("nothing", schedule=None, catchup=False, max_active_tasks=64):

    @task
    def tables() -> list[int]:
        """Say how many."""
        return list(range(int(os.environ["BENCHMARK_TABLES"])))

    @task(max_active_tis_per_dagrun=16)
    def nothing(number: int) -> None:
        """Do nothing."""

    nothing.expand(number=tables())
