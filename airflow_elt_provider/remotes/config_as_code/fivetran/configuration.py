"""A Fivetran account's configuration: agents, private links, webhooks, and connections with their schemas.

A workspace is a group. See :mod:`~airflow_elt_provider.remotes.config_as_code.fivetran.connections` for what a file
holds of a connection, and :mod:`~airflow_elt_provider.remotes.config_as_code.fivetran.schemas` for its ``schema``.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from typing import ClassVar, Final

from airflow_elt_provider.errors import ConfigurationError
from airflow_elt_provider.remotes.config_as_code.fivetran.account import AccountObjects
from airflow_elt_provider.remotes.config_as_code.fivetran.api import FivetranApi
from airflow_elt_provider.remotes.config_as_code.fivetran.calls import ConnectionCalls
from airflow_elt_provider.remotes.config_as_code.fivetran.connections import CONNECTION, keys_of, place_of
from airflow_elt_provider.remotes.config_as_code.fivetran.flows import Connections
from airflow_elt_provider.remotes.config_as_code.model import (
    ConfigObject,
    Key,
    KindSpec,
    Tell,
    Tree,
    tree_of,
    unique_names,
)
from airflow_elt_provider.remotes.config_as_code.schema_lock import Drift, SchemaLock
from airflow_elt_provider.remotes.config_as_code.server import Discovered
from airflow_elt_provider.remotes.fivetran import Fivetran
from airflow_elt_provider.remotes.flow import Flow, JsonObject

log = logging.getLogger(__name__)

_PAUSED: Final = {"paused": True}


class FivetranConfiguration:
    """One account."""

    remote: ClassVar[str] = "fivetran"
    kinds: ClassVar[Sequence[KindSpec]] = (*AccountObjects.kinds, CONNECTION)

    def __init__(self, remote: Fivetran) -> None:
        self._calls = ConnectionCalls(remote.session)
        self.account = AccountObjects(FivetranApi(remote.session))
        self._connections = Connections(self._calls, self.account)
        self._groups: dict[str, str] = {}

    # --- read ---

    def read(self, workspaces: Sequence[str] | None, tell: Tell) -> Flow[Tree]:
        """Return all objects of the account and of these groups; a group that there is not is one without objects."""
        yield from self._list_groups()
        groups = {id_: name for name, id_ in self._groups.items() if workspaces is None or name in workspaces}
        for name in sorted({*(workspaces or ())} - self._groups.keys()):
            log.info("Fivetran has no group %r: it counts as empty.", name)
        of_account = yield from self.account.read({id_: name for name, id_ in self._groups.items()}, groups.values())
        everything = len(groups) == len(self._groups)
        connections = yield from self._connections.read(groups, tell, everything=everything)
        return tree_of(self.remote, [*of_account, *connections])

    def reread(self, key: Key) -> Flow[ConfigObject | None]:
        """Return one object as it is now; None: it is gone, or was never there."""
        if key.kind != CONNECTION.name:
            return (yield from self.account.reread(key))
        if key.workspace not in self._groups:
            yield from self._list_groups()
        return (yield from self._connections.reread(key, self._groups.get(key.workspace)))

    def _list_groups(self) -> Flow[None]:
        rows = yield from self._calls.groups()
        names = unique_names((str(row["id"]), str(row["name"])) for row in rows)
        self._groups = {name: id_ for id_, name in names.items()}

    # --- change ---

    def objections(self, wanted: Sequence[ConfigObject]) -> Flow[Sequence[str]]:
        """Return what cannot be written of these objects, each with its remedy."""
        yield from ()
        connections = [one for one in wanted if one.key.kind == CONNECTION.name]
        others, keys = [one for one in wanted if one.key.kind != CONNECTION.name], {one.key for one in wanted}
        said = [*self._unclear_groups(wanted), *self.account.objections(others)]
        return [*said, *(text for one in connections for text in self._connections.objections(one, keys))]

    def _unclear_groups(self, wanted: Sequence[ConfigObject]) -> list[str]:
        names = {one.key.workspace for one in wanted if one.key.workspace} - self._groups.keys()
        return [
            f"Fivetran has several groups {name!r}. Remedy: rename all but one in the dashboard"
            for name in sorted(names) if any(known.startswith(f"{name} [") for known in self._groups)
        ]  # fmt: skip

    def create(self, wanted: ConfigObject) -> Flow[None]:
        """Make an object, and its group where there is none; a connection is paused until :meth:`update` wakes it."""
        group_id = (yield from self._group(wanted.key.workspace)) if wanted.key.workspace else ""
        if wanted.key.kind == CONNECTION.name:
            yield from self._connections.create(wanted, group_id)
        else:
            yield from self.account.create(wanted, group_id)

    def _group(self, name: str) -> Flow[str]:
        if name not in self._groups:
            yield from self._list_groups()  # an answer that was lost may have made it
        if name not in self._groups:
            log.info("Fivetran has no group %r: making it. It needs a destination before anything can sync.", name)
            self._groups[name] = yield from self._calls.create_group(name)
        self.account.know_group(self._groups[name], name)
        return self._groups[name]

    def update(self, before: ConfigObject, wanted: ConfigObject, fields: Collection[str]) -> Flow[None]:
        """Change an object; of a connection nothing is read anew."""
        of_connections = wanted.key.kind == CONNECTION.name
        yield from (self._connections if of_connections else self.account).update(before, wanted, fields)

    def switched_off(self, one: ConfigObject) -> ConfigObject:
        """Return a connection as one that is paused."""
        return ConfigObject(one.key, {**one.values, **_PAUSED}) if one.key.kind == CONNECTION.name else one

    def delete(self, key: Key) -> Flow[None]:
        """Delete an object; what a connection has synced stays in the destination."""
        yield from (self._connections if key.kind == CONNECTION.name else self.account).delete(key)

    def reset(self, key: Key) -> Flow[None]:
        """Let a connection read everything anew.

        :raises TransientError: while a sync runs that cannot be completed early.
        """
        if key.kind == CONNECTION.name:
            yield from self._connections.reset(key)

    # --- schemas ---

    def schemas(self, keys: Sequence[Key], tell: Tell) -> Flow[Mapping[Key, SchemaLock]]:
        """Return the tables of these connections, and the columns of those that are synced, without types.

        Fivetran tells columns one table a call, and asks the source for them. Of such calls an account has 500 a minute
        and 5,000 an hour; half of that is used: a first export of 5,000 tables takes about two hours. Connections that
        are not connected are left out.
        """
        return (yield from self._connections.schemas([key for key in keys if key.kind == CONNECTION.name], tell))

    def discover(self, connection_id: str) -> Flow[Discovered]:
        """Let Fivetran look at the source of a connection anew: a call, and one for each table that is synced."""
        detail = yield from self._calls.detail(connection_id)
        if detail is None:
            raise ConfigurationError(
                f"Fivetran has no connection {connection_id!r}.",
                hint="copy the connection id from Setup in the dashboard; it looks like 'speak_inexpensive'",
            )
        owner = yield from self._key(detail)
        schema, selected = yield from self._connections.found_now(connection_id, place_of(owner))
        return Discovered(owner, schema, selected)

    def _key(self, detail: JsonObject) -> Flow[Key]:
        if detail["group_id"] not in self._groups.values():
            yield from self._list_groups()
        names = {id_: name for name, id_ in self._groups.items()}
        group_id = str(detail["group_id"])
        rows = yield from self._calls.rows(group_id, str(detail["schema"]))
        return keys_of(rows or [detail], {group_id: names[group_id]})[str(detail["id"])]

    def accept(self, connection_id: str, found: Discovered, drifts: Sequence[Drift]) -> Flow[None]:
        """Let a connection sync the tables and columns that are new; what is gone Fivetran drops by itself."""
        yield from self._connections.accept(connection_id, drifts, place_of(found.owner))
