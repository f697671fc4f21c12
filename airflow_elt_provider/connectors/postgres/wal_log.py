"""The log's messages, sorted by table and folded as they come."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from airflow_elt_provider.connectors.postgres.selection import Selection
from airflow_elt_provider.connectors.postgres.wal_fold import GONE, MOVED, NOW, Change, Fold
from airflow_elt_provider.connectors.postgres.wal_messages import (
    TEXT,
    UNCHANGED,
    LogRelation,
    joined,
    key_pieces,
    pieces,
    read_begin,
    read_relation,
    read_truncate,
    tuple_end,
)

_HEADER: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
"""What a binary COPY begins with; the first row follows in the same message."""
_FRAME: Final = 6
"""Bytes before a row's one value: the count of values, and its length."""
_TUPLE: Final = _FRAME + 6
"""Where the first tuple of a change begins, after its kind, the table's object id and the tuple's kind."""
_NO_ROW: Final = (b"", b"\xff\xff")
"""Nothing, or what a binary COPY ends with."""


@dataclass(frozen=True)
class Layout:
    """How the columns that are read lie in the log's tuples.

    :param key: positions of the key's columns, ascending.
    :param key_names: their names at the source, in that order.
    :param picks: position of each column that is read; -1 where the table had no such column yet.
    :param straight: whether these are all columns, in their order.
    """

    key: tuple[int, ...]
    key_names: tuple[str, ...]
    picks: tuple[int, ...]
    straight: bool

    @classmethod
    def of(cls, relation: LogRelation, table: TableLog) -> Layout:
        """Find the columns by their names.

        :raises Unclear: where a column may be one that has no such name.
        """
        at = {name: position for position, name in enumerate(relation.columns)}
        at |= {name: at[old] for name, old in table.before.items() if name not in at and old in at}
        absent = [name for name in table.selection.names if name not in at]
        strange = [name for name in relation.columns if name not in table.known]
        if any(name not in at for name in table.key):
            raise Unclear(f"the log holds changes from before the key ({', '.join(table.key)}) was there")
        if absent and strange:
            raise Unclear(f"column {absent[0]} may have been called {strange[0]} for a while")
        names = {at[name]: name for name in table.key}
        positions = tuple(sorted(names))
        picks = tuple(at.get(name, -1) for name in table.selection.names)
        straight = picks == tuple(range(len(relation.columns)))
        return cls(positions, tuple(names[position] for position in positions), picks, straight)


class Unclear(Exception):  # noqa: N818 - no error: the table is read instead
    """The log does not say for sure what became of a table's rows."""


@dataclass
class TableLog:
    """What the log says of one table.

    :param key: names at the source.
    :param before: column -> its name at the last load, for those that were renamed since.
    :param known: every name that a column of the table has now or had at the last load.
    :param since: transactions whose commit record begins before this are merged already.
    :param unclear: why the log is not to be trusted; "" where it is.
    :param emptied: time of the last TRUNCATE, microseconds of Unix; None where there was none.
    """

    oid: int
    source: str
    selection: Selection
    key: tuple[str, ...]
    before: Mapping[str, str]
    known: frozenset[str]
    since: int
    fold: Fold
    names: list[tuple[str, ...]]
    layouts: list[Layout] = field(default_factory=list)
    emptied: int | None = None
    unclear: str = ""

    def learn(self, relation: LogRelation) -> None:
        """Take note of how the changes that follow are laid out."""
        if self.names and self.names[-1] == relation.columns:
            return
        self.layouts.append(Layout.of(relation, self))
        self.names.append(relation.columns)

    def insert(self, row: bytes, at: int) -> None:
        """Take an insert."""
        self.fold.add(Change(self._key(row, _TUPLE), NOW, at, len(self.layouts) - 1, row, _TUPLE))

    def update(self, row: bytes, at: int) -> None:
        """Take an update; one of the key is two changes."""
        layout, start = len(self.layouts) - 1, _TUPLE
        if row[_TUPLE - 1] == _NEW:
            self.fold.add(Change(self._key(row, start), NOW, at, layout, row, start))
            return
        start = tuple_end(row, _TUPLE) + 1
        old = self._key(row, _TUPLE)
        if b"u" in row[start:]:
            row, start = _filled(row, start), 0
        key = self._key(row, start)
        if key != old:
            self.fold.add(Change(old, GONE, at, layout, b"", 0))
        self.fold.add(Change(key, MOVED if key != old else NOW, at, layout, row, start))

    def delete(self, row: bytes, at: int) -> None:
        """Take a delete."""
        self.fold.add(Change(self._key(row, _TUPLE), GONE, at, len(self.layouts) - 1, b"", 0))

    def empty(self, at: int) -> None:
        """Take a TRUNCATE."""
        self.fold.empty(at)
        self.emptied = at

    def _key(self, row: bytes, start: int) -> bytes:
        found = key_pieces(row, start, self.layouts[-1].key)
        if found is None:
            raise Unclear("a change in the log has no value for a column of the key")
        return found


