"""Airbyte's public API: ``/api/public/v1`` of one's own server, ``/v1`` of Airbyte Cloud."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from airflow_elt_provider.errors import ConfigurationError
from airflow_elt_provider.remotes.airbyte_config import job_details, no_connection, unexpected
from airflow_elt_provider.remotes.airbyte_jobs import START_SECONDS, Conflict, Job, public_job
from airflow_elt_provider.remotes.airbyte_window import Window
from airflow_elt_provider.remotes.flow import Answer, Flow, JsonObject, Request, each, segment
from airflow_elt_provider.remotes.model import Sighting, Watch, iso
from airflow_elt_provider.remotes.session import Session

PREFIXES: Final = ("/api/public/v1", "/v1")
_PAGE: Final = 20
_OK, _BAD, _NOT_FOUND, _CONFLICT = 200, 400, 404, 409
_STATE_CONFLICT: Final = "Could not fulfill request"
"""All that the server says of several causes; what can be known before is checked before."""


class PublicApi:
    """The public API of one server.

    :param prefix: where it is, below the base URL.
    """

    name = "public_v1"

    def __init__(self, session: Session, prefix: str) -> None:
        self._session = session
        self.prefix = prefix
        self._window = Window(self._page, self.job, self.jobs)

    def connection(self, connection_id: str) -> Flow[JsonObject]:
        answer = yield from self._get(f"/connections/{segment(connection_id)}")
        if answer.status != _OK:
            raise no_connection(connection_id, answer)
        value: JsonObject = answer.json()
        return value

    def jobs(self, connection_id: str, *, above: int = 0, since: datetime | None = None) -> Flow[list[Job]]:
        query = [("connectionId", connection_id), ("jobType", "sync"), ("orderBy", "createdAt|DESC"),
                 ("limit", str(_PAGE))]  # fmt: skip
        if since:
            query.append(("createdAtStart", _utc(since)))
        answer = yield from self._get("/jobs", query)
        if answer.status != _OK:
            raise no_connection(connection_id, answer)
        found = each(answer.listed("data"), public_job, "Airbyte")
        return sorted((job for job in found if job.id > above), key=lambda job: job.id, reverse=True)

    def start(self, connection_id: str) -> Flow[Job | Conflict]:
        request = Request(
            "POST", f"{self.prefix}/jobs", body={"connectionId": connection_id, "jobType": "sync"},
            timeout=START_SECONDS,
        )  # fmt: skip
        answer = yield from self._session.ask(request)
        if answer.status == _CONFLICT:
            if "already running" in answer.text or "try-again-later" in answer.text:
                return Conflict()
            raise ConfigurationError(
                f"Airbyte will not sync connection {connection_id!r}: {' '.join(answer.text.split())[:300]}",
                hint="is the connection active, and are its source and destination there?",
            )
        if answer.status not in {_OK, 201}:
            raise no_connection(connection_id, answer)
        return public_job(answer.json())

    def job(self, job_id: str) -> Flow[Job | None]:
        answer = yield from self._get(f"/jobs/{segment(job_id)}")
        if answer.status == _OK:
            return public_job(answer.json())
        if answer.status in {_NOT_FOUND, _BAD}:
            return None
        raise unexpected(answer)

    def cancel(self, job_id: str) -> Flow[None]:
        answer = yield from self._session.ask(Request("DELETE", f"{self.prefix}/jobs/{segment(job_id)}"))
        if answer.status not in {_OK, 204, _NOT_FOUND, _CONFLICT}:
            raise unexpected(answer)

    def look(self, watches: Sequence[Watch]) -> Flow[Mapping[Watch, Sighting]]:
        return (yield from self._window.look(watches))

    def details(self, job_id: str) -> Flow[JsonObject | None]:
        return (yield from job_details(self._session, job_id))

    def check(self) -> Flow[str]:
        answer = yield from self._get("/workspaces")
        if answer.status != _OK:
            raise unexpected(answer)
        return f"Airbyte's public API answers; workspaces: {len(answer.listed('data'))}"

    # --- for the window ---

    def _page(self, since: datetime, offset: int, limit: int) -> Flow[list[Job]]:
        query = [("updatedAtStart", _utc(since)), ("jobType", "sync"), ("orderBy", "updatedAt|ASC"),
                 ("limit", str(limit)), ("offset", str(offset))]  # fmt: skip
        answer = yield from self._get("/jobs", query)
        if answer.status != _OK:
            raise unexpected(answer)
        return each(answer.listed("data"), public_job, "Airbyte")

    def _get(self, path: str, query: Sequence[tuple[str, str]] = ()) -> Flow[Answer]:
        return (yield from self._session.ask(Request("GET", self.prefix + path, query)))


def _utc(value: datetime) -> str:
    return (iso(value) or "").replace("+00:00", "Z")
