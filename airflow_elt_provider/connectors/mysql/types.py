"""MySQL's types as Arrow types, and the SQL that makes the server write a value so that nothing is lost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from airflow_elt_provider.core.types import JSON, MAX_PRECISION, UUID

_SIGNED: Final[dict[str, pa.DataType]] = {
    "tinyint": pa.int16(), "smallint": pa.int16(), "mediumint": pa.int32(), "int": pa.int32(), "bigint": pa.int64(),
}  # fmt: skip
_UNSIGNED: Final[dict[str, pa.DataType]] = {
    "tinyint": pa.int16(), "smallint": pa.int32(), "mediumint": pa.int32(), "int": pa.int64(),
    "bigint": pa.decimal128(20, 0),
}  # fmt: skip
_ARROW: Final[dict[str, pa.DataType]] = {
    "float": pa.float32(), "double": pa.float64(), "year": pa.int16(), "date": pa.date32(),
    "datetime": pa.timestamp("us"), "timestamp": pa.timestamp("us", "UTC"), "json": JSON, "uuid": UUID,
    "binary": pa.binary(), "varbinary": pa.binary(), "tinyblob": pa.binary(), "blob": pa.binary(),
    "mediumblob": pa.binary(), "longblob": pa.binary(), "vector": pa.binary(), "char": pa.string(),
    "varchar": pa.string(), "tinytext": pa.string(), "text": pa.string(), "mediumtext": pa.string(),
    "longtext": pa.string(), "enum": pa.string(), "set": pa.string(),
}  # fmt: skip
_GEOMETRIES: Final = frozenset({
    "geometry", "point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon",
    "geometrycollection", "geomcollection",
})  # fmt: skip
_LONG: Final = frozenset({
    "text", "mediumtext", "longtext", "blob", "mediumblob", "longblob", "json", "vector",
}) | _GEOMETRIES  # fmt: skip
"""Types whose values may be larger than what the server lets a function return (``max_allowed_packet``)."""
TEXTS: Final = frozenset({"char", "varchar", "tinytext", "text", "mediumtext", "longtext"})
INTEGERS: Final = frozenset(_SIGNED)
_LONG_BITS: Final = 64


@dataclass(frozen=True)
class MySqlType:
    """A type as the catalog, or the description of a query's answer, tells it.

    :param name: ``DATA_TYPE``, in lower case; ``json`` also for MariaDB's column that is checked to be JSON.
    :param declared: ``COLUMN_TYPE``: how a column of it is declared.
    :param digits: of a decimal, all of them and those after the point; of ``bit``, its bits.
    """

    name: str
    declared: str
    unsigned: bool = False
    digits: tuple[int, int] = (0, 0)


def arrow_type(kind: MySqlType) -> tuple[pa.DataType, str]:
    """Return the Arrow type of a column and, where that is text for want of an exact type, the text's format."""
    if kind.name in _SIGNED:
        return (_UNSIGNED if kind.unsigned else _SIGNED)[kind.name], ""
    match kind.name:
        case "decimal":
            fits = kind.digits[0] <= MAX_PRECISION
            return (pa.decimal128(*kind.digits), "") if fits else (pa.string(), "decimal")
        case "bit":
            return _bits(kind.digits[0]), ""
        case "time":  # a span of up to 838 hours, also a negative one; only some columns hold times of day
            return pa.string(), "interval"
    known = _ARROW.get(kind.name)
    return (known, "") if known is not None else (pa.string(), "text")


def _bits(width: int) -> pa.DataType:
    if width == 1:
        return pa.bool_()
    return pa.int64() if width < _LONG_BITS else pa.decimal128(20, 0)