_NEW: Final = ord("N")


def _filled(row: bytes, start: int) -> bytes:
    """Return the new tuple with what it lacks taken from the old one."""
    old, new = pieces(row, _TUPLE), pieces(row, start)
    return joined([before if now[0] == UNCHANGED and before[0] == TEXT else now
                   for before, now in zip(old, new, strict=True)])  # fmt: skip


class LogReader:
    """A file that COPY (SELECT data FROM pg_logical_slot_peek_binary_changes(...)) TO STDOUT (FORMAT binary) writes to.

    psycopg2 hands it one row after the other, in one thread: nothing is held but what the folds hold.

    :param until: transactions whose commit record begins here or later are left for the next time.
    """

    def __init__(self, tables: list[TableLog], until: int) -> None:
        self._until = until
        self._tables = {table.oid.to_bytes(4, "big"): table for table in tables}
        self._all_since = max((table.since for table in tables), default=0)
        self._taking: dict[bytes, TableLog] = {}
        self._at = 0
        self.newest: int | None = None
        self._actions = {
            ord("I"): TableLog.insert, ord("U"): TableLog.update, ord("D"): TableLog.delete,
        }  # fmt: skip

    def write(self, row: bytes) -> int:
        """Take the next row of the COPY."""
        length = len(row)
        if row[0]:  # no row: those begin with the count of their values, which is one, in two bytes
            row = row.removeprefix(_HEADER)
            if row in _NO_ROW:
                return length
        action = self._actions.get(row[_FRAME])
        if action is None:
            self._other(row)
            return length
        table = self._taking.get(row[_FRAME + 1 : _FRAME + 5])
        if table is not None and not table.unclear:
            try:
                action(table, row, self._at)
            except Unclear as error:
                table.unclear = str(error)
        return length

    def _other(self, row: bytes) -> None:
        match chr(row[_FRAME]):
            case "B":
                self._begin(row)
            case "R":
                relation = read_relation(row, _FRAME)
                table = self._tables.get(relation.oid.to_bytes(4, "big"))
                if table is not None and not table.unclear:
                    try:
                        table.learn(relation)
                    except Unclear as error:
                        table.unclear = str(error)
            case "T":
                for oid in read_truncate(row, _FRAME):
                    table = self._taking.get(oid.to_bytes(4, "big"))
                    if table is not None:
                        table.empty(self._at)
            case _:  # commits, origins and types say nothing that we need
                pass

    def _begin(self, row: bytes) -> None:
        begin = read_begin(row, _FRAME)
        self._at = begin.at
        if begin.lsn >= self._until:
            self._taking = {}
            return
        self.newest = begin.at
        if begin.lsn >= self._all_since:
            self._taking = self._tables
        else:
            self._taking = {oid: table for oid, table in self._tables.items() if table.since <= begin.lsn}
