"""Run a fake server as a process of its own: one line of JSON says where, and the end of stdin ends it.

Also what several fake servers need for it.
"""

from __future__ import annotations

import base64
import json
import sys
from typing import Any

from aiohttp import web

from tests.fakes.http_fake import FakeServer, answer


def serve(server: FakeServer, **told: Any) -> None:
    """Serve until stdin closes; `told` stands in the line next to the address."""
    with server:
        sys.stdout.write(json.dumps({"url": server.url, **told}) + "\n")
        sys.stdout.flush()
        sys.stdin.read()


def stats(server: FakeServer) -> web.RouteDef:
    """Return a route, open to all, that tells how many requests came and how many were in flight at once."""

    async def tell(request: web.Request) -> web.StreamResponse:
        return answer({"requests": len(server.asked("^(?!/_stats)")), "most_in_flight": server.most_in_flight})

    return web.get("/_stats", tell)


def basic(user: str, password: str) -> str:
    """Return the Authorization header of Basic credentials."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
