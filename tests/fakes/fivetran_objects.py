"""What belongs to a fake Fivetran account besides its connections: groups, agents, private links, webhooks."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tests.fakes.fivetran_secrets import MASK

if TYPE_CHECKING:
    from tests.fakes.fivetran_model import Connection


def timestamp(seconds: float | None) -> str | None:
    """Write a time as Fivetran does."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@dataclass
class Agent:
    """A Hybrid Deployment agent; `strangers` connections use it besides those of this account.

    `issued` counts how often it was given credentials; those before the last are worth nothing.
    """

    id: str
    group_id: str
    online: bool
    strangers: int
    last_used_at: float
    registered_at: float
    version: str = "1.9.4"
    display_name: str = ""
    env_type: str = "DOCKER"
    auth_type: str = "AUTO"
    issued: int = 1

    def row(self, users: list[Connection]) -> dict[str, Any]:
        """The agent, used by these connections."""
        usage = [{"connection_id": used.id, "schema": used.schema, "service": used.service} for used in users]
        usage += [
            {"connection_id": f"stranger_{number}", "schema": f"other_{number}", "service": "postgres"}
            for number in range(self.strangers)
        ]
        return {
            "id": self.id,
            "version": self.version,
            "enabled": True,
            "online": self.online,
            "usage": usage,
            "display_name": self.display_name or f"agent {self.id}",
            "group_id": self.group_id,
            "registered_at": timestamp(self.registered_at),
            "created_by": "concerning_batch",
            "deployment_type": self.env_type,
            "updated_at": timestamp(self.registered_at),
            "last_used_at": timestamp(self.last_used_at),
        }

    def with_credentials(self) -> dict[str, Any]:
        """The agent as it is answered once, when it is given credentials: `usage` is not there."""
        row = {key: value for key, value in self.row([]).items() if key != "usage"}
        shown = {**row, "token": _base64(self.token)}
        if self.auth_type == "MANUAL":
            shown["files"] = {
                "config_json": _base64(f'{{"token": "{self.token}"}}'),
                "auth_json": _base64(f'{{"client_cert": "cert-of-{self.token}"}}'),
                "docker_compose_yaml": _base64("services: {agent: {image: agent}}"),
            }
        return shown

    @property
    def token(self) -> str:
        """What the agent shows: a secret."""
        return f"agent-token-{self.id}-{self.issued}"


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@dataclass
class Group:
    """A group: what a destination belongs to."""

    id: str
    name: str
    created_at: float

    def row(self) -> dict[str, Any]:
        """The group as it is answered."""
        return {"id": self.id, "name": self.name, "created_at": timestamp(self.created_at)}


@dataclass
class PrivateLink:
    """A private link; `state` is CREATING, UPDATING, DESTROYING, OK or FAIL."""

    id: str
    state: str
    state_summary: str
    created_at: float
    name: str = ""
    region: str = "AWS_EU_WEST_1"
    service: str = "SOURCE_AWS"
    config: dict[str, Any] = field(
        default_factory=lambda: {"connection_service_name": "com.amazonaws.vpce.eu-west-1.example"}
    )

    def row(self) -> dict[str, Any]:
        """The link as it is answered."""
        return {
            "id": self.id,
            "name": self.name or f"link_{self.id}",
            "region": self.region,
            "service": self.service,
            "cloud_provider": self.region.partition("_")[0],
            "account_id": "account",
            "state": self.state,
            "state_summary": self.state_summary,
            "resource_upstream_status": "IDLE" if self.state == "OK" else "PENDING",
            "host": f"{self.id}.privatelink.example",
            "created_at": timestamp(self.created_at),
            "created_by": "concerning_batch",
            "config": self.config,
        }


@dataclass
class Webhook:
    """A webhook of the account, or of a group."""

    id: str
    url: str
    events: list[str]
    active: bool
    secret: str | None
    group_id: str | None
    created_at: float

    def row(self) -> dict[str, Any]:
        """The webhook as it is answered: the secret is masked."""
        row: dict[str, Any] = {
            "id": self.id,
            "type": "group" if self.group_id else "account",
            "url": self.url,
            "events": self.events,
            "active": self.active,
            "created_at": timestamp(self.created_at),
            "created_by": "concerning_batch",
        }
        if self.group_id:
            row["group_id"] = self.group_id
        return {**row, "secret": MASK} if self.secret else row
