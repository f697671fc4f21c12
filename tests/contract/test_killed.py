"""kill -9 of the process that syncs, at moments spread over the whole load; then Airflow's retry."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.contract.world import CREATE, REPLACE, World

APPEND = {"capture": {"cursor": {"column": "updated_at", "lag": 0}}, "mode": "append"}
ROOT = Path(__file__).parents[2]


def doomed(world: World, moment: int, parameters: dict[str, object]) -> int:
    """Run the sync in a process that dies at that moment; return how it ended."""
    told = {
        "port": world.server.port, "user": world.server.user, "password": world.server.password,
        "dbname": world.dbname, "folder": str(world.folder), "destination": world.destination.recipe(),
        "moment": moment, "parameters": parameters,
    }  # fmt: skip
    command = [sys.executable, "-m", "tests.contract.doomed_sync", json.dumps(told)]
    return subprocess.run(command, cwd=ROOT, check=False, capture_output=True, timeout=60).returncode


@pytest.mark.parametrize("parameters", [APPEND, REPLACE], ids=["append", "replace"])
def test_a_killed_process_loses_and_repeats_nothing(world: World, parameters: dict[str, object]) -> None:
    """Kill, retry, compare; at every fourth moment of the load (fewer where the destination is slow)."""
    world.run_at_source(CREATE)
    world.fuse.moments.clear()
    world.target = "raw.rehearsal"
    world.sync(stream="rehearsal", **parameters)
    last = len(world.fuse.moments)
    world.target = "raw.item"
    killed = 0
    for moment in [*range(1, last, 4 * world.stride), last]:
        killed += doomed(world, moment, parameters) == -9
        world.sync(run_id="killed", **parameters)
        assert world.target_rows() == world.source_rows(), f"killed at {moment}: {world.fuse.moments[:moment]}"
        world.run_at_source("TRUNCATE item; " + CREATE.split(";", 1)[1])
        world.destination.wipe(world.target)
        world.fuse.moments.clear()
    assert killed >= last // (
        5 * world.stride
    )  # the rehearsal's moments are not quite the same: it also creates our own tables
