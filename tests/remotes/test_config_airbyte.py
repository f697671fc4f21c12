"""Airbyte's configuration through both of its APIs: files, plans, and what becomes of them on the server."""

from __future__ import annotations

import logging
import re
from itertools import count
from random import Random
from typing import Any

import pytest
import yaml

from airflow_elt_provider.errors import ConfigurationError, TransientError
from airflow_elt_provider.remotes.config_as_code.apply import ApplyOptions
from airflow_elt_provider.remotes.config_as_code.model import silent
from airflow_elt_provider.remotes.config_as_code.plan import PlanOptions
from airflow_elt_provider.remotes.config_as_code.schema_lock import drift
from airflow_elt_provider.remotes.config_as_code.work import restored
from airflow_elt_provider.remotes.flow import Request
from tests.fakes.airbyte import FakeAirbyte
from tests.fakes.airbyte_objects import Stream
from tests.fakes.http_fake import Fault
from tests.fakes.iap import FakeIap
from tests.remotes.config_airbyte_bench import (
    CONNECTION,
    CRM_FILE,
    DAILY,
    DIALECTS,
    FILE,
    HOME,
    ITEMS,
    LAKE,
    LAKE_FILE,
    NUMBER,
    ORDERS,
    SHOP,
    SOURCE,
    TEXT,
    USERS,
    Bench,
    MemoryFolder,
    bench_of,
    document,
    furnish,
    lookup,
    refer,
)  # fmt: skip
from tests.remotes.driving import driven_by_requests, settings_of
from tests.remotes.google_at_hand import ELT
from tests.remotes.systems import quickly


@pytest.fixture(params=["public", "config", "config 0.40"], ids=lambda name: name.replace(" ", "_"))
def dialect(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def bench(dialect: str) -> Any:
    with FakeAirbyte(**DIALECTS[dialect][0]) as server:
        furnish(server)
        yield bench_of(dialect, server)


@pytest.fixture
def public() -> Any:
    with FakeAirbyte(public=True) as server:
        furnish(server)
        yield bench_of("public", server)


# --- reading ---


def test_files_of_a_server(bench: Bench) -> None:
    files = bench.export()
    assert sorted(files) == [
        "default-workspace/connections/items.yaml", CONNECTION, LAKE_FILE,
        CRM_FILE, "default-workspace/sources/shop.lock.yaml", FILE, "elt-remote.yaml",
    ]  # fmt: skip
    assert document(bench, CONNECTION) == {
        "kind": "connection", "workspace": HOME, "name": "shop to lake", "source": "shop", "destination": "lake",
        "status": "active", "schedule": {"type": "cron", "cron": "0 0 2 * * ?", "timezone": "UTC"},
        "namespace": {"definition": "destination"}, "prefix": "shop_", "non_breaking_changes": "disable_connection",
        "streams": {
            "app.orders": {"sync_mode": "incremental_deduped_history", "cursor": "at", "primary_key": ["id"]},
            "app.users": {"sync_mode": "full_refresh_overwrite"},
        },
    }  # fmt: skip
    assert document(bench, FILE)["configuration"] == {**SHOP, "password": {"$secret": "not exported"}}
    assert document(bench, CRM_FILE)["connector"] == "acme-crm"
    assert not re.search("the shop's|the lake's|the crm's", str(files))
    assert bench.work().diff(schemas=True).equal
    assert bench.plan().empty


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda name: name.replace(" ", "_"))
def test_types_of_fields_come_from_the_configuration_api(bench: Bench, dialect: str) -> None:
    bench.export()
    fields = document(bench, FILE.replace(".yaml", ".lock.yaml"))["streams"]["app.orders"]["fields"]
    told = {"at": "string", "id": "integer", "note": "string"}
    assert fields == (dict.fromkeys(told, "unknown") if dialect == "public" else told)


