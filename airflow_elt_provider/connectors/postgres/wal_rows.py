"""Folded changes as Arrow batches: rows as they are now, and keys that are gone."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
from psycopg2.extensions import connection as Connection  # noqa: N812 - a class in all but its name

from airflow_elt_provider.connectors.postgres.catalog import Relation, query_rows
from airflow_elt_provider.connectors.postgres.decode import unhex
from airflow_elt_provider.connectors.postgres.exact import split
from airflow_elt_provider.connectors.postgres.names import quoted
from airflow_elt_provider.connectors.postgres.selection import SelectedColumn
from airflow_elt_provider.connectors.postgres.types import projection
from airflow_elt_provider.connectors.postgres.wal_fold import GONE, MOVED, Change, many_objects
from airflow_elt_provider.connectors.postgres.wal_log import TableLog
from airflow_elt_provider.connectors.postgres.wal_messages import key_values, values
from airflow_elt_provider.core.exact_values import Array, Split, exact_json
from airflow_elt_provider.core.system_columns import EXACT, OP, VALID_FROM
from airflow_elt_provider.core.types import wire_type
from airflow_elt_provider.errors import DataError

BATCH_ROWS: Final = 16_384
BATCH_BYTES: Final = 8 << 20
_MOMENT: Final = pa.timestamp("us", "UTC")
Row = list[bytes | None]


@dataclass
class LogRows:
    """Turns what the log says of one table into batches.

    :param connection: for values whose text in the log is not the canonical one, and for large values that the log
        does not repeat where the target cannot have them; never in use for anything else meanwhile.
    :param folder: for keys that are gone, until they are asked for.
    :param every: whether every version is a row of its own, with the moment it began.
    :param unchanged: sets of columns that some rows do not bring; grows while rows are given.
    """

    log: TableLog
    relation: Relation
    connection: Connection
    folder: Path
    every: bool = False
    unchanged: list[tuple[str, ...]] = field(default_factory=list)

    def rows(self) -> Iterator[pa.RecordBatch]:
        """Give the rows as they are now; keeps the keys that are gone for :meth:`gone`."""
        for part in self.log.fold.parts():
            for some in _portions(self._timed(part) if self.every else part):
                self._keep_gone([change for change in some if change.what == GONE])
                with many_objects():
                    batches = list(self._rows([change for change in some if change.what != GONE]))
                yield from batches

    def _timed(self, changes: list[Change]) -> list[Change]:
        """Let no two versions of a key begin at one moment."""
        last: dict[bytes, int] = {}
        found = []
        for change in changes:
            at = max(change.at, last.get(change.key, change.at - 1) + 1)
            last[change.key] = at
            found.append(change._replace(at=at))
        return found

    # --- rows ---

    def _rows(self, changes: list[Change]) -> Iterator[pa.RecordBatch]:
        whole: list[Row] = []
        moments: list[int] = []
        partial: dict[tuple[int, ...], list[tuple[Change, Row]]] = {}
        moved: list[tuple[Change, Row, tuple[int, ...]]] = []
        for change in changes:
            row, lacking = self._row(change)
            if not lacking:
                whole.append(row)
                moments.append(change.at)
            elif change.what == MOVED:
                moved.append((change, row, lacking))
            else:
                partial.setdefault(lacking, []).append((change, row))
        for change, row in self._looked_up(moved):
            whole.append(row)
            moments.append(change.at)
        if whole:
            yield self._batch(whole, moments)
        for lacking, some in partial.items():
            yield self._batch([row for _, row in some], [change.at for change, _ in some], self._set_of(lacking))

    def _row(self, change: Change) -> tuple[Row, tuple[int, ...]]:
        """Return the values of the columns that are read, and which of them were not sent."""
        found, unsent = values(change.tuple, change.start)
        layout = self.log.layouts[change.layout]
        if layout.straight:
            return found, unsent
        columns = self.log.selection.columns
        row = [
            found[at] if at >= 0 else _text(columns[column].source.missing) for column, at in enumerate(layout.picks)
        ]
        return row, tuple(column for column, at in enumerate(layout.picks) if at in unsent) if unsent else ()

    def _set_of(self, lacking: tuple[int, ...]) -> str:
        """Return the mark of rows that lack these columns."""
        names = tuple(self.log.selection.columns[at].column.name for at in lacking)
        if names not in self.unchanged:
            self.unchanged.append(names)
        return f"p{self.unchanged.index(names)}"

    def _batch(self, rows: list[Row], moments: list[int], op: str = "") -> pa.RecordBatch:
        columns = self.log.selection.columns
        texts = [_strings(column) for column in zip(*rows, strict=True)]
        return self._finished(list(columns), texts, op, moments)

    # --- keys that are gone ---

    def _keep_gone(self, changes: list[Change]) -> None:
        by_layout: dict[tuple[str, ...], list[Change]] = {}
        for change in changes:
            by_layout.setdefault(self.log.layouts[change.layout].key_names, []).append(change)
        for names, some in by_layout.items():
            texts = [_strings(column) for column in zip(*(key_values(change.key) for change in some), strict=True)]
            columns = [self._column(name) for name in names]
            batch = self._finished(columns, texts, "d", [change.at for change in some])
            with self._gone_file.open("ab") as file, pa.ipc.new_stream(file, batch.schema) as writer:
                writer.write_batch(batch)

    @property
    def _gone_file(self) -> Path:
        return self.folder / "gone"

    def gone(self) -> Iterator[pa.RecordBatch]:
        """Give the keys that are gone, once all rows were given."""
        if not self._gone_file.exists():
            return
        with self._gone_file.open("rb") as file:
            end = file.seek(0, 2)
            file.seek(0)
            while file.tell() < end:
                yield from pa.ipc.open_stream(file)

    def _column(self, name: str) -> SelectedColumn:
        return next(column for column in self.log.selection.columns if column.source.name == name)

    # --- values ---

    def _finished(
        self, columns: list[SelectedColumn], texts: list[Array], op: str, moments: list[int]
    ) -> pa.RecordBatch:
        arrays, exact = [], {}
        for column, raw in zip(columns, texts, strict=True):
            found = self._typed(column, raw)
            arrays.append(found.typed)
            if found.exact is not None:
                exact[column.column.name] = found.exact
        fields = [pa.field(column.column.name, wire_type(column.column.type)) for column in columns]
        if exact:
            arrays.append(exact_json(exact))
            fields.append(pa.field(EXACT, pa.string()))
        if op:
            arrays.append(pa.array([op] * len(moments), pa.string()))
            fields.append(pa.field(OP, pa.string()))
        if self.every:
            arrays.append(pa.array(moments, pa.int64()).cast(_MOMENT))
            fields.append(pa.field(VALID_FROM, _MOMENT))
        return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))

    def _typed(self, column: SelectedColumn, texts: Array) -> Split:
        what = f"reading the log of {self.log.source}"
        kind, own = column.column.type, column.source.type
        if pa.types.is_binary(kind) and own.name == "bytea":
            return Split(unhex(pc.utf8_slice_codeunits(texts, 2)))
        if column.expression != quoted(column.source.name):
            texts = self._canonical(column, texts)
            if pa.types.is_binary(kind):
                return Split(unhex(texts))
        _refuse_broken_text(texts, column, what)
        if column.override is None and not pa.types.is_boolean(kind) and not pa.types.is_time(kind):
            try:
                return Split(pc.cast(texts, wire_type(kind)))
            except pa.ArrowInvalid:
                pass
        return split(texts, column, what)

    def _canonical(self, column: SelectedColumn, texts: Array) -> Array:
        """Let the server write values as COPY would."""
        expression = projection(column.source.type, f"v::{column.source.type.declared}", column.override)
        sql = f"SELECT ({expression})::pg_catalog.text FROM unnest(%s::text[]) WITH ORDINALITY u(v, n) ORDER BY n"
        rows = query_rows(self.connection, sql, (texts.to_pylist(),))
        return pa.array([row[0] for row in rows], pa.string())

    def _looked_up(self, moved: Sequence[tuple[Change, Row, tuple[int, ...]]]) -> Iterator[tuple[Change, Row]]:
        """Ask the source for the large values of rows that got another key; who is not there any more is gone."""
        if not moved:
            return
        known = self._rows_of([change for change, _, _ in moved])
        gone = []
        for change, row, lacking in moved:
            now = known.get(change.key)
            if now is None:
                gone.append(change._replace(what=GONE))
                continue
            for at in lacking:
                row[at] = _text(now[at])
            yield change, row
        self._keep_gone(gone)

    def _rows_of(self, changes: Sequence[Change]) -> dict[bytes, tuple[Any, ...]]:
        names = self.log.layouts[changes[0].layout].key_names
        keys = [self._column(name) for name in names]
        told = [[value.decode() for value in key_values(change.key)] for change in changes]
        key = ", ".join(quoted(name) for name in names)
        casts = ", ".join(f"v{at}::{column.source.type.declared}" for at, column in enumerate(keys))
        aliases = ", ".join(f"v{at}" for at in range(len(keys)))
        arrays = ", ".join(["%s::text[]"] * len(keys))
        texts = ", ".join(_as_logged(name) for name in (*names, *self.log.selection.names))
        sql = (
            f"SELECT {texts} FROM {self.relation.from_item} "
            f"WHERE ({key}) IN (SELECT {casts} FROM unnest({arrays}) u({aliases}))"
        )
        rows = query_rows(self.connection, sql, [list(column) for column in zip(*told, strict=True)])
        by_text = {tuple(row[: len(names)]): row[len(names) :] for row in rows}
        found = {}
        for change, key_texts in zip(changes, told, strict=True):
            row = by_text.get(tuple(key_texts))
            if row is not None:
                found[change.key] = row
        return found


def _as_logged(name: str) -> str:
    """Return the expression whose text is the one that the log has: that of the type's output function."""
    column = quoted(name)
    return f"CASE WHEN {column} IS NOT NULL THEN pg_catalog.format('%%s', {column}) END"


