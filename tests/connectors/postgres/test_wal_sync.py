"""capture="wal" from end to end: what happened at the source has happened in the target after the next sync."""

from __future__ import annotations

import threading
import uuid
from contextlib import closing

import pytest

from tests.contract.world import CHANGE, CREATE

WAL = {"capture": "wal", "mode": "merge", "deletes": "hard"}
COLUMNS = "id, name, amount, tags"


@pytest.fixture
def item(world):
    """The table, synced once."""
    world.run_at_source(CREATE)
    world.sync(**WAL)
    return world


def equal(world, columns: str = "id, name, amount") -> None:
    assert world.target_rows(columns) == world.source_rows(columns)


def slot(world) -> dict[str, str]:
    sql = "SELECT to_jsonb(s) FROM pg_replication_slots s WHERE database = current_database()"
    return world.run_at_source(sql)[0][0]


def test_insert_update_delete_and_a_run_without_changes(item):
    item.run_at_source(CHANGE)
    item.run_at_source("DELETE FROM item WHERE id IN (1, 4)")
    result = item.sync(**WAL)
    assert (result.inserted, result.updated, result.deleted, result.extracted) == (4, 2, 2, 8)
    equal(item)
    idle = item.sync(**WAL)
    assert (idle.extracted, idle.bytes_staged, idle.checkpoint) == (0, 0, result.checkpoint)


def test_one_operation_for_each_key_in_the_order_of_commits(item):
    item.run_at_source("DELETE FROM item WHERE id = 1")
    item.run_at_source("INSERT INTO item VALUES (1, 'again', 1), (20, 'brief', 2)")
    item.run_at_source("UPDATE item SET name = 'again and again' WHERE id = 1; DELETE FROM item WHERE id = 20")
    item.run_at_source("BEGIN; UPDATE item SET name = 'lost'; ROLLBACK")
    result = item.sync(**WAL)
    assert (result.extracted, result.updated) == (2, 1)
    equal(item)


def test_a_changed_key_moves_the_row(item):
    item.run_at_source("UPDATE item SET id = id + 100 WHERE id < 4")
    item.run_at_source("UPDATE item SET id = 3 WHERE id = 101; UPDATE item SET id = 1 WHERE id = 4")
    item.sync(**WAL)
    equal(item)


def test_truncate_empties_the_target_and_what_follows_fills_it(item):
    item.run_at_source("INSERT INTO item VALUES (50, 'before')")
    item.run_at_source("TRUNCATE item")
    item.run_at_source("INSERT INTO item VALUES (3, 'after'), (60, 'after')")
    result = item.sync(**WAL)
    assert (result.inserted, result.updated, result.deleted) == (1, 1, 8)
    equal(item)


@pytest.mark.parametrize("deletes", ["ignore", "soft"])
def test_deletes_that_are_not_carried_out(world, deletes):
    world.run_at_source(CREATE)
    world.sync(**{**WAL, "deletes": deletes})
    world.run_at_source("DELETE FROM item WHERE id = 2; UPDATE item SET name = 'x' WHERE id = 3")
    world.sync(**{**WAL, "deletes": deletes})
    assert len(world.target_rows()) == 9
    if deletes == "soft":
        assert world.target_rows("id", "_elt_deleted_at IS NOT NULL") == [("2",)]
        world.run_at_source("INSERT INTO item VALUES (2, 'back')")
        world.sync(**{**WAL, "deletes": deletes})
        assert world.target_rows("id", "_elt_deleted_at IS NOT NULL") == []


# --- large values that did not change ---

BIG = "(SELECT string_agg(md5(i::text || {seed}), '') FROM generate_series(1, 500) i)"


@pytest.fixture
def big(item):
    """Rows with values that are stored out of line."""
    item.run_at_source("ALTER TABLE item ADD big text; ALTER TABLE item ALTER big SET STORAGE EXTERNAL")
    item.run_at_source(f"UPDATE item SET big = {BIG.format(seed='id')}")
    item.sync(**WAL)
    equal(item, "id, name, big")
    return item


def test_a_large_value_that_did_not_change_stays(big):
    big.run_at_source("UPDATE item SET name = 'small change' WHERE id < 4; UPDATE item SET name = 'twice' WHERE id = 2")
    result = big.sync(**WAL)
    assert result.updated == 3
    equal(big, "id, name, big")
    assert big.target_rows("id", "big IS NULL") == []


def test_a_large_value_is_taken_from_an_earlier_change_of_the_batch(big):
    big.run_at_source(f"INSERT INTO item (id, name, big) VALUES (70, 'new', {BIG.format(seed='70')})")
    big.run_at_source("UPDATE item SET name = 'changed' WHERE id = 70")
    big.run_at_source("UPDATE item SET amount = 5 WHERE id = 70")
    big.sync(**WAL)
    equal(big, "id, name, amount, big")


