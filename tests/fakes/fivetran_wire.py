"""How Fivetran speaks: its envelope, its refusals, its pages."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from aiohttp import web

from tests.fakes.http_fake import answer

Item = TypeVar("Item")
MOST = 1000


class RefusedError(Exception):
    """An answer that is not 200."""

    def __init__(self, status: int, code: str, message: str, retry_after: int | None = None) -> None:
        """Describe the answer."""
        super().__init__(f"{status} {code}: {message}")
        headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
        self.response = answer({"code": code, "message": message}, status, headers)


def success(data: Any = None, message: str | None = None, status: int = 200) -> web.Response:
    """Return the envelope of what went well."""
    envelope: dict[str, Any] = {"code": "Success"}
    if message is not None:
        envelope["message"] = message
    if data is not None:
        envelope["data"] = data
    return answer(envelope, status)


async def body_of(request: web.Request) -> dict[str, Any]:
    """Read the body of a change, which must be a JSON object and say so; an empty body is not one."""
    accepted = request.headers.get("Accept", "*/*")
    if "*/*" not in accepted and "application/json" not in accepted:
        raise RefusedError(406, "NotAcceptable", f"Accept must be application/json, not {accepted}")
    if request.method not in {"POST", "PATCH"}:
        return {}
    if request.content_type != "application/json":
        raise RefusedError(415, "UnsupportedMediaType", "Content-Type must be application/json")
    try:
        body = json.loads(await request.read())
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise RefusedError(400, "InvalidInput", "The request body must be a JSON object")
    return body


def found(request: web.Request, things: Mapping[str, Item], kind: str) -> Item:
    """Return the thing that the path names."""
    name = request.match_info["id"]
    if name not in things:
        raise RefusedError(404, f"NotFound_{kind}", f"Cannot find {kind.lower()} with id '{name}'")
    return things[name]


def page_of(request: web.Request, items: Sequence[Item]) -> tuple[Sequence[Item], str | None]:
    """Return the page that the query asks for, and the cursor of the next if there is one."""
    try:
        limit = int(request.query.get("limit", "100"))
        start = int(base64.urlsafe_b64decode(request.query.get("cursor", "MA==")))
    except (ValueError, binascii.Error):
        raise RefusedError(400, "InvalidInput", "limit or cursor is not valid") from None
    if not 1 <= limit <= MOST:
        raise RefusedError(400, "InvalidInput", f"limit must be between 1 and {MOST}")
    end = start + limit
    return items[start:end], base64.urlsafe_b64encode(str(end).encode()).decode() if end < len(items) else None


def list_of(request: web.Request, items: Sequence[Any]) -> web.Response:
    """Return a page of a short list."""
    page, following = page_of(request, items)
    return success({"items": page, "next_cursor": following} if following else {"items": page})


def needs(body: Mapping[str, Any], *names: str) -> None:
    """Refuse a body without one of these."""
    for name in names:
        if not body.get(name):
            raise RefusedError(400, "InvalidInput", f"Property '{name}' is required")


def refuse_other(body: Mapping[str, Any], known: set[str]) -> None:
    """Refuse a body with anything else."""
    if unknown := body.keys() - known:
        raise RefusedError(400, "InvalidInput", f"Unknown property '{min(unknown)}'")


def check_scope(scope: Any) -> None:
    """Refuse anything but schema names with tables."""
    good = isinstance(scope, dict) and scope and all(isinstance(tables, list) and tables for tables in scope.values())
    if not good:
        raise RefusedError(400, "InvalidInput", "scope must map schemas to non-empty lists of tables")
