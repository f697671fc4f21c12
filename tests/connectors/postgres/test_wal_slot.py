"""Several tables on one slot, and histories: what the log tells beyond the last state of a row."""

from __future__ import annotations

import logging
import uuid

import pytest

from airflow_elt_provider.core.load import RunIdentity
from airflow_elt_provider.core.request import extraction, merging
from airflow_elt_provider.engine.merge import merge_load, stage_load
from airflow_elt_provider.engine.slot import ExtractSlot
from airflow_elt_provider.engine.start import StreamState
from airflow_elt_provider.errors import ConfigurationError
from tests.connectors.postgres.test_wal_sync import equal

TABLES = ("one", "two", "three")


class Shared:
    """Three tables of one slot, and what each load of them gave."""

    def __init__(self, world, most: int = 1 << 30) -> None:
        self.world, self.capture = world, {"wal": {"slot": f"s_{world.dbname}", "max_slot_lag": most}}
        for name in TABLES:
            world.run_at_source(f"CREATE TABLE {name} (id int PRIMARY KEY, name text, amount int)")
            world.run_at_source(f"INSERT INTO {name} SELECT g, '{name}', g FROM generate_series(1, 5) g")

    def extract(self, run_id: str = "", **more):
        """Extract all three."""
        asked = [
            extraction(stream=name, source_table=f"public.{name}", capture=self.capture, deletes="hard", **more)
            for name in TABLES
        ]
        run = RunIdentity("slot", run_id or uuid.uuid4().hex, "extract")
        destination = self.world.destination.open(self.world.fuse.tick)
        tables = [(one, StreamState.read(destination, one, run)) for one in asked]
        return ExtractSlot(tables, run, self.world.source(), self.world.stage()).execute()

    def merge(self, refs, names=TABLES) -> None:
        """Merge some of them."""
        for ref, name in zip(refs, TABLES, strict=True):
            if name in names:
                into = merging(target_table=f"raw.{name}")
                destination, stage = self.world.destination.open(self.world.fuse.tick), self.world.stage()
                merge_load(stage_load(ref, into.target, destination, stage), into, destination, stage)

    def equal(self, *names: str) -> None:
        for name in names or TABLES:
            self.world.table, self.world.target = f"public.{name}", f"raw.{name}"
            equal(self.world)

    def change(self, text: str, names=TABLES) -> None:
        for name in names:
            self.world.run_at_source(f"UPDATE {name} SET name = '{text}' WHERE id = 1; DELETE FROM {name} WHERE id = 2")
            self.world.run_at_source(f"INSERT INTO {name} VALUES (2, '{text}')")

    @property
    def confirmed(self) -> str:
        sql = "SELECT confirmed_flush_lsn::text FROM pg_replication_slots WHERE slot_name = %s"
        return self.world.run_at_source(sql, self.capture["wal"]["slot"])[0][0]

    def checkpoint(self, name: str) -> str:
        return self.world.destination.open(lambda _: None).checkpoint(name).position.log.lsn


@pytest.fixture
def shared(world):
    return Shared(world)


def test_each_table_gets_what_is_its_own(shared):
    shared.merge(shared.extract())
    shared.equal()
    shared.change("first")
    refs = shared.extract()
    assert [ref.rows for ref in refs] == [2, 2, 2]
    shared.merge(refs)
    shared.equal()
    assert [ref.rows for ref in shared.extract()] == [0, 0, 0]


def test_the_slot_stays_at_the_smallest_checkpoint(shared):
    shared.merge(shared.extract())
    begin = shared.confirmed
    shared.change("first")
    shared.merge(shared.extract(), ["one", "three"])
    shared.change("second")
    refs = shared.extract()
    assert shared.confirmed == begin
    shared.merge(refs, ["one", "three"])
    shared.equal("one", "three")
    shared.change("third")
    shared.merge(shared.extract())
    shared.equal()
    shared.extract()
    assert shared.confirmed == min(shared.checkpoint(name) for name in TABLES)


def test_a_table_that_keeps_failing_is_dropped_from_the_slot_and_healed(world, caplog):
    shared = Shared(world, most=200_000)
    shared.merge(shared.extract())
    with caplog.at_level(logging.INFO):
        for number in range(4):
            shared.change(f"round {number}")
            world.run_at_source("UPDATE two SET id = id + 10 WHERE id = 4" if not number else "SELECT 1")
            shared.merge(shared.extract(), ["one", "three"])
            world.run_at_source("INSERT INTO one SELECT g FROM generate_series(1000, 2000) g")
            world.run_at_source("DELETE FROM one WHERE id >= 1000")
    assert "holds slot" in caplog.text
    assert "back further than max_slot_lag allows" in caplog.text
    shared.extract()
    assert shared.confirmed == min(shared.checkpoint(name) for name in ("one", "three"))
    caplog.clear()
    with caplog.at_level(logging.INFO):
        refs = shared.extract()
    assert "beyond the checkpoint" in caplog.text
    shared.merge(refs)
    shared.equal()
    shared.change("healthy")
    caplog.clear()
    with caplog.at_level(logging.INFO):
        shared.merge(shared.extract())
    assert "instead of the log" not in caplog.text
    shared.equal()


