"""Whose a remote job is.

Each try of a task writes itself down before it starts or adopts one, and only the last try that did may cancel it. The
note is an XCom: the triggerer can read it on every line of Airflow, and Airflow deletes it when the next try begins.
"""

from __future__ import annotations

import asyncio
import logging
import time
from importlib import import_module
from typing import Any, Final

log = logging.getLogger(__name__)

KEY: Final = "elt_remote_sync"
"""The XCom: ``{"owner", "remote", "watch", "url", "how"}``; the last three once the run is known."""
ENDED: Final = frozenset({"failed", "success", "skipped", "removed", "upstream_failed"})
"""States of a task instance after which no other try takes over."""
_GRACE_SECONDS: Final = 60.0
"""How long a cleared task's next try may take to come and take over."""
_EVERY_SECONDS: Final = 0.5
_LONGEST_PAUSE: Final = 5.0


async def may_cancel(ti: Any, owner: str) -> bool:
    """Say whether a job is still this try's to cancel, after Airflow has ended the try.

    A task that a person ended has a final state: nobody else comes. One that was cleared has a next try, which may
    adopt the job; it is given some time to do so.
    """
    deadline, pause = time.monotonic() + _GRACE_SECONDS, _EVERY_SECONDS
    while True:
        try:
            state, holder = await asyncio.to_thread(_look, ti)
        except Exception as error:  # noqa: BLE001 - Airflow's API may be away for a moment
            if time.monotonic() >= deadline:
                log.warning("Airflow does not say whose the remote job is (%s); leaving it alone.", error)
                return False
            await asyncio.sleep(pause)
            continue
        if holder != owner:
            log.info("Another try has taken the remote job over; leaving it alone.")
            return False
        if state in ENDED:
            return True
        if time.monotonic() >= deadline:
            log.info("No other try has come within %.0f s; the remote job is still ours.", _GRACE_SECONDS)
            return True
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, _LONGEST_PAUSE)


async def was_killed(ti: Any) -> bool:
    """Say whether a person ended the try, or the triggerer is merely stopping: then the task is still deferred.

    Only for Airflow before 3.3, which does not tell the two apart.
    """
    state, _ = await asyncio.to_thread(_look, ti)
    return state != "deferred"


def _look(ti: Any) -> tuple[str | None, str | None]:
    """Return the task instance's state, and who holds its job."""
    try:
        runner = import_module("airflow.sdk.execution_time.task_runner")
        xcom = import_module("airflow.sdk.execution_time.xcom").XCom
    except ImportError:
        return _look_in_database(ti)
    own = {"dag_id": ti.dag_id, "map_index": ti.map_index}
    states = runner.RuntimeTaskInstance.get_task_states(task_ids=[ti.task_id], run_ids=[ti.run_id], **own)
    note = xcom.get_one(key=KEY, task_id=ti.task_id, run_id=ti.run_id, **own)
    # {run: {task: state}}, where a mapped task has its index at the end of its name: one entry, whatever its name.
    found = next(iter((states.get(ti.run_id) or {}).values()), None)
    return _text(found), (note or {}).get("owner")


def _look_in_database(ti: Any) -> tuple[str | None, str | None]:
    models = import_module("airflow.models")
    session_of = import_module("airflow.utils.session").create_session
    with session_of() as session:
        own = {"dag_id": ti.dag_id, "task_id": ti.task_id, "run_id": ti.run_id, "map_index": ti.map_index}
        row = session.query(models.TaskInstance).filter_by(**own).one_or_none()
        note = models.XCom.get_one(key=KEY, session=session, **own)
        return _text(row.state if row else "removed"), (note or {}).get("owner")


def _text(state: Any) -> str | None:
    return None if state is None else str(getattr(state, "value", state))
