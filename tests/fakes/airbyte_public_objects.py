"""The public API's calls about workspaces, connectors, sources, destinations and connections."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any
from urllib.parse import urlencode

from aiohttp import web

from tests.fakes.airbyte_connectors import Connector, Role
from tests.fakes.airbyte_objects import CONNECTION_WORDS, Actor, Connection, UnknownIdError
from tests.fakes.airbyte_public_reading import (
    ProblemError,
    bad_request,
    connection_settings,
    page_limits,
    read_json,
    read_uuid,
    several,
    word,
)
from tests.fakes.airbyte_public_shapes import (
    actor_body,
    connection_body,
    definition_body,
    properties,
    workspace_body,
)
from tests.fakes.airbyte_public_streams import select, select_all
from tests.fakes.airbyte_state import AirbyteState
from tests.fakes.http_fake import answer

Call = Callable[[web.Request, bytes], web.Response]
Show = Callable[[Any], dict[str, Any]]
ELSEWHERE = "https://airbyte.internal.example/api/public/v1"


class PublicObjects:
    """What can be configured.

    Facts of the real server that are kept: a connection that is made without a status is active at once; a connector
    that is not Airbyte's own has no `sourceType`, and none is in the configuration that is shown; schedules other than
    cron in UTC and manual are shown, but not taken; stopping to sync a stream deletes none of its data.
    """

    def __init__(self, state: AirbyteState) -> None:
        """Serve this state."""
        self._state = state
        self._catalogue = state.catalogue

    def calls(self) -> Iterable[tuple[str, str, Call]]:
        """Return method, path and function of everything that is served."""
        known = self._catalogue
        return [
            ("GET", "/connections", self._lister(known.connections, connection_body)),
            ("POST", "/connections", self._create_connection),
            ("GET", "/connections/{id}", self._getter(known.connection, connection_body)),
            ("PATCH", "/connections/{id}", self._change_connection),
            ("DELETE", "/connections/{id}", self._delete_connection),
            ("GET", "/streams", self._streams),
            *self._actor_calls("source", known.sources),
            *self._actor_calls("destination", known.destinations),
            ("GET", "/workspaces", self._lister(known.workspaces, workspace_body)),
            ("POST", "/workspaces", self._create_workspace),
            ("GET", "/workspaces/{id}", self._getter(known.workspace, workspace_body)),
            ("PATCH", "/workspaces/{id}", self._change_workspace),
            ("GET", "/workspaces/{id}/definitions/sources", partial(self._definitions, "source")),
            ("GET", "/workspaces/{id}/definitions/destinations", partial(self._definitions, "destination")),
        ]

    def _actor_calls(self, role: Role, things: Mapping[str, Any]) -> Iterable[tuple[str, str, Call]]:
        path = f"/{role}s"
        return [
            ("GET", path, self._lister(things, self._shown)),
            ("POST", path, partial(self._create_actor, role)),
            ("GET", path + "/{id}", self._getter(partial(self._catalogue.actor, role), self._shown)),
            ("PATCH", path + "/{id}", partial(self._change_actor, role)),
            ("PUT", path + "/{id}", partial(self._change_actor, role)),
            ("DELETE", path + "/{id}", partial(self._delete_actor, role)),
        ]

    # --- reading ---

    def _shown(self, actor: Actor) -> dict[str, Any]:
        return actor_body(actor, typed=self._state.typed_configurations)

    def _lister(self, things: Mapping[str, Any], show: Show) -> Call:
        def call(request: web.Request, _body: bytes) -> web.Response:
            workspaces, deleted = several(request, "workspaceIds"), request.query.get("includeDeleted") == "true"
            found = [
                thing
                for thing in things.values()
                if (not workspaces or _workspace(thing) in workspaces) and (deleted or _there(thing))
            ]
            return page(request, found, show)

        return call

    def _getter(self, find: Callable[[str], Any], show: Show) -> Call:
        return lambda request, _body: answer(show(find(_id(request))))

    def _streams(self, request: web.Request, _body: bytes) -> web.Response:
        source = self._catalogue.source(read_uuid(request.query.get("sourceId"), "sourceId"))
        fresh = request.query.get("ignoreCache", "false").lower() == "true"
        return answer([properties(stream) for stream in source.discover(fresh=fresh)])

    def _definitions(self, role: Role, request: web.Request, _body: bytes) -> web.Response:
        self._catalogue.workspace(_id(request))
        return answer({"data": [definition_body(connector) for connector in self._catalogue.connectors.of(role)]})

    # --- workspaces ---

    def _create_workspace(self, _request: web.Request, body: bytes) -> web.Response:
        identifier = self._catalogue.add_workspace(_name(read_json(body)))
        self._state.note("POST /workspaces", identifier)
        return answer(workspace_body(self._catalogue.workspace(identifier)))

    def _change_workspace(self, request: web.Request, body: bytes) -> web.Response:
        workspace = self._catalogue.workspace(_id(request))
        workspace.name = read_json(body).get("name") or workspace.name
        self._state.note("PATCH /workspaces", workspace.id)
        return answer(workspace_body(workspace))

    # --- sources and destinations ---

    def _create_actor(self, role: Role, _request: web.Request, body: bytes) -> web.Response:
        asked = read_json(body)
        workspace = self._catalogue.workspace(read_uuid(asked.get("workspaceId"), "workspaceId"))
        connector, given = self._connector(role, asked), _configuration(role, asked)
        _complete(connector, given)
        actor = self._state.create_actor(connector, workspace.id, _name(asked), given)
        self._state.note(f"POST /{role}s", actor.id)
        return answer(self._shown(actor))

    def _connector(self, role: Role, asked: Mapping[str, Any]) -> Connector:
        if asked.get("definitionId"):
            definition = read_uuid(asked["definitionId"], "definitionId")
            known = self._catalogue.connectors.defined(role, definition)
            if known is None:
                raise UnknownIdError(f"{role}_definition", definition)
            return known
        name = (asked.get("configuration") or {}).get(f"{role}Type")
        found = self._catalogue.connectors.named(role, str(name))
        if found is None or found.custom:
            raise bad_request(f"One of configuration.{role}Type or definitionId must be provided; got {name}.")
        return found

    def _change_actor(self, role: Role, request: web.Request, body: bytes) -> web.Response:
        """PATCH changes what is given, PUT replaces the whole."""
        asked, actor = read_json(body), self._catalogue.actor(role, _id(request))
        whole = request.method == "PUT"
        name = _name(asked) if whole else asked.get("name")
        given = _configuration(role, asked) if whole or asked.get("configuration") is not None else None
        if whole and given is not None:
            _complete(actor.connector, given)
        self._state.change_actor(actor, name, given, partly=not whole)
        self._state.note(f"{request.method} /{role}s", actor.id)
        return answer(self._shown(actor))

    def _delete_actor(self, role: Role, request: web.Request, _body: bytes) -> web.Response:
        actor = self._catalogue.actor(role, _id(request))
        self._state.delete_actor(actor)
        self._state.note(f"DELETE /{role}s", actor.id)
        return web.Response(status=204)

    # --- connections ---

    def _create_connection(self, _request: web.Request, body: bytes) -> web.Response:
        asked = read_json(body)
        source = self._catalogue.source(read_uuid(asked.get("sourceId"), "sourceId"))
        destination = self._catalogue.destination(read_uuid(asked.get("destinationId"), "destinationId"))
        if source.workspace_id != destination.workspace_id:
            raise bad_request("The source and destination must be in the same workspace")
        settings, status = connection_settings(asked), asked.get("status") or "active"
        word(status, CONNECTION_WORDS, "status")
        draft = Connection("", "", "", "", "", [], status, 0)
        chosen = (asked.get("configurations") or {}).get("streams")
        known = source.discover(fresh=False)
        if chosen:
            select(draft, known, chosen)
        else:
            select_all(draft, known)
        connection = self._state.create_connection(asked.get("name"), source, destination, status)
        connection.streams, connection.selections, connection.settings = draft.streams, draft.selections, settings
        self._state.note("POST /connections", connection.id)
        return answer(connection_body(connection))

    def _change_connection(self, request: web.Request, body: bytes) -> web.Response:
        asked, connection = read_json(body), self._state.connection(_id(request))
        settings, status = connection_settings(asked), asked.get("status") or connection.status
        word(status, CONNECTION_WORDS, "status")
        chosen = (asked.get("configurations") or {}).get("streams")
        if chosen:
            select(connection, self._catalogue.source(connection.source_id).discover(fresh=False), chosen)
        connection.name, connection.status = asked.get("name") or connection.name, status
        connection.settings |= settings
        self._state.note("PATCH /connections", connection.id)
        return answer(connection_body(connection))

    def _delete_connection(self, request: web.Request, _body: bytes) -> web.Response:
        connection = self._state.connection(_id(request))
        self._state.delete_connection(connection)
        self._state.note("DELETE /connections", connection.id)
        return web.Response(status=204)


def page(request: web.Request, found: Sequence[Any], show: Show) -> web.Response:
    """Answer a page of a list: `next` names another host, and is there whenever the page is full."""
    limit, offset = page_limits(request)
    return answer(paged([show(one) for one in found[offset : offset + limit]], request, limit, offset))


def paged(data: Sequence[Any], request: web.Request, limit: int, offset: int) -> dict[str, Any]:
    """Return one page with the addresses of the next one and the one before."""
    following = _elsewhere(request, limit, offset + limit) if len(data) == limit else ""
    before = _elsewhere(request, limit, max(0, offset - limit)) if offset else ""
    return {"previous": before, "next": following, "data": data}


def _elsewhere(request: web.Request, limit: int, offset: int) -> str:
    kept = [(name, value) for name, value in request.query.items() if name not in {"limit", "offset"}]
    path = request.path.rpartition("/")[2]
    return f"{ELSEWHERE}/{path}?{urlencode([*kept, ('limit', limit), ('offset', offset)])}"


def _id(request: web.Request) -> str:
    return read_uuid(request.match_info["id"], "id")


def _workspace(thing: Any) -> str:
    return str(getattr(thing, "workspace_id", thing.id))


def _there(thing: Any) -> bool:
    return getattr(thing, "status", "") != "deprecated"


def _name(asked: Mapping[str, Any]) -> str:
    name = asked.get("name")
    if not isinstance(name, str) or not name:
        raise bad_request("name must not be null")
    return name


def _configuration(role: Role, asked: Mapping[str, Any]) -> dict[str, Any]:
    given = asked.get("configuration")
    if not isinstance(given, Mapping):
        raise bad_request("configuration must be an object")
    return {name: value for name, value in given.items() if name != f"{role}Type"}


def _complete(connector: Connector, given: Mapping[str, Any]) -> None:
    if missing := connector.missing(given):
        text = f"The provided configuration does not fulfill the specification. Errors: $.{missing[0]}: is missing"
        raise ProblemError(422, "unprocessable-entity", "The body of the request was not understood", {"message": text})
