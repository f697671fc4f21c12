"""A real scheduler of either line, and what a person does with it in the web page: trigger, clear, mark as failed."""

from __future__ import annotations

import json
import os
import sqlite3
import sys
import time
import urllib.request
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from servers.airflow import AirflowServer
from servers.processes import GuardedProcess
from tests.airflow.in_process import AIRFLOW_2

if TYPE_CHECKING:
    from typing import Self

DATE = "2026-01-02"


class Airflow3:
    """Airflow 3 with LocalExecutor, by its API."""

    def __init__(self, dags: Path, env: dict[str, str]) -> None:
        self._server = AirflowServer(dags, env)

    def __enter__(self) -> Self:
        self._server.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.__exit__(*error)

    def trigger(self, dag_id: str, run_id: str) -> None:
        self._server.wait_for_dag(dag_id)
        self._send(
            "POST", f"/api/v2/dags/{dag_id}/dagRuns", {"dag_run_id": run_id, "logical_date": f"{DATE}T00:00:00Z"}
        )

    def wait(self, dag_id: str, run_id: str) -> str:
        return self._server.wait_for_run(dag_id, run_id, timeout=90)

    def clear(self, dag_id: str, run_id: str) -> None:
        body = {"dry_run": False, "dag_run_id": run_id, "only_failed": False, "reset_dag_runs": True}
        self._send("POST", f"/api/v2/dags/{dag_id}/clearTaskInstances", body)

    def mark_failed(self, dag_id: str, run_id: str, task_id: str) -> None:
        self._send("PATCH", f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}", {"new_state": "failed"})

    def _send(self, method: str, path: str, body: dict[str, Any]) -> None:
        headers = {"Authorization": f"Bearer {self._server._token}", "Content-Type": "application/json"}
        request = urllib.request.Request(
            self._server.url + path, data=json.dumps(body).encode(), headers=headers, method=method
        )
        with urllib.request.urlopen(request, timeout=20):
            pass


class Airflow2:
    """Airflow 2 with SequentialExecutor, by its command line and its database."""

    def __init__(self, dags: Path, env: dict[str, str]) -> None:
        self._home = dags.parent / "home"
        self._home.mkdir()
        programs = Path(sys.executable).parent
        self._airflow = str(programs / "airflow")
        self._env = {
            **{name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW_")},
            "PATH": f"{programs}:{os.environ['PATH']}",
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            "AIRFLOW_HOME": str(self._home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__EXECUTOR": "SequentialExecutor",
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
            "AIRFLOW__SCHEDULER__JOB_HEARTBEAT_SEC": "1",
            "AIRFLOW__SCHEDULER__LOCAL_TASK_JOB_HEARTBEAT_SEC": "1",
            **env,
        }
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._run("db", "migrate")
        self._run("dags", "reserialize")
        log = self._stack.enter_context((self._home / "scheduler.log").open("ab"))
        process = GuardedProcess([self._airflow, "scheduler"], log=log, cwd=self._home, env=self._env)
        self._stack.callback(process.stop)
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def trigger(self, dag_id: str, run_id: str) -> None:
        self._run("dags", "trigger", dag_id, "-r", run_id, "-e", DATE)

    def wait(self, dag_id: str, run_id: str) -> str:
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            ((state,),) = self._sql("SELECT state FROM dag_run WHERE dag_id = ? AND run_id = ?", dag_id, run_id)
            if state in {"success", "failed"}:
                return state
            time.sleep(0.3)
        log = (self._home / "scheduler.log").read_text(errors="replace")
        raise AssertionError(f"{dag_id} {run_id} did not end: {log[-3000:]}")

    def clear(self, dag_id: str, run_id: str) -> None:
        self._run("tasks", "clear", dag_id, "-y", "-s", DATE, "-e", "2026-01-03")

    def mark_failed(self, dag_id: str, run_id: str, task_id: str) -> None:
        update = "UPDATE task_instance SET state = 'failed' WHERE dag_id = ? AND run_id = ? AND task_id = ?"
        self._sql(update, dag_id, run_id, task_id)

    def _sql(self, text: str, *values: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self._home / "airflow.db", timeout=30)) as database, database:
            return database.execute(text, values).fetchall()

    def _run(self, *words: str) -> None:
        import subprocess

        done = subprocess.run([self._airflow, *words], env=self._env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


def real_airflow(dags: Path, env: dict[str, str]) -> Airflow2 | Airflow3:
    """Return the Airflow that is installed."""
    return Airflow2(dags, env) if AIRFLOW_2 else Airflow3(dags, env)
