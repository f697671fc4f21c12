"""The tasks of a fake Digdag's attempts, and their logs."""

from __future__ import annotations

import gzip
from typing import Any

from tests.fakes.digdag_model import Attempt, instant

AGENT = "12648@vm"
ALERT = "^failure-alert"
ROOTS = {"running": "planned", "success": "success", "error": "group_error", "killed": "canceled"}


def states(attempt: Attempt, now: float) -> dict[str, str]:
    """Return the state of each task of the workflow: one runs after the other, each as long as the others."""
    found = dict.fromkeys(attempt.done_before, "success")
    left = attempt.tasks_to_run()
    reached = _reached(attempt, left, now)
    for number, task in enumerate(left):
        found[task] = _state(attempt, task, number - reached)
    return {task: found[task] for task in attempt.workflow.tasks}


def _reached(attempt: Attempt, left: list[str], now: float) -> int:
    if attempt.failed_task is not None:
        return left.index(attempt.failed_task)
    until = attempt.killed_at or attempt.finished or now
    if not attempt.planned_seconds:
        return 0
    return min(len(left) - 1, int((until - attempt.created) / attempt.planned_seconds * len(left)))


def _state(attempt: Attempt, task: str, distance: int) -> str:
    """After a kill the running task goes on to its end, and what has not begun stays blocked."""
    if attempt.status == "success" or distance < 0:
        return "success"
    if task == attempt.failed_task:
        return "error"
    if distance > 0:
        return "blocked"
    return "canceled" if attempt.status == "killed" else "running"


def _alert(attempt: Attempt) -> dict[str, str]:
    """Return the task that a failure adds, and its state."""
    if attempt.failed_at is None:
        return {}
    return {ALERT: "running" if attempt.status == "running" else "success"}


def task_rows(attempt: Attempt, now: float) -> list[dict[str, Any]]:
    """Return the root, which groups, the tasks of the workflow, and what a failure added."""
    rows = [_row(attempt, 1, "", ROOTS[attempt.status], now)]
    every = {**states(attempt, now), **_alert(attempt)}
    rows += [_row(attempt, number, task, state, now) for number, (task, state) in enumerate(every.items(), start=2)]
    return rows


def _row(attempt: Attempt, number: int, task: str, state: str, now: float) -> dict[str, Any]:
    first, full_name = int(attempt.id) * 1000, f"+{attempt.workflow.name}{task}"
    has_begun = bool(task) and state != "blocked" and task not in attempt.done_before
    return {
        "id": str(first + number),
        "fullName": full_name,
        "parentId": str(first + 1) if task else None,
        "upstreams": [str(first + number - 1)] if number > 2 and task != ALERT else [],
        "isGroup": not task,
        "state": state,
        "cancelRequested": attempt.cancel_requested and state != "success",
        "config": _config(task, full_name),
        "exportParams": {},
        "storeParams": {},
        "stateParams": {},
        "error": {"message": f"{attempt.message} (runtime)", "stacktrace": ""} if state == "error" else {},
        "startedAt": instant(attempt.created) if has_begun else None,
        "updatedAt": instant(attempt.finished or now),
        "retryAt": None,
    }


def _config(task: str, full_name: str) -> dict[str, str]:
    if task == ALERT:
        return {"_type": "notify", "_command": "Workflow session attempt failed"}
    return {"echo>": full_name} if task else {}


def log_files(attempt: Attempt, now: float) -> dict[str, tuple[str, bytes]]:
    """Return the logs of the tasks that began: the task's full name and the gzip of its log, by file name."""
    files: dict[str, tuple[str, bytes]] = {}
    for number, (task, state) in enumerate({**states(attempt, now), **_alert(attempt)}.items()):
        if task in attempt.done_before or state == "blocked":
            continue
        full_name = f"+{attempt.workflow.name}{task}"
        text = attempt.logs.get(task) or _log(attempt, full_name, state)
        name = f"{full_name}@{int(attempt.created):08x}{number:08x}.{AGENT}.log.gz"
        files[name] = (full_name, gzip.compress(text.encode(), mtime=0))
    return files


def _log(attempt: Attempt, full_name: str, state: str) -> str:
    lines = [f"{instant(attempt.created)} [INFO] {full_name}: echo>: {full_name}"]
    if state == "error":
        lines.append(f"{instant(attempt.failed_at)} [ERROR] Task {full_name} failed.\n{attempt.message}")
    return "\n".join(lines) + "\n"


def file_row(attempt: Attempt, name: str, task: str, content: bytes) -> dict[str, Any]:
    """Return a log file as lists show it."""
    return {
        "fileName": name,
        "fileSize": len(content),
        "taskName": task,
        "fileTime": instant(attempt.created),
        "agentId": AGENT,
        "direct": None,
    }
