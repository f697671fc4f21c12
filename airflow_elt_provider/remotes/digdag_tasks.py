"""The tasks of a Digdag attempt, and the ends of their logs."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Sequence
from typing import Final

from airflow_elt_provider.remotes.flow import Answer, Flow, JsonObject, Request, segment
from airflow_elt_provider.remotes.session import Session

_OK: Final = 200
_LOG_LINES: Final = 50
_LOG_FILES: Final = 3
_LOG_BYTES: Final = 1_000_000


def tasks_of(session: Session, attempt_id: str) -> Flow[list[JsonObject]]:
    """Return the tasks of an attempt; none where they cannot be had."""
    answer = yield from session.attempt(Request("GET", f"/api/attempts/{segment(attempt_id)}/tasks"))
    if not isinstance(answer, Answer) or not answer.is_json:
        return []
    found: list[JsonObject] = answer.json().get("tasks") or []
    return found


def log_tail(session: Session, attempt_id: str, failed: Sequence[JsonObject]) -> Flow[list[str]]:
    """Return the last lines of the failed tasks' logs; fewer where they cannot be had."""
    lines: list[str] = []
    for name in {task["fullName"]: None for task in failed[-_LOG_FILES:]}:
        path = f"/api/logs/{segment(attempt_id)}/files"
        listed = yield from session.attempt(Request("GET", path, [("task", name)]))
        files = listed.json().get("files") or [] if isinstance(listed, Answer) and listed.is_json else []
        for file in files[-1:]:
            request = Request("GET", f"{path}/{segment(file['fileName'])}", accept="*/*")
            answer = yield from session.attempt(request)
            if isinstance(answer, Answer) and answer.status == _OK:
                lines += [f"{name}: {line}" for line in _text(answer.content).splitlines()[-_LOG_LINES:]]
    return lines[-_LOG_LINES:]


def is_work(task: JsonObject) -> bool:
    """Say whether a task is a step of the workflow: not a group, and none that Digdag adds (``^failure-alert``)."""
    return not task.get("isGroup") and "^" not in str(task["fullName"])


def said(task: JsonObject) -> str:
    """Return what a failed task says of itself."""
    message = str((task.get("error") or {}).get("message") or "failed")
    return f"{task['fullName']}: {message}"


def _text(content: bytes) -> str:
    try:
        content = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    except (OSError, EOFError, zlib.error):
        return ""
    return content[-_LOG_BYTES:].decode("utf-8", errors="replace")
