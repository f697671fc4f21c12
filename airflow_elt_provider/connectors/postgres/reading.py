"""One extract of one relation: what is read, and where the stream stands afterwards."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property

import pyarrow as pa
from psycopg2.extensions import connection as Connection  # noqa: N812 - a class in all but its name

from airflow_elt_provider.connectors.postgres.additions import Additions, find_additions, find_renamed, shape
from airflow_elt_provider.connectors.postgres.capture_cursor import CursorColumn, cursor_column
from airflow_elt_provider.connectors.postgres.catalog import KINDS, Relation, query_rows
from airflow_elt_provider.connectors.postgres.copy_stream import CopyStream
from airflow_elt_provider.connectors.postgres.cursor_reading import CursorReader
from airflow_elt_provider.connectors.postgres.decode import Decoder
from airflow_elt_provider.connectors.postgres.meanings import altered, column_meanings, read_meanings
from airflow_elt_provider.connectors.postgres.ranges import ranges
from airflow_elt_provider.connectors.postgres.selection import Selection, select_columns
from airflow_elt_provider.core.capture import Cursor
from airflow_elt_provider.core.checkpoint import CursorPosition, Position
from airflow_elt_provider.core.cursor_rules import refuse_absent
from airflow_elt_provider.core.modes import WriteMode
from airflow_elt_provider.core.plan import Extraction
from airflow_elt_provider.core.protocols import ChangeSet
from airflow_elt_provider.core.quarantine import Quarantine


@dataclass(frozen=True)
class Reading:
    """Everything that was decided before the first row is read.

    :param predicate: which rows; None when there is nothing to read.
    """

    connection: Connection
    relation: Relation
    extraction: Extraction
    selection: Selection
    position: Position
    predicate: str | None
    interval: tuple[str, str] | None = None
    additions: Additions = field(default_factory=Additions)
    notes: tuple[str, ...] = ()

    @classmethod
    def plan(
        cls,
        connection: Connection,
        relation: Relation,
        extraction: Extraction,
        since: Position | None,
        until: Position | None,
    ) -> Reading:
        """Decide what to read.

        :raises ConfigurationError: for names and captures that do not fit the relation, or another load's checkpoint.
        """
        selection = select_columns(relation, extraction)
        cursor = _cursor(connection, relation, extraction)
        position = Position(
            extraction.capture.name, relation.identity, selection.schema.primary_key, selection.names,
            relation.last_column, CursorPosition(cursor.name, None, cursor.type) if cursor else None,
            appends=extraction.mode is WriteMode.APPEND, shape=shape(relation, selection),
            meanings={**column_meanings(selection), **read_meanings(connection, relation)} if cursor else {},
        )  # fmt: skip
        if since:
            since.refuse_change(position, extraction.stream)
        notes = selection.notes + ((ROW_SECURITY,) if relation.row_security else ())
        if cursor is None:
            renamed = find_renamed(relation, selection, since) if since else {}
            additions = Additions(renamed=renamed)
            return cls(connection, relation, extraction, selection, position, "true", None, additions, notes)
        additions = Additions()
        if since and not until and not extraction.interval:
            additions = find_additions(connection, relation, selection, since, _where(extraction))
            additions = replace(additions, altered=altered(since.meanings, position.meanings))
        reader = CursorReader(connection, relation, cursor, _where(extraction))
        found = reader.read(extraction, since, until, everything=additions.call_for_everything)
        return cls(
            connection, relation, extraction, selection, replace(position, cursor=found.position), found.predicate,
            found.interval, additions, notes + found.notes + additions.notes(extraction.mode),
        )  # fmt: skip

    def shares(self) -> tuple[Sequence[str], str]:
        """Return the predicate of each stream, and a note."""
        if self.predicate is None:
            return [], ""
        parts, note = ranges(self.connection, self.relation, self.extraction.parallelism)
        return [f"{_where(self.extraction)} AND ({self.predicate}) AND {part}" for part in parts], note

    @contextmanager
    def stream(
        self, connection: Connection, share: str, cancel: Callable[[Connection], None]
    ) -> Iterator[Iterator[pa.RecordBatch]]:
        """Give the rows of one share as batches; what still runs when the context ends is stopped."""
        rows = f"SELECT {self.selection.expressions} FROM {self.relation.from_item} WHERE {share}"
        what = f"reading {self.extraction.source}"
        with copied(connection, rows, Decoder.of(self.selection, what, self.quarantine), what, cancel) as batches:
            yield batches

    @cached_property
    def quarantine(self) -> Quarantine:
        """Where rows go that cannot be read."""
        return Quarantine.of(self.extraction)

    def change_set(self, streams: Sequence[Iterator[pa.RecordBatch]], note: str) -> ChangeSet:
        """Say what the streams hold."""
        capture = self.extraction.capture
        return ChangeSet(
            schema=self.selection.schema, streams=streams, position=self.position,
            complete=not capture.incremental,
            cursor=self.selection.target_name(capture.column) if isinstance(capture, Cursor) else "",
            backfill=self.additions.backfill, interval=self.interval, facts=self._facts(),
            notes=(*self.notes, *([note] if note else [])), as_of=self._as_of(),
            quarantine=self.quarantine, renamed=self.additions.renamed,
        )  # fmt: skip

    def _as_of(self) -> str:
        now: datetime = query_rows(self.connection, "SELECT pg_catalog.now()")[0][0]
        return now.isoformat()

    def _facts(self) -> dict[str, str]:
        version, now = query_rows(self.connection, "SELECT current_setting('server_version'), now()::text")[0]
        return {
            "server": f"PostgreSQL {version}", "kind": KINDS[self.relation.kind], "source": self.relation.identity,
            "read_at": now, "rows": self.predicate or "none",
        }  # fmt: skip


@contextmanager
def copied(
    connection: Connection, rows: str, decoder: Decoder, what: str, cancel: Callable[[Connection], None]
) -> Iterator[Iterator[pa.RecordBatch]]:
    """Give a query's rows as batches; what still runs when the context ends is stopped."""
    copy = CopyStream(connection, f"COPY ({rows}) TO STDOUT (FORMAT csv)", what, cancel)
    batches = _batches(copy, decoder)
    try:
        yield batches
    finally:
        with suppress(ValueError):  # a thread is inside it still: stopping the copy ends that
            batches.close()
        copy.stop()


ROW_SECURITY = "row security hides rows of this table from the connection's user: rows it may not see are not read"


def _where(extraction: Extraction) -> str:
    # On lines of its own, so that it may end in a comment.
    return f"(\n{extraction.where}\n)" if extraction.where else "true"


def _batches(copy: CopyStream, decoder: Decoder) -> Generator[pa.RecordBatch]:
    with closing(copy.blocks()) as blocks:
        yield from decoder.batches(blocks)


def _cursor(connection: Connection, relation: Relation, extraction: Extraction) -> CursorColumn | None:
    capture = extraction.capture
    if not isinstance(capture, Cursor):
        return None
    cursor = cursor_column(capture, relation, extraction, connection.server_version)
    refuse_absent(extraction, cursor.name)
    return cursor
