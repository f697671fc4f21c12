"""The example that the tests of the fake Airbyte's configuration share."""

from __future__ import annotations

from typing import Any

import requests

from tests.fakes.airbyte import FakeAirbyte
from tests.servers.airbyte_calls import public

MASK = "**********"
POSTGRES = "decd338e-5647-4c0b-adf4-da0e75f5a750"
BIGQUERY = "22f6c74f-5699-40ff-833c-4a879ea40133"
CONFIGURATION = {
    "host": "shop.example",
    "database": "shop",
    "password": "pass 1",
    "tunnel_method": {"tunnel_method": "SSH_PASSWORD_AUTH", "tunnel_user_password": "pass 2", "tunnel_port": 22},
}
ORDERS = {
    "name": "orders", "namespace": "app", "primary_key": ["id"], "incremental": True,
    "fields": {"id": {"type": "integer"}, "at": {"type": "string", "format": "date-time"}, "note": {"type": "string"}},
}  # fmt: skip
USERS = {"name": "users", "namespace": "app", "fields": {"id": {"type": "integer"}, "mail": {"type": "string"}}}
DEDUPED = {
    "name": "orders", "namespace": "app", "syncMode": "incremental_deduped_history", "cursorField": ["at"],
    "primaryKey": [["id"]], "selectedFields": [{"fieldPath": ["id"]}, {"fieldPath": ["at"]}],
}  # fmt: skip


def made(response: requests.Response) -> dict[str, Any]:
    """Return what was answered, which is no refusal."""
    assert response.status_code == 200, response.text
    return response.json()


def source_of(server: FakeAirbyte, **more: Any) -> str:
    """Make a source by the public API."""
    body = {"name": "shop", "workspaceId": server.catalogue.workspace_id, "configuration": {**CONFIGURATION, **more}}
    return made(public(server, "POST", "/sources", json={**body, "definitionId": POSTGRES}))["sourceId"]


def connected(server: FakeAirbyte, **more: Any) -> str:
    """Make a connection by the public API."""
    body = {"sourceId": source_of(server), "destinationId": server.add_destination("warehouse"), **more}
    return made(public(server, "POST", "/connections", json=body))["connectionId"]
