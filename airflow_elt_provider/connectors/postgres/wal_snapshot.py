"""What a slot's own snapshot shows: all of a table, or what heals a gap in its log."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing
from dataclasses import dataclass, field, replace

import pyarrow as pa
from psycopg2.extensions import connection as Connection  # noqa: N812 - a class in all but its name

from airflow_elt_provider.connectors.postgres import snapshot, wal_slot
from airflow_elt_provider.connectors.postgres.catalog import query_rows
from airflow_elt_provider.connectors.postgres.copy_stream import CopyStream
from airflow_elt_provider.connectors.postgres.decode import Decoder
from airflow_elt_provider.connectors.postgres.reading import Reading
from airflow_elt_provider.connectors.postgres.row_versions import maybe_new
from airflow_elt_provider.connectors.postgres.session import translate
from airflow_elt_provider.connectors.postgres.settings import PostgresSettings
from airflow_elt_provider.connectors.postgres.wal_messages import lsn_text
from airflow_elt_provider.connectors.postgres.wal_tables import FollowedTable
from airflow_elt_provider.core.buckets import BucketKind, Buckets
from airflow_elt_provider.core.modes import DeleteMode, WriteMode
from airflow_elt_provider.core.protocols import ChangeSet
from airflow_elt_provider.core.system_columns import OP


@dataclass
class SnapshotReader:
    """Reads tables under the snapshot that a new slot exports: just what was committed before the slot begins.

    An ordinary snapshot taken after the slot was made would not do: a transaction whose commit is in the log already,
    before the slot, may not be in sight yet while it waits for a synchronous standby.

    :param dry_run: make no slot and read no rows; only say what would be.
    """

    settings: PostgresSettings
    open_session: Callable[[PostgresSettings], AbstractContextManager[Connection]]
    cancel: Callable[[Connection], None]
    stack: ExitStack
    dry_run: bool = False
    lsn: int = 0
    notes: tuple[str, ...] = ()
    as_of: str = ""
    _snapshot: str = field(default="", repr=False)
    _sessions: list[Connection] = field(default_factory=list, repr=False)

    def begin(self, control: Connection, name: str, slot: wal_slot.Slot | None) -> None:
        """Make the slot; one for the moment, where there is a slot that works already.

        What is in sight counts as of the moment before: a transaction that is not in sight began to write later, and
        the log will tell its commit with a later time, never with one from before the versions found here.
        """
        if self.dry_run:
            self.lsn, self.as_of = wal_slot.flushed(control), wal_slot.clock(control).isoformat()
            self.notes = () if slot and not slot.lost else (f"would make slot {name}",)
            return
        if slot and slot.lost:
            wal_slot.drop_slot(control, name)
            slot = None
        there = slot is not None
        own = f"{name[:50]}_{secrets.token_hex(6)}" if there else name
        speaking = self.stack.enter_context(self.open_session(wal_slot.replicating(self.settings)))
        speaking.autocommit = True
        self.as_of = wal_slot.clock(control).isoformat()
        self.lsn, self._snapshot = wal_slot.create_slot(speaking, own, control, temporary=there)
        if not there:
            self.notes = (f"made slot {name} at {lsn_text(self.lsn)}",)

    def changes(self, table: FollowedTable) -> ChangeSet:
        """Say what the snapshot holds of a table."""
        found = table.found
        reading = Reading(
            self._session(0), found.relation, found.extraction, found.selection, table.position(self.lsn),
            self._predicate(table), additions=found.additions, notes=(*table.notes, *self.notes),
        )  # fmt: skip
        with translate(f"reading {found.extraction.source}"):
            shares, note = ([], "") if self.dry_run else reading.shares()
            streams = [
                self.stack.enter_context(reading.stream(self._session(at), share, self.cancel))
                for at, share in enumerate(shares)
            ]
            told = replace(reading.change_set(streams, note), as_of=self.as_of)
            there = query_rows(self._session(0), f"SELECT EXISTS (SELECT FROM {found.relation.from_item})")[0][0]
        facts = table.facts(self._session(0), {"to": lsn_text(self.lsn), "rows": self._predicate(table)})
        if table.everything:
            return replace(told, complete=True, backfill={}, facts=facts)
        healing = replace(told, facts=facts, source_rows=None if there else 0)
        if found.extraction.deletes is DeleteMode.IGNORE and found.extraction.mode is not WriteMode.HISTORY:
            return healing
        key = found.selection.schema.primary_key
        return replace(healing, keys=[self._keys(table)], buckets=Buckets(BucketKind.ALL, key))

    def _predicate(self, table: FollowedTable) -> str:
        since = table.found.since
        if table.everything or since is None or since.snapshot is None:
            return "true"
        return maybe_new(since.snapshot.xmin)

    def _session(self, number: int) -> Connection:
        while len(self._sessions) <= number:
            session = self.stack.enter_context(self.open_session(self.settings))
            if not self.dry_run:
                snapshot.join(session, self._snapshot)
            self._sessions.append(session)
        return self._sessions[number]

    def _keys(self, table: FollowedTable) -> Iterator[pa.RecordBatch]:
        """Give the keys of all rows that are not among those that may be new."""
        found = table.found
        columns = [column for column in found.selection.columns if column.source.name in found.key]
        items = ", ".join(column.expression for column in columns)
        rows = f"SELECT {items} FROM {found.relation.from_item} WHERE NOT ({self._predicate(table)})"
        what = f"reading the keys of {found.extraction.source}"
        copy = CopyStream(self._session(0), f"COPY ({rows}) TO STDOUT (FORMAT csv)", what, self.cancel)
        try:
            with closing(copy.blocks()) as blocks:
                for batch in Decoder(columns, what).batches(blocks):
                    yield batch.append_column(OP, pa.array(["k"] * batch.num_rows, pa.string()))
        finally:
            copy.stop()
