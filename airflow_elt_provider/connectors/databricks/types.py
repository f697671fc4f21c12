"""Arrow types as Delta's types, how they fit each other, and texts that become Databricks's values."""

from __future__ import annotations

import re
from typing import Final

import pyarrow as pa

from airflow_elt_provider.connectors.databricks.names import literal
from airflow_elt_provider.core.array_literal import delimiter_of, has_numbers
from airflow_elt_provider.core.dialect import Fit
from airflow_elt_provider.core.fitting import Numbers, fitting
from airflow_elt_provider.core.schema import Column

TEXT: Final = "string"
MOMENTS: Final = frozenset({"date", "timestamp", "timestamp_ntz"})
"""Types with values that Arrow has not: years before 1 and after 9999. None of them has infinity."""

WITHOUT_ZONE: Final = "timestamp_ntz"

_TYPES: Final[tuple[tuple[pa.DataType, str], ...]] = (
    (pa.bool_(), "boolean"), (pa.int16(), "smallint"), (pa.int32(), "int"), (pa.int64(), "bigint"),
    (pa.float32(), "float"), (pa.float64(), "double"), (pa.binary(), "binary"), (pa.date32(), "date"),
    (pa.timestamp("us"), WITHOUT_ZONE), (pa.timestamp("us", "UTC"), "timestamp"),
)  # fmt: skip


def column_type(column: Column) -> str:
    """Return the type of a column, as DESCRIBE spells it.

    Times of day, JSON, UUIDs and arrays (as JSON) are text, as is everything without an Arrow type.
    """
    if pa.types.is_decimal(column.type):
        return f"decimal({column.type.precision},{column.type.scale})"
    return next((name for kind, name in _TYPES if column.type.equals(kind)), TEXT)


# --- how types fit ---

_NUMBERS: Final = Numbers(
    {"tinyint": (7, 3), "smallint": (15, 5), "int": (31, 10), "bigint": (63, 19)},
    {"float": 24, "double": 53},
    re.compile(r"decimal\((\d+),(\d+)\)"),
)
_WIDENED: Final = {
    "tinyint": {"smallint", "int", "bigint", "double"},
    "smallint": {"int", "bigint", "double"},
    "int": {"bigint", "double"},
    "float": {"double"},
}
_WHOLE: Final = {"tinyint": 10, "smallint": 10, "int": 10, "bigint": 20}
"""Digits before the point that Delta asks of a decimal in an integer's place."""


def fit(current: str, arriving: str) -> Fit:
    """Say how an arriving type fits a column; see :class:`Fit`. Text holds every value, in its canonical text."""
    return fitting(current, arriving, TEXT, _NUMBERS.holds)


def widens_in_place(current: str, type_: str) -> bool:
    """Whether Delta changes a column's type in the table's metadata alone (table feature typeWidening)."""
    wanted = _NUMBERS.digits(type_) if _NUMBERS.decimal.fullmatch(type_) else None
    if wanted is None:
        return type_ in _WIDENED.get(current, set())
    return _NUMBERS.holds(type_, current) and wanted[0] >= _WHOLE.get(current, 0)


# --- texts ---

_ESCAPE: Final = r"\\([\s\S])"
_BARE: Final = literal(r"^-?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?$")


def array_json(text: str, source_type: str) -> str:
    """Return the expression that turns a PostgreSQL array literal into JSON text.

    Numbers stay bare, digit for digit, where the elements are numbers; ``NaN`` and the infinities become strings, as
    does every element of another type but NULL and booleans. Bounds (``[2:4]=``) are left out.

    :param text: an expression with the literal.
    :param source_type: declaration at the source, e.g. ``integer[]``.
    """
    delimiter = delimiter_of(source_type)
    # Unrolled: Java's regular expressions recurse into a repeated group, and a long element would be too deep.
    token = rf'"[^"\\]*(?:\\[\s\S][^"\\]*)*"|[{{}}{delimiter}]|[^{{}}"{delimiter}]+'
    bounds = literal(r"^(\[-?[0-9]+:-?[0-9]+\])+=")
    tokens = f"regexp_extract_all(regexp_replace({text}, {bounds}, ''), {literal(token)}, 0)"
    return f"array_join(transform({tokens}, _elt_x -> {_element(source_type, delimiter)}), '')"


def _element(source_type: str, delimiter: str) -> str:
    x = "_elt_x"
    unescaped = f"regexp_replace(substring({x}, 2, length({x}) - 2), {literal(_ESCAPE)}, '$1')"
    if has_numbers(source_type):
        bare = f"CASE WHEN {x} RLIKE {_BARE} THEN {x} ELSE {_quoted(x)} END"
    elif source_type.startswith("boolean"):
        bare = f"CASE {x} WHEN 't' THEN 'true' WHEN 'f' THEN 'false' ELSE {_quoted(x)} END"
    else:
        bare = _quoted(x)
    return (
        f"CASE WHEN {x} = '{{' THEN '[' WHEN {x} = '}}' THEN ']' WHEN {x} = '{delimiter}' THEN ',' "
        f"WHEN {x} = 'NULL' THEN 'null' WHEN startswith({x}, '\"') THEN {_quoted(unescaped)} ELSE {bare} END"
    )


def _quoted(text: str) -> str:
    """Return a text as a JSON string: to_json takes no bare one."""
    array = f"to_json(array({text}))"
    return f"substring({array}, 2, length({array}) - 2)"


def from_canonical(text: str, type_: str) -> str:
    """Return the expression that reads PostgreSQL's canonical text as a moment, NULL where there is no such value.

    Years count as in ISO 8601, where 1 BC is 0000 and 44 BC is -0043.
    """
    year = f"lpad(CAST(try_cast(split_part({text}, '-', 1) AS int) - 1 AS string), 4, '0')"
    rest = f"regexp_extract({text}, {literal('^[0-9]+(-.*) BC$')}, 1)"
    before_christ = f"concat('-', {year}, {rest})"
    return f"try_cast(CASE WHEN endswith({text}, ' BC') THEN {before_christ} ELSE {text} END AS {type_})"
