"""Xmin capture: the rows that transactions wrote which were not over at the last load."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Final

import pyarrow as pa
from psycopg2.extensions import connection as Connection  # noqa: N812 - a class in all but its name

from airflow_elt_provider.connectors.postgres.additions import Additions, find_additions, shape
from airflow_elt_provider.connectors.postgres.catalog import KINDS, Relation
from airflow_elt_provider.connectors.postgres.epoch import Epoch, read_epoch
from airflow_elt_provider.connectors.postgres.fingerprint_basis import Moment, newer, of_same_place, refuse_other_place
from airflow_elt_provider.connectors.postgres.meanings import altered, column_meanings, read_meanings
from airflow_elt_provider.connectors.postgres.reading import Reading
from airflow_elt_provider.connectors.postgres.row_versions import has_aged, in_reach, maybe_new, snapshot_xmin
from airflow_elt_provider.connectors.postgres.selection import select_columns
from airflow_elt_provider.core.checkpoint import Position, SnapshotPosition
from airflow_elt_provider.core.plan import Extraction
from airflow_elt_provider.core.protocols import ChangeSet, Outcome
from airflow_elt_provider.errors import ConfigurationError

_EVERYTHING: Final = "true"


@dataclass
class _Count:
    rows: int = 0


@dataclass(frozen=True)
class XminReading(Reading):
    """One extract by row versions.

    :param since: where the last one ended; None where its row versions say nothing.
    """

    since: Position | None = None
    count: _Count = field(default_factory=_Count)

    @contextmanager
    def stream(
        self, connection: Connection, share: str, cancel: Callable[[Connection], None]
    ) -> Iterator[Iterator[pa.RecordBatch]]:
        """Give the rows of one share as batches, and count them."""
        with super().stream(connection, share, cancel) as batches:
            yield self._counted(batches)

    def _counted(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            self.count.rows += batch.num_rows
            yield batch

    def change_set(self, streams: Sequence[Iterator[pa.RecordBatch]], note: str) -> ChangeSet:
        """Say what the streams hold."""
        return replace(super().change_set(streams, note), complete=False, outcome=self._outcome)

    def _outcome(self) -> Outcome:
        """Return where the stream stands; where it stood when nothing has changed."""
        since, now = self.since, self.position.snapshot
        if since and since.snapshot and now and not self.count.rows:
            same = replace(self.position, snapshot=since.snapshot, masks=since.masks) == since
            if same and not has_aged(since.snapshot.xmin, now.xmin):
                return Outcome(since)
        return Outcome(self.position)


def xmin_reading(
    connection: Connection, relation: Relation, extraction: Extraction, since: Position | None
) -> XminReading:
    """Decide what to read.

    :raises ConfigurationError: for what has no row versions, or another load's checkpoint.
    """
    selection = select_columns(relation, extraction)
    present = read_epoch(connection, relation)
    if not present.heap:
        raise ConfigurationError(
            f"{extraction.source}: capture='xmin' needs a table whose rows have versions, and this is a "
            f"{KINDS[relation.kind]}.",
            hint="use capture='cursor' or 'full', or (with a key) 'fingerprint', which compares by content",
        )
    moment = Moment(connection, relation, extraction, selection, present, snapshot_xmin(connection))
    position = Position(
        extraction.capture.name, relation.identity, selection.schema.primary_key, selection.names,
        relation.last_column, shape=shape(relation, selection),
        snapshot=SnapshotPosition(str(present.epoch), moment.xmin),
        meanings={**column_meanings(selection), **read_meanings(connection, relation)},
    )  # fmt: skip
    since = of_same_place(since, position, present.epoch)
    if since:
        since.refuse_change(position, extraction.stream)
    found = _found(moment, since, altered(since.meanings, position.meanings) if since else "")
    notes = (*selection.notes, *found.notes, *found.additions.notes(extraction.mode))
    known = since if found.predicate != _EVERYTHING else None
    return XminReading(
        connection, relation, extraction, selection, position, found.predicate, None, found.additions, notes,
        since=known,
    )  # fmt: skip


@dataclass(frozen=True)
class _Found:
    predicate: str = _EVERYTHING
    additions: Additions = field(default_factory=Additions)
    notes: tuple[str, ...] = ()


def _found(moment: Moment, since: Position | None, other: str) -> _Found:
    if since is None or since.snapshot is None:
        return _Found()
    before, snapshot = Epoch.parse(since.snapshot.epoch), since.snapshot
    if before is None:
        return _Found(notes=(_again("the checkpoint does not say where its row versions come from"),))
    refuse_other_place(moment, before)
    reason = _untold(moment, before, snapshot)
    if reason:
        return _Found(notes=(_again(reason),))
    new = newer(moment, before, maybe_new(snapshot.xmin))
    additions = find_additions(
        moment.connection, moment.relation, moment.selection, since, f"{moment.where} AND NOT {new}"
    )
    additions = replace(additions, altered=other)
    return _Found(_EVERYTHING if additions.call_for_everything else new, additions)


def _untold(moment: Moment, before: Epoch, snapshot: SnapshotPosition) -> str:
    """Return why row versions do not tell which rows are new; "" where they do."""
    now = moment.present.epoch
    reason = now.other_versions(before)
    if reason or in_reach(snapshot.xmin, moment.xmin):
        return reason
    if moment.xmin < snapshot.xmin:
        return "the server is behind the last load: it was restored, or is a standby that lags"
    return "more transactions have passed than row versions can count"


def _again(reason: str) -> str:
    return f"{reason}: reading everything once; rows that are gone stay in the target, as with every load of xmin"
