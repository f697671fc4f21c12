"""A fake of Digdag's REST API. What is unexpected about the real one stands at the handlers.

>>> with FakeDigdag(user="user", password="password") as server:
...     workflow_id = server.add_workflow("rental", "load", tasks=["+extract", "+load"])
...     server.run_seconds = 2
"""

from __future__ import annotations

import argparse
import tarfile
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, TypeVar

from aiohttp import web

from tests.fakes.digdag_control import ConflictError, DigdagControl
from tests.fakes.digdag_model import Attempt, Project, Workflow, workflows_in
from tests.fakes.digdag_wire import (
    RefusedError,
    asked,
    file_row,
    moment_of,
    needed,
    number_of,
    object_of,
    schedule_row,
    workflow_of,
    workflows_of,
)
from tests.fakes.http_fake import answer
from tests.fakes.serving import basic, serve, stats

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Thing = TypeVar("Thing")
OPEN = {"/_stats", "/api/version"}
PAGE = 100


class FakeDigdag(DigdagControl):
    """The HTTP side."""

    def __init__(self, user: str | None = None, password: str | None = None, **tls: Any) -> None:
        """Describe a server; with a user it asks for Basic credentials, except at /api/version."""
        super().__init__(**tls)
        self.credentials = None if user is None else basic(user, password or "")

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        """Return what is served."""
        served: list[tuple[str, str, Callable[[web.Request, bytes], web.StreamResponse]]] = [
            ("GET", "/api/version", self._version),
            ("GET", "/api/project", self._project_by_name),
            ("GET", "/api/projects", self._list_projects),
            ("PUT", "/api/projects", self._put_project),
            ("GET", "/api/projects/{id}", self._get_project),
            ("GET", "/api/projects/{id}/workflows", self._list_workflows),
            ("GET", "/api/projects/{id}/workflows/{name}", self._get_workflow),
            ("GET", "/api/projects/{id}/secrets", self._list_secrets),
            ("PUT", "/api/projects/{id}/secrets/{key}", self._put_secret),
            ("DELETE", "/api/projects/{id}/secrets/{key}", self._delete_secret),
            ("GET", "/api/workflow", self._workflow_by_name),
            ("GET", "/api/workflows/{id}", self._workflow_by_id),
            ("GET", "/api/schedules", self._list_schedules),
            ("GET", "/api/attempts", self._list_attempts),
            ("PUT", "/api/attempts", self._put_attempt),
            ("GET", "/api/attempts/{id}", self._get_attempt),
            ("GET", "/api/attempts/{id}/retries", self._list_retries),
            ("GET", "/api/attempts/{id}/tasks", self._list_tasks),
            ("POST", "/api/attempts/{id}/kill", self._kill),
            ("GET", "/api/logs/{id}/files", self._list_files),
            ("GET", "/api/logs/{id}/files/{name}", self._get_file),
            ("*", "/{anything:.*}", self._nothing),
        ]
        return [stats(self), *(web.route(method, path, self._handle(work)) for method, path, work in served)]

    async def admit(self, request: web.Request) -> web.StreamResponse | None:
        """Refuse strangers."""
        known = self.credentials is None or request.headers.get("Authorization") == self.credentials
        if known or request.path in OPEN:
            return None
        refused = RefusedError(401, "Unauthorized").response
        refused.headers["WWW-Authenticate"] = 'Basic realm="digdag"'
        return refused

    def _handle(self, work: Callable[[web.Request, bytes], web.StreamResponse]) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            try:
                body = await request.read()
                with self.lock:
                    self.settle()
                    return work(request, body)
            except RefusedError as refused:
                return refused.response

        return handle

    def _version(self, request: web.Request, body: bytes) -> web.StreamResponse:
        return answer({"version": "0.10.5.1"})

    def _nothing(self, request: web.Request, body: bytes) -> web.StreamResponse:
        raise RefusedError(404, "HTTP 404 Not Found")

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
        try:
            workflows = workflows_in(body)
        except (tarfile.TarError, OSError, EOFError) as error:
            raise RefusedError(400, f"The archive is not a tar.gz: {error}") from None
        project = self.project_named(name)
        if project and any(one.name == revision for one in project.revisions):
            raise RefusedError(409, f"revision already exists: {revision}")
        project = self.new_revision(name, revision, body)
        for workflow, tasks in workflows.items():
            self.add_workflow(name, workflow, tasks)
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

    def _list_schedules(self, request: web.Request, body: bytes) -> web.StreamResponse:
        """Of the newest revisions only; `schedule` of a workflow is the time of its next session."""
        newest = [one for project in self.projects.values() for one in project.latest().workflows if one.schedule]
        return answer({"schedules": [schedule_row(one) for one in newest]})

    # --- secrets: only their names ever leave ---

    def _list_secrets(self, request: web.Request, body: bytes) -> web.StreamResponse:
        return answer({"secrets": [{"key": key} for key in self._project(request).secrets]})

    def _put_secret(self, request: web.Request, body: bytes) -> web.StreamResponse:
        project, value = self._project(request), object_of(body).get("value")
        if not isinstance(value, str):
            raise RefusedError(400, "value is required")
        project.secrets[request.match_info["key"]] = value
        return answer({"key": request.match_info["key"], "project": project.named()})

    def _delete_secret(self, request: web.Request, body: bytes) -> web.StreamResponse:
        project, key = self._project(request), request.match_info["key"]
        if project.secrets.pop(key, None) is None:
            raise RefusedError(404, f"secret not found: {key}")
        return answer({"key": key, "project": project.named()})

    # --- attempts ---

    def _put_attempt(self, request: web.Request, body: bytes) -> web.StreamResponse:
        """Start an attempt, or answer 409 with the one that exists; at the limit it is 400 even then."""
        wanted = object_of(body)
        workflow = self._workflow(str(wanted.get("workflowId")))
        skipped = self._skipped(wanted["resume"]) if wanted.get("resume") else ()
        running = self.running_count()
        if running >= self.most_running:
            raise RefusedError(400, f"Too many attempts running. Limit: {self.most_running}, Current: {running}")
        moment, retry, params = moment_of(wanted), wanted.get("retryAttemptName"), wanted.get("params") or {}
        try:
            return answer(self.start_attempt(workflow, moment, retry, params, "api", skipped).row())
        except ConflictError as conflict:
            return answer(conflict.attempt.row(), 409)

    def _skipped(self, resume: dict[str, Any]) -> tuple[str, ...]:
        attempt = self._attempt(str(resume.get("attemptId")))
        states = attempt.states(self.clock())
        tasks = list(states)
        if resume.get("mode") == "failed":
            if attempt.status == "success":
                raise RefusedError(400, "Resuming successfully completed attempts is not supported")
            return tuple(task for task in tasks if states[task] == "success")
        if resume.get("mode") != "from":
            raise RefusedError(400, f"Unknown resuming mode: {resume.get('mode')}")
        matching = [task for task in tasks if f"+{attempt.workflow.name}{task}".endswith(str(resume.get("from")))]
        if len(matching) != 1:
            raise RefusedError(400, f"{len(matching)} tasks match '{resume.get('from')}'")
        return tuple(tasks[: tasks.index(matching[0])])

    def _list_attempts(self, request: web.Request, body: bytes) -> web.StreamResponse:
        """List the newest first, and of a session only the last; a workflow without a project is not looked at."""
        project, workflow = request.query.get("project"), request.query.get("workflow")
        if project is not None:
            found = self._named(project)
            if workflow is not None:
                workflow_of(found, None, workflow)
        size, last = number_of(request, "page_size") or PAGE, number_of(request, "last_id")
        if size > PAGE:
            raise RefusedError(400, f"page_size must not be larger than {PAGE}")
        retried = request.query.get("include_retried", "").lower() in {"1", "true"}
        chosen: list[Attempt] = []
        for attempt in reversed(self.attempts.values()):
            if len(chosen) == size:
                break
            if asked(attempt, project, workflow, last) and (retried or attempt is attempt.session.attempts[-1]):
                chosen.append(attempt)
        return answer({"attempts": [attempt.row() for attempt in chosen]})

    def _get_attempt(self, request: web.Request, body: bytes) -> web.StreamResponse:
        return answer(self._attempt(request.match_info["id"]).row())

    def _list_retries(self, request: web.Request, body: bytes) -> web.StreamResponse:
        """List the other attempts of the session."""
        attempt = self._attempt(request.match_info["id"])
        return answer({"attempts": [one.row() for one in attempt.session.attempts if one is not attempt]})

    def _list_tasks(self, request: web.Request, body: bytes) -> web.StreamResponse:
        return answer({"tasks": self._attempt(request.match_info["id"]).task_rows(self.clock())})

    def _kill(self, request: web.Request, body: bytes) -> web.StreamResponse:
        """Ask for the end of an attempt; a second request is a conflict too."""
        attempt = self._attempt(request.match_info["id"])
        if attempt.status != "running" or attempt.cancel_requested:
            raise RefusedError(409, "Session attempt already killed or finished")
        self.request_kill(attempt)
        return web.Response(status=204)

    # --- logs ---

    def _list_files(self, request: web.Request, body: bytes) -> web.StreamResponse:
        """List the log files, with `task` those of the tasks whose full name begins with it."""
        attempt, task = self._attempt(request.match_info["id"]), request.query.get("task", "")
        files = attempt.files(self.clock()).items()
        return answer({"files": [file_row(attempt, name, *file) for name, file in files if file[0].startswith(task)]})

    def _get_file(self, request: web.Request, body: bytes) -> web.StreamResponse:
        files = self._attempt(request.match_info["id"]).files(self.clock())
        if request.match_info["name"] not in files:
            raise RefusedError(404, f"Log file not found: {request.match_info['name']}")
        return web.Response(body=files[request.match_info["name"]][1], content_type="application/gzip")

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
        return _found(self.attempts, name, "attempt")


def _found(things: Mapping[str, Thing], name: str, kind: str) -> Thing:
    if name not in things:
        raise RefusedError(404, f"Resource does not exist: {kind} id={name}")
    return things[name]


def main() -> None:
    """Serve workflows of a project "rental" that run for a while when started."""
    parser = argparse.ArgumentParser(prog="tests.fakes.digdag", description=main.__doc__)
    parser.add_argument("--workflows", type=int, default=1)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before every answer")
    parser.add_argument("--run-seconds", type=float, default=None, help="how long one takes; without it: for ever")
    parser.add_argument("--most-running", type=int, default=100, help="attempts that may run at once")
    parser.add_argument("--user", default=None)
    parser.add_argument("--password", default=None)
    wanted = parser.parse_args()
    server = FakeDigdag(wanted.user, wanted.password)
    server.latency, server.run_seconds, server.most_running = wanted.latency, wanted.run_seconds, wanted.most_running
    workflows = [server.add_workflow("rental", f"workflow_{number}") for number in range(wanted.workflows)]
    serve(server, workflows=workflows)


if __name__ == "__main__":
    main()
