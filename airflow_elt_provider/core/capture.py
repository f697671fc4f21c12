"""How the changes of a source table are found."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar

from airflow_elt_provider.errors import ConfigurationError


@dataclass(frozen=True)
class Full:
    """Read the whole table every time."""

    name: ClassVar[str] = "full"
    incremental: ClassVar[bool] = False
    finds_deletes: ClassVar[bool] = True


@dataclass(frozen=True)
class Cursor:
    """Read the rows whose cursor column moved since the checkpoint.

    :param column: a column that grows with every insert and update, such as ``updated_at``.
    :param lag: how late a row may be committed with an earlier cursor value: a ``timedelta`` or seconds for dates and
        times, a plain number for numbers. Default: 5 minutes for dates and times, 0 for numbers. With mode ``merge``
        the window is read again, with mode ``append`` it is held back until it is over.
    """

    column: str
    lag: timedelta | float | None = None
    name: ClassVar[str] = "cursor"
    incremental: ClassVar[bool] = True
    finds_deletes: ClassVar[bool] = False

    def __post_init__(self) -> None:
        size = self.lag.total_seconds() if isinstance(self.lag, timedelta) else self.lag
        if size is not None and not 0 <= size < _CENTURY:
            raise ConfigurationError(
                f"Cursor lag {self.lag!r} is no span.", hint="give it as a positive number or span"
            )


_CENTURY = 4e18  # no unit of ours reaches further; NaN and infinity fall out too
Capture = Full | Cursor
_LATER = ("xmin", "fingerprint", "wal")


def parse_capture(value: str | Capture | dict[str, Any], cursor_column: str | None = None) -> Capture:
    """Accept ``"full"``, ``"cursor"`` (with ``cursor_column``), a dict like ``{"cursor": "updated_at"}``, or a value.

    :raises ConfigurationError: for an unknown capture or a missing, or superfluous, cursor column.
    """
    if isinstance(value, dict):
        return _from_dict(value)
    if value == "cursor":
        if not cursor_column:
            raise ConfigurationError(
                "capture='cursor' has no cursor_column.", hint="name it: cursor_column='updated_at'"
            )
        return Cursor(cursor_column)
    capture = Full() if value == "full" else value
    if isinstance(capture, str):
        later = " (planned, not in this version)" if capture in _LATER else ""
        raise ConfigurationError(f"Unknown capture {capture!r}{later}.", hint="use 'full' or 'cursor'")
    if cursor_column and not (isinstance(capture, Cursor) and capture.column == cursor_column):
        raise ConfigurationError(
            f"cursor_column={cursor_column!r} does not go with capture {capture.name!r}.",
            hint="drop cursor_column or say capture='cursor'",
        )
    return capture


def _from_dict(value: dict[str, Any]) -> Capture:
    match value:
        case {"cursor": str(column)}:
            return Cursor(column)
        case {"cursor": {"column": str(column), **rest}} if set(rest) <= {"lag"}:
            lag: Any = rest.get("lag")
            return Cursor(column, lag)
    raise ConfigurationError(f"{value!r} is not a capture.", hint="write {'cursor': 'updated_at'} or 'full'")
