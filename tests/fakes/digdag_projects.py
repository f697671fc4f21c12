"""The part of a fake Digdag's API that is about projects: workflows, sessions, schedules and secrets."""

from __future__ import annotations

import tarfile
from collections.abc import Mapping
from typing import TypeVar

from aiohttp import web

from tests.fakes.digdag_control import DigdagControl
from tests.fakes.digdag_model import Attempt, Project, Workflow, workflows_in
from tests.fakes.digdag_wire import (
    RefusedError,
    check_type,
    needed,
    object_of,
    schedule_row,
    workflow_of,
    workflows_of,
)
from tests.fakes.http_fake import answer

Thing = TypeVar("Thing")


class DigdagProjects(DigdagControl):
    """Handlers, and the look-ups that all handlers share."""

    # --- projects and workflows ---

    def _project_by_name(self, request: web.Request, body: bytes) -> web.StreamResponse:
        return answer(self._named(needed(request, "name")).row())

    def _list_projects(self, request: web.Request, body: bytes) -> web.StreamResponse:
        name = request.query.get("name")
        return answer({"projects": [one.row() for one in self.projects.values() if name in {None, one.name}]})

    def _get_project(self, request: web.Request, body: bytes) -> web.StreamResponse:
        return answer(self._project(request).row())

    def _put_project(self, request: web.Request, body: bytes) -> web.StreamResponse:
        """Store a tar.gz as a new revision; a revision of that name is a conflict, whatever is in it."""
        name, revision = needed(request, "project"), needed(request, "revision")
        check_type(request, body, "application/gzip")
        try:
            workflows = workflows_in(body)
        except (tarfile.TarError, OSError, EOFError) as error:
            raise RefusedError(400, f"The archive is not a tar.gz: {error}") from None
        project = self.project_named(name)
        if project and any(one.name == revision for one in project.revisions):
            raise RefusedError(409, f"Resource already exists: revision={revision} in project id={project.id}")
        project = self.new_revision(name, revision, body)
        for workflow, written in workflows.items():
            self.add_workflow(name, workflow, written.tasks, timezone=written.timezone)
        return answer(project.row())

    def _list_workflows(self, request: web.Request, body: bytes) -> web.StreamResponse:
        name = request.query.get("name")
        found = workflows_of(self._project(request), request.query.get("revision"))
        return answer({"workflows": [one.row() for one in found if name in {None, one.name}]})

    def _get_workflow(self, request: web.Request, body: bytes) -> web.StreamResponse:
        revision = request.query.get("revision")
        return answer(workflow_of(self._project(request), revision, request.match_info["name"]).row())

    def _workflow_by_name(self, request: web.Request, body: bytes) -> web.StreamResponse:
        project = self._named(needed(request, "project"))
        return answer(workflow_of(project, request.query.get("revision"), needed(request, "name")).row())

    def _workflow_by_id(self, request: web.Request, body: bytes) -> web.StreamResponse:
        return answer(self._workflow(request.match_info["id"]).row())

    def _list_sessions(self, request: web.Request, body: bytes) -> web.StreamResponse:
        """List the newest first."""
        project, workflow = self._project(request), request.query.get("workflow")
        return answer({"sessions": [session.row() for session in self.sessions_of(project, workflow)]})

    def _list_schedules(self, request: web.Request, body: bytes) -> web.StreamResponse:
        """Of the newest revisions only; `schedule` of a workflow is the time of its next session."""
        newest = [one for project in self.projects.values() for one in project.latest().workflows if one.schedule]
        return answer({"schedules": [schedule_row(one) for one in newest]})

    # --- secrets: only their names ever leave ---

    def _list_secrets(self, request: web.Request, body: bytes) -> web.StreamResponse:
        return answer({"secrets": [{"key": key} for key in self._project(request).secrets]})

    def _put_secret(self, request: web.Request, body: bytes) -> web.StreamResponse:
        project, value = self._project(request), object_of(request, body).get("value")
        if not isinstance(value, str):
            raise RefusedError(400, "value is required")
        project.secrets[request.match_info["key"]] = value
        return answer({"key": request.match_info["key"], "project": project.named()})

    def _delete_secret(self, request: web.Request, body: bytes) -> web.StreamResponse:
        """Forget a secret; one that is not there is forgotten already."""
        project, key = self._project(request), request.match_info["key"]
        project.secrets.pop(key, None)
        return answer({"key": key, "project": project.named()})

    # --- what a path or a query names ---

    def _named(self, name: str) -> Project:
        project = self.project_named(name)
        if project is None:
            raise RefusedError(404, f"Resource does not exist: project name={name}")
        return project

    def _project(self, request: web.Request) -> Project:
        return _found(self.projects, request.match_info["id"], "project")

    def _workflow(self, name: str) -> Workflow:
        return _found(self.workflows, name, "workflow")

    def _attempt(self, name: str) -> Attempt:
        return _found(self.attempts, name, "session attempt")


def _found(things: Mapping[str, Thing], name: str, kind: str) -> Thing:
    if name not in things:
        raise RefusedError(404, f"Resource does not exist: {kind} id={name}")
    return things[name]