def test_a_row_with_another_key_gets_its_large_value_from_the_source(big):
    big.run_at_source("UPDATE item SET id = 80 WHERE id = 1; UPDATE item SET name = 'moved' WHERE id = 80")
    big.run_at_source("UPDATE item SET id = 81 WHERE id = 2")
    big.sync(**WAL)
    equal(big, "id, name, big")


def test_a_moved_row_that_is_gone_before_it_can_be_asked_for_is_gone(big):
    big.run_at_source("UPDATE item SET id = 80 WHERE id = 1")
    job = big.job(**WAL)
    with job.source.log_changes([(job.extraction, big.destination.open(lambda _: None).checkpoint(
        job.extraction.stream).position)]) as (changes,):  # fmt: skip
        big.run_at_source("DELETE FROM item WHERE id = 80")
        assert [batch for stream in changes.streams for batch in stream] == []
        gone = sorted(row["id"] for stream in changes.deletes for batch in stream for row in batch.to_pylist())
        assert gone == [1, 80]
    big.sync(**WAL)
    equal(big, "id, name, big")


def test_replica_identity_full_brings_the_large_values_along(big):
    big.run_at_source("ALTER TABLE item REPLICA IDENTITY FULL")
    big.run_at_source("UPDATE item SET name = 'x' WHERE id < 3; UPDATE item SET id = 90 WHERE id = 3")
    big.run_at_source("DELETE FROM item WHERE id = 4")
    big.sync(**WAL)
    equal(big, "id, name, big")


# --- handing over and going on ---


def test_what_is_written_while_the_first_load_reads_is_neither_lost_nor_doubled(world):
    world.run_at_source(CREATE)
    world.run_at_source("INSERT INTO item SELECT g, 'many' FROM generate_series(100, 3000) g")
    stop = threading.Event()

    def write() -> None:
        with closing(world.server.connect(world.dbname)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                number = 0
                while not stop.is_set():
                    number += 1
                    cursor.execute("INSERT INTO item VALUES (%s, 'late')", (10_000 + number,))
                    cursor.execute("DELETE FROM item WHERE id IN (%s, %s)", (100 + number, 10_000 + number - 3))
                    cursor.execute("UPDATE item SET id = id + 100000 WHERE id = %s", (3000 - number,))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(4):
            world.sync(**WAL, max_delete_ratio=1)
    finally:
        stop.set()
        writer.join()
    world.sync(**WAL, max_delete_ratio=1)
    equal(world)


def test_a_transaction_that_commits_late_is_not_overlooked(item):
    with closing(item.server.connect(item.dbname)) as connection, connection.cursor() as cursor:
        cursor.execute("UPDATE item SET name = 'late' WHERE id = 1")
        item.run_at_source("UPDATE item SET name = 'early' WHERE id = 2")
        item.sync(**WAL)
        connection.commit()
    item.sync(**WAL)
    equal(item)


def test_the_slot_is_never_advanced_past_what_is_merged(item):
    item.run_at_source("UPDATE item SET name = 'one' WHERE id = 1")
    before = slot(item)["confirmed_flush_lsn"]
    result = item.sync(**WAL)
    assert slot(item)["confirmed_flush_lsn"] == before != result.checkpoint
    item.run_at_source("UPDATE item SET name = 'two' WHERE id = 1")
    item.sync(**WAL)
    assert slot(item)["confirmed_flush_lsn"] == result.checkpoint


def test_two_runs_of_one_extract_give_the_same_rows(item):
    item.run_at_source(CHANGE)
    run = uuid.uuid4().hex
    first = item.sync(run_id=run, **WAL)
    again = item.sync(run_id=run, **WAL)
    assert again.load_id == first.load_id
    equal(item)


def test_many_changes_in_one_transaction_go_to_disk_and_come_back(item, monkeypatch):
    from airflow_elt_provider.connectors.postgres import wal_fold

    monkeypatch.setattr(wal_fold, "HELD_BYTES", 1 << 20)
    item.run_at_source("INSERT INTO item SELECT g, 'n' || g FROM generate_series(1000, 60000) g")
    item.run_at_source("UPDATE item SET amount = id % 100 WHERE id > 1000; DELETE FROM item WHERE id % 7 = 0")
    item.sync(**WAL, max_delete_ratio=1)
    equal(item)
    item.run_at_source("DELETE FROM item WHERE id % 3 = 0; TRUNCATE item; INSERT INTO item VALUES (5, 'x')")
    item.sync(**WAL, max_delete_ratio=1)
    equal(item)
