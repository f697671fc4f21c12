"""A table in partitions, on every destination: several staging tables, one merge."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_elt_provider.errors import ConfigurationError
from tests.contract.partitioned import PartitionedRun
from tests.contract.world import CREATE

if TYPE_CHECKING:
    from tests.contract.world import World

HEAL = {"capture": "fingerprint", "mode": "merge"}


def test_partitions_are_merged_as_one_load(world: World) -> None:
    world.run_at_source(CREATE + "; UPDATE item SET amount = 'NaN' WHERE id = 2; ANALYZE item")
    run = PartitionedRun(world, parameters={"deletes": "ignore"})
    planned = run.plan()
    assert len(planned) == 3
    staged = [run.stage(run.extract(partition)) for partition in planned]
    with pytest.raises(ConfigurationError, match="partition 2 of 3"):
        run.merge(staged[1:2])
    result = run.merge(staged)
    assert (result.extracted, result.inserted, result.consistent) == (9, 9, False)
    assert world.target_rows("id, name") == world.source_rows("id, name")
    again = run.merge(staged)
    assert (again.load_id, again.inserted, again.consistent) == (result.load_id, 9, False)
    assert not world.destination.open(world.fuse.tick).staged(staged[0].manifest.load_id)
    world.run_at_source("UPDATE item SET name = 'moved' WHERE id IN (1, 9)")
    healed = world.sync(**HEAL)
    assert (healed.extracted, healed.consistent) == (2, True)
    assert world.target_rows("id, name") == world.source_rows("id, name")
