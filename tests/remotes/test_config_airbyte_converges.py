"""Whatever people did on the server and in the files, wherever the process died: one pass more, and all is equal."""

from __future__ import annotations

import os
from itertools import count
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_elt_provider.remotes.flow import Request
from tests.fakes.airbyte import FakeAirbyte
from tests.remotes.config_airbyte_bench import (
    CONNECTION,
    CRM_FILE,
    DIALECTS,
    HOME,
    Bench,
    MemoryFolder,
    bench_of,
    furnish,
    lookup,
    refer,
)  # fmt: skip
from tests.remotes.driving import driven_by_requests
from tests.remotes.systems import quickly
from tests.remotes.test_config_airbyte_meanwhile import MISCHIEF

EXPLORE = bool(os.environ.get("ELT_EXPLORE"))
ITEMS_FILE = "default-workspace/connections/items.yaml"


def _switched(folder: MemoryFolder, chance: Random) -> None:
    folder.edit(CONNECTION, lambda one: one.update(status=chance.choice(["active", "inactive"])))


def _retimed(folder: MemoryFolder, chance: Random) -> None:
    cron = {"type": "cron", "cron": f"0 0 {chance.randint(0, 23)} * * ?", "timezone": "UTC"}
    folder.edit(CONNECTION, lambda one: one.update(schedule=chance.choice([cron, {"type": "manual"}])))


def _named(folder: MemoryFolder, chance: Random) -> None:
    folder.edit(CONNECTION, lambda one: one.update(prefix=chance.choice(["", "a_", "b_"]), name=f"n{chance.random()}"))


def _selected(folder: MemoryFolder, chance: Random) -> None:
    def fewer(one: dict[str, Any]) -> None:
        one["streams"] = dict(chance.sample(sorted(one["streams"].items()), chance.randint(1, len(one["streams"]))))

    folder.edit(CONNECTION, fewer)


def _moved(folder: MemoryFolder, chance: Random) -> None:
    folder.edit(CRM_FILE, lambda one: one.update(configuration={"url": f"https://{chance.randint(1, 9)}.example"}))


def _gone(folder: MemoryFolder, chance: Random) -> None:
    folder.files.pop(ITEMS_FILE, None)


def _unmanaged(folder: MemoryFolder, chance: Random) -> None:
    folder.edit(CONNECTION, lambda one: one.pop(chance.choice(["prefix", "namespace", "schedule"]), None))


def _new(folder: MemoryFolder, chance: Random) -> None:
    name = f"new {chance.randint(1, 3)}"
    text = f"kind: source\nworkspace: {HOME}\nname: {name}\nconnector: acme-crm\nconfiguration:\n  url: https://n\n"
    folder.write(f"default-workspace/sources/{name.replace(' ', '-')}.yaml", text.encode())


EDITS = [_switched, _retimed, _named, _selected, _moved, _gone, _unmanaged, _new]


def dying(bench: Bench, at: int) -> Any:
    """Return what drives a flow to the request at which the process dies."""
    steps = count()

    def dies(step: Any) -> None:
        if isinstance(step, Request) and next(steps) == at:
            raise KeyboardInterrupt

    return lambda flow: driven_by_requests(quickly(flow, before=dies), bench.settings)


@pytest.mark.parametrize("dialect", ["public", "config", "config 0.40"], ids=["public", "config", "config_0.40"])
@settings(max_examples=60 if EXPLORE else 6, deadline=None, derandomize=not EXPLORE,
          suppress_health_check=list(HealthCheck))  # fmt: skip
@given(st.integers(0, 10**6), st.integers(3, 40))
def test_one_pass_more_and_all_is_equal(dialect: str, seed: int, death: int) -> None:
    chance = Random(seed)
    with FakeAirbyte(**DIALECTS[dialect][0]) as server:
        furnish(server)
        bench = bench_of(dialect, server)
        bench.export()
        refer(bench.folder)
        for _ in range(chance.randint(0, 4)):
            chance.choice(MISCHIEF)(server, chance)
        for _ in range(chance.randint(1, 4)):
            chance.choice(EDITS)(bench.folder, chance)
        plan = bench.plan(allow_delete=True)
        assert plan.problems == []
        work = bench.work()
        work.drive = dying(bench, death)
        try:
            work.apply(plan, lookup)
        except KeyboardInterrupt:
            bench.work().apply(plan, lookup)
        written = len(server.changes)
        assert bench.plan(allow_delete=True).empty
        assert not bench.work().apply(plan, lookup).done
        assert set(bench.read().objects) == set(bench.work().files().objects)
        assert (len(server.changes), server.resets) == (written, [])
