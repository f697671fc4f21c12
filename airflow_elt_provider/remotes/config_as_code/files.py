"""The files of configuration: YAML, one object a file, in an order that never changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from airflow_elt_provider.errors import ConfigurationError
from airflow_elt_provider.remotes.config_as_code.file_paths import paths_of
from airflow_elt_provider.remotes.config_as_code.folders import Folder
from airflow_elt_provider.remotes.config_as_code.model import ConfigObject, Key, KindSpec, Tree, tree_of
from airflow_elt_provider.remotes.config_as_code.schema_lock import SchemaLock
from airflow_elt_provider.remotes.config_as_code.secret_values import HINT, refuse_unreadable, with_references
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


class Earlier(NamedTuple):
    """What a folder holds before an export.

    :param files: all, by path.
    :param read: the paths of those that ``tree`` was read from.
    """

    files: Mapping[str, bytes]
    tree: Tree
    read: frozenset[str]


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


def read_tree(folder: Folder, kinds: Sequence[KindSpec], remote: str) -> Tree:
    """Return what the files of a folder say.

    :raises ConfigurationError: for a folder that is none of this remote's configuration, an export that broke off, and
        a file that cannot be meant; names the file, the place and the remedy.
    """
    head = folder.read_one(HEAD)
    _check_head(folder, {} if head is None else {HEAD: head}, remote)  # before all of somebody else's is read
    return _read(folder, folder.read(), kinds, remote)[0]


def _read(
    folder: Folder, found: Mapping[str, bytes], kinds: Sequence[KindSpec], remote: str
) -> tuple[Tree, frozenset[str]]:
    """Return the tree, and the paths that it was read from."""
    objects: list[ConfigObject] = []
    locks: dict[Key, SchemaLock] = {}
    places: dict[tuple[Key, bool], str] = {}
    specs, read = {spec.name: spec for spec in kinds}, set[str]()
    for path in sorted(found, key=lambda path: (path.count("/"), path)):
        if path == HEAD or path.endswith(PROPOSED) or not path.lower().endswith(_OBJECT) or path in read:
            continue
        place = f"{folder.uri.rstrip('/')}/{path}"
        if not path.endswith(_OBJECT):
            raise ConfigurationError(f"{place}: its name ends in capital letters.", hint="rename it to .yaml")
        document = loaded(found[path], place)
        key = _key(document, specs, place)
        read.add(path)
        if (other := places.setdefault((key, path.endswith(LOCK)), place)) != place:
            raise ConfigurationError(f"{place} and {other} are both of {key}.", hint="remove or rename one of them")
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


def write_tree(
    folder: Folder, tree: Tree, kinds: Sequence[KindSpec], workspaces: Sequence[str] | None,
    found: Earlier | None = None,
) -> Written:  # fmt: skip
    """Bring a folder up to date: references in the place of secrets are kept, files of what is gone are removed.

    A file that says all that is to be said, in whatever form, is left as it is, with its comments.

    A folder in which an export broke off says so until the next one is through.

    :param tree: an object without a lock keeps the one that it has in the folder.
    :param workspaces: those that were exported; files of others stay.
    :param found: what is in the folder, where it was read a moment ago.
    """
    before, earlier, read = found or earlier_of(folder, kinds, tree.remote)
    whole = _with_earlier(tree, earlier, workspaces)
    wanted = files_of(whole, kinds)
    documents = {
        f"{path}.yaml" for path in paths_of(sorted(whole.objects), {spec.name: spec for spec in kinds}).values()
    }
    kept = documents & read
    changed = [
        path for path, content in wanted.items()
        if before.get(path) != content and not (path in kept and _says(before[path], content))
    ]  # fmt: skip
    stale = sorted(read - wanted.keys())
    if changed or stale or before.get(HEAD) != _head(tree.remote, complete=True):
        folder.write(HEAD, _head(tree.remote, complete=False))
        taken = {path.lower() for path in wanted}
        twins = [path for path in stale if path.lower() in taken]  # one file, where capitals make no difference
        for path in twins:
            folder.remove(path)
        for path in changed:
            folder.write(path, wanted[path])
        for path in (path for path in stale if path not in twins):
            folder.remove(path)
        folder.write(HEAD, _head(tree.remote, complete=True))
    return Written(changed, stale, len(wanted) - len(changed))


def _with_earlier(tree: Tree, earlier: Tree, workspaces: Sequence[str] | None) -> Tree:
    """Return a tree with what stays of an earlier one: other workspaces, references and locks."""
    others = earlier.objects.keys() - earlier.within(workspaces).objects.keys()
    objects = {
        **{key: earlier.objects[key] for key in others},
        **{key: _with_references(one, earlier) for key, one in tree.objects.items()},
    }
    locks = {**{key: lock for key, lock in earlier.locks.items() if key in objects}, **tree.locks}
    return Tree(tree.remote, objects, locks)


def _says(content: bytes, wanted: bytes) -> bool:
    """Whether two files say the same: the order of keys, and a person's comments, are their own affair."""
    first, second = (dumped(_sorted(loaded(one, ""))) for one in (content, wanted))
    return first == second


