"""Arrow types as Snowflake's types, how they fit each other, and texts that become Snowflake's values."""

from __future__ import annotations

import re
from typing import Final

import pyarrow as pa

from airflow_elt_provider.core.dialect import Fit
from airflow_elt_provider.core.fitting import fitting
from airflow_elt_provider.core.schema import Column
from airflow_elt_provider.core.types import JSON, UUID
from airflow_elt_provider.errors import ConfigurationError

TEXT: Final = "VARCHAR"
TIMESTAMP_TZ: Final = "TIMESTAMP_TZ(9)"
VARIANT: Final = "VARIANT"
MAX_SCALE: Final = 37

_TYPES: Final[tuple[tuple[pa.DataType, str], ...]] = (
    (pa.bool_(), "BOOLEAN"), (pa.int16(), "NUMBER(5,0)"), (pa.int32(), "NUMBER(10,0)"), (pa.int64(), "NUMBER(19,0)"),
    (pa.float32(), "FLOAT"), (pa.float64(), "FLOAT"), (pa.binary(), "BINARY"), (pa.date32(), "DATE"),
    (pa.time64("us"), "TIME(9)"), (pa.timestamp("us"), "TIMESTAMP_NTZ(9)"), (pa.timestamp("us", "UTC"), TIMESTAMP_TZ),
    (JSON, VARIANT), (UUID, "VARCHAR(36)"),
)  # fmt: skip


def column_type(column: Column) -> str:
    """Return the type of a column, spelled as :func:`spelled` spells the catalog's.

    Arrays of the source are VARIANT, as JSON; other values without an Arrow type are kept as the source's own exact
    text.

    :raises ConfigurationError: for a number of more decimals than Snowflake keeps.
    """
    if column.format == "array":
        return VARIANT
    if pa.types.is_decimal(column.type):
        if column.type.scale > MAX_SCALE:
            raise ConfigurationError(
                f"Column {column.name!r} has {column.type.scale} decimals, Snowflake's NUMBER keeps {MAX_SCALE}.",
                hint=f"take it as text: column_types={{{column.name!r}: 'text'}}",
            )
        return f"NUMBER({column.type.precision},{column.type.scale})"
    return next((name for kind, name in _TYPES if column.type.equals(kind)), TEXT)


# --- how types fit ---

_LONGEST: Final = 16_777_216
"""Characters of a VARCHAR that was declared without a length; newer accounts can have longer ones."""
_FLOAT_DIGITS: Final = 15
_NUMBER: Final = re.compile(r"NUMBER\((\d+),(\d+)\)")
_TEXT: Final = re.compile(r"VARCHAR(?:\((\d+)\))?")
_TIME: Final = re.compile(r"(TIME|TIMESTAMP_NTZ|TIMESTAMP_TZ|TIMESTAMP_LTZ)\((\d)\)")
_INSTANTS: Final = frozenset({"TIMESTAMP_TZ", "TIMESTAMP_LTZ"})


def spelled(catalog: str) -> str:
    """Return a type of the catalog without lengths that say nothing."""
    text = _TEXT.fullmatch(catalog)
    if text:
        return TEXT if _length(catalog) >= _LONGEST else catalog
    return "BINARY" if catalog.startswith("BINARY") else catalog


def fit(current: str, arriving: str) -> Fit:
    """Say how an arriving type fits a column; see :class:`Fit`. Text holds every value."""
    return fitting(current, arriving, TEXT, _holds)


def grows_in_place(current: str, type_: str) -> bool:
    """Whether Snowflake's ALTER COLUMN can do it: longer text, or more digits before the point."""
    mine, wanted = _NUMBER.fullmatch(current), _NUMBER.fullmatch(type_)
    if mine and wanted:
        return mine[2] == wanted[2] and int(wanted[1]) >= int(mine[1])
    return bool(_TEXT.fullmatch(current) and _TEXT.fullmatch(type_)) and _length(type_) >= _length(current)


def _length(text: str) -> int:
    found = _TEXT.fullmatch(text)
    return int(found[1] or _LONGEST) if found else 0


def _holds(wide: str, narrow: str) -> bool:
    """Whether a type has every value of another, exactly."""
    if _TEXT.fullmatch(wide) and _TEXT.fullmatch(narrow):
        return _length(wide) >= _length(narrow)
    times = _TIME.fullmatch(wide), _TIME.fullmatch(narrow)
    if times[0] and times[1]:
        same = times[0][1] == times[1][1] or {times[0][1], times[1][1]} == _INSTANTS
        return same and int(times[0][2]) >= min(int(times[1][2]), 6)  # microseconds are all that travels
    theirs = _digits(narrow)
    if wide == "FLOAT":
        return theirs is not None and theirs[1] == 0 and theirs[0] <= _FLOAT_DIGITS
    mine = _digits(wide)
    return bool(mine and theirs and mine[0] >= theirs[0] and mine[1] >= theirs[1])


def _digits(type_: str) -> tuple[int, int] | None:
    """Return how many digits an exact number has before and after the point."""
    found = _NUMBER.fullmatch(type_)
    return (int(found[1]) - int(found[2]), int(found[2])) if found else None
