"""Fivetran's connections: read, made, changed, and held against their sources."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final

from airflow_elt_provider.core.secret import Secret
from airflow_elt_provider.errors import ConfigurationError
from airflow_elt_provider.remotes.config_as_code.fivetran.account import AccountObjects
from airflow_elt_provider.remotes.config_as_code.fivetran.api import secrets_of
from airflow_elt_provider.remotes.config_as_code.fivetran.calls import ConnectionCalls, in_batches
from airflow_elt_provider.remotes.config_as_code.fivetran.connections import (
    beyond,
    check,
    keys_of,
    namings,
    place_of,
    settings,
    values_of,
)
from airflow_elt_provider.remotes.config_as_code.fivetran.schemas import (
    BLOCK_ALL,
    Name,
    canonical,
    lock_of,
    present,
    selected,
    synced_tables,
    with_columns,
)
from airflow_elt_provider.remotes.config_as_code.fivetran.selection import Wanted, additions, patch
from airflow_elt_provider.remotes.config_as_code.model import ConfigObject, Key, Tell, Values
from airflow_elt_provider.remotes.config_as_code.schema_lock import Drift, SchemaLock
from airflow_elt_provider.remotes.flow import Flow, JsonObject

log = logging.getLogger(__name__)

_SHOWN: Final = 5
_CONNECTED: Final = "connected"
_HIDDEN: Final = "***"
_BAD_TESTS: Final = frozenset({"FAILED", "JOB_FAILED"})
_SCHEMA: Final = frozenset({"schema"})
_LATER: Final = frozenset({"paused", "schema"})


class Connections:
    """The connections of an account.

    :param account: knows agents and private links.
    """

    def __init__(self, calls: ConnectionCalls, account: AccountObjects) -> None:
        self._calls = calls
        self._account = account
        self._ids: dict[Key, str] = {}
        self._beyond: dict[str, list[str]] = {}

    # --- read ---

    def read(self, groups: Mapping[str, str], tell: Tell, *, everything: bool) -> Flow[list[ConfigObject]]:
        """Return the connections of these groups: two calls for each, and more under BLOCK_ALL.

        :param groups: names by id.
        :param everything: whether these are all groups that there are: then a thousand are listed at once.
        """
        rows: list[JsonObject] = []
        for group_id in [""] if everything else groups:
            rows += yield from self._calls.rows(group_id)
        keys = keys_of([row for row in rows if row["group_id"] in groups], groups)
        self._ids.update({key: id_ for id_, key in keys.items()})
        self._beyond = {}
        found = yield from in_batches(
            list(keys.items()), lambda pair: self._object(pair[1], pair[0]), tell, "connections"
        )
        for what, places in sorted(self._beyond.items()):
            shown = ", ".join(places[:_SHOWN]) + (f" and {len(places) - _SHOWN} more" if len(places) > _SHOWN else "")
            log.warning("No file tells the %s of %s: one that is made of its file is without it.", what, shown)
        return [one for one in found if one]

    def reread(self, key: Key, group_id: str | None) -> Flow[ConfigObject | None]:
        """Return a connection as it is now; None: there is none.

        :param group_id: None: there is no such group.
        """
        if key in self._ids:
            known = yield from self._object(key, self._ids[key])
            if known:
                return known
            del self._ids[key]
        if group_id is None:
            return None
        rows = yield from self._calls.rows(group_id, key.name)
        if len(rows) > 1:
            raise ConfigurationError(f"There are several of {key}.", hint="rename all but one in the dashboard")
        if not rows:
            return None
        self._ids[key] = str(rows[0]["id"])
        return (yield from self._object(key, self._ids[key]))

    def _object(self, key: Key, id_: str) -> Flow[ConfigObject | None]:
        detail = yield from self._calls.detail(id_)
        if detail is None:
            return None
        for what in beyond(detail):
            self._beyond.setdefault(what, []).append(place_of(key))
        values = values_of(detail, lambda kind, id_: self._account.name_of(kind, id_, key.workspace))
        raw = yield from self._calls.schemas(id_)
        if raw is None:
            return ConfigObject(key, values, untold=_SCHEMA)
        whole = yield from self._told(key, raw, id_)
        values["schema"] = canonical(whole or raw)
        return ConfigObject(key, values, untold=frozenset() if whole else _SCHEMA)

    def _told(self, key: Key, raw: JsonObject, id_: str) -> Flow[JsonObject | None]:
        """Return the settings of schemas as a file tells them; None: not all columns can be asked for.

        Then those are told of which somebody spoke: a new file may hold fewer of them than are synced, never more.
        """
        try:
            return (yield from self._whole(raw, id_, synced_tables(raw)))
        except ConfigurationError as error:
            log.warning("Not all columns that %s syncs can be told: %s", place_of(key), error.message)
            return None

    def _whole(self, raw: JsonObject, id_: str, tables: list[Name]) -> Flow[JsonObject]:
        """Return the settings of schemas with all columns of these tables, where they matter: under BLOCK_ALL.

        :raises ConfigurationError: where they cannot be asked for: the connection is not connected.
        """
        if raw["schema_change_handling"] != BLOCK_ALL:
            return raw
        return with_columns(raw, (yield from self._columns(raw, id_, tables)))

    def _columns(self, raw: JsonObject, id_: str, tables: list[Name]) -> Flow[dict[Name, JsonObject]]:
        found: dict[Name, JsonObject] = {}
        for name in present(raw, tables):
            found[name] = yield from self._calls.columns(id_, *name)
        return found

    # --- change ---

    def objections(self, wanted: ConfigObject, made: Collection[Key] = ()) -> list[str]:
        """Return what cannot be written of a connection, with the remedy, as far as that can be told without asking.

        :param made: what is made before it.
        """
        place = place_of(wanted.key)
        try:
            check(wanted.values, place)
            Wanted.parse(wanted.values.get("schema", {}), place)
        except ConfigurationError as error:
            return [str(error)]
        agent = (wanted.values.get("networking") or {}).get("agent")
        unclear = agent and self._account.unclear("agent", wanted.key.workspace, str(agent), made)
        return [f"{place}: networking.agent: {unclear[0]} Remedy: {unclear[1]}"] if unclear else []

    def create(self, wanted: ConfigObject, group_id: str) -> Flow[None]:
        """Make a connection that is paused: it begins to sync only when all its values are set.

        Its setup tests are not run along with it: they take minutes, in which an answer may be lost, and a connection
        is made even where they fail.
        """
        place, values = place_of(wanted.key), wanted.values
        if "schema" in values:
            Wanted.parse(values["schema"], place)
        body = settings({}, values, values.keys() - _LATER, self._id_of(wanted.key), place)
        body |= {"group_id": group_id, "service": values["service"], "paused": True, "run_setup_tests": False}
        yield from self._link_ready(values)
        made = yield from self._made(wanted.key, body)
        self._ids[wanted.key] = str(made["id"])
        if made["schema"] != wanted.key.name:
            raise ConfigurationError(
                f"{place}: Fivetran calls it {made['schema']!r}.", hint="write that name into its file, and go on"
            )

    def _made(self, key: Key, body: JsonObject) -> Flow[JsonObject]:
        config, place = body.get("config") or {}, place_of(key)
        refusals: list[ConfigurationError] = []
        for naming in namings(key.name, config):
            try:
                return (yield from self._calls.create({**body, "config": {**config, **naming}}, place))
            except ConfigurationError as error:
                refusals.append(error)
        said = dict.fromkeys(error.message for error in refusals)
        raise ConfigurationError(" Or: ".join(said), hint=refusals[0].hint)

    def update(self, before: ConfigObject, wanted: ConfigObject, fields: Collection[str]) -> Flow[None]:
        """Change a connection: pause it first or wake it last, its schemas in between.

        One that does not connect stays paused and without its schemas, which the log says and who reads it again sees:
        the others need not wait until somebody has authorized it.
        """
        key, place, values = wanted.key, place_of(wanted.key), wanted.values
        id_ = self._id(key)
        schema = Wanted.parse(values["schema"], place) if "schema" in fields else None
        body = settings(before.values, values, set(fields) - _LATER, self._id_of(key), place)
        if "networking" in fields:
            yield from self._link_ready(values)
        paused = values["paused"] if "paused" in fields else None
        if paused is True:
            body["paused"] = True
        if body:
            yield from self._calls.change(id_, body, place)
        if (schema or paused is False) and not (yield from self._connects(id_, place, secrets_of(values))):
            return
        if schema:
            yield from self._change_schemas(id_, schema, place)
        if paused is False:
            yield from self._calls.change(id_, {"paused": False}, place)

    def _connects(self, id_: str, place: str, secrets: Sequence[Secret]) -> Flow[bool]:
        """Run the setup tests of a connection that is not connected: without them Fivetran asks its source nothing."""
        detail = (yield from self._calls.detail(id_)) or {}
        if _state(detail) != _CONNECTED:
            detail = yield from self._calls.test(id_, place)
        if _state(detail) == _CONNECTED:
            return True
        failed = [one for one in detail.get("setup_tests") or () if one.get("status") in _BAD_TESTS]
        said = "; ".join(f"{one.get('title')}: {one.get('message') or one['status']}" for one in failed)
        for secret in secrets:
            said = said.replace(secret.reveal() or _HIDDEN, _HIDDEN)
        log.error(
            "%s is %s: its schemas and whether it is paused stay as they are. %s Remedy: correct its config, or "
            "authorize it in the dashboard; then apply again.", place, _state(detail) or "not connected", said,
        )  # fmt: skip
        return False

    def _change_schemas(self, id_: str, wanted: Wanted, place: str) -> Flow[None]:
        raw = yield from self._calls.schemas(id_)
        if raw is None or wanted.missing_in(raw):
            raw = yield from self._calls.reload(id_, place)
        of_wanted = {**raw, "schema_change_handling": wanted.changes}
        whole = yield from self._whole(of_wanted, id_, wanted.taken(raw))
        body = patch({**whole, "schema_change_handling": raw["schema_change_handling"]}, wanted, place)
        if body:
            yield from self._calls.change_schemas(id_, body, place)

    def delete(self, key: Key) -> Flow[None]:
        """Delete a connection."""
        if key in self._ids:
            yield from self._calls.delete(self._ids.pop(key), place_of(key))

    def reset(self, key: Key) -> Flow[None]:
        """Read everything anew."""
        yield from self._calls.resync(self._id(key), place_of(key))

    def _id(self, key: Key) -> str:
        if key not in self._ids:
            raise ConfigurationError(f"Fivetran has no {place_of(key)}.", hint="make a new plan")
        return self._ids[key]

    def _id_of(self, key: Key) -> Callable[[str, str], str]:
        return lambda kind, name: self._account.id_of(kind, key.workspace, name)

    def _link_ready(self, values: Values) -> Flow[None]:
        """Wait for the private link that a connection is to use; a try that broke off may have left it half made."""
        networking = values.get("networking")
        if isinstance(networking, Mapping) and networking.get("private_link"):
            yield from self._account.link_ready(str(networking["private_link"]))

    # --- schemas ---

    def schemas(self, keys: Sequence[Key], tell: Tell) -> Flow[dict[Key, SchemaLock]]:
        """Return the tables of these connections, and the columns of those that are synced.

        A call a table, in which Fivetran asks the source: of those there are at most 5,000 an hour, and this takes half
        of them. Connections of which it cannot be told, for they are not connected, are left out.
        """
        known = [key for key in keys if key in self._ids]
        found = yield from in_batches(known, self._lock, tell, "schemas")
        return {key: lock for key, lock in zip(known, found, strict=True) if lock is not None}

    def _lock(self, key: Key) -> Flow[SchemaLock | None]:
        id_ = self._ids[key]
        raw = yield from self._calls.schemas(id_)
        if raw is None:
            return None
        try:
            return lock_of(raw, (yield from self._columns(raw, id_, synced_tables(raw))))
        except ConfigurationError as error:
            log.warning("The schema of %s is left out: %s", place_of(key), error.message)
            return None

    def found_now(self, id_: str, place: str) -> Flow[tuple[SchemaLock, frozenset[str]]]:
        """Let Fivetran look at a source; return its tables, and the names of those that are synced."""
        raw = yield from self._calls.reload(id_, place)
        return lock_of(raw, (yield from self._columns(raw, id_, synced_tables(raw)))), selected(raw)

    def accept(self, id_: str, drifts: Sequence[Drift], place: str) -> Flow[None]:
        """Let the tables and columns be synced that are new."""
        body = additions((yield from self._calls.schemas(id_)) or {}, drifts)
        if body:
            yield from self._calls.change_schemas(id_, body, place)


def _state(detail: Mapping[str, Any]) -> str:
    return str((detail.get("status") or {}).get("setup_state") or "")
