"""A customer's CSV files, straight into a destination that reads them itself: the power goes, processes are killed."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from airflow_elt_provider.core.manifest import Manifest, ManifestRef
from airflow_elt_provider.core.staged_file import Role
from airflow_elt_provider.engine.gc import collect
from airflow_elt_provider.engine.merge import stage_load
from airflow_elt_provider.errors import ConfigurationError, TransientError
from tests.contract.candidates import DESTINATIONS
from tests.contract.conftest import lent
from tests.contract.faults import Fuse, PowerCutError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from servers.postgres import PostgresServer
    from tests.contract.at_work import Servers
    from tests.contract.doomed_sync import DoomedProcesses
    from tests.contract.world import World

STRIDE = 1 if os.environ.get("ELT_EXPLORE") else 6
HEADER = "id,name,amount\n"
FIRST = [(str(at), f"name {at}", f"{at}.50") for at in range(1, 10)]
CHANGED = [*FIRST[:5], ("6", "changed", "6.50"), *((str(at), "new", "0.00") for at in range(10, 14))]
MODES: dict[str, dict[str, Any]] = {
    "merge": {"mode": "merge", "primary_key": "id"},
    "append": {"mode": "append", "capture": "new_files"},
    "replace": {"mode": "replace"},
    "mirror": {"mode": "merge", "primary_key": "id", "deletes": "hard"},
}
AFTER = {
    "merge": sorted([*CHANGED, *FIRST[6:]]), "append": sorted([*FIRST, *CHANGED]), "replace": sorted(CHANGED),
    "mirror": sorted(CHANGED),
}  # fmt: skip


@pytest.fixture(params=["postgres"])
def world(
    request: pytest.FixtureRequest, servers: Servers, source_server: PostgresServer, tmp_path: Path
) -> Iterator[World]:
    """Lend a world whose destination takes bytes as they are."""
    for world in lent(request, DESTINATIONS[request.param], servers, source_server, tmp_path):
        assert world.destination.open(world.fuse.tick).capabilities.in_place
        yield world


def write(world: World, rows: Sequence[tuple[str, ...]], name: str = "a") -> Path:
    """Put a file there, whole."""
    folder = world.folder / "in"
    folder.mkdir(exist_ok=True)
    draft = folder / "draft"
    draft.write_text(HEADER + "".join(",".join(row) + "\n" for row in rows))
    return draft.rename(folder / f"{name}.csv")


def plan(world: World, mode: str) -> dict[str, Any]:
    """Return what is asked of a load."""
    types = {"id": "bigint", "amount": "decimal(12,2)"}
    return {"path": str(world.folder / "in/*.csv"), "column_types": types, "stream": world.target, **MODES[mode]}


def setting_out(world: World, number: int, mode: str, *, again: bool) -> None:
    """Begin a story of its own; with ``again``, one load is already there."""
    world.target = f"raw.item_{number}"
    if not again:
        world.destination.wipe(world.target)
    for file in (world.folder / "in").glob("*.csv"):
        file.unlink()
    write(world, FIRST)
    if again:
        world.sync(run_id="yesterday", **plan(world, mode))
        write(world, CHANGED, "b" if mode == "append" else "a")


def manifests(world: World) -> list[Manifest]:
    """Return what is on the stage; there must be nothing else."""
    stage = world.destination.stage(world.folder)
    found = [file.uri for file in stage.list()]
    return [Manifest.from_bytes(stage.read(uri), ManifestRef(uri)) for uri in found if "/_state/" not in uri]


@pytest.mark.parametrize("again", [False, True], ids=["first load", "second load"])
@pytest.mark.parametrize("mode", list(MODES))
def test_no_cut_loses_or_repeats_a_row(world: World, mode: str, *, again: bool) -> None:
    """Cut, retry, compare; at each moment in turn with `ELT_EXPLORE=1`. No customer's file is touched."""
    expected = AFTER[mode] if again else sorted(FIRST)
    setting_out(world, 0, mode, again=again)
    world.fuse.moments.clear()
    result = world.sync(run_id="today", **plan(world, mode))
    moments = list(world.fuse.moments)
    assert any("FORMAT csv" in moment or moment.startswith("COPY") for moment in moments)
    assert len(moments) > 20
    assert sorted(world.target_rows()) == expected
    first = (2 * list(MODES).index(mode) + again) % STRIDE  # so the tests interleave
    for number in range(1 + first, len(moments) + 1, STRIDE):
        setting_out(world, number, mode, again=again)
        with world.blowing_at(number), pytest.raises(PowerCutError):
            world.sync(run_id="today", **plan(world, mode))
        retried = world.sync(run_id="today", **plan(world, mode))
        where = f"cut at moment {number}: {moments[number - 1]}"
        assert sorted(world.target_rows()) == expected, where
        counted = (retried.extracted, retried.inserted, retried.updated, retried.deleted)
        assert counted == (result.extracted, result.inserted, result.updated, result.deleted), where
        assert (world.folder / "in/a.csv").exists(), where
    assert all(file.role is Role.EXTERNAL for manifest in manifests(world) for file in manifest.files)
    assert world.destination.staging_tables() == [] or again is False


