"""How two states of configuration differ, and how a person reads that."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from airflow_elt_provider.remotes.config_as_code.model import ConfigObject, Key, KindSpec, Tree, Values, joined, split
from airflow_elt_provider.remotes.config_as_code.schema_lock import Drift, drift, spoken
from airflow_elt_provider.remotes.config_as_code.secret_values import MARK, is_mark

Action = Literal["create", "update", "delete"]
SIGNS: Final[Mapping[Action, str]] = {"create": "+", "update": "~", "delete": "-"}


class _Absent:
    def __repr__(self) -> str:
        return "(none)"


ABSENT: Final = _Absent()
"""Stands for a value that is not there."""
_MOST: Final = 400
_LONG_LIST: Final = 12
"""Items of two lists that one reads side by side; of longer ones only what differs is shown."""


@dataclass(frozen=True)
class FieldChange:
    """One value.

    :param path: dotted, from the top-level field on.
    """

    path: str
    old: Any
    new: Any

    @property
    def top(self) -> str:
        """The top-level field."""
        return self.path.partition(".")[0]

    def swapped(self) -> FieldChange:
        """Return it as seen from the other side."""
        return FieldChange(self.path, self.new, self.old)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON; what is not there is left out."""
        sides = {"old": self.old, "new": self.new}
        return {"path": self.path, **{name: value for name, value in sides.items() if value is not ABSENT}}

    @property
    def place(self) -> str:
        """The path as a person reads it: what has dots of its own stands in quotes."""
        return ".".join(f'"{part}"' if "." in part else part for part in split(self.path))

    def __str__(self) -> str:
        if self.old is ABSENT:
            return f"{self.place} = {shown(self.new)}"
        if isinstance(self.old, list) and isinstance(self.new, list) and (few := _list_change(self.old, self.new)):
            return f"{self.place}: {few}"
        return f"{self.place} = {shown(self.old)} -> {shown(self.new)}"


@dataclass(frozen=True)
class Difference:
    """One object that is not the same on both sides; ``create``: it is only on the new one."""

    action: Action
    key: Key
    fields: Sequence[FieldChange] = ()

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "change": {"create": "added", "update": "changed", "delete": "removed"}[self.action],
            **self.key.named(),
            "fields": [one.to_json() for one in self.fields],
        }


@dataclass(frozen=True)
class DiffResult:
    """A server, held against files: what is only on the server is added, what is only in the files removed.

    :param drifts: how schemas differ from their locks, where that was asked for.
    """

    differences: Sequence[Difference]
    drifts: Mapping[Key, Sequence[Drift]]

    @property
    def equal(self) -> bool:
        """Whether there is no difference."""
        return not self.differences and not any(self.drifts.values())

    def lines(self) -> list[str]:
        """Return the lines that a person reads."""
        lines = difference_lines(self.differences)
        for key, drifts in sorted(self.drifts.items()):
            if drifts:
                lines += ["", f"  ~ schema of {key}", *(f"      {spoken(one)}" for one in drifts)]
        return lines

    def to_json(self) -> dict[str, Any]:
        """Return it as XCom and ``--json`` show it."""
        return {
            "equal": self.equal,
            "differences": [one.to_json() for one in self.differences],
            "schemas": [
                {
                    **key.named(),
                    "drift": [one.to_json() for one in found],
                }
                for key, found in sorted(self.drifts.items())
                if found
            ],
        }


def differences(files: Tree, server: Tree, specs: Mapping[str, KindSpec]) -> list[Difference]:
    """Return how a server differs from files, seen from the files: values that these do not hold are not compared."""
    found: list[Difference] = []
    for key in sorted({*files.objects, *server.objects}, key=lambda key: _order(key, specs)):
        wanted, present = files.objects.get(key), server.objects.get(key)
        if wanted is None and present is not None:
            found.append(Difference("create", key, list(_all_of(present, new=True))))
        elif present is None and wanted is not None:
            found.append(Difference("delete", key))
        elif wanted is not None and present is not None:
            changed = changes(wanted.compared(), present.compared(), specs[key.kind])
            if changed:
                found.append(Difference("update", key, changed))
    return found


