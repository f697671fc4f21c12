"""The fake Airbyte's connections are one state: made through either API, they are shown right by both."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.fakes.airbyte import FakeAirbyte
from tests.remotes.airbyte_shop import (
    DEDUPED,
    ORDERS,
    USERS,
    connected,
    made,
    source_of,
)
from tests.servers.airbyte_calls import config, problem, public, start

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def server() -> Iterator[FakeAirbyte]:
    """Run a server of today with both APIs, and a database that sources can read."""
    with FakeAirbyte(config="current") as running:
        running.databases["shop.example/shop"] = [ORDERS, USERS]
        yield running


def test_a_connection_of_the_public_api_is_shown_by_both(server):
    schedule = {"scheduleType": "cron", "cronExpression": "0 15 6 * * ? UTC"}
    connection = connected(
        server,
        name="shop to bq",
        status="inactive",
        schedule=schedule,
        namespaceDefinition="custom_format",
        namespaceFormat="shop_${SOURCE_NAMESPACE}",
        prefix="x_",
        nonBreakingSchemaUpdatesBehavior="disable_connection",
        configurations={"streams": [DEDUPED]},
    )
    there = made(config(server, "/connections/get", connectionId=connection))
    assert there["scheduleData"] == {"cron": {"cronExpression": "0 15 6 * * ?", "cronTimeZone": "UTC"}}
    assert (there["namespaceDefinition"], there["nonBreakingChangesPreference"]) == ("customformat", "disable")
    assert (there["status"], there["prefix"], there["scheduleType"]) == ("inactive", "x_", "cron")
    (item,) = there["syncCatalog"]["streams"]
    selected = {name: ORDERS["fields"][name] for name in ("id", "at")}
    assert item["stream"]["jsonSchema"]["properties"] == selected
    chosen = item["config"]
    assert (chosen["syncMode"], chosen["destinationSyncMode"]) == ("incremental", "append_dedup")
    assert (chosen["cursorField"], chosen["primaryKey"], chosen["fieldSelectionEnabled"]) == (["at"], [["id"]], True)
    here = made(public(server, "GET", f"/connections/{connection}"))
    assert here["schedule"] == schedule
    assert here["configurations"]["streams"] == [{**DEDUPED, "mappers": []}]
    assert (here["namespaceDefinition"], here["namespaceFormat"]) == ("custom_format", "shop_${SOURCE_NAMESPACE}")
    assert here["nonBreakingSchemaUpdatesBehavior"] == "disable_connection"


def test_a_connection_of_the_configuration_api_is_shown_by_both(server):
    source = source_of(server)
    streams = made(config(server, "/sources/discover_schema", sourceId=source))["catalog"]["streams"]
    streams[0]["config"] |= {"syncMode": "incremental", "destinationSyncMode": "append", "cursorField": ["at"]}
    streams[1]["config"]["selected"] = False
    created = made(
        config(
            server,
            "/connections/create",
            sourceId=source,
            destinationId=server.add_destination("warehouse"),
            name="shop",
            status="active",
            syncCatalog={"streams": streams},
            scheduleType="basic",
            scheduleData={"basicSchedule": {"timeUnit": "hours", "units": 24}},
            namespaceDefinition="source",
            nonBreakingChangesPreference="propagate_fully",
        )
    )
    assert created["schedule"] == {"timeUnit": "hours", "units": 24}
    here = made(public(server, "GET", f"/connections/{created['connectionId']}"))
    assert here["schedule"] == {"scheduleType": "basic", "basicTiming": "Every 24 HOURS"}
    (stream,) = here["configurations"]["streams"]
    assert (stream["name"], stream["syncMode"], stream["cursorField"]) == ("orders", "incremental_append", ["at"])
    assert (here["namespaceDefinition"], here["nonBreakingSchemaUpdatesBehavior"]) == ("source", "propagate_fully")
    assert [call for call, _ in server.changes] == ["POST /sources", "connections/create"]


def test_a_connection_without_particulars_is_active_and_syncs_everything(server):
    connection = connected(server)
    shown = made(public(server, "GET", f"/connections/{connection}"))
    assert (shown["status"], shown["schedule"]) == ("active", {"scheduleType": "manual"})
    modes = [(one["name"], one["syncMode"]) for one in shown["configurations"]["streams"]]
    assert modes == [("orders", "full_refresh_overwrite"), ("users", "full_refresh_overwrite")]
    job = start(server, connection).json()["jobId"]
    server.finish(job, rows=5)
    assert public(server, "GET", f"/jobs/{job}").json()["rowsSynced"] == 5


def test_a_change_leaves_the_rest_and_resets_nothing(server):
    connection = connected(server, prefix="x_", configurations={"streams": [DEDUPED]})
    before = made(config(server, "/connections/get", connectionId=connection))
    made(public(server, "PATCH", f"/connections/{connection}", json={"name": "other"}))
    assert made(config(server, "/connections/get", connectionId=connection)) == {**before, "name": "other"}
    cron = {"cron": {"cronExpression": "0 0 8 * * ?", "cronTimeZone": "Europe/Berlin"}}
    made(config(server, "/connections/update", connectionId=connection, scheduleType="cron", scheduleData=cron))
    shown = made(public(server, "GET", f"/connections/{connection}"))
    assert shown["schedule"] == {"scheduleType": "cron", "cronExpression": "0 0 8 * * ? Europe/Berlin"}
    made(config(server, "/connections/update", connectionId=connection, scheduleType="manual"))
    after = made(config(server, "/connections/get", connectionId=connection))
    assert after == {**before, "name": "other"}
    assert public(server, "DELETE", f"/connections/{connection}").status_code == 204
    assert made(public(server, "GET", f"/connections/{connection}"))["status"] == "deprecated"
    assert server.resets == []
    start(server, server.add_connection("another"), "reset")
    assert len(server.resets) == 1


def test_a_choice_of_streams_takes_the_schema_of_the_last_discovery(server):
    streams = {"streams": [{"name": "orders"}]}
    connection = connected(server, configurations=streams)
    wider = {**ORDERS, "fields": {**ORDERS["fields"], "sum": {"type": "number"}}}
    server.set_source_streams(connection, [wider])
    source = server.connection(connection).source_id

    def fields() -> list[str]:
        made(public(server, "PATCH", f"/connections/{connection}", json={"configurations": streams}))
        catalog = made(config(server, "/connections/get", connectionId=connection))["syncCatalog"]
        return list(catalog["streams"][0]["stream"]["jsonSchema"]["properties"])

    assert fields() == ["id", "at", "note"]
    public(server, "GET", "/streams", params={"sourceId": source, "ignoreCache": "true"})
    assert fields() == ["id", "at", "note", "sum"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"schedule": {"scheduleType": "basic", "basicTiming": "Every 24 HOURS"}},
        {"schedule": {"scheduleType": "cron"}},
        {"schedule": {"scheduleType": "cron", "cronExpression": "0 15 6 * * ? Europe/Berlin"}},
        {"schedule": {"scheduleType": "cron", "cronExpression": "15 6 * * *"}},
        {"schedule": {"scheduleType": "cron", "cronExpression": "* * * * * ?"}},
        {"namespaceDefinition": "customformat"},
        {"nonBreakingSchemaUpdatesBehavior": "disable"},
        {"status": "on"},
        {"configurations": {"streams": [{"name": "nothing"}]}},
        {"configurations": {"streams": [{"name": "users", "syncMode": "incremental_append"}]}},
        {"configurations": {"streams": [{"name": "orders", "syncMode": "incremental_append"}]}},
        {"configurations": {"streams": [{**DEDUPED, "primaryKey": [["note"]]}]}},
        {"configurations": {"streams": [{**DEDUPED, "selectedFields": []}]}},
        {"configurations": {"streams": [{**DEDUPED, "selectedFields": [{"fieldPath": ["id"]}]}]}},
        {"configurations": {"streams": [{**DEDUPED, "selectedFields": [{"fieldPath": ["at"]}]}]}},
        {"configurations": {"streams": [DEDUPED, DEDUPED]}},
    ],
    ids=[
        "basic", "no cron", "other zone", "unix cron", "every second", "namespace", "behaviour", "status", "stream",
        "mode", "no cursor", "other key", "no fields", "cursor not selected", "key not selected", "twice",
    ],
)  # fmt: skip
def test_what_the_public_api_refuses(server, wrong):
    body = {"sourceId": source_of(server), "destinationId": server.add_destination("warehouse"), **wrong}
    assert problem(public(server, "POST", "/connections", json=body))[0] == 400
    connection = connected(server)
    before, written = made(config(server, "/connections/get", connectionId=connection)), len(server.changes)
    assert problem(public(server, "PATCH", f"/connections/{connection}", json=wrong))[0] == 400
    assert made(config(server, "/connections/get", connectionId=connection)) == before
    assert len(server.changes) == written


@pytest.mark.parametrize(
    ("word", "pair"),
    [
        ("full_refresh_overwrite", ("full_refresh", "overwrite")),
        ("full_refresh_append", ("full_refresh", "append")),
        ("full_refresh_overwrite_deduped", ("full_refresh", "overwrite_dedup")),
        ("incremental_append", ("incremental", "append")),
        ("incremental_deduped_history", ("incremental", "append_dedup")),
    ],
)
def test_sync_modes_are_one_word_here_and_two_there(server, word, pair):
    connection = connected(server, configurations={"streams": [{**DEDUPED, "syncMode": word}]})
    catalog = made(config(server, "/connections/get", connectionId=connection))["syncCatalog"]
    chosen = catalog["streams"][0]["config"]
    assert (chosen["syncMode"], chosen["destinationSyncMode"]) == pair
    made(config(server, "/connections/update", connectionId=connection, syncCatalog=catalog))
    (stream,) = made(public(server, "GET", f"/connections/{connection}"))["configurations"]["streams"]
    assert stream["syncMode"] == word


def test_what_a_creation_leaves_open_differs_by_api(server):
    source, destination = server.add_source("shop"), server.add_destination("warehouse")
    asked = {"sourceId": source, "destinationId": destination}
    assert config(server, "/connections/create", **asked).status_code == 422
    there = made(config(server, "/connections/create", **asked, status="active"))
    here = made(public(server, "POST", "/connections", json=asked))
    assert (there["name"], here["name"]) == ("shop → warehouse",) * 2
    assert (there["namespaceDefinition"], here["namespaceDefinition"]) == ("source", "destination")


def test_fields_that_are_not_selected_are_gone_from_the_connections_schema(server):
    connection = connected(server, configurations={"streams": [{"name": "users"}]})
    catalog = made(config(server, "/connections/get", connectionId=connection))["syncCatalog"]
    assert "selectedFields" not in catalog["streams"][0]["config"]
    catalog["streams"][0]["config"] |= {"fieldSelectionEnabled": True, "selectedFields": [{"fieldPath": ["id"]}]}
    changed = made(config(server, "/connections/update", connectionId=connection, syncCatalog=catalog))
    assert list(changed["syncCatalog"]["streams"][0]["stream"]["jsonSchema"]["properties"]) == ["id"]
    (stream,) = made(public(server, "GET", f"/connections/{connection}"))["configurations"]["streams"]
    assert stream["selectedFields"] == [{"fieldPath": ["id"]}]
    catalog["streams"][0]["config"]["selectedFields"] = [{"fieldPath": ["nothing"]}]
    refused = config(server, "/connections/update", connectionId=connection, syncCatalog=catalog)
    assert (refused.status_code, "nothing" in refused.json()["message"]) == (422, True)
