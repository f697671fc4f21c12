"""Arrow types as BigQuery's types, how they fit each other, and texts that become BigQuery's values."""

from __future__ import annotations

import re
from typing import Final

import pyarrow as pa

from airflow_elt_provider.core.array_literal import delimiter_of, has_numbers
from airflow_elt_provider.core.dialect import Fit
from airflow_elt_provider.core.fitting import fitting
from airflow_elt_provider.core.schema import Column
from airflow_elt_provider.core.types import JSON

TEXT: Final = "STRING"

_TYPES: Final[tuple[tuple[pa.DataType, str], ...]] = (
    (pa.bool_(), "BOOL"), (pa.int16(), "INT64"), (pa.int32(), "INT64"), (pa.int64(), "INT64"),
    (pa.float32(), "FLOAT64"), (pa.float64(), "FLOAT64"), (pa.binary(), "BYTES"), (pa.date32(), "DATE"),
    (pa.time64("us"), "TIME"), (pa.timestamp("us"), "DATETIME"), (pa.timestamp("us", "UTC"), "TIMESTAMP"),
)  # fmt: skip
NUMERIC_INTEGER: Final = 29
NUMERIC_SCALE: Final = 9
"""Digits before and after the point that a NUMERIC has room for; a BIGNUMERIC has 38 of each."""


def column_type(column: Column, json: str) -> str:
    """Return the type of a column, as :func:`spelled` spells it.

    Arrays of the source are JSON; other values without an Arrow type are kept as the source's own exact text.

    :param json: ``json`` or ``string``; see the settings.
    """
    if column.format == "array" or column.type.equals(JSON):
        return "JSON" if json == "json" else TEXT
    return wire_type(column.type)


def wire_type(kind: pa.DataType) -> str:
    """Return the type of a column of the staging table, which holds what the files hold."""
    if pa.types.is_decimal(kind):
        precision, scale = max(kind.precision, kind.precision - kind.scale), max(kind.scale, 0)
        small = scale <= NUMERIC_SCALE and precision - scale <= NUMERIC_INTEGER
        return f"{'NUMERIC' if small else 'BIGNUMERIC'}({precision},{scale})"
    return next((name for known, name in _TYPES if kind.equals(known)), TEXT)


_LEGACY: Final = {"INTEGER": "INT64", "FLOAT": "FLOAT64", "BOOLEAN": "BOOL", "RECORD": "STRUCT"}


def spelled(
    field_type: str, mode: str = "", precision: int | None = None, scale: int | None = None, length: int | None = None
) -> str:
    """Return a type as SQL spells it, from what the API says of a column."""
    name = _LEGACY.get(field_type, field_type)
    if precision is not None:
        name = f"{name}({precision},{scale or 0})"
    elif length is not None:
        name = f"{name}({length})"
    return f"ARRAY<{name}>" if mode == "REPEATED" else name


# --- how types fit ---

_DECIMAL: Final = re.compile(r"(BIG)?NUMERIC(?:\((\d+),(\d+)\))?")
_SIZED: Final = re.compile(r"(STRING|BYTES)\(\d+\)")
_INT64_DIGITS: Final = 19
_COERCED: Final = {"INT64": ("NUMERIC", "BIGNUMERIC"), "NUMERIC": ("NUMERIC", "BIGNUMERIC"),
                   "BIGNUMERIC": ("BIGNUMERIC",)}  # fmt: skip
"""Name of a type -> names of those that ``ALTER COLUMN SET DATA TYPE`` makes of it and that hold all its values."""


def fit(current: str, arriving: str) -> Fit:
    """Say how an arriving type fits a column; see :class:`Fit`. STRING holds every value, in its canonical text."""
    return fitting(current, arriving, TEXT, _holds)


def alterable(current: str, type_: str) -> bool:
    """Whether ``ALTER COLUMN SET DATA TYPE`` leads from one type to the other."""
    sized = _SIZED.fullmatch(current)
    if sized:
        return type_ == sized[1]
    return type_name(type_) in _COERCED.get(type_name(current), ()) and _holds(type_, current)


def _holds(wide: str, narrow: str) -> bool:
    """Whether a type has every value of another, exactly."""
    sized = _SIZED.fullmatch(narrow)
    if sized:
        return wide == sized[1]
    mine, theirs = _digits(wide), _digits(narrow)
    return bool(mine and theirs and mine[0] >= theirs[0] and mine[1] >= theirs[1])


def _digits(type_: str) -> tuple[int, int] | None:
    """Return how many digits before and after the point hold every value of an exact number."""
    if type_ == "INT64":
        return _INT64_DIGITS, 0
    found = _DECIMAL.fullmatch(type_)
    if not found:
        return None
    if found[2]:
        return int(found[2]) - int(found[3]), int(found[3])
    return (38, 38) if found[1] else (NUMERIC_INTEGER, NUMERIC_SCALE)


