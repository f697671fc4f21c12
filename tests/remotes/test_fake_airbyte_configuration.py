"""The fake Airbyte's sources and destinations are one state: made through either API, they are shown right by both."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import requests

from tests.fakes.airbyte import FakeAirbyte
from tests.remotes.airbyte_shop import (
    BIGQUERY,
    CONFIGURATION,
    MASK,
    ORDERS,
    POSTGRES,
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


@pytest.fixture
def old() -> Iterator[FakeAirbyte]:
    """Run a server of 0.40."""
    with FakeAirbyte(public=False, config="0.40") as running:
        yield running


def test_a_source_of_the_public_api_is_shown_by_both(server):
    source = source_of(server)
    here = made(public(server, "GET", f"/sources/{source}"))
    there = made(config(server, "/sources/get", sourceId=source))
    assert (here["sourceType"], here["definitionId"]) == ("postgres", POSTGRES)
    assert (there["sourceName"], there["sourceDefinitionId"]) == ("Postgres", POSTGRES)
    assert here["configuration"] == there["connectionConfiguration"]
    assert here["configuration"]["password"] == MASK
    tunnel = {"tunnel_method": "SSH_PASSWORD_AUTH", "tunnel_user_password": MASK, "tunnel_port": 22}
    assert here["configuration"]["tunnel_method"] == tunnel
    assert server.stored_configuration(source) == CONFIGURATION
    assert server.changes == [("POST /sources", source)]


def test_a_mask_that_is_sent_back_keeps_the_secret(server):
    source = source_of(server)
    tunnel = {"tunnel_method": "SSH_PASSWORD_AUTH", "tunnel_user_password": MASK, "tunnel_port": 2222}
    made(public(server, "PATCH", f"/sources/{source}", json={"configuration": {"tunnel_method": tunnel}}))
    stored = server.stored_configuration(source)
    assert stored == {**CONFIGURATION, "tunnel_method": {**tunnel, "tunnel_user_password": "pass 2"}}
    whole = {"host": "new.example", "password": MASK}
    made(public(server, "PUT", f"/sources/{source}", json={"name": "new", "configuration": whole}))
    assert server.stored_configuration(source) == {"host": "new.example", "password": "pass 1"}
    changed = {"sourceId": source, "name": "newer", "connectionConfiguration": {"host": "c", "password": "pass 3"}}
    assert made(config(server, "/sources/update", **changed))["connectionConfiguration"]["password"] == MASK
    assert server.stored_configuration(source) == {"host": "c", "password": "pass 3"}
    assert [call for call, _ in server.changes[1:]] == ["PATCH /sources", "PUT /sources", "sources/update"]


def test_a_custom_connector_masks_nothing_and_has_another_definition_elsewhere(server, old):
    (crm,) = (
        one["id"]
        for one in made(public(server, "GET", f"/workspaces/{server.catalogue.workspace_id}/definitions/sources"))[
            "data"
        ]
        if one["dockerRepository"].endswith("/source-acme-crm")
    )
    body = {"name": "crm", "workspaceId": server.catalogue.workspace_id, "configuration": {"api_key": "open secret"}}
    named = {**body, "configuration": {**body["configuration"], "sourceType": "acme-crm"}}
    assert problem(public(server, "POST", "/sources", json=named))[0] == 400
    shown = made(public(server, "POST", "/sources", json={**body, "definitionId": crm}))
    assert (shown["sourceType"], shown["configuration"]) == ("", {"api_key": "open secret"})
    listed = made(config(old, "/source_definitions/list"))["sourceDefinitions"]
    (elsewhere,) = (one for one in listed if one["dockerRepository"].endswith("/source-acme-crm"))
    assert elsewhere["sourceDefinitionId"] != crm
    own = {one["dockerRepository"]: one["sourceDefinitionId"] for one in listed}
    assert own["airbyte/source-postgres"] == POSTGRES


@pytest.mark.parametrize("role", ["source", "destination"])
def test_definitions_of_both_apis_are_the_same(server, role):
    workspace = server.catalogue.workspace_id
    here = made(public(server, "GET", f"/workspaces/{workspace}/definitions/{role}s"))["data"]
    there = made(config(server, f"/{role}_definitions/list_for_workspace", workspaceId=workspace))
    assert [(one["id"], one["dockerRepository"]) for one in here] == [
        (one[f"{role}DefinitionId"], one["dockerRepository"]) for one in there[f"{role}Definitions"]
    ]
    first = {f"{role}DefinitionId": here[0]["id"]}
    assert made(config(server, f"/{role}_definitions/get", **first))["name"] == here[0]["name"]


def test_a_destination_by_the_configuration_api(server):
    given = {"project_id": "p", "dataset_id": "raw", "credentials_json": '{"private_key": "k"}',
             "loading_method": {"method": "GCS Staging", "credential": {"hmac_key_secret": "h"}}}  # fmt: skip
    asked = {"name": "bq", "workspaceId": server.catalogue.workspace_id, "destinationDefinitionId": BIGQUERY}
    created = made(config(server, "/destinations/create", connectionConfiguration=given, **asked))
    shown = made(public(server, "GET", f"/destinations/{created['destinationId']}"))
    assert shown["destinationType"] == "bigquery"
    assert shown["configuration"] == created["connectionConfiguration"]
    assert shown["configuration"]["loading_method"]["credential"]["hmac_key_secret"] == MASK
    refused = config(server, "/destinations/create", connectionConfiguration={"project_id": "p"}, **asked)
    assert (refused.status_code, "dataset_id" in refused.text) == (422, True)
    body = {"name": "x", "workspaceId": asked["workspaceId"], "configuration": {"destinationType": "bigquery"}}
    assert problem(public(server, "POST", "/destinations", json=body))[0] == 422
    assert len(server.changes) == 1


def test_deleting_a_source_takes_its_connections_along(server):
    connection = connected(server)
    start(server, connection)
    source = server.connection(connection).source_id
    assert public(server, "DELETE", f"/sources/{source}").status_code == 204
    assert public(server, "GET", f"/sources/{source}").status_code == 404
    assert config(server, "/sources/get", sourceId=source).status_code == 404
    assert server.connection(connection).status == "deprecated"
    assert server.job(server.starts(connection)[0]).status == "cancelled"
    workspace = server.catalogue.workspace_id
    assert made(public(server, "GET", "/connections"))["data"] == []
    assert made(config(server, "/connections/list", workspaceId=workspace))["connections"] == []
    assert len(made(config(server, "/connections/list_all", workspaceId=workspace))["connections"]) == 1


# --- wiping, and what tests need besides ---


def test_after_a_wipe_a_source_finds_its_database_again(server):
    connection = server.add_connection("shop", [ORDERS], settings={"prefix": "x_"})
    other = server.add_workspace("team")
    server.add_source("crm", "mysql", {"host": "crm.example"}, [USERS], other)
    server.begin(connection)
    server.wipe()
    workspace = server.catalogue.workspace_id
    assert [one["workspaceId"] for one in made(public(server, "GET", "/workspaces"))["data"]] == [workspace]
    assert made(public(server, "GET", "/sources"))["data"] == []
    body = {"name": "shop source", "workspaceId": workspace, "configuration": {"sourceType": "mysql", "host": "h"}}
    source = made(public(server, "POST", "/sources", json=body))["sourceId"]
    (stream,) = made(public(server, "GET", "/streams", params={"sourceId": source}))
    assert stream["streamName"] == "orders"


def test_connections_between_what_is_there(server):
    source, destination = server.add_source("shop", streams=[ORDERS, "users"]), server.add_destination("warehouse")
    one = server.add_connection("one", source_id=source, destination_id=destination)
    two = server.add_connection("two", ["orders"], source_id=source, destination_id=destination)
    assert [stream.name for stream in server.connection(one).streams] == ["orders", "users"]
    assert server.connection(two).streams[0].primary_key == ["id"]
    server.add_connection("three", source_id=source, settings={"scheduleType": "manual", "prefix": "x_"})
    assert [one["prefix"] for one in made(public(server, "GET", "/connections"))["data"]] == ["", "", "x_"]


def test_writes_that_are_disturbed(server):
    server.disturb_write(1)
    source_of(server)
    made(config(server, "/workspaces/list"))
    with pytest.raises(requests.ConnectionError):
        source_of(server)
    assert len(server.changes) == 2
    server.disturb_write(0, when="before", then="answer", status=500)
    made(public(server, "GET", "/sources"))
    assert config(server, "/sources/delete", sourceId=server.changes[0][1]).status_code == 500
    assert len(server.changes) == 2


def test_a_source_that_cannot_be_discovered(server):
    source, destination = source_of(server), server.add_destination("warehouse")
    server.break_source(source, "no such host")
    asked = {"sourceId": source, "destinationId": destination}
    status, title, message = problem(public(server, "POST", "/connections", json=asked))
    assert (status, title) == (500, "unexpected-problem")
    assert message.endswith("logs:no such host")
    found = made(config(server, "/sources/discover_schema", sourceId=source))
    assert found.keys() == {"jobInfo"}
    assert (found["jobInfo"]["succeeded"], found["jobInfo"]["failureReason"]["externalMessage"]) == (
        False,
        "no such host",
    )
    server.break_source(source, "")
    made(public(server, "POST", "/connections", json=asked))


def test_workspaces(server):
    workspace = made(public(server, "POST", "/workspaces", json={"name": "team"}))["workspaceId"]
    made(public(server, "PATCH", f"/workspaces/{workspace}", json={"name": "crew"}))
    assert made(config(server, "/workspaces/get", workspaceId=workspace))["name"] == "crew"
    apart = server.add_destination("warehouse", workspace_id=workspace)
    body = {"sourceId": source_of(server), "destinationId": apart}
    assert problem(public(server, "POST", "/connections", json=body))[0] == 400
