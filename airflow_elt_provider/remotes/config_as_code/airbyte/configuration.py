"""Airbyte's configuration: sources, destinations and connections, by name in their workspaces, through either API."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from functools import partial
from typing import ClassVar, Final, cast

from airflow_elt_provider.errors import ConfigurationError, EltError
from airflow_elt_provider.remotes.airbyte import Airbyte
from airflow_elt_provider.remotes.airbyte_jobs import Dialect
from airflow_elt_provider.remotes.airbyte_public import PublicApi
from airflow_elt_provider.remotes.config_as_code.airbyte.accept import accepted, behind
from airflow_elt_provider.remotes.config_as_code.airbyte.api import ActorKind, Found, Kind, ObjectsApi
from airflow_elt_provider.remotes.config_as_code.airbyte.checks import tidied, wrong_actor, wrong_words
from airflow_elt_provider.remotes.config_as_code.airbyte.config import ConfigObjects
from airflow_elt_provider.remotes.config_as_code.airbyte.definitions import Definitions
from airflow_elt_provider.remotes.config_as_code.airbyte.names import Names
from airflow_elt_provider.remotes.config_as_code.airbyte.public import PublicObjects
from airflow_elt_provider.remotes.config_as_code.airbyte.twins import Twins
from airflow_elt_provider.remotes.config_as_code.model import ConfigObject, Key, KindSpec, Tell, Tree, tree_of
from airflow_elt_provider.remotes.config_as_code.schema_lock import Drift, SchemaLock
from airflow_elt_provider.remotes.config_as_code.server import Discovered
from airflow_elt_provider.remotes.flow import Flow, Together, apart, readable
from airflow_elt_provider.remotes.patience import patiently

log = logging.getLogger(__name__)

_ACTOR: Final = ("connector", "definition", "configuration")
_NEEDED: Final = frozenset({"connector", "configuration"})
_FIXED: Final = frozenset({"connector", "definition"})
KINDS: Final = (
    KindSpec("source", "sources", _ACTOR, _NEEDED, _FIXED, partial=frozenset({"configuration"}),
             hints=frozenset({"definition"}), placed=True),
    KindSpec("destination", "destinations", _ACTOR, _NEEDED, _FIXED, partial=frozenset({"configuration"}),
             hints=frozenset({"definition"}), placed=True),
    KindSpec(
        "connection", "connections",
        ("source", "destination", "status", "schedule", "namespace", "prefix", "non_breaking_changes", "streams",
         "operations"),
        needed=frozenset({"source", "destination", "status", "streams"}),
        fixed=frozenset({"source", "destination"}),
        late=frozenset({"status", "operations"}),
        references={"source": "source", "destination": "destination"},
        tidy=tidied, placed=True,
    ),
)  # fmt: skip
_ORDER: Final[tuple[Kind, ...]] = ("source", "destination", "connection")
_TOLERANCE: Final = 60.0
"""Seconds of an outage that one workspace's reading bears; a longer one begins again with the first."""
_AT_ONCE: Final = 8
"""Sources that are discovered at once: each may start a container on the server."""


