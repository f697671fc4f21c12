"""A fake of Slack: an incoming webhook, and `chat.postMessage`, as strict as Slack is about blocks.

>>> with FakeSlack() as slack:
...     slack.inject(Fault("POST", "/services", status=429, headers={"Retry-After": "1"}))
...     slack.messages  # what people see
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from aiohttp import web

from tests.fakes.http_fake import FakeServer, answer

TOKEN = "T0000/B0000/secretsecretsecret"
API_TOKEN = "xoxb-000-secret-of-the-api"
SECTION = 3000
CONTEXT_ELEMENTS = 10
BLOCKS = 50
_ENTITY = re.compile(r"&(?!amp;|lt;|gt;)")
_MARKUP = re.compile(r"<(https?://[^<>|\s]+\|[^<>|]+|!here|!channel|@U\w+)>")


class FakeSlack(FakeServer):
    """Takes messages and keeps them."""

    def __init__(self, **tls: Any) -> None:
        """Describe a server whose only webhook is `TOKEN`."""
        super().__init__(**tls)
        self.messages: list[dict[str, Any]] = []

    @property
    def webhook(self) -> str:
        """The webhook's address."""
        return f"{self.url}/services/{TOKEN}"

    def connection(self, conn_type: str = "slackwebhook", **fields: Any) -> str:
        """Return the value of an AIRFLOW_CONN_* variable."""
        return json.dumps({"conn_type": conn_type, "host": f"{self.url}/services", "password": TOKEN, **fields})

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        """Return what is served."""
        return [
            web.post("/services/{token:.*}", self._hook),
            web.post("/api/chat.postMessage", self._api),
        ]

    async def _hook(self, request: web.Request) -> web.StreamResponse:
        if request.match_info["token"] != TOKEN:
            return answer("no_service", 404)
        wrong = self._take(await request.json())
        return answer(wrong, 400) if wrong else answer("ok")

    async def _api(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Authorization") != f"Bearer {API_TOKEN}":
            return answer({"ok": False, "error": "invalid_auth"})  # with status 200, as Slack does
        body = await request.json()
        if not body.get("channel"):
            return answer({"ok": False, "error": "channel_not_found"})
        wrong = self._take(body)
        return answer({"ok": False, "error": wrong} if wrong else {"ok": True, "ts": "1.0"})

    def _take(self, body: dict[str, Any]) -> str:
        """Keep a message, or return what is wrong with it."""
        blocks = body.get("blocks", [])
        if not body.get("text") or len(blocks) > BLOCKS:
            return "no_text" if not body.get("text") else "invalid_blocks"
        for block in blocks:
            texts = [block["text"]] if block["type"] == "section" else block["elements"]
            if len(texts) > CONTEXT_ELEMENTS or not all(_is_text(one) for one in texts):
                return "invalid_blocks"
        with self.lock:
            self.messages.append(body)
        return ""


def _is_text(value: dict[str, Any]) -> bool:
    """Say whether Slack takes a text: short enough, and every < > & is its own markup or escaped."""
    text = value["text"]
    bare = _MARKUP.sub("", text)
    return 0 < len(text) <= SECTION and not _ENTITY.search(bare) and "<" not in bare and ">" not in bare


def seen(message: dict[str, Any]) -> str:
    """Return what a person reads of a message, links in the writing of Slack."""
    blocks = message["blocks"]
    texts = [one["text"] for block in blocks for one in block.get("elements", [block.get("text")])]
    return "\n".join(texts).replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
