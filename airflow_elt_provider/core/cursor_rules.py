"""What cursor capture means at every source."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from typing import Final, Protocol

from airflow_elt_provider.core.capture import Cursor
from airflow_elt_provider.core.checkpoint import CursorPosition, Position
from airflow_elt_provider.core.modes import WriteMode
from airflow_elt_provider.core.plan import Extraction, Interval
from airflow_elt_provider.errors import ConfigurationError, DataError


class Family(Enum):
    """How values of a type grow."""

    INTEGER = "integer"
    FRACTION = "fraction"
    TIME = "time"
    TEXT = "text"


DEFAULT_LAG: Final = 300.0

BEFORE: Final = "<"
THROUGH: Final = "<="
"""What an ``append`` position keeps in ``window``: whether the rows at its value are still to be read, or were."""

EVERYTHING: Final = "true"
NOTHING: Final = "false"
"""Predicates, in every SQL."""

EMPTY: Final = "0:0"
"""The fingerprint of no rows."""


@dataclass(frozen=True)
class CursorReading:
    """What one extract reads.

    :param predicate: which rows; None when there is nothing to read.
    :param interval: the interval in the column's canonical text.
    """

    predicate: str | None
    position: CursorPosition
    interval: tuple[str, str] | None = None
    notes: tuple[str, ...] = ()


class Scale(Protocol):
    """A cursor column, as far as the flow below needs it: values to predicates."""

    @property
    def name(self) -> str:
        """Its name at the source."""

    @property
    def type(self) -> str:
        """The type in which values are compared."""

    def after(self, value: str | None) -> str:
        """Rows beyond a checkpoint; all that have a value where there is none yet."""

    def window(self, value: str | None) -> str:
        """Rows at and closely before a checkpoint, which late commits may still join, and those without a place."""

    def from_(self, since: CursorPosition | None) -> str:
        """Rows that a position has not read: at its value too, where it stopped before that value."""

    def up_to(self, value: str, window: str) -> str:
        """Rows that a position has read."""


class CursorFlow:
    """Decides what is read; what the source holds is asked by whoever inherits this."""

    @property
    def scale(self) -> Scale:
        """The cursor column."""
        raise NotImplementedError

    def top(self, value: str | None) -> str | None:
        """Return the largest value that may become the checkpoint, never less than ``value``."""
        raise NotImplementedError

    def fingerprints(self, value: str | None) -> tuple[str, str]:
        """Count and hash of the rows around a checkpoint, and of those beyond it."""
        raise NotImplementedError

    def refuse_other_scale(self, known: CursorPosition, stream: str) -> None:
        """Refuse a checkpoint whose value cannot be compared with the column as it is now."""
        raise NotImplementedError

    def for_append(self, since: CursorPosition | None) -> CursorReading:
        """Read from the checkpoint up to where nothing can come late any more."""
        raise NotImplementedError

    def for_interval(self, interval: Interval, position: CursorPosition | None) -> CursorReading:
        """Read ``[start, end)``."""
        raise NotImplementedError

    def read(
        self, extraction: Extraction, since: Position | None, until: Position | None, *, everything: bool
    ) -> CursorReading:
        """Decide by what was asked for.

        :param everything: whether a merge reads the whole table, whatever the checkpoint says.
        """
        before, end = (position.cursor if position else None for position in (since, until))
        for known in (before, end):
            if known:
                self.refuse_other_scale(known, extraction.stream)
        if extraction.interval:
            return self.for_interval(extraction.interval, before)
        if end:
            return self.again(before, end)
        if extraction.mode is WriteMode.APPEND:
            return self.for_append(before)
        return self.for_merge(before, everything=everything)

    def again(self, since: CursorPosition | None, until: CursorPosition) -> CursorReading:
        """Read the range that an earlier load read, once more."""
        if until.value is None:
            return CursorReading(None, until)
        return CursorReading(f"{self.scale.from_(since)} AND {self.scale.up_to(until.value, until.window)}", until)

    def for_merge(self, since: CursorPosition | None, *, everything: bool = False) -> CursorReading:
        """Read what is beyond the checkpoint, and the rows around it unless they are as they were.

        :param everything: read the whole table, whatever the checkpoint says.
        """
        if since is None or everything:
            top = self.top(since.value if since else None)
            return CursorReading(EVERYTHING, self._standing(top))
        value = since.value
        known, _, ahead = since.window.partition("+")
        around, beyond = self.fingerprints(value)
        top = self.top(value) if beyond != EMPTY else value
        again, more = around != known, beyond != (ahead or EMPTY)
        if not again and not more and top == value:
            return CursorReading(None, since)
        parts = [self.scale.after(value)] if more else []
        parts += [self.scale.window(value)] if again else []
        notes = ("rows around the checkpoint changed: reading them again",) if again and known else ()
        return CursorReading(" OR ".join(parts) or None, self._standing(top), notes=notes)

    def _standing(self, top: str | None) -> CursorPosition:
        """Return the position at ``top``, with what the next extract would find around it and beyond it."""
        around, beyond = self.fingerprints(top)
        window = around if beyond == EMPTY else f"{around}+{beyond}"
        return CursorPosition(self.scale.name, top, self.scale.type, window)


def refuse_absent(extraction: Extraction, name: str) -> None:
    """Refuse an interval of a cursor column that is not in the target.

    :raises ConfigurationError: names the column.
    """
    taken = extraction.columns is None or name in extraction.columns
    if extraction.interval and (not taken or name in extraction.exclude_columns):
        raise ConfigurationError(
            f"{extraction.source}: an interval load needs its cursor column {name!r} in the target.",
            hint="add it to columns, or take it out of exclude_columns",
        )


def lag_of(capture: Cursor, family: Family, source: str) -> float:
    """Return the lag in seconds, or in the column's own unit for numbers.

    :param source: what is read, for errors.
    :raises ConfigurationError: for a lag that does not go with the column.
    """
    lag = capture.lag
    if lag is None:
        return DEFAULT_LAG if family is Family.TIME else 0.0
    wrong = f"{source}: lag={lag!r} does not go with cursor column {capture.column!r}."
    if family is Family.TEXT and lag:
        raise ConfigurationError(wrong, hint="text and uuid have no distances: leave lag out")
    if isinstance(lag, timedelta):
        if family is not Family.TIME:
            raise ConfigurationError(wrong, hint="the column holds numbers: give the lag as a number")
        return lag.total_seconds()
    return float(lag)


def does_not_grow(source: str, column: str, declared: str) -> ConfigurationError:
    """Return the error for a cursor column whose type does not grow."""
    return ConfigurationError(
        f"{source}: cursor column {column!r} is {declared}, which does not grow.",
        hint="choose a column of a number, date, timestamp, text or uuid type, or capture='full'",
    )


def another_scale(stream: str, column: str, before: str, now: str) -> ConfigurationError:
    """Return the error for a checkpoint's value that cannot be compared with a column of another kind."""
    return ConfigurationError(
        f"{stream}: cursor column {column!r} was {before} at the last load, now it is {now}.",
        hint="run once with full_refresh=True",
    )


def refuse_unplaced(count: int, column: str, quoted: str, what: str) -> None:
    """Refuse to append rows that have no place on the cursor's scale.

    :param what: the values that have none: ``NULL or -infinity``.
    :raises DataError: when there are such rows.
    """
    if count:
        raise DataError(
            f"{count} rows have {what} in cursor column {column!r}: mode='append' cannot place them.",
            hint=f"leave them out with where='{quoted} is not null', or use mode='merge' or capture='full'",
        )


def unfit_bounds(bounds: tuple[str, str], column: str, type_: str, why: str) -> ConfigurationError:
    """Return the error for interval bounds that are not of the cursor column's type."""
    return ConfigurationError(
        f"interval=({bounds[0]!r}, {bounds[1]!r}) does not fit cursor column {column!r} ({type_}): {why}.",
        hint="give two values of the cursor column, such as ISO 8601 timestamps",
    )


def empty_interval(bounds: tuple[str, str]) -> ConfigurationError:
    """Return the error for an interval that holds nothing."""
    return ConfigurationError(
        f"interval=({bounds[0]!r}, {bounds[1]!r}) holds nothing: it ends where it begins, or before.",
        hint="in Airflow 3 '@daily' and manual runs have no data interval: use CronDataIntervalTimetable",
    )
