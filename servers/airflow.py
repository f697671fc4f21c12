"""A throw-away Airflow: scheduler, DAG processor, API server, triggerer as real processes, tasks by LocalExecutor."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from signal import SIGKILL, SIGTERM
from typing import TYPE_CHECKING, Any

from servers.processes import LOOPBACK, GuardedProcess, LentServer, ReservedPort

if TYPE_CHECKING:
    from collections.abc import Mapping

PROGRAMS = ("api-server", "scheduler", "dag-processor")
TRIGGERER = "triggerer"
START_SECONDS = 120.0


class AirflowServer(LentServer):
    """Airflow 3 on SQLite with LocalExecutor, on a free loopback port.

    `dags` is the folder of DAG files; `env` holds further settings and connections (AIRFLOW_CONN_*).  Command lines
    run with :meth:`run` see the same Airflow.  `triggerer` adds the process in which deferred tasks wait.
    """

    def __init__(
        self,
        dags: Path,
        env: Mapping[str, str] | None = None,
        *,
        parallelism: int = 4,
        triggerer: bool = False,
    ) -> None:
        """Describe an Airflow; nothing runs yet."""
        self.home = Path(tempfile.mkdtemp(prefix="elt-airflow-"))
        self._programs = (*PROGRAMS, TRIGGERER) if triggerer else PROGRAMS
        self._processes: dict[str, GuardedProcess] = {}
        self._port = ReservedPort()
        self._stack = ExitStack()
        self.env = {**self._settings(dags, parallelism), **(env or {})}
        self._token = ""

    @property
    def url(self) -> str:
        """Address of its API and web pages."""
        return f"http://{LOOPBACK}:{self._port.number}"

    def _settings(self, dags: Path, parallelism: int) -> dict[str, str]:
        return {
            "AIRFLOW_HOME": str(self.home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
            "AIRFLOW__CORE__PARALLELISM": str(parallelism),
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "AIRFLOW__API__PORT": str(self._port.number),
            "AIRFLOW__API__HOST": LOOPBACK,
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(32),
            "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",
            "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "30",
            "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        }

    def start(self) -> None:
        """Start, and wait until the API answers and the scheduler is alive."""
        self.run("db", "migrate")
        for program in self._programs:
            self._stack.callback(self._stop, program)
            self.launch(program)
        self._stack.callback(self._ask_to_stop)
        self._wait()

    def launch(self, program: str) -> None:
        """Start one of the processes, also again after :meth:`kill`; waits for nothing."""
        with (self.home / f"{program}.log").open("ab") as log:
            command = [airflow_program(), *self._words(program)]
            self._processes[program] = GuardedProcess(command, log=log, cwd=self.home, env=self.env)

    def _words(self, program: str) -> list[str]:
        # The triggerer's port for logs is the same everywhere; nobody asks there, the files are at hand.
        return [program, "--skip-serve-logs"] if program == TRIGGERER else [program]

    def kill(self, program: str) -> None:
        """End one of the processes with SIGKILL, as a lost machine does."""
        self._processes[program].stop(SIGKILL)

    def pid(self, program: str) -> int:
        """Return the process id of one of the processes."""
        return self._processes[program].pid

    def _ask_to_stop(self) -> None:
        """Let all of them end at the same time: each takes some seconds."""
        for process in self._processes.values():
            if process.running:
                process.signal(SIGTERM)

    def _stop(self, program: str) -> None:
        if program in self._processes:
            self._processes[program].stop()

    def keep_logs(self, folder: Path) -> None:
        """Copy the logs of processes and tasks, for whoever has to find out what went wrong."""
        shutil.copytree(self.home / "logs", folder / "logs", dirs_exist_ok=True)
        for log in self.home.glob("*.log"):
            shutil.copy(log, folder)

    def close(self) -> None:
        """Stop everything."""
        self._stack.close()
        self._port.release()
        shutil.rmtree(self.home, ignore_errors=True)

    def _wait(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            try:
                health = self._get("/api/v2/monitor/health")
                self._token = self._get("/auth/token")["access_token"]
                if health["scheduler"]["status"] == "healthy":
                    return
            except OSError:
                pass
            time.sleep(0.3)
        raise RuntimeError(f"Airflow did not start; its logs are in {self.home}")

    # --- what one does with it ---

    def run(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run an `airflow` command line against it."""
        done = subprocess.run(
            [airflow_program(), *words], env={**os.environ, **self.env}, capture_output=True, text=True, check=False
        )
        if check and done.returncode:
            raise RuntimeError(f"airflow {' '.join(words)} failed: {done.stdout[-2000:]}{done.stderr[-2000:]}")
        return done

    def wait_for_dag(self, dag_id: str, timeout: float = 60.0) -> None:
        """Wait until the DAG processor has found a DAG."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if any(dag["dag_id"] == dag_id for dag in self._get("/api/v2/dags?limit=200")["dags"]):
                return
            time.sleep(0.3)
        raise RuntimeError(f"DAG {dag_id} did not appear: {self._get('/api/v2/importErrors')}")

    def wait_for_run(self, dag_id: str, run_id: str, timeout: float = 300.0) -> str:
        """Wait until a DAG run has ended and return its state."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            state = str(self._get(f"/api/v2/dags/{dag_id}/dagRuns/{run_id}")["state"])
            if state in {"success", "failed"}:
                return state
            time.sleep(0.3)
        raise RuntimeError(f"run {run_id} of {dag_id} did not end within {timeout} seconds")

    def task_instances(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """Return the task instances of a run, as the API describes them."""
        found = self._get(f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances?limit=500")
        return list(found["task_instances"])

    def xcom(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> Any:
        """Return a task's XCom."""
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/return_value"
        return self._get(f"{path}?map_index={map_index}&deserialize=true")["value"]

    def connections(self) -> list[str]:
        """Return the connections that stand in the metadata database."""
        return [found["connection_id"] for found in self._get("/api/v2/connections?limit=100")["connections"]]

    def log(self, dag_id: str, run_id: str, task_id: str, attempt: int = 1, map_index: int = -1) -> Any:
        """Return the log of a try, as the web page shows it."""
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/logs/{attempt}"
        return self._get(f"{path}?map_index={map_index}&full_content=true")["content"]

    def trigger(self, dag_id: str, run_id: str, day: str = "2026-01-02") -> None:
        """Start a DAG run."""
        self._ask("POST", f"/api/v2/dags/{dag_id}/dagRuns", {"dag_run_id": run_id, "logical_date": f"{day}T00:00:00Z"})

    def _get(self, path: str) -> Any:
        return self._ask("GET", path)

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, headers=headers, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read())


def airflow_program() -> str:
    """Return the path of the command line."""
    return str(Path(sys.executable).with_name("airflow"))
