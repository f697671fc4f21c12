"""Links beside a task in Airflow's web page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_elt_provider._compat import BaseOperator, BaseOperatorLink
from airflow_elt_provider.triggers._claims import KEY

if TYPE_CHECKING:
    from airflow.sdk.types import TaskInstanceKey


class RemoteSyncLink(BaseOperatorLink):
    """The page of a remote sync in the remote's own web UI; there from its start on, while the task waits too."""

    name = "Remote sync"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:  # noqa: ARG002
        """Return the address that the task wrote down, "" where it has not begun.

        Airflow 3 asks in the task's process, each time that the task ends or defers; Airflow 2 asks in the web server.
        """
        pull: Any = getattr(ti_key, "xcom_pull", None)
        if pull is not None:
            note = pull(task_ids=ti_key.task_id, key=KEY, map_indexes=ti_key.map_index)
        else:
            note = _stored(ti_key)
        return str((note or {}).get("url") or "")


def _stored(ti_key: Any) -> dict[str, Any] | None:
    try:
        from airflow.sdk.execution_time.xcom import XCom
    except ImportError:
        from airflow.models.xcom import XCom  # type: ignore[no-redef]
    found: dict[str, Any] | None = XCom.get_value(ti_key=ti_key, key=KEY)
    return found
