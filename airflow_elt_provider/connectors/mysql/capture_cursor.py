"""Cursor capture as text: from values and bounds to predicates. No I/O."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from airflow_elt_provider.connectors.mysql.catalog import Relation
from airflow_elt_provider.connectors.mysql.names import literal, meant, quoted
from airflow_elt_provider.connectors.mysql.snapshot import Clock
from airflow_elt_provider.connectors.mysql.types import INTEGERS, TEXTS, MySqlType, exact_text
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
    empty_interval,
    lag_of,
    unfit_bounds,
)
from airflow_elt_provider.core.plan import Extraction, Interval
from airflow_elt_provider.errors import ConfigurationError

_FAMILIES: Final = {
    **dict.fromkeys((*INTEGERS, "year"), Family.INTEGER), "decimal": Family.FRACTION, "float": Family.FRACTION,
    "double": Family.FRACTION, "date": Family.TIME, "datetime": Family.TIME, "timestamp": Family.TIME,
    **dict.fromkeys((*TEXTS, "uuid"), Family.TEXT),
}  # fmt: skip
_SMALLEST: Final = -(1 << 63)
_MICROSECONDS: Final = 1_000_000
_NUMBER: Final = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")


@dataclass(frozen=True)
class CursorColumn:
    """The cursor column and the rules of its type.

    :param type: the type in which values are written and compared: ``DATA_TYPE``, and ``text`` for all texts.
    :param value: the column as it is compared.
    :param lag: seconds, or the column's own unit for numbers.
    :param unique: whether no value can appear twice.
    """

    name: str
    type: str
    value: str
    family: Family
    lag: float
    nullable: bool
    unique: bool
    clock: Clock

    def constant(self, value: str) -> str:
        """Return a value of the column's type."""
        match self.family:
            case Family.TEXT:
                return f"CAST({literal(value)} AS BINARY)"
            case Family.TIME:
                return f"CAST({literal(value)} AS {'DATE' if self.type == 'date' else 'DATETIME(6)'})"
            case _:
                if not _NUMBER.fullmatch(value):
                    raise ValueError(value)
                floating = self.type in {"float", "double"} and "e" not in value.lower()
                return f"{value}e0" if floating else value

    def text(self, expression: str) -> str:
        """Return the canonical text of an expression of the compared kind."""
        return f"CAST({expression} AS CHAR)" if self.family is not Family.TEXT else expression

    # --- which rows ---

    @property
    def unordered(self) -> str:
        """Rows without a place on the scale: NULL, and the zero date. They are looked at every time."""
        tests = [f"{self.value} IS NULL"] if self.nullable else []
        if self.family is Family.TIME:
            tests.append(f"{self.value} = {self._zero}")
        return f"({' OR '.join(tests)})" if tests else NOTHING

    @property
    def _zero(self) -> str:
        return self.constant("0000-00-00" if self.type == "date" else "0000-00-00 00:00:00")

    @property
    def ordinary(self) -> str:
        """Rows whose value may become the checkpoint: not in the future, and of a day that the calendar has."""
        if self.family is not Family.TIME:
            return EVERYTHING
        return f"{self.value} > {self._zero} AND {self.value} <= {self.now} AND {self._less(self.value)} IS NOT NULL"

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
        constant = self.constant(value)
        if self.family is Family.TIME:
            # Never NULL: a day of which nothing can be taken is its own lowest value.
            return f"COALESCE({self._less(constant)}, {constant})"
        if self.family is Family.INTEGER:
            return str(max(int(value) - math.ceil(self.lag), _SMALLEST))
        if self.family is Family.FRACTION and self.lag:
            lag = f"{self.lag!r}e0" if self.type != "decimal" and "e" not in repr(self.lag) else _plain(self.lag)
            return f"({constant} - {lag})"
        return constant

    def _less(self, moment: str) -> str:
        less = f"({moment} - INTERVAL {round(self.lag * _MICROSECONDS)} MICROSECOND)"
        return f"CAST({less} AS DATE)" if self.type == "date" else less  # a whole day has one value

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

    @property
    def now(self) -> str:
        """The source's clock in the column's type; as old as the snapshot, or older."""
        moment = self.clock.utc if self.type == "timestamp" else self.clock.behind
        return self.constant(moment[:10] if self.type == "date" else moment)

    @property
    def held_back(self) -> str:
        """The value before which nothing can be committed late any more: the clock less the lag."""
        if self.type == "date":
            less = f"(CAST({literal(self.clock.behind)} AS DATETIME(6)) - INTERVAL {self._lag} MICROSECOND)"
            return f"CAST({less} AS DATE)"
        return self._less(self.now)

    @property
    def _lag(self) -> int:
        return round(self.lag * _MICROSECONDS)

    # --- intervals ---

    def bounds(self, interval: Interval) -> tuple[str, str]:
        """Return an interval's bounds in the column's canonical text; those of times carry their offset, or are UTC.

        :raises ConfigurationError: for bounds that are not of the column's type, or that are in the wrong order.
        """
        given = (interval.start, interval.end)
        try:
            parsed = [self._parsed(bound) for bound in given]
        except (ValueError, InvalidOperation) as error:
            raise unfit_bounds(given, self.name, self.type, str(error)) from error
        if not parsed[0] < parsed[1]:
            raise empty_interval(given)
        start, end = (self._written(bound) for bound in parsed)
        return start, end

    def _parsed(self, bound: str) -> Any:
        match self.family:
            case Family.INTEGER:
                return int(bound)
            case Family.FRACTION:
                return Decimal(bound)
            case Family.TIME:
                moment = datetime.fromisoformat(bound)
                moment = moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment
                return moment.date() if self.type == "date" else moment
        return bound.encode()

    def _written(self, bound: Any) -> str:
        if isinstance(bound, datetime):
            return bound.isoformat(" ") + ("+00" if self.type == "timestamp" else "")
        return bound.decode() if isinstance(bound, bytes) else str(bound)

    def between(self, start: str, end: str) -> str:
        """Rows in ``[start, end)``, of bounds as :meth:`bounds` gives them."""
        low, high = (self.constant(bound.removesuffix("+00")) for bound in (start, end))
        return f"{self.value} >= {low} AND {self.value} < {high}"


def _plain(number: float) -> str:
    return f"{Decimal(repr(number)):f}"


def cursor_column(capture: Cursor, relation: Relation, extraction: Extraction, clock: Clock) -> CursorColumn:
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
    return CursorColumn(
        column.name, "text" if family is Family.TEXT else column.type.name, _value(column.type, column.name, family),
        family, lag_of(capture, family, extraction.source), column.nullable, (column.name,) in relation.unique, clock,
    )  # fmt: skip


def _value(kind: MySqlType, name: str, family: Family) -> str:
    if family is Family.TEXT:  # in byte order, whatever the collation
        return exact_text(kind, quoted(name))
    return f"({quoted(name)} + 0e0)" if kind.name in {"float", "double"} else quoted(name)


def same_scale(position: CursorPosition, cursor: CursorColumn, stream: str) -> None:
    """Refuse to compare a checkpoint's value with a column that now has a type of another kind.

    :raises ConfigurationError: names both types.
    """
    before = Family.TEXT if position.type == "text" else _FAMILIES.get(position.type)
    if before is not cursor.family:
        raise another_scale(stream, cursor.name, position.type, cursor.type)
