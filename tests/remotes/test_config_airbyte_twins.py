"""What becomes half made, or made twice: by a restore that broke off, and by two applies at the same time."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from airflow_elt_provider.errors import ConfigurationError
from airflow_elt_provider.remotes.config_as_code.plan import Plan, PlanOptions
from airflow_elt_provider.remotes.flow import Request
from tests.fakes.airbyte import FakeAirbyte
from tests.fakes.http_fake import Fault
from tests.remotes.config_airbyte_bench import (
    DAILY,
    DIALECTS,
    HOME,
    LAKE,
    SHOP,
    SOURCE,
    Bench,
    bench_of,
    furnish,
    lookup,
    refer,
)  # fmt: skip
from tests.remotes.driving import driven_by_requests
from tests.remotes.systems import quickly


@pytest.fixture(params=["public", "config 0.40"], ids=lambda name: name.replace(" ", "_"))
def bench(request: pytest.FixtureRequest) -> Any:
    with FakeAirbyte(**DIALECTS[request.param][0]) as server:
        furnish(server)
        bench = bench_of(request.param, server)
        bench.export()
        refer(bench.folder)
        server.catalogue.forget()
        yield bench


@pytest.mark.parametrize(
    ("when", "twin", "connections"),
    [("destinations", "source", 0), ("connections", "connection", 4)],
)
def test_two_applies_at_once_are_noticed_before_anything_syncs(
    bench: Bench, when: str, twin: str, connections: int
) -> None:
    server, waiting = bench.server, [True]

    def somebody_else(step: Any) -> None:
        makes = isinstance(step, Request) and step.method == "POST" and re.search(rf"/{when}(/create)?$", step.path)
        if makes and waiting and waiting.pop():
            _make_another(server, twin)

    work = bench.work()
    plan = work.plan()
    work.drive = lambda flow: driven_by_requests(quickly(flow, before=somebody_else), bench.settings)
    with pytest.raises(ConfigurationError, match=f"There are several of {twin} {HOME}.*by now.*delete all but one"):
        work.apply(plan, lookup)
    assert [one.status for one in server.catalogue.connections.values()] == ["inactive"] * connections


def _make_another(server: FakeAirbyte, twin: str) -> None:
    if twin == "source":
        server.add_source("shop", configuration=SHOP)
    else:
        ends = {"source_id": next(iter(server.catalogue.sources)),
                "destination_id": server.add_destination("x", configuration=LAKE)}  # fmt: skip
        server.add_connection("items", [], "inactive", **ends)
        server.add_connection("shop to lake", [], "inactive", **ends)


def test_what_a_restore_left_half_made_is_listed_and_an_apply_finishes_it(bench: Bench) -> None:
    bench.server.inject(
        Fault("POST|PATCH", r"/connections(/update|/[0-9a-f-]+)$", status=400, body={"message": "no"}, times=None)
    )
    with pytest.raises(ConfigurationError, match=f"^{DAILY}: .* no"):
        bench.apply(only_create=True)
    bench.server.heal()
    plan = bench.work().plan(PlanOptions(only_create=True))
    assert (plan.changes, plan.differing) == ([], [DAILY])
    assert f"left alone (elt remote apply changes it):\n    {DAILY}" in plan.text()
    assert Plan.from_json(json.dumps(plan.to_json()), "plan.json").differing == [DAILY]
    assert bench.apply().done == [f"changed {DAILY}"]
    assert bench.work().plan(PlanOptions(only_create=True)).differing == []
    assert SOURCE in bench.read().objects
