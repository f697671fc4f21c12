"""A throw-away Airflow whose tasks run on Celery workers: processes of their own, which may be killed.

>>> with CeleryAirflow(dags, database=uri, workers=("one", "two")) as airflow:
...     airflow.lose("one")  # SIGKILL, its tasks too
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Self

from psutil import NoSuchProcess

from servers.airflow import AirflowServer
from servers.process_tree import cpu_seconds, family, kill_family
from servers.redis import RedisServer

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

WORKERS = ("one", "two")
HEARTBEAT_TIMEOUT = 15


class CeleryAirflow(AirflowServer):
    """Airflow 3 with CeleryExecutor: Redis between the scheduler and its workers.

    `database` is the metadata database, `postgresql+psycopg2://...`; each of `workers` is the name of a worker that
    runs `concurrency` tasks at once.  A task whose worker is lost is noticed after HEARTBEAT_TIMEOUT seconds.
    """

    def __init__(
        self,
        dags: Path,
        database: str,
        env: Mapping[str, str] | None = None,
        *,
        workers: tuple[str, ...] = WORKERS,
        concurrency: int = 2,
    ) -> None:
        """Describe an Airflow; nothing runs yet."""
        self.redis = RedisServer()
        self.workers, self._concurrency = workers, concurrency
        own = {
            "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database,
            "AIRFLOW__CELERY__BROKER_URL": self.redis.url,
            "AIRFLOW__CELERY__RESULT_BACKEND": f"db+{database}",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": str(HEARTBEAT_TIMEOUT),
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
            "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "2",
            "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "30",
            # A message that a lost worker had taken and not begun is sent again; but one that merely waits is, too.
            "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "90",
            "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": "5",
            "AIRFLOW__DAG_PROCESSOR__STALE_BUNDLE_CLEANUP_INTERVAL": "0",  # else a process outlives a killed worker
            "AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT": "3600",
            "AIRFLOW__API__MAXIMUM_PAGE_LIMIT": "1000",
            "AIRFLOW__OPENLINEAGE__DISABLED": "True",  # it forks a process for each task
        }
        super().__init__(dags, {**own, **(env or {})}, parallelism=32)
        self._programs = (*self._programs, *workers)

    def __enter__(self) -> Self:
        """Start Redis, then everything else."""
        try:
            self.redis.start()
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def close(self) -> None:
        """Stop everything."""
        super().close()
        self.redis.close()

    def lose(self, worker: str) -> int:
        """Kill a worker with everything that it started, as a lost machine does; return how many processes."""
        killed = kill_family(self.pid(worker))
        self._processes[worker].stop()
        return killed

    def worker_of(self, port: int) -> str:
        """Return the worker one of whose processes has a connection from this local port.

        :raises RuntimeError: when none has.
        """
        for worker in self.workers:
            for process in family(self.pid(worker)):
                with suppress(NoSuchProcess):
                    if port in {one.laddr.port for one in process.net_connections("tcp")}:
                        return worker
        raise RuntimeError(f"no worker has a connection from port {port}")

    def cpu_seconds(self, *programs: str) -> float:
        """Return the processor time that programs and workers have used so far."""
        return sum(cpu_seconds(self.pid(program)) for program in programs)

    def pids(self, worker: str) -> set[int]:
        """Return the processes of a worker, its tasks included."""
        return {process.pid for process in family(self.pid(worker))}

    def _words(self, program: str) -> list[str]:
        if program not in self.workers:
            return super()._words(program)
        name = ["--celery-hostname", f"{program}@%h", "--concurrency", str(self._concurrency)]
        return ["celery", "worker", *name, "--skip-serve-logs"]
