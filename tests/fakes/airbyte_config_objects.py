"""The configuration API's calls about connections, sources, destinations and workspaces."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from typing import Any

from tests.fakes.airbyte_catalog import catalog, difference
from tests.fakes.airbyte_config_shapes import InvalidInputError, needed
from tests.fakes.airbyte_objects import CONNECTION_WORDS, Connection, Source, Stream
from tests.fakes.airbyte_state import AirbyteState

CHANGEABLE = (
    "namespaceDefinition", "namespaceFormat", "prefix", "schedule", "scheduleType", "scheduleData", "operationIds",
    "resourceRequirements", "geography", "notifySchemaChanges", "nonBreakingChangesPreference", "sourceCatalogId",
)  # fmt: skip


class ObjectCalls:
    """Calls that touch no job, except that a discovery shows one."""

    def __init__(self, state: AirbyteState) -> None:
        """Serve this state."""
        self._state = state
        self._catalogue = state.catalogue

    def calls(self) -> dict[str, Callable[[Mapping[str, Any]], Any]]:
        """Return what is served, by path."""
        known = self._catalogue
        return {
            "/connections/get": self._connection,
            "/connections/list": lambda asked: {"connections": self._of(asked, known.connections, connection_read)},
            "/connections/list_all": lambda asked: {"connections": self._of(asked, known.connections, connection_read)},
            "/connections/update": self._update,
            "/sources/list": lambda asked: {"sources": self._of(asked, known.sources, source_read)},
            "/sources/get": lambda asked: source_read(known.source(needed(asked, "sourceId", str))),
            "/sources/discover_schema": self._discover,
            "/destinations/list": lambda asked: {"destinations": self._of(asked, known.destinations, destination_read)},
            "/destinations/get": lambda asked: destination_read(known.destination(needed(asked, "destinationId", str))),
            "/workspaces/list": lambda _asked: {"workspaces": [workspace_read(w) for w in known.workspaces.values()]},
            "/workspaces/get": lambda asked: workspace_read(known.workspace(needed(asked, "workspaceId", str))),
        }

    def _of(
        self, asked: Mapping[str, Any], things: Mapping[str, Any], show: Callable[[Any], dict[str, Any]]
    ) -> list[dict[str, Any]]:
        workspace = self._catalogue.workspace(needed(asked, "workspaceId", str))
        return [show(thing) for thing in things.values() if thing.workspace_id == workspace.id]

    def _connection(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        return connection_read(self._state.connection(needed(asked, "connectionId", str)))

    def _update(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        connection = self._state.connection(needed(asked, "connectionId", str))
        status = asked.get("status") or connection.status
        if status not in CONNECTION_WORDS:
            raise InvalidInputError("status", status, f"must be one of {sorted(CONNECTION_WORDS)}")
        if asked.get("syncCatalog") is not None:
            self._select(connection, asked["syncCatalog"])
        connection.status, connection.name = status, asked.get("name") or connection.name
        connection.settings |= {name: asked[name] for name in CHANGEABLE if name in asked}
        return connection_read(connection)

    def _select(self, connection: Connection, wanted: Mapping[str, Any]) -> None:
        chosen = [item for item in wanted.get("streams", ()) if item.get("config", {}).get("selected", True)]
        connection.streams = [_stream(item["stream"]) for item in chosen]
        connection.selections = {
            stream.key: dict(item.get("config", {})) for stream, item in zip(connection.streams, chosen, strict=True)
        }

    def _discover(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        source = self._catalogue.source(needed(asked, "sourceId", str))
        streams = source.discover(fresh=asked.get("disable_cache") is True)
        now = int(self._state.now())
        body: dict[str, Any] = {
            "catalog": catalog(streams, {}),
            "catalogId": _catalog_id(source),
            "jobInfo": {
                "id": str(uuid.uuid4()),
                "configType": "discover_schema",
                "configId": source.id,
                "createdAt": now,
                "endedAt": now,
                "succeeded": True,
                "logs": {"logLines": []},
            },
        }
        if asked.get("connectionId"):
            connection = self._state.connection(needed(asked, "connectionId", str))
            transforms, breaking = difference(connection.streams, streams)
            body["catalogDiff"] = {"transforms": transforms}
            body |= {"breakingChange": breaking, "connectionStatus": connection.status}
        return body


def connection_read(connection: Connection) -> dict[str, Any]:
    """Return a ConnectionRead: with the JSON schemas, which the public API does not show."""
    return {
        "connectionId": connection.id,
        "name": connection.name,
        "namespaceDefinition": "destination",
        "prefix": "",
        "operationIds": [],
        "scheduleType": "manual",
        "geography": "auto",
        "breakingChange": False,
        "notifySchemaChanges": True,
        "nonBreakingChangesPreference": "ignore",
        **connection.settings,
        "sourceId": connection.source_id,
        "destinationId": connection.destination_id,
        "syncCatalog": catalog(connection.streams, connection.selections),
        "status": connection.status,
    }


def source_read(source: Source) -> dict[str, Any]:
    """Return a SourceRead."""
    return _actor(source, "source", "Postgres")


def destination_read(destination: Any) -> dict[str, Any]:
    """Return a DestinationRead."""
    return _actor(destination, "destination", "BigQuery")


def workspace_read(workspace: Any) -> dict[str, Any]:
    """Return a WorkspaceRead."""
    return {
        "workspaceId": workspace.id,
        "customerId": workspace.id,
        "name": workspace.name,
        "slug": workspace.name.lower().replace(" ", "-"),
        "initialSetupComplete": True,
        "anonymousDataCollection": False,
        "notifications": [],
        "defaultGeography": "auto",
    }


def _actor(actor: Any, role: str, kind: str) -> dict[str, Any]:
    return {
        f"{role}Id": actor.id,
        f"{role}DefinitionId": str(uuid.uuid5(uuid.NAMESPACE_DNS, kind.lower())),
        "workspaceId": actor.workspace_id,
        "connectionConfiguration": {"host": "db.example", "password": "**********"},
        "name": actor.name,
        f"{role}Name": kind,
    }


def _catalog_id(source: Source) -> str:
    return str(uuid.uuid5(uuid.UUID(source.id), repr(source.cached)))


def _stream(described: Mapping[str, Any]) -> Stream:
    cursor = described.get("defaultCursorField") or [None]
    return Stream(
        name=described["name"],
        namespace=described.get("namespace"),
        fields=described.get("jsonSchema", {}).get("properties", {}),
        primary_key=[path[0] for path in described.get("sourceDefinedPrimaryKey") or ()],
        cursor=cursor[0],
    )
