"""Where a try of a task writes down that it is about to start something on a remote."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from airflow_elt_provider._compat import Context

if TYPE_CHECKING:
    from airflow_elt_provider.core.load import RunIdentity
    from airflow_elt_provider.remotes.model import Intents

_KEY: Final = "elt_remote_intent"


class StoredIntents:
    """In Airflow's task state store (3.3), which outlives tries and clears.

    Nothing is ever removed: a run that succeeded before Airflow heard of it is found by the next try, and after a clear
    the key is another.

    :param key: identity of this generation of the run: what an earlier one left is not ours.
    """

    def __init__(self, store: Any, key: str) -> None:
        self._store, self._key = store, key

    def read(self) -> str | None:
        """Return the mark that an earlier try saved."""
        value = self._store.get(_KEY)
        found = json.loads(value) if value else {}
        mark: str | None = found.get("mark") if found.get("key") == self._key else None
        return mark

    def write(self, mark: str) -> None:
        """Save the mark."""
        self._store.set(_KEY, json.dumps({"key": self._key, "mark": mark}))


class RememberedIntents:
    """In this process: before Airflow 3.3 there is nowhere else. The next try looks by time instead."""

    def __init__(self) -> None:
        self._mark: str | None = None

    def read(self) -> str | None:
        """Return the mark."""
        return self._mark

    def write(self, mark: str) -> None:
        """Keep the mark."""
        self._mark = mark


def intents_of(context: Context, key: str) -> Intents:
    """Return the place for intents that this Airflow has."""
    store = context.get("task_state_store")
    return RememberedIntents() if store is None else StoredIntents(store, key)


def begun(context: Context, identity: RunIdentity) -> datetime | None:
    """Return since when a run on the remote may be one that an earlier try of this run started.

    None on a first try, and where the task state store knows better.
    """
    if context.get("task_state_store") is not None:
        return None
    # After a clear max_tries is the tries so far plus retries: the first try of a generation is the one after them.
    if int(context["ti"].try_number) <= identity.generation + 1:
        return None
    started: datetime | None = getattr(context.get("dag_run"), "start_date", None)
    return started
