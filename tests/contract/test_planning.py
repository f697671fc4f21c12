"""A plan says what a sync does, and does nothing itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_elt_provider.core.load import RunIdentity
from airflow_elt_provider.engine.planning import Plan, Planning
from tests.contract.world import CREATE

if TYPE_CHECKING:
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
