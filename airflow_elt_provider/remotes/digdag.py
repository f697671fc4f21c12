"""Digdag's REST API (https://docs.digdag.io/api/).

An attempt has a natural key: project, workflow, session time and retry name. Starting the same again answers 409 with
the attempt that is there: that alone makes a start exactly-once.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final, Literal

from airflow_elt_provider.errors import AnswerLostError, ConfigurationError, EltError, TransientError
from airflow_elt_provider.remotes.airbyte_config import sightings
from airflow_elt_provider.remotes.digdag_paging import Attempts
from airflow_elt_provider.remotes.digdag_tasks import is_work, log_tail, said, tasks_of
from airflow_elt_provider.remotes.flow import TURN, Answer, Flow, JsonObject, Pause, Request, apart, segment
from airflow_elt_provider.remotes.model import (
    Intents,
    Order,
    Phase,
    Report,
    Sighting,
    Started,
    StreamReport,
    Watch,
    already_running,
    iso,
    not_before,
    parse_time,
)
from airflow_elt_provider.remotes.session import Session

log = logging.getLogger(__name__)

Resume = Literal["failed", "none"]
_OK, _BAD, _NOT_FOUND, _CONFLICT = 200, 400, 404, 409
_MOST_TRIES: Final = 1000
_LOOKS: Final = (0.5, 2.0, 5.0)


@dataclass(frozen=True)
class DigdagOrder(Order):
    """An attempt that is to run once.

    :param remote_id: ``project/workflow``.
    :param session_time: the session's time; Digdag keeps whole seconds.
    :param params: parameters of the attempt.
    :param family: identity of the task's run, the same for all its generations: one that a cleared task left running
        is found by it.
    :param resume: ``failed``: a retry after a failed attempt goes on from its failed tasks; ``none``: it begins anew.
    """

    session_time: datetime = field(default_factory=lambda: datetime.now(UTC))
    params: Mapping[str, Any] = field(default_factory=dict)
    family: str = ""
    resume: Resume = "none"

    @property
    def prefix(self) -> str:
        """What the retry names of all attempts of the task's run begin with."""
        return f"airflow-{_short(self.family or self.key)}-"

    def retry_name(self, number: int) -> str:
        """Return the retry name of the n-th attempt of this generation of the task's run."""
        return f"{self.prefix}{_short(self.key)}-{number}"


def _short(identity: str) -> str:
    return hashlib.sha256(identity.encode()).hexdigest()[:12]