def diff(files: Tree, server: Tree, specs: Mapping[str, KindSpec]) -> DiffResult:
    """Return how a server differs from files; schemas are compared where the server's tree has them."""
    drifts = {key: drift(files.locks[key], lock) for key, lock in server.locks.items() if key in files.locks}
    return DiffResult(differences(files, server, specs), drifts)


def changes(wanted: Values, present: Values, spec: KindSpec) -> list[FieldChange]:
    """Return where the present values differ from the wanted ones, from wanted (old) to present (new).

    A top-level field that is not wanted is not managed, a hint not compared; of a partial one only what is wanted is.
    """
    found: list[FieldChange] = []
    for name in [*spec.fields, *(name for name in wanted if name not in spec.fields)]:
        if name in wanted and name not in spec.hints:
            here, there = wanted[name], present.get(name, ABSENT)
            found.extend(_compared(name, here, there, partial=name in spec.partial))
    return found


def _compared(path: str, old: Any, new: Any, *, partial: bool) -> Iterator[FieldChange]:
    if is_mark(old) or is_mark(new):
        # That there is a secret is all that can be compared.
        if old is ABSENT or new is ABSENT or (is_mark(new) and not is_mark(old)):
            yield FieldChange(path, old, new)
        return
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for name in sorted(old.keys() if partial else {*old, *new}):
            here, there = old.get(name, ABSENT), new.get(name, ABSENT)
            yield from _compared(f"{path}.{joined(name)}", here, there, partial=partial)
        return
    if isinstance(old, list | tuple) and isinstance(new, list | tuple):
        if len(old) != len(new) or any(True for _ in _items(path, old, new, partial=partial)):
            yield FieldChange(path, old, new)
        return
    if old != new or isinstance(old, bool) is not isinstance(new, bool):
        yield FieldChange(path, old, new)


def _items(path: str, old: Sequence[Any], new: Sequence[Any], *, partial: bool) -> Iterator[FieldChange]:
    for here, there in zip(old, new, strict=True):
        yield from _compared(path, here, there, partial=partial)


def _all_of(one: ConfigObject, *, new: bool) -> Iterator[FieldChange]:
    for name, value in one.compared().items():
        for path, leaf in _leaves(name, value):
            yield FieldChange(path, ABSENT, leaf) if new else FieldChange(path, leaf, ABSENT)


def _leaves(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value and not is_mark(value):
        for name, one in sorted(value.items()):
            yield from _leaves(f"{path}.{joined(name)}", one)
    else:
        yield path, value


def created(one: ConfigObject) -> list[FieldChange]:
    """Return all values of an object that is to be made."""
    return list(_all_of(one, new=True))


def _order(key: Key, specs: Mapping[str, KindSpec]) -> tuple[int, Key]:
    return list(specs).index(key.kind), key


def shown(value: Any) -> str:
    """Return a value for a person, in one line."""
    if value is ABSENT:
        return "(none)"
    if is_mark(value):
        return f"(secret: {value[MARK]})"
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _MOST else f"{text[:_MOST]}..."


def _list_change(old: Sequence[Any], new: Sequence[Any]) -> str:
    """Return what was added to a long list, and taken from it; "": it is short, or only its order is another."""
    if len(old) + len(new) <= _LONG_LIST:
        return ""
    gone, added = [one for one in old if one not in new], [one for one in new if one not in old]
    told = [f"{word} {shown(items)}" for word, items in (("added", added), ("taken out", gone)) if items]
    return f"{', '.join(told)} ({len(old)} -> {len(new)})" if told else ""


def difference_lines(found: Sequence[Difference], only: Collection[Action] | None = None) -> list[str]:
    """Return the lines that a person reads."""
    lines: list[str] = []
    for one in found:
        if only is None or one.action in only:
            lines += ["", f"  {SIGNS[one.action]} {one.key}", *(f"      {change}" for change in one.fields)]
    return lines
