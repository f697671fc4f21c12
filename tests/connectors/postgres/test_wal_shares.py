"""capture="wal" when much has changed between two runs, everything, or nothing."""

from __future__ import annotations

import pytest

WAL = {"capture": "wal", "mode": "merge", "deletes": "hard"}
ROWS = 10_000


@pytest.fixture
def table(world):
    """Ten thousand rows, synced once."""
    world.table, world.target = "public.t", "raw.t"
    world.run_at_source(
        f"CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT g, 'v' FROM generate_series(1, {ROWS}) g"
    )
    world.sync(**WAL)
    return world


def check(world, **parameters):
    """Sync and compare."""
    result = world.sync(**WAL, **parameters)
    assert world.target_rows("id, v") == world.source_rows("id, v")
    return result


def test_nothing_changed(table):
    before = table.destination.version_of(table.target)
    for _ in range(2):
        result = check(table)
        assert (result.extracted, result.bytes_staged) == (0, 0)
    assert table.destination.version_of(table.target) == before


def test_others_wrote_and_the_table_did_not_change(table):
    table.run_at_source("CREATE TABLE other AS SELECT g FROM generate_series(1, 50000) g")
    assert check(table).extracted == 0


@pytest.mark.parametrize("each", [2, 1], ids=["half", "all"])
def test_large_shares(table, each):
    table.run_at_source(f"UPDATE t SET v = v || '!' WHERE id % {each} = 0")
    table.run_at_source(f"DELETE FROM t WHERE id = 17; INSERT INTO t VALUES ({ROWS + 1}, 'new')")
    result = check(table)
    assert (result.inserted, result.updated, result.deleted) == (1, ROWS // each - (each == 1), 1)
    assert check(table).extracted == 0


def test_every_row_goes_and_others_come(table):
    table.run_at_source(f"DELETE FROM t; INSERT INTO t SELECT g, 'n' FROM generate_series({ROWS + 1}, {2 * ROWS}) g")
    result = check(table, max_delete_ratio=1.0)
    assert (result.inserted, result.updated, result.deleted) == (ROWS, 0, ROWS)


def test_sixty_thousand_changes(world):
    world.table, world.target = "public.t", "raw.t"
    world.run_at_source(
        "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT g, 'v' FROM generate_series(1, 100000) g"
    )
    world.sync(**WAL)
    world.run_at_source("UPDATE t SET v = 'w' WHERE id % 5 < 2")
    world.run_at_source("DELETE FROM t WHERE id % 10 = 9; UPDATE t SET v = 'x' WHERE id % 5 = 0")
    world.run_at_source("INSERT INTO t SELECT g, 'n' FROM generate_series(100001, 110000) g")
    result = check(world)
    assert (result.extracted, result.inserted, result.updated, result.deleted) == (60000, 10000, 40000, 10000)
