"""Every type of MariaDB arrives exactly, or is refused by name."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from airflow_elt_provider.core.types import JSON, UUID
from airflow_elt_provider.errors import DataError

pytestmark = pytest.mark.heavy

VALUES = [
    ("tinyint(1)", "2", 2), ("tinyint unsigned", "255", 255), ("smallint unsigned", "65535", 65535),
    ("mediumint unsigned", "16777215", 16777215), ("int unsigned zerofill", "42", 42),
    ("bigint", "-9223372036854775808", -(1 << 63)), ("bigint unsigned", "18446744073709551615", Decimal((1 << 64) - 1)),
    ("decimal(38,10)", "1234567890123456789012345678.0123456789", Decimal("1234567890123456789012345678.0123456789")),
    ("decimal(65,30)", "-12345678901234567890123456789012345.123456789012345678901234567890",
     "-12345678901234567890123456789012345.123456789012345678901234567890"),
    ("float", "16777216", 16777216.0), ("float", "1.1", 1.100000023841858), ("float(7,3)", "1.1", 1.100000023841858),
    ("double", "0.1", 0.1), ("double", "5e-324", 5e-324), ("double", "1.7976931348623157e308", 1.7976931348623157e308),
    ("double(8,2)", "1.25", 1.25), ("bit(1)", "b'1'", True), ("bit(9)", "b'100000001'", 257),
    ("bit(64)", "b'1111111111111111111111111111111111111111111111111111111111111111'", Decimal((1 << 64) - 1)),
    ("year", "2024", 2024), ("year", "0", 0), ("date", "'2024-02-29'", date(2024, 2, 29)),
    ("date", "'0000-00-00'", "0000-00-00"), ("date", "'2024-00-15'", "2024-00-15"),
    ("date", "'0000-01-01'", "0000-01-01"), ("date", "'9999-12-31'", date(9999, 12, 31)),
    ("datetime(6)", "'2024-01-01 01:02:03.000004'", datetime(2024, 1, 1, 1, 2, 3, 4)),
    ("datetime", "'0000-00-00 00:00:00'", "0000-00-00 00:00:00"),
    ("timestamp(6)", "'2024-01-01 01:02:03.000004'", datetime(2024, 1, 1, 1, 2, 3, 4, UTC)),
    ("timestamp", "0", "0000-00-00 00:00:00"), ("time", "'-838:59:59'", "-838:59:59"),
    ("time(6)", "'23:59:59.999999'", "23:59:59.999999"), ("char(5)", "'ab  '", "ab"),
    ("varchar(9)", "'ab  '", "ab  "), ("varchar(9)", "''", ""), ("text", "'日本😀\\\\ \\n'", "日本😀\\ \n"),
    ("longtext", "repeat('x', 70000)", "x" * 70000),
    ("varchar(9) character set latin1", "'é'", "é"), ("varchar(9) character set latin1", "x'e9'", "é"),
    ("varchar(9) character set sjis", "'表'", "表"), ("binary(4)", "'a'", b"a\0\0\0"),
    ("varbinary(4)", "x'00ff0a'", b"\0\xff\n"),
    ("longblob", "repeat(x'00ff', 40000)", b"\0\xff" * 40000), ("enum('a','b')", "'b'", "b"),
    ("enum('a','')", "''", ""),
    ("set('a','b','c')", "'c,a'", "a,c"), ("json", """'{"a": 1.0,  "a":2}'""", '{"a": 1.0,  "a":2}'),
    ("uuid", "'123E4567-e89b-12d3-a456-426655440000'", "123e4567-e89b-12d3-a456-426655440000"),
    ("inet6", "'::1'", "::1"),
    ("point", "ST_GeomFromText('POINT(1 2)', 4326)", "0101000000000000000000F03F0000000000000040"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("type_", "value", "expected"), VALUES, ids=[f"{type_}-{value[:20]}" for type_, value, _ in VALUES]
)
def test_a_value_arrives_exactly(sql, read, type_, value, expected):
    sql(
        "SET sql_mode = 'ALLOW_INVALID_DATES'", f"CREATE TABLE t (id int PRIMARY KEY, v {type_} NULL)",
        f"INSERT INTO t VALUES (1, {value}), (2, NULL)",
    )  # fmt: skip
    rows = {row["id"]: row["v"] for row in read().rows}
    assert rows == {1: expected, 2: None}
    assert type(rows[1]) is type(expected)


def test_columns_as_they_are_told(sql, read):
    sql("CREATE TABLE t (id int PRIMARY KEY, j json, u uuid, t time, d decimal(50,2), g point, `a b``c` int invisible)")
    columns = {column.name: column for column in read().changes.schema.columns}
    assert columns["j"].type.equals(JSON)
    assert columns["u"].type.equals(UUID)
    formats = {name: column.format for name, column in columns.items()}
    assert formats == {"id": "", "j": "", "u": "", "t": "interval", "d": "decimal", "g": "text", "a b`c": ""}
    assert read().changes.schema.primary_key == ("id",)


@pytest.mark.parametrize(
    ("type_", "value", "wanted", "expected"),
    [
        ("tinyint(1)", "1", "boolean", True), ("varchar(9)", "'12.50'", "decimal(5,2)", Decimal("12.50")),
        ("time", "'08:09:10'", "time", "08:09:10"), ("float", "1.1", "text", "1.1"),
        ("datetime", "'2024-01-01'", "date", date(2024, 1, 1)),
        ("datetime", "'2024-01-01 01:00'", "timestamptz", datetime(2024, 1, 1, 1, tzinfo=UTC)),
        ("binary(16)", "x'123e4567e89b12d3a456426655440000'", "uuid", "123e4567-e89b-12d3-a456-426655440000"),
        ("binary(2)", "x'0aff'", "text", "0aff"), ("text", "'日'", "bytea", "日".encode()),
        ("text", "'[1]'", "json", "[1]"),
        ("date", "'0000-00-00'", "text", "0000-00-00"), ("bigint unsigned", "7", "bigint", 7),
    ],
)  # fmt: skip
def test_a_chosen_type(sql, read, type_, value, wanted, expected):
    sql("SET sql_mode = ''", f"CREATE TABLE t (id int, v {type_})", f"INSERT INTO t VALUES (1, {value}), (2, NULL)")
    found = read(column_types={"v": wanted}).column("v")
    assert (str(found[0]) if wanted == "time" else found[0]) == expected
    assert found[1] is None


@pytest.mark.parametrize(
    ("type_", "value", "wanted"),
    [
        ("tinyint(1)", "2", "boolean"), ("time", "'25:00:00'", "time"), ("varchar(9)", "'x'", "int"),
        ("bigint unsigned", "18446744073709551615", "bigint"), ("text", "'{'", "json"),
        ("binary(3)", "x'0102ff'", "uuid"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(sql, read, type_, value, wanted):
    sql("CREATE TABLE t (id int, v " + type_ + ")", f"INSERT INTO t VALUES (1, {value})")
    with pytest.raises(DataError, match="column 'v' holds"):
        read(column_types={"v": wanted})


def test_bad_rows_may_be_set_aside(sql, read):
    sql("CREATE TABLE t (id int PRIMARY KEY, v text)", "INSERT INTO t VALUES (1, '7'), (2, 'x'), (3, NULL), (4, 'y')")
    found = read(column_types={"v": "int"}, max_quarantined_rows=2)
    assert found.ids == [1, 3]
    refused = found.changes.quarantine.take()
    assert [(row.column, row.values["id"], row.values["v"]) for row in refused] == [("v", "2", "x"), ("v", "4", "y")]
    keys = [row["id"] for batch in found.changes.quarantine.take_keys() for row in batch.to_pylist()]
    assert keys == [2, 4]


def test_a_query_keeps_its_types(sql, read):
    sql(
        "CREATE TABLE t (id int unsigned, d decimal(60,3), b varbinary(3), f float)",
        "INSERT INTO t VALUES (1, 1, 'x', 1.1)",
    )
    row = read(query="SELECT id, d, b, f, 1.50 AS q, 'é' AS c, now(6) AS m, id + 1.5 AS s, NULL AS n FROM t").rows[0]
    assert (row["id"], row["d"], row["b"], row["f"], row["q"]) == (1, "1.000", b"x", 1.100000023841858, Decimal("1.50"))
    assert (row["c"], row["s"], row["n"], type(row["m"])) == ("é", Decimal("2.5"), None, datetime)
