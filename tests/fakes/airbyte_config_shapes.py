"""What the configuration API's answers look like, and how its requests are read. Times are whole epoch seconds."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any

from tests.fakes.airbyte_jobs import Attempt, Job
from tests.fakes.airbyte_objects import UnknownIdError

CONFIGURATIONS = {
    "connection": "STANDARD_SYNC",
    "source": "SOURCE_CONNECTION",
    "destination": "DESTINATION_CONNECTION",
    "workspace": "STANDARD_WORKSPACE",
    "operation": "STANDARD_SYNC_OPERATION",
    "source_definition": "STANDARD_SOURCE_DEFINITION",
    "destination_definition": "STANDARD_DESTINATION_DEFINITION",
}


class InvalidInputError(Exception):
    """A request that did not pass validation."""

    def __init__(self, name: str, value: object, message: str) -> None:
        """Say what is wrong with which value."""
        super().__init__(message)
        self.name, self.value, self.message = name, value, message


class IllegalArgumentError(Exception):
    """A request that the server only understands to be wrong when it is half through: it calls that its own error."""


class UnfitError(Exception):
    """A configuration, a schedule or a catalogue that does not fulfill its specification."""


def job_read(job: Job) -> dict[str, Any]:
    """Return a JobRead."""
    body: dict[str, Any] = {
        "id": job.id,
        "configType": _config_type(job),
        "configId": job.connection_id,
        "createdAt": int(job.created),
        "updatedAt": int(job.updated),
        "status": job.status,
    }
    if job.started is not None:
        body["startedAt"] = int(job.started)
    if job.kind == "reset":
        body["resetConfig"] = {"streamsToReset": []}
    return body


def job_with_attempts(job: Job) -> dict[str, Any]:
    """Return a JobWithAttemptsRead, as lists have it."""
    return {"job": job_read(job), "attempts": [attempt_read(attempt) for attempt in job.attempts]}


def job_info(job: Job, *, logs: bool = True) -> dict[str, Any]:
    """Return a JobInfoRead: the attempts with all their logs."""
    return {"job": job_read(job), "attempts": [attempt_info(attempt, logs=logs) for attempt in job.attempts]}


def attempt_info(attempt: Attempt, *, logs: bool = True) -> dict[str, Any]:
    """Return an AttemptInfoRead."""
    body: dict[str, Any] = {"attempt": attempt_read(attempt)}
    return {**body, "logType": "formatted", "logs": {"logLines": list(attempt.logs)}} if logs else body


def attempt_read(attempt: Attempt) -> dict[str, Any]:
    """Return an AttemptRead; what is not known is left out."""
    body: dict[str, Any] = {
        "id": attempt.number,
        "status": attempt.status,
        "createdAt": int(attempt.created),
        "updatedAt": int(attempt.updated),
    }
    if attempt.ended is not None:
        body["endedAt"] = int(attempt.ended)
    if attempt.rows is not None and attempt.bytes is not None:
        body |= {"recordsSynced": attempt.rows, "bytesSynced": attempt.bytes}
        body["totalStats"] = _stats(attempt.rows, attempt.bytes)
        body["streamStats"] = [_stream_stats(stream) for stream in attempt.streams]
    if attempt.failures:
        body["failureSummary"] = {"failures": list(attempt.failures), "partialSuccess": bool(attempt.rows)}
    return body


def failure(message: str, kind: str) -> dict[str, Any]:
    """Return a KnownExceptionInfo."""
    return {"message": message, "exceptionClassName": kind, "exceptionStack": [f"{kind}: {message}"]}


def not_found(error: UnknownIdError) -> dict[str, Any]:
    """Return a NotFoundKnownExceptionInfo."""
    what = CONFIGURATIONS.get(error.kind)
    text = (
        f"Could not find configuration for {what}: {error.id}." if what else f"Could not find {error.kind} {error.id}"
    )
    return {"id": error.id, **failure(text, "io.airbyte.server.errors.IdNotFoundKnownException")}


def invalid(error: InvalidInputError) -> dict[str, Any]:
    """Return an InvalidInputExceptionInfo."""
    text = "Some properties contained invalid input."
    found = {"propertyPath": error.name, "invalidValue": str(error.value), "message": error.message}
    return {**failure(text, "javax.validation.ConstraintViolationException"), "validationErrors": [found]}


def needed(asked: Mapping[str, Any], name: str, kind: type) -> Any:
    """Return a value that must be there: a number, or else the text of a UUID."""
    value = asked.get(name)
    if value is None:
        raise InvalidInputError(name, value, "must not be null")
    try:
        return int(value) if kind is int else str(uuid.UUID(str(value)))
    except (TypeError, ValueError):
        raise InvalidInputError(name, value, f"must be a {'number' if kind is int else 'UUID'}") from None


def text(asked: Mapping[str, Any], name: str) -> str:
    """Return a text that must be there."""
    value = asked.get(name)
    if not isinstance(value, str) or not value:
        raise InvalidInputError(name, value, "must not be null")
    return value


def mapping(asked: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return an object that must be there."""
    value = asked.get(name)
    if not isinstance(value, Mapping):
        raise InvalidInputError(name, value, "must not be null")
    return value


def one_of(name: str, value: Any, known: Collection[str]) -> str:
    """Return a word that must be one of these."""
    if value not in known:
        raise InvalidInputError(name, value, f"must be one of {sorted(known)}")
    return str(value)


def words(asked: Mapping[str, Any], name: str, *, required: bool = False) -> frozenset[str]:
    """Return the words of a list, or the only one."""
    value = asked.get(name)
    if value is None and required:
        raise InvalidInputError(name, value, "must not be null")
    return frozenset([value] if isinstance(value, str) else value or ())


def moment(asked: Mapping[str, Any], name: str) -> float | None:
    """Return a time, in epoch seconds."""
    if asked.get(name) is None:
        return None
    try:
        found = datetime.fromisoformat(str(asked[name]))
    except ValueError:
        raise InvalidInputError(name, asked[name], "must be a time with an offset") from None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def _config_type(job: Job) -> str:
    return "reset_connection" if job.kind == "reset" else job.kind


def _stream_stats(stream: Mapping[str, Any]) -> dict[str, Any]:
    body = {"streamName": stream["name"], "stats": _stats(stream["rows"], stream["bytes"])}
    return {**body, "streamNamespace": stream["namespace"]} if stream["namespace"] else body


def _stats(rows: int, size: int) -> dict[str, int]:
    return {"recordsEmitted": rows, "bytesEmitted": size, "stateMessagesEmitted": 1, "recordsCommitted": rows}
