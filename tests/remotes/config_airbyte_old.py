"""A server that has Airbyte's configuration API, a worker that asks it, and a shop of which it knows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from airflow_elt_provider.remotes.airbyte import Airbyte
from airflow_elt_provider.remotes.config_as_code.airbyte.api import Found, Kind
from airflow_elt_provider.remotes.config_as_code.airbyte.config import ConfigObjects
from airflow_elt_provider.remotes.config_as_code.airbyte.configuration import AirbyteConfiguration
from airflow_elt_provider.remotes.opening import open_session
from tests.fakes.airbyte import FakeAirbyte
from tests.fakes.airbyte_objects import Stream
from tests.remotes.driving import driven_by_requests, settings_of

INTEGER, TEXT = {"type": "integer"}, {"type": ["null", "string"]}
TIME = {"type": "string", "format": "date-time"}
ORDERS = Stream(
    "orders", "public", {"id": INTEGER, "note": TEXT, "updated_at": TIME}, ["id"], "updated_at",
    "incremental_deduped_history",
)  # fmt: skip
USERS = Stream("users", "public", {"id": INTEGER, "name": TEXT})
DEDUPED = {"sync_mode": "incremental_deduped_history", "cursor": "updated_at", "primary_key": ["id"]}
WHOLE = {"sync_mode": "full_refresh_overwrite"}


@dataclass
class Old:
    """A server, and a worker that asks it."""

    server: FakeAirbyte
    api: ConfigObjects

    @property
    def workspace(self) -> str:
        return self.server.catalogue.workspace_id

    def run(self, flow: Any) -> Any:
        return driven_by_requests(flow, settings_of(self.server.url, api="config_v1"))

    def get(self, kind: Kind, id_: str) -> Found:
        found: Found | None = self.run(self.api.get(kind, id_))
        assert found is not None
        return found

    def update(self, kind: Kind, id_: str, **values: Any) -> None:
        """Write these fields on top of what is there."""
        now = self.get(kind, id_)
        self.run(self.api.update(kind, id_, {**now.values, **values}, set(values)))

    def bodies(self, path: str) -> list[Any]:
        """Return what was sent to this path."""
        return [seen.json() for seen in self.server.requests if seen.path.endswith(path)]

    def configuration(self) -> AirbyteConfiguration:
        """Return the whole of it, as a new process has it."""
        return AirbyteConfiguration(Airbyte(open_session(settings_of(self.server.url, api="config_v1"))))


def opened(server: FakeAirbyte) -> Old:
    """Return what a new process has of a server."""
    return Old(server, ConfigObjects(open_session(settings_of(server.url, api="config_v1"))))


@contextmanager
def served(version: Literal["0.40", "current"]) -> Iterator[Old]:
    """Serve the configuration API of a version."""
    with FakeAirbyte(public=version == "current", config=version) as server:
        yield opened(server)


def shop(old: Old, *streams: Stream, **options: Any) -> tuple[str, str, str]:
    """Add a connection and its ends; return the ids of source, destination and connection."""
    source = old.server.add_source("shop", streams=[ORDERS, USERS])
    destination = old.server.add_destination("lake")
    connection = old.server.add_connection(
        "daily", streams or [ORDERS], source_id=source, destination_id=destination, **options
    )
    return source, destination, connection
