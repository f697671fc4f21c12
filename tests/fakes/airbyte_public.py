"""The public API of the fake Airbyte, under /api/public/v1."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from aiohttp import web

from tests.fakes.airbyte_jobs import Job, Query
from tests.fakes.airbyte_objects import CONNECTION_WORDS, Connection, Stream, UnknownIdError
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
from tests.fakes.airbyte_public_shapes import (
    connection_body,
    destination_body,
    job_body,
    properties,
    source_body,
    workspace_body,
)
from tests.fakes.airbyte_state import AirbyteState, AlreadyRunningError, NotActiveError, NotRunningError
from tests.fakes.http_fake import answer

Call = Callable[[web.Request, bytes], web.Response]
ELSEWHERE = "https://airbyte.internal.example/api/public/v1"
STATUSES = frozenset({"pending", "queued", "running", "incomplete", "failed", "succeeded", "cancelled"})
KINDS = frozenset({"sync", "reset", "refresh", "clear"})
CHANGEABLE = (
    "namespaceDefinition", "namespaceFormat", "nonBreakingSchemaUpdatesBehavior", "prefix", "schedule", "tags",
)  # fmt: skip


class PublicApi:
    """The public API.

    Traps of the real server that are kept: `next` names another host and is there whenever a page is full, even if
    nothing follows; times are shown in whole seconds but filtered in full; DELETE cancels what runs on the job's
    connection, not the job. More lenient: a cancelled job is cancelled at once.
    """

    def __init__(self, state: AirbyteState) -> None:
        """Serve this state."""
        self._state = state

    def calls(self) -> Iterable[tuple[str, str, Call]]:
        """Return method, path and function of everything that is served."""
        catalogue = self._state.catalogue
        return [
            ("GET", "/health", lambda _request, _body: answer("Successful operation")),
            ("POST", "/jobs", self._create_job),
            ("GET", "/jobs", self._list_jobs),
            ("GET", "/jobs/{id}", lambda request, _body: answer(job_body(self._job(request)))),
            ("DELETE", "/jobs/{id}", self._cancel_job),
            ("GET", "/connections", self._lister(catalogue.connections, connection_body)),
            ("GET", "/connections/{id}", self._getter(catalogue.connection, connection_body)),
            ("PATCH", "/connections/{id}", self._change_connection),
            ("GET", "/streams", self._streams),
            ("GET", "/sources", self._lister(catalogue.sources, source_body)),
            ("GET", "/sources/{id}", self._getter(catalogue.source, source_body)),
            ("GET", "/destinations", self._lister(catalogue.destinations, destination_body)),
            ("GET", "/destinations/{id}", self._getter(catalogue.destination, destination_body)),
            ("GET", "/workspaces", self._lister(catalogue.workspaces, workspace_body)),
            ("GET", "/workspaces/{id}", self._getter(catalogue.workspace, workspace_body)),
        ]

    def answered(self, call: Call, request: web.Request, body: bytes) -> web.Response:
        """Answer a call, or refuse it in this API's shape."""
        try:
            return call(request, body)
        except ProblemError as problem:
            return problem.response()
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
        return answer(_page([job_body(job) for job in self._state.page(query)], request, query.limit, query.offset))

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

    # --- objects ---

    def _lister(self, things: Mapping[str, Any], show: Callable[[Any], dict[str, Any]]) -> Call:
        def call(request: web.Request, _body: bytes) -> web.Response:
            limit, offset = page_limits(request)
            workspaces = several(request, "workspaceIds")
            found = [thing for thing in things.values() if not workspaces or _workspace(thing) in workspaces]
            return answer(_page([show(thing) for thing in found[offset : offset + limit]], request, limit, offset))

        return call

    def _getter(self, find: Callable[[str], Any], show: Callable[[Any], dict[str, Any]]) -> Call:
        return lambda request, _body: answer(show(find(read_uuid(request.match_info["id"], "id"))))

    def _change_connection(self, request: web.Request, body: bytes) -> web.Response:
        asked, connection = read_json(body), self._state.connection(read_uuid(request.match_info["id"], "connectionId"))
        status = asked.get("status") or connection.status
        word(status, CONNECTION_WORDS, "status")
        chosen = (asked.get("configurations") or {}).get("streams")
        if chosen is not None:
            self._select(connection, chosen)
        connection.name, connection.status = asked.get("name") or connection.name, status
        connection.settings |= {name: asked[name] for name in CHANGEABLE if name in asked}
        return answer(connection_body(connection))

    def _select(self, connection: Connection, chosen: Sequence[Mapping[str, Any]]) -> None:
        known = {stream.key: stream for stream in self._state.catalogue.source(connection.source_id).cached}
        keys = [_key(stream, known) for stream in chosen]
        connection.streams = [known[key] for key in keys]
        connection.selections = {key: dict(stream) for key, stream in zip(keys, chosen, strict=True)}

    def _streams(self, request: web.Request, _body: bytes) -> web.Response:
        source = self._state.catalogue.source(read_uuid(request.query.get("sourceId"), "sourceId"))
        fresh = request.query.get("ignoreCache", "false").lower() == "true"
        return answer([properties(stream) for stream in source.discover(fresh=fresh)])


def _workspace(thing: Any) -> str:
    return str(getattr(thing, "workspace_id", thing.id))


def _page(data: Sequence[Any], request: web.Request, limit: int, offset: int) -> dict[str, Any]:
    following = _elsewhere(request, limit, offset + limit) if len(data) == limit else ""
    before = _elsewhere(request, limit, max(0, offset - limit)) if offset else ""
    return {"previous": before, "next": following, "data": data}


def _elsewhere(request: web.Request, limit: int, offset: int) -> str:
    kept = [(name, value) for name, value in request.query.items() if name not in {"limit", "offset"}]
    path = request.path.rpartition("/")[2]
    return f"{ELSEWHERE}/{path}?{urlencode([*kept, ('limit', limit), ('offset', offset)])}"


def _key(asked: Mapping[str, Any], known: Mapping[tuple[str | None, str], Stream]) -> tuple[str | None, str]:
    names = [key for key in known if key[1] == asked.get("name") and asked.get("namespace", key[0]) == key[0]]
    if not names:
        raise bad_request(f"Invalid stream found: {asked.get('name')}")
    return names[0]
