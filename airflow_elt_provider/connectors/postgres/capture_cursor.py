"""Cursor capture as text: from values and bounds to predicates. No I/O."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

from airflow_elt_provider.connectors.postgres.catalog import Relation
from airflow_elt_provider.connectors.postgres.names import literal, meant, quoted
from airflow_elt_provider.connectors.postgres.session import PG_14
from airflow_elt_provider.core.capture import Cursor
from airflow_elt_provider.core.checkpoint import CursorPosition
from airflow_elt_provider.core.cursor_rules import (
    BEFORE,
    EVERYTHING,
    NOTHING,
    THROUGH,
    Family,
    another_scale,
    does_not_grow,
    lag_of,
)
from airflow_elt_provider.core.plan import Extraction
from airflow_elt_provider.errors import ConfigurationError

_FAMILIES: Final = {
    "int2": Family.INTEGER, "int4": Family.INTEGER, "int8": Family.INTEGER, "numeric": Family.FRACTION,
    "float4": Family.FRACTION, "float8": Family.FRACTION, "date": Family.TIME, "timestamp": Family.TIME,
    "timestamptz": Family.TIME, "text": Family.TEXT, "varchar": Family.TEXT, "bpchar": Family.TEXT,
    "name": Family.TEXT, "uuid": Family.TEXT,
}  # fmt: skip
_SMALLEST: Final = {"int2": -(1 << 15), "int4": -(1 << 31), "int8": -(1 << 63)}


@dataclass(frozen=True)
class CursorColumn:
    """The cursor column and the rules of its type.

    :param type: the type in which values are written and compared: a ``typname``.
    :param lag: seconds, or the column's own unit for numbers.
    :param unique: whether no value can appear twice.
    :param endless: words that the type has for values beyond all others, the lowest first; "" where it has none.
    """

    name: str
    type: str
    family: Family
    lag: float
    nullable: bool
    unique: bool
    endless: tuple[str, str]

    @property
    def value(self) -> str:
        """The column as it is compared: text in byte order, whatever the collation."""
        column = quoted(self.name)
        return f'({column}::pg_catalog.text COLLATE "C")' if self.type == "text" else column

    def constant(self, value: str) -> str:
        """Return a value of the column's type."""
        return f"{literal(value)}::pg_catalog.{self.type}"

    # --- which rows ---

    @property
    def unordered(self) -> str:
        """Rows without a place on the scale: NULL, and minus infinity. They are looked at every time."""
        tests = [f"{self.value} IS NULL"] if self.nullable else []
        if self.endless[0]:
            tests.append(f"{self.value} = {self.constant(self.endless[0])}")
        return f"({' OR '.join(tests)})" if tests else NOTHING

    @property
    def ordinary(self) -> str:
        """Rows whose value may become the checkpoint: neither in the future nor infinite, nor "not a number"."""
        if self.family is Family.TIME:
            return f"{self.value} > {self.constant(self.endless[0])} AND {self.value} <= {self.clock}"
        low, high = self.endless
        tests = [f"{self.value} > {self.constant(low)}"] if low else []
        tests += [f"{self.value} < {self.constant(high)}"] if high else []
        return " AND ".join(tests) or EVERYTHING

    def after(self, value: str | None) -> str:
        """Rows beyond a checkpoint; all that have a value where there is none yet."""
        if value is None:
            return f"NOT {self.unordered}" if self.unordered != NOTHING else EVERYTHING
        return f"{self.value} > {self.constant(value)}"

    def window(self, value: str | None) -> str:
        """Rows at and closely before a checkpoint, which late commits may still join, and the unordered ones."""
        if value is None:
            return self.unordered
        inside = f"({self.value} >= {self.lowest(value)} AND {self.value} <= {self.constant(value)})"
        return f"({inside} OR {self.unordered})" if self.unordered != NOTHING else inside

    def lowest(self, value: str) -> str:
        """Return the smallest value that may still be committed once ``value`` was seen."""
        if self.type == "date":  # a whole day has one value: go back to the beginning of the day
            return f"({self.constant(value)} - {self.span})::pg_catalog.date"
        if self.family is Family.TIME:
            return f"({self.constant(value)} - {self.span})"
        if self.family is Family.INTEGER:
            return self.constant(str(max(int(value) - math.ceil(self.lag), _SMALLEST[self.type])))
        if self.family is Family.FRACTION and self.lag:
            unit = "numeric" if self.type == "numeric" else "float8"
            return f"({self.constant(value)} - {literal(repr(self.lag))}::pg_catalog.{unit})"
        return self.constant(value)

    @property
    def span(self) -> str:
        """The lag as an interval."""
        return f"'{self.lag:.6f} seconds'::pg_catalog.interval"

    # --- half-open ranges, for append ---

    def from_(self, since: CursorPosition | None) -> str:
        """Rows that a position has not read: at its value too, where it stopped before that value."""
        if since is None or since.value is None:
            return EVERYTHING
        sign = ">=" if since.window == BEFORE else ">"
        return f"{self.value} {sign} {self.constant(since.value)}"

    def up_to(self, value: str, window: str) -> str:
        """Rows that a position has read."""
        sign = "<" if window == BEFORE else "<="
        return f"{self.value} {sign} {self.constant(value)}"

    @property
    def upper_sign(self) -> str:
        """Whether a range includes its end: only where no second row can come to lie there."""
        return THROUGH if self.unique and self.family is not Family.TIME else BEFORE

    def between(self, start: str, end: str) -> str:
        """Rows in ``[start, end)``."""
        return f"{self.value} >= {self.constant(start)} AND {self.value} < {self.constant(end)}"

    @property
    def clock(self) -> str:
        """The source's clock in the column's type.

        A timestamp without time zone may be UTC or what the server's own zone shows: whichever is behind counts, so
        that no row of the near future is taken for late.
        """
        if self.type == "timestamptz":
            return "pg_catalog.now()"
        zone = "(SELECT reset_val FROM pg_catalog.pg_settings WHERE name = 'TimeZone')"
        now = f"LEAST(pg_catalog.now() AT TIME ZONE 'UTC', pg_catalog.now() AT TIME ZONE {zone})"
        return f"({now})::pg_catalog.{self.type}"

    @property
    def held_back(self) -> str:
        """The value before which nothing can be committed late any more: the clock less the lag."""
        clock = replace(self, type="timestamp").clock if self.type == "date" else self.clock
        return f"({clock} - {self.span})::pg_catalog.{self.type}"


