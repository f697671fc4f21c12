"""Arrow types as DuckDB's types, how they fit each other, and texts that become DuckDB's values."""

from __future__ import annotations

import re
from typing import Final

import pyarrow as pa

from airflow_elt_provider.core.array_literal import delimiter_of, has_numbers
from airflow_elt_provider.core.dialect import Fit
from airflow_elt_provider.core.fitting import Numbers, fitting
from airflow_elt_provider.core.schema import Column
from airflow_elt_provider.core.types import JSON, UUID

TEXT: Final = "VARCHAR"
TIMESTAMPTZ: Final = "TIMESTAMP WITH TIME ZONE"

_TYPES: Final[tuple[tuple[pa.DataType, str], ...]] = (
    (pa.bool_(), "BOOLEAN"), (pa.int16(), "SMALLINT"), (pa.int32(), "INTEGER"), (pa.int64(), "BIGINT"),
    (pa.float32(), "FLOAT"), (pa.float64(), "DOUBLE"), (pa.binary(), "BLOB"), (pa.date32(), "DATE"),
    (pa.time64("us"), "TIME"), (pa.timestamp("us"), "TIMESTAMP"), (pa.timestamp("us", "UTC"), TIMESTAMPTZ),
    (JSON, "JSON"), (UUID, "UUID"),
)  # fmt: skip


def column_type(column: Column) -> str:
    """Return the type of a column, as DuckDB's catalog spells it.

    Arrays of the source are JSON; other values without an Arrow type are kept as the source's own exact text.
    """
    if column.format == "array":
        return "JSON"
    if pa.types.is_decimal(column.type):
        return f"DECIMAL({column.type.precision},{column.type.scale})"
    return next((name for kind, name in _TYPES if column.type.equals(kind)), TEXT)


# --- how types fit ---

_NUMBERS: Final = Numbers(
    {"TINYINT": (7, 3), "SMALLINT": (15, 5), "INTEGER": (31, 10), "BIGINT": (63, 19), "HUGEINT": (127, 39)},
    {"FLOAT": 24, "DOUBLE": 53},
    re.compile(r"DECIMAL\((\d+),(\d+)\)"),
)


def fit(current: str, arriving: str) -> Fit:
    """Say how an arriving type fits a column; see :class:`Fit`. Text holds every value, in its canonical text."""
    return fitting(current, arriving, TEXT, _NUMBERS.holds)


# --- texts ---

_BARE: Final = r"^-?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?$"


def array_json(text: str, source_type: str) -> str:
    """Return the expression that turns a PostgreSQL array literal into JSON text.

    Numbers stay bare, digit for digit, where the elements are numbers; ``NaN`` and the infinities become strings, as
    does every element of another type but NULL and booleans. Bounds (``[2:4]=``) are left out.

    :param text: an expression with the literal.
    :param source_type: declaration at the source, e.g. ``integer[]``.
    """
    delimiter = delimiter_of(source_type)
    token = rf'"(?:[^"\\]|\\[\s\S])*"|[{{}}{delimiter}]|[^{{}}"{delimiter}]+'
    body = f"regexp_replace({text}, '^(\\[-?[0-9]+:-?[0-9]+\\])+=', '')"
    tokens = f"regexp_extract_all({body}, '{token}')"
    return f"array_to_string(list_transform({tokens}, lambda x: {_element(source_type, delimiter)}), '')"


def _element(source_type: str, delimiter: str) -> str:
    unescaped = r"regexp_replace(x[2:-2], '\\([\s\S])', '\1', 'g')"
    if has_numbers(source_type):
        bare = f"CASE WHEN regexp_matches(x, '{_BARE}') THEN x ELSE CAST(to_json(x) AS VARCHAR) END"
    elif source_type.startswith("boolean"):
        bare = "CASE x WHEN 't' THEN 'true' WHEN 'f' THEN 'false' ELSE CAST(to_json(x) AS VARCHAR) END"
    else:
        bare = "CAST(to_json(x) AS VARCHAR)"
    return (
        f"CASE WHEN x = '{{' THEN '[' WHEN x = '}}' THEN ']' WHEN x = '{delimiter}' THEN ',' "
        f"WHEN x = 'NULL' THEN 'null' WHEN x[1] = '\"' THEN CAST(to_json({unescaped}) AS VARCHAR) ELSE {bare} END"
    )


def from_canonical(text: str, type_: str) -> str:
    """Return the expression that reads PostgreSQL's canonical text as a value, NULL where DuckDB has no such value.

    DuckDB writes years before Christ as ``0044-03-15 (BC)`` where PostgreSQL appends ``BC``.
    """
    if type_ in {"DATE", "TIMESTAMP", TIMESTAMPTZ}:
        text = rf"regexp_replace({text}, '^([0-9]+-[0-9]+-[0-9]+)(.*) BC$', '\1 (BC)\2')"
    return f"TRY_CAST({text} AS {type_})"
