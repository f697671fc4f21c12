"""What an Airbyte server is configured to do, and how tests and both APIs change it."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

from tests.fakes.airbyte_connectors import Connector, Role, merged
from tests.fakes.airbyte_objects import (
    Actor,
    Catalogue,
    Connection,
    Destination,
    Operation,
    Source,
    Stream,
    new_id,
)

POSTGRES: Mapping[str, Any] = {
    "host": "db.example",
    "port": 5432,
    "database": "app",
    "username": "elt",
    "password": "the source's password",
}
BIGQUERY: Mapping[str, Any] = {
    "project_id": "project",
    "dataset_id": "raw",
    "dataset_location": "EU",
    "credentials_json": '{"type": "service_account", "private_key": "the destination\'s key"}',
}


class Configured:
    """The objects of a server.

    `databases` are what sources can reach, whatever the server knows: streams by "host/database", by name of the
    source, or by host. A source that an API makes has the streams that are found there. `changes` are the writes that
    an API made: the call ("PATCH /connections", "connections/update") and the id of the object.
    `typed_configurations` is what `airbyte_api` wants and servers do not do: the public API shows a source's
    configuration with its `sourceType` inside.
    """

    lock: threading.RLock

    def __init__(self, **options: Any) -> None:
        """Start with an empty workspace."""
        super().__init__(**options)
        self.catalogue = Catalogue()
        self.databases: dict[str, Sequence[Any]] = {}
        self.changes: list[tuple[str, str]] = []
        self.typed_configurations = False

    def stop_jobs(self, connection: Connection) -> None:
        """Cancel what runs on a connection that goes away."""
        raise NotImplementedError

    # --- for tests ---

    def add_workspace(self, name: str) -> str:
        """Add a workspace and return its id; connections go to the first one unless told otherwise."""
        with self.lock:
            return self.catalogue.add_workspace(name)

    def add_source(
        self,
        name: str,
        connector: str = "postgres",
        configuration: Mapping[str, Any] = POSTGRES,
        streams: Sequence[Any] | None = None,
        workspace_id: str | None = None,
    ) -> str:
        """Add a source and return its id; it is discovered already. Without streams: those of `databases`."""
        with self.lock:
            if streams is not None:
                self.databases[name] = [Stream.of(stream) for stream in streams]
            known = self._connector("source", connector)
            source = self.create_source(workspace_id or self.catalogue.workspace_id, name, known, configuration)
            if streams is not None:
                source.streams = list(self.databases[name])
            source.cached = list(source.streams)
            return source.id

    def add_destination(
        self,
        name: str,
        connector: str = "bigquery",
        configuration: Mapping[str, Any] = BIGQUERY,
        workspace_id: str | None = None,
    ) -> str:
        """Add a destination and return its id."""
        with self.lock:
            known, workspace = self._connector("destination", connector), workspace_id or self.catalogue.workspace_id
            return self.catalogue.add_destination(workspace, name, known, configuration).id

    def add_connection(
        self,
        name: str,
        streams: Sequence[Any] | None = None,
        status: str = "active",
        workspace_id: str | None = None,
        *,
        source_id: str | None = None,
        destination_id: str | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> str:
        """Add a connection, with its own source and destination where none are given.

        Streams are names, mappings or Stream; none are all of the given source, or else `users`. `settings` are what
        the configuration API calls `scheduleType`, `prefix` and so on.
        """
        with self.lock:
            if source_id is None:
                given = ("users",) if streams is None else streams
                source_id = self.add_source(f"{name} source", streams=given, workspace_id=workspace_id)
            if destination_id is None:
                destination_id = self.add_destination(f"{name} destination", workspace_id=workspace_id)
            source, destination = self.catalogue.source(source_id), self.catalogue.destination(destination_id)
            chosen = source.streams if streams is None else [_known(stream, source) for stream in streams]
            connection = self.catalogue.add_connection(name, source, destination, chosen, status)
            connection.settings |= settings or {}
            return connection.id

    def connection(self, connection_id: str) -> Connection:
        """Return a connection, to read it or to change it while holding the lock."""
        return self.catalogue.connection(connection_id)

    def set_source_streams(self, connection_id: str, streams: Sequence[Any]) -> None:
        """Change what the connection's source has; the server sees it at its next discovery without cache."""
        with self.lock:
            source = self.catalogue.source(self.connection(connection_id).source_id)
            source.streams = [Stream.of(stream) for stream in streams]
            self.databases[self._database(source) or source.name] = source.streams

    def break_source(self, source_id: str, message: str = "no such host") -> None:
        """Let a source be one that cannot be discovered anew; an empty message heals it."""
        with self.lock:
            self.catalogue.source(source_id).broken = message

    def stored_configuration(self, actor_id: str) -> dict[str, Any]:
        """Return the configuration of a source or a destination with its secrets, which no API shows."""
        with self.lock:
            sources = self.catalogue.sources
            return (sources[actor_id] if actor_id in sources else self.catalogue.destination(actor_id)).configuration

    # --- for the APIs ---

    def note(self, call: str, identifier: str) -> None:
        """Remember a write."""
        self.changes.append((call, identifier))

    def create_actor(self, connector: Connector, workspace_id: str, name: str, given: Mapping[str, Any]) -> Actor:
        """Add a source or a destination."""
        if connector.role == "source":
            return self.create_source(workspace_id, name, connector, given)
        return self.catalogue.add_destination(workspace_id, name, connector, given)

    def create_source(
        self, workspace_id: str, name: str, connector: Connector, configuration: Mapping[str, Any]
    ) -> Source:
        """Add a source, which is not discovered yet."""
        source = self.catalogue.add_source(workspace_id, name, connector, configuration)
        self._connect(source)
        return source

    def change_actor(
        self, actor: Actor, name: str | None, configuration: Mapping[str, Any] | None, *, partly: bool
    ) -> None:
        """Rename it, and replace its configuration or, `partly`, what is given of it. Masks keep the secrets."""
        before = actor.configuration
        actor.name = name or actor.name
        if configuration is not None:
            whole = merged(before, configuration) if partly else configuration
            actor.configuration = actor.connector.unmasked(whole, before)
        if not isinstance(actor, Source):
            return
        if actor.streams:
            self.databases.setdefault(actor.name, actor.streams)
        if actor.configuration != before:
            actor.cached = None
        if _place(actor.configuration) != _place(before):
            self._connect(actor)

    def delete_actor(self, actor: Actor) -> None:
        """Delete it with its connections."""
        role = actor.connector.role
        for connection in self.catalogue.connections.values():
            if actor.id in {connection.source_id, connection.destination_id}:
                self.delete_connection(connection)
        things: dict[str, Any] = self.catalogue.sources if role == "source" else self.catalogue.destinations
        del things[actor.id]

    def create_connection(self, name: str | None, source: Source, destination: Destination, status: str) -> Connection:
        """Add a connection without streams."""
        return self.catalogue.add_connection(
            name or f"{source.name} → {destination.name}", source, destination, (), status
        )

    def delete_connection(self, connection: Connection) -> None:
        """Let it be one that lists no longer have."""
        self.stop_jobs(connection)
        connection.status = "deprecated"

    def create_operation(self, workspace_id: str, name: str, configuration: Mapping[str, Any]) -> Operation:
        """Add an operation that no connection has yet."""
        workspace = self.catalogue.workspace(workspace_id)
        operation = Operation(new_id(), name, workspace.id, dict(configuration))
        self.catalogue.operations[operation.id] = operation
        return operation

    # --- inside ---

    def _connector(self, role: Role, name: str) -> Connector:
        known = self.catalogue.connectors.named(role, name)
        if known is None:
            names = [connector.name for connector in self.catalogue.connectors.of(role)]
            raise ValueError(f"the fake knows the {role} connectors {names}, not {name!r}")
        return known

    def _connect(self, source: Source) -> None:
        """Let a source find what there is in the database that it is configured to read."""
        found = self._database(source)
        if found:
            source.streams = [Stream.of(stream) for stream in self.databases[found]]

    def _database(self, source: Source) -> str | None:
        address = _place(source.configuration)
        places = (address, source.name, address.partition("/")[0])
        return next((place for place in places if place in self.databases), None)


def _place(configuration: Mapping[str, Any]) -> str:
    return f"{configuration.get('host')}/{configuration.get('database')}"


def _known(given: Any, source: Source) -> Stream:
    """Return the source's stream of that name, or what is given if it is more than a name."""
    if isinstance(given, str):
        return next((stream for stream in source.streams if stream.name == given), Stream.of(given))
    return Stream.of(given)
