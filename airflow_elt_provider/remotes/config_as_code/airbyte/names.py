"""Which object of a server has which id: what files name, requests number."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from airflow_elt_provider.errors import ConfigurationError
from airflow_elt_provider.remotes.config_as_code.airbyte.api import Found
from airflow_elt_provider.remotes.config_as_code.model import ConfigObject, Key, Values, unique_names
from airflow_elt_provider.remotes.config_as_code.secret_values import marked

ENDS: Final = ("source", "destination")
_FRESH: Final = 60.0
"""Seconds for which a list of names is good enough to say that one is not among them."""


class Names:
    """What has been read of one server, or made on it."""

    def __init__(self) -> None:
        self._workspaces: dict[str, str] = {}
        self._ids: dict[Key, str] = {}
        self._keys: dict[tuple[str, str], Key] = {}
        self._listed: dict[tuple[str, str], tuple[float, frozenset[str]]] = {}
        self._doubted: set[Key] = set()

    # --- workspaces ---

    def take_workspaces(self, found: Mapping[str, str]) -> None:
        """Learn all workspaces: names by id."""
        self._workspaces = {name: id_ for id_, name in unique_names(found.items()).items()}

    def workspace_id(self, name: str) -> str | None:
        """Return a workspace's id; None: there is none, or nobody has looked."""
        return self._workspaces.get(name)

    @property
    def workspaces(self) -> Mapping[str, str]:
        """Ids by name."""
        return self._workspaces

    def workspace_of(self, id_: str) -> str:
        """Return a workspace's name."""
        return next((name for name, one in self._workspaces.items() if one == id_), id_)

    # --- objects ---

    def take(self, kind: str, workspace: str, found: Sequence[Found]) -> None:
        """Learn all objects of a kind and workspace."""
        for key in [key for key in self._ids if (key.kind, key.workspace) == (kind, workspace)]:
            self.forget(key)
        for id_, name in unique_names((one.id, one.name) for one in found).items():
            self.remember(Key(kind, workspace, name), id_)
        self.saw(kind, workspace, found)

    def saw(self, kind: str, workspace: str, found: Sequence[Found]) -> None:
        """Learn which names there are now."""
        self._listed[kind, workspace] = (time.monotonic(), frozenset(one.name for one in found))

    def remember(self, key: Key, id_: str) -> None:
        """Learn one."""
        self._ids[key] = id_
        self._keys[key.kind, id_] = key

    def forget(self, key: Key) -> None:
        """Learn that one is gone."""
        self._keys.pop((key.kind, self._ids.pop(key, "")), None)

    def id_of(self, key: Key) -> str | None:
        """Return an object's id, where it is known."""
        return self._ids.get(key)

    def key_of(self, kind: str, id_: str) -> Key | None:
        """Return an object's key, where it is known."""
        return self._keys.get((kind, id_))

    def surely_not_there(self, key: Key) -> bool:
        """Whether a moment ago no object had this name."""
        if key in self._doubted or (key.kind, key.workspace) not in self._listed:
            return False
        seen, names = self._listed[key.kind, key.workspace]
        return time.monotonic() - seen < _FRESH and key.name not in names

    def doubt(self, key: Key) -> None:
        """Learn that one is about to be made: whatever is heard of that, it may be there."""
        self._doubted.add(key)

    # --- values ---

    def object(self, key: Key, found: Found) -> ConfigObject:
        """Return an object with names in the place of ids."""
        values = dict(found.values)
        for name in ENDS if key.kind == "connection" else ():
            other = self.key_of(name, values[name])
            values[name] = other.name if other else values[name]
        return ConfigObject(key, marked(values))

    def with_ids(self, key: Key, values: Values) -> dict[str, Any]:
        """Return values with ids in the place of names.

        :raises ConfigurationError: for a name that leads nowhere.
        """
        found = dict(values)
        for name in ENDS if key.kind == "connection" else ():
            id_ = self.id_of(Key(name, key.workspace, str(values.get(name))))
            if id_ is None:
                raise ConfigurationError(
                    f"{key}: {name} is {values.get(name)!r}, and there is no such {name}.",
                    hint="write its file, or correct the name",
                )
            found[name] = id_
        return found