@pytest.mark.parametrize("mode", ["append", "replace"])
def test_a_killed_process_loses_and_repeats_nothing(world: World, doomed: DoomedProcesses, mode: str) -> None:
    """Kill, retry, compare; at every sixth moment of the load."""
    setting_out(world, 0, mode, again=False)
    world.fuse.moments.clear()
    world.sync(**{**plan(world, mode), "stream": "rehearsal"})
    last = len(world.fuse.moments)
    killed = 0
    for moment in [*range(1, last, 6), last]:
        setting_out(world, moment, mode, again=False)
        killed += doomed.run(world, moment, plan(world, mode)).killed
        world.sync(run_id="killed", **plan(world, mode))
        assert sorted(world.target_rows()) == sorted(FIRST), f"killed at {moment}"
    assert killed >= last // 8


@dataclass
class Meanwhile(Fuse):
    """Does something else once, when the first staging table is filled.

    :param what: is done then.
    """

    what: Callable[[], Any] = list
    met: bool = False

    def tick(self, moment: str) -> None:
        """Pass one moment."""
        super().tick(moment)
        if moment.startswith("INSERT INTO") and '"staging"' in moment and not self.met:
            self.met = True
            self.what()


def test_a_twin_that_comes_late_merges_nothing_of_what_it_read(world: World) -> None:
    """Of two runs at once the second to merge begins anew, with the file as it is then."""
    setting_out(world, 1, "mirror", again=True)

    def quick() -> None:
        write(world, FIRST[:3])
        world.sync(run_id="quick", max_delete_ratio=1, **plan(world, "mirror"))

    world.fuse = fuse = Meanwhile(what=quick)
    world.sync(run_id="slow", max_delete_ratio=1, **plan(world, "mirror"))
    assert fuse.met
    assert sorted(world.target_rows()) == sorted(FIRST[:3])


def test_a_file_that_changed_since_it_was_listed_is_refused(world: World) -> None:
    """Too large to be held from the first look on, and written to before it is copied: nothing of it counts."""
    many = [(str(at), "x" * 100, "1.00") for at in range(60_000)]
    setting_out(world, 2, "replace", again=True)
    write(world, many)
    before = world.target_rows()

    class Writing(Fuse):
        def tick(self, moment: str) -> None:
            if moment.startswith("COPY"):
                write(world, many[:-1])

    world.fuse = Writing()
    with pytest.raises(TransientError, match=r"a\.csv changed while it was read"):
        world.sync(run_id="today", **plan(world, "replace"))
    assert world.target_rows() == before
    world.fuse = Fuse()
    assert world.sync(run_id="today", **plan(world, "replace")).extracted == len(many) - 1


def test_a_step_alone_loads_no_file_that_was_not_staged(world: World) -> None:
    """Whoever has only the manifest has no way to the files."""
    setting_out(world, 3, "replace", again=False)
    job = world.job(run_id="today", **plan(world, "replace"))
    job.execute()
    stage = world.destination.stage(world.folder)
    (uri,) = (file.uri for file in stage.list())
    world.destination.wipe(world.target)
    with pytest.raises(ConfigurationError, match="were not staged"):
        stage_load(ManifestRef(uri), job.merging.target, job.destination, job.stage)
    collect(stage, timedelta(0), job.destination)
    assert list(stage.list()) == []
    assert (world.folder / "in/a.csv").exists()
