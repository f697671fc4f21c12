"""Does the warehouse hold what the source holds? Read with each system's own driver, none of our code."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import duckdb

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from psycopg2.extensions import connection as Connection  # noqa: N812 - a class in all but its name


_RANGES = frozenset({3904, 3906, 3908, 3910, 3912, 3926})
"""Object ids of int4range, numrange, tsrange, tstzrange, daterange and int8range."""


@dataclass(frozen=True)
class Agreement:
    """How one table compares.

    :param different: rows that only one side has, counted on both sides.
    """

    table: str
    source_rows: int
    target_rows: int
    different: int


def compare(source: Connection, warehouse: Path, tables: Iterable[str], schema: str) -> list[Agreement]:
    """Compare every value of every row of some tables of schema public with those in the warehouse's schema."""
    with duckdb.connect(str(warehouse), read_only=True) as target, source.cursor() as cursor:
        cursor.execute("SET TimeZone = 'UTC'")
        target.execute("SET TimeZone = 'UTC'")
        return [_compare_one(cursor, target, table, schema) for table in tables]


def _compare_one(cursor: Any, target: duckdb.DuckDBPyConnection, table: str, schema: str) -> Agreement:
    cursor.execute(f'SELECT * FROM public."{table}" LIMIT 0')
    described = cursor.description
    columns = ", ".join(f'"{column.name}"' for column in described)
    # psycopg2 has a class of its own for ranges; their text is what both systems show.
    items = (f'"{column.name}"' + ("::text" if column.type_code in _RANGES else "") for column in described)
    cursor.execute(f'SELECT {", ".join(items)} FROM public."{table}"')
    here = Counter(tuple(map(_plain, row)) for row in cursor.fetchall())
    rows = target.execute(f'SELECT {columns} FROM "{schema}"."{table}"').fetchall()
    there = Counter(tuple(map(_plain, row)) for row in rows)
    different = sum((here - there).values()) + sum((there - here).values())
    return Agreement(table, sum(here.values()), len(rows), different)


def _plain(value: Any) -> object:
    """Return a value in a form in which both drivers agree: JSON and arrays as one text, bytes as bytes."""
    if isinstance(value, memoryview):
        return bytes(value)
    if isinstance(value, str) and value[:1] in {"{", "["}:
        try:
            value = json.loads(value)
        except ValueError:
            return value
    if isinstance(value, dict | list):
        return json.dumps(value, sort_keys=True, ensure_ascii=False)
    return value
