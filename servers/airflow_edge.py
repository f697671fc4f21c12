"""A throw-away Airflow whose tasks run on Edge workers: one beside the destination, one in a network of its own.

>>> with EdgeAirflow(dags, database=uri, central={"AIRFLOW_CONN_WAREHOUSE": ...}) as airflow:
...     with PrivateNetwork([airflow.port, source.port]) as network:
...         airflow.launch_private(network, {"AIRFLOW_CONN_FILM_RENTAL": ...})
...         airflow.lose(PRIVATE)  # SIGKILL, its tasks too
"""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING

from servers.airflow import AirflowServer, airflow_program
from servers.process_tree import kill_family
from servers.processes import LOOPBACK, GuardedProcess

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from servers.private_network import PrivateNetwork

CENTRAL, PRIVATE = "central", "private"
HEARTBEAT_TIMEOUT = 15
NO_DATABASE = f"postgresql+psycopg2://nobody:nothing@{LOOPBACK}:1/nowhere"


class EdgeAirflow(AirflowServer):
    """Airflow 3 with EdgeExecutor; its workers know Airflow's API and nothing else of it.

    `database` is the metadata database, `postgresql+psycopg2://...`; `central` is the environment of the worker that
    serves the queue `default`, and of no other process.  A worker in a private network is launched when its network is
    there; it serves the queue `private`.
    """

    def __init__(
        self, dags: Path, database: str, env: Mapping[str, str] | None = None, *, central: Mapping[str, str]
    ) -> None:
        """Describe an Airflow; nothing runs yet."""
        own = {
            "AIRFLOW__CORE__EXECUTOR": "airflow.providers.edge3.executors.EdgeExecutor",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database,
            "AIRFLOW__EDGE__API_ENABLED": "True",
            # How long a worker's token is good for: a worker whose request waits longer is refused, and ends.
            "AIRFLOW__API_AUTH__JWT_LEEWAY": "120",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": str(HEARTBEAT_TIMEOUT),
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
            "AIRFLOW__OPENLINEAGE__DISABLED": "True",  # it forks a process for each task
        }
        super().__init__(dags, {**own, **(env or {})})
        self._central = central
        self._programs = (*self._programs, CENTRAL)
        self.env["AIRFLOW__EDGE__API_URL"] = f"{self.url}/edge_worker/v1/rpcapi"

    @property
    def port(self) -> int:
        """The one port that a worker has to reach."""
        return self._port.number

    def launch(self, program: str) -> None:
        """Start one of the processes."""
        if program != CENTRAL:
            super().launch(program)
            return
        home = self._home_of(CENTRAL)
        env = {**self.env, **self._of_a_worker(home), **self._central}
        self._start(CENTRAL, [airflow_program(), *_worker(CENTRAL, "default")], env)

    def launch_private(self, network: PrivateNetwork, connections: Mapping[str, str]) -> None:
        """Start the worker of the queue `private`, also again after :meth:`lose`; under a new name each time.

        Its environment has these connections, and of the rest what no worker can do without.
        """
        if PRIVATE not in self._processes:
            self._stack.callback(self._stop, PRIVATE)
        home = self._home_of(PRIVATE)
        shared = (
            "AIRFLOW__CORE__EXECUTOR",
            "AIRFLOW__CORE__DAGS_FOLDER",
            "AIRFLOW__CORE__LOAD_EXAMPLES",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL",
            "AIRFLOW__API_AUTH__JWT_SECRET",
            "AIRFLOW__API_AUTH__JWT_LEEWAY",
            "AIRFLOW__EDGE__API_URL",
            "AIRFLOW__OPENLINEAGE__DISABLED",
            "PYTHONPATH",
        )
        env = {name: self.env[name] for name in shared} | self._of_a_worker(home) | dict(connections)
        env |= {"PATH": os.environ["PATH"], "HOME": str(home)}
        words = [airflow_program(), *_worker(f"{PRIVATE}-{secrets.token_hex(3)}", PRIVATE)]
        self._start(PRIVATE, network.command(words, env), {})

    def lose(self, worker: str) -> int:
        """Kill a worker with everything that it started, as a lost machine does; return how many processes."""
        killed = kill_family(self.pid(worker))
        self._processes[worker].stop()
        return killed

    def _ask_to_stop(self) -> None:
        """Lose the workers first: without the API they would not end for minutes."""
        self._stop(CENTRAL)
        super()._ask_to_stop()

    def _stop(self, program: str) -> None:
        if program in (CENTRAL, PRIVATE) and program in self._processes and self._processes[program].running:
            self.lose(program)
        super()._stop(program)

    def _start(self, name: str, command: list[str], env: Mapping[str, str]) -> None:
        with (self.home / f"{name}.log").open("ab") as log:
            self._processes[name] = GuardedProcess(command, log=log, cwd=self.home, env=env)

    def _home_of(self, worker: str) -> Path:
        home = self.home / worker
        home.mkdir(exist_ok=True)
        return home

    def _of_a_worker(self, home: Path) -> dict[str, str]:
        return {
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": NO_DATABASE,
            "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "2",
            "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "30",
            "AIRFLOW__EDGE__JOB_POLL_INTERVAL": "1",
            "AIRFLOW__EDGE__HEARTBEAT_INTERVAL": "5",
        }


def _worker(name: str, queue: str) -> list[str]:
    return ["edge", "worker", "--edge-hostname", name, "--queues", queue, "--concurrency", "1"]
