"""One extract of one relation: what is read, and where the stream stands afterwards."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property

import pyarrow as pa

from airflow_elt_provider.connectors.mysql.additions import Additions, find_additions, shape
from airflow_elt_provider.connectors.mysql.capture_cursor import CursorColumn, cursor_column
from airflow_elt_provider.connectors.mysql.capture_fingerprint import FingerprintReader, FingerprintReading
from airflow_elt_provider.connectors.mysql.catalog import Relation
from airflow_elt_provider.connectors.mysql.cursor_reading import CursorReader
from airflow_elt_provider.connectors.mysql.decode import Decoder
from airflow_elt_provider.connectors.mysql.row_stream import RowStream
from airflow_elt_provider.connectors.mysql.selection import Selection, select_columns
from airflow_elt_provider.connectors.mysql.session import MySqlSession
from airflow_elt_provider.connectors.mysql.snapshot import Clock
from airflow_elt_provider.core.capture import Cursor, Fingerprint, Full
from airflow_elt_provider.core.checkpoint import CursorPosition, Position
from airflow_elt_provider.core.cursor_rules import refuse_absent
from airflow_elt_provider.core.modes import WriteMode
from airflow_elt_provider.core.plan import Extraction
from airflow_elt_provider.core.protocols import ChangeSet, Memory, Outcome
from airflow_elt_provider.core.quarantine import Quarantine
from airflow_elt_provider.errors import ConfigurationError

Cancel = Callable[[MySqlSession], None]


@dataclass(frozen=True)
class Reading:
    """Everything that was decided before the first row is read.

    :param predicates: which rows, a statement each; () when there is nothing to read.
    :param compared: what fingerprint capture found.
    """

    session: MySqlSession
    relation: Relation
    clock: Clock
    extraction: Extraction
    selection: Selection
    position: Position
    predicates: tuple[str, ...] = ("true",)
    interval: tuple[str, str] | None = None
    additions: Additions = field(default_factory=Additions)
    compared: FingerprintReading | None = None
    notes: tuple[str, ...] = ()

    @classmethod
    def plan(
        cls, session: MySqlSession, opened: tuple[Relation, Clock], extraction: Extraction, since: Position | None,
        until: Position | None, memory: Memory | None, cancel: Cancel,
    ) -> Reading:  # fmt: skip
        """Decide what to read.

        :param opened: what :func:`~...mysql.snapshot.open_relation` found.
        :raises ConfigurationError: for names and captures that do not fit the relation, or another load's checkpoint.
        """
        relation, clock = opened
        _refuse_capture(extraction)
        selection = select_columns(relation, extraction)
        cursor = _cursor(relation, extraction, clock)
        position = Position(
            extraction.capture.name, relation.identity, selection.schema.primary_key, selection.names,
            len(relation.columns), CursorPosition(cursor.name, None, cursor.type) if cursor else None,
            appends=extraction.mode is WriteMode.APPEND, shape=shape(selection),
        )  # fmt: skip
        if since:
            since.refuse_change(position, extraction.stream)
        plain = cls(session, relation, clock, extraction, selection, position, notes=_notes(relation, extraction))
        if cursor is not None:
            return plain._by_cursor(cursor, since, until)
        if isinstance(extraction.capture, Fingerprint):
            return plain._by_fingerprint(extraction.capture, since, memory, cancel)
        return plain

    def _by_cursor(self, cursor: CursorColumn, since: Position | None, until: Position | None) -> Reading:
        additions, where = Additions(), _where(self.extraction)
        if since and not until and not self.extraction.interval:
            additions = find_additions(self.session, self.relation, self.selection, since, where)
        reader = CursorReader(self.session, self.relation, cursor, where)
        found = reader.read(self.extraction, since, until, everything=additions.call_for_everything)
        return replace(
            self, position=replace(self.position, cursor=found.position),
            predicates=() if found.predicate is None else (found.predicate,), interval=found.interval,
            additions=additions, notes=self.notes + found.notes + additions.notes(self.extraction.mode),
        )  # fmt: skip

    def _by_fingerprint(
        self, capture: Fingerprint, since: Position | None, memory: Memory | None, cancel: Cancel
    ) -> Reading:
        reader = FingerprintReader(
            self.session, self.relation, self.selection, capture, _where(self.extraction),
            self.extraction.masked_columns, cancel,
        )  # fmt: skip
        found = reader.read(since.snapshot if since else None, memory.state if memory else None)
        return replace(
            self, position=replace(self.position, snapshot=found.position), predicates=found.predicates,
            compared=found, notes=self.notes + found.notes,
        )  # fmt: skip

    @contextmanager
    def stream(self, cancel: Cancel) -> Iterator[Iterator[pa.RecordBatch]]:
        """Give the rows as batches; what still runs when the context ends is stopped."""
        what = f"reading {self.extraction.source}"
        where = _where(self.extraction)
        statements = [
            f"SELECT {self.selection.expressions} FROM {self.relation.from_item} WHERE {where} AND ({predicate})"
            for predicate in self.predicates
        ]
        stream = RowStream(self.session, statements, what, cancel)
        batches = _batches(stream, Decoder.of(self.selection, what, self.quarantine))
        try:
            yield batches
        finally:
            with suppress(ValueError):  # a thread is inside it still: stopping the stream ends that
                batches.close()
            stream.stop()

    @cached_property
    def quarantine(self) -> Quarantine:
        """Where rows go that cannot be read."""
        return Quarantine.of(self.extraction)

    def change_set(self, streams: Sequence[Iterator[pa.RecordBatch]]) -> ChangeSet:
        """Say what the streams hold."""
        capture, compared = self.extraction.capture, self.compared
        return ChangeSet(
            schema=self.selection.schema, streams=streams, position=self.position,
            complete=compared.complete if compared else not capture.incremental,
            cursor=self.selection.target_name(capture.column) if isinstance(capture, Cursor) else "",
            backfill=self.additions.backfill, interval=self.interval, facts=self._facts(), notes=self.notes,
            keys=compared.keys if compared else (), buckets=compared.buckets if compared else None,
            source_rows=compared.position.rows if compared else None,
            outcome=(lambda: Outcome(self.position, compared.state)) if compared else None,
            quarantine=self.quarantine,
            as_of=f"{self.clock.utc.replace(' ', 'T')}+00:00",
        )  # fmt: skip

    def _facts(self) -> dict[str, str]:
        return {
            "server": self.session.server, "kind": self.relation.kind, "source": self.relation.identity,
            "read_at": f"{self.clock.utc}+00", "rows": " / ".join(self.predicates)[:2000] or "none",
        }  # fmt: skip


def _where(extraction: Extraction) -> str:
    # On lines of its own, so that it may end in a comment.
    return f"(\n{extraction.where}\n)" if extraction.where else "true"


def _batches(stream: RowStream, decoder: Decoder) -> Generator[pa.RecordBatch]:
    with closing(stream.blocks()) as blocks:
        yield from decoder.batches(blocks)


def _refuse_capture(extraction: Extraction) -> None:
    capture = extraction.capture
    if not isinstance(capture, Full | Cursor | Fingerprint):
        raise ConfigurationError(
            f"{extraction.source}: capture={capture.name!r} is PostgreSQL's.",
            hint="use capture='fingerprint', 'cursor' or 'full' for MySQL",
        )
    if isinstance(capture, Fingerprint) and capture.by == "xmin":
        raise ConfigurationError(
            f"{extraction.source}: MySQL has no row versions to take fingerprints of.",
            hint="leave 'by' out, or say by='content'",
        )


def _notes(relation: Relation, extraction: Extraction) -> tuple[str, ...]:
    found = []
    if relation.unsteady:
        found.append(
            f"engine {relation.engine} keeps no snapshots: rows that are written meanwhile may be read in part, and "
            "are read again next time"
        )
    if extraction.parallelism > 1:
        found.append("MySQL's snapshots belong to one connection: reading in one stream")
    return tuple(found)


def _cursor(relation: Relation, extraction: Extraction, clock: Clock) -> CursorColumn | None:
    capture = extraction.capture
    if not isinstance(capture, Cursor):
        return None
    cursor = cursor_column(capture, relation, extraction, clock)
    refuse_absent(extraction, cursor.name)
    return cursor
