"""Streams of connections through Airbyte's configuration API, which wants whole catalogues."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import pytest

from airflow_elt_provider.core.secret import Secret
from airflow_elt_provider.errors import ConfigurationError
from airflow_elt_provider.remotes.config_as_code.apply import ApplyOptions
from airflow_elt_provider.remotes.config_as_code.model import Key, silent
from airflow_elt_provider.remotes.config_as_code.schema_lock import drift
from airflow_elt_provider.remotes.config_as_code.work import ConfigWork
from tests.fakes.airbyte_objects import Stream
from tests.fakes.http_fake import Fault
from tests.remotes.config_airbyte_old import DEDUPED, ORDERS, USERS, WHOLE, Old, served, shop
from tests.remotes.config_memory import MemoryFolder
from tests.remotes.systems import quickly


@pytest.fixture(params=["0.40", "current"])
def old(request: pytest.FixtureRequest) -> Iterator[Old]:
    with served(request.param) as found:
        yield found


@pytest.fixture
def today() -> Iterator[Old]:
    with served("current") as found:
        yield found


@pytest.fixture
def ancient() -> Iterator[Old]:
    with served("0.40") as found:
        yield found


def test_a_connection_gets_the_schema_that_its_source_has_now(old: Old) -> None:
    """The selection of a file is laid over what the source has: no old schema is ever pushed back."""
    source, _, connection = shop(old)
    grown = Stream("orders", "public", {**ORDERS.fields, "total": {"type": "number"}}, ["id"], "updated_at")
    old.server.set_source_streams(connection, [grown, USERS])
    old.run(old.api.discovered(source, "", fresh=True))
    assert "total" not in old.server.connection(connection).streams[0].fields
    old.update("connection", connection, streams={"public.orders": {**WHOLE}, "public.users": WHOLE})
    synced = {stream.name: dict(stream.fields) for stream in old.server.connection(connection).streams}
    assert synced == {"orders": dict(grown.fields), "users": dict(USERS.fields)}
    assert old.get("connection", connection).values["streams"] == {"public.orders": WHOLE, "public.users": WHOLE}
    assert old.server.resets == []


def test_a_stream_that_is_new_in_the_source_is_looked_for_there(old: Old) -> None:
    source, _, connection = shop(old)
    old.server.set_source_streams(connection, [ORDERS, USERS, Stream("bills")])
    old.update("connection", connection, streams={"public.orders": DEDUPED, "bills": WHOLE})
    assert sorted(old.get("connection", connection).values["streams"]) == ["bills", "public.orders"]
    assert old.server.catalogue.source(source).discoveries == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("schedule", {"type": "basic", "every": "24 hours"}),
        ("schedule", {"type": "cron", "cron": "0 30 2 * * ?", "timezone": "Asia/Shanghai"}),
        ("namespace", {"definition": "custom_format", "format": "raw"}),
        ("namespace", {"definition": "source"}),
        ("prefix", "raw_"),
        ("non_breaking_changes", "disable_connection"),
        ("status", "inactive"),
    ],
    ids=["basic", "cron", "custom_format", "namespace", "prefix", "changes", "status"],
)
def test_one_field_is_written_and_nothing_else(ancient: Old, name: str, value: Any) -> None:
    _, _, connection = shop(ancient)
    before = ancient.get("connection", connection)
    ancient.update("connection", connection, **{name: value})
    assert ancient.get("connection", connection).values == {**before.values, name: value}
    (sent,) = ancient.bodies("/connections/update")
    assert "syncCatalog" not in sent
    ancient.update("connection", connection, **{name: before.values[name]})
    assert ancient.get("connection", connection) == before


def test_what_no_file_holds_of_a_stream_stays(old: Old) -> None:
    _, _, connection = shop(old)
    with old.server.lock:
        kept = old.server.connection(connection)
        kept.selections[ORDERS.key] = {"aliasName": "purchases"}
    old.update("connection", connection, streams={"public.orders": {"sync_mode": "incremental_append", "cursor": "id"}})
    (sent,) = old.bodies("/connections/update")
    assert sent["syncCatalog"]["streams"][0]["config"]["aliasName"] == "purchases"
    assert sent["sourceCatalogId"]


def test_fields_are_selected_and_all_of_them_again(today: Old) -> None:
    _, _, connection = shop(today)
    some = {"public.orders": {**DEDUPED, "fields": ["id", "updated_at"]}}
    today.update("connection", connection, streams=some)
    assert today.get("connection", connection).values["streams"] == some
    today.update("connection", connection, streams={"public.orders": DEDUPED})
    assert today.get("connection", connection).values["streams"] == {"public.orders": DEDUPED}


def test_a_key_that_the_source_defines_need_not_be_told(today: Old) -> None:
    _, _, connection = shop(today)
    today.update("connection", connection, streams={"public.orders": {"sync_mode": "incremental_deduped_history"}})
    assert today.get("connection", connection).values["streams"]["public.orders"]["primary_key"] == ["id"]


def test_a_source_tells_types_keys_and_cursors(old: Old) -> None:
    source, destination, connection = shop(old)
    found = old.run(old.api.discovered(source, destination, fresh=False))
    assert found.lock.to_json() == {
        "public.orders": {
            "primary_key": ["id"],
            "cursor": "updated_at",
            "fields": {"id": "integer", "note": "string", "updated_at": "string(date-time)"},
        },
        "public.users": {"fields": {"id": "integer", "name": "string"}},
    }
    old.server.set_source_streams(connection, [USERS])
    assert old.run(old.api.discovered(source, destination, fresh=False)).lock == found.lock
    assert list(old.run(old.api.discovered(source, destination, fresh=True)).locked) == ["public.users"]
    assert all("connectionId" not in body for body in old.bodies("/discover_schema"))


@pytest.mark.parametrize(
    ("streams", "said"),
    [
        ({"public.order": WHOLE}, r"no stream 'public\.order'.*nearest names: public\.orders"),
        ({"public.orders": {**DEDUPED, "cursor": "updated"}}, r"no field 'updated'.*nearest names: updated_at"),
        ({"public.users": {**DEDUPED, "cursor": "id"}}, "'public.users' of the source knows only full_refresh"),
        ({"public.users": {"sync_mode": "full_refresh_overwrite_deduped"}}, "has no primary_key"),
        ({"public.orders": {**DEDUPED, "fields": ["note", "updated_at"]}}, "does not select 'id'"),
    ],
    ids=["stream", "field", "mode", "key", "selection"],
)
def test_what_the_source_does_not_have_is_refused_before_anything_is_written(
    today: Old, streams: Mapping[str, Any], said: str
) -> None:
    _, _, connection = shop(today)
    with pytest.raises(ConfigurationError, match=said):
        today.update("connection", connection, streams=streams, operations=[{"name": "n", "normalization": "basic"}])
    assert today.server.changes == []


# --- the gate ---


def test_a_connection_follows_its_source(old: Old) -> None:
    source, _, connection = shop(old, ORDERS, USERS)
    configuration = old.configuration()
    old.run(configuration.read(None, silent))
    owner = Key("source", "Default Workspace", "shop")
    lock = old.run(configuration.schemas([owner], silent))[owner]
    grown = Stream("orders", "public", {**ORDERS.fields, "total": {"type": "number"}}, ["id"], "updated_at")
    bills = Stream("bills", "public", {"no": {"type": "integer"}}, ["no"], "no")
    old.server.set_source_streams(connection, [grown, bills])

    configuration = old.configuration()
    found = old.run(configuration.discover(connection))
    assert (found.owner, found.selected) == (owner, {"public.orders", "public.users"})
    drifts = drift(lock, found.schema, found.selected)
    assert [(one.kind, one.stream) for one in drifts] == [
        ("stream_added", "public.bills"), ("field_added", "public.orders"), ("stream_removed", "public.users"),
    ]  # fmt: skip
    assert old.server.changes == []
    old.run(configuration.accept(connection, found, drifts))
    synced = {stream.name: set(stream.fields) for stream in old.server.connection(connection).streams}
    assert synced == {"orders": {*ORDERS.fields, "total"}, "bills": {"no"}}
    assert old.server.changes == [("connections/update", connection)]
    assert drift(found.schema, old.run(old.configuration().discover(connection)).schema) == []
    assert old.server.catalogue.source(source).discoveries == 2
    assert old.server.resets == []


def test_new_fields_are_selected_where_only_some_are(today: Old) -> None:
    _, _, connection = shop(today)
    today.update("connection", connection, streams={"public.orders": {**DEDUPED, "fields": ["id", "updated_at"]}})
    lock = today.run(today.configuration().discover(connection)).schema
    fields = {name: one for name, one in ORDERS.fields.items() if name != "note"}
    today.server.set_source_streams(
        connection, [Stream("orders", "public", {**fields, "total": {"type": "number"}}, ["id"], "updated_at")]
    )
    configuration = today.configuration()
    found = today.run(configuration.discover(connection))
    today.run(configuration.accept(connection, found, drift(lock, found.schema, found.selected)))
    streams = today.get("connection", connection).values["streams"]
    assert streams == {"public.orders": {**DEDUPED, "fields": ["id", "total", "updated_at"]}}


# --- all of it, with answers that are lost ---


def restored_on(old: Old, files: Mapping[str, bytes]) -> Old:
    """An empty server that can reach the same databases, and the files in which references stand for secrets."""
    old.server.wipe()
    folder = MemoryFolder()
    folder.files = {path: text.replace(b"$secret: not exported", b"$secret: var:x") for path, text in files.items()}
    work = work_on(old, folder)
    done = work.apply(work.plan(), lambda _: Secret("a-password"))
    assert done.not_taken == []
    return old


def work_on(old: Old, folder: MemoryFolder) -> ConfigWork:
    return ConfigWork(old.configuration(), lambda flow: old.run(quickly(flow)), "there", folder)


WRITES = r"/(sources|destinations|connections|operations)/(create|update)$"


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_restore_goes_on_whatever_answer_is_lost(ancient: Old, when: Literal["before", "after"]) -> None:
    _, _, connection = shop(ancient, ORDERS, USERS)
    ancient.update("connection", connection, operations=[{"name": "n", "normalization": "basic"}])
    before = MemoryFolder()
    work_on(ancient, before).export()
    restored_on(ancient, before.files)
    writes = len(ancient.server.changes) - 2
    assert writes == 5
    for number in range(writes):
        ancient.server.inject(Fault("POST", WRITES, when=when, then="cut", skip=number))
        restored_on(ancient, before.files)
        ancient.server.heal()
        known = ancient.server.catalogue
        assert [len(known.sources), len(known.destinations), len(known.connections)] == [1, 1, 1]
        after = MemoryFolder()
        work_on(ancient, after).export()
        assert after.files == before.files


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_reset_whose_answer_is_lost_happens_once(ancient: Old, when: Literal["before", "after"]) -> None:
    shop(ancient)
    folder = MemoryFolder()
    work_on(ancient, folder).export()
    path = "default-workspace/connections/daily.yaml"
    folder.files[path] = folder.files[path].replace(b"incremental_deduped_history", b"incremental_append")
    folder.files[path] = folder.files[path].replace(b"    primary_key:\n      - id\n", b"")
    ancient.server.inject(Fault("POST", r"/connections/reset$", when=when, then="cut"))
    work = work_on(ancient, folder)
    daily = "connection Default Workspace / daily"
    done = work.apply(work.plan(), lambda _: Secret("x"), ApplyOptions(reset=True)).done
    assert done == [f"changed {daily}", f"reset {daily}"]
    assert len(ancient.server.resets) == 1
