"""Takes away what loads leave behind, on the stage and in the destination."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from airflow_elt_provider.core.protocols import Destination, Stage
from airflow_elt_provider.engine.retention import DEFAULT_RETENTION, expired

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class GcResult:
    """What was taken away.

    :param files: how many stage files, of ``bytes`` in all.
    :param leftovers: work folders and unfinished uploads of killed tasks.
    :param staging_tables: tables of dead attempts.
    """

    files: int = 0
    bytes: int = 0
    leftovers: tuple[str, ...] = ()
    staging_tables: tuple[str, ...] = ()


def collect(stage: Stage, older_than: timedelta = DEFAULT_RETENTION, destination: Destination | None = None,
            now: datetime | None = None) -> GcResult:  # fmt: skip
    """Delete the loads, leftovers and (with a destination) staging tables that are older than ``older_than``.

    Killed in the middle, the next call goes on. A load that was not merged yet is then refused by its next
    step, which says to clear it from extract on.

    :param now: the time to count from; default this machine's.
    """
    loads = expired(stage.list(), stage.root, older_than, now or datetime.now(UTC))
    manifests = [file for load in loads for file in load.manifests]
    parts = [file for load in loads for file in load.files]
    for files in (manifests, parts):
        if files:
            stage.delete([file.uri for file in files])
    leftovers = tuple(stage.collect_garbage(older_than))
    tables = tuple(destination.collect_garbage(older_than)) if destination else ()
    gone = [*manifests, *parts]
    result = GcResult(len(gone), sum(file.bytes for file in gone), leftovers, tables)
    log.info(
        "%s: deleted %d files (%.1f MB) of %d loads, %d leftovers, %d staging tables older than %s",
        stage.root, result.files, result.bytes / 1e6, len(loads), len(leftovers), len(tables), older_than,
    )  # fmt: skip
    return result
