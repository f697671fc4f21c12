"""What surrounds the connections of a fake Fivetran: sources, groups, agents, private links, webhooks, and time."""

from __future__ import annotations

import heapq
import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tests.fakes.fivetran_model import Connection
from tests.fakes.fivetran_objects import Agent, Group, PrivateLink, Webhook
from tests.fakes.fivetran_schemas import Source, known_after, merged_schemas, reloaded, schema_config, source_of
from tests.fakes.http_fake import FakeServer


class FivetranWorld(FakeServer):
    """State and control; what is due happens when the next request or control call comes.

    `sources`: databases by host, database and, where each connection has its own, the connection's schema. They outlive
    connections: one that is deleted and made again finds the same tables.
    `link_seconds`: how long a private link is CREATING or UPDATING before it is `link_outcome`; None: until
    `settle_link`.
    `changes`: every POST, PATCH and DELETE that was not refused, by method and path.
    """

    def __init__(self, **tls: Any) -> None:
        """Describe an account with one group."""
        super().__init__(**tls)
        self.clock: Callable[[], float] = time.time
        self.groups: dict[str, Group] = {}
        self.connections: dict[str, Connection] = {}
        self.agents: dict[str, Agent] = {}
        self.private_links: dict[str, PrivateLink] = {}
        self.webhooks: dict[str, Webhook] = {}
        self.sources: dict[tuple[str, str, str], Source] = {}
        self.changes: list[tuple[str, str]] = []
        self.link_seconds: float | None = 0.0
        self.link_outcome = ("OK", "")
        self._due: list[tuple[float, int, Callable[[float], None]]] = []
        self._numbers = itertools.count(1)
        self.group_id = self.add_group("warehouse")

    # --- what there is ---

    def add_group(self, name: str) -> str:
        """Add a group (a destination)."""
        with self.lock:
            group_id = self._new_id("group")
            self.groups[group_id] = Group(group_id, name, self.clock())
            return group_id

    def add_agent(
        self,
        *,
        online: bool = True,
        usage: int = 0,
        group_id: str | None = None,
        display_name: str = "",
        env_type: str = "DOCKER",
    ) -> str:
        """Add a Hybrid Deployment agent that `usage` connections of somebody else use."""
        with self.lock:
            agent_id, now = self._new_id("agent"), self.clock()
            agent = Agent(agent_id, group_id or self.group_id, online, usage, now, now)
            agent.display_name, agent.env_type = display_name, env_type
            self.agents[agent_id] = agent
            return agent_id

    def add_private_link(self, state: str = "OK", state_summary: str = "", **values: Any) -> str:
        """Add a private link; `values`: name, region, service, config."""
        with self.lock:
            link_id = self._new_id("link")
            self.private_links[link_id] = PrivateLink(link_id, state, state_summary, self.clock(), **values)
            return link_id

    def add_webhook(
        self,
        url: str,
        events: Sequence[str] = ("sync_end",),
        group_id: str | None = None,
        *,
        active: bool = True,
        secret: str | None = None,
    ) -> str:
        """Add a webhook of the account, or of a group."""
        with self.lock:
            hook_id = self._new_id("webhook")
            self.webhooks[hook_id] = Webhook(hook_id, url, list(events), active, secret, group_id, self.clock())
            return hook_id

    # --- sources ---

    def add_source(self, host: str, database: str, tables: Mapping[str, Any]) -> None:
        """Let there be a database, for whoever connects to it; `tables`: {schema: [tables] or {table: [columns]}}."""
        with self.lock:
            self.sources[host, database, ""] = source_of(tables)

    def set_source_tables(self, connection_id: str, tables: Mapping[str, Any]) -> None:
        """Let a connection's source have these tables from now on; it sees them at its next look (reload)."""
        with self.lock:
            self.sources[own_place(self.connections[connection_id])] = source_of(tables)

    def source_tables(self, connection_id: str) -> Source:
        """Return what a connection's source has now: `{schema: {table: [columns]}}`."""
        return self._source(self.connections[connection_id])

    def _source(self, connection: Connection) -> Source:
        own = own_place(connection)
        return self.sources.get(own) or self.sources.get((*own[:2], "")) or source_of({"public": ["customer"]})

    def look_at_source(self, connection: Connection) -> None:
        """Read the schemas of a connection from its source."""
        source, first = self._source(connection), not connection.captured
        config = connection.schemas or {**schema_config({}), **_handling(connection.awaited)}
        connection.schemas = reloaded(config, source)
        handling = connection.schemas["schema_change_handling"]
        connection.known = known_after(connection.known, source, handling, first=first)
        connection.captured = True
        if connection.awaited:
            connection.schemas = merged_schemas(connection.schemas, connection.awaited, unknown="ignored")
            connection.awaited = {}

    # --- private links ---

    def settle_link(self, link_id: str, state: str = "OK", state_summary: str = "") -> None:
        """End the creation or the change of a private link."""
        with self.lock:
            link = self.private_links[link_id]
            link.state, link.state_summary = state, state_summary

    def _changing_link(self, link: PrivateLink, state: str) -> None:
        link.state, link.state_summary = state, "waiting for the cloud"
        if self.link_seconds is not None:
            outcome = self.link_outcome

            def ended(at: float) -> None:
                if link.state == state:
                    link.state, link.state_summary = outcome

            self._later(self.clock() + self.link_seconds, ended)

    # --- time ---

    def settle(self) -> None:
        """Let everything happen that was due by now."""
        now = self.clock()
        while self._due and self._due[0][0] <= now:
            at, _, happens = heapq.heappop(self._due)
            happens(at)

    def _later(self, at: float, happens: Callable[[float], None]) -> None:
        heapq.heappush(self._due, (at, next(self._numbers), happens))

    def _new_id(self, kind: str) -> str:
        return f"{kind}_{next(self._numbers):06d}"


def own_place(connection: Connection) -> tuple[str, str, str]:
    """Return where a connection's own source is registered."""
    config = connection.config
    return str(config.get("host", connection.service)), str(config.get("database", "")), connection.schema


def _handling(awaited: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in awaited.items() if key == "schema_change_handling"}
