"""The public API of the fake Airbyte, under /api/public/v1: its jobs, and how it refuses."""

from __future__ import annotations

from collections.abc import Iterable

from aiohttp import web

from tests.fakes.airbyte_jobs import Job, Query
from tests.fakes.airbyte_objects import DiscoveryFailedError, UnknownIdError
from tests.fakes.airbyte_public_objects import Call, PublicObjects, paged
from tests.fakes.airbyte_public_reading import (
    ProblemError,
    bad_request,
    conflict,
    kinds,
    moment,
    ordering,
    page_limits,
    read_json,
    read_uuid,
    several,
    word,
)
from tests.fakes.airbyte_public_shapes import job_body
from tests.fakes.airbyte_state import AirbyteState, AlreadyRunningError, NotActiveError, NotRunningError
from tests.fakes.http_fake import answer

STATUSES = frozenset({"pending", "queued", "running", "incomplete", "failed", "succeeded", "cancelled"})
KINDS = frozenset({"sync", "reset", "refresh", "clear"})


class PublicApi:
    """The public API.

    Traps of the real server that are kept: `next` names another host and is there whenever a page is full, even if
    nothing follows; times are shown in whole seconds but filtered in full; DELETE cancels what runs on the job's
    connection, not the job. More lenient: a cancelled job is cancelled at once.
    """

    def __init__(self, state: AirbyteState) -> None:
        """Serve this state."""
        self._state = state
        self._objects = PublicObjects(state)

    def calls(self) -> Iterable[tuple[str, str, Call]]:
        """Return method, path and function of everything that is served."""
        return [
            ("GET", "/health", lambda _request, _body: answer("Successful operation")),
            ("POST", "/jobs", self._create_job),
            ("GET", "/jobs", self._list_jobs),
            ("GET", "/jobs/{id}", lambda request, _body: answer(job_body(self._job(request)))),
            ("DELETE", "/jobs/{id}", self._cancel_job),
            *self._objects.calls(),
        ]

    def answered(self, call: Call, request: web.Request, body: bytes) -> web.Response:
        """Answer a call, or refuse it in this API's shape."""
        try:
            return call(request, body)
        except ProblemError as problem:
            return problem.response()
        except DiscoveryFailedError as error:
            data = {"message": f"Something went wrong in the connector. logs:{error}"}
            return ProblemError(500, "unexpected-problem", "An unexpected problem has occurred.", data).response()
        except UnknownIdError as error:
            data = {"resourceType": error.kind, "resourceId": error.id}
            text = "The requested resource could not be found."
            return ProblemError(404, "resource-not-found", text, data).response()

    # --- jobs ---

    def _create_job(self, _request: web.Request, body: bytes) -> web.Response:
        asked = read_json(body)
        kind, connection_id = asked.get("jobType"), read_uuid(asked.get("connectionId"), "connectionId")
        if kind not in KINDS:
            raise bad_request(f"jobType must be one of {sorted(KINDS)}")
        if kind == "refresh":
            text = "Refreshes are not supported in the public API"
            raise ProblemError(
                422, "unprocessable-entity", "The body of the request was not understood", {"message": text}
            )
        try:
            job_id = self._state.begin(connection_id, "sync" if kind == "sync" else "reset", by_api=True)
        except AlreadyRunningError:
            data = {"message": f"A sync is already running for: {connection_id}"}
            raise ProblemError(409, "try-again-later", "Please try again later.", data) from None
        except NotActiveError:
            raise conflict("Could not fulfill request") from None
        return answer(job_body(self._state.jobs[job_id]))

    def _job(self, request: web.Request) -> Job:
        try:
            return self._state.job(int(request.match_info["id"]))
        except ValueError:
            raise bad_request("jobId must be a number") from None

    def _cancel_job(self, request: web.Request, _body: bytes) -> web.Response:
        job = self._job(request)
        try:
            self._state.cancel_for_api(job.id)
        except NotRunningError:
            raise conflict("Job is not currently running") from None
        return answer(job_body(job))

    def _list_jobs(self, request: web.Request, _body: bytes) -> web.Response:
        query = self._query(request)
        return answer(paged([job_body(job) for job in self._state.page(query)], request, query.limit, query.offset))

    def _query(self, request: web.Request) -> Query:
        asked, (limit, offset) = request.query, page_limits(request)
        by_update, descending = ordering(asked.get("orderBy"))
        workspaces = several(request, "workspaceIds")
        every = workspaces >= self._state.catalogue.workspaces.keys()
        connection = asked.get("connectionId")
        return Query(
            connections=frozenset({read_uuid(connection, "connectionId")} if connection else ()),
            workspaces=frozenset() if every else workspaces,
            statuses=word(asked.get("status"), STATUSES, "status"),
            kinds=kinds(word(asked.get("jobType"), KINDS, "jobType")),
            created_from=moment(asked, "createdAtStart"),
            created_to=moment(asked, "createdAtEnd"),
            updated_from=moment(asked, "updatedAtStart"),
            updated_to=moment(asked, "updatedAtEnd"),
            by_update=by_update,
            descending=descending,
            limit=limit,
            offset=offset,
        )
