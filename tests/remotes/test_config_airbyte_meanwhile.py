"""Airbyte behind a proxy, processes that die on the way, and what people do on the server by hand meanwhile."""

from __future__ import annotations

from itertools import count
from random import Random
from typing import Any

import pytest

from airflow_elt_provider.remotes.flow import Request
from tests.fakes.airbyte import FakeAirbyte
from tests.fakes.http_fake import Fault
from tests.fakes.iap import FakeIap
from tests.remotes.config_airbyte_bench import (
    CONNECTION,
    CRM_FILE,
    DAILY,
    HOME,
    ITEMS,
    ORDERS,
    USERS,
    Bench,
    furnish,
    lookup,
    refer,
)  # fmt: skip
from tests.remotes.driving import driven_by_requests, settings_of
from tests.remotes.google_at_hand import ELT
from tests.remotes.systems import quickly

# --- behind Identity-Aware Proxy ---


@pytest.mark.parametrize("api", ["public_v1", "config_v1"])
def test_behind_the_proxy(google: Any, hosts: Any, key: str, api: str) -> None:
    with FakeAirbyte(public=True, config="current", auth="client_credentials") as server:
        furnish(server)
        with FakeIap(google, server.url, members={ELT}) as proxy:
            settings = settings_of(
                proxy.url, api=api, login="client", password="secret", auth="client_credentials",
                iap_mode="id_token", iap_audience=proxy.audience, keyfile_dict=key,
            )  # fmt: skip
            bench = Bench(server, settings)
            bench.export()
            bench.folder.edit(CONNECTION, lambda one: one.update(prefix="p_"))
            assert bench.apply().done == [f"changed {DAILY}"]
            assert bench.plan().empty


# --- whatever happens on the way ---


@pytest.mark.parametrize("request_number", [9, 15, 20])
def test_what_a_dead_process_has_begun_the_same_plan_finishes(bench: Bench, request_number: int) -> None:
    bench.export()
    refer(bench.folder)
    bench.server.catalogue.forget()
    plan, steps = bench.plan(), count()

    def dies(step: Any) -> None:
        if isinstance(step, Request) and next(steps) == request_number:
            raise KeyboardInterrupt

    work = bench.work()
    work.drive = lambda flow: driven_by_requests(quickly(flow, before=dies), bench.settings)
    with pytest.raises(KeyboardInterrupt):
        work.apply(plan, lookup)
    assert bench.work().apply(plan, lookup).not_taken == []
    assert bench.plan().empty
    assert len(bench.server.catalogue.connections) == 2
    assert not bench.server.resets


def test_a_server_that_asks_for_time_is_not_asked_all_again(public: Bench) -> None:
    public.server.add_connection("ads", workspace_id=public.server.add_workspace("Zoo"))
    slow = Fault("GET", "/connections$", status=429, headers={"Retry-After": "1"}, skip=1)
    public.server.inject(slow)
    assert {key.workspace for key in public.read().objects} == {HOME, "Zoo"}
    assert len(public.server.asked("v1/sources$", "GET")) == 3


# --- whatever was done on the server by hand ---


@pytest.mark.parametrize("seed", range(4))
def test_what_was_done_by_hand_is_taken_back_in_one_pass(bench: Bench, seed: int) -> None:
    bench.export()
    refer(bench.folder)
    crm = {"url": "https://crm.example"}
    bench.folder.edit(CRM_FILE, lambda one: one.update(configuration=crm))
    chance = Random(seed)
    for _ in range(6):
        chance.choice(MISCHIEF)(bench.server, chance)
    bench.apply(allow_delete=True)
    assert bench.plan(allow_delete=True).empty
    assert set(bench.read().objects) == set(bench.work().files().objects)
    assert not bench.server.resets


def _alive(server: FakeAirbyte) -> list[Any]:
    return [one for one in server.catalogue.connections.values() if one.status != "deprecated"]


def _switched(server: FakeAirbyte, chance: Random) -> None:
    for one in _alive(server):
        one.status = chance.choice(["active", "inactive"])


def _retimed(server: FakeAirbyte, chance: Random) -> None:
    for one in _alive(server):
        basic = {"basicSchedule": {"units": chance.randint(1, 9), "timeUnit": "hours"}}
        one.settings |= {"scheduleType": "basic", "scheduleData": basic, "prefix": chance.choice(["", "x_"])}


def _selected(server: FakeAirbyte, chance: Random) -> None:
    for one in _alive(server):
        one.streams, one.selections = chance.sample([ORDERS, USERS, ITEMS], chance.randint(1, 3)), {}


def _deleted(server: FakeAirbyte, chance: Random) -> None:
    for one in _alive(server)[: chance.randint(1, 2)]:
        server.delete_connection(one)


def _source_deleted(server: FakeAirbyte, chance: Random) -> None:
    for one in chance.sample(list(server.catalogue.sources.values()), min(1, len(server.catalogue.sources))):
        server.delete_actor(one)


def _added(server: FakeAirbyte, chance: Random) -> None:
    server.add_connection(f"by hand {chance.randint(0, 99)}")


def _moved(server: FakeAirbyte, chance: Random) -> None:
    for one in server.catalogue.sources.values():
        one.configuration["host"] = chance.choice(["shop.example", "elsewhere"])


MISCHIEF = (_switched, _retimed, _selected, _deleted, _source_deleted, _added, _moved)
