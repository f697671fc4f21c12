"""What a remote is configured to do, as plain values: the same on every server, without ids and without secrets."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol, TypeAlias

from airflow_elt_provider.errors import ConfigurationError
from airflow_elt_provider.remotes.config_as_code.schema_lock import SchemaLock

Values: TypeAlias = Mapping[str, Any]
"""JSON: mappings, lists, texts, numbers, booleans and None."""
_SHORT: Final = 8
FILES: Final = "files"


def _visible(text: str) -> str:
    """Return a text in one line that commands no terminal: anybody may have given an object its name."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


@dataclass(frozen=True, order=True)
class Key:
    """What tells one object of a server from the others, on every server.

    :param kind: e.g. ``source``; a :class:`KindSpec` of the remote.
    :param workspace: name of the workspace (Airbyte) or of the group (Fivetran); "" for what belongs to the account.
    :param name: unique among those of its kind and workspace.
    """

    kind: str
    workspace: str
    name: str

    def __str__(self) -> str:
        place = f"{self.workspace} / " if self.workspace else ""
        return _visible(f"{self.kind} {place}{self.name}")

    def named(self) -> dict[str, str]:
        """Return it as a person or a script reads it."""
        return {"kind": self.kind, "workspace": self.workspace, "name": self.name}

    def to_json(self) -> list[str]:
        """Return it as JSON, short."""
        return [self.kind, self.workspace, self.name]


def _none(values: Values) -> Iterable[str]:
    del values
    return ()


def named_elsewhere(kind: str, text: str, keys: Iterable[Key]) -> list[Key]:
    """Return those of the keys that a reference means from another workspace: ``name``, or ``workspace / name``."""
    return [key for key in sorted(keys) if key.kind == kind and text in {key.name, f"{key.workspace} / {key.name}"}]


@dataclass(frozen=True)
class KindSpec:
    """A kind of objects.

    :param folder: where their files are, below the folder of the workspace.
    :param fields: the keys that a file may have besides ``kind``, ``workspace`` and ``name``, in the order of the file.
    :param needed: those of them without which none can be created.
    :param fixed: those that the server cannot change once the object is there.
    :param late: those that are set after the object was created.
    :param partial: those of which the file may hold a part: what it leaves out stays as it is on the server.
    :param hints: those that only help to make an object: another server's may differ, so they are not compared.
    :param references: those that name another object of the same workspace (or of the account), and its kind.
    :param elsewhere: those of them that may also name an object of another workspace, read or not: the server says
        where there is none.
    :param tidy: puts the values of a file in the order in which the server's are; it raises nothing.
    :param rereads: whether a change from the first values to the second asks for data that is there already to be read
        anew; None: where a stream that is in both has another ``sync_mode``, ``primary_key`` or ``cursor``.
    :param open_secrets: tells the places of secrets in the open that only this remote knows for such.
    :param attachments: whether a folder of files belongs to each object.
    :param placed: whether each is in a workspace, or none is; None: some are.
    :param deletable: whether the API can delete one.
    """

    name: str
    folder: str
    fields: Sequence[str]
    needed: frozenset[str] = frozenset()
    fixed: frozenset[str] = frozenset()
    late: frozenset[str] = frozenset()
    partial: frozenset[str] = frozenset()
    hints: frozenset[str] = frozenset()
    references: Mapping[str, str] = field(default_factory=dict)
    elsewhere: frozenset[str] = frozenset()
    tidy: Callable[[Values], Values] = dict
    open_secrets: Callable[[Values], Iterable[str]] = _none
    rereads: Callable[[Values, Values], bool] | None = None
    attachments: bool = False
    placed: bool | None = None
    deletable: bool = True


@dataclass(frozen=True)
class ConfigObject:
    """One object.

    :param values: by top-level field. A field that is left out is not managed: it stays as it is on the server.
    :param attachments: files that belong to it, by relative path.
    :param untold: fields that the server does not tell, or not wholly, for the moment: an export keeps what the file
        has there.
    """

    key: Key
    values: Values
    attachments: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    untold: frozenset[str] = frozenset()

    def compared(self) -> dict[str, Any]:
        """Return the values, with a digest for each attachment under ``files``."""
        digests = {path: _digest(content) for path, content in sorted(self.attachments.items())}
        return {**self.values, **({FILES: digests} if digests else {})}

    def of(self, workspace: str) -> ConfigObject:
        """Return the same object in another workspace; what belongs to the account stays there."""
        return replace(self, key=replace(self.key, workspace=workspace)) if self.key.workspace else self


