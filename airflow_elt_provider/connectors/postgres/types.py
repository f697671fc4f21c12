"""PostgreSQL's types as Arrow types, and the SQL that makes COPY write a value so that nothing is lost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from airflow_elt_provider.core.types import JSON, MAX_PRECISION, UUID

_ARROW: Final[dict[str, pa.DataType]] = {
    "bool": pa.bool_(), "int2": pa.int16(), "int4": pa.int32(), "int8": pa.int64(), "float4": pa.float32(),
    "float8": pa.float64(), "date": pa.date32(), "time": pa.time64("us"), "timestamp": pa.timestamp("us"),
    "timestamptz": pa.timestamp("us", "UTC"), "bytea": pa.binary(), "json": JSON, "jsonb": JSON, "uuid": UUID,
    "text": pa.string(), "varchar": pa.string(), "bpchar": pa.string(), "name": pa.string(), "char": pa.string(),
}  # fmt: skip
_TYPMOD_HEADER: Final = 4
_SCALE_BITS: Final = 0x7FF
_SCALE_SIGN: Final = 0x400


@dataclass(frozen=True)
class PgType:
    """A type as the catalog describes it; domains are looked through to the type below.

    :param name: ``typname`` of a built-in type; "" for every other type.
    :param typmod: the modifier, -1 for none.
    :param declared: ``format_type``: how a column of it is declared.
    :param element: ``typname`` of a built-in array's elements; None for what is not an array.
    """

    name: str
    typmod: int
    declared: str
    element: str | None = None

    @property
    def numeric(self) -> tuple[int, int] | None:
        """Precision and scale that hold every value of a declared numeric; None for a numeric without limits."""
        if self.typmod < _TYPMOD_HEADER:
            return None
        bits = self.typmod - _TYPMOD_HEADER
        precision, scale = (bits >> 16) & 0xFFFF, ((bits & _SCALE_BITS) ^ _SCALE_SIGN) - _SCALE_SIGN
        if scale < 0:  # numeric(3,-2), since PostgreSQL 15: three digits and two zeros
            return precision - scale, 0
        return max(precision, scale), scale


def arrow_type(kind: PgType) -> tuple[pa.DataType, str]:
    """Return the Arrow type of a column and, where that is text for want of an exact type, the text's format."""
    if kind.element is not None:
        return pa.string(), "array"
    if kind.name == "numeric":
        limits = kind.numeric
        return (pa.decimal128(*limits), "") if limits and limits[0] <= MAX_PRECISION else (pa.string(), "decimal")
    if kind.name == "money":
        return pa.string(), "decimal"
    if kind.name == "interval":
        return pa.string(), "interval"
    known = _ARROW.get(kind.name)
    return (known, "") if known is not None else (pa.string(), "text")


def projection(kind: PgType, column: str, override: pa.DataType | None = None) -> str:
    """Return the expression that COPY writes for a column.

    Its text is the value's canonical text, but for bytea (bare hex digits) and money (a plain number, whatever
    ``lc_monetary`` says).

    :param column: the quoted column.
    :param override: the type that ``column_types`` asks for.
    """
    if override is not None:
        return _overridden(kind, column, override)
    if kind.name == "bytea":
        return f"pg_catalog.encode({column}, 'hex')"
    return _plain(kind, column)


def _plain(kind: PgType, column: str) -> str:
    if kind.name == "money":
        return f"{column}::pg_catalog.numeric"
    return f"{column}::pg_catalog.numeric[]" if kind.element == "money" else column


_TIMES: Final = frozenset({"date", "timestamp", "timestamptz"})
_TEXTS: Final = frozenset({"text", "varchar", "bpchar", "json", "jsonb"})


def _overridden(kind: PgType, column: str, wanted: pa.DataType) -> str:
    if pa.types.is_binary(wanted):
        data = column if kind.name == "bytea" else f"pg_catalog.convert_to({_plain(kind, column)}::text, 'UTF8')"
        return f"pg_catalog.encode({data}, 'hex')"
    if wanted.equals(JSON):
        return f"{column}::pg_catalog.json" if kind.name in _TEXTS else f"pg_catalog.to_json({column})"
    if pa.types.is_timestamp(wanted) and kind.name in _TIMES:  # exact, because the session's time zone is UTC
        return f"{column}::pg_catalog.{'timestamptz' if wanted.tz else 'timestamp'}"
    return _plain(kind, column)
