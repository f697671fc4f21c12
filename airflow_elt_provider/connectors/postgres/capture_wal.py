"""Capture ``wal``: the changes of tables as a logical replication slot tells them, or what heals a gap in them.

Each extract reads up to the end of the log as it is then, by ``pg_logical_slot_peek_binary_changes``, which moves
nothing. The next one advances the slot to the checkpoint it was given: what is not merged is never let go.

Where a stream begins, and where the log cannot go on (a lost slot, one that somebody else advanced, a table that was
taken out of the publication), a slot is made first: what its snapshot shows is read, and the log goes on from there.
"""

from __future__ import annotations

import hashlib
import logging
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from psycopg2.extensions import connection as Connection  # noqa: N812 - a class in all but its name

from airflow_elt_provider.connectors.postgres import wal_slot
from airflow_elt_provider.connectors.postgres.names import literal
from airflow_elt_provider.connectors.postgres.session import translate
from airflow_elt_provider.connectors.postgres.settings import PostgresSettings
from airflow_elt_provider.connectors.postgres.wal_fold import many_objects
from airflow_elt_provider.connectors.postgres.wal_log import LogReader, TableLog
from airflow_elt_provider.connectors.postgres.wal_messages import lsn_text
from airflow_elt_provider.connectors.postgres.wal_opening import open_tables
from airflow_elt_provider.connectors.postgres.wal_publication import ensure_published
from airflow_elt_provider.connectors.postgres.wal_snapshot import SnapshotReader
from airflow_elt_provider.connectors.postgres.wal_tables import FollowedTable, Reached
from airflow_elt_provider.core.capture import Wal
from airflow_elt_provider.core.checkpoint import Position
from airflow_elt_provider.core.plan import Extraction
from airflow_elt_provider.core.protocols import ChangeSet
from airflow_elt_provider.errors import ConfigurationError

log = logging.getLogger(__name__)

SessionOpener = Callable[[PostgresSettings], AbstractContextManager[Connection]]


@dataclass(frozen=True)
class LogCapture:
    """Reads one slot for some tables.

    :param open_session: opens a session that is closed with its context.
    :param cancel: asks the server to cancel what a connection runs.
    """

    settings: PostgresSettings
    open_session: SessionOpener
    cancel: Callable[[Connection], None]

    @contextmanager
    def changes(self, asked: Sequence[tuple[Extraction, Position | None]]) -> Iterator[list[ChangeSet]]:
        """Give the changes of each table since its position. Drain them in order, one table after the other.

        :raises ConfigurationError: for a server, role, table or publication with which the log cannot be read.
        """
        capture, dry_run = _capture(asked), any(extraction.dry_run for extraction, _ in asked)
        with ExitStack() as stack:
            control = stack.enter_context(self.open_session(self.settings))
            control.autocommit = True
            wal_slot.refuse_server(control)
            name, publication = _names(control, capture, asked[0][0].stream)
            catalog = stack.enter_context(self.open_session(self.settings))
            found = open_tables(catalog, asked)
            tables = [
                FollowedTable(each, name, publication,
                              ensure_published(control, publication, each.relation, each.selection, dry_run=dry_run))
                for each in found
            ]  # fmt: skip
            slot = wal_slot.wait_until_free(control, name, self.settings.lock_timeout)
            yield self._read(stack, control, slot, capture, tables, dry_run=dry_run)

    def _read(
        self, stack: ExitStack, control: Connection, slot: wal_slot.Slot | None, capture: Wal,
        tables: list[FollowedTable], *, dry_run: bool,
    ) -> list[ChangeSet]:  # fmt: skip
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="elt-wal-")))
        end = wal_slot.flushed(control)
        oldest = max(table.since for table in tables) - capture.max_slot_lag
        for table in tables:
            table.decide(slot, end, oldest)
        logs: dict[int, TableLog] = {}
        notes: tuple[str, ...] = ()
        if slot and any(table.by_log for table in tables):
            logs, notes = self._follow(control, slot, capture, tables, folder, dry_run=dry_run)
        snapshots = SnapshotReader(self.settings, self.open_session, self.cancel, stack, dry_run)
        if not all(table.by_log for table in tables):
            snapshots.begin(control, tables[0].slot, slot)
        return [
            table.log_changes(logs[table.found.relation.oid], control, folder, notes)
            if table.by_log
            else snapshots.changes(table)
            for table in tables
        ]

    def _follow(
        self, control: Connection, slot: wal_slot.Slot, capture: Wal, tables: list[FollowedTable], folder: Path,
        *, dry_run: bool,
    ) -> tuple[dict[int, TableLog], tuple[str, ...]]:  # fmt: skip
        """Advance the slot to what all have merged, and read the log up to its end."""
        followed = [table for table in tables if table.by_log]
        if not dry_run:
            wal_slot.advance(control, slot, min(table.since for table in followed))
        notes = [wal_slot.heartbeat(control)] if capture.heartbeat and not dry_run else []
        until = wal_slot.flushed(control)
        logs = {table.found.relation.oid: table.log(folder) for table in followed}
        reader = LogReader(list(logs.values()), until)
        names = literal(tables[0].publication)
        sql = _PEEK.format(slot=literal(slot.name), until=literal(lsn_text(until)), names=names)
        what = f"reading the log through slot {slot.name}"
        with translate(what), control.cursor() as cursor, many_objects():
            cursor.copy_expert(sql, reader)
        warning = (wal_slot.find_slot(control, slot.name) or slot).warning(capture.max_slot_lag)
        if warning:
            log.warning("%s", warning)
        left, now_at = wal_slot.flushed(control) - until, wal_slot.clock(control)
        for table in followed:
            table.reached(Reached(until, left, reader.newest, now_at))
            unclear = logs[table.found.relation.oid].unclear
            if unclear:
                table.give_up(unclear)
        return logs, tuple(note for note in notes if note)


_PEEK: Final = (
    "COPY (SELECT data FROM pg_catalog.pg_logical_slot_peek_binary_changes("
    "{slot}, {until}, NULL, 'proto_version', '1', 'publication_names', {names})) TO STDOUT (FORMAT binary)"
)


def _capture(asked: Sequence[tuple[Extraction, Position | None]]) -> Wal:
    found = {extraction.capture for extraction, _ in asked}
    capture = asked[0][0].capture
    if len(found) != 1 or not isinstance(capture, Wal):
        raise ConfigurationError(
            "The tables of one slot need one and the same capture.", hint="give all of them the same Wal(...)"
        )
    if len(asked) > 1 and not capture.slot:
        raise ConfigurationError("Several tables share a slot without a name.", hint="name it: Wal(slot='...')")
    return capture


def _names(control: Connection, capture: Wal, stream: str) -> tuple[str, str]:
    """Return the names of slot and publication; one made of the stream's name is the same in every run."""
    name = capture.slot
    if not name:
        database = control.info.dbname
        name = f"elt_{hashlib.sha256(f'{database}/{stream}'.encode()).hexdigest()[:24]}"
    return name, capture.publication or name