def cursor_column(capture: Cursor, relation: Relation, extraction: Extraction, server_version: int) -> CursorColumn:
    """Find the cursor column and check that it can be one.

    :raises ConfigurationError: for an unknown column, a type without an order in time, or a lag that does not fit.
    """
    column = relation.column(capture.column)
    if column is None:
        hint = meant(capture.column, [known.name for known in relation.columns])
        raise ConfigurationError(f"{extraction.source} has no cursor column {capture.column!r}.", hint=hint)
    family = _FAMILIES.get(column.type.name)
    if family is None:
        raise does_not_grow(extraction.source, capture.column, column.type.declared)
    text = family is Family.TEXT and column.type.name != "uuid"
    return CursorColumn(
        column.name, "text" if text else column.type.name, family, lag_of(capture, family, extraction.source),
        column.nullable, (column.name,) in relation.unique and not relation.inherited,
        _endless(column.type.name, server_version),
    )  # fmt: skip


def _endless(type_: str, server_version: int) -> tuple[str, str]:
    match type_:
        case "date" | "timestamp" | "timestamptz":
            return "-infinity", "infinity"
        case "float4" | "float8":
            return "-Infinity", "Infinity"
        case "numeric":
            return ("-Infinity", "Infinity") if server_version >= PG_14 else ("", "NaN")
    return "", ""


def same_scale(position: CursorPosition, cursor: CursorColumn, stream: str) -> None:
    """Refuse to compare a checkpoint's value with a column that now has a type of another kind.

    :raises ConfigurationError: names both types.
    """
    before = Family.TEXT if position.type == "text" else _FAMILIES.get(position.type)
    if before is not cursor.family or (position.type == "uuid") != (cursor.type == "uuid"):
        raise another_scale(stream, cursor.name, position.type, cursor.type)
