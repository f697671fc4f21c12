"""kill -9 of the process that syncs, at moments spread over the whole load; then Airflow's retry."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.contract.world import CREATE, REPLACE, World

if TYPE_CHECKING:
    from tests.contract.doomed_sync import DoomedProcesses

APPEND = {"capture": {"cursor": {"column": "updated_at", "lag": 0}}, "mode": "append"}


@pytest.mark.parametrize("parameters", [APPEND, REPLACE], ids=["append", "replace"])
def test_a_killed_process_loses_and_repeats_nothing(
    world: World, doomed: DoomedProcesses, parameters: dict[str, object]
) -> None:
    """Kill, retry, compare; at every fourth moment of the load (fewer where the destination is slow)."""
    world.run_at_source(CREATE)
    world.fuse.moments.clear()
    world.target = "raw.rehearsal"
    world.sync(stream="rehearsal", **parameters)
    last = len(world.fuse.moments)
    world.target = "raw.item"
    killed = 0
    for moment in [*range(1, last, 4 * world.stride), last]:
        killed += doomed.run(world, moment, parameters).killed
        world.sync(run_id="killed", **parameters)
        assert world.target_rows() == world.source_rows(), f"killed at {moment}: {world.fuse.moments[:moment]}"
        world.run_at_source("TRUNCATE item; " + CREATE.split(";", 1)[1])
        world.destination.wipe(world.target)
        world.fuse.moments.clear()
    assert killed >= last // (
        5 * world.stride
    )  # the rehearsal's moments are not quite the same: it also creates our own tables
