"""Types, keys, changes of types, and table_options."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from decimal import Decimal

import pytest

from airflow_elt_provider.connectors.hologres.destination import HologresDestination
from airflow_elt_provider.connectors.hologres.settings import HologresSettings, Timestamps
from airflow_elt_provider.errors import ConfigurationError
from tests.connectors.staged_loads import Loads, column

OPTIONS = {
    "orientation": "column",
    "distribution_key": ["id"],
    "clustering_key": "v:desc",
    "event_time_column": ["at"],
    "bitmap_columns": {"v": "on", "Note 1": "off"},
    "dictionary_encoding_columns": ["v:auto"],
    "time_to_live_in_seconds": 2592000,
    "table_group": "tg_small",
    "storage_mode": "cold",
    "binlog.level": "replica",
    "binlog.ttl": "86400",
}
NIL = "00000000-0000-0000-0000-000000000000"
WIDE = ("id bigint", "v text", "at timestamp", "Note 1 text", "f double")


@pytest.fixture
def wide(tmp_path):
    return Loads(tmp_path, "public.item", columns=WIDE)


def types_of(execute, table="public.item"):
    return dict(
        execute(
            "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute "
            f"WHERE attrelid = '{table}'::regclass AND attnum > 0"
        )
    )


# --- table_options ---


def test_options_are_set_when_the_table_is_created(destination, wide, instance, dbname, execute):
    wide.settings = {"table_options": OPTIONS}
    wide.merge(destination, (1, "a", dt.datetime(2024, 1, 1), None, 1.5))
    assert instance.properties(dbname)[("public", "item")] == {
        "orientation": "column", "distribution_key": "id", "clustering_key": "v:desc", "event_time_column": "at",
        "bitmap_columns": 'v:on,"Note 1":off', "dictionary_encoding_columns": "v:auto",
        "time_to_live_in_seconds": "2592000", "table_group": "tg_small", "storage_mode": "cold",
        "binlog.level": "replica", "binlog.ttl": "86400",
    }  # fmt: skip
    nullable = "SELECT attname FROM pg_attribute WHERE attrelid = 'item'::regclass AND attnum > 0 AND NOT attnotnull"
    assert sorted(execute(nullable)) == [("Note 1",), ("f",)]


def test_our_own_tables_are_stored_by_row(destination, loads, instance, dbname):
    loads.merge(destination, (1, "a"))
    own = {table: kept for (schema, table), kept in instance.properties(dbname).items() if schema == "_elt"}
    assert len(own) == 3
    assert set(map(str, own.values())) == {"{'orientation': 'row'}"}


def test_a_mode_without_key_may_be_spread_by_any_column(destination, wide, instance, dbname):
    wide.settings = {"table_options": {"distribution_key": ["v"]}}
    wide.merge(destination, (1, "a", None, None, None), mode="append")
    assert instance.properties(dbname)[("public", "item")] == {"distribution_key": "v"}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"orientation": "diagonal"}, "'diagonal' is not known"),
        ({"distribution_key": ["v"]}, "not part of the primary key"),
        ({"clustering_key": ["V"]}, "did you mean 'v'"),
        ({"clustering_key": ["f"]}, "double precision"),
        ({"clustering_key": 5}, "no list of columns"),
        ({"clustering_key": {"v": "up"}}, "'up' is not known"),
        ({"bitmap_columns": "v:auto"}, "'auto' is not known"),
        ({"time_to_live_in_seconds": "a month"}, "no number of seconds"),
        ({"time_to_live_in_seconds": -1}, "no number of seconds"),
        ({"table_group": "a b"}, "name of a table group"),
        ({"sharding": 4}, "no such property"),
    ],
)
def test_options_that_hologres_would_not_take(destination, wide, execute, options, says):
    wide.settings = {"table_options": options}
    with pytest.raises(ConfigurationError, match=says) as caught:
        wide.merge(destination, (1, "a", None, None, None))
    assert "public.item" in str(caught.value)
    assert execute("SELECT to_regclass('public.item')") == [(None,)]


def test_rows_stored_by_row_need_a_key(destination, wide):
    wide.settings = {"table_options": {"orientation": "row,column"}}
    with pytest.raises(ConfigurationError, match="primary key"):
        wide.merge(destination, (1, "a", None, None, None), mode="append")


# --- types ---


@pytest.mark.parametrize(
    ("declared", "value", "shown"),
    [("decimal(10,2)", Decimal("1.50"), "1.50"), ("double", 0.5, "0.5"), ("uuid", NIL, NIL)],
)
def test_key_columns_of_other_types_are_text(destination, tmp_path, execute, declared, value, shown):
    loads = Loads(tmp_path, "public.item", columns=(f"k {declared}", "v text"), key=("k",))
    for text in ("a", "b"):
        loads.merge(destination, (value, text))
    assert execute("SELECT k, v FROM item") == [(shown, "b")]
    assert types_of(execute)["k"] == "text"


def test_moments_may_be_milliseconds(settings, tmp_path, execute):
    at = dt.datetime(2024, 1, 1, 0, 0, 0, 123456, dt.UTC)
    loads = Loads(tmp_path, "public.item", columns=("id bigint", "at timestamptz"))
    loads.merge(HologresDestination(replace(settings, timestamptz=Timestamps.MILLISECONDS)), (1, at))
    assert execute("SELECT at::text FROM item") == [("2024-01-01 00:00:00.123+00",)]
    with pytest.raises(ConfigurationError, match="'timestamptz': 'milliseconds'"):
        loads.merge(HologresDestination(settings), (2, at))


# --- changes of types ---


def test_a_number_does_not_grow(destination, tmp_path, execute):
    loads = Loads(tmp_path, "public.item", columns=("id bigint", "n int"))
    loads.merge(destination, (1, 7))
    with pytest.raises(ConfigurationError, match=r"'n' is integer and would have to become bigint.*2\.2\.14.*freeze"):
        loads.merge(destination, (2, 5_000_000_000), columns=("id bigint", "n bigint"))
    loads.merge(
        destination, (3, 8), columns=("id bigint", "n bigint"), on_schema_drift={"widened": "freeze"}
    )  # fmt: skip
    assert execute("SELECT id, n FROM item ORDER BY 1") == [(1, 7), (3, 8)]


def test_what_version_3_can_change(newer, tmp_path, postgres):
    with newer.database() as name:
        settings = HologresSettings.parse({
            "host": newer.host, "port": newer.port, "dbname": name, "user": newer.user, "password": newer.password,
        })  # fmt: skip
        destination = HologresDestination(settings)
        loads = Loads(tmp_path, "public.item", columns=("id bigint", column("j json"), "v text"))
        behind = postgres.connect(name)
        with behind, behind.cursor() as cursor:
            cursor.execute("CREATE TABLE item (id bigint PRIMARY KEY, j json, v varchar(3))")
        loads.merge(destination, (1, '{"a": 1}', "longer than three"), columns=("id bigint", "j text", "v text"))
        with behind, behind.cursor() as cursor:
            cursor.execute("SELECT pg_typeof(j)::text, pg_typeof(v)::text, v FROM item")
            assert cursor.fetchall() == [("text", "text", "longer than three")]
        behind.close()


def test_a_target_that_is_no_table(destination, loads, execute):
    execute("CREATE TABLE parent (id bigint, v text) PARTITION BY LIST (v)")
    with pytest.raises(ConfigurationError, match="not an ordinary table"):
        loads.merge(destination, (1, "a"), target="public.parent", mode="append")
