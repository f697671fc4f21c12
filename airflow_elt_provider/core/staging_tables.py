"""Staging tables that no merge came for, and merges that come too late for theirs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Final

from airflow_elt_provider.core.load import Load
from airflow_elt_provider.errors import DataError, EltError

log = logging.getLogger(__name__)

DEAD_AFTER: Final = timedelta(days=1)
"""Age at which a staging table that no merge came for is dropped."""


def drop_dead(collect_garbage: Callable[[timedelta], Sequence[str]]) -> None:
    """Drop the staging tables of dead attempts, before another load makes its own."""
    try:
        dropped = collect_garbage(DEAD_AFTER)
    except EltError as error:  # another one's table, of another owner or in use: no reason to fail here
        log.info("old staging tables stay: %s", error.message)
    else:
        if dropped:
            log.info("dropped %d staging tables of dead attempts", len(dropped))


def unstaged(load: Load) -> DataError:
    """Return the error for a load whose staging tables are gone."""
    tables = ", ".join(load.staging_tables)
    return DataError(
        f"Load {load.load_id} has no staging table {tables!r} (they are dropped after a day).",
        hint="clear the load from its stage task on",
    )
