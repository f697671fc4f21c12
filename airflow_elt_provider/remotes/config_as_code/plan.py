"""What has to change on a server so that it is as the files say. It is made, shown, kept, and then carried out."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from airflow_elt_provider.errors import ConfigurationError
from airflow_elt_provider.remotes.config_as_code.changes import (
    ABSENT,
    Action,
    Difference,
    FieldChange,
    created,
    difference_lines,
    differences,
)
from airflow_elt_provider.remotes.config_as_code.model import ConfigObject, Key, KindSpec, Tree, Values
from airflow_elt_provider.remotes.config_as_code.secret_values import HINT, NOT_EXPORTED, is_mark, references

FORMAT: Final = 1


@dataclass(frozen=True)
class PlannedChange:
    """One change.

    :param before: the values on the server when the plan was made; None: there was no such object.
    :param wanted: the values that it is to have; None: it is to be deleted.
    """

    action: Action
    key: Key
    fields: Sequence[FieldChange] = ()
    before: Values | None = None
    wanted: Values | None = None

    @property
    def shown(self) -> Difference:
        """It as a person reads it."""
        return Difference(self.action, self.key, self.fields)

    def to_json(self) -> dict[str, Any]:
        """Return it as a plan file holds it."""
        return {
            "action": self.action,
            "key": self.key.to_json(),
            "fields": [one.to_json() for one in self.fields],
            "before": self.before,
            "wanted": self.wanted,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> PlannedChange:
        """Read what :meth:`to_json` wrote."""
        fields = [FieldChange(one["path"], one.get("old", ABSENT), one.get("new", ABSENT)) for one in value["fields"]]
        return cls(value["action"], Key(*value["key"]), fields, value["before"], value["wanted"])


@dataclass(frozen=True)
class PlanOptions:
    """How far a plan goes.

    :param allow_delete: whether what is only on the server is deleted; else it is left alone, and named.
    :param only_create: whether what is there is left as it is: a restore.
    :param write_secrets: whether secrets that a file refers to are written again, for nobody can compare them.
    """

    allow_delete: bool = False
    only_create: bool = False
    write_secrets: bool = False


@dataclass(frozen=True)
class Plan:
    """The changes, in the order in which they are made.

    :param server: its address.
    :param left_alone: what is only on the server and stays there.
    :param problems: why it cannot be carried out, each with its remedy.
    """

    remote: str
    server: str
    changes: Sequence[PlannedChange]
    left_alone: Sequence[Key] = ()
    problems: Sequence[str] = ()

    @property
    def empty(self) -> bool:
        """Whether there is nothing to do."""
        return not self.changes and not self.problems

    def written(self) -> list[ConfigObject]:
        """Return what is sent: what is to be made, and of what is to be changed the fields that are."""
        found: list[ConfigObject] = []
        for one in self.changes:
            fields = None if one.action == "create" else {change.top for change in one.fields}
            values = {name: value for name, value in (one.wanted or {}).items() if fields is None or name in fields}
            if one.action != "delete":
                found.append(ConfigObject(one.key, values))
        return found

    def to_json(self) -> dict[str, Any]:
        """Return it as a plan file, and as ``--json`` shows it."""
        return {
            "format": FORMAT,
            "remote": self.remote,
            "server": self.server,
            "changes": [one.to_json() for one in self.changes],
            "left_alone": [key.to_json() for key in self.left_alone],
            "problems": list(self.problems),
        }

    @classmethod
    def from_json(cls, text: str | bytes, place: str) -> Plan:
        """Read what :meth:`to_json` wrote.

        :raises ConfigurationError: for anything else.
        """
        try:
            value = json.loads(text)
            return cls(
                value["remote"], value["server"], [PlannedChange.from_json(one) for one in value["changes"]],
                [Key(*one) for one in value["left_alone"]], value["problems"],
            )  # fmt: skip
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigurationError(
                f"{place} is no plan ({type(error).__name__}: {error}).", hint="make one with `elt remote plan --out`"
            ) from None

    def text(self) -> str:
        """Return it as a person reads it."""
        count = {action: sum(one.action == action for one in self.changes) for action in ("create", "update", "delete")}
        head = (
            f"{self.remote} at {self.server}: {count['create']} to create, {count['update']} to change, "
            f"{count['delete']} to delete"
        )
        lines = [head, *difference_lines([one.shown for one in self.changes])]
        if self.left_alone:
            lines += ["", "Only on the server, left alone (see --allow-delete):"]
            lines += [f"    {key}" for key in self.left_alone]
        if self.problems:
            lines += ["", "This cannot be carried out:", *(f"  ! {problem}" for problem in self.problems)]
        return "\n".join(lines)


def make_plan(
    files: Tree, server: Tree, kinds: Sequence[KindSpec], address: str, options: PlanOptions = PlanOptions()
) -> Plan:  # fmt: skip
    """Return what has to change.

    :param files: what is wanted.
    :param server: what is there; of the workspaces that the files name.
    """
    specs = {spec.name: spec for spec in kinds}
    found = differences(files, server, specs)
    made = [_created(files.objects[one.key]) for one in found if one.action == "delete"]
    changed = [] if options.only_create else [_changed(one, files, server) for one in found if one.action == "update"]
    if options.write_secrets and not options.only_create:
        changed = _with_secrets(changed, files, server)
    gone = [one.key for one in found if one.action == "create"] if not options.only_create else []
    deleted = [key for key in gone if options.allow_delete and specs[key.kind].deletable]
    ends = [PlannedChange("delete", key, before=server.objects[key].compared()) for key in reversed(deleted)]
    steps = sorted([*made, *changed], key=lambda one: (list(specs).index(one.key.kind), one.key))
    problems = [*_problems([*steps, *ends], files, server, specs)]
    return Plan(files.remote, address, [*steps, *ends], [key for key in gone if key not in deleted], problems)


def _created(one: ConfigObject) -> PlannedChange:
    return PlannedChange("create", one.key, created(one), None, one.compared())


def _changed(one: Difference, files: Tree, server: Tree) -> PlannedChange:
    return PlannedChange(
        "update", one.key, [change.swapped() for change in one.fields],
        server.objects[one.key].compared(), files.objects[one.key].compared(),
    )  # fmt: skip


def _with_secrets(changed: Sequence[PlannedChange], files: Tree, server: Tree) -> list[PlannedChange]:
    """Add the secrets that files refer to, of what is there already."""
    found = {one.key: one for one in changed}
    for wanted in files:
        places = [(path, text) for path, text in references(wanted.values) if text != NOT_EXPORTED]
        if places and wanted.key in server.objects:
            now = found.get(wanted.key) or PlannedChange(
                "update", wanted.key, (), server.objects[wanted.key].compared(), wanted.compared()
            )
            written = [FieldChange(path, {"$secret": "as it is"}, {"$secret": text}) for path, text in places]
            found[wanted.key] = replace(now, fields=[*now.fields, *written])
    return list(found.values())


# --- problems ---


def _problems(
    changes: Sequence[PlannedChange], files: Tree, server: Tree, specs: Mapping[str, KindSpec]
) -> Iterator[str]:
    deleted = {one.key for one in changes if one.action == "delete"}
    there = {*files.objects, *server.objects} - deleted
    for one in changes:
        spec = specs[one.key.kind]
        if one.action == "create":
            yield from _cannot_create(one, spec, server)
        if one.action == "update":
            yield from _cannot_update(one, spec)
        if one.action != "delete":
            yield from _missing_references(one, spec, there, server)
    for key in sorted(there):
        both = [tree.objects[key].values for tree in (server, files) if key in tree.objects]
        values = {name: value for one in both for name, value in one.items()}
        for name, referred in _references(values, specs[key.kind], key):
            for gone in deleted & set(referred):
                yield f"{gone} cannot be deleted: {name} of {key}, which stays, refers to it."


def _cannot_create(one: PlannedChange, spec: KindSpec, server: Tree) -> Iterator[str]:
    same = [
        key for key in server.objects if key.kind == one.key.kind and key.workspace == one.key.workspace
        and key.name.startswith(f"{one.key.name} [")
    ]  # fmt: skip
    if len(same) > 1:
        names = ", ".join(repr(key.name) for key in sorted(same))
        yield f"{one.key}: the server has several of that name. Remedy: rename all but one there, or write {names}"
        return
    wanted = one.wanted or {}
    for name in sorted(spec.needed - wanted.keys()):
        yield f"{one.key} cannot be created without {name}. Remedy: write it into its file"
    for path, text in references(wanted):
        if text == NOT_EXPORTED:
            yield f"{one.key} cannot be created: the secret at {path} was not exported. Remedy: {HINT}"


def _cannot_update(one: PlannedChange, spec: KindSpec) -> Iterator[str]:
    for change in one.fields:
        if change.top in spec.fixed:
            yield (
                f"{one.key}: {change} cannot be changed on the server, and nothing is made anew by itself. "
                f"Remedy: take it back, or give the file a new name and delete the old {spec.name} with --allow-delete"
            )
        elif is_mark(change.old) and change.new is not ABSENT and not is_mark(change.new):
            yield f"{one.key}: {change.path} is a secret on the server, and stands in the open. Remedy: {HINT}"
        elif is_mark(change.new) and change.new["$secret"] == NOT_EXPORTED:
            yield f"{one.key}: the server has no secret at {change.path}, and the file none to write. Remedy: {HINT}"


def _missing_references(one: PlannedChange, spec: KindSpec, there: set[Key], server: Tree) -> Iterator[str]:
    for name, keys in _references(one.wanted or {}, spec, one.key):
        if not there & set(keys):
            known = sorted(key.name for key in server.objects if key.kind == keys[0].kind)[:8]
            yield (
                f"{one.key}: {name} is {keys[0].name!r}, and there is no such {keys[0].kind}. "
                f"Remedy: write its file, or one of {', '.join(known) or 'none: there is none'}"
            )


def _references(values: Values, spec: KindSpec, key: Key) -> Iterator[tuple[str, tuple[Key, Key]]]:
    """Yield the fields that name other objects, with the keys that may be meant: of the workspace, or the account."""
    for name, kind in spec.references.items():
        value: Any = values
        for part in name.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        if value is not None:
            yield name, (Key(kind, key.workspace, str(value)), Key(kind, "", str(value)))
