"""What an Airbyte server knows besides jobs: workspaces, sources with their streams, destinations, connections."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

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


@dataclass(frozen=True)
class Stream:
    """A stream of a source; `fields` maps each field to its JSON schema."""

    name: str
    namespace: str | None = None
    fields: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: {"id": {"type": "integer"}})
    primary_key: Sequence[str] = ()
    cursor: str | None = None
    sync_mode: str = FULL_REFRESH

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
class Source:
    """A source: what it really has, and what the server last discovered."""

    id: str
    name: str
    workspace_id: str
    streams: list[Stream]
    cached: list[Stream]
    created: float
    discoveries: int = 0

    def discover(self, *, fresh: bool) -> list[Stream]:
        """Return the streams; unless `fresh`, those of the last discovery."""
        if fresh:
            self.discoveries += 1
            self.cached = list(self.streams)
        return self.cached


@dataclass
class Destination:
    """A destination."""

    id: str
    name: str
    workspace_id: str
    created: float


@dataclass
class Workspace:
    """A workspace."""

    id: str
    name: str


@dataclass
class Connection:
    """A connection; `streams` are the selected ones, `settings` what both APIs pass through unread."""

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
        self.workspaces: dict[str, Workspace] = {}
        self.sources: dict[str, Source] = {}
        self.destinations: dict[str, Destination] = {}
        self.connections: dict[str, Connection] = {}
        self.workspace_id = self.add_workspace("Default Workspace")

    def add_workspace(self, name: str) -> str:
        """Add a workspace and return its id."""
        workspace = Workspace(_new_id(), name)
        self.workspaces[workspace.id] = workspace
        return workspace.id

    def add(self, name: str, streams: Sequence[Any], status: str, workspace_id: str | None) -> Connection:
        """Add a connection with a source and a destination of its own."""
        if status not in CONNECTION_WORDS:
            raise ValueError(f"a connection is one of {sorted(CONNECTION_WORDS)}, not {status!r}")
        workspace = workspace_id or self.workspace_id
        now = time.time()
        read = [Stream.of(stream) for stream in streams]
        source = Source(_new_id(), f"{name} source", workspace, list(read), list(read), now)
        destination = Destination(_new_id(), f"{name} destination", workspace, now)
        connection = Connection(_new_id(), name, workspace, source.id, destination.id, read, status, now)
        self.sources[source.id] = source
        self.destinations[destination.id] = destination
        self.connections[connection.id] = connection
        return connection

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


def _new_id() -> str:
    return str(uuid.uuid4())


def _found(things: Mapping[str, Thing], kind: str, identifier: str) -> Thing:
    if identifier not in things:
        raise UnknownIdError(kind, identifier)
    return things[identifier]
