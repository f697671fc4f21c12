"""Arrow types as the one type language, and their names in manifests and ``column_types``."""

from __future__ import annotations

import re
from typing import Final

import pyarrow as pa

from airflow_elt_provider.errors import ConfigurationError

JSON: Final = pa.json_(pa.string())
UUID: Final = pa.uuid()

_NAMED: Final[dict[str, pa.DataType]] = {
    "bool": pa.bool_(), "int16": pa.int16(), "int32": pa.int32(), "int64": pa.int64(),
    "float": pa.float32(), "double": pa.float64(), "string": pa.string(), "binary": pa.binary(),
    "date32[day]": pa.date32(), "time64[us]": pa.time64("us"), "timestamp[us]": pa.timestamp("us"),
    "timestamp[us, tz=UTC]": pa.timestamp("us", "UTC"), "json": JSON, "uuid": UUID,
}  # fmt: skip
_SPOKEN: Final[dict[str, str]] = {
    "boolean": "bool", "smallint": "int16", "int": "int32", "integer": "int32", "bigint": "int64", "real": "float",
    "float4": "float", "float8": "double", "double precision": "double", "text": "string", "varchar": "string",
    "bytea": "binary", "bytes": "binary", "blob": "binary", "date": "date32[day]", "time": "time64[us]",
    "timestamp": "timestamp[us]", "timestamptz": "timestamp[us, tz=UTC]", "jsonb": "json",
}  # fmt: skip
_DECIMAL = re.compile(r"(?:decimal|numeric|decimal128)\s*\(\s*(\d+)\s*(?:,\s*(\d+)\s*)?\)")
MAX_PRECISION: Final = 38
"""Digits of Arrow's decimal128, and of the decimals of DuckDB, Snowflake and Databricks."""


def type_name(kind: pa.DataType) -> str:
    """Return the name under which :func:`parse_type` finds this type again."""
    for name, known in _NAMED.items():
        if kind.equals(known):
            return name
    return str(kind)


def parse_type(text: str) -> pa.DataType:
    """Read a type's name: ours (``int64``, ``timestamp[us]``) or the spoken one (``bigint``, ``decimal(18,4)``).

    :raises ConfigurationError: for an unknown name, or a decimal of more than 38 digits.
    """
    name = _SPOKEN.get(text.strip().lower(), text.strip())
    if name in _NAMED:
        return _NAMED[name]
    decimal = _DECIMAL.fullmatch(text.strip().lower())
    if decimal and 1 <= int(decimal[1]) <= MAX_PRECISION and int(decimal[2] or 0) <= int(decimal[1]):
        return pa.decimal128(int(decimal[1]), int(decimal[2] or 0))
    known = ", ".join([*_SPOKEN, "decimal(p,s) with p <= 38"])
    raise ConfigurationError(f"Unknown column type {text!r}.", hint=f"use one of {known}")


def wire_type(kind: pa.DataType) -> pa.DataType:
    """Return the type in which staged Parquet files hold a column: json and uuid travel as text, the rest as itself."""
    return pa.string() if kind.equals(JSON) or kind.equals(UUID) else kind
