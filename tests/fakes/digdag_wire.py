"""How Digdag reads requests and refuses them."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from tests.fakes.digdag_model import Attempt, Project, Revision, Workflow
from tests.fakes.http_fake import answer

MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:\d\d)")


class RefusedError(Exception):
    """An answer that is not 200."""

    def __init__(self, status: int, message: str) -> None:
        """Describe the answer."""
        super().__init__(message)
        self.response = answer({"message": message, "status": status}, status)


def check_type(request: web.Request, body: bytes, wanted: str) -> None:
    """Refuse a body of another type; no body at all needs none."""
    if (body or "Content-Type" in request.headers) and request.content_type != wanted:
        raise RefusedError(400, "Cannot consume content type")


def object_of(request: web.Request, body: bytes) -> dict[str, Any]:
    """Read a body that must be a JSON object."""
    check_type(request, body, "application/json")
    try:
        found = json.loads(body)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise RefusedError(400, "Unable to process JSON")
    return found


def needed(request: web.Request, name: str) -> str:
    """Return a part of the query that must be there."""
    if name not in request.query:
        raise RefusedError(400, f"{name}= is required")
    return request.query[name]


def number_of(request: web.Request, name: str) -> int | None:
    """Return a part of the query that is a number; another word makes the path one that does not exist."""
    try:
        return int(request.query[name]) if name in request.query else None
    except ValueError:
        raise RefusedError(404, "HTTP 404 Not Found") from None


def instant_of(request: web.Request, name: str) -> datetime | None:
    """Return a part of the query that is a moment in UTC."""
    told = request.query.get(name)
    if not told:
        return None
    try:
        return datetime.strptime(told, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise RefusedError(400, f"Invalid {name}= parameter format. Expected yyyy-MM-dd'T'HH:mm:ss'Z' format") from None


def moment_of(wanted: dict[str, Any]) -> datetime:
    """Return the session time that is asked for; it must be ISO, with an offset."""
    told = str(wanted.get("sessionTime"))
    try:
        moment = datetime.fromisoformat(told) if MOMENT.fullmatch(told) else None
    except ValueError:
        moment = None
    if moment is None:
        raise RefusedError(400, f"sessionTime is not valid: {told}")
    return moment


def params_of(wanted: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters of an attempt, which must be there."""
    params = wanted.get("params")
    if not isinstance(params, dict):
        raise RefusedError(
            400, "Cannot build RestSessionAttemptRequest, some of required attributes are not set [params]"
        )
    return params


def revision_of(project: Project, revision: str | None) -> Revision:
    """Return a revision, the newest when none is named."""
    if revision is None:
        return project.latest()
    for one in project.revisions:
        if one.name == revision:
            return one
    raise RefusedError(404, f"Resource does not exist: revision name={revision}")


def workflows_of(project: Project, revision: str | None) -> list[Workflow]:
    """Return the workflows of a revision, of the newest when none is named."""
    return revision_of(project, revision).workflows


def workflow_of(project: Project, revision: str | None, name: str) -> Workflow:
    """Return the workflow of this name."""
    for workflow in workflows_of(project, revision):
        if workflow.name == name:
            return workflow
    raise RefusedError(404, f"Resource does not exist: workflow name={name}")


def asked(attempt: Attempt, project: str | None, workflow: str | None, last_id: int | None) -> bool:
    """Whether an attempt is in a list; a workflow without a project is not looked at."""
    if last_id is not None and int(attempt.id) >= last_id:
        return False
    if project is None:
        return True
    return attempt.workflow.project.name == project and workflow in {None, attempt.workflow.name}
