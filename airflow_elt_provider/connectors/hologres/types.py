"""Types of columns in a Hologres target: a part of PostgreSQL's, which a column rarely leaves again.

What Hologres has is taken from its documentation ("Data types"). It cannot widen a number, a date or a moment in
time: ``ALTER COLUMN TYPE``, from 3.0 on, only makes ``varchar``, ``char`` and ``json`` longer, or text.
"""

from __future__ import annotations

import re
from typing import Final

import pyarrow as pa

from airflow_elt_provider.connectors.postgres import destination_types as postgres
from airflow_elt_provider.connectors.postgres.destination_types import Declared
from airflow_elt_provider.core.dialect import Fit
from airflow_elt_provider.core.schema import Column
from airflow_elt_provider.core.types import JSON, MAX_PRECISION, UUID

TEXT: Final = "text"
TIMESTAMP: Final = "timestamp without time zone"
TIMESTAMPTZ: Final = "timestamp with time zone"
_PLAIN: Final = frozenset({
    "smallint", "integer", "bigint", "boolean", "real", "double precision", "bytea", "date", TIMESTAMP,
    "time without time zone", "time with time zone", "interval", "json", "jsonb", "uuid", "inet", "oid",
})  # fmt: skip
"""Types that a target declares as the source does, lengths apart. The others become text, which holds every value:
``varchar`` and ``char`` too, since they could not grow."""
_BITS: Final = frozenset({"bit", "bit varying"})
_KEYS: Final = frozenset({"smallint", "integer", "bigint", "boolean", TEXT, "date", TIMESTAMP, TIMESTAMPTZ})
"""Types that a primary key may have for certain; others are text there."""
_UNSORTED: Final = frozenset({"real", "double precision", "numeric", "json", "jsonb", "bit", "bit varying", "bytea",
                              "time with time zone"})  # fmt: skip
"""Types that neither ``clustering_key`` nor ``event_time_column`` takes."""
_UNDISTRIBUTED: Final = frozenset({"real", "double precision", "numeric", "json", "jsonb", "bytea"})
_ARROW: Final[tuple[tuple[pa.DataType, str], ...]] = (
    (pa.bool_(), "boolean"), (pa.int16(), "smallint"), (pa.int32(), "integer"), (pa.int64(), "bigint"),
    (pa.float32(), "real"), (pa.float64(), "double precision"), (pa.binary(), "bytea"), (pa.date32(), "date"),
    (pa.time64("us"), "time without time zone"), (pa.timestamp("us"), TIMESTAMP), (JSON, "json"), (UUID, "uuid"),
)  # fmt: skip
_LENGTH: Final = re.compile(r"(?P<base>character varying|character|bpchar|json)\s*(?:\((?P<length>\d+)\))?")


def column_type(column: Column, moment: str) -> str:
    """Return the type of a new column.

    :param moment: the type of a moment in time (``timestamptz``).
    """
    declared = Declared.parse(column.source_type)
    if column.type.equals(pa.timestamp("us", "UTC")):
        return moment
    if pa.types.is_decimal(column.type):
        precision, scale = column.type.precision, column.type.scale
        return f"numeric({precision},{scale})" if 0 <= scale <= precision <= MAX_PRECISION else TEXT
    if declared.array or declared.base == "money":
        return TEXT
    base = "interval" if declared.base.startswith("interval ") else declared.base
    if base in _PLAIN:
        return base
    if base in _BITS and declared.mods:
        return column.source_type
    return next((name for kind, name in _ARROW if column.type.equals(kind) and not column.format), TEXT)


def key_type(type_: str) -> str:
    """Return the type that a column of the primary key gets."""
    return type_ if Declared.parse(type_).base in _KEYS else TEXT


def sorts(type_: str) -> bool:
    """Say whether ``clustering_key`` and ``event_time_column`` take a type."""
    declared = Declared.parse(type_)
    return not declared.array and declared.base not in _UNSORTED


def distributes(type_: str) -> bool:
    """Say whether ``distribution_key`` takes a type."""
    declared = Declared.parse(type_)
    return not declared.array and declared.base not in _UNDISTRIBUTED


def fit(current: str, arriving: str) -> Fit:
    """Say how an arriving type fits a column."""
    return postgres.fit(current, arriving)


def changeable(current: str, to: str) -> bool:
    """Say whether Hologres 3.0 and later can give a column another type."""
    found, wanted = _LENGTH.fullmatch(current), _LENGTH.fullmatch(to)
    if not found:
        return False
    if to == TEXT:
        return True
    if found["base"] == "json" or not wanted or not wanted["length"] or not found["length"]:
        return False
    room, length = int(wanted["length"]), int(found["length"])
    if wanted["base"] == "character varying":
        return room > length or (found["base"] != "character varying" and room == length)
    return wanted["base"] == found["base"] and room > length


def comparable(expression: str, type_: str) -> str:
    """Return an expression that is equal exactly when two values are the same, without PostgreSQL's own functions."""
    declared = Declared.parse(type_)
    exact = declared.base in (_PLAIN | _BITS) - {"real", "double precision", "interval", "json", "jsonb"}
    numbers = declared.base == "numeric" and declared.mods
    if not declared.array and (exact or numbers or declared.base in {TEXT, "character varying", TIMESTAMPTZ}):
        return expression
    return f"({expression})::text"