def earlier_of(folder: Folder, kinds: Sequence[KindSpec], remote: str) -> Earlier:
    """Return what an earlier export left; that one broke off does not matter. :raises ConfigurationError: see there."""
    before = folder.read()
    _refuse_foreign(folder, before, remote)
    return Earlier(before, *_read(folder, before, kinds, remote))


def refuse_foreign(folder: Folder, remote: str) -> None:
    """Refuse a folder that an export would not write to.

    :raises ConfigurationError: for one with configuration of another remote, or with other YAML files.
    """
    head = folder.read_one(HEAD)
    _refuse_foreign(folder, folder.read() if head is None else {HEAD: head}, remote)


def _refuse_foreign(folder: Folder, before: Mapping[str, bytes], remote: str) -> None:
    if HEAD in before:
        _check_head(folder, before, remote, broken_off=True)
    elif any(path.endswith(_OBJECT) for path in before):
        raise ConfigurationError(
            f"{folder.uri} holds YAML files and no {HEAD}: it is no folder of exported configuration.",
            hint="export to an empty folder",
        )


def _with_references(one: ConfigObject, earlier: Tree) -> ConfigObject:
    other = earlier.objects.get(one.key)
    if other is None:
        return one
    kept = {name: other.values[name] for name in one.untold if name in other.values}
    return ConfigObject(one.key, {**with_references(one.values, other.values), **kept}, one.attachments)


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
    if not isinstance(kind, str) or kind not in specs:
        raise ConfigurationError(
            f"{place}: kind is {kind!r}.", hint=f"one of {', '.join(specs)}; what is no configuration goes elsewhere"
        )
    for label, value in (("name", name), ("workspace", workspace)):
        if not isinstance(value, str) or (label == "name" and not value.strip()):
            raise ConfigurationError(f"{place}: {label} is {value!r}.", hint="write a text, in quotes if need be")
    if workspace and specs[kind].placed is False:
        raise ConfigurationError(f"{place}: a {kind} belongs to no workspace ({workspace!r}).", hint="leave it out")
    if not workspace.strip() and specs[kind].placed:
        raise ConfigurationError(f"{place}: workspace is {workspace!r}.", hint="write the name of the workspace")
    return Key(kind, str(workspace), str(name))


def _values(document: Mapping[str, Any], spec: KindSpec, place: str) -> dict[str, Any]:
    values = {name: value for name, value in document.items() if name not in _IDENTITY}
    if strange := sorted(map(str, values.keys() - set(spec.fields))):
        raise ConfigurationError(
            f"{place}: a {spec.name} has no {strange[0]!r}.", hint=f"it has {', '.join(spec.fields)}"
        )
    refuse_unreadable(values, place)
    for path in spec.open_secrets(values):
        raise ConfigurationError(f"{place}: {path} holds a secret in the open.", hint=HINT)
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
