"""The configuration of a Digdag server: projects with their files and the names of their secrets, and schedules."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Final

from airflow_elt_provider.core.secret import Secret
from airflow_elt_provider.errors import ConfigurationError
from airflow_elt_provider.remotes.config_as_code.digdag.api import DigdagApi
from airflow_elt_provider.remotes.config_as_code.digdag.archive import Archive, is_hidden
from airflow_elt_provider.remotes.config_as_code.digdag.files import archive_of, objections_to, secrets_of, withheld_in
from airflow_elt_provider.remotes.config_as_code.model import (
    FILES,
    ConfigObject,
    Key,
    KindSpec,
    Tell,
    Tree,
    tree_of,
    unique_names,
)
from airflow_elt_provider.remotes.config_as_code.schema_lock import Drift, SchemaLock
from airflow_elt_provider.remotes.config_as_code.secret_values import MARK, NOT_EXPORTED, marked
from airflow_elt_provider.remotes.config_as_code.server import Discovered
from airflow_elt_provider.remotes.digdag import Digdag
from airflow_elt_provider.remotes.flow import Flow, JsonObject, Together
from airflow_elt_provider.remotes.model import Remote

log = logging.getLogger(__name__)

PROJECT: Final = KindSpec(
    "project", "projects", ("executable", "secrets", "withheld"), needed=frozenset({FILES}),
    late=frozenset({"secrets"}), attachments=True, placed=False,
)  # fmt: skip
SCHEDULE: Final = KindSpec(
    "schedule", "schedules", ("disabled",), late=frozenset({"disabled"}), placed=False, deletable=False
)
_PUSHED: Final = frozenset({FILES, "executable", "withheld"})
_AT_ONCE: Final = 8


class DigdagConfiguration:
    """One Digdag server.

    A project's files are those of its newest revision. Files that look as if they held a secret are withheld: their
    paths are told in place of their content. Hidden files, which ``digdag push`` leaves out, stay as they are.
    A schedule is named ``project/workflow``; it comes and goes with the ``schedule:`` of its workflow.

    :param remote: a :class:`~airflow_elt_provider.remotes.digdag.Digdag`.
    """

    remote: ClassVar[str] = "digdag"
    kinds: ClassVar[Sequence[KindSpec]] = (PROJECT, SCHEDULE)

    def __init__(self, remote: Remote) -> None:
        if not isinstance(remote, Digdag):
            raise TypeError(remote)
        self._api = DigdagApi(remote.session)
        self._archives: dict[Key, Archive] = {}
        self._places: dict[Key, tuple[str, str]] = {}

    # --- read ---

    def read(self, workspaces: Sequence[str] | None, tell: Tell) -> Flow[Tree]:
        if workspaces:
            log.warning("Digdag has no workspaces: all projects are read, not those of %s.", ", ".join(workspaces))
        rows = yield from self._api.projects()
        projects: list[ConfigObject] = []
        for start in range(0, len(rows), _AT_ONCE):
            found = yield Together([self._project(row) for row in rows[start : start + _AT_ONCE]])
            projects += [one for one in found if one is not None]
            tell("projects", min(start + _AT_ONCE, len(rows)), len(rows))
        for one in projects:
            self._say_left_out(one.key)
        return tree_of(self.remote, [*projects, *(yield from self._schedules())])

    def reread(self, key: Key) -> Flow[ConfigObject | None]:
        if key.kind == SCHEDULE.name:
            row = yield from self._schedule(key)
            return _schedule_object(key, row) if row else None
        project = yield from self._api.project(key.name)
        return (yield from self._project(project)) if project else None

    def _project(self, row: JsonObject) -> Flow[ConfigObject | None]:
        archive = yield from self._api.archive(row)
        if archive is None:
            return None
        names = yield from self._api.secrets(str(row["id"]))
        key = Key(PROJECT.name, "", str(row["name"]))
        self._archives[key] = archive
        withheld = withheld_in(archive)
        shown = {path: data for path, data in archive.files.items() if path not in withheld and not is_hidden(path)}
        values = {
            "executable": sorted(path for path in archive.executable if not is_hidden(path)),
            "secrets": {name: {MARK: NOT_EXPORTED} for name in names},
            "withheld": {path: {MARK: NOT_EXPORTED} for path in sorted(withheld)},
        }
        return ConfigObject(key, marked(values), shown)

    def _say_left_out(self, key: Key) -> None:
        archive = self._archives[key]
        for path, reason in sorted(withheld_in(archive).items()):
            log.warning("%s: %s is not exported: %s. Let it use Digdag's secrets: ${secret:...}.", key, path, reason)
        if hidden := sorted(filter(is_hidden, archive.files)):
            log.warning("%s: hidden files are left alone: %s", key, ", ".join(hidden[:8]))

    def _schedules(self) -> Flow[list[ConfigObject]]:
        rows = yield from self._api.schedules()
        names = unique_names((str(row["id"]), f"{row['project']['name']}/{row['workflow']['name']}") for row in rows)
        keys = [Key(SCHEDULE.name, "", names[str(row["id"])]) for row in rows]
        places = [(str(row["project"]["name"]), str(row["workflow"]["name"])) for row in rows]
        self._places = dict(zip(keys, places, strict=True))
        return [_schedule_object(key, row) for key, row in zip(keys, rows, strict=True)]

    def _schedule(self, key: Key) -> Flow[JsonObject | None]:
        project, workflow = self._places.get(key) or _split(key)
        row = yield from self._api.project(project)
        return (yield from self._api.schedule(str(row["id"]), workflow)) if row else None

    # --- write ---

    def create(self, wanted: ConfigObject) -> Flow[None]:
        """Push a new project, then set its secrets. A schedule is there after the push, or cannot be made."""
        if wanted.key.kind == SCHEDULE.name:
            raise (yield from self._no_schedule(wanted.key))
        archive = archive_of(wanted, Archive())
        secrets = secrets_of(wanted)
        yield from self._api.push(wanted.key.name, archive, None)
        project = yield from self._api.project(wanted.key.name)
        if project:
            yield from self._put_secrets(project, secrets)

    def update(self, before: ConfigObject, wanted: ConfigObject, fields: Collection[str]) -> Flow[None]:
        """Change a project: secrets are set, then the files are pushed, then secrets are deleted that nothing needs."""
        if wanted.key.kind == SCHEDULE.name:
            return (yield from self._switch(wanted))
        project = yield from self._api.project(wanted.key.name)
        if project is None:
            raise ConfigurationError(f"{wanted.key} is gone.", hint="make a new plan")
        pushed = None
        if _PUSHED & set(fields):
            present = self._archives.get(wanted.key) or (yield from self._api.archive(project)) or Archive()
            pushed = archive_of(wanted, present)
            pushed = pushed if pushed != present else None
        secrets = secrets_of(wanted) if "secrets" in fields else {}
        yield from self._put_secrets(project, secrets)
        if pushed:
            yield from self._api.push(wanted.key.name, pushed, project)
        if "secrets" in fields and "secrets" in wanted.values:
            for name in sorted(before.values.get("secrets", {}).keys() - secrets.keys()):
                yield from self._api.delete_secret(str(project["id"]), name)
        return None

    def objections(self, wanted: Sequence[ConfigObject]) -> Flow[Sequence[str]]:
        yield from ()
        return [said for one in wanted for said in objections_to(one)]

    def switched_off(self, one: ConfigObject) -> ConfigObject:
        if one.key.kind != SCHEDULE.name:
            return one
        return replace(one, values={**one.values, "disabled": True})

    def delete(self, key: Key) -> Flow[None]:
        if key.kind == SCHEDULE.name:
            raise ConfigurationError(f"{key} cannot be deleted.", hint="take schedule: out of its workflow's file")
        project = yield from self._api.project(key.name)
        if project:
            yield from self._api.delete_project(str(project["id"]))

    def _put_secrets(self, project: JsonObject, secrets: Mapping[str, Any]) -> Flow[None]:
        for name, value in secrets.items():
            if isinstance(value, Secret):
                yield from self._api.put_secret(str(project["id"]), name, value)

    def _switch(self, wanted: ConfigObject) -> Flow[None]:
        row = yield from self._schedule(wanted.key)
        if row is None:
            raise (yield from self._no_schedule(wanted.key))
        yield from self._api.switch(str(row["id"]), disabled=bool(wanted.values["disabled"]))

    def _no_schedule(self, key: Key) -> Flow[ConfigurationError]:
        project, workflow = self._places.get(key) or _split(key)
        if (yield from self._api.project(project)) is None:
            return ConfigurationError(
                f"{key}: the server has no project {project!r}.",
                hint="add the project's file and folder, or remove this",
            )
        return ConfigurationError(
            f"{key}: the workflow {workflow!r} has no schedule, and none can be made by itself.",
            hint=f"write schedule: into {workflow}.dig of project {project!r}, or remove the schedule's file",
        )

    # --- what Digdag has not ---

    def reset(self, key: Key) -> Flow[None]:
        raise ConfigurationError(f"{key}: Digdag holds no data that could be reset.", hint="leave reset out")

    def schemas(self, keys: Sequence[Key], tell: Tell) -> Flow[Mapping[Key, SchemaLock]]:  # noqa: ARG002
        yield from ()
        return {}

    def discover(self, connection_id: str) -> Flow[Discovered]:
        raise ConfigurationError(
            f"Digdag knows no schema of {connection_id!r}.", hint="the drift gate is for Airbyte and Fivetran"
        )

    def accept(self, connection_id: str, found: Discovered, drifts: Sequence[Drift]) -> Flow[None]:  # noqa: ARG002
        return self.discover(connection_id)  # type: ignore[return-value]  # which raises


def _schedule_object(key: Key, row: JsonObject) -> ConfigObject:
    return ConfigObject(key, {"disabled": row.get("disabledAt") is not None})


def _split(key: Key) -> tuple[str, str]:
    project, _, workflow = key.name.partition("/")
    if not (project and workflow):
        raise ConfigurationError(f"{key}: the name is no name of a schedule.", hint="write project/workflow")
    return project, workflow
