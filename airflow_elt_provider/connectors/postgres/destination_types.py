"""Types of columns in a PostgreSQL target: how they are declared, fit each other, and compare."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from airflow_elt_provider.core.dialect import Fit
from airflow_elt_provider.core.schema import Column
from airflow_elt_provider.core.types import JSON, UUID

_PARTS: Final = re.compile(r"(?P<head>[^(\[]+?)\s*(?:\((?P<mods>[-\d, ]+)\))?(?P<tail>[^(\[]*?)(?P<array>(?:\[\])*)")
_PG_13, _PG_14, _PG_15 = 130_000, 140_000, 150_000

_NATIVE: Final = frozenset({
    "smallint", "integer", "bigint", "boolean", "text", "character varying", "character", "bpchar", "name", '"char"',
    "bytea", "date", "time without time zone", "time with time zone", "timestamp without time zone",
    "timestamp with time zone", "uuid", "inet", "cidr", "macaddr", "macaddr8", "bit", "bit varying", "tsvector", "oid",
    "pg_lsn", "int4range", "int8range", "tsrange", "tstzrange", "daterange", "money",
})  # fmt: skip
"""Types whose ``=`` is true exactly for equal values."""
_AS_TEXT: Final = frozenset({
    "numeric", "json", "jsonb", "xml", "interval", "tsquery", "numrange", "point", "line", "lseg", "box", "path",
    "polygon", "circle",
})  # fmt: skip
"""Types that have no ``=``, or one that calls different values equal: 1.0 and 1.00, 1 month and 30 days."""
_SINCE: Final = {
    "int4multirange": _PG_14, "int8multirange": _PG_14, "nummultirange": _PG_14, "tsmultirange": _PG_14,
    "tstzmultirange": _PG_14, "datemultirange": _PG_14, "jsonpath": 120_000,
}  # fmt: skip
_REAL, _DOUBLE, _TEXT, _NUMERIC, _VARCHAR = "real", "double precision", "text", "numeric", "character varying"
_COLLATED: Final = frozenset({_TEXT, _VARCHAR, "character", "bpchar"})
_FIXED: Final = frozenset({"character", "bit"})
"""Types that mean length 1 where no length is given."""
_ARROW: Final[tuple[tuple[pa.DataType, str], ...]] = (
    (pa.bool_(), "boolean"), (pa.int16(), "smallint"), (pa.int32(), "integer"), (pa.int64(), "bigint"),
    (pa.float32(), _REAL), (pa.float64(), _DOUBLE), (pa.binary(), "bytea"), (pa.date32(), "date"),
    (pa.time64("us"), "time without time zone"), (pa.timestamp("us"), "timestamp without time zone"),
    (pa.timestamp("us", "UTC"), "timestamp with time zone"), (JSON, "json"), (UUID, "uuid"),
)  # fmt: skip
_FORMATS: Final = {"decimal": _NUMERIC, "interval": "interval"}


@dataclass(frozen=True)
class Declared:
    """A type as ``format_type`` spells it.

    :param base: e.g. ``character varying``, ``timestamp without time zone``.
    :param mods: numbers in parentheses.
    """

    base: str
    mods: tuple[int, ...] = ()
    array: bool = False

    @classmethod
    def parse(cls, text: str) -> Declared:
        """Read ``numeric(12,2)``, ``timestamp(3) without time zone``, ``character varying(20)[]`` and the like."""
        found = _PARTS.fullmatch(text)
        if not found:
            return cls(text)
        mods = tuple(int(mod) for mod in found["mods"].split(",")) if found["mods"] else ()
        return cls(found["head"] + found["tail"], mods, bool(found["array"]))


# --- declaring ---


def column_type(column: Column, server_version: int) -> str:
    """Return the type of a new column: the source's own where it is built in, else one that holds every value.

    :param server_version: of the target's server, which may lack types that the source has.
    """
    declared = Declared.parse(column.source_type)
    if declared.base == "money":  # its text depends on the server's locale; it arrives as a plain number
        return f"{_NUMERIC}[]" if declared.array else _NUMERIC
    if _known(declared, server_version):
        return column.source_type
    if pa.types.is_decimal(column.type):
        return f"numeric({column.type.precision},{column.type.scale})"
    own = next((name for kind, name in _ARROW if column.type.equals(kind)), None)
    return own or _FORMATS.get(column.format, _TEXT)


def _known(declared: Declared, server_version: int) -> bool:
    if declared.base == _NUMERIC and len(declared.mods) > 1:
        precision, scale = declared.mods
        return 0 <= scale <= precision or server_version >= _PG_15
    base = "interval" if re.fullmatch("interval [a-z ]+", declared.base) else declared.base
    return base in _NATIVE | _AS_TEXT | {_REAL, _DOUBLE} or server_version >= _SINCE.get(base, 1 << 30)


# --- fitting ---

_INTEGER_DIGITS: Final = {"smallint": 5, "integer": 10, "bigint": 19}


def fit(current: str, arriving: str) -> Fit:
    """Say how an arriving type fits a column; see :class:`Fit`. Text holds every value, in its canonical text."""
    if current == arriving:
        return Fit.SAME
    if current == _TEXT:
        return Fit.FITS
    mine, theirs = Declared.parse(current), Declared.parse(arriving)
    if mine.array != theirs.array:
        return Fit.CONFLICTS
    if _holds(mine, theirs):
        return Fit.FITS
    return Fit.WIDENS if _holds(theirs, mine) else Fit.CONFLICTS


def _holds(wide: Declared, narrow: Declared) -> bool:
    """Whether a type has every value of another, exactly."""
    if wide.base == _TEXT:
        return narrow.base in {_TEXT, _VARCHAR}
    if wide.base == _NUMERIC:
        return _numeric_holds(wide, narrow)
    if wide.base in _INTEGER_DIGITS:
        return narrow.base in _INTEGER_DIGITS and _INTEGER_DIGITS[wide.base] >= _INTEGER_DIGITS[narrow.base]
    if wide.base == _DOUBLE:
        return narrow.base in {_REAL, _DOUBLE}
    if wide.base != narrow.base or wide.base in _FIXED:
        return wide == narrow
    return not wide.mods or (bool(narrow.mods) and wide.mods >= narrow.mods)


def _numeric_holds(wide: Declared, narrow: Declared) -> bool:
    digits = _INTEGER_DIGITS.get(narrow.base)
    if digits is None and narrow.base != _NUMERIC:
        return False
    if not wide.mods or (digits is None and not narrow.mods):
        return not wide.mods
    before, after = _digits(wide.mods)
    theirs = (digits, 0) if digits else _digits(narrow.mods)
    return before >= theirs[0] and after >= theirs[1]


def _digits(mods: tuple[int, ...]) -> tuple[int, int]:
    scale = mods[1] if len(mods) > 1 else 0
    return mods[0] - scale, scale


# --- comparing ---


def is_collated(type_: str) -> bool:
    """Say whether values of a type sort by a collation."""
    declared = Declared.parse(type_)
    return declared.base in _COLLATED and not declared.array


def comparable(expression: str, type_: str) -> str:
    """Return an expression that is equal exactly when two values are the same, trailing zeros and signs included."""
    declared = Declared.parse(type_)
    if not declared.array and declared.base == _DOUBLE:
        return f"pg_catalog.float8send({expression})"
    if not declared.array and declared.base == _REAL:
        return f"pg_catalog.float4send({expression})"
    if declared.base in _COLLATED and not declared.array:
        return f'{expression} COLLATE "C"'
    if declared.base in _NATIVE or (declared.base == _NUMERIC and declared.mods):
        return expression
    return f"({expression})::text"