def _text(value: str | None) -> bytes | None:
    return None if value is None else value.encode()


def _portions(changes: list[Change]) -> Iterator[list[Change]]:
    """Cut a part into batches of bounded size."""
    held: list[Change] = []
    size = 0
    for change in changes:
        held.append(change)
        size += len(change.tuple)
        if len(held) >= BATCH_ROWS or size >= BATCH_BYTES:
            yield held
            held, size = [], 0
    if held:
        yield held


def _strings(column: tuple[bytes | None, ...]) -> Array:
    """Return an array of texts, whose encoding nobody has looked at yet."""
    if None in column:
        return pa.array(column, pa.binary()).view(pa.string())
    offsets = array("i", [0])
    offsets.extend(accumulate(map(len, column)))  # type: ignore[arg-type]
    data = b"".join(column)  # type: ignore[arg-type]
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(data)]
    return pa.Array.from_buffers(pa.string(), len(column), buffers)


def _refuse_broken_text(texts: Array, column: SelectedColumn, what: str) -> None:
    try:
        texts.validate(full=True)
    except pa.ArrowInvalid as error:
        raise DataError(
            f"{what}: column {column.source.name!r} holds text that is not UTF-8.",
            hint="correct it at the source, or leave the column out with exclude_columns",
        ) from error
