"""The state behind a fake Digdag: how attempts begin and end, and what a test may do to them."""

from __future__ import annotations

import itertools
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tests.fakes.digdag_model import Attempt, Outcome, Project, Revision, Schedule, Session, Status, Workflow
from tests.fakes.http_fake import FakeServer

SessionKey = tuple[str, str, datetime]


class ConflictError(Exception):
    """The session has an attempt of that name: `attempt`."""

    def __init__(self, attempt: Attempt) -> None:
        """Carry the attempt that exists."""
        super().__init__(f"attempt {attempt.id} exists")
        self.attempt = attempt


@dataclass(frozen=True)
class Plan:
    """How an attempt goes: it takes `seconds`; a bad one fails at `task`, the last one when not named."""

    seconds: float | None
    outcome: Outcome = "success"
    task: str | None = None
    message: str = "The task failed."


class DigdagControl(FakeServer):
    """State and control.

    An attempt goes as `plan` says at its start: it ends `run_seconds` later with `outcome`, or, when that is None,
    only by `finish`, `fail` or a kill. A kill lets the running task go on for `kill_seconds` (None: for ever). An
    attempt whose task has failed runs on for `error_seconds`. What is due happens when the next request or control
    call comes, with the time at which it was due. Archives of revisions to come are given out by `storage`, which a
    client can forbid where the server `knows_direct_download`.
    """

    def __init__(self, **tls: Any) -> None:
        """Describe a server without projects."""
        super().__init__(**tls)
        self.clock: Callable[[], float] = time.time
        self.run_seconds: float | None = None
        self.outcome: Outcome = "success"
        self.kill_seconds: float | None = 0.0
        self.error_seconds = 0.0
        self.plan: Callable[[Attempt], Plan] = lambda attempt: Plan(self.run_seconds, self.outcome)
        self.most_running = 100
        self.storage = ""
        self.knows_direct_download = True
        self.projects: dict[str, Project] = {}
        self.workflows: dict[str, Workflow] = {}
        self.attempts: dict[str, Attempt] = {}
        self.killed: list[str] = []
        self._sessions: dict[SessionKey, Session] = {}
        self._started: list[Attempt] = []
        self._ends: dict[str, tuple[float, Status]] = {}
        self._ids = itertools.count(1)

    # --- what there is ---

    def add_workflow(
        self,
        project: str,
        name: str,
        tasks: Sequence[str] = ("+extract", "+load"),
        *,
        timezone: str = "UTC",
        schedule: str | None = None,
    ) -> str:
        """Add a workflow to the project's newest revision, and the project if need be; its id.

        `schedule`: when its next session is.
        """
        with self.lock:
            found = self.project_named(project) or self.new_revision(project, "initial", b"")
            revision = found.latest()
            workflow = Workflow(self._new_id(), name, found, revision.name, list(tasks), timezone, schedule)
            revision.workflows.append(workflow)
            self.workflows[workflow.id] = workflow
            self._plan_schedule(workflow)
            return workflow.id

    def _plan_schedule(self, workflow: Workflow) -> None:
        """Keep the schedule of a workflow, disabled or not, over its revisions."""
        schedules, now = workflow.project.schedules, self.clock()
        if workflow.schedule is None:
            schedules.pop(workflow.name, None)
        elif found := schedules.get(workflow.name):
            found.workflow, found.updated_at = workflow, now
        else:
            schedules[workflow.name] = Schedule(self._new_id(), workflow, now, now)

    def new_revision(self, project: str, revision: str, archive: bytes) -> Project:
        """Add an empty revision, and the project if need be."""
        found, now = self.project_named(project), self.clock()
        if found is None:
            found = Project(self._new_id(), project, now)
            self.projects[found.id] = found
        found.revisions.append(Revision(revision, archive, now, self.storage))
        return found

    def project_named(self, name: str) -> Project | None:
        """The project of this name."""
        return next((project for project in self.projects.values() if project.name == name), None)

    # --- what others do, and what happens ---

    def begin(
        self,
        workflow_id: str,
        session_time: str | datetime,
        retry_name: str | None = None,
        *,
        params: dict[str, Any] | None = None,
        by: str = "somebody",
    ) -> str:
        """Let somebody else start an attempt; its id. ConflictError when there is one of that name."""
        moment = datetime.fromisoformat(session_time) if isinstance(session_time, str) else session_time
        with self.lock:
            self.settle()
            return self.start_attempt(self.workflows[workflow_id], moment, retry_name, params or {}, by).id

    def finish(self, attempt_id: str) -> None:
        """End an attempt well."""
        with self.lock:
            self._close(self._running(attempt_id), "success", self.clock())

    def fail(self, attempt_id: str, task: str | None = None, message: str = "The task failed.") -> None:
        """Let `task` fail (the last one when not named), which ends the attempt."""
        with self.lock:
            attempt = self._running(attempt_id)
            if task is not None and task not in attempt.tasks_to_run():
                raise LookupError(f"attempt {attempt_id} does not run {task}")
            attempt.planned_task, attempt.message = task, message
            self._close(attempt, "error", self.clock())
            self.settle()

    def kill_by_someone(self, attempt_id: str) -> None:
        """Let somebody else kill an attempt."""
        with self.lock:
            self.request_kill(self._running(attempt_id))

    def set_log(self, attempt_id: str, task: str, text: str) -> None:
        """Give the log of a task."""
        with self.lock:
            self.attempts[attempt_id].logs[task] = text

    def starts(self, project: str, workflow: str) -> list[Attempt]:
        """Every attempt that was started, oldest first, forgotten ones too."""
        with self.lock:
            self.settle()
            return [
                attempt
                for attempt in self._started
                if (attempt.workflow.project.name, attempt.workflow.name) == (project, workflow)
            ]

    def forget_attempts(self) -> None:
        """Lose the attempts and sessions, as a server with a memory database does when it restarts."""
        with self.lock:
            self.attempts.clear()
            self._sessions.clear()
            self._ends.clear()

    # --- inside ---

    def settle(self) -> None:
        """Let everything happen that was due by now."""
        now = self.clock()
        while due := [(at, name, status) for name, (at, status) in self._ends.items() if at <= now]:
            at, name, status = min(due)
            self._close(self.attempts[name], status, at)

    def start_attempt(
        self,
        workflow: Workflow,
        session_time: datetime,
        retry_name: str | None,
        params: dict[str, Any],
        by: str,
        done_before: tuple[str, ...] = (),
    ) -> Attempt:
        """Start an attempt. A session is known by its second: fractions of it do not make another one."""
        moment = session_time.astimezone(UTC).replace(microsecond=0)
        key = (workflow.project.id, workflow.name, moment)
        session = self._sessions.get(key) or Session(self._new_id(), str(uuid.uuid4()), moment)
        for other in session.attempts:
            if other.retry_name == retry_name:
                raise ConflictError(other)
        now, index = self.clock(), len(session.attempts) + 1
        attempt = Attempt(self._new_id(), workflow, session, retry_name, params, by, now, index)
        attempt.done_before = done_before
        self._sessions[key] = session
        session.attempts.append(attempt)
        self.attempts[attempt.id] = attempt
        self._started.append(attempt)
        self._follow(attempt, self.plan(attempt))
        return attempt

    def _follow(self, attempt: Attempt, plan: Plan) -> None:
        attempt.planned_seconds, attempt.planned_task, attempt.message = plan.seconds, plan.task, plan.message
        if plan.seconds is not None:
            self._ends[attempt.id] = (attempt.created + plan.seconds, plan.outcome)

    def running_count(self) -> int:
        """How many attempts run."""
        return sum(attempt.status == "running" for attempt in self.attempts.values())

    def sessions_of(self, project: Project, workflow: str | None) -> list[Session]:
        """Return the sessions of a project, or of one workflow of it, the newest first."""
        found = [
            one for (owner, name, _), one in self._sessions.items() if owner == project.id and workflow in {None, name}
        ]
        return sorted(found, key=lambda session: int(session.id), reverse=True)

    def request_kill(self, attempt: Attempt) -> None:
        """Ask an attempt to end; asking again changes nothing."""
        self.killed.append(attempt.id)
        if attempt.cancel_requested:
            return
        attempt.cancel_requested, attempt.killed_at = True, self.clock()
        self._ends.pop(attempt.id, None)
        if self.kill_seconds is not None:
            self._ends[attempt.id] = (attempt.killed_at + self.kill_seconds, "killed")
            self.settle()

    def _new_id(self) -> str:
        return str(next(self._ids))

    def _running(self, attempt_id: str) -> Attempt:
        self.settle()
        attempt = self.attempts[attempt_id]
        if attempt.status != "running" or attempt.failed_at is not None:
            raise LookupError(f"attempt {attempt_id} is not running")
        return attempt

    def _close(self, attempt: Attempt, status: Status, at: float) -> None:
        """End an attempt; one that fails has a failed task first."""
        self._ends.pop(attempt.id, None)
        if status == "error" and attempt.failed_at is None:
            attempt.failed_at = at
            attempt.failed_task = attempt.planned_task or next(reversed(attempt.tasks_to_run()), None)
            self._ends[attempt.id] = (at + self.error_seconds, "error")
        else:
            attempt.status, attempt.finished = status, at