@dataclass(frozen=True)
class Tree:
    """All objects of a server, or of a folder.

    :param locks: the accepted schemas, by the object whose they are.
    """

    remote: str
    objects: Mapping[Key, ConfigObject]
    locks: Mapping[Key, SchemaLock] = field(default_factory=dict)

    def __iter__(self) -> Iterator[ConfigObject]:
        return iter(self.objects[key] for key in sorted(self.objects))

    def within(self, workspaces: Sequence[str] | None) -> Tree:
        """Return what is in these workspaces, and what belongs to the account; None: everything."""
        if workspaces is None:
            return self
        chosen = {*workspaces, ""}
        return Tree(
            self.remote,
            {key: one for key, one in self.objects.items() if key.workspace in chosen},
            {key: one for key, one in self.locks.items() if key.workspace in chosen},
        )

    def moved(self, workspaces: Mapping[str, str]) -> Tree:
        """Return the same with workspaces renamed.

        :raises ConfigurationError: where two objects would have the same name.
        """
        objects: dict[Key, ConfigObject] = {}
        for one in self:
            to = one.of(workspaces.get(one.key.workspace, one.key.workspace))
            if to.key in objects:
                raise ConfigurationError(
                    f"Two objects would be {to.key}.", hint="rename one, or map the workspaces to different ones"
                )
            objects[to.key] = to
        locks = {
            replace(key, workspace=workspaces.get(key.workspace, key.workspace)): lock
            for key, lock in self.locks.items()
        }
        return Tree(self.remote, objects, locks)


def tree_of(remote: str, objects: Iterable[ConfigObject], locks: Mapping[Key, SchemaLock] | None = None) -> Tree:
    """Return a tree of these objects.

    :raises ConfigurationError: where two have the same key: a server's names go through :func:`unique_names` first.
    """
    found: dict[Key, ConfigObject] = {}
    for one in objects:
        if one.key in found:
            raise ConfigurationError(f"There are two of {one.key}.", hint="rename one of them")
        found[one.key] = one
    return Tree(remote, found, locks or {})


def unique_names(named: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return a name for each id: its own, or where several share one, with the beginning of its id.

    >>> unique_names([("7d9c1a2b-33", "shop"), ("0e11f2a3-44", "shop"), ("5", "crm")])
    {'7d9c1a2b-33': 'shop [7d9c1a2b]', '0e11f2a3-44': 'shop [0e11f2a3]', '5': 'crm'}

    Where ids begin alike too, the name has the whole of its id.

    :param named: ids and names.
    """
    pairs = list(named)
    counts = Counter(name for _, name in pairs)
    short = {id_: f"{name} [{id_[:_SHORT]}]" for id_, name in pairs}
    alike = Counter(short.values())
    return {
        id_: name if counts[name] == 1 else short[id_] if alike[short[id_]] == 1 else f"{name} [{id_}]"
        for id_, name in pairs
    }


def joined(*parts: str | None) -> str:
    r"""Return a dotted name; dots and backslashes inside a part are escaped, empty parts are left out.

    >>> joined("public", "orders.2024")
    'public.orders\\.2024'
    """
    return ".".join(part.replace("\\", "\\\\").replace(".", "\\.") for part in parts if part)


def split(text: str) -> list[str]:
    r"""Return the parts of a name that :func:`joined` wrote.

    >>> split("public.orders\\.2024")
    ['public', 'orders.2024']
    """
    parts, escaped = [""], False
    for char in text:
        if escaped or char not in "\\.":
            parts[-1] += char
            escaped = False
        elif char == "\\":
            escaped = True
        else:
            parts.append("")
    return parts


class Tell(Protocol):
    """Hears how far a long reading is."""

    def __call__(self, what: str, done: int, total: int) -> None:
        """Hear that so many of all are read.

        :param what: e.g. ``connections``.
        """


def silent(what: str, done: int, total: int) -> None:
    """Hear nothing."""


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()[:16]}, {len(content)} bytes"
