"""Where the log cannot go on: never silence, and no more than what heals the gap."""

from __future__ import annotations

import logging
import re

import pytest

from servers.postgres import PostgresServer
from tests.connectors.postgres.test_wal_sync import WAL, equal
from tests.contract.duckdb_at_work import DuckdbAtWork
from tests.contract.world import CREATE, World

ROWS = "INSERT INTO item SELECT g, 'n' || g FROM generate_series(100, 2099) g"
MOVES = (
    "UPDATE item SET name = 'changed' WHERE id IN (2, 200)",
    "DELETE FROM item WHERE id IN (3, 300)",
    "INSERT INTO item VALUES (50, 'new')",
    "UPDATE item SET id = 60 WHERE id = 4",
)


@pytest.fixture
def item(world):
    """The table with 2,009 rows, synced once."""
    world.run_at_source(CREATE)
    world.run_at_source(ROWS)
    world.sync(**WAL)
    return world


def moved(world) -> None:
    for statement in MOVES:
        world.run_at_source(statement)


def slot_name(world) -> str:
    return world.run_at_source("SELECT slot_name FROM pg_replication_slots WHERE database = current_database()")[0][0]


def notes(caplog) -> str:
    return "\n".join(record.getMessage() for record in caplog.records)


def heals(world, caplog, reason: str, *, most: int = 20) -> None:
    """See that the next sync says why it reads more than the log, reads little, and gets everything right."""
    caplog.clear()
    with caplog.at_level(logging.INFO):
        result = world.sync(**WAL)
    assert re.search(reason, notes(caplog)), notes(caplog)
    assert result.extracted <= most
    equal(world)
    moved_again = world.run_at_source("UPDATE item SET amount = 7 WHERE id = 50 RETURNING id")
    caplog.clear()
    with caplog.at_level(logging.INFO):
        assert world.sync(**WAL).extracted == len(moved_again)
    assert "instead of the log" not in notes(caplog)
    equal(world)


def test_a_slot_that_is_gone(item, caplog):
    moved(item)
    item.run_at_source("SELECT pg_drop_replication_slot(%s)", slot_name(item))
    heals(item, caplog, "is not there any more: reading the rows that may be new, and all keys")


def test_a_slot_that_somebody_else_advanced(item, caplog):
    moved(item)
    item.run_at_source("SELECT pg_replication_slot_advance(%s, pg_current_wal_lsn())", slot_name(item))
    heals(item, caplog, "was advanced to .* beyond the checkpoint")


def test_a_slot_that_was_made_again_by_somebody_else(item, caplog):
    name = slot_name(item)
    item.run_at_source("SELECT pg_drop_replication_slot(%s)", name)
    moved(item)
    item.run_at_source("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", name)
    heals(item, caplog, "was advanced to")


def test_a_publication_that_was_made_again(item, caplog):
    name = slot_name(item)
    item.run_at_source(f"DROP PUBLICATION {name}")
    moved(item)
    item.run_at_source(f"CREATE PUBLICATION {name} FOR TABLE item")
    heals(item, caplog, "is not as it was")


def test_a_publication_that_is_gone(item, caplog):
    item.run_at_source(f"DROP PUBLICATION {slot_name(item)}")
    moved(item)
    heals(item, caplog, "is not as it was")


def test_a_table_that_was_out_of_the_publication_for_a_while(item, caplog):
    name = slot_name(item)
    item.run_at_source(f"ALTER PUBLICATION {name} DROP TABLE item")
    moved(item)
    item.run_at_source(f"ALTER PUBLICATION {name} ADD TABLE item")
    heals(item, caplog, "is not as it was")


def test_a_table_that_was_made_again_is_read_whole(item, caplog):
    item.run_at_source("ALTER TABLE item RENAME TO old; CREATE TABLE item (LIKE old INCLUDING ALL)")
    item.run_at_source("INSERT INTO item SELECT * FROM old WHERE id < 1500")
    with caplog.at_level(logging.INFO):
        item.sync(**WAL)
    assert "reading the whole table instead of the log" in notes(caplog)
    equal(item)


def test_everything_gone_while_the_slot_was_lost_is_refused_until_it_is_allowed(item):
    from airflow_elt_provider.errors import DataError

    item.run_at_source("DELETE FROM item")
    item.run_at_source("SELECT pg_drop_replication_slot(%s)", slot_name(item))
    with pytest.raises(DataError, match="the source has no rows"):
        item.sync(**WAL)
    item.sync(**WAL, allow_empty=True, max_delete_ratio=1)
    equal(item)


