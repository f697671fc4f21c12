"""A table too large for one task: how it is divided among several, and what each of them must not do."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from airflow_elt_provider.core.load import RunIdentity
from airflow_elt_provider.core.partition import DividingSource, Partition, refuse_unfit
from airflow_elt_provider.core.plan import Extraction
from airflow_elt_provider.core.protocols import ChangeSet, Source
from airflow_elt_provider.engine.start import Start, StreamState, starting_point
from airflow_elt_provider.errors import ConfigurationError, StaleLoadError

log = logging.getLogger(__name__)


def plan_partitions(
    extraction: Extraction, run: RunIdentity, source: Source, state: StreamState, wanted: int
) -> Sequence[Partition | None]:
    """Return what each task is to read: ranges of a table that is read whole, else one comparison of all of it.

    :raises ConfigurationError: for what cannot be divided.
    """
    refuse_unfit(extraction, wanted)
    if not isinstance(source, DividingSource):
        raise ConfigurationError(
            f"{extraction.source}: this system's tables cannot be divided into partitions.",
            hint="leave partitions out, or raise parallelism",
        )
    if starting_point(extraction, run, state).since is not None:
        log.info("%s: plan: there is a checkpoint to compare with: one task reads what changed", extraction.stream)
        return [None]
    found = source.divide(extraction, wanted)
    if len(found) < wanted:
        log.info("%s: plan: %d partitions, for there are not rows enough for %d", extraction.stream, len(found), wanted)
    return found if len(found) > 1 else [None]


def refuse_overtaken(extraction: Extraction, start: Start) -> None:
    """Refuse to read one range of a table as if it were all, once there is something to compare with.

    :raises StaleLoadError: says what to clear.
    """
    if extraction.partition and start.since is not None:
        raise StaleLoadError(
            f"{extraction.stream}: partition {extraction.partition} belongs to a first load, and the stream has been "
            "merged since it was planned.",
            hint="clear the load from the task that plans the partitions on",
        )


def refuse_undivided(extraction: Extraction, given: ChangeSet) -> None:
    """Refuse a source that does not heed the range.

    :raises ConfigurationError: names the table.
    """
    if extraction.partition and given.portions is None:
        raise ConfigurationError(f"{extraction.source}: this source reads no partitions.", hint="leave partitions out")