def test_both_dialects_read_the_same() -> None:
    with FakeAirbyte(public=True, config="current") as server:
        furnish(server)
        by_public, by_config = bench_of("public", server), bench_of("config", server)
        assert by_public.read() == by_config.read()
        assert by_public.export() == by_config.export()


def test_pages(public: Bench) -> None:
    for number in range(205):
        public.server.add_destination(f"lake {number:03}", configuration=LAKE)
    told: list[tuple[str, int, int]] = []
    tree = public.drive(public.configuration().read([HOME], lambda *how: told.append(how)))
    assert sum(key.kind == "destination" for key in tree.objects) == 206
    assert told == [("workspaces", 1, 1)]
    assert len(public.server.asked("/destinations$", "GET")) == 3


def test_only_wanted_workspaces_are_read(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.server.add_workspace("Marketing")
    bench.server.add_connection("ads", workspace_id=bench.server.add_workspace("Ads"))
    tree = bench.drive(bench.configuration().read(["Marketin", HOME], silent))
    assert {key.workspace for key in tree.objects} == {HOME}
    assert "no workspace 'Marketin' (did you mean 'Marketing'?)" in caplog.text
    assert "'Ads', 'Default Workspace', 'Marketing'" in caplog.text


def test_names_that_several_have(bench: Bench) -> None:
    second = bench.server.add_source("shop", configuration=SHOP, streams=[ORDERS])
    bench.server.add_connection("second", source_id=second, destination_id=bench.server.add_destination("other"))
    bench.export()
    names = {key.name for key in bench.read().objects if key.kind == "source"}
    assert names == {"crm", f"shop [{second[:8]}]", *(name for name in names if name.startswith("shop ["))}
    assert document(bench, "default-workspace/connections/second.yaml")["source"] == f"shop [{second[:8]}]"
    assert bench.plan().empty


# --- changing ---


def test_what_was_changed_in_files_is_changed_on_the_server(bench: Bench) -> None:
    bench.export()
    schedule = {"type": "cron", "cron": "0 30 4 * * ?", "timezone": "UTC"}
    new = {"namespace": {"definition": "custom_format", "format": "raw_shop"}, "prefix": "", "status": "inactive"}
    bench.folder.edit(CONNECTION, lambda one: one.update(new, schedule=schedule, non_breaking_changes="ignore"))
    bench.folder.edit(FILE, lambda one: one["configuration"].update(host="db2", port=5433))
    done = bench.apply()
    assert (done.done, done.not_taken) == ([f"changed {SOURCE}", f"changed {DAILY}"], [])
    stored = next(iter(bench.server.catalogue.sources.values())).configuration
    assert stored == {"host": "db2", "port": 5433, "database": "shop", "password": "the shop's password"}
    assert bench.plan().empty
    assert not bench.server.resets


def test_selection_of_streams(bench: Bench, dialect: str) -> None:
    bench.export()
    fields = {} if dialect == "config 0.40" else {"fields": ["at", "id"]}

    def select(one: dict[str, Any]) -> None:
        one["streams"] = {
            "app.orders": {"sync_mode": "full_refresh_append", **fields},
            "app.users": {"sync_mode": "incremental_deduped_history", "cursor": "id", "primary_key": ["mail"]},
            "app.items": {"sync_mode": "full_refresh_overwrite"},
        }

    bench.folder.edit(CONNECTION, select)
    shown = bench.plan().text()
    assert "streams.app\\.orders.sync_mode" in shown
    assert bench.apply().not_taken == []
    assert bench.plan().empty
    assert not bench.server.resets
    bench.folder.edit(CONNECTION, lambda one: one["streams"]["app.orders"].pop("fields", None))
    bench.apply()
    assert bench.plan().empty


def test_a_stream_that_the_server_has_not_seen_yet(bench: Bench) -> None:
    bench.export()
    connection = next(iter(bench.server.catalogue.connections))
    bench.server.set_source_streams(connection, [ORDERS, USERS, ITEMS, Stream("carts", "app")])
    bench.folder.edit(
        CONNECTION, lambda one: one["streams"].update({"app.carts": {"sync_mode": "full_refresh_append"}})
    )
    bench.apply()
    assert bench.plan().empty
    bench.folder.edit(CONNECTION, lambda one: one["streams"].update({"app.cats": {"sync_mode": "full_refresh_append"}}))
    with pytest.raises(ConfigurationError, match=r"app\.cats"):
        bench.apply()


def test_restore_on_an_empty_server(bench: Bench, dialect: str) -> None:
    before = dict(bench.export())
    refer(bench.folder)
    with FakeAirbyte(**DIALECTS[dialect][0]) as other:
        other.databases["shop.example/shop"] = [ORDERS, USERS, ITEMS]
        there = Bench(other, settings_of(other.url, api=DIALECTS[dialect][1]), bench.folder)
        work = there.work()
        restored(work, {HOME: "Moved"}, disabled=False)
        done = work.apply(work.plan(PlanOptions(only_create=True)), lookup)
        assert len(done.done) == 5
        assert done.not_taken == []
        assert {one.name for one in other.catalogue.workspaces.values()} == {HOME, "Moved"}
        again = there.work()
        restored(again, {HOME: "Moved"}, disabled=False)
        assert again.plan().empty
        there.folder = MemoryFolder()
        after = there.export()
        assert {one.status for one in other.catalogue.connections.values()} == {"active", "inactive"}
        connection = next(key for key, one in other.catalogue.connections.items() if one.name == "shop to lake")
        other.begin(connection)
    moved = {path.replace("default-workspace", "moved"): text.replace(HOME.encode(), b"Moved")
             for path, text in before.items() if "crm" not in path}  # fmt: skip
    assert {path: text for path, text in after.items() if "crm" not in path} == moved


def test_disabled_connections_never_run(bench: Bench) -> None:
    bench.export()
    bench.server.catalogue.forget()
    refer(bench.folder)
    work = bench.work()
    restored(work, {}, disabled=True)
    work.apply(work.plan(), lookup)
    assert {one.status for one in bench.server.catalogue.connections.values()} == {"inactive"}


def test_making_changing_and_deleting_one_by_one(bench: Bench) -> None:
    bench.export()
    base = {"kind": "destination", "workspace": HOME, "name": "new lake", "connector": "bigquery"}
    configuration = {"project_id": "p", "dataset_id": "new", "credentials_json": {"$secret": "conn:lake.extra.key"}}
    bench.folder.write("a.yaml", yaml.safe_dump({**base, "configuration": configuration}).encode())
    streams = {"app.users": {"sync_mode": "incremental_append", "cursor": "id"}}
    wanted = {"kind": "connection", "workspace": HOME, "name": "new", "source": "shop", "destination": "new lake",
              "status": "active", "streams": streams}  # fmt: skip
    bench.folder.write("b.yaml", yaml.safe_dump(wanted).encode())
    assert bench.apply().done == [f"created destination {HOME} / new lake", f"created connection {HOME} / new"]
    assert bench.plan().empty
    made = next(one for one in bench.server.catalogue.connections.values() if one.name == "new")
    assert made.status == "active"
    lake = next(one for one in bench.server.catalogue.destinations.values() if one.name == "new lake")
    assert lake.configuration["credentials_json"] == "the lake's new key"
    del bench.folder.files["a.yaml"], bench.folder.files["b.yaml"]
    assert len(bench.plan().left_alone) == 2
    assert bench.apply(allow_delete=True).done == [
        f"deleted connection {HOME} / new", f"deleted destination {HOME} / new lake",
    ]  # fmt: skip
    assert made.status == "deprecated"
    assert bench.plan().empty
    assert not bench.server.resets


@pytest.mark.parametrize(
    ("kind", "then"), [("workspace", "cut"), ("source", "answer"), ("destination", "cut"), ("connection", "answer")]
)
def test_a_lost_answer_makes_no_twin(bench: Bench, kind: str, then: Any) -> None:
    bench.export()
    bench.server.catalogue.forget()
    refer(bench.folder)
    work = bench.work()
    restored(work, {HOME: "Moved"}, disabled=False)
    bench.server.inject(Fault("POST", rf"/{kind}s(/create)?$", "after", then))
    work.apply(work.plan(), lookup)
    catalogue = bench.server.catalogue
    found = [catalogue.workspaces, catalogue.sources, catalogue.destinations, catalogue.connections]
    assert [sorted(one.name for one in things.values()) for things in found] == [
        [HOME, "Moved"], ["crm", "shop"], ["lake"], ["items", "shop to lake"],
    ]  # fmt: skip


def test_a_secret_is_written_when_that_is_asked_for(bench: Bench) -> None:
    bench.export()
    refer(bench.folder)
    assert bench.plan().empty
    bench.apply(write_secrets=True)
    stored = next(iter(bench.server.catalogue.destinations.values())).configuration
    assert stored == {**LAKE, "credentials_json": "the lake's new key"}


def test_an_interrupted_apply_goes_on(bench: Bench) -> None:
    bench.export()
    bench.server.catalogue.forget()
    refer(bench.folder)
    bench.server.inject(
        Fault("(POST|PATCH)", r"/connections(/update|/[0-9a-f-]+)$", status=400, body={"message": "no"})
    )
    with pytest.raises(ConfigurationError, match="no"):
        bench.apply()
    bench.apply()
    assert bench.plan().empty
    assert len(bench.server.catalogue.connections) == 2


def test_what_a_person_writes_a_little_differently_is_no_difference(public: Bench) -> None:
    public.export()
    users = {"sync_mode": "incremental_deduped_history", "cursor": "id", "primary_key": "id", "fields": ["mail", "id"]}
    items = {"sync_mode": "full_refresh_overwrite", "cursor": "", "primary_key": [], "fields": []}
    schedule = {"type": "cron", "cron": "0  0 3 * * ? UTC"}
    new = {"schedule": schedule, "streams": {"app.users": users, "app.items": items}}
    public.folder.edit(CONNECTION, lambda one: one.update(new))
    assert public.apply().not_taken == []
    assert public.plan().empty


# --- what is refused ---


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("schedule", {"type": "basic", "every": "24 hours"}, "cannot write type basic"),
        ("schedule", {"type": "cron", "cron": "0 0 2 * * ?", "timezone": "Europe/Rome"}, "timezone Europe/Rome"),
        ("streams", {}, "would take that for all"),
    ],
    ids=["basic", "zone", "none"],
)
def test_what_the_public_api_cannot_write_is_said_in_the_plan(
    public: Bench, field: str, value: Any, says: str
) -> None:  # fmt: skip
    public.export()
    public.folder.edit(CONNECTION, lambda one: one.update({field: value}))
    plan = public.plan()
    assert says in plan.problems[0]
    assert "Remedy" in plan.problems[0]
    assert ("0 0 0 * * ?" in plan.problems[0]) is ("basic" in says)
    with pytest.raises(ConfigurationError, match="cannot be carried out"):
        public.apply()
    assert public.written() == []