class Digdag:
    """One Digdag server.

    :param session: asks it.
    """

    name = "digdag"

    def __init__(self, session: Session) -> None:
        self.session = session
        self._attempts = Attempts(session)

    # --- start ---

    def start(self, order: Order, intents: Intents) -> Flow[Started]:
        if not isinstance(order, DigdagOrder):
            raise TypeError(order)
        workflow = yield from self.workflow_id(order.remote_id)
        left = yield from self.find(order, intents)
        if left:
            return Started(left, "found", self._url(left))
        if intents.read() is None:
            foreign = yield from self._foreign(order)
            if foreign:
                return foreign
        intents.write(order.key)
        resume: JsonObject = {}
        for number in range(_MOST_TRIES):
            attempt, is_new = yield from self._put(order, workflow, number, resume)
            if not (attempt["done"] and not attempt["success"]):
                watch = Watch(order.remote_id, str(attempt["id"]), order.retry_name(number))
                return Started(watch, "started" if is_new else "found", self._url(watch))
            if order.resume == "failed":
                resume = {"resume": {"mode": "failed", "attemptId": str(attempt["id"])}}
        raise TransientError(f"Digdag: {order.remote_id} has failed {_MOST_TRIES} times for this run.")

    def _foreign(self, order: DigdagOrder) -> Flow[Started | None]:
        """Return what somebody else runs of the same session, where the order cares."""
        if order.on_running == "adopt":
            return None  # another session, or another name: nothing of it is in our way
        project, workflow = _split(order.remote_id)
        for attempt in (yield from self._attempts.listed([("project", project), ("workflow", workflow)])):
            running = not attempt["done"] and not str(attempt.get("retryAttemptName") or "").startswith("airflow-")
            if running and order.on_running == "fail":
                raise already_running("Digdag", order, f"attempt {attempt['id']}")
            if running:
                watch = Watch(order.remote_id, str(attempt["id"]))
                return Started(watch, "waiting", self._url(watch))
        return None

    def _put(self, order: DigdagOrder, workflow: str, number: int, resume: JsonObject) -> Flow[tuple[JsonObject, bool]]:
        body = {
            "workflowId": workflow,
            "sessionTime": order.session_time.astimezone(UTC).replace(microsecond=0).isoformat(),
            "retryAttemptName": order.retry_name(number),
            "params": dict(order.params),
            **resume,
        }
        for seconds in (*_LOOKS, None):
            try:
                answer = yield from self.session.ask(Request("PUT", "/api/attempts", body=body))
                break
            except AnswerLostError:
                if seconds is None:
                    raise
                yield Pause(seconds)  # the same again is answered with what the first one started
        if answer.status not in {_OK, _CONFLICT}:
            raise _refused(answer, order.remote_id)
        value: JsonObject = answer.json()
        if "id" not in value:
            raise _refused(answer, order.remote_id)
        return value, answer.status == _OK

    def refuse_unknown(self, remote_id: str) -> Flow[None]:
        yield from self.workflow_id(remote_id)

    def workflow_id(self, remote_id: str) -> Flow[str]:
        """Return the id of the latest revision of a workflow.

        :param remote_id: ``project/workflow``.
        :raises ConfigurationError: when the server has no such project or workflow.
        """
        project, workflow = _split(remote_id)
        found = yield from self._get("/api/project", [("name", project)])
        if found.status == _OK:
            path = f"/api/projects/{segment(str(found.json()['id']))}/workflows/{segment(workflow)}"
            answer = yield from self._get(path)
            if answer.status == _OK:
                return str(answer.json()["id"])
        raise ConfigurationError(
            f"Digdag at {self.session.settings.base_url} has no workflow {remote_id!r}.",
            hint="push the project (digdag push), and write project and workflow as its web UI shows them",
        )

    def find(self, order: Order, intents: Intents) -> Flow[Watch | None]:
        del intents
        if not isinstance(order, DigdagOrder):
            raise TypeError(order)
        project, workflow = _split(order.remote_id)
        query = [("project", project), ("workflow", workflow), ("include_retried", "true")]
        for attempt in (yield from self._attempts.listed(query)):
            name = str(attempt.get("retryAttemptName") or "")
            if name.startswith(order.prefix) and not attempt["done"]:
                return Watch(order.remote_id, str(attempt["id"]), name)
        return None

    # --- watch, cancel ---

    def look(self, watches: Sequence[Watch]) -> Flow[Mapping[Watch, Sighting]]:
        sensors = [watch for watch in watches if watch.after]
        attempts = yield from self._attempts.by_id({watch.job_id for watch in watches if not watch.after}, sighting)
        found: dict[Watch, Sighting] = {}
        for number, watch in enumerate(watches, 1):
            if number % TURN == 0:
                yield Pause(0)
            if not watch.after:
                found[watch] = attempts.get(watch.job_id) or Sighting.of_lost(watch)
        if sensors:
            seen = yield from apart([self._since(watch) for watch in sensors], "Digdag", alone=not found)
            found.update(sightings(sensors, seen))
        return found

    def _since(self, watch: Watch) -> Flow[Sighting | None]:
        project, workflow = _split(watch.remote_id)
        query = [("project", project), ("workflow", workflow), ("include_retried", "true")]
        attempts = yield from self._attempts.listed(query)
        after = parse_time(watch.after)
        for attempt in attempts:
            finished = parse_time(attempt.get("finishedAt"))
            if attempt["success"] and finished and after and not_before(finished, after):
                return sighting(attempt)
        if not attempts:
            return None
        newest = sighting(attempts[0])
        note = f"the last attempt, {newest.job_id}, is {newest.word}"
        return Sighting(newest.job_id, Phase.ACTIVE, "waiting", note=note)

    def cancel(self, watch: Watch) -> Flow[bool]:
        """Kill the attempt, if it is the one that was started: its running task ends, the next ones do not begin."""
        now = yield from self._get(f"/api/attempts/{segment(watch.job_id)}")
        if now.status != _OK or (watch.mark and now.json().get("retryAttemptName") != watch.mark):
            return False  # another server, or one that was set up anew
        answer = yield from self.session.ask(
            Request("POST", f"/api/attempts/{segment(watch.job_id)}/kill", body={}, accept="*/*")
        )
        return answer.status in {_OK, 204}

    # --- report ---

    def report(self, watch: Watch, seen: Sighting) -> Flow[Report]:
        answer = yield from self._get(f"/api/attempts/{segment(seen.job_id)}")
        attempt: JsonObject = answer.json() if answer.status == _OK else {}
        tasks = yield from tasks_of(self.session, seen.job_id)
        failed = [task for task in tasks if task["state"] in {"error", "group_error"} and task.get("error")]
        good = seen.phase is Phase.SUCCEEDED
        return Report(
            remote=self.name,
            remote_id=watch.remote_id,
            job_id=seen.job_id,
            status=seen.word,
            url=self._url(replace(watch, job_id=seen.job_id)),
            started_at=iso(attempt.get("createdAt")),
            finished_at=iso(attempt.get("finishedAt")),
            attempts=int(attempt.get("index") or 1),
            streams=[StreamReport(task["fullName"], status=task["state"]) for task in tasks if is_work(task)],
            reason="" if good else "; ".join(said(task) for task in failed),
            log_tail=() if good else (yield from log_tail(self.session, seen.job_id, failed)),
        )

    def check(self) -> Flow[str]:
        version = yield from self._get("/api/version")
        answer = yield from self._get("/api/projects")
        if answer.status != _OK:
            raise _refused(answer, "its projects")
        known = version.json().get("version") if version.status == _OK and version.is_json else "unknown"
        return f"Digdag {known} answers; projects: {len(answer.listed('projects'))}"

    def _get(self, path: str, query: Sequence[tuple[str, str]] = ()) -> Flow[Answer]:
        return (yield from self.session.ask(Request("GET", path, query)))

    def _url(self, watch: Watch) -> str:
        return f"{self.session.settings.base_url}/attempts/{watch.job_id}"


