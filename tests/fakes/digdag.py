"""A fake of Digdag's REST API. What is unexpected about the real one stands at the handlers.

>>> with FakeDigdag(user="user", password="password") as server:
...     workflow_id = server.add_workflow("rental", "load", tasks=["+extract", "+load"])
...     server.run_seconds = 2
"""

from __future__ import annotations

import argparse
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from aiohttp import web

from tests.fakes.digdag_control import ConflictError
from tests.fakes.digdag_model import Attempt
from tests.fakes.digdag_schedules import DigdagSchedules
from tests.fakes.digdag_tasks import file_row, log_files, states, task_rows
from tests.fakes.digdag_wire import RefusedError, asked, check_type, moment_of, number_of, object_of, params_of
from tests.fakes.http_fake import answer
from tests.fakes.serving import basic, serve, stats

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
OPEN = {"/_stats", "/api/version"}
PAGE = 100


class FakeDigdag(DigdagSchedules):
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
            ("DELETE", "/api/projects/{id}", self._delete_project),
            ("GET", "/api/projects/{id}/archive", self._get_archive),
            ("GET", "/api/projects/{id}/revisions", self._list_revisions),
            ("GET", "/api/projects/{id}/schedules", self._list_schedules_of_project),
            ("GET", "/api/projects/{id}/workflows", self._list_workflows),
            ("GET", "/api/projects/{id}/workflows/{name}", self._get_workflow),
            ("GET", "/api/projects/{id}/sessions", self._list_sessions),
            ("GET", "/api/projects/{id}/secrets", self._list_secrets),
            ("PUT", "/api/projects/{id}/secrets/{key}", self._put_secret),
            ("DELETE", "/api/projects/{id}/secrets/{key}", self._delete_secret),
            ("GET", "/api/workflow", self._workflow_by_name),
            ("GET", "/api/workflows", self._list_all_workflows),
            ("GET", "/api/workflows/{id}", self._workflow_by_id),
            ("GET", "/api/schedules", self._list_schedules),
            ("GET", "/api/schedules/{id}", self._get_schedule),
            ("POST", "/api/schedules/{id}/disable", self._disable_schedule),
            ("POST", "/api/schedules/{id}/enable", self._enable_schedule),
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
        """Refuse strangers, without telling them how to present themselves."""
        known = self.credentials is None or request.headers.get("Authorization") == self.credentials
        if known or request.path in OPEN:
            return None
        is_told = "Authorization" in request.headers
        return RefusedError(401, "unauthorized" if is_told else "Missing Authorization header").response

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

    # --- attempts ---

    def _put_attempt(self, request: web.Request, body: bytes) -> web.StreamResponse:
        """Start an attempt, or answer 409 with the one that exists; at the limit it is 400 even then."""
        wanted = object_of(request, body)
        moment, params = moment_of(wanted), params_of(wanted)
        workflow = self._workflow(str(wanted.get("workflowId")))
        skipped = self._skipped(wanted["resume"]) if wanted.get("resume") else ()
        running = self.running_count()
        if running >= self.most_running:
            raise RefusedError(400, f"Too many attempts running. Limit: {self.most_running}, Current: {running}")
        try:
            retry = wanted.get("retryAttemptName")
            return answer(self.start_attempt(workflow, moment, retry, params, "api", skipped).row())
        except ConflictError as conflict:
            return answer(conflict.attempt.row(), 409)

    def _skipped(self, resume: dict[str, Any]) -> tuple[str, ...]:
        attempt = self._attempt(str(resume.get("attemptId")))
        found = states(attempt, self.clock())
        tasks = list(found)
        if resume.get("mode") == "failed":
            if attempt.status == "success":
                raise RefusedError(400, "Resuming successfully completed attempts is not supported")
            return tuple(task for task in tasks if found[task] == "success")
        if resume.get("mode") != "from":
            raise RefusedError(400, f"Unknown resuming mode: {resume.get('mode')}")
        matching = [task for task in tasks if f"+{attempt.workflow.name}{task}".endswith(str(resume.get("from")))]
        if len(matching) != 1:
            raise RefusedError(400, f"{len(matching)} tasks match '{resume.get('from')}'")
        return tuple(tasks[: tasks.index(matching[0])])

    def _list_attempts(self, request: web.Request, body: bytes) -> web.StreamResponse:
        """List the newest first, and of a session only the last; only the project must exist."""
        project, workflow = request.query.get("project"), request.query.get("workflow")
        if project is not None:
            self._named(project)
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
        """List all attempts of the session, this one too."""
        attempt = self._attempt(request.match_info["id"])
        return answer({"attempts": [one.row() for one in attempt.session.attempts]})

    def _list_tasks(self, request: web.Request, body: bytes) -> web.StreamResponse:
        return answer({"tasks": task_rows(self._attempt(request.match_info["id"]), self.clock())})

    def _kill(self, request: web.Request, body: bytes) -> web.StreamResponse:
        """Ask for the end of an attempt, as often as one likes while it runs; told is what it was before."""
        check_type(request, body, "application/json")
        attempt = self._attempt(request.match_info["id"])
        if attempt.status != "running":
            raise RefusedError(409, "Session attempt already killed or finished")
        before = attempt.row()
        self.request_kill(attempt)
        return answer(before)

    # --- logs ---

    def _list_files(self, request: web.Request, body: bytes) -> web.StreamResponse:
        """List the log files, with `task` those of the tasks whose full name begins with it."""
        attempt, task = self._attempt(request.match_info["id"]), request.query.get("task", "")
        files = log_files(attempt, self.clock()).items()
        return answer({"files": [file_row(attempt, name, *file) for name, file in files if file[0].startswith(task)]})

    def _get_file(self, request: web.Request, body: bytes) -> web.StreamResponse:
        files = log_files(self._attempt(request.match_info["id"]), self.clock())
        if request.match_info["name"] not in files:
            raise RefusedError(404, f"Log file not found: {request.match_info['name']}")
        return web.Response(body=files[request.match_info["name"]][1], content_type="application/gzip")


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
