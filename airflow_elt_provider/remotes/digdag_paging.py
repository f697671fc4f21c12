"""Many of Digdag's attempts by few requests: pages of a hundred, by descending id."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

from airflow_elt_provider.errors import TransientError
from airflow_elt_provider.remotes.flow import Flow, JsonObject, Request, Together
from airflow_elt_provider.remotes.session import Session

PAGE: Final = 100
_AT_ONCE: Final = 8
_FEW: Final = 3
_OK, _NOT_FOUND = 200, 404


class Attempts:
    """Reads attempts. A page that begins below an id holds the next hundred of the whole server."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def listed(self, query: Sequence[tuple[str, str]]) -> Flow[list[JsonObject]]:
        """Return the newest attempts that fit."""
        answer = yield from self._session.ask(Request("GET", "/api/attempts", query))
        if answer.status == _NOT_FOUND:
            return []
        if answer.status != _OK:
            raise TransientError(f"{answer.url} answered {answer.status}: {answer.text[:200]}")
        found: list[JsonObject] = answer.json().get("attempts") or []
        return found

    def by_id(self, ids: set[str], read: Callable[[JsonObject], Any] = lambda one: one) -> Flow[Mapping[str, Any]]:
        """Return what ``read`` makes of these attempts; one that the server does not know is left out.

        Each page is let go once it is read: ten thousand attempts are many megabytes.
        """
        found: dict[str, Any] = {}
        waiting = sorted((int(one) for one in ids), reverse=True)
        while len(waiting) > _FEW:
            tops = waiting[::PAGE][:_AT_ONCE]
            pages = yield Together([self._below(top + 1) for top in tops])
            passed: set[int] = set()
            for top, page in zip(tops, pages, strict=True):
                found.update({str(one["id"]): read(one) for one in page if str(one["id"]) in ids})
                lowest = min((int(one["id"]) for one in page), default=0) if len(page) == PAGE else 0
                # What lies within a page and is not in it, the server does not have.
                passed.update(one for one in waiting if lowest <= one <= top)
            waiting = [one for one in waiting if one not in passed]
        answers = yield Together([self._one(str(one)) for one in waiting])
        found.update({str(one["id"]): read(one) for one in answers if one})
        return found

    def _below(self, last_id: int) -> Flow[list[JsonObject]]:
        query = [("include_retried", "true"), ("last_id", str(last_id)), ("page_size", str(PAGE))]
        return (yield from self.listed(query))

    def _one(self, attempt_id: str) -> Flow[JsonObject | None]:
        answer = yield from self._session.ask(Request("GET", f"/api/attempts/{quote(attempt_id)}"))
        if answer.status == _NOT_FOUND:
            return None
        if answer.status != _OK:
            raise TransientError(f"{answer.url} answered {answer.status}: {answer.text[:200]}")
        attempt: JsonObject = answer.json()
        return attempt