def sighting(attempt: Mapping[str, Any]) -> Sighting:
    """Return what an attempt's JSON says. ``status`` is younger than ``done`` and ``success``: those decide."""
    job_id = str(attempt["id"])
    if not attempt["done"]:
        note = "a kill was asked for" if attempt.get("cancelRequested") else ""
        return Sighting(job_id, Phase.ACTIVE, str(attempt.get("status") or "running"), note=note)
    if attempt["success"]:
        return Sighting(job_id, Phase.SUCCEEDED, "success")
    killed = bool(attempt.get("cancelRequested"))
    return Sighting(job_id, Phase.CANCELLED if killed else Phase.FAILED, "killed" if killed else "error")


def _split(remote_id: str) -> tuple[str, str]:
    project, found, workflow = remote_id.partition("/")
    if not (project and found and workflow):
        raise ConfigurationError(f"{remote_id!r} names no workflow.", hint="write project/workflow")
    return project, workflow


def _refused(answer: Answer, what: str) -> EltError:
    try:
        said = str(answer.json().get("message") or "")
    except (TransientError, AttributeError):
        said = answer.text[:200]
    if answer.status == _BAD and "Too many attempts" in said:
        return TransientError(f"Digdag runs as many attempts as it may. {said}")
    if answer.status in {_BAD, _NOT_FOUND, 422}:
        return ConfigurationError(f"Digdag refused {what} ({answer.status}). {said}", hint="check params and workflow")
    return TransientError(f"{answer.url} answered {answer.status}. {said}")