def test_a_schedule_that_the_public_api_shows_and_cannot_write_may_stay(public: Bench) -> None:
    basic = {"basicSchedule": {"units": 24, "timeUnit": "hours"}}
    connection = next(iter(public.server.catalogue.connections.values()))
    connection.settings |= {"scheduleType": "basic", "scheduleData": basic}
    public.export()
    assert document(public, CONNECTION)["schedule"] == {"type": "basic", "every": "24 hours"}
    public.folder.edit(CONNECTION, lambda one: one.update(prefix="p_"))
    public.apply()
    assert public.plan().empty


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"status": "paused"}, "status is 'paused'"),
        ({"schedule": {"type": "weekly"}}, "schedule.type is 'weekly'"),
        ({"schedule": {"type": "cron", "cron": "0 2 * * *"}}, "seconds first"),
        ({"schedule": {"type": "manual", "at": "noon"}}, "schedule has no 'at'"),
        ({"schedule": "daily"}, "schedule is 'daily'"),
        ({"prefix": None}, "prefix is None"),
        ({"schedule": {"type": "basic", "every": "daily"}}, "schedule.every is 'daily'"),
        ({"namespace": {"definition": "own"}}, "namespace.definition is 'own'"),
        ({"namespace": {"definition": "custom_format"}}, "namespace has no format"),
        ({"namespace": {"definition": "source", "format": "x"}}, "of no use with source"),
        ({"streams": {"app.users": {"sync_mode": "append"}}}, "sync_mode is 'append'"),
        ({"streams": {"app.users": {"sync_mode": "full_refresh_append", "key": ["id"]}}}, "has no 'key'"),
        ({"streams": {"app.users": {"sync_mode": "full_refresh_append", "cursor": "id"}}}, "of no use"),
        ({"streams": {"app.users": "full_refresh_append"}}, "write a mapping"),
        ({"streams": {"a.b.c": {"sync_mode": "full_refresh_append"}}}, "too many dots"),
        (
            {"streams": {"app.users": {"sync_mode": "incremental_append", "cursor": "id", "fields": ["mail"]}}},
            "not select",
        ),
    ],
    ids=lambda value: value.replace(" ", "_") if isinstance(value, str) else "",
)
def test_words_that_there_are_not(public: Bench, change: dict[str, Any], says: str) -> None:
    public.export()
    public.folder.edit(CONNECTION, lambda one: one.update(change))
    assert says in "".join(public.plan().problems)


