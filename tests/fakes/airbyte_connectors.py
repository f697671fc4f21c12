"""The connectors an Airbyte server knows: their definitions, and which values of a configuration are secret."""

from __future__ import annotations

import copy
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

MASK = "**********"
Role = Literal["source", "destination"]
TUNNEL = ("tunnel_method.tunnel_user_password", "tunnel_method.ssh_key")
SSL = ("ssl_mode.client_key", "ssl_mode.client_key_password")


@dataclass(frozen=True)
class Connector:
    """A connector's definition, with what matters of its specification.

    `secrets` are dotted paths: what is masked; `required` are keys without which no configuration is taken. A `custom`
    one is not Airbyte's: its definition differs from server to server, and the public API has no name for it.
    """

    role: Role
    name: str
    title: str
    definition: str
    secrets: Sequence[str] = ()
    required: Sequence[str] = ()
    custom: bool = False
    tag: str = "3.6.9"

    @property
    def repository(self) -> str:
        """Its image."""
        return f"{'registry.acme.example' if self.custom else 'airbyte'}/{self.role}-{self.name}"

    @property
    def type(self) -> str:
        """What the public API calls it: nothing, if it is not Airbyte's own."""
        return "" if self.custom else self.name

    def missing(self, configuration: Mapping[str, Any]) -> list[str]:
        """Return the keys that a configuration lacks."""
        return [name for name in self.required if not _given(configuration.get(name))]

    def masked(self, configuration: Mapping[str, Any]) -> dict[str, Any]:
        """Return a configuration as the server shows it."""
        shown = copy.deepcopy(dict(configuration))
        for place, key in _places(shown, self.secrets):
            place[key] = MASK
        return shown

    def unmasked(self, given: Mapping[str, Any], stored: Mapping[str, Any]) -> dict[str, Any]:
        """Return what is to be stored: a mask that was sent back keeps the secret that is there."""
        kept = copy.deepcopy(dict(given))
        for path in self.secrets:
            for place, key in _places(kept, [path]):
                known = list(_places(stored, [path]))
                if place[key] == MASK and known:
                    place[key] = known[0][0][known[0][1]]
        return kept


def _own(role: Role, name: str, title: str, definition: str, secrets: Sequence[str], *required: str) -> Connector:
    return Connector(role, name, title, definition, tuple(secrets), required)


OWN = (
    _own("source", "postgres", "Postgres", "decd338e-5647-4c0b-adf4-da0e75f5a750",
         ["password", *TUNNEL, *SSL], "host"),
    _own("source", "mysql", "MySQL", "435bb9a5-7887-4809-aa58-28c27df0d7ad",
         ["password", *TUNNEL, *SSL], "host"),
    _own("source", "mssql", "Microsoft SQL Server (MSSQL)", "b5ea17b1-f170-46dc-bc31-cc744ca984c1",
         ["password", *TUNNEL], "host"),
    _own("source", "zendesk-support", "Zendesk Support", "79c1aa37-dae3-42ae-b333-d1c105477715",
         ["credentials.api_token", "credentials.access_token", "credentials.client_secret"], "subdomain"),
    _own("source", "github", "GitHub", "ef69ef6e-aa7f-4af1-a01d-ef775033524e",
         ["credentials.personal_access_token", "credentials.access_token", "credentials.client_secret"]),
    _own("destination", "bigquery", "BigQuery", "22f6c74f-5699-40ff-833c-4a879ea40133",
         ["credentials_json", "loading_method.credential.hmac_key_secret",
          "loading_method.credential.hmac_key_access_id"], "project_id", "dataset_id"),
    _own("destination", "postgres", "Postgres", "25c5221d-dce2-4163-ade9-739ef790f503",
         ["password", *TUNNEL, *SSL], "host"),
    _own("destination", "mssql", "MS SQL Server", "d4353156-9217-4cad-8dd7-c108fd4f74cf",
         ["password", *TUNNEL], "host"),
    _own("destination", "snowflake", "Snowflake", "424892c4-daac-4491-b35d-c6688ba547ba",
         ["credentials.password", "credentials.private_key", "credentials.private_key_password"], "host"),
    _own("destination", "s3", "S3", "4816b78f-1489-44c1-9060-4b19d5fa9362",
         ["access_key_id", "secret_access_key"], "s3_bucket_name"),
)  # fmt: skip
CUSTOM: Sequence[tuple[Role, str, str]] = (
    ("source", "acme-crm", "Acme CRM"),
    ("destination", "acme-lake", "Acme Lake"),
)


class Connectors:
    """The connectors of one server: Airbyte's own, and custom ones.

    The custom ones' specifications do not say which of their fields are secret, so nothing of them is masked.
    """

    def __init__(self) -> None:
        """Give the custom ones definitions that no other server has."""
        custom = [Connector(role, name, title, str(uuid.uuid4()), custom=True) for role, name, title in CUSTOM]
        self._all = [*OWN, *custom]

    def of(self, role: Role) -> list[Connector]:
        """Return those of sources, or of destinations."""
        return [connector for connector in self._all if connector.role == role]

    def named(self, role: Role, name: str) -> Connector | None:
        """Return one by its short name, custom ones too."""
        return next((connector for connector in self.of(role) if connector.name == name), None)

    def defined(self, role: Role, definition: str) -> Connector | None:
        """Return one by its definition's UUID."""
        return next((connector for connector in self.of(role) if connector.definition == definition), None)


def merged(stored: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration with parts of it replaced, objects inside objects too; lists are replaced whole."""
    result = dict(stored)
    for key, value in given.items():
        old = result.get(key)
        result[key] = merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return result


def _places(configuration: Any, paths: Sequence[str]) -> Iterator[tuple[Any, str]]:
    """Yield the mapping and the key of each path that leads to a value."""
    for path in paths:
        place, (*above, key) = configuration, path.split(".")
        for part in above:
            place = place.get(part) if isinstance(place, Mapping) else None
        if isinstance(place, Mapping) and _given(place.get(key)):
            yield place, key


def _given(value: Any) -> bool:
    return value is not None and value != ""
