"""The part of a fake Digdag's API that is about projects: revisions, workflows, sessions and secrets."""

from __future__ import annotations

import tarfile
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TypeVar

from aiohttp import web

from tests.fakes.digdag_archives import archive_of, workflows_in
from tests.fakes.digdag_control import DigdagControl
from tests.fakes.digdag_model import Attempt, Project, Workflow
from tests.fakes.digdag_wire import (
    RefusedError,
    check_type,
    instant_of,
    needed,
    number_of,
    object_of,
    revision_of,
    workflow_of,
    workflows_of,
)
from tests.fakes.http_fake import answer

Thing = TypeVar("Thing")
LISTED = 100


class DigdagProjects(DigdagControl):
    """Handlers, and the look-ups that all handlers share."""

    # --- projects and workflows ---

    def _project_by_name(self, request: web.Request, body: bytes) -> web.StreamResponse:
        return answer(self._named(needed(request, "name")).row())

    def _list_projects(self, request: web.Request, body: bytes) -> web.StreamResponse:
        """List the oldest hundred; there is no next page."""
        name = request.query.get("name")
        found = [one.row() for one in self.projects.values() if name in {None, one.name}]
        return answer({"projects": found[:LISTED]})

    def _get_project(self, request: web.Request, body: bytes) -> web.StreamResponse:
        return answer(self._project(request).row())

    def _put_project(self, request: web.Request, body: bytes) -> web.StreamResponse:
        """Store a tar.gz as a new revision; a revision of that name is a conflict, whatever is in it.

        A schedule that is there goes on, disabled or not; a new one begins at `schedule_from`.
        """
        name, revision = needed(request, "project"), needed(request, "revision")
        check_type(request, body, "application/gzip")
        begin = instant_of(request, "schedule_from") or datetime.fromtimestamp(self.clock(), UTC)
        try:
            workflows = workflows_in(body)
        except (tarfile.TarError, OSError, EOFError) as error:
            raise RefusedError(400, f"The archive is not a tar.gz: {error}") from None
        project = self.project_named(name)
        if project and any(one.name == revision for one in project.revisions):
            raise RefusedError(409, f"Resource already exists: revision={revision} in project id={project.id}")
        project = self.new_revision(name, revision, body)
        for workflow, written in workflows.items():
            self.add_workflow(name, workflow, written.tasks, timezone=written.timezone, schedule=written.first(begin))
        project.schedules = {one: schedule for one, schedule in project.schedules.items() if one in workflows}
        return answer(project.row())

    def _delete_project(self, request: web.Request, body: bytes) -> web.StreamResponse:
        """Forget a project, its schedules and secrets; its attempts stay."""
        project = self._project(request)
        del self.projects[project.id]
        return answer(project.row())

    def _list_revisions(self, request: web.Request, body: bytes) -> web.StreamResponse:
        """List the newest first."""
        found = [one.row() for one in reversed(self._project(request).revisions)]
        return answer({"revisions": found[:LISTED]})

    def _get_archive(self, request: web.Request, body: bytes) -> web.StreamResponse:
        """Give an archive out; what is in a storage is fetched from there, by who does not say otherwise."""
        revision = revision_of(self._project(request), request.query.get("revision"))
        direct = request.query.get("direct_download") != "false" or not self.knows_direct_download
        if revision.storage and direct:
            return web.Response(status=303, headers={"Location": f"{revision.storage}/{revision.name}.tar.gz?signed"})
        content = revision.archive or archive_of(revision.workflows)
        return web.Response(body=content, content_type="application/gzip")

    def _list_workflows(self, request: web.Request, body: bytes) -> web.StreamResponse:
        name = request.query.get("name")
        found = workflows_of(self._project(request), request.query.get("revision"))
        return answer({"workflows": [one.row() for one in found if name in {None, one.name}]})

    def _get_workflow(self, request: web.Request, body: bytes) -> web.StreamResponse:
        revision = request.query.get("revision")
        return answer(workflow_of(self._project(request), revision, request.match_info["name"]).row())

    def _list_all_workflows(self, request: web.Request, body: bytes) -> web.StreamResponse:
        """List those of the newest revisions, by their ids."""
        last, count = number_of(request, "last_id") or 0, number_of(request, "count") or LISTED
        newest = [one for project in self.projects.values() for one in project.latest().workflows if int(one.id) > last]
        return answer({"workflows": [one.row() for one in sorted(newest, key=lambda one: int(one.id))[:count]]})

    def _workflow_by_name(self, request: web.Request, body: bytes) -> web.StreamResponse:
        project = self._named(needed(request, "project"))
        return answer(workflow_of(project, request.query.get("revision"), needed(request, "name")).row())

    def _workflow_by_id(self, request: web.Request, body: bytes) -> web.StreamResponse:
        return answer(self._workflow(request.match_info["id"]).row())

    def _list_sessions(self, request: web.Request, body: bytes) -> web.StreamResponse:
        """List the newest first."""
        project, workflow = self._project(request), request.query.get("workflow")
        return answer({"sessions": [session.row() for session in self.sessions_of(project, workflow)]})

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
        return found_in(self.projects, request.match_info["id"], "project")

    def _workflow(self, name: str) -> Workflow:
        return found_in(self.workflows, name, "workflow")

    def _attempt(self, name: str) -> Attempt:
        return found_in(self.attempts, name, "session attempt")


def found_in(things: Mapping[str, Thing], name: str, kind: str) -> Thing:
    """Return the thing with this id."""
    if name not in things:
        raise RefusedError(404, f"Resource does not exist: {kind} id={name}")
    return things[name]
