"""A plan says what a sync does, and does nothing itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_elt_provider.core.load import RunIdentity
from airflow_elt_provider.engine.planning import Plan, Planning
from tests.contract.world import CREATE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.contract.world import World

pytestmark = pytest.mark.lowest

CURSOR: dict[str, Any] = {"capture": "cursor", "cursor_column": "updated_at"}


def plan(world: World, **parameters: Any) -> Plan:
    """Plan what `world.sync` of the same parameters would do."""
    job = world.job(**parameters)
    return Planning(
        job.extraction, job.merging, RunIdentity("contract", "plan", "plan"), job.source, job.stage, job.destination
    ).execute()


def test_a_plan_says_what_a_sync_then_does(world: World) -> None:
    """The first load, a load with nothing new, and one that brings a column."""
    world.run_at_source(CREATE)
    first = plan(world, **CURSOR)
    assert world.destination.columns(world.target) == {}
    assert list(world.stage().list()) == []
    assert (first.measured.rows if first.measured else None, first.checkpoint, first.refused) == (9, None, "")
    assert any("CREATE TABLE" in sql for sql in first.ddl)
    assert first.schema.primary_key == ("id",)

    assert world.sync(**CURSOR).inserted == 9
    before = world.destination.version_of(world.target)
    idle = plan(world, **CURSOR)
    assert (idle.ddl, idle.changes) == ((), ())
    assert idle.checkpoint

    world.run_at_source(
        "ALTER TABLE item ADD COLUMN extra int; UPDATE item SET extra = 1, updated_at = now() WHERE id = 1"
    )
    third = plan(world, **CURSOR)
    assert [(change["class"], change["column"], change["done"]) for change in third.changes] == [
        ("added", "extra", "evolve")
    ]
    assert any("extra" in sql.lower() for sql in third.ddl)
    assert world.destination.version_of(world.target) == before
    assert "extra" not in world.destination.columns(world.target)
    text = str(third)
    assert max(map(len, text.splitlines())) <= 100
    assert "extra" in text


def test_a_refusal_is_part_of_the_plan(world: World) -> None:
    """What the drift policy would refuse is said, not raised."""
    world.run_at_source(CREATE)
    world.sync()
    world.run_at_source("ALTER TABLE item ADD COLUMN extra int")
    refused = plan(world, on_schema_drift={"added": "fail"})
    assert "'extra'" in refused.refused
    assert refused.to_json()["refused"] == refused.refused


KEPT = """
SELECT slot_name::text, confirmed_flush_lsn::text FROM pg_replication_slots WHERE database = current_database()
UNION ALL SELECT pubname::text || ' of ' || count(t), max(t.tablename)::text
FROM pg_publication p LEFT JOIN pg_publication_tables t USING (pubname) GROUP BY pubname ORDER BY 1
"""


@pytest.fixture
def source_world(world: World) -> Iterator[World]:
    """Lend a world, and leave no slot behind."""
    world.run_at_source(CREATE)
    yield world
    for name, lsn in world.run_at_source(KEPT):
        if lsn and "/" in lsn:
            world.run_at_source("SELECT pg_drop_replication_slot(%s)", name)


@pytest.mark.parametrize("world", ["duckdb"], indirect=True)
@pytest.mark.parametrize("capture", ["wal", "fingerprint", "xmin"])
def test_a_plan_makes_and_moves_nothing_at_the_source(source_world: World, capture: str) -> None:
    """Before the first load, with nothing new, with changes, and where there is a gap to heal."""
    world = source_world
    wanted: dict[str, Any] = {"capture": capture, "mode": "merge"}
    changes = "UPDATE item SET name = 'n' WHERE id IN (2, 3); INSERT INTO item VALUES (50, 'new')"

    def planned() -> Plan:
        kept, stored = world.run_at_source(KEPT), sorted(file.uri for file in world.stage().list())
        found = plan(world, **wanted)
        assert world.run_at_source(KEPT) == kept
        assert sorted(file.uri for file in world.stage().list()) == stored
        return found

    first = planned()
    assert (first.measured.rows if first.measured else None, first.checkpoint) == (9, None)
    assert first.complete or capture == "xmin"
    assert bool(world.run_at_source(KEPT)) is False
    assert world.sync(**wanted).extracted == 9

    assert not planned().complete
    world.run_at_source(changes)
    busy = planned()
    assert (busy.complete, busy.ddl) == (False, ())
    if capture == "wal":
        assert "would run CREATE PUBLICATION" in str(first)
        assert "would make slot" in str(first)
        assert "log: 3 changes in" in str(busy)
    assert world.sync(**wanted).extracted == 3


@pytest.mark.parametrize("world", ["duckdb"], indirect=True)
def test_a_plan_says_how_a_gap_in_the_log_would_be_healed(source_world: World) -> None:
    """The slot is gone, and the table out of the publication; the plan puts neither back."""
    world = source_world
    wanted: dict[str, Any] = {"capture": "wal", "mode": "merge", "deletes": "hard"}
    world.sync(**wanted)
    name = world.run_at_source("SELECT slot_name FROM pg_replication_slots WHERE database = current_database()")[0][0]
    world.run_at_source(f"ALTER PUBLICATION {name} DROP TABLE item")
    told = str(plan(world, **wanted))
    assert "would run ALTER PUBLICATION" in told
    assert "would make slot" not in told
    world.run_at_source("SELECT pg_drop_replication_slot(%s)", name)
    world.run_at_source("INSERT INTO item VALUES (50, 'new')")
    gap = plan(world, **wanted)
    assert "would make slot" in str(gap)
    assert (gap.complete, gap.measured.exact if gap.measured else None) == (False, True)
    assert [kept for kept in world.run_at_source(KEPT) if "/" in (kept[1] or "")] == []
    assert world.sync(**wanted).inserted == 1
