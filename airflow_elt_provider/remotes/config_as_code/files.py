"""The files of configuration: YAML, one object a file, in an order that never changes."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from airflow_elt_provider.errors import ConfigurationError
from airflow_elt_provider.remotes.config_as_code.folders import Folder
from airflow_elt_provider.remotes.config_as_code.model import ConfigObject, Key, KindSpec, Tree, tree_of
from airflow_elt_provider.remotes.config_as_code.schema_lock import SchemaLock
from airflow_elt_provider.remotes.config_as_code.secret_values import refuse_unreadable, with_references
from airflow_elt_provider.remotes.config_as_code.yaml_text import dumped, loaded

FORMAT: Final = 1
HEAD: Final = "elt-remote.yaml"
LOCK: Final = ".lock.yaml"
PROPOSED: Final = ".proposed.yaml"
_OBJECT: Final = (".yaml", ".yml")
_IDENTITY: Final = ("kind", "workspace", "name")


@dataclass(frozen=True)
class Written:
    """What an export did to a folder; paths within it."""

    written: Sequence[str]
    removed: Sequence[str]
    unchanged: int


def files_of(tree: Tree, kinds: Sequence[KindSpec]) -> dict[str, bytes]:
    """Return the files of a tree by path."""
    specs = {spec.name: spec for spec in kinds}
    paths = paths_of(sorted({*tree.objects, *tree.locks}), specs)
    found: dict[str, bytes] = {}
    for one in tree:
        path = paths[one.key]
        found[f"{path}.yaml"] = dumped(_document(one, specs[one.key.kind]))
        found.update({f"{path}/{name}": content for name, content in one.attachments.items()})
    for key, lock in tree.locks.items():
        found[paths[key] + LOCK] = lock_file(key, lock)
    return dict(sorted(found.items()))


def lock_file(key: Key, lock: SchemaLock) -> bytes:
    """Return the content of a lock file."""
    about = "The schema as it was accepted; the drift gate holds what the source has against it."
    return dumped({**_identity(key), "streams": lock.to_json()}, comment=about)


def paths_of(keys: Sequence[Key], specs: Mapping[str, KindSpec]) -> dict[Key, str]:
    """Return where each object is, without the ending: a slug of its name, with a hash where two would be the same."""
    plain = {key: _path(key, specs[key.kind]) for key in keys}
    taken: dict[str, int] = {}
    for path in plain.values():
        taken[path] = taken.get(path, 0) + 1
    return {key: path if taken[path] == 1 else f"{path}-{_hash(key)}" for key, path in plain.items()}


def possible_paths(key: Key, spec: KindSpec) -> tuple[str, str]:
    """Return the two places where an object may be, without the ending: alone with its slug, or sharing it."""
    path = _path(key, spec)
    return path, f"{path}-{_hash(key)}"


def read_tree(folder: Folder, kinds: Sequence[KindSpec], remote: str) -> Tree:
    """Return what the files of a folder say.

    :raises ConfigurationError: for a folder that is none of this remote's configuration, an export that broke off, and
        a file that cannot be meant; names the file, the place and the remedy.
    """
    found = folder.read()
    _check_head(folder, found, remote)
    return _read(folder, found, kinds, remote)[0]


def _read(
    folder: Folder, found: Mapping[str, bytes], kinds: Sequence[KindSpec], remote: str
) -> tuple[Tree, frozenset[str]]:
    """Return the tree, and the paths that it was read from."""
    objects: list[ConfigObject] = []
    locks: dict[Key, SchemaLock] = {}
    specs, read = {spec.name: spec for spec in kinds}, set[str]()
    for path in sorted(found, key=lambda path: (path.count("/"), path)):
        if path == HEAD or path.endswith(PROPOSED) or not path.endswith(_OBJECT) or path in read:
            continue
        place = f"{folder.uri.rstrip('/')}/{path}"
        document = loaded(found[path], place)
        key = _key(document, specs, place)
        read.add(path)
        if path.endswith(LOCK):
            locks[key] = read_lock(document, place)
            continue
        attached = _attached(found, path) if specs[key.kind].attachments else {}
        read |= attached.keys()
        stem = len(path.rpartition(".")[0]) + 1
        files = {name[stem:]: content for name, content in attached.items()}
        objects.append(ConfigObject(key, _values(document, specs[key.kind], place), files))
    return tree_of(remote, objects, locks), frozenset(read)


def _attached(found: Mapping[str, bytes], path: str) -> dict[str, bytes]:
    folder = path.rpartition(".")[0] + "/"
    return {name: content for name, content in found.items() if name.startswith(folder)}


def read_lock(document: Mapping[str, Any], place: str) -> SchemaLock:
    """Return the lock that a document is."""
    return SchemaLock.from_json(document.get("streams"), place)


def write_tree(folder: Folder, tree: Tree, kinds: Sequence[KindSpec], workspaces: Sequence[str] | None) -> Written:
    """Bring a folder up to date: references in the place of secrets are kept, files of what is gone are removed.

    A folder in which an export broke off says so until the next one is through.

    :param tree: an object without a lock keeps the one that it has in the folder.
    :param workspaces: those that were exported; files of others stay.
    """
    before = folder.read()
    earlier, read = _earlier(folder, before, kinds, tree.remote)
    others = earlier.objects.keys() - earlier.within(workspaces).objects.keys()
    objects = {
        **{key: earlier.objects[key] for key in others},
        **{key: _with_references(one, earlier) for key, one in tree.objects.items()},
    }
    locks = {**{key: lock for key, lock in earlier.locks.items() if key in objects}, **tree.locks}
    wanted = files_of(Tree(tree.remote, objects, locks), kinds)
    changed = [path for path, content in wanted.items() if before.get(path) != content]
    stale = sorted(read - wanted.keys())
    if changed or stale or before.get(HEAD) != _head(tree.remote, complete=True):
        folder.write(HEAD, _head(tree.remote, complete=False))
        for path in changed:
            folder.write(path, wanted[path])
        for path in stale:
            folder.remove(path)
        folder.write(HEAD, _head(tree.remote, complete=True))
    return Written(changed, stale, len(wanted) - len(changed))


def locked(folder: Folder, kinds: Sequence[KindSpec], remote: str) -> set[Key]:
    """Return the objects of a folder that have a lock; of one that is empty, none."""
    return set(_earlier(folder, folder.read(), kinds, remote)[0].locks)


def _earlier(
    folder: Folder, before: Mapping[str, bytes], kinds: Sequence[KindSpec], remote: str
) -> tuple[Tree, frozenset[str]]:
    """Return what an earlier export left, and its paths; that one broke off does not matter."""
    if HEAD in before:
        _check_head(folder, before, remote, broken_off=True)
        return _read(folder, before, kinds, remote)
    if any(path.endswith(_OBJECT) for path in before):
        raise ConfigurationError(
            f"{folder.uri} holds YAML files and no {HEAD}: it is no folder of exported configuration.",
            hint="export to an empty folder",
        )
    return Tree(remote, {}), frozenset()


def _with_references(one: ConfigObject, earlier: Tree) -> ConfigObject:
    other = earlier.objects.get(one.key)
    return ConfigObject(one.key, with_references(one.values, other.values), one.attachments) if other else one


# --- documents ---


def _document(one: ConfigObject, spec: KindSpec) -> dict[str, Any]:
    order = {name: number for number, name in enumerate(spec.fields)}
    values = {name: one.values[name] for name in sorted(one.values, key=lambda name: order[name])}
    return {**_identity(one.key), **{name: _sorted(value) for name, value in values.items()}}


def _identity(key: Key) -> dict[str, str]:
    return {"kind": key.kind, **({"workspace": key.workspace} if key.workspace else {}), "name": key.name}


def _sorted(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _sorted(one) for key, one in sorted(value.items())}
    return [_sorted(one) for one in value] if isinstance(value, list | tuple) else value


def _key(document: Mapping[str, Any], specs: Mapping[str, KindSpec], place: str) -> Key:
    kind, name, workspace = document.get("kind"), document.get("name"), document.get("workspace", "")
    if kind not in specs:
        raise ConfigurationError(
            f"{place}: kind is {kind!r}.", hint=f"one of {', '.join(specs)}; what is no configuration goes elsewhere"
        )
    for label, value in (("name", name), ("workspace", workspace)):
        if not isinstance(value, str) or (label == "name" and not value.strip()):
            raise ConfigurationError(f"{place}: {label} is {value!r}.", hint="write a text, in quotes if need be")
    return Key(str(kind), str(workspace), str(name))


def _values(document: Mapping[str, Any], spec: KindSpec, place: str) -> dict[str, Any]:
    values = {name: value for name, value in document.items() if name not in _IDENTITY}
    if strange := sorted(map(str, values.keys() - set(spec.fields))):
        raise ConfigurationError(
            f"{place}: a {spec.name} has no {strange[0]!r}.", hint=f"it has {', '.join(spec.fields)}"
        )
    refuse_unreadable(values, place)
    return dict(spec.tidy(values))


def _check_head(folder: Folder, found: Mapping[str, bytes], remote: str, *, broken_off: bool = False) -> None:
    if HEAD not in found:
        raise ConfigurationError(
            f"{folder.uri} has no {HEAD}: it is no folder of exported configuration.",
            hint="begin with `elt remote export`, or correct the path",
        )
    place = f"{folder.uri.rstrip('/')}/{HEAD}"
    head = loaded(found[HEAD], place)
    if head.get("format") != FORMAT:
        raise ConfigurationError(
            f"{place}: format is {head.get('format')!r}; this version reads {FORMAT}.", hint="use a newer version"
        )
    if head.get("remote") != remote:
        raise ConfigurationError(
            f"{place}: the files are of {head.get('remote')!r}, and the connection leads to {remote}.",
            hint="name the folder of this remote, or its connection",
        )
    if head.get("complete") is not True and not broken_off:
        raise ConfigurationError(
            f"{folder.uri}: an export into this folder broke off.", hint="run the export again, to its end"
        )


def _head(remote: str, *, complete: bool) -> bytes:
    about = "Configuration of a remote, one object a file; written by `elt remote export`."
    return dumped({"format": FORMAT, "remote": remote, "complete": complete}, comment=about)


# --- paths ---


def _path(key: Key, spec: KindSpec) -> str:
    parts = [*([slug(key.workspace)] if key.workspace else []), spec.folder, slug(key.name)]
    return "/".join(parts)


def slug(name: str) -> str:
    """Return a name as part of a path: safe on every system, and readable.

    >>> slug("Shop → BigQuery")
    'shop-bigquery'
    """
    text = re.sub(r"[^\w.]+", "-", name.lower()).strip("-._")[:80]
    return text or f"x-{hashlib.sha256(name.encode()).hexdigest()[:6]}"


def _hash(key: Key) -> str:
    return hashlib.sha256("\0".join(key.to_json()).encode()).hexdigest()[:6]