def test_a_table_that_joins_later_is_loaded_beside_the_others(shared, monkeypatch):
    monkeypatch.setattr("tests.connectors.postgres.test_wal_slot.TABLES", ("one", "two"))
    shared.merge(shared.extract(), ["one", "two"])
    shared.change("first")
    monkeypatch.setattr("tests.connectors.postgres.test_wal_slot.TABLES", ("one", "two", "three"))
    refs = shared.extract()
    assert [ref.rows for ref in refs] == [2, 2, 5]
    shared.change("meanwhile")
    shared.merge(refs, TABLES)
    shared.merge(shared.extract(), TABLES)
    shared.equal()


def test_a_retry_uses_what_was_published_and_reads_no_log(shared):
    shared.merge(shared.extract())
    shared.change("first")
    refs = shared.extract("again")
    shared.change("later")
    assert [ref.uri for ref in shared.extract("again")] == [ref.uri for ref in refs]


def test_a_table_is_named_once(shared):
    source = shared.world.source()
    one = extraction(stream="a", source_table="public.one", capture=shared.capture)
    two = extraction(stream="b", source_table="public.one", capture=shared.capture)
    job = ExtractSlot(
        [(one, StreamState()), (two, StreamState())], RunIdentity("d", "r", "t"), source, shared.world.stage()
    )
    with pytest.raises(ConfigurationError, match="named twice"):
        job.execute()


def test_several_schemas(world):
    for schema in ("east", "west"):
        world.run_at_source(f"CREATE SCHEMA {schema}; CREATE TABLE {schema}.item (id int PRIMARY KEY, name text)")
    capture = {"wal": {"slot": f"s_{world.dbname}"}}
    asked = [
        extraction(stream=schema, source_table=f"{schema}.item", capture=capture, mode="merge")
        for schema in ("east", "west")
    ]
    source = world.source()
    with source.log_changes([(one, None) for one in asked]) as found:
        positions = [one.position for one in found]
    world.run_at_source(
        "INSERT INTO east.item VALUES (1, 'east'); INSERT INTO west.item VALUES (1, 'west'), (2, 'west')"
    )
    with source.log_changes(list(zip(asked, positions, strict=True))) as found:
        rows = [[row["name"] for batch in one.streams[0] for row in batch.to_pylist()] for one in found]
    assert rows == [["east"], ["west", "west"]]


# --- histories ---

HISTORY = {"capture": "wal", "mode": "history", "deletes": "hard"}


def versions(world, key: int) -> list[tuple[str | None, ...]]:
    found = world.target_rows("name, _elt_is_current, _elt_valid_from, _elt_valid_to", f"id = {key}")
    return sorted(found, key=lambda version: version[2])


@pytest.fixture
def item(world):
    world.run_at_source("CREATE TABLE item (id int PRIMARY KEY, name text)")
    world.run_at_source("INSERT INTO item SELECT g, 'first' FROM generate_series(1, 4) g")
    world.sync(**HISTORY)
    return world


def test_every_version_of_a_batch_becomes_one_with_its_moment(item):
    for statement in ("UPDATE item SET name = 'second' WHERE id = 1", "UPDATE item SET name = 'third' WHERE id = 1",
                      "DELETE FROM item WHERE id = 1", "INSERT INTO item VALUES (1, 'fourth')"):  # fmt: skip
        item.run_at_source(statement)
    item.run_at_source("UPDATE item SET name = 'a' WHERE id = 2; UPDATE item SET name = 'b' WHERE id = 2")
    item.sync(**HISTORY)
    found = versions(item, 1)
    assert [version[0] for version in found] == ["first", "second", "third", "fourth"]
    assert [version[1] for version in found] == ["false", "false", "false", "true"]
    assert found[2][3] < found[3][2], "the time between the delete and the insert belongs to no version"
    assert [version[0] for version in versions(item, 2)] == ["first", "a", "b"]


def test_a_history_whose_table_was_emptied(item):
    item.run_at_source("UPDATE item SET name = 'second' WHERE id = 1")
    item.run_at_source("TRUNCATE item")
    item.run_at_source("INSERT INTO item VALUES (1, 'again')")
    item.sync(**HISTORY)
    assert [version[:2] for version in versions(item, 1)] == [
        ("first", "false"),
        ("second", "false"),
        ("again", "true"),
    ]
    assert [version[:2] for version in versions(item, 3)] == [("first", "false")]


def test_a_history_whose_slot_was_lost(item):
    item.run_at_source(
        "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = current_database()"
    )
    item.run_at_source("UPDATE item SET name = 'second' WHERE id = 1; DELETE FROM item WHERE id = 2")
    item.sync(**HISTORY)
    assert [version[:2] for version in versions(item, 1)] == [("first", "false"), ("second", "true")]
    assert [version[:2] for version in versions(item, 2)] == [("first", "false")]
    assert [version[:2] for version in versions(item, 3)] == [("first", "true")]