def test_unknown_keys_and_connectors(bench: Bench) -> None:
    bench.export()
    bench.folder.edit(FILE, lambda one: one.update(colour="red"))
    with pytest.raises(ConfigurationError, match=r"a source has no 'colour'.*it has connector, definition"):
        bench.plan()
    new = {"kind": "source", "workspace": HOME, "name": "x", "connector": "postgre", "configuration": {"host": "h"}}
    bench.folder.write(FILE, yaml.safe_dump(new).encode())
    problem = bench.plan().problems[0]
    assert "no source connector 'postgre'" in problem
    assert "did you mean 'postgres'" in problem


def test_what_the_server_refuses_is_said_without_secrets(bench: Bench) -> None:
    bench.export()
    refer(bench.folder)
    fault = Fault("(PATCH|POST)", r"/sources(/update|/[0-9a-f-]+)$", times=None, status=422,
                  body={"message": "no login for the shop's password"})  # fmt: skip
    bench.server.inject(fault)
    with pytest.raises(ConfigurationError, match=r"no login for \*\*\*") as caught:
        bench.apply(write_secrets=True)
    assert "the shop's password" not in repr(caught.value) + str(caught.value)


# --- schemas ---


def test_discovery_and_what_is_accepted_of_it(bench: Bench, dialect: str) -> None:
    bench.export()
    lock = bench.work().files().locks[SOURCE]
    connection = next(iter(bench.server.catalogue.connections))
    some = dialect != "config 0.40"
    bench.folder.edit(
        CONNECTION, lambda one: one["streams"]["app.orders"].update({"fields": ["at", "id"]} if some else {})
    )
    bench.apply()
    orders = Stream("orders", "app", {"id": NUMBER, "at": TEXT, "paid": TEXT}, ["id"], "at")
    carts = Stream("carts", "app", {"id": NUMBER}, ["id"], "id")
    bench.server.set_source_streams(connection, [orders, ITEMS, carts])
    configuration = bench.configuration()
    found = bench.drive(configuration.discover(connection))
    assert (found.owner, found.selected) == (SOURCE, {"app.orders", "app.users"})
    drifts = drift(lock, found.schema, found.selected)
    assert [(one.kind, one.stream, one.field) for one in drifts] == [
        ("stream_added", "app.carts", ""), ("field_removed", "app.orders", "note"),
        ("field_added", "app.orders", "paid"), ("stream_removed", "app.users", ""),
    ]  # fmt: skip
    bench.drive(configuration.accept(connection, found, drifts))
    assert bench.read().objects[DAILY].values["streams"] == {
        "app.carts": {"sync_mode": "incremental_deduped_history", "cursor": "id", "primary_key": ["id"]},
        "app.orders": {"sync_mode": "incremental_deduped_history", "cursor": "at", "primary_key": ["id"],
                       **({"fields": ["at", "id", "paid"]} if some else {})},
    }  # fmt: skip
    assert not bench.server.resets
    with pytest.raises(ConfigurationError, match="no connection"):
        bench.drive(configuration.discover("0e11f2a3-0000-4000-8000-000000000000"))


