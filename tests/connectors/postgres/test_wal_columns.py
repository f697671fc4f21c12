"""Columns in the log: types, choices, and DDL in the middle of it."""

from __future__ import annotations

import logging

import pytest

from airflow_elt_provider.errors import ConfigurationError
from tests.connectors.postgres.test_wal_sync import WAL, equal
from tests.contract.world import CREATE


@pytest.fixture
def item(world):
    world.run_at_source(CREATE)
    world.sync(**WAL)
    return world


def test_a_column_added_with_a_default_in_the_middle(item):
    item.run_at_source("UPDATE item SET name = 'before' WHERE id = 1")
    item.run_at_source("ALTER TABLE item ADD COLUMN grade int DEFAULT 7")
    item.run_at_source("UPDATE item SET name = 'after' WHERE id = 2; INSERT INTO item (id, grade) VALUES (40, 8)")
    assert item.sync(**WAL).extracted == 3
    equal(item, "id, name, grade")


def test_a_column_added_with_nothing_in_it(item):
    item.run_at_source("UPDATE item SET name = 'before' WHERE id = 1")
    item.run_at_source("ALTER TABLE item ADD COLUMN note text")
    item.run_at_source("UPDATE item SET name = 'after' WHERE id = 2")
    assert item.sync(**WAL).extracted == 2
    item.run_at_source("UPDATE item SET note = 'n' WHERE id = 3")
    item.sync(**WAL)
    equal(item, "id, name, note")


@pytest.mark.parametrize(
    "ddl",
    ["ALTER TABLE item ADD COLUMN v float DEFAULT random()", "ALTER TABLE item RENAME amount TO v",
     "ALTER TABLE item ALTER amount TYPE numeric(14,3) USING amount * 2; ALTER TABLE item RENAME amount TO v",
     "ALTER TABLE item DROP amount; ALTER TABLE item ADD v int DEFAULT 3; UPDATE item SET v = 9 WHERE id = 4"],
    ids=["volatile", "rename", "type", "replaced"],
)  # fmt: skip
def test_ddl_whose_rows_the_log_does_not_tell(item, ddl, caplog):
    item.run_at_source("UPDATE item SET name = 'before' WHERE id = 1")
    item.run_at_source(ddl)
    item.run_at_source("UPDATE item SET name = 'after' WHERE id = 2; DELETE FROM item WHERE id = 3")
    with caplog.at_level(logging.INFO):
        item.sync(**WAL, on_schema_drift={"removed": "freeze"})
    equal(item, "id, name, v")


@pytest.mark.parametrize(
    "ddl",
    [["ALTER TABLE item RENAME amount TO between", "ALTER TABLE item RENAME between TO v"],
     ["ALTER TABLE item ADD between int", "ALTER TABLE item RENAME between TO v"]],
    ids=["twice", "new"],
)  # fmt: skip
def test_a_column_that_had_a_name_for_a_while(item, ddl, caplog):
    for number, statement in enumerate(ddl, 1):
        item.run_at_source(statement)
        name = "between" if number == 1 else "v"
        item.run_at_source(f"UPDATE item SET {name} = 50, name = 'n' WHERE id = {number}")
    with caplog.at_level(logging.INFO):
        item.sync(**WAL)
    assert "reading the whole table instead of the log" in caplog.text
    equal(item, "id, name, v")


def test_a_table_that_was_written_anew(item, caplog):
    """Only where a column was altered: what moves rows and leaves them as they are costs nothing."""
    item.run_at_source("UPDATE item SET name = 'before' WHERE id = 1")
    item.run_at_source("ALTER TABLE item ALTER name TYPE text USING upper(name)")
    with caplog.at_level(logging.INFO):
        item.sync(**WAL)
    assert "written anew" in caplog.text
    equal(item)
    item.run_at_source("ALTER TABLE item SET TABLESPACE pg_default; CLUSTER item USING item_pkey")
    item.run_at_source("ALTER TABLE item ALTER name SET NOT NULL")
    item.run_at_source("UPDATE item SET name = 'after' WHERE id = 2")
    caplog.clear()
    with caplog.at_level(logging.INFO):
        assert item.sync(**WAL).extracted == 1
    equal(item)


def test_a_key_that_was_renamed(item):
    item.run_at_source("DELETE FROM item WHERE id = 1; UPDATE item SET id = 30 WHERE id = 2")
    item.run_at_source("ALTER TABLE item RENAME id TO number")
    item.run_at_source("UPDATE item SET name = 'x' WHERE number = 3; DELETE FROM item WHERE number = 4")
    with pytest.raises(ConfigurationError, match="key"):
        item.sync(**WAL)


def test_a_type_that_became_another(item, caplog):
    item.run_at_source("ALTER TABLE item ALTER amount TYPE numeric(20,4) USING amount + 0.0001")
    with caplog.at_level(logging.INFO):
        item.sync(**WAL)
    assert "whole table" in caplog.text
    equal(item)


