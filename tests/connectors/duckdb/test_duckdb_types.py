"""What becomes of every PostgreSQL type in DuckDB."""

from __future__ import annotations

import json
import secrets

import psycopg2
import pytest

from airflow_elt_provider.connectors.duckdb import types
from airflow_elt_provider.connectors.postgres.settings import PostgresSettings
from airflow_elt_provider.connectors.postgres.source import PostgresSource
from airflow_elt_provider.core.dialect import Fit
from airflow_elt_provider.core.load import RunIdentity
from airflow_elt_provider.core.request import extraction, merging
from airflow_elt_provider.engine.sync import Sync
from airflow_elt_provider.errors import DataError
from airflow_elt_provider.stages.local import LocalStage
from servers.postgres import PostgresServer
from tests.connectors.postgres_types import DDL, TYPES, create

JSON_ARRAYS = {
    "int[]": [[1, None, -3], [], [[1, 2], [3, 4]], [1, 2, 3], [[1, 2], [3, 4]]],
    "numeric[]": ['[1.50,"NaN",100000000000000000000]'],
    "float8[]": ['[1.5,"NaN","Infinity","-Infinity",1e+300,-0]'],
    "bool[]": [[True, False, None]],
    "text[]": [['a"b', None, "NULL", "", "c,d", "{e}", "f\ng", "back\\slash", "日本", " "],
               [["a", "b"], ["c", None]], []],
    "varchar(3)[]": [["abc"]],
    "date[]": [["2024-01-01", "infinity"]],
    "timestamptz[]": [["2024-01-01 00:00:00+00"]],
    "bytea[]": [["\\x00", "\\x"]],
    "jsonb[]": [['{"a": 1}', "null", None]],
    "box[]": [["(2,2),(1,1)", "(4,4),(3,3)"]],
    "money[]": ["[1234.50,null]"],
    "mood[]": [["happy", "so so"]],
}  # fmt: skip
DECLARED = {
    "bool": "BOOLEAN", "int2": "SMALLINT", "int4": "INTEGER", "int8": "BIGINT", "float4": "FLOAT", "float8": "DOUBLE",
    "numeric(38,18)": "DECIMAL(38,18)", "numeric(12,2)": "DECIMAL(12,2)", "numeric(3,-2)": "DECIMAL(5,0)",
    "numeric(3,5)": "DECIMAL(5,5)", "cents": "DECIMAL(10,2)", "date": "DATE", "time": "TIME", "time(0)": "TIME",
    "timestamp": "TIMESTAMP", "timestamp(3)": "TIMESTAMP", "timestamptz": "TIMESTAMP WITH TIME ZONE", "json": "JSON",
    "jsonb": "JSON", "uuid": "UUID", "bytea": "BLOB",
}  # fmt: skip
NULLED = {
    "numeric(12,2)": 1, "cents": 1,  # NaN
}  # fmt: skip


@pytest.fixture(scope="module")
def server():
    with PostgresServer() as running:
        yield running


@pytest.fixture
def source(server):
    """Lend a source, and a way to run SQL there."""
    with server.database() as dbname:
        connection = server.connect(dbname, options="-c TimeZone=UTC")
        connection.autocommit = True

        def run(sql):
            with connection.cursor() as cursor:
                cursor.execute(sql)
                return cursor.fetchall() if cursor.description else []

        run.settings = PostgresSettings.parse(psycopg2.extensions.parse_dsn(server.dsn(dbname)))
        yield run
        connection.close()


@pytest.fixture
def sync(source, destination, tmp_path):
    def run(**parameters):
        return Sync(
            extraction(stream="types", source_table="public.t", **parameters),
            merging(target_table="raw.t", mode=parameters.get("mode", "merge")),
            RunIdentity("types", secrets.token_hex(4), "t"), PostgresSource(source.settings),
            LocalStage(tmp_path / "stage"), destination,
        ).execute()  # fmt: skip

    return run


def canonical(value: str | None) -> str | None:
    """PostgreSQL's text as DuckDB writes it."""
    if value is None or not value.endswith(" BC"):
        return value
    day, _, rest = value.removesuffix(" BC").partition(" ")
    return f"{day} (BC){' ' if rest else ''}{rest}"