@pytest.fixture(scope="module")
def small_server():
    """A server that throws the log of a slot away early."""
    with PostgresServer({"max_slot_wal_keep_size": "16MB", "max_wal_size": "32MB", "wal_keep_size": 0}) as server:
        yield server


def test_a_slot_whose_log_was_thrown_away(small_server, tmp_path, caplog):
    with small_server.database() as dbname:
        world = World(small_server, dbname, tmp_path, DuckdbAtWork(tmp_path / "warehouse.duckdb"))
        world.run_at_source(CREATE)
        world.run_at_source(ROWS)
        world.sync(**WAL)
        moved(world)
        world.run_at_source("CREATE TABLE bulk (v text)")
        for _ in range(6):
            world.run_at_source("INSERT INTO bulk SELECT repeat(md5(g::text), 20) FROM generate_series(1, 20000) g")
            with_autocommit(world, "CHECKPOINT")
        heals(world, caplog, "is lost")
        world.run_at_source("SELECT pg_drop_replication_slot(%s)", slot_name(world))


def with_autocommit(world, statement: str) -> None:
    connection = world.server.connect(world.dbname)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(statement)
    connection.close()


def test_the_log_that_a_slot_keeps_is_warned_about(item, caplog):
    item.run_at_source("UPDATE item SET name = 'x'")
    with caplog.at_level(logging.WARNING):
        item.sync(**{**WAL, "capture": {"wal": {"max_slot_lag": 1000}}})
    assert re.search(r"keeps [\d,]+ bytes of the log .* more than max_slot_lag=1,000", notes(caplog))
    equal(item)


def test_a_server_that_was_restored_to_an_earlier_state(item, caplog):
    from dataclasses import replace

    job = item.job(**WAL)
    position = item.destination.open(lambda _: None).checkpoint(job.extraction.stream).position
    ahead = replace(position, log=replace(position.log, lsn="FF/0"))
    with job.source.changes(job.extraction, ahead) as changes:
        assert changes.complete
        assert "before the checkpoint: it was restored" in "; ".join(changes.notes)


# --- partitions ---

PARTS = """
CREATE TABLE item (id bigint, name text, amount numeric(12,2), PRIMARY KEY (id)) PARTITION BY RANGE (id);
CREATE TABLE low PARTITION OF item FOR VALUES FROM (0) TO (1000);
CREATE TABLE high PARTITION OF item FOR VALUES FROM (1000) TO (100000);
INSERT INTO item SELECT g, 'n' || g FROM generate_series(1, 2000) g
"""


@pytest.fixture
def parts(world):
    world.run_at_source(PARTS)
    world.sync(**WAL)
    return world


def test_partitions_tell_their_changes_as_the_table(parts):
    parts.run_at_source("UPDATE item SET name = 'x' WHERE id % 500 = 0; UPDATE item SET id = 4000 WHERE id = 1; "
                        "DELETE FROM low WHERE id = 7; INSERT INTO high VALUES (5000, 'five')")  # fmt: skip
    assert parts.sync(**WAL).extracted < 20
    equal(parts)
    parts.run_at_source("TRUNCATE item; INSERT INTO item VALUES (1, 'one')")
    parts.sync(**WAL, max_delete_ratio=1)
    equal(parts)


def test_a_partition_that_was_emptied_alone(parts, caplog):
    parts.run_at_source("TRUNCATE low; INSERT INTO low VALUES (50, 'fifty')")
    heals(parts, caplog, "a partition was emptied", most=2000)


def test_partitions_that_come_and_go(parts, caplog):
    parts.run_at_source("CREATE TABLE apart (LIKE item INCLUDING ALL); INSERT INTO apart VALUES (100500, 'apart')")
    parts.run_at_source("ALTER TABLE item ATTACH PARTITION apart FOR VALUES FROM (100000) TO (200000)")
    with caplog.at_level(logging.INFO):
        parts.sync(**WAL)
    assert "other partitions" in notes(caplog)
    equal(parts)
    parts.run_at_source("ALTER TABLE item DETACH PARTITION high")
    parts.sync(**WAL, max_delete_ratio=1)
    equal(parts)
