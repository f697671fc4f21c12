"""Airbyte's configuration API, ``POST /api/v1/...``: the only one of 0.40, still there in current servers.

It has no batched status call that 0.40 knows: each job is asked for by itself, without its logs, 64 at a time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any, Final

from airflow_elt_provider.errors import ConfigurationError, EltError, TransientError
from airflow_elt_provider.remotes.airbyte_jobs import START_SECONDS, Conflict, Job, config_job
from airflow_elt_provider.remotes.flow import Answer, Flow, JsonObject, Request, apart, each
from airflow_elt_provider.remotes.model import Phase, Sighting, Watch, not_before, parse_time
from airflow_elt_provider.remotes.session import Session

PREFIX: Final = "/api/v1"
_PAGE: Final = 20
_AT_ONCE: Final = 256
_OK, _NOT_FOUND, _CONFLICT, _INVALID = 200, 404, 409, 422


class ConfigApi:
    """The configuration API of one server."""

    name = "config_v1"

    def __init__(self, session: Session) -> None:
        self._session = session

    def connection(self, connection_id: str) -> Flow[JsonObject]:
        answer = yield from self._post("connections/get", {"connectionId": connection_id})
        if answer.status != _OK:
            raise no_connection(connection_id, answer)
        value: JsonObject = answer.json()
        workspace = value.get("workspaceId") or (yield from self._workspace(value.get("sourceId")))
        return {"status": value.get("status"), "name": value.get("name"), "workspaceId": workspace}

    def _workspace(self, source_id: Any) -> Flow[str]:
        """0.40 tells the workspace of a source, not that of a connection. Only links need it."""
        request = Request("POST", f"{PREFIX}/sources/get", body={"sourceId": source_id})
        answer = yield from self._session.attempt(request)
        return str(answer.json().get("workspaceId") or "") if isinstance(answer, Answer) and answer.is_json else ""

    def jobs(self, connection_id: str, *, above: int = 0, since: datetime | None = None) -> Flow[list[Job]]:
        body = {"configTypes": ["sync"], "configId": connection_id, "pagination": {"pageSize": _PAGE, "rowOffset": 0}}
        answer = yield from self._post("jobs/list", body)
        if answer.status != _OK:
            raise no_connection(connection_id, answer)
        found = each(answer.listed("jobs"), lambda value: config_job(value["job"]), "Airbyte")
        newest = sorted(found, key=lambda job: job.id, reverse=True)
        return [job for job in newest if job.id > above and (since is None or not_before(job.created or since, since))]

    def start(self, connection_id: str) -> Flow[Job | Conflict]:
        answer = yield from self._post("connections/sync", {"connectionId": connection_id}, timeout=START_SECONDS)
        if answer.status == _CONFLICT:
            return Conflict()
        if answer.status != _OK:
            raise no_connection(connection_id, answer)
        return config_job(answer.json()["job"])

    def job(self, job_id: str) -> Flow[Job | None]:
        answer = yield from self._post("jobs/get_light", {"id": int(job_id)})
        if answer.status == _OK:
            return config_job(answer.json()["job"])
        if answer.status in {_NOT_FOUND, _INVALID}:
            return None
        raise unexpected(answer)

    def cancel(self, job_id: str) -> Flow[None]:
        answer = yield from self._post("jobs/cancel", {"id": int(job_id)})
        if answer.status not in {_OK, _NOT_FOUND, _CONFLICT, _INVALID}:
            raise unexpected(answer)

    def look(self, watches: Sequence[Watch]) -> Flow[Mapping[Watch, Sighting]]:
        found: dict[Watch, Sighting] = {}
        waiting = iter(watches)
        while batch := list(islice(waiting, _AT_ONCE)):
            seen = yield from apart([self._see(watch) for watch in batch], "Airbyte", alone=not found)
            found.update(sightings(batch, seen))
        return found

    def _see(self, watch: Watch) -> Flow[Sighting | None]:
        if watch.after:
            jobs = yield from self.jobs(watch.remote_id)
            return newest_success(jobs, watch)
        job = yield from self.job(watch.job_id)
        return job.sighting() if job else Sighting.of_lost(watch)

    def details(self, job_id: str) -> Flow[JsonObject | None]:
        return (yield from job_details(self._session, job_id))

    def check(self) -> Flow[str]:
        answer = yield from self._session.ask(Request("POST", f"{PREFIX}/workspaces/list", body={}))
        if answer.status != _OK:
            raise unexpected(answer)
        return f"Airbyte's configuration API answers; workspaces: {len(answer.listed('workspaces'))}"

    def _post(self, path: str, body: JsonObject, timeout: float | None = None) -> Flow[Answer]:
        return (yield from self._session.ask(Request("POST", f"{PREFIX}/{path}", body=body, timeout=timeout)))


def job_details(session: Session, job_id: str) -> Flow[JsonObject | None]:
    """Return a ``JobInfoRead`` with attempts, failures and logs, from any server that has the configuration API."""
    answer = yield from session.attempt(Request("POST", f"{PREFIX}/jobs/get", body={"id": int(job_id)}))
    if isinstance(answer, Answer) and answer.status == _OK and answer.is_json:
        details: JsonObject = answer.json()
        return details
    return None


def sightings(watches: Sequence[Watch], seen: Sequence[Sighting | EltError | None]) -> dict[Watch, Sighting]:
    """Return what was seen of each; one of which alone the server cannot tell counts as lost for now."""
    return {
        watch: Sighting.of_lost(watch, one) if isinstance(one, EltError) else one
        for watch, one in zip(watches, seen, strict=True)
        if one
    }


def newest_success(jobs: Sequence[Job], watch: Watch) -> Sighting | None:
    """Return the newest run that succeeded after the time a sensor waits for; else what the newest one does."""
    after = parse_time(watch.after)
    good = [job for job in jobs if after and succeeded_after(job, after)]
    if good:
        return max(good, key=lambda job: job.id).sighting()
    if not jobs:
        return None
    last = max(jobs, key=lambda job: job.id)
    return Sighting(str(last.id), Phase.ACTIVE, "waiting", note=f"the last run, {last.id}, is {last.status}")


def succeeded_after(job: Job, after: datetime) -> bool:
    """Whether a job succeeded at or after a time."""
    return job.phase is Phase.SUCCEEDED and job.updated is not None and not_before(job.updated, after)


def no_connection(connection_id: str, answer: Answer) -> ConfigurationError | TransientError:
    """Return the error for an answer about a connection that the server does not have."""
    if answer.status in {400, _NOT_FOUND, _INVALID}:
        return ConfigurationError(
            f"Airbyte has no connection {connection_id!r} ({answer.status}).",
            hint="copy the UUID from the connection's address in the web UI; is it another workspace or server?",
        )
    return unexpected(answer)


def unexpected(answer: Answer) -> TransientError:
    """Return the error for an answer that the API's description does not know."""
    return TransientError(f"{answer.url} answered {answer.status}: {' '.join(answer.text.split())[:300]}")
