"""Export, diff, plan, apply and restore: what the command line and the operators both do."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from airflow_elt_provider.errors import ConfigurationError
from airflow_elt_provider.remotes.config_as_code.apply import Application, Applied, ApplyOptions
from airflow_elt_provider.remotes.config_as_code.changes import DiffResult, diff
from airflow_elt_provider.remotes.config_as_code.files import Written, earlier_of, read_tree, refuse_foreign, write_tree
from airflow_elt_provider.remotes.config_as_code.folders import Folder
from airflow_elt_provider.remotes.config_as_code.model import ConfigObject, Key, Tell, Tree, silent
from airflow_elt_provider.remotes.config_as_code.plan import Plan, PlanOptions, make_plan
from airflow_elt_provider.remotes.config_as_code.schema_lock import SchemaLock
from airflow_elt_provider.remotes.config_as_code.secret_values import Lookup
from airflow_elt_provider.remotes.config_as_code.server import ConfigServer, Objecting
from airflow_elt_provider.remotes.flow import Flow
from airflow_elt_provider.remotes.patience import patiently

log = logging.getLogger(__name__)

Drive = Callable[[Flow[Any]], Any]
Schemas = Literal["new", "all", "none"]
_TOLERANCE: Final = 300.0


@dataclass(frozen=True)
class Exported:
    """What an export found and wrote."""

    tree: Tree
    files: Written

    def to_json(self, uri: str) -> dict[str, Any]:
        """Return it as XCom and ``--json`` show it."""
        return {
            "remote": self.tree.remote,
            "folder": uri,
            "objects": _counts(self.tree.objects),
            "schemas": len(self.tree.locks),
            "written": list(self.files.written),
            "removed": list(self.files.removed),
            "unchanged": self.files.unchanged,
        }


@dataclass
class ConfigWork:
    """One server and one folder.

    :param drive: drives a flow to its end, see :mod:`airflow_elt_provider.remotes.flow`.
    :param address: of the server, for messages and plans.
    :param workspaces: names of those that are meant; None: for an export all, else those that the files name.
    :param tell: hears how far a long reading is.
    """

    server: ConfigServer
    drive: Drive
    address: str
    folder: Folder
    workspaces: Sequence[str] | None = None
    tell: Tell = silent
    _files: Tree | None = field(default=None, init=False, repr=False)

    def export(self, *, schemas: Schemas = "new") -> Exported:
        """Write the server's configuration to the folder.

        :raises ConfigurationError: for a folder of something else, and where all of a workspace seems to be gone.

        :param schemas: ``new`` writes lock files where there are none: what was accepted once is held against the
            source until somebody accepts another; ``all`` accepts every schema as the server has it now; ``none``
            writes no lock.
        """
        refuse_foreign(self.folder, self.server.remote)
        tree = self._read(self.workspaces)
        earlier = earlier_of(self.folder, self.server.kinds, self.server.remote)
        self._refuse_vanished(tree, earlier.tree)
        if schemas != "none":
            has = earlier.tree.locks.keys() if schemas == "new" else set[Key]()
            tree = replace(tree, locks=self._schemas(sorted(tree.objects.keys() - has)))
        return Exported(tree, write_tree(self.folder, tree, self.server.kinds, self.workspaces, earlier))

    def diff(self, *, schemas: bool = False) -> DiffResult:
        """Return how the server differs from the files.

        :param schemas: whether to hold what the server last discovered against the lock files.
        """
        files = self.files()
        server = self._read(self._scope(files))
        if schemas:
            server = replace(server, locks=self._schemas(sorted(files.locks.keys() & server.objects.keys())))
        return diff(files, server, self._specs())

    def plan(self, options: PlanOptions = PlanOptions()) -> Plan:  # noqa: B008 - frozen
        """Return what has to change on the server so that it is as the files say; changes nothing."""
        files = self.files()
        if self.workspaces is not None:  # what belongs to the account is nobody's of these
            options = replace(options, within=frozenset(self.workspaces))
        plan = make_plan(files, self._read(self._scope(files)), self.server.kinds, self.address, options)
        return replace(plan, problems=[*plan.problems, *self._objections(plan)])

    def apply(self, plan: Plan, lookup: Lookup, options: ApplyOptions = ApplyOptions()) -> Applied:  # noqa: B008 - frozen
        """Carry a plan out.

        :raises ConfigurationError: where it cannot be, or where server or files changed since it was made.
        """
        if (plan.remote, plan.server) != (self.server.remote, self.address):
            raise ConfigurationError(
                f"The plan is for {plan.remote} at {plan.server}, not for {self.server.remote} at {self.address}.",
                hint="make a plan with this connection",
            )
        application = Application(self.server, plan, self.files(), lookup, options)
        wanted = application.prepare()
        if not plan.changes:
            return Applied()
        now = self._read(self._scope(self.files()))
        applied: Applied = self.drive(application.run(wanted, now))
        return applied

    def files(self) -> Tree:
        """Return what the folder says; it is read once."""
        if self._files is None:
            tree = read_tree(self.folder, self.server.kinds, self.server.remote)
            self._files = tree.within(self.workspaces)
        return self._files

    def use(self, files: Tree) -> None:
        """Take these for what the folder says."""
        self._files = files

    def _refuse_vanished(self, tree: Tree, earlier: Tree) -> None:
        """Refuse to remove all files of a workspace that was named, or all: more likely nobody may see it any more."""
        left = {key.workspace for key in tree.objects}
        gone = {key.workspace for key in earlier.within(self.workspaces).objects} - left - {""}
        for name in sorted(gone):
            if not left or name in (self.workspaces or ()):
                raise ConfigurationError(
                    f"The server shows nothing of workspace {name!r}, and {self.folder.uri} holds files of it.",
                    hint="correct the name, or let the credentials see it; where all is gone indeed, remove its files",
                )
            if self.workspaces is None:
                log.warning("The server shows nothing of workspace %r any more: its files are removed.", name)

    def _objections(self, plan: Plan) -> Sequence[str]:
        server = self.server
        if not isinstance(server, Objecting):
            return ()

        def asking() -> Flow[Sequence[str]]:
            return server.objections(plan.written())

        said: Sequence[str] = self.drive(patiently(asking, _TOLERANCE, server.remote))
        return said

    def _scope(self, files: Tree) -> list[str]:
        return sorted({key.workspace for key in files.objects if key.workspace} | {*(self.workspaces or ())})

    def _read(self, workspaces: Sequence[str] | None) -> Tree:
        def reading() -> Flow[Tree]:
            return self.server.read(workspaces, self.tell)

        tree: Tree = self.drive(patiently(reading, _TOLERANCE, self.server.remote))
        return tree

    def _schemas(self, keys: Sequence[Key]) -> Mapping[Key, SchemaLock]:
        def reading() -> Flow[Mapping[Key, SchemaLock]]:
            return self.server.schemas(keys, self.tell)

        locks: Mapping[Key, SchemaLock] = self.drive(patiently(reading, _TOLERANCE, self.server.remote))
        return locks

    def _specs(self) -> dict[str, Any]:
        return {spec.name: spec for spec in self.server.kinds}


def restored(work: ConfigWork, moves: Mapping[str, str], *, disabled: bool) -> Tree:
    """Let the files be restored elsewhere: return what they say, and let ``work`` take it for what they say.

    :param moves: new names of workspaces, by the old ones.
    :param disabled: whether connections are made so that nothing syncs by itself.
    """
    tree = work.files().moved(moves)
    if disabled:
        tree = replace(tree, objects={key: work.server.switched_off(one) for key, one in tree.objects.items()})
    work.use(tree)
    if work.workspaces is not None:
        work.workspaces = [moves.get(name, name) for name in work.workspaces]
    return tree


def _counts(objects: Mapping[Key, ConfigObject]) -> dict[str, int]:
    found: dict[str, int] = {}
    for key in sorted(objects):
        found[key.kind] = found.get(key.kind, 0) + 1
    return found
