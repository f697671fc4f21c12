"""The power goes at every moment of a load, one after the other: before and after each statement and each file.

After every cut the same run is retried, as Airflow would, and then the source and the target must agree and every
row must have arrived exactly once. Where the destination is slow, each test cuts at some of the moments only, and the
write modes at different ones.
"""

from __future__ import annotations

import pytest

from tests.contract.faults import PowerCutError
from tests.contract.world import APPEND, CHANGE, CREATE, MERGE, MIRROR, REPLACE, World

MODES = {"merge": MERGE, "append": APPEND, "replace": REPLACE, "mirror": MIRROR}


def setting_out(world: World, number: int, mode: str, *, again: bool) -> None:
    """Begin a story of its own: fresh source table, stream and target; with ``again``, one load is already there.

    Without, nothing is: the first load makes our own tables too.
    """
    world.table, world.target = f"public.item_{number}", f"raw.item_{number}"
    if not again:
        world.destination.wipe(world.target)
    world.run_at_source(CREATE.replace("item", f"item_{number}"))
    if again:
        world.sync(run_id="yesterday", **MODES[mode])
        change = (
            "INSERT INTO item (id, name) SELECT g, 'new' FROM generate_series(10, 13) g" if mode == "append" else CHANGE
        )
        world.run_at_source(change.replace("item", f"item_{number}"))


@pytest.mark.parametrize("again", [False, True], ids=["first load", "second load"])
@pytest.mark.parametrize("mode", list(MODES))
def test_no_cut_loses_or_repeats_a_row(world: World, mode: str, *, again: bool) -> None:
    """Cut at each moment in turn, retry, compare."""
    setting_out(world, 0, mode, again=again)
    world.fuse.moments.clear()
    result = world.sync(run_id="today", **MODES[mode])
    moments = list(world.fuse.moments)
    assert len(moments) > 8, "the fuse must see the destination's statements and the stage's files"
    first = (2 * list(MODES).index(mode) + again) * world.stride // (2 * len(MODES))  # so the tests interleave
    for number in range(1 + first, len(moments) + 1, world.stride):
        setting_out(world, number, mode, again=again)
        with world.blowing_at(number), pytest.raises(PowerCutError):
            world.sync(run_id="today", **MODES[mode])
        retried = world.sync(run_id="today", **MODES[mode])
        where = f"cut at moment {number}: {moments[number - 1]}"
        assert world.target_rows() == world.source_rows(), where
        assert (retried.inserted, retried.updated, retried.deleted) == (
            result.inserted, result.updated, result.deleted,
        ), where  # fmt: skip
        assert world.sync(**MODES[mode]).inserted == 0, where
