"""How the public API's requests are read, and how it refuses those it does not understand."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from tests.fakes.airbyte_words import BEHAVIOURS, NAMESPACES, cron_problem, without_zone

_LONG = 7
ERRORS = "https://reference.airbyte.com/reference/errors"


class ProblemError(Exception):
    """A refusal, as application/problem+json."""

    def __init__(self, status: int, title: str, detail: str, data: Any = None) -> None:
        """Describe it."""
        super().__init__(detail)
        self.status = status
        body = {"status": status, "type": f"{ERRORS}#{title}", "title": title, "detail": detail}
        self.body = {**body, "documentationUrl": None, "data": data}

    def response(self) -> web.Response:
        """Return the answer."""
        return web.json_response(self.body, status=self.status, content_type="application/problem+json")


def page_limits(request: web.Request) -> tuple[int, int]:
    """Return limit and offset."""
    try:
        limit, offset = int(request.query.get("limit", 20)), int(request.query.get("offset", 0))
    except ValueError:
        raise bad_request("limit and offset must be numbers") from None
    if not 1 <= limit <= 100:
        raise bad_request("limit must be between 1 and 100")
    if offset < 0:
        raise bad_request("offset must not be negative")
    return limit, offset


def ordering(asked: str | None) -> tuple[bool, bool]:
    """Return whether to order by the last change, and whether downwards."""
    field, _, method = (asked or "createdAt|DESC").partition("|")
    if field not in {"createdAt", "updatedAt"} or method not in {"ASC", "DESC"}:
        raise bad_request(f"Invalid order by clause provided: {asked}")
    return field == "updatedAt", method == "DESC"


def several(request: web.Request, name: str) -> frozenset[str]:
    """Return UUIDs, given by one parameter each or by commas."""
    values = ",".join(request.query.getall(name, [])).split(",")
    return frozenset(read_uuid(value, name) for value in values if value)


def word(asked: str | None, known: frozenset[str], name: str) -> frozenset[str]:
    """Return a word as a set of one, or an empty set."""
    if asked is not None and asked not in known:
        raise bad_request(f"{name} must be one of {sorted(known)}")
    return frozenset({asked} if asked else ())


def kinds(asked: frozenset[str]) -> frozenset[str]:
    """Return the kinds of jobs meant: a clear is kept as a reset."""
    return frozenset({"reset"}) if asked & {"reset", "clear"} else asked


def moment(asked: Mapping[str, str], name: str) -> float | None:
    """Return a time in epoch seconds; without an offset it is UTC."""
    if name not in asked:
        return None
    try:
        moment = datetime.fromisoformat(asked[name].replace(" ", "+"))
    except ValueError:
        raise bad_request(f"{name} must be a time such as 2024-01-31T10:00:00Z") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def read_uuid(value: Any, name: str) -> str:
    """Return a UUID's text."""
    try:
        return str(uuid.UUID(str(value)))
    except ValueError:
        raise bad_request(f"{name} must be a UUID") from None


def read_json(body: bytes) -> dict[str, Any]:
    """Return the body's object."""
    try:
        asked = json.loads(body)
    except ValueError:
        raise bad_request("The body is not JSON") from None
    if not isinstance(asked, dict):
        raise bad_request("The body is not a JSON object")
    return asked


def connection_settings(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a request says of a connection besides name, status and streams, in the configuration API's words."""
    settings = {name: asked[name] for name in ("namespaceFormat", "prefix", "tags") if asked.get(name) is not None}
    if asked.get("schedule") is not None:
        settings |= _schedule(asked["schedule"])
    if asked.get("namespaceDefinition") is not None:
        settings["namespaceDefinition"] = _other(asked, "namespaceDefinition", NAMESPACES)
    if asked.get("nonBreakingSchemaUpdatesBehavior") is not None:
        behaviour = _other(asked, "nonBreakingSchemaUpdatesBehavior", BEHAVIOURS)
        settings["nonBreakingChangesPreference"] = behaviour
    return settings


def _other(asked: Mapping[str, Any], name: str, words: Mapping[str, str]) -> str:
    word(asked[name], frozenset(words), name)
    return words[asked[name]]


def _schedule(asked: Mapping[str, Any]) -> dict[str, Any]:
    kind = asked.get("scheduleType")
    if kind == "manual":
        return {"scheduleType": kind, "scheduleData": None}
    if kind != "cron":
        raise bad_request(f"scheduleType must be one of ['cron', 'manual'], not {kind}")
    if not asked.get("cronExpression"):
        raise bad_request("Missing cron expression in the schedule.")
    expression = without_zone(str(asked["cronExpression"]))
    problem = cron_problem(expression)
    if problem:
        raise bad_request(f"The cron expression {asked['cronExpression']} is not valid. Error: {problem}.")
    if "*" in expression.split()[:1] or (len(expression.split()) == _LONG and expression.split()[1] == "*"):
        raise bad_request(f"The cron expression {asked['cronExpression']} is less than the one hour minimum.")
    return {"scheduleType": kind, "scheduleData": {"cron": {"cronExpression": expression, "cronTimeZone": "UTC"}}}


def bad_request(message: str) -> ProblemError:
    """Return a 400."""
    text = "The request could not be understood by the server due to malformed syntax."
    return ProblemError(400, "bad-request", text, {"message": message})


def conflict(message: str) -> ProblemError:
    """Return a 409 of the sort that says little."""
    return ProblemError(409, "state-conflict", "State conflict", {"message": message})
