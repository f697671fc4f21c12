"""Fivetran's objects over REST: read, made, changed and deleted (https://fivetran.com/docs/rest-api)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from airflow_elt_provider.core.secret import Secret
from airflow_elt_provider.errors import ConfigurationError, EltError, TransientError
from airflow_elt_provider.remotes.flow import Answer, Flow, JsonObject, Pause, Request
from airflow_elt_provider.remotes.session import Session

MASK: Final = "******"
"""What stands in the place of a secret; sent back, it leaves the secret as it is."""
_ACCEPT: Final = {"Accept": "application/json;version=2"}
_PAGE: Final = 1000
_OK, _CREATED, _BAD, _NOT_FOUND, _TIMEOUT = 200, 201, 400, 404, 408
_MOST: Final = 400
_HINT: Final = "correct the value that it names"


class FivetranApi:
    """One account.

    What it refuses is a ConfigurationError with its words, without the secrets that were sent.

    :param session: asks it.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    def get(self, path: str, *, timeout: float | None = None) -> Flow[JsonObject | None]:
        """Return the ``data`` of an object; None: there is none."""
        answer = yield from self._ask(Request("GET", path, timeout=timeout))
        return None if answer.status == _NOT_FOUND else _data(answer, path)

    def listed(self, path: str, query: Sequence[tuple[str, str]] = ()) -> Flow[list[JsonObject]]:
        """Return all items, page by page."""
        found: list[JsonObject] = []
        cursor, seen = "", set[str]()
        while cursor not in seen:  # a server that repeats itself has no more
            seen.add(cursor)
            page = [*query, ("limit", str(_PAGE)), *([("cursor", cursor)] if cursor else [])]
            answer = yield from self._ask(Request("GET", path, page))
            data = _data(answer, path)
            found += data["items"]
            cursor = str(data.get("next_cursor") or "")
            if not cursor:
                break
            yield Pause(0)
        return found

    def post(
        self,
        path: str,
        body: Mapping[str, Any],
        *,
        what: str,
        secrets: Sequence[Secret] = (),
        timeout: float | None = None,
        hint: str = _HINT,
    ) -> Flow[JsonObject]:
        """Return the ``data`` of what was made or done.

        :param body: a :class:`Secret` in it is sent as it is, and shown nowhere.
        :param what: names the object in messages.
        :param secrets: that the body holds besides.
        :param hint: what to do where it is refused.
        :raises AnswerLostError: when it may be there; it is not sent again.
        """
        return (yield from self._write(Request("POST", path, body=body, timeout=timeout, secrets=secrets), what, hint))

    def patch(
        self,
        path: str,
        body: Mapping[str, Any],
        *,
        what: str,
        secrets: Sequence[Secret] = (),
        timeout: float | None = None,
        hint: str = _HINT,
    ) -> Flow[JsonObject]:
        """Change what is named in the body; return the ``data`` of the object."""
        return (yield from self._write(Request("PATCH", path, body=body, timeout=timeout, secrets=secrets), what, hint))

    def delete(self, path: str, *, what: str) -> Flow[None]:
        """Delete an object; one that is gone is as good."""
        answer = yield from self._ask(Request("DELETE", path))
        if answer.status not in {_OK, _NOT_FOUND}:
            raise refused(what, answer)

    def _write(self, request: Request, what: str, hint: str) -> Flow[JsonObject]:
        secrets = [*request.secrets, *secrets_of(request.body)]
        answer = yield from self._ask(replace(request, body=_revealed(request.body), secrets=secrets))
        return _data(answer, what, hint)

    def _ask(self, request: Request) -> Flow[Answer]:
        return (yield from self._session.ask(request.with_headers(_ACCEPT)))


def refused(what: str, answer: Answer, hint: str = _HINT) -> EltError:
    """Return the error for an answer that is no success.

    :param what: names the object.
    """
    said = f"{_words(answer).rstrip('.')}."
    if answer.status < _BAD or answer.status == _TIMEOUT:
        return TransientError(f"Fivetran, {what}: {answer.url} answered {answer.status}. {said}")
    return ConfigurationError(f"Fivetran refuses {what} ({answer.status}): {said}", hint=hint)


def _data(answer: Answer, what: str, hint: str = _HINT) -> JsonObject:
    if answer.status not in {_OK, _CREATED}:
        raise refused(what, answer, hint)
    data: JsonObject = answer.json().get("data") or {}
    return data


def _words(answer: Answer) -> str:
    try:
        return " ".join(str(answer.json()["message"]).split())[:_MOST]
    except (TransientError, AttributeError, LookupError, TypeError, json.JSONDecodeError):
        return " ".join(answer.text.split())[:_MOST]


def secrets_of(value: Any) -> list[Secret]:
    """Return the secrets that a value holds."""
    if isinstance(value, Secret):
        return [value]
    if isinstance(value, Mapping):
        return [secret for one in value.values() for secret in secrets_of(one)]
    return [secret for one in value for secret in secrets_of(one)] if isinstance(value, list | tuple) else []


def _revealed(value: Any) -> Any:
    if isinstance(value, Secret):
        return value.reveal()
    if isinstance(value, Mapping):
        return {key: _revealed(one) for key, one in value.items()}
    return [_revealed(one) for one in value] if isinstance(value, list | tuple) else value
