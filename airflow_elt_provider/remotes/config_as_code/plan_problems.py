"""Why a plan cannot be carried out: each reason with its remedy, before anything is sent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_elt_provider.remotes.config_as_code.changes import ABSENT
from airflow_elt_provider.remotes.config_as_code.model import Key, KindSpec, Tree, Values, named_elsewhere
from airflow_elt_provider.remotes.config_as_code.secret_values import HINT, NOT_EXPORTED, is_mark, references, unkept

if TYPE_CHECKING:
    from airflow_elt_provider.remotes.config_as_code.plan import PlannedChange


def problems_of(
    changes: Sequence[PlannedChange], files: Tree, server: Tree, specs: Mapping[str, KindSpec]
) -> Iterator[str]:
    """Yield what keeps these changes from being made."""
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
        for name, referred in _references(values, specs[key.kind], key, there | deleted):
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
            yield f"{one.key}: {change.place} is a secret on the server, and stands in the open. Remedy: {HINT}"
        for path in unkept(change.new, change.old, change.place):
            yield (
                f"{one.key}: the secret at {path} was not exported, and the server has none at that place to keep. "
                f"Remedy: {HINT}"
            )


def _missing_references(one: PlannedChange, spec: KindSpec, there: set[Key], server: Tree) -> Iterator[str]:
    for name, keys in _references(one.wanted or {}, spec, one.key, there):
        if not there & set(keys) and name not in spec.elsewhere:
            known = sorted(key.name for key in server.objects if key.kind == keys[0].kind)[:8]
            yield (
                f"{one.key}: {name} is {keys[0].name!r}, and there is no such {keys[0].kind}. "
                f"Remedy: write its file, or one of {', '.join(known) or 'none: there is none'}"
            )


def _references(values: Values, spec: KindSpec, key: Key, there: set[Key]) -> Iterator[tuple[str, Sequence[Key]]]:
    """Yield the fields that name other objects, with the keys that may be meant: of the workspace, or the account."""
    for name, kind in spec.references.items():
        value: Any = values
        for part in name.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        if value is not None:
            near = [Key(kind, key.workspace, str(value)), Key(kind, "", str(value))]
            far = named_elsewhere(kind, str(value), there) if name in spec.elsewhere and not there & set(near) else []
            yield name, [*near, *far]