def type_name(type_: str) -> str:
    """Return a type without its parameters."""
    return type_.partition("(")[0]


# --- texts ---

_BARE: Final = r"^-?[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?$"


def array_json(text: str, source_type: str) -> str:
    """Return the expression that turns a PostgreSQL array literal into JSON text.

    Numbers stay bare, digit for digit, where the elements are numbers; ``NaN`` and the infinities become strings, as
    does every element of another type but NULL and booleans. Bounds (``[2:4]=``) are left out.

    :param text: an expression with the literal.
    :param source_type: declaration at the source, e.g. ``integer[]``.
    """
    delimiter = delimiter_of(source_type)
    token = rf'"(?:[^"\\]|\\[\s\S])*"|[{{}}{delimiter}]|[^{{}}"{delimiter}]+'
    body = f"REGEXP_REPLACE({text}, r'^(?:\\[-?[0-9]+:-?[0-9]+\\])+=', '')"
    tokens = f"REGEXP_EXTRACT_ALL({body}, r'''{token}''')"
    return (
        f"(SELECT STRING_AGG({_element(source_type, delimiter)}, '' ORDER BY _elt_o) "
        f"FROM UNNEST({tokens}) AS _elt_x WITH OFFSET AS _elt_o)"
    )


def _element(source_type: str, delimiter: str) -> str:
    unescaped = r"REGEXP_REPLACE(SUBSTR(_elt_x, 2, LENGTH(_elt_x) - 2), r'\\([\s\S])', r'\1')"
    if has_numbers(source_type):
        bare = f"IF(REGEXP_CONTAINS(_elt_x, r'{_BARE}'), _elt_x, TO_JSON_STRING(_elt_x))"
    elif source_type.startswith("boolean"):
        bare = "CASE _elt_x WHEN 't' THEN 'true' WHEN 'f' THEN 'false' ELSE TO_JSON_STRING(_elt_x) END"
    else:
        bare = "TO_JSON_STRING(_elt_x)"
    return (
        f"CASE WHEN _elt_x = '{{' THEN '[' WHEN _elt_x = '}}' THEN ']' WHEN _elt_x = '{delimiter}' THEN ',' "
        f"WHEN _elt_x = 'NULL' THEN 'null' WHEN STARTS_WITH(_elt_x, '\"') THEN TO_JSON_STRING({unescaped}) "
        f"ELSE {bare} END"
    )


NUMBERS: Final = frozenset({"INT64", "FLOAT64", "NUMERIC", "BIGNUMERIC"})


def as_text(expression: str, type_: str) -> str:
    """Return a value's canonical text, as PostgreSQL would write it where that is possible."""
    match type_name(type_):
        case "STRING":
            return expression
        case "JSON":
            return f"TO_JSON_STRING({expression})"
        case "BYTES":
            return f"CONCAT('\\\\x', TO_HEX({expression}))"
    return f"CAST({expression} AS STRING)"


def from_text(expression: str, type_: str) -> str:
    """Return the value that PostgreSQL's canonical text stands for, NULL where BigQuery has none of it."""
    name = type_name(type_)
    match name:
        case "STRING":
            return expression
        case "JSON":
            return f"SAFE.PARSE_JSON({expression})"
        case "BYTES":
            return f"SAFE.FROM_HEX(SUBSTR({expression}, 3))"
        case "BOOL":
            return f"(LOWER({expression}) IN ('t', 'true'))"
    return sized(f"SAFE_CAST({expression} AS {name})", type_)


def converted(expression: str, current: str, type_: str) -> str:
    """Return a value of one type as another: numbers as numbers, the others by way of their text.

    NULL where the other type has no such value, but numbers of too many digits after the point are rounded.
    """
    mine, other = type_name(current), type_name(type_)
    if mine == other:
        return sized(expression, type_) if current != type_ else expression
    if {mine, other} <= NUMBERS:
        return sized(f"SAFE_CAST({expression} AS {other})", type_)
    text = as_text(expression, current)
    return text if other == TEXT else from_text(text, type_)


def sized(expression: str, type_: str) -> str:
    """Return a number rounded to the digits of a NUMERIC(p,s), NULL where it has more before the point.

    BigQuery casts to NUMERIC only, not to NUMERIC(p,s), and fails when such a column is given what is too large.
    """
    found = _DECIMAL.fullmatch(type_)
    if not found or not found[2]:
        return expression
    rounded = f"ROUND({expression}, {found[3]})"
    limit = f"BIGNUMERIC '1e{int(found[2]) - int(found[3])}'"
    return f"IF(ABS({rounded}) < {limit}, {rounded}, NULL)"
