"""How the configuration of the fake Airbyte 0.40 is made, changed and deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.fakes.airbyte import FakeAirbyte
from tests.remotes.airbyte_shop import (
    CONFIGURATION,
    ORDERS,
    POSTGRES,
    made,
)
from tests.servers.airbyte_calls import NOBODY, config

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def old() -> Iterator[FakeAirbyte]:
    """Run a server of 0.40."""
    with FakeAirbyte(public=False, config="0.40") as running:
        yield running


def test_the_old_server_makes_all_of_it(old):
    old.databases["shop"] = [ORDERS]
    workspace = made(config(old, "/workspaces/create", name="team"))["workspaceId"]
    source = made(
        config(old, "/sources/create", sourceDefinitionId=POSTGRES, workspaceId=workspace, name="shop",
               connectionConfiguration=CONFIGURATION)
    )["sourceId"]  # fmt: skip
    destination = old.add_destination("warehouse", workspace_id=workspace)
    normalization = {"operatorType": "normalization", "normalization": {"option": "basic"}}
    operation = made(
        config(old, "/operations/create", workspaceId=workspace, name="n", operatorConfiguration=normalization)
    )["operationId"]
    catalog = made(config(old, "/sources/discover_schema", sourceId=source))["catalog"]
    catalog["streams"][0]["config"] |= {"fieldSelectionEnabled": True, "selectedFields": [{"fieldPath": ["id"]}]}
    asked = {"sourceId": source, "destinationId": destination, "status": "inactive", "syncCatalog": catalog}
    created = made(config(old, "/connections/create", operationIds=[operation], **asked))
    assert "selectedFields" not in created["syncCatalog"]["streams"][0]["config"]
    connection = created["connectionId"]
    assert (created["name"], created["namespaceDefinition"]) == ("shop <> warehouse", "source")
    (found,) = made(config(old, "/operations/list", connectionId=connection))["operations"]
    assert found["operatorConfiguration"] == normalization
    made(config(old, "/connections/update", connectionId=connection, status="active"))
    assert config(old, "/connections/sync", connectionId=connection).json()["job"]["status"] == "running"
    assert config(old, "/operations/delete", operationId=operation).status_code == 204
    assert made(config(old, "/operations/list", connectionId=connection))["operations"] == []
    assert config(old, "/connections/delete", connectionId=connection).status_code == 204
    assert made(config(old, "/connections/list", workspaceId=workspace))["connections"] == []
    assert [call for call, _ in old.changes] == [
        "workspaces/create", "sources/create", "operations/create", "connections/create", "connections/update",
        "operations/delete", "connections/delete",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("wrong", "status"),
    [
        ({"status": "on"}, 422),
        ({"nonBreakingChangesPreference": "propagate_fully"}, 422),
        ({"namespaceDefinition": "custom_format"}, 422),
        ({"operationIds": [NOBODY]}, 404),
        ({"schedule": {"timeUnit": "hours", "units": 1}}, 500),
        ({"scheduleType": "basic"}, 500),
        ({"scheduleType": "manual", "scheduleData": {}}, 500),
        ({"scheduleType": "cron", "scheduleData": {"cron": {"cronExpression": "0 0 8 * * ?"}}}, 422),
        ({"scheduleType": "basic", "scheduleData": {"basicSchedule": {"timeUnit": "years", "units": 1}}}, 422),
    ],
    ids=["status", "preference", "namespace", "operation", "legacy", "no data", "data", "no zone", "unit"],
)
def test_what_the_old_server_refuses(old, wrong, status):
    connection = old.add_connection("shop")
    before = made(config(old, "/connections/get", connectionId=connection))
    assert config(old, "/connections/update", connectionId=connection, **wrong).status_code == status
    assert made(config(old, "/connections/get", connectionId=connection)) == before
    assert old.changes == []


def test_an_update_of_a_source_needs_all_of_it(old):
    source = old.add_source("shop")
    assert config(old, "/sources/update", sourceId=source, name="shop").status_code == 422
    assert config(old, "/sources/update", sourceId=source, connectionConfiguration=CONFIGURATION).status_code == 422
