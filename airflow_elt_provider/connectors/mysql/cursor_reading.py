"""Cursor capture: asks the snapshot for the facts and decides which rows are read and where the stream then stands."""

from __future__ import annotations

from dataclasses import dataclass

from airflow_elt_provider.connectors.mysql.capture_cursor import CursorColumn, same_scale
from airflow_elt_provider.connectors.mysql.catalog import Relation
from airflow_elt_provider.connectors.mysql.names import quoted
from airflow_elt_provider.connectors.mysql.row_hash import row_hash
from airflow_elt_provider.connectors.mysql.session import MySqlSession
from airflow_elt_provider.core.checkpoint import CursorPosition
from airflow_elt_provider.core.cursor_rules import (
    THROUGH,
    CursorFlow,
    CursorReading,
    Family,
    refuse_unplaced,
)
from airflow_elt_provider.core.plan import Interval


@dataclass(frozen=True)
class CursorReader(CursorFlow):
    """Reads the facts of one cursor column.

    :param where: the user's own predicate, in parentheses, or ``true``.
    """

    session: MySqlSession
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
        top = column.text(f"MAX({column.value})")
        found = self.session.one(f"SELECT {top} {self._from} AND {column.ordinary}{larger}")[0]
        return value if found is None else found

    def fingerprints(self, value: str | None) -> tuple[str, str]:
        """Count and hash of the rows around a checkpoint, and of those beyond it, in one pass."""
        around, beyond = self.cursor.window(value), self.cursor.after(value)
        hashed = row_hash(self.relation.columns)
        counts = ", ".join(
            f"COALESCE(SUM(IF({rows}, 1, 0)), 0), COALESCE(SUM(IF({rows}, {hashed}, 0)), 0)"
            for rows in (around, beyond)
        )
        found = self.session.one(f"SELECT {counts} {self._from} AND ({around} OR {beyond})")
        return f"{found[0]}:{found[1]}", f"{found[2]}:{found[3]}"

    # --- append: ranges that meet, and never split equal values ---

    def for_append(self, since: CursorPosition | None) -> CursorReading:
        """Read from the checkpoint up to where nothing can come late any more.

        :raises DataError: when rows have no cursor value: they could be neither placed nor told from new ones.
        """
        column = self.cursor
        end = self._end()
        plain = since or CursorPosition(column.name, None, column.type, column.upper_sign)
        if end is None:
            self._placed(self._count(column.unordered))
            return CursorReading(None, plain)
        reached = column.up_to(end, column.upper_sign)
        inside = f"{column.from_(since)} AND {reached}"
        unplaced, rows, held = (int(part or 0) for part in self.session.one(
            f"SELECT SUM(IF({column.unordered}, 1, 0)), SUM(IF({inside}, 1, 0)), SUM(IF(NOT ({reached}), 1, 0)) "
            f"{self._from} AND ({column.from_(since)} OR {column.unordered})"
        ))  # fmt: skip
        self._placed(unplaced)
        sign = ">" if column.upper_sign == THROUGH else ">="
        note = f"{held} rows with {column.name} {sign} {end} are held back until no row can come late"
        notes = (note,) if held else ()
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
        last = self.session.one(f"SELECT {column.text(f'MAX({column.value})')} {self._from} AND {inside}")[0]
        return CursorPosition(column.name, last, column.type, THROUGH)

    def _end(self) -> str | None:
        column = self.cursor
        if column.family is Family.TIME:
            return self.session.one(f"SELECT {column.text(column.held_back)}")[0]
        top = self.top(None)
        if top is None or not column.lag:
            return top
        return self.session.one(f"SELECT {column.text(column.lowest(top))}")[0]

    def _count(self, rows: str) -> int:
        return int(self.session.one(f"SELECT COUNT(*) {self._from} AND {rows}")[0] or 0)

    def _placed(self, unplaced: int) -> None:
        refuse_unplaced(unplaced, self.cursor.name, quoted(self.cursor.name), "NULL or the zero date")

    def refuse_other_scale(self, known: CursorPosition, stream: str) -> None:
        """Refuse a checkpoint whose value cannot be compared with the column as it is now."""
        same_scale(known, self.cursor, stream)

    # --- interval ---

    def for_interval(self, interval: Interval, position: CursorPosition | None) -> CursorReading:
        """Read ``[start, end)``; see :meth:`CursorColumn.bounds`."""
        column = self.cursor
        start, end = column.bounds(interval)
        plain = position or CursorPosition(column.name, None, column.type)
        return CursorReading(column.between(start, end), plain, (start, end))

    @property
    def _from(self) -> str:
        return f"FROM {self.relation.from_item} WHERE {self.where}"
