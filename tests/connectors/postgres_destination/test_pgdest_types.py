"""Every type of PostgreSQL goes through Parquet and comes out the same, declaration included."""

from __future__ import annotations

import secrets

import pytest

from airflow_elt_provider.connectors.postgres.destination import PostgresDestination
from airflow_elt_provider.connectors.postgres.dialect import PostgresDialect
from airflow_elt_provider.connectors.postgres.settings import PostgresSettings
from airflow_elt_provider.connectors.postgres.source import PostgresSource
from airflow_elt_provider.core.dialect import Fit
from airflow_elt_provider.core.load import RunIdentity
from airflow_elt_provider.core.request import extraction, merging
from airflow_elt_provider.engine.sync import Sync
from airflow_elt_provider.stages.local import LocalStage
from tests.connectors.postgres_types import DDL, TYPES, create
from tests.connectors.staged_loads import column

AS_TEXT = {"mood", "mood[]", "pair", "int2vector", "regclass", "xid"}
OTHERWISE = {"money": "numeric", "money[]": "numeric[]", "cents": "numeric(10,2)"}


@pytest.fixture
def sync(settings: PostgresSettings, tmp_path):
    def run(**parameters):
        into = {"target_table": parameters.pop("target", "copy.t"), "mode": parameters.get("mode", "merge")}
        return Sync(
            extraction(stream="types", source_table="public.t", **parameters), merging(**into),
            RunIdentity("types", secrets.token_hex(4), "t"), PostgresSource(settings), LocalStage(tmp_path / "stage"),
            PostgresDestination(settings),
        ).execute()  # fmt: skip

    return run


@pytest.mark.parametrize("order", ["new target", "target is there"])
def test_every_type_arrives_exact(sync, execute, order):
    for statement in (*DDL, *create("t"), "CREATE SCHEMA copy"):
        execute(statement)
    if order == "target is there":
        execute("CREATE TABLE copy.t (id int PRIMARY KEY)")
    result = sync()
    assert result.nulled == {}
    wrong = []
    for at, type_ in enumerate(TYPES):
        text = f"c{at}::numeric::text" if type_ == "money" else f"c{at}::text"
        text = f"c{at}::numeric[]::text" if type_ == "money[]" else text
        of = dict(execute(f"SELECT id, {text} FROM public.t"))
        copied = dict(execute(f"SELECT id, c{at}::text FROM copy.t"))
        declared = execute(
            "SELECT t.attrelid::regclass::text, format_type(t.atttypid, t.atttypmod) FROM pg_attribute t "
            f"WHERE t.attname = 'c{at}' AND t.attrelid IN ('public.t'::regclass, 'copy.t'::regclass)"
        )
        mine = dict(declared)
        expected = "text" if type_ in AS_TEXT else OTHERWISE.get(type_, mine["t"])
        if of != copied or mine["copy.t"] != expected:
            wrong.append((type_, mine["copy.t"], expected, {i: (of[i], copied[i]) for i in of if of[i] != copied[i]}))
    assert wrong == []
    again = sync(mode="replace")
    assert (again.extracted, again.inserted, again.updated, again.deleted) == (result.extracted, 0, 0, 0)


def test_a_query_without_declarations_arrives_exact(sync, execute):
    """``column_types`` give the target's types where there is nothing else to go by."""
    execute("CREATE TABLE t (id int PRIMARY KEY, n text, j text)")
    execute("CREATE SCHEMA copy")
    execute("""INSERT INTO t VALUES (1, '12.50', '{"a":  1}')""")
    sync(column_types={"n": "decimal(18,4)", "j": "json"})
    assert execute("SELECT n::text, pg_typeof(n)::text, j::text, pg_typeof(j)::text FROM copy.t") == [
        ("12.5000", "numeric", '{"a":  1}', "json")
    ]


FITS = [
    ("integer", "smallint", Fit.FITS), ("integer", "bigint", Fit.WIDENS), ("bigint", "numeric", Fit.WIDENS),
    ("numeric", "bigint", Fit.FITS), ("numeric(10,2)", "integer", Fit.CONFLICTS),
    ("numeric(12,2)", "integer", Fit.FITS),
    ("integer", "numeric(12,2)", Fit.WIDENS), ("numeric(12,2)", "numeric(20,4)", Fit.WIDENS),
    ("numeric(12,2)", "numeric(12,4)", Fit.CONFLICTS), ("numeric", "numeric(12,4)", Fit.FITS),
    ("numeric(5)", "numeric(5,0)", Fit.FITS), ("real", "double precision", Fit.WIDENS),
    ("double precision", "real", Fit.FITS), ("double precision", "integer", Fit.CONFLICTS),
    ("character varying(5)", "character varying(50)", Fit.WIDENS), ("character varying(5)", "text", Fit.WIDENS),
    ("character varying", "character varying(5)", Fit.FITS), ("text", "character varying", Fit.FITS),
    ("text", "jsonb", Fit.FITS), ("jsonb", "text", Fit.CONFLICTS), ("json", "jsonb", Fit.CONFLICTS),
    ("character(3)", "character(5)", Fit.CONFLICTS), ("bit(3)", "bit(4)", Fit.CONFLICTS),
    ("timestamp(3) without time zone", "timestamp without time zone", Fit.WIDENS),
    ("timestamp without time zone", "timestamp(3) without time zone", Fit.FITS),
    ("timestamp without time zone", "timestamp with time zone", Fit.CONFLICTS),
    ("integer[]", "bigint[]", Fit.WIDENS), ("integer[]", "integer", Fit.CONFLICTS),
    ("character varying(3)[]", "text[]", Fit.WIDENS), ("money", "numeric", Fit.CONFLICTS),
    ("my.mood", "text", Fit.CONFLICTS), ("boolean", "boolean", Fit.SAME), ("interval", "interval(3)", Fit.FITS),
]  # fmt: skip


@pytest.mark.parametrize(("current", "arriving", "fit"), FITS)
def test_how_types_fit(current, arriving, fit):
    assert PostgresDialect().fit(current, arriving) is fit


@pytest.mark.parametrize(
    ("source_type", "version", "declared"),
    [
        ("int4multirange", 130_000, "text"), ("int4multirange", 140_000, "int4multirange"),
        ("numeric(3,-2)", 140_000, "text"), ("numeric(3,-2)", 150_000, "numeric(3,-2)"),
        ("myschema.integer", 150_000, "text"), ("geometry(Point,4326)", 150_000, "text"),
        ("interval day to second(3)", 110_000, "interval day to second(3)"), ("hstore", 150_000, "text"),
    ],
)  # fmt: skip
def test_what_a_server_does_not_know_is_text(source_type, version, declared):
    assert PostgresDialect(version).column_type(column("c text", format="text", source_type=source_type)) == declared
