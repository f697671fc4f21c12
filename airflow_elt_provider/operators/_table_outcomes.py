"""What each table of ``sync_tables`` leaves for the summary: its result, or why it failed.

A failed task has no result, and a worker of Airflow 3 cannot look into the logs or the database. So each instance
pushes a small XCom of its own, before it fails too; Airflow keeps it until the instance is tried again.
"""

from __future__ import annotations

import logging
from typing import Any, Final

from airflow_elt_provider._compat import AirflowFailException, Context
from airflow_elt_provider.core.receipt import ROW_COUNTS
from airflow_elt_provider.errors import EltError

log = logging.getLogger(__name__)

KEY: Final = "elt_outcome"
_LONGEST: Final = 500
"""Letters of a reason; the log of the table's own task has all."""
COUNTS: Final = (*ROW_COUNTS, "bytes_staged")


def push_result(context: Context, table: str, result: dict[str, Any]) -> None:
    """Leave what a table's sync did."""
    _push(context, {"table": table, **{name: result.get(name, 0) for name in COUNTS}})


def push_failure(context: Context, table: str, error: BaseException) -> None:
    """Leave why a table's sync failed. Whatever goes wrong here must not hide it."""
    try:
        _push(context, {"table": table, "reason": reason(error)})
    except Exception as again:  # noqa: BLE001 - the summary knows the table as one that said nothing
        log.warning("The summary will not know why %s failed: %s", table, again)


def reason(error: BaseException) -> str:
    """Return an error in one line; of one that is not ours only its kind: it may hold values that logs are rid of."""
    if isinstance(error, EltError | AirflowFailException):
        text = " ".join(str(error).split())
        return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
    return f"{type(error).__name__}; see the log of its task"


def _push(context: Context, value: dict[str, Any]) -> None:
    # With its place: of a group that was cleared once its tables had changed, XComs of removed instances are left.
    ti: Any = context["ti"]
    ti.xcom_push(key=KEY, value={"map_index": ti.map_index, **value})
