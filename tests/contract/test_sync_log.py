"""The sync log: a row for each load that was merged, in the destination, read with the system's own client."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.connectors.staged_loads import Loads, bring_in
from tests.contract.world import MERGE

if TYPE_CHECKING:
    from tests.contract.world import World

COUNTS = "rows_extracted, rows_inserted, rows_updated, rows_deleted, rows_quarantined"
BEGAN = "2026-01-02T03:04:05.678+00:00"


def log(world: World, columns: str, where: str = "1 = 1") -> list[list[str | None]]:
    """Return the log, oldest row first, as text."""
    name = world.destination.name("_elt.sync_log")
    rows = world.destination.query(f"SELECT {columns} FROM {name} WHERE {where} ORDER BY finished_at")
    return [[None if value is None else str(value) for value in row] for row in rows]


def test_a_row_for_each_load(world):
    """What a capture and a merge say of a load is all there; what nobody said is NULL."""
    loads = Loads(world.folder, world.target, columns=("id bigint", "name text"), store=world.stage())
    destination = world.destination.open(world.fuse.tick)
    first = loads.merge(destination, (1, "a"), (2, "b"), (3, "c"), deletes="soft", complete=True)
    lag = {"lag_bytes": "9007199254740993", "lag_seconds": "1.25"}
    second = loads.make(
        (1, "A", 5), (4, "d", 6), deletes="soft", ops=[("d", (2,))], columns=("id bigint", "name text", "more integer"),
        source_facts=lag, created_at=BEGAN,
    )  # fmt: skip
    receipt = bring_in(destination, second, loads.stage)
    assert destination.receipt(receipt.load_id) == receipt
    assert log(world, f"load_id, {COUNTS}") == [
        [first.load_id, "3", "3", "0", "0", "0"], [second.load_id, "3", "1", "1", "1", "0"],
    ]  # fmt: skip
    mine = f"load_id = '{second.load_id}'"
    told = log(world, "stream, capture, mode, position, bytes, files, lag_bytes, lag_seconds", mine)
    files = second.manifest.files
    assert told == [["stream", "cursor", "merge", second.load_id, str(second.manifest.size), str(len(files)),
                     "9007199254740993", "1.25"]]  # fmt: skip
    unknown = "lag_bytes IS NULL AND lag_seconds IS NULL AND started_at IS NULL"
    assert log(world, "load_id", unknown) == [[first.load_id]]
    target, changes, started = log(world, "target, schema_changes, started_at", mine)[0]
    assert world.target.rpartition(".")[2] in str(target)
    assert [(each["class"], each["column"]) for each in json.loads(str(changes))] == [("added", "more")]
    assert str(started).replace("T", " ").startswith("2026-01-02 03:04:05.678")
    assert log(world, "load_id", f"{mine} AND started_at < finished_at") == [[second.load_id]]


def test_a_journey_is_logged_and_nothing_new_is_not(world):
    world.run_at_source("CREATE TABLE item (id bigint PRIMARY KEY, name text, updated_at timestamptz)")
    world.run_at_source("INSERT INTO item VALUES (1, 'a', '2026-01-01 00:00+00'), (2, 'b', '2026-01-02 00:00+00')")
    done = world.sync(**MERGE)
    assert world.sync(**MERGE).inserted == 0
    told = [done.load_id, f"{world.table}->{world.target}", "cursor", done.checkpoint]
    assert log(world, f"load_id, stream, capture, position, {COUNTS}") == [[*told, "2", "2", "0", "0", "0"]]
    assert log(world, "load_id", "started_at <= finished_at AND bytes > 0 AND files = 1") == [[done.load_id]]


def test_a_log_that_is_missing_is_made(world):
    """Our tables may be older than the log."""
    loads = Loads(world.folder, world.target, columns=("id bigint",), store=world.stage())
    destination = world.destination.open(world.fuse.tick)
    loads.merge(destination, (1,))
    world.destination.run(f"DROP VIEW {world.destination.name('_elt.sync_log')}")
    Loads(world.folder, world.target, columns=("id bigint",), stream="another", store=world.stage()).merge(
        world.destination.open(world.fuse.tick), (2,)
    )
    assert log(world, "stream, rows_inserted") == [["stream", "1"], ["another", "1"]]
