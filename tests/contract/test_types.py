"""Every type of PostgreSQL arrives exact, or by the declared policy: never silently changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from tests.contract.at_work import SAME, Shown
from tests.contract.world import World

pytestmark = pytest.mark.lowest


@dataclass(frozen=True)
class Case:
    """One column.

    :param values: literals at the source; what a target shows for them is in `types` of the destination at work.
    """

    type: str
    values: tuple[str | None, ...]


CASES: dict[str, Case] = {
    "c_smallint": Case("smallint", ("-32768", "32767")),
    "c_integer": Case("integer", ("-2147483648", "2147483647")),
    "c_bigint": Case("bigint", ("-9223372036854775808", "9007199254740993")),
    "c_numeric_p_s": Case("numeric(38,18)", ("12345678901234567890.123456789012345678", "-0.000000000000000001")),
    "c_numeric_nan": Case("numeric(10,2)", ("NaN", "1.50")),
    "c_numeric_wide": Case("numeric(100,50)", ("1" * 40 + "." + "3" * 50, "NaN")),
    "c_numeric": Case("numeric", ("1.10", "12345678901234567890123456789012345678901234567890.5")),
    "c_real": Case("real", ("1.5", "NaN")),
    "c_double": Case("double precision", ("0.1", "-Infinity")),
    "c_boolean": Case("boolean", ("true", "false")),
    "c_text": Case("text", ("", 'line\nbreak, "quote" \\ back\ttab\r\n日本語 🎬')),
    "c_varchar": Case("varchar(5)", ("abcde", "")),
    "c_char": Case("char(4)", ("ab", "abcd")),
    "c_bytea": Case("bytea", ("\\x00ff0a22", "\\x")),
    "c_date": Case("date", ("2024-02-29", "infinity")),
    "c_date_bc": Case("date", ("0044-03-15 BC", "-infinity")),
    "c_timestamp": Case("timestamp", ("2024-01-01 00:00:00.000001", "-infinity")),
    "c_timestamptz": Case("timestamptz", ("2024-06-01 12:00:00.123456+09", "infinity")),
    "c_timestamptz_far": Case("timestamptz", ("12024-06-01 12:00:00+00", "0044-03-15 10:00:00+00 BC")),
    "c_time": Case("time", ("01:02:03.000004", "24:00:00")),
    "c_timetz": Case("timetz", ("01:02:03+09", "24:00:00-05")),
    "c_interval": Case("interval", ("1 year 2 months 3 days 04:05:06.789", "-1 day +02:00")),
    "c_uuid": Case("uuid", ("A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "00000000-0000-0000-0000-000000000000")),
    "c_json": Case("json", ('{"a" : 1,  "a": 2}', "null")),
    "c_jsonb": Case("jsonb", ('{"n": 12345678901234567890.123}', '"ü"')),
    "c_int_array": Case("integer[]", ("{{1,2},{3,NULL}}", "{}")),
    "c_text_array": Case("text[]", ('{"a,b","c\\"d","\\\\",NULL,"NULL",""}', '{"{x}","ü\n"}')),
    "c_bool_array": Case("boolean[]", ("{t,f,NULL}", "{t}")),
    "c_bound_array": Case("integer[]", ("[2:4]={7,8,9}", "{1}")),
    "c_enum": Case("mood", ("sad", "very happy")),
    "c_domain": Case("positive", ("1", "77")),
    "c_bit": Case("bit(3)", ("101", "000")),
    "c_varbit": Case("bit varying(8)", ("1", "10101010")),
    "c_money": Case("money", ("$1,234.56", "-$0.01")),
    "c_int4range": Case("int4range", ("[1,10)", "empty")),
    "c_tstzrange": Case("tstzrange", ("[2024-01-01 00:00:00+00,)", "(,)")),
    "c_inet": Case("inet", ("10.0.0.1/8", "::1")),
    "c_cidr": Case("cidr", ("10.0.0.0/8", "2001:db8::/32")),
    "c_macaddr": Case("macaddr", ("08:00:2b:01:02:03", "00:00:00:00:00:00")),
    "c_point": Case("point", ("(1.5,-2)", "(0,0)")),
    "c_tsvector": Case("tsvector", ("'fat':2 'rat':3", "")),
    "c_composite": Case("pair", ('(1,"a b")', "(,)")),
    "c_pg_lsn": Case("pg_lsn", ("16/B374D848", "0/0")),
}


@pytest.fixture
def typed(world: World) -> World:
    """Fill a table with a row of first values, one of second values, and one of NULLs."""
    world.run_at_source(
        "CREATE TYPE mood AS ENUM ('sad', 'very happy'); CREATE DOMAIN positive AS integer CHECK (VALUE > 0); "
        "CREATE TYPE pair AS (a int, b text)"
    )
    columns = ", ".join(f"{name} {case.type}" for name, case in CASES.items())
    world.run_at_source(f"CREATE TABLE typed (id int PRIMARY KEY, {columns})")
    for number in (0, 1):
        values = [case.values[number] for case in CASES.values()]
        casts = ", ".join(f"%s::{case.type}" for case in CASES.values())
        world.run_at_source(f"INSERT INTO typed VALUES ({number}, {casts})", *values)
    world.run_at_source("INSERT INTO typed (id) VALUES (2)")
    world.table, world.target = "public.typed", "raw.typed"
    return world


def shown_at_source(world: World) -> dict[str, list[Any]]:
    """Return each column's texts."""
    world.run_at_source(f"ALTER DATABASE {world.dbname} SET TimeZone = 'UTC'")
    items = ", ".join(f"{name}::text" for name in CASES)
    rows = world.run_at_source(f"SELECT {items} FROM typed ORDER BY id")
    return dict(zip(CASES, map(list, zip(*rows, strict=True)), strict=True))


def shown_at_target(world: World) -> dict[str, list[Any]]:
    """Return each column's texts."""
    items = ", ".join(map(world.destination.text, CASES))
    rows = world.destination.query(f"SELECT {items} FROM {world.name} ORDER BY id")
    return dict(zip(CASES, map(list, zip(*rows, strict=True)), strict=True))


def test_values_arrive_exact(typed: World) -> None:
    """First load, then a full refresh that changes nothing, then every value set anew by an update."""
    first = typed.sync(mode="merge")
    assert first.inserted == 3
    again = typed.sync(mode="merge")
    assert (again.inserted, again.updated) == (0, 0), "what arrived must be recognised as the same"
    compare(typed)
    for before, after in ((0, 99), (1, 0), (99, 1)):
        typed.run_at_source(f"UPDATE typed SET id = {after} WHERE id = {before}")
    assert typed.sync(mode="merge").updated == 2
    compare(typed, swapped=True)


def compare(world: World, *, swapped: bool = False) -> None:
    """Hold the target's texts and types against the source's, or against what is declared for the destination."""
    source, target = shown_at_source(world), shown_at_target(world)
    expected = {}
    for name in CASES:
        texts = world.destination.types.get(name, Shown()).texts
        both = source[name][:2] if texts == SAME else list(reversed(texts)) if swapped else list(texts)
        expected[name] = [*both, None]
    assert {name: (texts, expected[name]) for name, texts in target.items() if texts != expected[name]} == {}
    types = world.destination.columns(world.target)
    declared = {name: shown.type for name, shown in world.destination.types.items() if shown.type}
    assert {name: types[name] for name, type_ in declared.items() if types[name] != type_} == {}


def test_what_the_destination_cannot_hold_is_counted(typed: World) -> None:
    """Such values are NULL there (a decimal's NaN in DuckDB), and the result says how often."""
    assert typed.sync(mode="merge").nulled == typed.destination.nulled
