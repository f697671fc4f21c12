"""A server of configuration in memory, whose power can be cut before and after every single write."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar

from airflow_elt_provider.core.secret import Secret
from airflow_elt_provider.errors import ConfigurationError
from airflow_elt_provider.remotes.config_as_code.model import ConfigObject, Key, KindSpec, Tell, Tree, tree_of
from airflow_elt_provider.remotes.config_as_code.schema_lock import Drift, SchemaLock
from airflow_elt_provider.remotes.config_as_code.secret_values import NOT_EXPORTED, is_mark, marked
from airflow_elt_provider.remotes.config_as_code.server import Discovered
from airflow_elt_provider.remotes.flow import Flow

SOURCE = KindSpec(
    "source", "sources", ("connector", "configuration"), needed=frozenset({"connector"}),
    fixed=frozenset({"connector"}), partial=frozenset({"configuration"}),
)  # fmt: skip
CONNECTION = KindSpec(
    "connection", "connections", ("source", "status", "schedule", "streams"), needed=frozenset({"source"}),
    fixed=frozenset({"source"}), late=frozenset({"status", "schedule", "streams"}), references={"source": "source"},
)  # fmt: skip
DEFAULTS: Mapping[str, Any] = {"status": "inactive", "schedule": {"type": "manual"}, "streams": {}}


class PowerCut(BaseException):
    """The process that applies is gone."""


class MemoryServer:
    remote: ClassVar[str] = "airbyte"
    kinds: ClassVar[Sequence[KindSpec]] = (SOURCE, CONNECTION)

    def __init__(self) -> None:
        self.objects: dict[Key, dict[str, Any]] = {}
        self.writes: list[str] = []
        self.resets: list[Key] = []
        self.cut_at: int | None = None
        self.locks: dict[Key, SchemaLock] = {}

    def put(self, key: Key, **values: Any) -> None:
        """Somebody makes or changes an object by hand."""
        base = dict(DEFAULTS) if key.kind == "connection" else {"configuration": {}}
        self.objects[key] = {**base, **self.objects.get(key, {}), **values}

    def read(self, workspaces: Sequence[str] | None, tell: Tell) -> Flow[Tree]:
        yield from ()
        chosen = [key for key in self.objects if workspaces is None or key.workspace in workspaces]
        tell("objects", len(chosen), len(chosen))
        return tree_of(self.remote, [self._object(key) for key in chosen])

    def reread(self, key: Key) -> Flow[ConfigObject | None]:
        yield from ()
        return self._object(key) if key in self.objects else None

    def create(self, wanted: ConfigObject) -> Flow[None]:
        yield from ()
        spec = next(spec for spec in self.kinds if spec.name == wanted.key.kind)
        early = {name: value for name, value in wanted.values.items() if name not in spec.late}
        self._write(f"create {wanted.key}", lambda: self.put(wanted.key, **_plain(early, {})))

    def update(self, before: ConfigObject, wanted: ConfigObject, fields: Collection[str]) -> Flow[None]:
        yield from ()
        for name in sorted(fields):
            now = self.objects[wanted.key]
            value = _plain(wanted.values[name], now.get(name))
            if name == "configuration":
                value = _merged(now.get(name) or {}, value)
            self._write(
                f"update {wanted.key} {name}", lambda now=now, name=name, value=value: now.update({name: value})
            )

    def switched_off(self, one: ConfigObject) -> ConfigObject:
        return ConfigObject(one.key, {**one.values, "status": "inactive"}) if one.key.kind == "connection" else one

    def delete(self, key: Key) -> Flow[None]:
        yield from ()
        self._write(f"delete {key}", lambda: self.objects.pop(key, None))

    def reset(self, key: Key) -> Flow[None]:
        yield from ()
        self.resets.append(key)

    def schemas(self, keys: Sequence[Key], tell: Tell) -> Flow[Mapping[Key, SchemaLock]]:
        yield from ()
        return {key: lock for key, lock in self.locks.items() if key in keys}

    def discover(self, connection_id: str) -> Flow[Discovered]:
        raise ConfigurationError(connection_id)

    def accept(self, connection_id: str, found: Discovered, drifts: Sequence[Drift]) -> Flow[None]:
        raise ConfigurationError(connection_id)

    def _object(self, key: Key) -> ConfigObject:
        return ConfigObject(key, marked(self.objects[key]))

    def _write(self, what: str, write: Any) -> None:
        if self.cut_at == 2 * len(self.writes):
            raise PowerCut
        self.writes.append(what)
        write()
        if self.cut_at == 2 * len(self.writes) - 1:
            raise PowerCut


def _plain(value: Any, present: Any) -> Any:
    if isinstance(value, Secret):
        return value.reveal()
    if is_mark(value):
        assert value["$secret"] == NOT_EXPORTED
        return present
    if isinstance(value, Mapping):
        has = present if isinstance(present, Mapping) else {}
        return {name: _plain(one, has.get(name)) for name, one in value.items()}
    return value


def _merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(old)
    for name, value in new.items():
        both = isinstance(value, Mapping) and isinstance(old.get(name), Mapping)
        found[name] = _merged(old[name], value) if both else value
    return found


class MemoryFolder:
    """A folder of which every single write can be the last."""

    uri = "memory://config"

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.left: int | None = None

    def read(self) -> Mapping[str, bytes]:
        return dict(self.files)

    def read_one(self, path: str) -> bytes | None:
        return self.files.get(path)

    def write(self, path: str, content: bytes) -> None:
        self._spend()
        self.files[path] = content

    def remove(self, path: str) -> None:
        self._spend()
        self.files.pop(path, None)

    def _spend(self) -> None:
        if self.left == 0:
            raise PowerCut
        if self.left is not None:
            self.left -= 1