def test_a_source_that_is_gone_by_now_does_not_cost_the_others_their_types() -> None:
    with FakeAirbyte(public=True, config="current") as server:
        furnish(server)
        gone = server.add_source("gone", configuration={**SHOP, "host": "other"}, streams=[USERS])
        server.add_connection("gone", source_id=gone, destination_id=server.add_destination("other"))
        bench = bench_of("public", server)
        configuration = bench.configuration()
        tree = bench.drive(configuration.read(None, silent))
        del server.catalogue.sources[gone]
        locks = bench.drive(configuration.schemas(sorted(tree.objects), silent))
        assert set(locks) == {SOURCE}
        assert locks[SOURCE].streams["app.users"].fields == {"id": "integer", "mail": "string"}


def test_a_source_that_has_nothing_left(public: Bench) -> None:
    connection = next(iter(public.server.catalogue.connections))
    public.export()
    lock = public.work().files().locks[SOURCE]
    public.server.set_source_streams(connection, [ITEMS])
    configuration = public.configuration()
    found = public.drive(configuration.discover(connection))
    with pytest.raises(ConfigurationError, match="streams is empty"):
        public.drive(configuration.accept(connection, found, drift(lock, found.schema, found.selected)))
    assert public.written() == []


@pytest.mark.parametrize(
    "dialect", ["public", "public with types", "config 0.40"], ids=lambda one: one.replace(" ", "_")
)
def test_a_source_that_cannot_be_discovered_is_left_out(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    server = bench.server
    second = server.add_source("second", configuration={**SHOP, "host": "other"}, streams=[USERS])
    server.add_connection("second", source_id=second, destination_id=server.add_destination("other"))
    path = r"/streams$" if bench.settings.api == "auto" and not server.config else "discover_schema$"
    server.inject(Fault("(GET|POST)", path, status=422, body={"message": "no such host"}, times=1))
    with caplog.at_level(logging.WARNING):
        files = bench.export()
    assert sum(path.endswith(".lock.yaml") for path in files) == 1
    assert "is left out" in caplog.text


def test_a_reset_happens_only_when_it_is_asked_for(bench: Bench) -> None:
    bench.export()
    rekeyed = {"sync_mode": "incremental_append", "cursor": "at"}
    bench.folder.edit(CONNECTION, lambda one: one["streams"].update({"app.orders": rekeyed}))
    assert bench.apply(ApplyOptions(reset=True)).done == [f"changed {DAILY}", f"reset {DAILY}"]
    assert len(bench.server.resets) == 1
    with pytest.raises(ConfigurationError, match="no data to reset"):
        bench.drive(bench.configuration().reset(SOURCE))


def test_a_job_that_runs_is_in_the_way_of_a_reset(bench: Bench) -> None:
    bench.server.begin(next(iter(bench.server.catalogue.connections)))
    configuration = bench.configuration()
    bench.drive(configuration.read(None, silent))
    with pytest.raises(TransientError):
        bench.drive(configuration.reset(DAILY))


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
