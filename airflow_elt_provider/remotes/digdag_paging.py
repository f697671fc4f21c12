"""Many of Digdag's attempts by few requests: pages of a hundred, by descending id."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from airflow_elt_provider.errors import EltError, TransientError
from airflow_elt_provider.remotes.flow import Flow, JsonObject, Request, Together, apart, each, segment
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
        return answer.listed("attempts")

    def by_id(self, ids: set[str], read: Callable[[JsonObject], Any] = lambda one: one) -> Flow[Mapping[str, Any]]:
        """Return what ``read`` makes of these attempts; one that the server does not know is left out.

        Each page is let go once it is read: ten thousand attempts are many megabytes.
        """
        found: dict[str, Any] = {}
        waiting = sorted((int(one) for one in ids if one.isdecimal()), reverse=True)
        while len(waiting) > _FEW:
            tops = waiting[::PAGE][:_AT_ONCE]
            pages = yield Together([self._below(top + 1) for top in tops])
            passed: set[int] = set()
            for top, page in zip(tops, pages, strict=True):
                wanted = [one for one in page if str(one["id"]) in ids]
                found.update(each(wanted, lambda one: (str(one["id"]), read(one)), "Digdag"))
                lowest = min((int(one["id"]) for one in page), default=0) if len(page) == PAGE else 0
                lowest = min(lowest, top)  # whatever the page holds: there is an end
                # What lies within a page and is not in it, the server does not have.
                passed.update(one for one in waiting if lowest <= one <= top)
            waiting = [one for one in waiting if one not in passed]
        answers = yield from apart([self._one(str(one)) for one in waiting], "Digdag", alone=not found)
        good = [one for one in answers if one and not isinstance(one, EltError)]
        found.update(each(good, lambda one: (str(one["id"]), read(one)), "Digdag"))
        return found

    def _below(self, last_id: int) -> Flow[list[JsonObject]]:
        query = [("include_retried", "true"), ("last_id", str(last_id)), ("page_size", str(PAGE))]
        return (yield from self.listed(query))

    def _one(self, attempt_id: str) -> Flow[JsonObject | None]:
        answer = yield from self._session.ask(Request("GET", f"/api/attempts/{segment(attempt_id)}"))
        if answer.status == _NOT_FOUND:
            return None
        if answer.status != _OK:
            raise TransientError(f"{answer.url} answered {answer.status}: {answer.text[:200]}")
        attempt: JsonObject = answer.json()
        return attempt
