"""Every type arrives exact."""

from __future__ import annotations

import datetime as dt
import math
from decimal import Decimal

import pyarrow as pa
import pytest

from airflow_elt_provider.core.schema import EXTRA_COLUMNS
from airflow_elt_provider.core.system_columns import EXACT
from airflow_elt_provider.core.types import JSON, UUID
from airflow_elt_provider.errors import DataError

UTC = dt.UTC
BIG = "12345678901234567890.123456789012345678"
VALUES = [
    ("bool", "true", pa.bool_(), "", True),
    ("int2", "-32768", pa.int16(), "", -32768),
    ("int4", "2147483647", pa.int32(), "", 2147483647),
    ("int8", "9007199254740993", pa.int64(), "", 9007199254740993),
    ("float4", "1.1", pa.float32(), "", 1.100000023841858),
    ("float8", "0.1", pa.float64(), "", 0.1),
    ("float8", "'-Infinity'", pa.float64(), "", -math.inf),
    ("numeric(38,18)", BIG, pa.decimal128(38, 18), "", Decimal(BIG)),
    ("numeric(12,2)", "1.5", pa.decimal128(12, 2), "", Decimal("1.50")),
    ("numeric(12,2)", "'NaN'", pa.decimal128(12, 2), "", "NaN"),
    ("numeric(3,-2)", "12300", pa.decimal128(5, 0), "", Decimal(12300)),
    ("numeric(3,5)", "0.00123", pa.decimal128(5, 5), "", Decimal("0.00123")),
    ("numeric(100,50)", BIG, pa.string(), "decimal", BIG + "0" * 32),
    ("numeric", "1e100", pa.string(), "decimal", "1" + "0" * 100),
    ("numeric", "'NaN'", pa.string(), "decimal", "NaN"),
    ("money", "'1234.5'", pa.string(), "decimal", "1234.50"),
    ("money[]", "'{1234.5,NULL}'", pa.string(), "array", "{1234.50,NULL}"),
    ("date", "'2024-02-29'", pa.date32(), "", dt.date(2024, 2, 29)),
    ("date", "'-infinity'", pa.date32(), "", "-infinity"),
    ("date", "'0044-03-15 BC'", pa.date32(), "", "0044-03-15 BC"),
    ("date", "'10000-01-01'", pa.date32(), "", "10000-01-01"),
    ("time", "'01:02:03.000004'", pa.time64("us"), "", dt.time(1, 2, 3, 4)),
    ("time", "'24:00:00'", pa.time64("us"), "", "24:00:00"),
    ("timetz", "'01:02:03.000004+09'", pa.string(), "text", "01:02:03.000004+09"),
    ("timestamp", "'2024-01-01 01:02:03.000004'", pa.timestamp("us"), "", dt.datetime(2024, 1, 1, 1, 2, 3, 4)),
    ("timestamp", "'infinity'", pa.timestamp("us"), "", "infinity"),
    ("timestamptz", "'2024-01-01 09:00:00.000001+09'", pa.timestamp("us", "UTC"), "",
     dt.datetime(2024, 1, 1, 0, 0, 0, 1, tzinfo=UTC)),
    ("timestamptz", "'infinity'", pa.timestamp("us", "UTC"), "", "infinity"),
    ("timestamptz", "'0044-03-15 00:00:00+00 BC'", pa.timestamp("us", "UTC"), "", "0044-03-15 00:00:00+00 BC"),
    ("interval", "'1 year 2 months 3 days 04:05:06.7'", pa.string(), "interval", "1 year 2 mons 3 days 04:05:06.7"),
    ("json", """'{"a": 1,  "a":2}'""", JSON, "", '{"a": 1,  "a":2}'),
    ("jsonb", "'{\"n\": 12345678901234567890.123}'", JSON, "", '{"n": 12345678901234567890.123}'),
    ("uuid", "'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'", UUID, "", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    ("bytea", r"'\x00ff0a22'", pa.binary(), "", b'\x00\xff\n"'),
    ("int[][]", "'{{1,2},{3,4}}'", pa.string(), "array", "{{1,2},{3,4}}"),
    ("text[]", """array['a"b', NULL, 'NULL', '']""", pa.string(), "array", r'{"a\"b",NULL,"NULL",""}'),
    ("bytea[]", r"array['\x00'::bytea]", pa.string(), "array", r'{"\\x00"}'),
    ("mood", "'so so'", pa.string(), "text", "so so"),
    ("mood[]", "'{happy,\"so so\"}'", pa.string(), "array", '{happy,"so so"}'),
    ("cents", "12.5", pa.decimal128(10, 2), "", Decimal("12.50")),
    ("pair", "row(1,'a,b')", pa.string(), "text", '(1,"a,b")'),
    ("bit(3)", "B'101'", pa.string(), "text", "101"),
    ("char(5)", "'ab'", pa.string(), "", "ab   "),
    ("varchar(5)", "'ab '", pa.string(), "", "ab "),
    ("name", "'n'", pa.string(), "", "n"),
    ("point", "'(1,2.5)'", pa.string(), "text", "(1,2.5)"),
    ("tsvector", "'fat cat'::tsvector", pa.string(), "text", "'cat' 'fat'"),
    ("int4range", "'[1,5)'", pa.string(), "text", "[1,5)"),
    ("inet", "'10.0.0.1/24'", pa.string(), "text", "10.0.0.1/24"),
    ("oid", "4294967295", pa.string(), "text", "4294967295"),
    ("int2vector", "'1 2'", pa.string(), "text", "1 2"),
]  # fmt: skip
DDL = (
    "CREATE TYPE mood AS ENUM ('happy', 'so so')", "CREATE DOMAIN money_like AS numeric(10,2)",
    "CREATE DOMAIN cents AS money_like CHECK (VALUE > 0)", "CREATE TYPE pair AS (n int, s text)",
    "CREATE DOMAIN email AS varchar(50)",
)  # fmt: skip


@pytest.mark.parametrize("how", ["table", "query"])
def test_every_type(sql, read, how):
    columns = ", ".join(f"c{at} {type_}" for at, (type_, *_) in enumerate(VALUES))
    literals = ", ".join(value for _, value, *_ in VALUES)
    nulls = ", ".join("NULL" for _ in VALUES)
    sql(*DDL, f"CREATE TABLE t ({columns})", f"INSERT INTO t VALUES ({literals}), ({nulls})")
    found = read() if how == "table" else read(None, query="SELECT * FROM t -- all\n ;")
    ordinary, empty = sorted(found.rows, key=lambda row: row["c0"] is None)
    wrong = []
    for at, (type_, _, arrow, format_, value) in enumerate(VALUES):
        column = found.changes.schema.column(f"c{at}")
        if (column.type, column.format, ordinary[f"c{at}"]) != (arrow, format_, value):
            wrong.append((type_, column, ordinary[f"c{at}"]))
        assert empty[f"c{at}"] is None
    assert wrong == []
    assert found.changes.schema.wire_schema(EXTRA_COLUMNS[:1]) == found.batches[0].schema


def test_declarations(sql, read):
    sql(
        *DDL,
        "CREATE TABLE t (a numeric(12,2), b int[], c jsonb, d mood, e cents, f email, g varchar(7), h timestamp(3))",
    )
    declared = [column.source_type for column in read().changes.schema.columns]
    assert declared == ["numeric(12,2)", "integer[]", "jsonb", "mood", "numeric(10,2)", "character varying(50)",
                        "character varying(7)", "timestamp(3) without time zone"]  # fmt: skip
    of_query = [column.source_type for column in read(None, query="TABLE t").changes.schema.columns]
    assert of_query[0] == "numeric(12,2)"
    assert of_query[6] == "character varying(7)"


def test_null_is_not_empty_and_no_text_is_broken(sql, read):
    texts = [
        "",
        None,
        " ",
        ",",
        '"',
        '""',
        "a\nb",
        "a\r\nb",
        "\r",
        "\\",
        "\\.",
        "\\N",
        "NULL",
        "é日本\U0001f600",
        "t",
        "%s %",
        "\t\x01",
    ]
    sql("CREATE TABLE t (id int, a text, b text)")
    for at, text in enumerate(texts):
        value = "NULL" if text is None else "'" + text.replace("'", "''") + "'"
        sql(f"INSERT INTO t VALUES ({at}, {value}, {value})")
    rows = sorted(read().rows, key=lambda row: row["id"])
    assert [row["a"] for row in rows] == texts
    assert [row["b"] for row in rows] == texts
    assert [row["a"] for row in read(columns=("a",)).rows] == texts  # alone, where NULL is an empty line


def test_a_large_value_and_small_ones(sql, read):
    sql("CREATE TABLE t (id int, a text, b bytea)",
        r"""INSERT INTO t SELECT i, repeat(E'"x\n', 17000000 * (i % 2)),
            decode(repeat('00ff', 1000000 * (i % 2)), 'hex') FROM generate_series(1, 4) i""")  # fmt: skip
    lengths, digests = {}, {}
    found = read()
    for batch in found.batches:
        for at, number in enumerate(batch.column("id").to_pylist()):
            text = batch.column("a")[at].as_py()
            lengths[number] = len(text)
            assert not text.replace('"x\n', "")
            digests[number] = batch.column("b")[at].as_py()
    assert lengths == {1: 51_000_000, 2: 0, 3: 51_000_000, 4: 0}
    assert digests == {1: b"\x00\xff" * 1_000_000, 2: b"", 3: b"\x00\xff" * 1_000_000, 4: b""}


def test_exceptional_values_leave_their_neighbours_alone(sql, read):
    sql(
        "CREATE TABLE t (id int, a timestamptz, b numeric(6,2), c text)",
        """INSERT INTO t SELECT i,
           CASE WHEN i = 70000 THEN 'infinity' ELSE '2024-01-01'::timestamptz + i * interval '1 s' END,
           CASE WHEN i IN (70000, 70001) THEN 'NaN' ELSE i / 100.0 END, repeat('x', 60)
           FROM generate_series(1, 90000) i""",
    )
    found = read()
    with_exact = [batch for batch in found.batches if EXACT in batch.schema.names]
    assert len(found.batches) > 1
    assert len(with_exact) == 1
    assert with_exact[0].column(EXACT).drop_null().to_pylist() == ['{"a": "infinity", "b": "NaN"}', '{"b": "NaN"}']
    rows = {row["id"]: row for row in found.rows}
    assert len(rows) == 90000
    assert rows[69999]["a"] == dt.datetime(2024, 1, 1, tzinfo=UTC) + dt.timedelta(seconds=69999)
    assert rows[70002]["b"] == Decimal("700.02")
    assert (rows[70000]["a"], rows[70000]["b"], rows[70001]["b"]) == ("infinity", "NaN", "NaN")


@pytest.mark.parametrize(("declared", "value", "wanted", "expected"), [
    ("numeric", "1.500", "decimal(18,2)", Decimal("1.50")),
    ("numeric", "'NaN'", "decimal(18,2)", "NaN"),
    ("text", "'12.5'", "decimal(4,1)", Decimal("12.5")),
    ("numeric(10,2)", "7.00", "bigint", 7),
    ("int4", "7", "text", "7"),
    ("text", "'9007199254740993'", "int64", 9007199254740993),
    ("bytea", r"'\x01'", "text", r"\x01"),
    ("text", "'é'", "bytea", "é".encode()),
    ("timestamptz", "'2024-01-01 09:00+09'", "timestamp", dt.datetime(2024, 1, 1)),
    ("timestamp", "'2024-01-01 09:00'", "timestamptz", dt.datetime(2024, 1, 1, 9, tzinfo=UTC)),
    ("date", "'2024-01-01'", "timestamptz", dt.datetime(2024, 1, 1, tzinfo=UTC)),
    ("timestamp", "'2024-01-01'", "date", dt.date(2024, 1, 1)),
    ("timestamp", "'infinity'", "date", "infinity"),
    ("text", "'2024-01-01T00:00:00Z'", "timestamptz", dt.datetime(2024, 1, 1, tzinfo=UTC)),
    ("int4", "1", "boolean", True),
    ("bool", "false", "text", "f"),
    ("text", "'0.1'", "double", 0.1),
    ("float8", "0.1234567890123456", "double", 0.1234567890123456),
    ("text", "'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'", "uuid", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    ("text", "'{\"a\": 1}'", "json", '{"a": 1}'),
    ("int[]", "'{1,2}'", "json", "[1,2]"),
    ("text", "'10:11:12'", "time", dt.time(10, 11, 12)),
])  # fmt: skip
def test_a_chosen_type(sql, read, declared, value, wanted, expected):
    sql(f"CREATE TABLE t (c {declared})", f"INSERT INTO t VALUES ({value})")
    found = read(column_types={"c": wanted})
    assert found.rows == [{"c": expected}]
    assert found.changes.schema.columns[0].source_type == ("double precision" if declared == "float8" else "")


@pytest.mark.parametrize(("declared", "value", "wanted"), [
    ("numeric", "1.555", "decimal(18,2)"), ("numeric", "12345", "decimal(4,0)"), ("numeric", "1.5", "bigint"),
    ("int8", "70000", "smallint"), ("text", "'abc'", "int"), ("text", "'0x10'", "int"), ("int4", "2", "boolean"),
    ("timestamp", "'2024-01-01 01:00'", "date"), ("int8", "9007199254740993", "double"), ("float8", "0.1", "real"),
    ("text", "'2024-01-01 00:00:00.1234567'", "timestamp"), ("text", "'abc'", "uuid"),
])  # fmt: skip
def test_a_chosen_type_that_does_not_fit(sql, read, declared, value, wanted):
    good = {"boolean": "'1'", "date": "'2024-01-01'", "timestamp": "'2024-01-01'"}.get(wanted, "NULL")
    sql(f"CREATE TABLE t (c {declared})", f"INSERT INTO t VALUES ({good}), (NULL), ({value})")
    with pytest.raises(DataError, match="column 'c' holds") as error:
        read(column_types={"c": wanted})
    assert sql("SELECT c::text FROM t")[-1][0] in str(error.value)


def test_server_settings_do_not_matter(sql, read, dbname):
    sql(
        f"ALTER DATABASE {dbname} SET timezone = 'Asia/Tokyo'",
        f"ALTER DATABASE {dbname} SET datestyle = 'SQL, DMY'",
        f"ALTER DATABASE {dbname} SET intervalstyle = 'iso_8601'",
        f"ALTER DATABASE {dbname} SET bytea_output = 'escape'",
        f"ALTER DATABASE {dbname} SET extra_float_digits = -5",
        f"ALTER DATABASE {dbname} SET standard_conforming_strings = off",
        f"ALTER DATABASE {dbname} SET default_transaction_read_only = on",
        f"ALTER DATABASE {dbname} SET client_encoding = 'EUC_JP'",
        "SET default_transaction_read_only = off",
        "CREATE TABLE t (a timestamptz, b interval, c bytea[], d float8, e text)",
        r"INSERT INTO t VALUES ('2024-03-04 00:00+00', '1 mon 2 days', array['\x00'::bytea], 0.1234567890123456, 'é\')",
    )
    assert read(where=r"e = 'é\'").rows == [
        {"a": dt.datetime(2024, 3, 4, tzinfo=UTC), "b": "1 mon 2 days", "c": r'{"\\x00"}',
         "d": 0.1234567890123456, "e": "é\\"}
    ]  # fmt: skip
