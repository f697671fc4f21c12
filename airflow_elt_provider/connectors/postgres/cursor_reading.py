"""Cursor capture: asks the snapshot for the facts and decides which rows are read and where the stream then stands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812 - a class in all but its name

from airflow_elt_provider.connectors.postgres.capture_cursor import CursorColumn, same_scale
from airflow_elt_provider.connectors.postgres.catalog import Relation, query_rows
from airflow_elt_provider.connectors.postgres.names import literal, quoted
from airflow_elt_provider.connectors.postgres.session import PG_11, PG_14
from airflow_elt_provider.core.checkpoint import CursorPosition
from airflow_elt_provider.core.cursor_rules import (
    THROUGH,
    CursorFlow,
    CursorReading,
    Family,
    empty_interval,
    refuse_unplaced,
    unfit_bounds,
)
from airflow_elt_provider.core.plan import Interval


@dataclass(frozen=True)
class CursorReader(CursorFlow):
    """Reads the facts of one cursor column.

    :param where: the user's own predicate, in parentheses, or ``true``.
    """

    connection: Connection
    relation: Relation
    cursor: CursorColumn
    where: str

    @property
    def scale(self) -> CursorColumn:
        """The cursor column."""
        return self.cursor

    def top(self, value: str | None) -> str | None:
        """Return the largest value that may become the checkpoint, never less than ``value``."""
        column = self.cursor
        larger = f" AND {column.value} > {column.constant(value)}" if value is not None else ""
        # Not max(): PostgreSQL has none for uuid before version 18. And the text has its own name, or ORDER BY would
        # go by the text.
        found = query_rows(self.connection, (
            f'SELECT {column.value}::text AS "_elt_top" {self._from} AND {column.ordinary}{larger} '
            f"AND {column.value} IS NOT NULL "
            f"ORDER BY {column.value} DESC LIMIT 1"
        ))  # fmt: skip
        return str(found[0][0]) if found else value

    def fingerprints(self, value: str | None) -> tuple[str, str]:
        """Count and hash of the rows around a checkpoint, and of those beyond it, in one pass."""
        around, beyond = self.cursor.window(value), self.cursor.after(value)
        counts = ", ".join(
            f"count(*) FILTER (WHERE {rows}), COALESCE(sum({self._row_hash}) FILTER (WHERE {rows}), 0)"
            for rows in (around, beyond)
        )
        found = self._ask(f"SELECT {counts} {self._from} AND ({around} OR {beyond})")
        return f"{found[0]}:{found[1]}", f"{found[2]}:{found[3]}"

    @property
    def _row_hash(self) -> str:
        version = self.connection.server_version
        if self.relation.has_xmin and version >= PG_14:
            seed = "(xmin::text::int8 # (tableoid::int8 << 32))"
            return f"pg_catalog.hashtidextended(ctid, {seed})"
        columns = ", ".join(quoted(column.name) for column in self.relation.columns)
        row = "tableoid, ctid, xmin" if self.relation.has_xmin else columns
        if version >= PG_11:
            return f"pg_catalog.hashtextextended(ROW({row})::text, 0)"
        return f"pg_catalog.hashtext(ROW({row})::text)::int8"

    # --- append: ranges that meet, and never split equal values ---

    def for_append(self, since: CursorPosition | None) -> CursorReading:
        """Read from the checkpoint up to where nothing can come late any more.

        :raises DataError: when rows have no cursor value: they could be neither placed nor told from new ones.
        """
        column = self.cursor
        end = self._end()
        plain = since or CursorPosition(column.name, None, column.type, column.upper_sign)
        if end is None:
            self._placed(self._ask(f"SELECT count(*) {self._from} AND {column.unordered}")[0])
            return CursorReading(None, plain)
        inside = f"{column.from_(since)} AND {column.up_to(end, column.upper_sign)}"
        unplaced, rows, held = self._ask(
            f"SELECT count(*) FILTER (WHERE {column.unordered}), count(*) FILTER (WHERE {inside}), "
            f"count(*) FILTER (WHERE NOT ({column.up_to(end, column.upper_sign)})) "
            f"{self._from} AND ({column.from_(since)} OR {column.unordered})"
        )
        self._placed(unplaced)
        sign = ">" if column.upper_sign == "<=" else ">="
        notes = (
            (f"{held} rows with {column.name} {sign} {end} are held back until no row can come late",) if held else ()
        )
        if not rows:
            return CursorReading(None, plain, notes=notes)
        return CursorReading(inside, self._reached(inside, end), notes=notes)

    def _reached(self, inside: str, end: str) -> CursorPosition:
        """Return the position after a range.

        For times it is the last value in the range, not the clock: rows between the two are found whenever they come,
        also where the column holds the local time of a zone behind the server's.
        """
        column = self.cursor
        if column.family is not Family.TIME:
            return CursorPosition(column.name, end, column.type, column.upper_sign)
        last = self._ask(f"SELECT max({column.value})::text {self._from} AND {inside}")[0]
        return CursorPosition(column.name, str(last), column.type, THROUGH)

    def _end(self) -> str | None:
        if self.cursor.family is Family.TIME:
            return str(self._ask(f"SELECT ({self.cursor.held_back})::text")[0])
        top = self.top(None)
        if top is None or not self.cursor.lag:
            return top
        return str(self._ask(f"SELECT ({self.cursor.lowest(top)})::text")[0])

    def _placed(self, unplaced: int) -> None:
        refuse_unplaced(unplaced, self.cursor.name, quoted(self.cursor.name), "NULL or -infinity")

    def refuse_other_scale(self, known: CursorPosition, stream: str) -> None:
        """Refuse a checkpoint whose value cannot be compared with the column as it is now."""
        same_scale(known, self.cursor, stream)

    # --- interval ---

    def for_interval(self, interval: Interval, position: CursorPosition | None) -> CursorReading:
        """Read ``[start, end)``; bounds of dates and times carry their offset, or are UTC.

        :raises ConfigurationError: for bounds that are not of the column's type, or that are in the wrong order.
        """
        column = self.cursor
        by = "::pg_catalog.timestamptz" if column.family is Family.TIME else ""
        bounds = [f"({literal(bound)}{by})::pg_catalog.{column.type}" for bound in (interval.start, interval.end)]
        try:
            start, end, ordered = self._ask(f"SELECT {bounds[0]}::text, {bounds[1]}::text, {bounds[0]} < {bounds[1]}")
        except psycopg2.DataError as error:
            why = str(error).splitlines()[0]
            raise unfit_bounds((interval.start, interval.end), column.name, column.type, why) from error
        if not ordered:
            raise empty_interval((interval.start, interval.end))
        plain = position or CursorPosition(column.name, None, column.type)
        return CursorReading(column.between(start, end), plain, (start, end))

    # --- SQL ---

    @property
    def _from(self) -> str:
        return f"FROM {self.relation.from_item} WHERE {self.where}"

    def _ask(self, sql: str) -> tuple[Any, ...]:
        return query_rows(self.connection, sql)[0]
