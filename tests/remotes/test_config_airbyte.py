"""Airbyte's configuration through both of its APIs: files, plans, and what becomes of them on the server."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from airflow_elt_provider.errors import ConfigurationError
from airflow_elt_provider.remotes.config_as_code.model import silent
from airflow_elt_provider.remotes.config_as_code.plan import PlanOptions
from airflow_elt_provider.remotes.config_as_code.work import restored
from tests.fakes.airbyte import FakeAirbyte
from tests.fakes.airbyte_objects import Stream
from tests.fakes.http_fake import Fault
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
    ORDERS,
    SHOP,
    SOURCE,
    USERS,
    Bench,
    MemoryFolder,
    bench_of,
    document,
    furnish,
    lookup,
    refer,
)  # fmt: skip
from tests.remotes.driving import settings_of

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
    assert 'streams."app.orders".sync_mode' in shown
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
