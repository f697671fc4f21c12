"""How a task or a DAG run ended, read from the context of Airflow's callbacks."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from airflow_elt_provider.core.receipt import ROW_COUNTS
from airflow_elt_provider.errors import EltError

log = logging.getLogger(__name__)

_REMEDY: Final = " Remedy: "
_LOST: Final = (
    "the task ended without a word: its worker was killed, or somebody ended it from outside." + _REMEDY + "see the "
    "log of the worker; what was not committed was rolled back"
)


@dataclass(frozen=True)
class Ending:
    """How it ended.

    :param what: the task or the DAG.
    :param failed: whether it did.
    :param again: whether Airflow tries the task once more.
    :param table: what was moved, e.g. ``public.actor → raw.actor``; "" where nothing says.
    :param reason: why it failed.
    :param remedy: what to do about it, where our own errors say.
    :param counts: of a load that went well, those that are not zero.
    :param attempt: e.g. ``2 of 3``.
    :param log_url: "" for a DAG run.
    """

    what: str
    dag_id: str
    run_id: str
    failed: bool
    again: bool = False
    table: str = ""
    stream: str = ""
    reason: str = ""
    remedy: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)
    attempt: str = ""
    log_url: str = ""


def ending_of(context: Mapping[str, Any], callback: object = None) -> Ending:
    """Return how the task of a callback ended, or the DAG run of one.

    A DAG's callback runs where DAG files are parsed, not where its tasks ran: there are no counts, and of the failure
    only what Airflow hands over.

    :param callback: what was called: of a task whose worker was killed Airflow hands over no exception, and only the
        place where it calls from says that the task failed.
    """
    return _of_dag(context) if "reason" in context else _of_task(context, callback)


def _of_dag(context: Mapping[str, Any]) -> Ending:
    dag, reason = context.get("dag"), str(context["reason"] or "")
    ti: Any = context.get("ti")
    failed = reason != "success"
    last = f" (last task: {ti.task_id})" if failed and ti else ""
    dag_id = str(getattr(dag, "dag_id", ""))
    return Ending(
        f"DAG {dag_id}", dag_id, str(context.get("run_id", "")), failed, reason=f"{reason}{last}" if failed else "",
        log_url=_log_url(ti) if failed and ti else "",
    )  # fmt: skip


def _of_task(context: Mapping[str, Any], callback: object) -> Ending:
    ti = context["ti"]
    task = getattr(ti, "task", None) or context.get("task")
    error = context.get("exception")
    if error is None and _is_of_failures(task, callback):
        error = _LOST
    reason, remedy = _told(error)
    result = _result(ti) if error is None else {}
    source, target = (_name_of(task, name) for name in ("source_table", "target_table"))
    tries, most = int(ti.try_number or 0), int(getattr(ti, "max_tries", 0) or 0) + 1
    final = tries >= most or type(error).__name__ == "AirflowFailException"
    return Ending(
        str(ti.task_id) + _index(ti), str(ti.dag_id), str(ti.run_id), error is not None,
        again=error is not None and not final,
        table=" → ".join(name for name in (source, target) if name),
        stream=_stream(task, result), reason=reason, remedy=remedy,
        counts={name: result[name] for name in ROW_COUNTS if isinstance(result.get(name), int) and result[name]},
        attempt=f"{tries} of {max(tries, most)}", log_url=_log_url(ti),
    )  # fmt: skip


def _is_of_failures(task: Any, callback: object) -> bool:
    def has(kind: str) -> bool:
        found = getattr(task, kind, None) or ()
        return any(one is callback for one in (found if isinstance(found, list | tuple) else [found]))

    return (has("on_failure_callback") or has("on_retry_callback")) and not has("on_success_callback")


def _told(error: Any) -> tuple[str, str]:
    """Return reason and remedy. Airflow's own exception holds ours, or at least its text."""
    found, seen = error, set[int]()
    while isinstance(found, BaseException) and id(found) not in seen:
        if isinstance(found, EltError):
            return found.message, found.hint
        seen.add(id(found))
        found = found.__cause__ or found.__context__
    if error is None:
        return "", ""
    reason, _, remedy = str(error).partition(_REMEDY)
    name = type(error).__name__
    is_plain = remedy or isinstance(error, str) or name.startswith("Airflow")
    return (reason if is_plain else f"{name}: {reason}"), remedy


def _result(ti: Any) -> Mapping[str, Any]:
    with suppress(Exception):  # an Airflow without XCom here: a message without counts is better than none
        value = ti.xcom_pull(task_ids=ti.task_id, map_indexes=ti.map_index)
        if isinstance(value, Mapping):
            return value
    return {}


def _stream(task: Any, result: Mapping[str, Any]) -> str:
    if result.get("stream"):
        return str(result["stream"])
    with suppress(Exception):  # templates that were not rendered, or a parameter that was the failure
        return str(task.stream_name())
    return ""


def _name_of(task: Any, parameter: str) -> str:
    value = getattr(task, parameter, None)
    return value if isinstance(value, str) and value != "None" else ""


def _index(ti: Any) -> str:
    index = getattr(ti, "map_index", None)
    return f"[{index}]" if isinstance(index, int) and index >= 0 else ""


def _log_url(ti: Any) -> str:
    with suppress(Exception):
        return str(ti.log_url)
    return ""