def test_a_dropped_column_before_others(world):
    world.run_at_source("CREATE TABLE item (junk int, id int PRIMARY KEY, name text, amount int)")
    world.run_at_source("INSERT INTO item VALUES (1, 1, 'a', 1), (1, 2, 'b', 2)")
    world.sync(**WAL)
    world.run_at_source("UPDATE item SET name = 'c' WHERE id = 1; ALTER TABLE item DROP junk")
    world.run_at_source("UPDATE item SET name = 'd' WHERE id = 2; DELETE FROM item WHERE id = 1")
    world.sync(**WAL)
    assert world.target_rows("id, name, amount") == world.source_rows()


def test_columns_chosen_renamed_and_retyped(world):
    parameters = {
        **WAL, "exclude_columns": ["tags"], "rename": {"name": "label", "id": "key"},
        "column_types": {"amount": "double", "id": "string"},
    }  # fmt: skip
    world.run_at_source(CREATE)
    world.sync(**parameters)
    world.run_at_source("UPDATE item SET name = 'x', amount = 1.5 WHERE id = 2; DELETE FROM item WHERE id = 3")
    world.run_at_source("UPDATE item SET id = 30 WHERE id = 4")
    world.sync(**parameters)
    assert world.target_rows("key, label") == world.source_rows("id, name")
    assert world.target_rows("amount", "key = '2'") == [("1.5",)]


def test_a_key_of_several_columns(world):
    world.run_at_source("CREATE TABLE item (a text, v int, b uuid, c date, PRIMARY KEY (c, a, b))")
    row = "repeat('ü|', g), g, md5(g::text)::uuid, date '2026-01-01' + g"
    world.run_at_source(f"INSERT INTO item SELECT {row} FROM generate_series(1, 9) g")
    world.sync(**WAL)
    world.run_at_source("UPDATE item SET v = 0 WHERE v = 1; UPDATE item SET a = 'other' WHERE v = 2")
    world.run_at_source("DELETE FROM item WHERE v = 3; INSERT INTO item VALUES ('', 5, md5('')::uuid, 'infinity')")
    world.run_at_source("UPDATE item SET v = 6 WHERE a = ''; DELETE FROM item WHERE v = 4")
    world.sync(**WAL)
    assert world.target_rows("a, v, b") == world.source_rows("a, v, b")


TYPES = """
CREATE TYPE mood AS ENUM ('sad', 'glad');
CREATE DOMAIN price AS numeric(10,2) CHECK (VALUE >= 0);
CREATE TABLE every (id int PRIMARY KEY, c_bool bool, c_int2 int2, c_float8 float8, c_real real, c_numeric numeric,
    c_dec numeric(20,3), c_money money, c_text text, c_char char(6), c_bytea bytea, c_date date, c_time time,
    c_timetz timetz, c_ts timestamp, c_tstz timestamptz, c_interval interval, c_uuid uuid, c_json json, c_jsonb jsonb,
    c_array text[], c_moneys money[], c_enum mood, c_domain price, c_range int4range, c_inet inet, c_bit bit(5))
"""
VALUES = """
INSERT INTO every VALUES ({id}, true, -3, 1e-300, 'NaN', 'NaN', 12345678901234567.125, '-1234.56', E'a"b\\n,ü', 'ab',
    '\\x00ff22', 'infinity', '24:00', '10:00+02', '0044-03-15 10:00 BC', '2026-06-01 12:00:00.000001+02',
    '1 mon -2 days',
    'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '{{"a": [1,  2]}}', '{{"b": 1.10}}', ARRAY['x,y', NULL, '"'],
    ARRAY[1.5::money], 'glad', 9.90, '[1,5)', '10.0.0.1/8', B'10101'),
    ({id} + 1, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '', '', '', NULL, '23:59:59.999999', NULL, NULL, '-infinity',
     NULL, NULL, NULL, NULL, '{{}}', NULL, NULL, NULL, 'empty', NULL, NULL)
"""


@pytest.mark.parametrize(
    "column_types", [None, {"c_json": "binary", "c_dec": "string", "c_ts": "timestamptz", "c_array": "json"}]
)
def test_values_read_from_the_log_are_those_read_from_the_table(sql, settings, column_types, world):
    from airflow_elt_provider.connectors.postgres.source import PostgresSource
    from airflow_elt_provider.core.request import extraction

    sql(TYPES)
    world.table, world.target = "public.every", "raw.every"
    source = PostgresSource(settings)
    following = extraction(stream="s", source_table="public.every", column_types=column_types, **WAL)
    with source.changes(following, None) as changes:
        position = changes.position
        for stream in changes.streams:
            assert list(stream) == []
    sql(VALUES.format(id=1))
    whole = extraction(stream="s", source_table="public.every", column_types=column_types, capture="full", mode="merge")
    with source.changes(whole, None) as changes:
        expected = sorted(
            (row for stream in changes.streams for batch in stream for row in batch.to_pylist()), key=by_id
        )
    with source.changes(following, position) as changes:
        found = sorted((row for stream in changes.streams for batch in stream for row in batch.to_pylist()), key=by_id)
    assert repr(found) == repr(expected)


def by_id(row):
    return row["id"]
