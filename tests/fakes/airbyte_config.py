"""The configuration API of the fake Airbyte, under /api/v1: POST and JSON everywhere; jobs and what they show."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Literal

from aiohttp import web

from tests.fakes.airbyte_config_actors import ActorCalls
from tests.fakes.airbyte_config_connections import ConnectionCalls
from tests.fakes.airbyte_config_objects import ObjectCalls
from tests.fakes.airbyte_config_operations import OperationCalls
from tests.fakes.airbyte_config_shapes import (
    IllegalArgumentError,
    InvalidInputError,
    UnfitError,
    attempt_info,
    failure,
    invalid,
    job_info,
    job_read,
    job_with_attempts,
    moment,
    needed,
    not_found,
    words,
)
from tests.fakes.airbyte_jobs import Job, Query
from tests.fakes.airbyte_objects import UnknownIdError
from tests.fakes.airbyte_state import AirbyteState, AlreadyRunningError, NotActiveError, NotRunningError
from tests.fakes.http_fake import answer

Version = Literal["0.40", "current"]
Answer = Callable[[Mapping[str, Any]], Any]
REFUSALS = (
    InvalidInputError, IllegalArgumentError, UnfitError, UnknownIdError, AlreadyRunningError, NotRunningError,
    NotActiveError,
)  # fmt: skip
EVERY_KIND = frozenset({"sync", "reset_connection"})


class ConfigApi:
    """The configuration API, of 0.40 or of today.

    More lenient than the real server: `includingJobId` is not read; attempts are in every list; a start on an
    inactive connection is refused in 0.40 too.
    """

    def __init__(self, state: AirbyteState, version: Version) -> None:
        """Serve this state."""
        self._state = state
        self._version = version

    def calls(self) -> dict[str, Answer]:
        """Return what is served, by path."""
        served: dict[str, Answer] = {
            "/connections/sync": lambda asked: self._start(asked, "sync"),
            "/connections/reset": lambda asked: self._start(asked, "reset"),
            "/jobs/get": lambda asked: job_info(self._job(asked)),
            "/jobs/get_light": lambda asked: {"job": job_read(self._job(asked))},
            "/jobs/get_last_replication_job": self._last_job,
            "/jobs/list": self._list,
            "/jobs/cancel": self._cancel,
            **ObjectCalls(self._state).calls(),
            **ActorCalls(self._state).calls(),
            **ConnectionCalls(self._state, old=self._version == "0.40").calls(),
            **OperationCalls(self._state).calls(),
        }
        if self._version == "current":
            served |= {
                "/connections/status": self._statuses,
                "/jobs/list_for_workspaces": self._list_for_workspaces,
                "/jobs/get_without_logs": lambda asked: job_info(self._job(asked), logs=False),
                "/attempt/get_for_job": self._attempt,
            }
        return served

    def answered(self, call: Answer, _request: web.Request, body: bytes) -> web.Response:
        """Answer a call, or refuse it in this API's shape."""
        try:
            told = call(_json(body))
        except REFUSALS as error:
            return _refusal(error)
        return web.Response(status=204) if told is None else answer(told)

    # --- one job ---

    def _start(self, asked: Mapping[str, Any], kind: str) -> dict[str, Any]:
        job_id = self._state.begin(needed(asked, "connectionId", str), kind, by_api=True)
        return job_info(self._state.jobs[job_id])

    def _job(self, asked: Mapping[str, Any], name: str = "id") -> Job:
        return self._state.job(needed(asked, name, int))

    def _cancel(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        job = self._job(asked)
        self._state.cancel_for_api(job.id)
        return job_info(job)

    def _last_job(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        connection = self._state.connection(needed(asked, "connectionId", str))
        return {"job": job_read(self._state.jobs[connection.job_ids[-1]])} if connection.job_ids else {}

    def _attempt(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        job, number = self._job(asked, "jobId"), needed(asked, "attemptNumber", int)
        if not 0 <= number < len(job.attempts):
            raise UnknownIdError("attempt", f"{job.id}/{number}")
        return attempt_info(job.attempts[number])

    # --- many jobs ---

    def _list(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        connection_id = asked.get("configId")
        if self._version == "0.40" or connection_id:
            connection_id = needed(asked, "configId", str)
            words(asked, "configTypes", required=True)
        return self._found(asked, frozenset({str(uuid.UUID(connection_id))} if connection_id else ()), frozenset())

    def _list_for_workspaces(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        workspaces = words(asked, "workspaceIds", required=True)
        every = workspaces >= self._state.catalogue.workspaces.keys()
        return self._found(asked, frozenset(), frozenset() if every else workspaces)

    def _found(
        self, asked: Mapping[str, Any], connections: frozenset[str], workspaces: frozenset[str]
    ) -> dict[str, Any]:
        kinds = words(asked, "configTypes")
        old = self._version == "0.40"
        pagination = asked.get("pagination") or {}
        query = Query(
            connections=connections,
            workspaces=workspaces,
            statuses=frozenset() if old else words(asked, "statuses") | words(asked, "status"),
            kinds=frozenset() if not kinds or kinds >= EVERY_KIND else _kinds(kinds),
            created_from=None if old else moment(asked, "createdAtStart"),
            created_to=None if old else moment(asked, "createdAtEnd"),
            updated_from=None if old else moment(asked, "updatedAtStart"),
            updated_to=None if old else moment(asked, "updatedAtEnd"),
            by_update=not old and asked.get("orderByField") == "updatedAt",
            descending=old or asked.get("orderByMethod") != "ASC",
            limit=int(pagination.get("pageSize") or 2**31),
            offset=int(pagination.get("rowOffset") or 0),
        )
        jobs = [job_with_attempts(job) for job in self._state.page(query)]
        return {"jobs": jobs, "totalJobCount": self._state.count(query)}

    def _statuses(self, asked: Mapping[str, Any]) -> list[dict[str, Any]]:
        known = self._state.catalogue.connections
        return [self._status(known[name]) for name in asked.get("connectionIds") or () if name in known]

    def _status(self, connection: Any) -> dict[str, Any]:
        syncs = [self._state.jobs[job_id] for job_id in connection.job_ids]
        ended = [job for job in syncs if not job.active]
        body: dict[str, Any] = {
            "connectionId": connection.id,
            "isRunning": connection.running is not None,
            "connectionSyncStatus": _sync_status(connection, ended),
            "isLastCompletedJobReset": bool(ended) and ended[-1].kind == "reset",
        }
        if connection.running is not None:
            body["activeJob"] = job_read(self._state.jobs[connection.running])
        if ended:
            body |= {"lastSyncJobId": ended[-1].id, "lastSyncJobStatus": ended[-1].status}
            causes = ended[-1].attempts[-1].failures
            body |= {"failureReason": causes[-1]} if causes else {}
        good = next((job for job in reversed(ended) if job.status == "succeeded"), None)
        return {**body, "lastSuccessfulSync": int(good.updated)} if good else body


def _refusal(error: Exception) -> web.Response:
    """Answer as this API refuses: what it did not foresee is its own error."""
    if isinstance(error, InvalidInputError):
        return answer(invalid(error), 422)
    if isinstance(error, UnknownIdError):
        return answer(not_found(error), 404)
    text, kind, status = _cause(error)
    return answer(failure(text, kind), status)


def _cause(error: Exception) -> tuple[str, str, int]:
    conflict = "io.airbyte.server.errors.ValueConflictKnownException"
    if isinstance(error, AlreadyRunningError):
        return f"A sync is already running for: {error}", conflict, 409
    if isinstance(error, NotRunningError):
        return "Job is not currently running", conflict, 409
    if isinstance(error, UnfitError):
        text = f"The provided configuration does not fulfill the specification. Errors: {error}"
        return text, "io.airbyte.server.errors.BadObjectSchemaKnownException", 422
    if isinstance(error, IllegalArgumentError):
        return f"Internal Server Error: {error}", "java.lang.IllegalArgumentException", 500
    return "Internal Server Error: Can only sync an active connection", "java.lang.IllegalStateException", 500


def _sync_status(connection: Any, ended: list[Job]) -> str:
    if connection.status != "active":
        return "paused"
    if connection.running is not None:
        return "running"
    if not ended:
        return "pending"
    return {"succeeded": "synced", "cancelled": "incomplete"}.get(ended[-1].status, "failed")


def _kinds(asked: frozenset[str]) -> frozenset[str]:
    return frozenset("reset" if word == "reset_connection" else word for word in asked)


def _json(body: bytes) -> Mapping[str, Any]:
    try:
        asked = json.loads(body or b"{}")
    except ValueError:
        raise InvalidInputError("body", "", "Unable to process JSON") from None
    if not isinstance(asked, dict):
        raise InvalidInputError("body", "", "must be an object")
    return asked
