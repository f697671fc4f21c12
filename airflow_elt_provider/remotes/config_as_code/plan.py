"""What has to change on a server so that it is as the files say. It is made, shown, kept, and then carried out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
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
from airflow_elt_provider.remotes.config_as_code.model import (
    ConfigObject,
    Key,
    KindSpec,
    Tree,
    Values,
)
from airflow_elt_provider.remotes.config_as_code.plan_problems import problems_of
from airflow_elt_provider.remotes.config_as_code.plan_shape import FORMAT, refuse_odd
from airflow_elt_provider.remotes.config_as_code.secret_values import (
    NOT_EXPORTED,
    references,
    refuse_no_reference,
    settled,
)

AS_IT_IS: Final = {"$secret": "as it is"}
"""What a secret was that is written once more."""


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
    def sent(self) -> Values:
        """The values that are wanted, as they are sent: a secret that the server has stays unless it is shown."""
        is_kept = self.action == "update" and not self.writes_secrets
        return settled(self.wanted, self.before) if is_kept else self.wanted or {}

    @property
    def writes_secrets(self) -> bool:
        """Whether secrets are written that the server has already."""
        return any(isinstance(one.old, Mapping) and one.old == AS_IT_IS for one in self.fields)

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
    :param within: the workspaces in which that is; None: everywhere, the account itself included.
    :param write_secrets: whether secrets that a file refers to are written again, for nobody can compare them.
    """

    allow_delete: bool = False
    only_create: bool = False
    write_secrets: bool = False
    within: frozenset[str] | None = None

    def deletes(self, key: Key) -> bool:
        """Whether an object goes that is only on the server."""
        return self.allow_delete and (self.within is None or key.workspace in self.within)


@dataclass(frozen=True)
class Plan:
    """The changes, in the order in which they are made.

    :param server: its address.
    :param left_alone: what is only on the server and stays there.
    :param problems: why it cannot be carried out, each with its remedy.
    :param differing: what a restore leaves as it is, and is not as the files say: also what an earlier one that broke
        off left half made, such as a connection that is still off.
    :param new_workspaces: workspaces in which the server has nothing, and all that the files say would be made: there
        is none of that name, or it was renamed.
    """

    remote: str
    server: str
    changes: Sequence[PlannedChange]
    left_alone: Sequence[Key] = ()
    problems: Sequence[str] = ()
    differing: Sequence[Key] = ()
    new_workspaces: Sequence[str] = ()

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
            "differing": [key.to_json() for key in self.differing],
            "new_workspaces": list(self.new_workspaces),
        }

    @classmethod
    def from_json(cls, text: str | bytes, place: str) -> Plan:
        """Read what :meth:`to_json` wrote.

        :raises ConfigurationError: for anything else.
        """
        try:
            value = json.loads(text)
            refuse_odd(value)
            for one in value["changes"]:
                refuse_no_reference(one["wanted"], f"{place}: {one['key'][-1]!r}")
            return cls(
                value["remote"], value["server"], [PlannedChange.from_json(one) for one in value["changes"]],
                [Key(*one) for one in value["left_alone"]], value["problems"],
                [Key(*one) for one in value.get("differing", ())], value.get("new_workspaces", ()),
            )  # fmt: skip
        except RecursionError:
            said = "it is nested too deeply"
        except ValueError as error:
            said = str(error)
        raise ConfigurationError(f"{place} is no plan: {said}.", hint="make one with `elt remote plan --out`")

    def refuse_deletes(self, remedy: str) -> None:
        """Refuse a plan that somebody made who allowed to delete.

        :param remedy: how that is allowed here, too.
        :raises ConfigurationError: where it deletes anything.
        """
        gone = [str(one.key) for one in self.changes if one.action == "delete"]
        if gone:
            raise ConfigurationError(f"The plan deletes {', '.join(gone)}.", hint=remedy)

    def refuse_new_workspaces(self) -> None:
        """Refuse to make whole workspaces where nobody has looked at the plan.

        :raises ConfigurationError: where one was renamed, say, a second copy of it would begin to sync.
        """
        if self.new_workspaces:
            raise ConfigurationError(
                f"{self.server} has nothing in {', '.join(map(repr, self.new_workspaces))}: all of it would be made.",
                hint="a workspace was renamed, or is misspelt? Else make it with `elt remote restore`, or give a plan "
                "that was looked at",
            )

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
        if self.differing:
            lines += ["", "There already and not as the files say, left alone (elt remote apply changes it):"]
            lines += [f"    {key}" for key in self.differing]
        if self.new_workspaces:
            lines += ["", "Workspaces in which the server has nothing: none of that name, or renamed there:"]
            lines += [f"    {name}" for name in self.new_workspaces]
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
    changed = [_changed(one, files, server) for one in found if one.action == "update"]
    differing = [one.key for one in changed] if options.only_create else []
    if options.only_create:
        changed = []
    elif options.write_secrets:
        changed = _with_secrets(changed, files, server)
    gone = [one.key for one in found if one.action == "create"] if not options.only_create else []
    deleted = [key for key in gone if options.deletes(key) and specs[key.kind].deletable]
    ends = [PlannedChange("delete", key, before=server.objects[key].compared()) for key in reversed(deleted)]
    steps = sorted([*made, *changed], key=lambda one: (list(specs).index(one.key.kind), one.key))
    problems = [*problems_of([*steps, *ends], files, server, specs)]
    left_alone = [key for key in gone if key not in deleted]
    new = {one.key.workspace for one in made} - {key.workspace for key in server.objects} - {""}
    return Plan(files.remote, address, [*steps, *ends], left_alone, problems, differing, sorted(new))


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
            written = [FieldChange(path, dict(AS_IT_IS), {"$secret": text}) for path, text in places]
            found[wanted.key] = replace(now, fields=[*now.fields, *written])
    return list(found.values())
