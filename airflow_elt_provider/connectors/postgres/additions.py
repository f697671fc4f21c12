"""Columns that the source got since the last load, and the values that rows read before already have in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from psycopg2.extensions import connection as Connection  # noqa: N812 - a class in all but its name

from airflow_elt_provider.connectors.postgres.catalog import Relation, SourceColumn, query_rows
from airflow_elt_provider.connectors.postgres.names import literal, quoted
from airflow_elt_provider.connectors.postgres.selection import Selection
from airflow_elt_provider.connectors.postgres.session import PG_11
from airflow_elt_provider.core.checkpoint import Position
from airflow_elt_provider.core.modes import WriteMode

_UNFIT: Final = frozenset({"money", "box", "_box"})
"""Types whose value cannot be taken out of the text of the catalog's array."""
_NO_NUMBER: Final = frozenset({"NaN", "Infinity", "-Infinity"})
_LEAF_DEFAULTS: Final = """
WITH RECURSIVE leaf(oid) AS (
    SELECT %s::oid UNION SELECT i.inhrelid FROM pg_catalog.pg_inherits i JOIN leaf ON i.inhparent = leaf.oid)
SELECT DISTINCT CASE WHEN a.atthasmissing THEN (a.attmissingval::text::text[])[1] END
FROM leaf JOIN pg_catalog.pg_class c ON c.oid = leaf.oid
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attname = %s AND NOT a.attisdropped
WHERE c.relkind <> 'p'
"""


@dataclass(frozen=True)
class Additions:
    """What new columns mean for rows that were read before.

    :param backfill: name in the target -> text of the one value that all earlier rows have (``ADD COLUMN ... DEFAULT``
        moves no row, so no capture would see it); None for NULL, in the place of what an earlier column of that name
        left in the target.
    :param filled: new columns whose earlier rows have values of their own.
    :param reshaped: columns of a known name that are others now: dropped and added, renamed into each other, of
        another type, or of another table.
    :param altered: why values read before are others now, although the columns are the same; "" where they are not.
    :param renamed: name in the target -> the source's name for that very column at the last load.
    """

    backfill: Mapping[str, str | None] = field(default_factory=dict)
    filled: tuple[str, ...] = ()
    reshaped: tuple[str, ...] = ()
    renamed: Mapping[str, str] = field(default_factory=dict)
    altered: str = ""

    @property
    def call_for_everything(self) -> bool:
        """Whether rows that were read before have to be read again."""
        return bool(self.filled or self.reshaped or self.altered)

    def notes(self, mode: WriteMode) -> tuple[str, ...]:
        """Say what is done about it."""
        if not self.call_for_everything:
            return ()
        names = ", ".join(self.filled + self.reshaped)
        what = f"column {names} is new" if names else self.altered
        if mode is WriteMode.APPEND:
            return (f"{what}: rows appended before keep what they have; full_refresh=True would fill it",)
        why = ", and rows that were read before may have values" if names else ""
        return (f"{what}{why}: reading the whole table once",)


def find_additions(
    connection: Connection, relation: Relation, selection: Selection, since: Position, where: str
) -> Additions:
    """Compare the columns with those of the checkpoint."""
    backfill: dict[str, str | None] = {}
    filled: list[str] = []
    reshaped: list[str] = []
    before = dict(zip(since.columns, since.shape, strict=False))
    renamed = find_renamed(relation, selection, since)
    for selected, now in zip(selection.columns, shape(relation, selection), strict=True):
        column, then = selected.source, before.get(selected.source.name, now)
        added = 0 < since.columns_seen < column.number and selected.column.name not in selection.schema.primary_key
        if column.name in since.columns:
            # Dropped and added anew; a log, though, may still tell values of the old one under its name.
            again = added and then != now and _table(then) == _table(now) and since.log is None
            if not again:
                reshaped += [column.name] if then != now else []
                continue
        elif not since.columns or selected.column.name in renamed:  # the merge takes its values from the old name
            continue
        value = _default(connection, relation, column) if added else None
        if not added or (value is None and _has_values(connection, relation, column, where)):
            filled.append(column.name)
        elif value is None or since.appends or not _differs(connection, relation, column, where, value):
            backfill[selected.column.name] = value
        else:
            filled.append(column.name)
    return Additions(backfill, tuple(filled), tuple(reshaped), renamed)


def find_renamed(relation: Relation, selection: Selection, since: Position) -> dict[str, str]:
    """Return the columns that had another name at the last load and are the same else: name in the target -> name then.

    Of tables and views alone: a query's columns have no more than names.
    """
    there = {column.name for column in relation.columns}
    pairs = zip(since.columns, since.shape, strict=False)
    gone = {known: name for name, known in pairs if name not in there} if relation.oid else {}
    shapes = zip(selection.columns, shape(relation, selection), strict=True)
    return {
        selected.column.name: gone[now]
        for selected, now in shapes
        if now in gone and selected.source.name not in since.columns and selected.column.name != gone[now]
    }


def shape(relation: Relation, selection: Selection) -> tuple[str, ...]:
    """Return what each column is, to see when another one takes its name."""
    return tuple(f"{relation.oid}.{column.source.number} {column.source.type.declared}" for column in selection.columns)


def _table(shape_: str) -> str:
    return shape_.partition(".")[0]


def _default(connection: Connection, relation: Relation, column: SourceColumn) -> str | None:
    if column.type.name in _UNFIT or column.missing in _NO_NUMBER:
        return None
    if column.missing is not None or not (relation.kind == "p" or relation.inherited):
        return column.missing
    if connection.server_version < PG_11:
        return None
    # A partitioned table has no rows and so no such value; its partitions have, the same in all unless one was
    # rewritten or came later.
    values = query_rows(connection, _LEAF_DEFAULTS, (relation.oid, column.name))
    return values[0][0] if len(values) == 1 else None


def _has_values(connection: Connection, relation: Relation, column: SourceColumn, where: str) -> bool:
    name = quoted(column.name)
    sql = f"SELECT EXISTS (SELECT 1 FROM {relation.from_item} WHERE {where} AND {name} IS NOT NULL)"
    return bool(query_rows(connection, sql)[0][0])


def _differs(connection: Connection, relation: Relation, column: SourceColumn, where: str, value: str) -> bool:
    """Whether a row has got another value since: its cursor may not tell."""
    name = quoted(column.name)
    other = f"{name}::pg_catalog.text IS DISTINCT FROM ({literal(value)}::{column.type.declared})::pg_catalog.text"
    sql = f"SELECT EXISTS (SELECT 1 FROM {relation.from_item} WHERE {where} AND {other})"
    return bool(query_rows(connection, sql)[0][0])
