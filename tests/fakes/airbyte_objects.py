"""What an Airbyte server knows besides jobs: workspaces, sources with their streams, destinations, connections."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from tests.fakes.airbyte_connectors import Connector, Connectors, Role

Thing = TypeVar("Thing")
FULL_REFRESH = "full_refresh_overwrite"
CONNECTION_WORDS = frozenset({"active", "inactive", "deprecated", "locked"})


class UnknownIdError(LookupError):
    """Nothing has this id; `kind` is what was looked for."""

    def __init__(self, kind: str, identifier: object) -> None:
        """Say what is missing."""
        super().__init__(f"no {kind} {identifier}")
        self.kind = kind
        self.id = str(identifier)


class DiscoveryFailedError(Exception):
    """A source cannot be read; the text is the connector's."""


@dataclass(frozen=True)
class Stream:
    """A stream of a source; `fields` maps each field to its JSON schema.

    `cursor` and `primary_key` are those that the source itself defines; with `incremental` and no cursor the user has
    to choose one.
    """

    name: str
    namespace: str | None = None
    fields: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: {"id": {"type": "integer"}})
    primary_key: Sequence[str] = ()
    cursor: str | None = None
    sync_mode: str = FULL_REFRESH
    incremental: bool = False

    @staticmethod
    def of(given: Stream | Mapping[str, Any] | str) -> Stream:
        """Read a stream from its name, from a mapping of the fields above, or take it as it is."""
        if isinstance(given, Stream):
            return given
        return Stream(given) if isinstance(given, str) else Stream(**given)

    @property
    def key(self) -> tuple[str | None, str]:
        """What tells it from the others of its source."""
        return self.namespace, self.name


@dataclass
class Actor:
    """A source or a destination; `configuration` has the secrets."""

    id: str
    name: str
    workspace_id: str
    created: float
    connector: Connector
    configuration: dict[str, Any]

    @property
    def shown(self) -> dict[str, Any]:
        """Its configuration as everybody may see it."""
        return self.connector.masked(self.configuration)


@dataclass
class Source(Actor):
    """A source: what it really has, and what the server last discovered (None: nothing yet).

    `broken` is what the connector says where it can read nothing.
    """

    streams: list[Stream] = field(default_factory=list)
    cached: list[Stream] | None = None
    discoveries: int = 0
    broken: str = ""

    def discover(self, *, fresh: bool) -> list[Stream]:
        """Return the streams; unless `fresh`, those of the last discovery."""
        if fresh or self.cached is None:
            self.discoveries += 1
            if self.broken:
                raise DiscoveryFailedError(self.broken)
            self.cached = list(self.streams)
        return self.cached


@dataclass
class Destination(Actor):
    """A destination."""


@dataclass
class Operation:
    """What happens after a sync: normalization, dbt or a webhook."""

    id: str
    name: str
    workspace_id: str
    configuration: dict[str, Any]


@dataclass
class Workspace:
    """A workspace."""

    id: str
    name: str


@dataclass
class Connection:
    """A connection; `streams` are the selected ones.

    `selections` replace parts of the streams' configurations; they and `settings` are in the words of the
    configuration API.
    """

    id: str
    name: str
    workspace_id: str
    source_id: str
    destination_id: str
    streams: list[Stream]
    status: str
    created: float
    settings: dict[str, Any] = field(default_factory=dict)
    selections: dict[tuple[str | None, str], dict[str, Any]] = field(default_factory=dict)
    job_ids: list[int] = field(default_factory=list)
    running: int | None = None


class Catalogue:
    """The objects by id."""

    def __init__(self) -> None:
        """Start with one workspace, as an installation does."""
        self.connectors = Connectors()
        self.workspaces: dict[str, Workspace] = {}
        self.sources: dict[str, Source] = {}
        self.destinations: dict[str, Destination] = {}
        self.connections: dict[str, Connection] = {}
        self.operations: dict[str, Operation] = {}
        self.workspace_id = self.add_workspace("Default Workspace")

    def add_workspace(self, name: str) -> str:
        """Add a workspace and return its id."""
        workspace = Workspace(new_id(), name)
        self.workspaces[workspace.id] = workspace
        return workspace.id

    def add_source(
        self, workspace_id: str, name: str, connector: Connector, configuration: Mapping[str, Any]
    ) -> Source:
        """Add a source of which nothing is discovered yet."""
        workspace = self.workspace(workspace_id)
        source = Source(new_id(), name, workspace.id, time.time(), connector, dict(configuration))
        self.sources[source.id] = source
        return source

    def add_destination(
        self, workspace_id: str, name: str, connector: Connector, configuration: Mapping[str, Any]
    ) -> Destination:
        """Add a destination."""
        workspace = self.workspace(workspace_id)
        destination = Destination(new_id(), name, workspace.id, time.time(), connector, dict(configuration))
        self.destinations[destination.id] = destination
        return destination

    def add_connection(
        self, name: str, source: Source, destination: Destination, streams: Sequence[Stream], status: str
    ) -> Connection:
        """Add a connection between what is there."""
        if status not in CONNECTION_WORDS:
            raise ValueError(f"a connection is one of {sorted(CONNECTION_WORDS)}, not {status!r}")
        connection = Connection(
            new_id(), name, source.workspace_id, source.id, destination.id, list(streams), status, time.time()
        )
        self.connections[connection.id] = connection
        return connection

    def actor(self, role: Role, identifier: str) -> Actor:
        """Return a source or a destination."""
        return self.source(identifier) if role == "source" else self.destination(identifier)

    def forget(self) -> None:
        """Lose everything but the first workspace."""
        for things in (self.sources, self.destinations, self.connections, self.operations):
            things.clear()
        for identifier in self.workspaces.keys() - {self.workspace_id}:
            del self.workspaces[identifier]

    def workspace(self, identifier: str) -> Workspace:
        """Return a workspace."""
        return _found(self.workspaces, "workspace", identifier)

    def source(self, identifier: str) -> Source:
        """Return a source."""
        return _found(self.sources, "source", identifier)

    def destination(self, identifier: str) -> Destination:
        """Return a destination."""
        return _found(self.destinations, "destination", identifier)

    def connection(self, identifier: str) -> Connection:
        """Return a connection."""
        return _found(self.connections, "connection", identifier)

    def operation(self, identifier: str) -> Operation:
        """Return an operation."""
        return _found(self.operations, "operation", identifier)


def new_id() -> str:
    """Return an id that nothing has."""
    return str(uuid.uuid4())


def _found(things: Mapping[str, Thing], kind: str, identifier: str) -> Thing:
    if identifier not in things:
        raise UnknownIdError(kind, identifier)
    return things[identifier]
