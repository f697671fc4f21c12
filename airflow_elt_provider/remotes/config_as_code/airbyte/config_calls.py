"""Calls of Airbyte's configuration API about its objects, and what its refusals mean."""

from __future__ import annotations

from typing import Any, Final

from airflow_elt_provider.errors import ConfigurationError, EltError, TransientError
from airflow_elt_provider.remotes.airbyte_config import PREFIX
from airflow_elt_provider.remotes.config_as_code.airbyte.refusals import asked, refused
from airflow_elt_provider.remotes.config_as_code.secret_values import looks_secret
from airflow_elt_provider.remotes.flow import Answer, Flow, JsonObject, Request
from airflow_elt_provider.remotes.refusals import NoSuchApiError
from airflow_elt_provider.remotes.session import Session

DISCOVERY_SECONDS: Final = 1800.0
"""To wait for a discovery: a source with thousands of tables takes minutes to tell them."""
_BAD, _NOT_FOUND, _NO_METHOD, _CONFLICT, _INVALID = 400, 404, 405, 409, 422


class Calls:
    """The calls to one server."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def post(
        self, path: str, body: JsonObject, what: str = "", *, given: Any = None, timeout: float | None = None
    ) -> Flow[JsonObject]:
        """Return what the server answers.

        :param what: the object, for messages.
        :param given: values with the secrets that are in the body: no message repeats them.
        :raises ConfigurationError: with the server's words when it refuses, an id that there is not included.
        :raises TransientError: where something is in the way.
        """
        request = Request("POST", f"{PREFIX}/{path}", body=body, timeout=timeout)
        answer = yield from asked(self._session, request, given)
        found: JsonObject = _read(answer, f"{path}{' ' if what else ''}{what}")
        return found

    def find(self, path: str, body: JsonObject) -> Flow[JsonObject | None]:
        """Return what the server answers, None where it has no such object, or what is asked for is no id."""
        answer = yield from self._session.ask(Request("POST", f"{PREFIX}/{path}", body=body))
        return None if answer.status in {_NOT_FOUND, _INVALID} else _read(answer, path)

    def delete(self, path: str, body: JsonObject) -> Flow[None]:
        """Delete an object; one that is gone is as good."""
        answer = yield from self._session.ask(Request("POST", f"{PREFIX}/{path}", body=body))
        if answer.status != _NOT_FOUND:
            _read(answer, path)

    def known(self, path: str, body: JsonObject) -> Flow[Any]:
        """Return what the server answers, None where it has no such call."""
        answer = yield from self._session.attempt(Request("POST", f"{PREFIX}/{path}", body=body))
        if _is_no_call(answer):
            return None
        if isinstance(answer, EltError):
            raise answer
        return _read(answer, path)

    def has(self, path: str, body: JsonObject) -> Flow[bool]:
        """Whether the server has a call; one that it refuses is there."""
        answer = yield from self._session.attempt(Request("POST", f"{PREFIX}/{path}", body=body))
        if isinstance(answer, TransientError):
            raise answer
        return not _is_no_call(answer)


def _is_no_call(answer: Answer | EltError) -> bool:
    if isinstance(answer, EltError):
        return isinstance(answer, NoSuchApiError)
    return answer.status in {_NOT_FOUND, _NO_METHOD} or not answer.is_json


def _read(answer: Answer, what: str) -> Any:
    if answer.status == _CONFLICT:
        raise TransientError(refused(what, answer).message)
    if answer.status >= _BAD:
        raise refused(what, answer)
    return answer.json() if answer.content.strip() else {}


def discovered(calls: Calls, source_id: str, *, fresh: bool) -> Flow[JsonObject]:
    """Return a ``SourceDiscoverSchemaRead`` with a catalogue.

    No connection is named in the request: the server would hold the schema against it, and may switch it off.

    :raises ConfigurationError: when the source could not be read, with the connector's words.
    :raises TransientError: when the server says that another try may help.
    """
    body = {"sourceId": source_id, "disable_cache": fresh}
    found = yield from calls.post("sources/discover_schema", body, timeout=DISCOVERY_SECONDS)
    return read_discovery(found, source_id)


def read_discovery(found: JsonObject, source_id: str) -> JsonObject:
    """Return a ``SourceDiscoverSchemaRead``; raise the failure that it may be."""
    job = found.get("jobInfo") or {}
    if job.get("succeeded") is not False and isinstance(found.get("catalog"), dict):
        return found
    reason = job.get("failureReason") or {}
    said = str(reason.get("externalMessage") or reason.get("internalMessage") or "the server does not say why")
    said = "what it says may hold a secret" if looks_secret(said) else " ".join(said.split())[:300]
    text = f"Airbyte could not discover what source {source_id!r} has: {said.rstrip('.')}."
    if reason.get("retryable") is True:
        raise TransientError(text)
    raise ConfigurationError(text, hint="test the source in the web UI, and see its logs there")
