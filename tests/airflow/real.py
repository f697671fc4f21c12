"""A real scheduler of either line, and what a person does with it in the web page: trigger, clear, mark as failed.

Also what befalls it: a triggerer or a task's process that is killed.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import sys
import time
import urllib.request
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from signal import SIGKILL
from typing import TYPE_CHECKING, Any

from servers.airflow import TRIGGERER, AirflowServer
from servers.processes import GuardedProcess
from tests.airflow.in_process import AIRFLOW_2

if TYPE_CHECKING:
    from typing import Self

DATE = "2026-01-02"
_PROCESSES = Path("/proc")


class Airflow3:
    """Airflow 3 with LocalExecutor, by its API."""

    def __init__(self, dags: Path, env: dict[str, str], *, triggerer: bool = False) -> None:
        self._server = AirflowServer(dags, env, triggerer=triggerer)

    def __enter__(self) -> Self:
        self._server.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.__exit__(*error)

    @property
    def home(self) -> Path:
        return self._server.home

    def trigger(self, dag_id: str, run_id: str) -> None:
        self._server.wait_for_dag(dag_id)
        self._send(
            "POST", f"/api/v2/dags/{dag_id}/dagRuns", {"dag_run_id": run_id, "logical_date": f"{DATE}T00:00:00Z"}
        )

    def wait(self, dag_id: str, run_id: str, timeout: float = 90) -> str:
        return self._server.wait_for_run(dag_id, run_id, timeout=timeout)

    def add_connection(self, conn_id: str, fields: dict[str, Any]) -> None:
        given = {**fields, "extra": json.dumps(fields.get("extra", {}))}
        self._send("POST", "/api/v2/connections", {"connection_id": conn_id, **given})

    def connection(self, conn_id: str) -> dict[str, Any]:
        return dict(self._server._get(f"/api/v2/connections/{conn_id}"))

    def tasks(self, dag_id: str, run_id: str) -> dict[str, tuple[str, int]]:
        """Return state and try of each task instance, by its name, "task" or "task[3]"."""
        found = self._server.task_instances(dag_id, run_id)
        return {_name(ti["task_id"], ti["map_index"]): (ti["state"], ti["try_number"]) for ti in found}

    def rendered(self, dag_id: str, run_id: str) -> list[Any]:
        return [ti["rendered_fields"] for ti in self._server.task_instances(dag_id, run_id)]

    def xcom(self, dag_id: str, run_id: str, task_id: str, key: str = "return_value", map_index: int = -1) -> Any:
        entry = f"{_task(dag_id, run_id, task_id)}/xcomEntries/{key}?map_index={map_index}&deserialize=true"
        return self._server._get(entry)["value"]

    def links(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> dict[str, str]:
        found = self._server._get(f"{_task(dag_id, run_id, task_id)}/links?map_index={map_index}")
        return dict(found["extra_links"])

    def log(self, dag_id: str, run_id: str, task_id: str, attempt: int = 1, map_index: int = -1) -> str:
        """Return the log of a try, as the web page shows it."""
        path = f"{_task(dag_id, run_id, task_id)}/logs/{attempt}?map_index={map_index}&full_content=true"
        return json.dumps(self._server._get(path)["content"], ensure_ascii=False)

    def kill_triggerer(self) -> None:
        self._server.kill(TRIGGERER)

    def start_triggerer(self) -> None:
        self._server.launch(TRIGGERER)

    def kill_task(self, dag_id: str, run_id: str, task_id: str) -> None:
        """Kill the process that a task runs in with SIGKILL, as a machine without memory does."""
        (ti,) = [ti for ti in self._server.task_instances(dag_id, run_id) if ti["task_id"] == task_id]
        _kill(self._server.pid("scheduler"), f"airflow worker -- {ti['id']}")

    def keep_logs(self, folder: Path) -> None:
        self._server.keep_logs(folder)

    def clear(self, dag_id: str, run_id: str) -> None:
        body = {"dry_run": False, "dag_run_id": run_id, "only_failed": False, "reset_dag_runs": True}
        self._send("POST", f"/api/v2/dags/{dag_id}/clearTaskInstances", body)

    def mark_failed(self, dag_id: str, run_id: str, task_id: str) -> None:
        self.mark(dag_id, run_id, task_id, "failed")

    def mark(self, dag_id: str, run_id: str, task_id: str, state: str) -> None:
        self._send("PATCH", _task(dag_id, run_id, task_id), {"new_state": state})

    def _send(self, method: str, path: str, body: dict[str, Any]) -> None:
        headers = {"Authorization": f"Bearer {self._server._token}", "Content-Type": "application/json"}
        request = urllib.request.Request(
            self._server.url + path, data=json.dumps(body).encode(), headers=headers, method=method
        )
        with urllib.request.urlopen(request, timeout=60):
            pass


class Airflow2:
    """Airflow 2 with SequentialExecutor, by its command line and its database."""

    def __init__(self, dags: Path, env: dict[str, str], *, triggerer: bool = False) -> None:
        self._programs = ["scheduler", TRIGGERER] if triggerer else ["scheduler"]
        self._processes: dict[str, GuardedProcess] = {}
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
        for program in self._programs:
            self._launch(program)
            self._stack.callback(lambda program=program: self._processes[program].stop())
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    @property
    def home(self) -> Path:
        return self._home

    def _launch(self, program: str) -> None:
        words = [program, "--skip-serve-logs"] if program == TRIGGERER else [program]
        with (self._home / f"{program}.log").open("ab") as log:
            self._processes[program] = GuardedProcess([self._airflow, *words], log=log, cwd=self._home, env=self._env)

    def trigger(self, dag_id: str, run_id: str) -> None:
        self._run("dags", "trigger", dag_id, "-r", run_id, "-e", DATE)

    def wait(self, dag_id: str, run_id: str, timeout: float = 90) -> str:
        deadline = time.monotonic() + timeout
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
        self.mark(dag_id, run_id, task_id, "failed")

    def mark(self, dag_id: str, run_id: str, task_id: str, state: str) -> None:
        update = "UPDATE task_instance SET state = ? WHERE dag_id = ? AND run_id = ? AND task_id = ?"
        self._sql(update, state, dag_id, run_id, task_id)

    def add_connection(self, conn_id: str, fields: dict[str, Any]) -> None:
        self._run("connections", "add", conn_id, "--conn-json", json.dumps(fields))

    def tasks(self, dag_id: str, run_id: str) -> dict[str, tuple[str, int]]:
        """Return state and try of each task instance, by its name, "task" or "task[3]"."""
        query = "SELECT task_id, map_index, state, try_number FROM task_instance WHERE dag_id = ? AND run_id = ?"
        return {_name(task, index): (state, number) for task, index, state, number in self._sql(query, dag_id, run_id)}

    def xcom(self, dag_id: str, run_id: str, task_id: str, key: str = "return_value", map_index: int = -1) -> Any:
        query = "SELECT value FROM xcom WHERE dag_id = ? AND run_id = ? AND task_id = ? AND key = ? AND map_index = ?"
        ((value,),) = self._sql(query, dag_id, run_id, task_id, key, str(map_index))
        return json.loads(value)

    def log(self, dag_id: str, run_id: str, task_id: str, attempt: int = 1, map_index: int = -1) -> str:
        """Return the log of a try, with what its triggers wrote."""
        folder = self._home / "logs" / f"dag_id={dag_id}" / f"run_id={run_id}" / f"task_id={task_id}"
        if map_index >= 0:
            folder /= f"map_index={map_index}"
        return "".join(path.read_text() for path in sorted(folder.glob(f"attempt={attempt}.log*")))

    def kill_triggerer(self) -> None:
        self._processes[TRIGGERER].stop(SIGKILL)

    def start_triggerer(self) -> None:
        self._launch(TRIGGERER)

    def kill_task(self, dag_id: str, run_id: str, task_id: str) -> None:
        """Kill the process that a task runs in with SIGKILL, as a machine without memory does."""
        _kill(self._processes["scheduler"].pid, f"airflow task runner: {dag_id} {task_id} {run_id}")

    def keep_logs(self, folder: Path) -> None:
        shutil.copytree(self._home / "logs", folder / "logs", dirs_exist_ok=True)
        for log in self._home.glob("*.log"):
            shutil.copy(log, folder)

    def _sql(self, text: str, *values: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self._home / "airflow.db", timeout=30)) as database, database:
            return database.execute(text, values).fetchall()

    def _run(self, *words: str) -> None:
        import subprocess

        done = subprocess.run([self._airflow, *words], env=self._env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


def real_airflow(dags: Path, env: dict[str, str], *, triggerer: bool = False) -> Airflow2 | Airflow3:
    """Return the Airflow that is installed."""
    return (Airflow2 if AIRFLOW_2 else Airflow3)(dags, env, triggerer=triggerer)


def _name(task_id: str, map_index: int) -> str:
    return task_id if map_index < 0 else f"{task_id}[{map_index}]"


def _task(dag_id: str, run_id: str, task_id: str) -> str:
    return f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}"


def _kill(ancestor: int, title: str) -> None:
    """Kill the one process with this title among the offspring of a process that we started."""
    (pid,) = [pid for pid in _offspring(ancestor) if _title(pid).startswith(title)]
    os.kill(pid, SIGKILL)


def _offspring(ancestor: int) -> set[int]:
    parents = {}
    for status in _PROCESSES.glob("[0-9]*/status"):
        with suppress(OSError):
            found = re.search(r"^PPid:\s+(\d+)", status.read_text(), re.MULTILINE)
            parents[int(status.parent.name)] = int(found[1]) if found else 0
    family = {ancestor}
    while more := {pid for pid, parent in parents.items() if parent in family} - family:
        family |= more
    return family - {ancestor}


def _title(pid: int) -> str:
    with suppress(OSError):
        return (_PROCESSES / str(pid) / "cmdline").read_text().replace("\0", " ")
    return ""