def projection(kind: MySqlType, column: str, override: pa.DataType | None = None) -> str:
    """Return the expression whose text is the value's canonical one; of binary types the bytes themselves.

    :param column: the quoted column.
    :param override: the type that ``column_types`` asks for: of bytes, all but bytes are made of their hex digits.
    """
    if override is not None and not pa.types.is_binary(override) and _ARROW.get(kind.name) == pa.binary():
        return _dashed(column) if override.equals(UUID) else f"LOWER(HEX({column}))"
    if kind.name in {"float", "double"}:  # by itself the server writes six digits of a float, or those declared
        return f"({column} + 0e0)"
    if kind.name in {"bit", "year"}:
        return f"({column} + 0)"
    if kind.name in _GEOMETRIES:  # four bytes of SRID, then WKB in the order x, y, whatever the SRID's own order
        return f"SUBSTRING(HEX({column}), 9)"
    return column if _is_known(kind) else f"CAST({column} AS CHAR)"


def _dashed(column: str) -> str:
    digits = f"LOWER(HEX({column}))"
    parts = ", ".join(f"SUBSTRING({digits}, {at}, {count})" for at, count in ((1, 8), (9, 4), (13, 4), (17, 4)))
    return f"IF({column} IS NULL, NULL, CONCAT_WS('-', {parts}, SUBSTRING({digits}, 21)))"


def _is_known(kind: MySqlType) -> bool:
    return kind.name in _ARROW or kind.name in _SIGNED or kind.name in {"decimal", "time", "bit", "inet4", "inet6"}


def hashed(kind: MySqlType, column: str) -> str:
    """Return a short text that is another one for every other value, and ``N`` for NULL only.

    Texts and bytes count byte by byte, whatever the collation. No such text is the beginning of another, so several can
    be joined: long values stand as their MD5, others behind their length.
    """
    if kind.name in _LONG or not _is_known(kind):
        value = column if kind.name in _LONG - {"json"} else f"CAST({column} AS CHAR)"
        return f"IFNULL(MD5({value}), 'N')"
    text = f"CAST({projection(kind, column)} AS BINARY)"
    return f"IFNULL(CONCAT(LENGTH({text}), ':', {text}), 'N')"


def exact_text(kind: MySqlType, column: str) -> str:
    """Return a column as the bytes of its UTF-8 text: compared byte by byte, trailing blanks included."""
    return f"CAST(CONVERT({projection(kind, column)} USING utf8mb4) AS BINARY)"


# --- what a query's answer tells ---

_CODES: Final = {
    1: "tinyint", 2: "smallint", 3: "int", 8: "bigint", 9: "mediumint", 4: "float", 5: "double", 0: "decimal",
    246: "decimal", 7: "timestamp", 10: "date", 14: "date", 11: "time", 12: "datetime", 13: "year", 16: "bit",
    245: "json", 247: "enum", 248: "set", 255: "geometry", 15: "varchar", 253: "varchar", 254: "char", 249: "tinytext",
    250: "mediumtext", 251: "longtext", 252: "text", 6: "char", 242: "vector",
}  # fmt: skip
_BYTES: Final = {
    "varchar": "varbinary", "char": "binary", "tinytext": "tinyblob", "mediumtext": "mediumblob",
    "longtext": "longblob", "text": "longblob",
}  # fmt: skip
_UNSIGNED_FLAG: Final = 32
_BINARY_CHARSET: Final = 63


def answered(code: int, length: int, scale: int, flags: int, charset: int) -> MySqlType:
    """Return the type of a column of a query's answer, as the protocol describes it."""
    name, unsigned = _CODES.get(code, "text"), bool(flags & _UNSIGNED_FLAG)
    if charset == _BINARY_CHARSET and code != _NULL:
        name = _BYTES.get(name, name)
    elif name == "text":
        name = "longtext"
    if name == "decimal":
        digits = length - (scale > 0) - (not unsigned)
        return MySqlType(name, f"decimal({digits},{scale})", unsigned, (digits, scale))
    if name == "bit":
        return MySqlType(name, f"bit({length})", digits=(length, 0))
    return MySqlType(name, f"{name} unsigned" if unsigned and name in _SIGNED else name, unsigned)


_NULL: Final = 6