def test_every_type_arrives_exact_or_is_counted(source, sync, query):
    for statement in (*DDL, *create("t")):
        source(statement)
    result = sync()
    names = {f"c{at}": type_ for at, type_ in enumerate(TYPES)}
    assert {names[column]: count for column, count in result.nulled.items()} == NULLED
    wrong = []
    declared = dict(query("SELECT column_name, data_type FROM duckdb_columns() WHERE table_name = 't'"))
    for at, type_ in enumerate(TYPES):
        kind = "JSON" if type_ in JSON_ARRAYS else DECLARED.get(type_, "VARCHAR")
        if declared[f"c{at}"] != kind:
            wrong.append((type_, declared[f"c{at}"]))
        values = [row[0] for row in query(f"SELECT c{at}::VARCHAR FROM raw.t ORDER BY id")]
        if type_ in JSON_ARRAYS:
            expected = JSON_ARRAYS[type_]
            read = [
                value if isinstance(want, str) else json.loads(value)
                for want, value in zip(expected, values, strict=False)
            ]
            if read != expected or any(values[len(expected) :]):
                wrong.append((type_, values))
        elif type_ not in {"bool", "float4", "float8", "bytea"}:
            value = f"c{at}::numeric" if type_ == "money" else f"c{at}"
            text = f"CASE WHEN c{at} IS NOT NULL THEN format('%s', {value}) END"  # what COPY writes; not always ::text
            values = [f"0{value}" if value and value.startswith(".") else value for value in values]  # DECIMAL(5,5)
            of = [canonical(row[0]) for row in source(f"SELECT {text} FROM t ORDER BY id")]
            off = [(want, got) for want, got in zip(of, values, strict=True) if want != got]
            if len(off) != NULLED.get(type_, 0) or any(want != "NaN" for want, _ in off):
                wrong.append((type_, off))
    assert wrong == []
    again = sync(mode="replace")
    assert (again.inserted, again.updated, again.deleted) == (0, 0, 0)


def test_floats_bytes_and_truths_arrive_exact(source, sync, query):
    for statement in (*DDL, *create("t")):
        source(statement)
    sync()
    for type_ in ("bool", "float4", "float8", "bytea"):
        at = list(TYPES).index(type_)
        mine = [row[0] for row in query(f"SELECT c{at} FROM raw.t ORDER BY id")]
        theirs = [row[0] for row in source(f"SELECT c{at}{'::float8' if type_ == 'float4' else ''} FROM t ORDER BY id")]
        theirs = [bytes(value) if isinstance(value, memoryview) else value for value in theirs]
        assert repr(mine) == repr(theirs), type_


def test_json_that_duckdb_cannot_read_is_refused_not_changed(source, sync, query):
    source("CREATE TABLE t (id int PRIMARY KEY, j json)")
    source(r"""INSERT INTO t VALUES (1, '{"a": "\ud800"}')""")
    with pytest.raises(DataError, match="column_types"):
        sync()
    sync(column_types={"j": "text"})
    assert query("SELECT j FROM raw.t") == [(r'{"a": "\ud800"}',)]


def test_defaults_of_added_columns_are_read_like_values(source, sync, query):
    source("CREATE TABLE t (id int PRIMARY KEY, n int)")
    source("INSERT INTO t VALUES (1, 1), (2, 2)")
    sync(capture="cursor", cursor_column="n")
    source("""ALTER TABLE t ADD a int[] DEFAULT '{1,2}', ADD b bytea DEFAULT '\\xff',
              ADD c date DEFAULT '0044-03-15 BC',
              ADD d timestamptz DEFAULT 'infinity', ADD e jsonb DEFAULT '{"x": 1}', ADD f uuid DEFAULT
              'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', ADD g boolean DEFAULT true""")
    source("UPDATE t SET n = 3, a = NULL WHERE id = 2")
    sync(capture="cursor", cursor_column="n")
    columns = "a::VARCHAR, hex(b), c::VARCHAR, d::VARCHAR, e::VARCHAR, f::VARCHAR, g"
    rest = ("FF", "0044-03-15 (BC)", "infinity", '{"x": 1}', "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", True)
    assert query(f"SELECT {columns} FROM raw.t ORDER BY id") == [("[1,2]", *rest), (None, *rest)]


FITS = [
    ("INTEGER", "SMALLINT", Fit.FITS), ("INTEGER", "BIGINT", Fit.WIDENS), ("BIGINT", "HUGEINT", Fit.WIDENS),
    ("DECIMAL(12,2)", "DECIMAL(20,4)", Fit.WIDENS), ("DECIMAL(12,2)", "DECIMAL(12,4)", Fit.CONFLICTS),
    ("BIGINT", "DECIMAL(19,0)", Fit.WIDENS), ("BIGINT", "DECIMAL(20,2)", Fit.CONFLICTS),
    ("DECIMAL(20,2)", "INTEGER", Fit.FITS), ("FLOAT", "DOUBLE", Fit.WIDENS), ("DOUBLE", "FLOAT", Fit.FITS),
    ("INTEGER", "DOUBLE", Fit.WIDENS), ("BIGINT", "DOUBLE", Fit.CONFLICTS), ("VARCHAR", "JSON", Fit.FITS),
    ("JSON", "VARCHAR", Fit.CONFLICTS), ("DATE", "TIMESTAMP", Fit.CONFLICTS), ("BLOB", "BLOB", Fit.SAME),
    ("INTEGER[]", "JSON", Fit.CONFLICTS),
]  # fmt: skip


@pytest.mark.parametrize(("current", "arriving", "fit"), FITS)
def test_how_types_fit(current, arriving, fit):
    assert types.fit(current, arriving) is fit