class AirbyteConfiguration:
    """One server.

    :param remote: the conversation with it; knows which API it has.
    """

    remote: ClassVar[str] = "airbyte"
    kinds: ClassVar[Sequence[KindSpec]] = KINDS

    def __init__(self, remote: Airbyte) -> None:
        self._remote = remote
        self._names = Names()
        self._twins = Twins(self._names)
        self._made: ObjectsApi | None = None
        self._definitions: Definitions
        self._schemas: dict[Key, SchemaLock] = {}
        self._ends: dict[Key, tuple[str, str]] = {}

    # --- reading ---

    def read(self, workspaces: Sequence[str] | None, tell: Tell) -> Flow[Tree]:
        """Return all objects of these workspaces. One that is not there is empty, and said: a restore makes it."""
        api = yield from self._api()
        self._names.take_workspaces((yield from api.workspaces()))
        chosen = self._chosen(workspaces)
        objects: list[ConfigObject] = []
        for done, workspace in enumerate(chosen, 1):
            reading = partial(self._of_workspace, api, workspace)
            objects += yield from patiently(reading, _TOLERANCE, self.remote)
            tell("workspaces", done, len(chosen))
        return tree_of(self.remote, objects)

    def _chosen(self, workspaces: Sequence[str] | None) -> list[str]:
        known = self._names.workspaces
        for name in (name for name in workspaces or () if name not in known):
            near = get_close_matches(name, known, 1)
            log.warning(
                "Airbyte has no workspace %r%s: all of it would be new. There are: %s.",
                name, f" (did you mean {near[0]!r}?)" if near else "", ", ".join(sorted(map(repr, known))) or "none",
            )  # fmt: skip
        return sorted(known if workspaces is None else known.keys() & set(workspaces))

    def _of_workspace(self, api: ObjectsApi, workspace: str) -> Flow[list[ConfigObject]]:
        id_ = self._names.workspaces[workspace]
        lists: list[Sequence[Found]] = yield Together(
            [readable(api.listed(kind, id_), f"Airbyte's list of {kind}s of {workspace!r}") for kind in _ORDER]
        )
        for kind, found in zip(_ORDER, lists, strict=True):
            self._names.take(kind, workspace, found)
        return [self._object(one, workspace) for found in lists for one in found]

    def _object(self, found: Found, workspace: str) -> ConfigObject:
        key = self._names.key_of(found.kind, found.id) or Key(found.kind, workspace, found.name)
        if found.kind == "connection":
            self._say_strange_ends(key, found)
            source = self._names.key_of("source", str(found.values["source"]))
            if source:
                self._ends[source] = (str(found.values["source"]), str(found.values["destination"]))
        return self._names.object(key, found)

    def _say_strange_ends(self, key: Key, found: Found) -> None:
        for end in ("source", "destination"):
            if not self._names.key_of(end, str(found.values[end])):
                log.warning("%s: its %s %s is not in its workspace, or is deleted.", key, end, found.values[end])

    def reread(self, key: Key) -> Flow[ConfigObject | None]:
        """Return one object as it is now."""
        api = yield from self._api()
        id_ = self._names.id_of(key) or (yield from self._looked_up(api, key))
        found = (yield from api.get(_kind(key), id_)) if id_ else None
        if found is None:
            self._names.forget(key)
            return None
        return self._names.object(key, found)

    def _looked_up(self, api: ObjectsApi, key: Key) -> Flow[str | None]:
        """Return the id of an object that was not there when all were read, and may be by now."""
        workspace = self._names.workspace_id(key.workspace)
        if workspace is None or self._names.surely_not_there(key):
            return None
        found = yield from api.listed(_kind(key), workspace)
        self._names.saw(key.kind, key.workspace, found)
        same = [one.id for one in found if one.name == key.name and not self._names.key_of(key.kind, one.id)]
        if len(same) > 1:
            raise ConfigurationError(f"The server has several of {key} by now.", hint="delete all but one, there")
        if same:
            self._names.remember(key, same[0])
        return same[0] if same else None

    # --- changing ---

    def create(self, wanted: ConfigObject) -> Flow[None]:
        """Make an object; a connection inactive."""
        api, key = (yield from self._api()), wanted.key
        workspace = self._names.workspace_id(key.workspace) or (yield from self._workspace(api, key.workspace))
        values = self._names.with_ids(key, wanted.values)
        if key.kind == "connection":
            yield from self._twins.refuse_actors(api, key.workspace)
        else:
            values = yield from self._definitions.resolved(_actor(key), workspace, values)
        self._names.doubt(key)
        self._twins.made(_kind(key), key)
        id_ = yield from api.create(_kind(key), workspace, key.name, values)
        self._names.remember(key, id_)

    def _workspace(self, api: ObjectsApi, name: str) -> Flow[str]:
        """Return the id of a workspace that was not there, and may be by now; else make it."""
        self._names.take_workspaces((yield from api.workspaces()))
        if not self._names.workspace_id(name):
            made = yield from api.create_workspace(name)
            log.info("Created workspace %r.", name)
            self._names.take_workspaces({**{id_: one for one, id_ in self._names.workspaces.items()}, made: name})
        return self._names.workspaces[name]

    def update(self, before: ConfigObject, wanted: ConfigObject, fields: Collection[str]) -> Flow[None]:
        """Change an object."""
        api = yield from self._api()
        if "status" in fields and self._twins.has_made(_kind(wanted.key), wanted.key):
            yield from self._twins.refuse(api, "connection", wanted.key.workspace)
        ends = {name: before.values[name] for name in ("source", "destination") if name in before.values}
        values = self._names.with_ids(wanted.key, {**ends, **wanted.values})
        yield from api.update(_kind(wanted.key), self._known(wanted.key), values, fields)

    def switched_off(self, one: ConfigObject) -> ConfigObject:
        """Return a connection inactive."""
        return replace(one, values={**one.values, "status": "inactive"}) if one.key.kind == "connection" else one

    def delete(self, key: Key) -> Flow[None]:
        """Delete an object."""
        api = yield from self._api()
        id_ = self._names.id_of(key) or (yield from self._looked_up(api, key))
        if id_:
            yield from api.delete(_kind(key), id_)
        self._names.forget(key)

    def reset(self, key: Key) -> Flow[None]:
        """Let a connection's data be read anew."""
        if key.kind != "connection":
            raise ConfigurationError(f"{key} has no data to reset.", hint="reset a connection")
        api = yield from self._api()
        yield from api.reset(self._known(key))

    def objections(self, wanted: Sequence[ConfigObject]) -> Flow[Sequence[str]]:
        """Return what cannot be written as it stands, each with its remedy."""
        api = yield from self._api()
        found = list[str]()
        for one in wanted:
            said = wrong_words(one.values) if one.key.kind == "connection" else wrong_actor(one.values)
            wrong = bool(said)
            said = said or list(api.objections(_kind(one.key), one.values))
            if "connector" in one.values and self._names.workspaces and not wrong:
                said += yield from self._no_connector(one)
            found += [f"{one.key}: {sentence}" for sentence in said]
        return found

    def _no_connector(self, one: ConfigObject) -> Flow[list[str]]:
        """Look in another workspace for what one will have that is still to be made."""
        known = self._names.workspaces
        workspace = known.get(one.key.workspace) or min(known.values())
        try:
            yield from self._definitions.resolved(_actor(one.key), workspace, one.values)
        except ConfigurationError as error:
            return [str(error)]
        return []

    # --- schemas ---

    def schemas(self, keys: Sequence[Key], tell: Tell) -> Flow[Mapping[Key, SchemaLock]]:
        """Return what the server remembers of the sources that some connection reads; one that fails is left out."""
        api = yield from self._api()
        owners = [key for key in keys if key in self._ends]
        waiting = [key for key in owners if key not in self._schemas]
        for batch in (waiting[at : at + _AT_ONCE] for at in range(0, len(waiting), _AT_ONCE)):
            flows = [api.discovered(*self._ends[key], fresh=False) for key in batch]
            results = yield from apart(flows, "Airbyte", alone=not self._schemas)
            for key, result in zip(batch, results, strict=True):
                if isinstance(result, EltError):
                    log.warning("The schema of %s is left out: %s", key, result)
                else:
                    self._schemas[key] = result.lock
            tell("schemas", min(len(owners), len(owners) - len(waiting) + waiting.index(batch[-1]) + 1), len(owners))
        return {key: self._schemas[key] for key in owners if key in self._schemas}

    def discover(self, connection_id: str) -> Flow[Discovered]:
        """Let the server look at the connection's source anew."""
        api = yield from self._api()
        found = yield from self._connection(api, connection_id)
        self._names.take_workspaces((yield from api.workspaces()))
        workspace, source = self._names.workspace_of(found.workspace_id), str(found.values["source"])
        self._names.take("source", workspace, (yield from api.listed("source", found.workspace_id)))
        owner = self._names.key_of("source", source) or Key("source", workspace, source)
        has = yield from api.discovered(source, str(found.values["destination"]), fresh=True)
        return Discovered(owner, has.lock, frozenset(found.values["streams"]), behind(found, has.lock))

    def accept(self, connection_id: str, found: Discovered, drifts: Sequence[Drift]) -> Flow[None]:
        """Let the connection follow these changes of its source."""
        del found  # what the server remembers of its last look is the same, and has the modes too
        api = yield from self._api()
        one = yield from self._connection(api, connection_id)
        has = yield from api.discovered(str(one.values["source"]), str(one.values["destination"]), fresh=False)
        streams = accepted(one.values["streams"], has, drifts)
        yield from api.update("connection", connection_id, {**one.values, "streams": streams}, {"streams"})

    def _connection(self, api: ObjectsApi, connection_id: str) -> Flow[Found]:
        found = yield from api.get("connection", connection_id)
        if found is None:
            raise ConfigurationError(
                f"Airbyte has no connection {connection_id!r}.",
                hint="copy the UUID from the connection's address in the web UI; is it another workspace or server?",
            )
        return found

    # --- inside ---

    def _api(self) -> Flow[ObjectsApi]:
        if self._made is None:
            dialect = yield from self._remote.dialect()
            self._made = _objects(self._remote, dialect)
            self._definitions = Definitions(self._made)
        return self._made

    def _known(self, key: Key) -> str:
        id_ = self._names.id_of(key)
        if id_ is None:
            raise ConfigurationError(f"{key} is gone.", hint="make a new plan")
        return id_


def _objects(remote: Airbyte, dialect: Dialect) -> ObjectsApi:
    if isinstance(dialect, PublicApi):
        return PublicObjects(remote.session, dialect.prefix)
    return ConfigObjects(remote.session)


def _kind(key: Key) -> Kind:
    return cast("Kind", key.kind)


def _actor(key: Key) -> ActorKind:
    return cast("ActorKind", key.kind)
