"""Sources, destinations and connections through Airbyte's public API.

It writes streams by name and mode; schemas are the server's affair. Of a source's fields it tells the names alone, so
types come from the configuration API of the same server, where that answers (Airbyte Cloud has none).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from airflow_elt_provider.errors import ConfigurationError, EltError, TransientError
from airflow_elt_provider.remotes.airbyte_config import PREFIX as CONFIG_PREFIX
from airflow_elt_provider.remotes.airbyte_config import unexpected
from airflow_elt_provider.remotes.airbyte_jobs import START_SECONDS
from airflow_elt_provider.remotes.config_as_code.airbyte import streams as plain
from airflow_elt_provider.remotes.config_as_code.airbyte.api import (
    ActorKind,
    Found,
    Kind,
    SourceStreams,
    connector_of,
)
from airflow_elt_provider.remotes.config_as_code.airbyte.config_calls import DISCOVERY_SECONDS, read_discovery
from airflow_elt_provider.remotes.config_as_code.airbyte.config_words import secret_parts
from airflow_elt_provider.remotes.config_as_code.airbyte.public_words import (
    actor_configuration,
    connection_body,
    missing_in,
    objections,
    read_connection,
    streams_body,
)
from airflow_elt_provider.remotes.config_as_code.airbyte.refusals import asked, refused
from airflow_elt_provider.remotes.config_as_code.model import Values
from airflow_elt_provider.remotes.config_as_code.schema_lock import UNKNOWN, LockedStream
from airflow_elt_provider.remotes.config_as_code.secret_values import marked
from airflow_elt_provider.remotes.flow import Answer, Flow, JsonObject, Request, readable, segment
from airflow_elt_provider.remotes.session import Session

_PAGE: Final = 100
_OK, _NO_CONTENT, _NOT_FOUND, _NO_METHOD, _CONFLICT = 200, 204, 404, 405, 409
_DONE: Final = frozenset({_OK, 201, _NO_CONTENT})


class PublicObjects:
    """The objects of one server.

    :param prefix: where the API is, below the base URL.
    """

    def __init__(self, session: Session, prefix: str) -> None:
        self._session = session
        self._prefix = prefix
        self._typed = True

    # --- workspaces and definitions ---

    def workspaces(self) -> Flow[Mapping[str, str]]:
        """Return names by id."""
        found = yield from self._all("/workspaces", ())
        return {str(one["workspaceId"]): str(one["name"]) for one in found}

    def create_workspace(self, name: str) -> Flow[str]:
        """Make one."""
        made = yield from self._sent("POST", "/workspaces", {"name": name}, f"workspace {name!r}")
        return str(made["workspaceId"])

    def definitions(self, kind: ActorKind, workspace_id: str) -> Flow[Mapping[str, str]]:
        """Return connectors by their definitions; none, where the server is too old to tell or tells only its owner."""
        path = f"{self._prefix}/workspaces/{segment(workspace_id)}/definitions/{kind}s"
        answer = yield from self._session.attempt(Request("GET", path))
        if isinstance(answer, TransientError):
            raise answer
        if isinstance(answer, EltError) or answer.status != _OK:
            return {}
        return {str(one["id"]): connector_of(kind, str(one["dockerRepository"])) for one in answer.listed("data")}

    # --- objects ---

    def listed(self, kind: Kind, workspace_id: str) -> Flow[Sequence[Found]]:
        """Return those of a workspace."""
        items = yield from self._all(f"/{kind}s", [("workspaceIds", workspace_id)])
        kept = {str(one[f"{kind}Id"]): one for one in items if one.get("status") != "deprecated"}
        connectors = yield from self._nameless(kind, workspace_id, list(kept.values()))
        read: list[Found] = []
        for item in kept.values():
            flow = _reading(kind, item, connectors)
            read += yield from readable(flow, f"Airbyte's {kind} {item['name']!r}")
        return read

    def get(self, kind: Kind, id_: str) -> Flow[Found | None]:
        """Return one."""
        item = yield from self._raw(kind, id_)
        if item is None:
            return None
        return _read(kind, item, (yield from self._nameless(kind, str(item["workspaceId"]), [item])))

    def create(self, kind: Kind, workspace_id: str, name: str, values: Values) -> Flow[str]:
        """Make one."""
        body: JsonObject = {"name": name}
        if kind == "connection":
            streams = yield from self._streams(values, [])
            body |= {"sourceId": values["source"], "destinationId": values["destination"], **connection_body(values)}
            body |= {"status": "inactive", "configurations": {"streams": streams}}
        else:
            settings = {f"{kind}Type": values["connector"], **actor_configuration(values["configuration"], None)}
            body |= {"workspaceId": workspace_id, "configuration": settings}
            body |= {"definitionId": values["definition"]} if values.get("definition") else {}
        made = yield from self._sent("POST", f"/{kind}s", body, f"{kind} {name!r}", values)
        return str(made[f"{kind}Id"])

    def update(self, kind: Kind, id_: str, values: Values, fields: Collection[str]) -> Flow[None]:
        """Change one."""
        present = yield from self._raw(kind, id_)
        if present is None:
            raise ConfigurationError(f"Airbyte has no {kind} {id_!r} any more.", hint="make a new plan")
        if kind == "connection":
            body = connection_body({name: values[name] for name in fields if name in values})
            if "streams" in fields:
                ends = {"source": present["sourceId"], "destination": present["destinationId"]}
                streams = yield from self._streams({**values, **ends}, present["configurations"]["streams"])
                body["configurations"] = {"streams": streams}
        else:
            body = {"configuration": actor_configuration(values["configuration"], present["configuration"])}
        held = [values, secret_parts(present)]  # of some connectors the server shows them: it may repeat its own
        yield from self._sent("PATCH", f"/{kind}s/{segment(id_)}", body, f"{kind} {present.get('name')!r}", held)

    def delete(self, kind: Kind, id_: str) -> Flow[None]:
        """Delete one."""
        answer = yield from self._session.ask(Request("DELETE", f"{self._prefix}/{kind}s/{segment(id_)}"))
        if answer.status not in _DONE | {_NOT_FOUND}:
            raise refused(f"to delete {kind} {id_!r}", answer)

    def reset(self, connection_id: str) -> Flow[None]:
        """Reset all streams of one."""
        body = {"connectionId": connection_id, "jobType": "reset"}
        answer = yield from self._session.ask(Request("POST", f"{self._prefix}/jobs", body=body, timeout=START_SECONDS))
        if answer.status == _CONFLICT and "already running" in answer.text:
            raise TransientError(f"A job runs on connection {connection_id!r}: it cannot be reset now.")
        if answer.status not in _DONE:
            raise refused(f"to reset connection {connection_id!r}", answer, hint="is it active?")

    def objections(self, kind: Kind, values: Values) -> Sequence[str]:
        """Return what this API cannot write."""
        return objections(values) if kind == "connection" else ()

    # --- what a source has ---

    def discovered(self, source_id: str, destination_id: str, *, fresh: bool) -> Flow[SourceStreams]:
        """Return the streams of a source: with types, where the configuration API answers."""
        if self._typed:
            found = yield from self._discovered_with_types(source_id, fresh=fresh)
            if found:
                return found
        return (yield from self._discovered_by_name(source_id, destination_id, fresh=fresh))

    def _discovered_with_types(self, source_id: str, *, fresh: bool) -> Flow[SourceStreams | None]:
        body = {"sourceId": source_id, "disable_cache": fresh}
        path = f"{CONFIG_PREFIX}/sources/discover_schema"
        answer = yield from self._session.attempt(Request("POST", path, body=body, timeout=DISCOVERY_SECONDS))
        if isinstance(answer, TransientError):
            raise answer
        if isinstance(answer, EltError) or _is_another_api(answer):
            self._typed = False
            return None
        if answer.status != _OK:
            raise _undiscovered(source_id, answer)
        return plain.source_streams(read_discovery(answer.json(), source_id)["catalog"])

    def _discovered_by_name(self, source_id: str, destination_id: str, *, fresh: bool) -> Flow[SourceStreams]:
        query = [("sourceId", source_id), *([("destinationId", destination_id)] if destination_id else []),
                 ("ignoreCache", "true" if fresh else "false")]  # fmt: skip
        answer = yield from self._session.ask(
            Request("GET", f"{self._prefix}/streams", query, timeout=DISCOVERY_SECONDS)
        )
        if answer.status != _OK:
            raise _undiscovered(source_id, answer)
        items = answer.json()
        named = {plain.stream_name(one.get("streamnamespace"), one["streamName"]): one for one in items}
        return SourceStreams(
            {name: _locked(one) for name, one in named.items()},
            {name: list(one.get("syncModes") or ()) for name, one in named.items()},
        )

    def _streams(self, values: Values, present: Sequence[Mapping[str, Any]]) -> Flow[list[JsonObject]]:
        """Return the selection as it is sent; the server's memory of the source may be too old for it."""
        wanted = values["streams"]
        if not wanted:
            raise ConfigurationError(objections({"streams": wanted})[0])
        for fresh in (False, True):
            found = yield from self.discovered(values["source"], values["destination"], fresh=fresh)
            problems = missing_in(wanted, found)
            if not problems:
                return streams_body(wanted, found, present)
        raise ConfigurationError(
            f"The connection cannot be synced so: {'; '.join(problems)}.",
            hint="correct the name, take it out of the file, or let the source's user read it",
        )

    # --- requests ---

    def _nameless(self, kind: Kind, workspace_id: str, items: Sequence[JsonObject]) -> Flow[Mapping[str, str]]:
        """Return the connectors by definition, where one of these objects does not tell its own: a custom one."""
        if kind == "connection" or all(item.get(f"{kind}Type") for item in items):
            return {}
        return (yield from self.definitions(kind, workspace_id))

    def _raw(self, kind: Kind, id_: str) -> Flow[JsonObject | None]:
        answer = yield from self._session.ask(Request("GET", f"{self._prefix}/{kind}s/{segment(id_)}"))
        if answer.status == _NOT_FOUND:
            return None
        if answer.status != _OK:
            raise unexpected(answer)
        value: JsonObject = answer.json()
        return None if value.get("status") == "deprecated" else value

    def _all(self, path: str, query: Sequence[tuple[str, str]]) -> Flow[list[JsonObject]]:
        """Return all pages: by offset, for ``next`` names whatever host the server takes itself for.

        A page that is not full is the last, unless the server says that another follows: it may allow less at once.
        """
        found: list[JsonObject] = []
        while True:
            page = [*query, ("limit", str(_PAGE)), ("offset", str(len(found)))]
            answer = yield from self._session.ask(Request("GET", self._prefix + path, page))
            if answer.status != _OK:
                raise unexpected(answer)
            items = answer.listed("data")
            found += items
            if not items or (len(items) < _PAGE and not answer.json().get("next")):
                return found

    def _sent(self, method: str, path: str, body: JsonObject, what: str, held: Any = None) -> Flow[JsonObject]:
        # a connection that is written makes the server look at its source
        timeout = DISCOVERY_SECONDS if path.startswith("/connections") else None
        request = Request(method, self._prefix + path, body=body, timeout=timeout)
        answer = yield from asked(self._session, request, held)
        if answer.status not in _DONE:
            raise refused(what, answer)
        value: JsonObject = answer.json()
        return value


def _reading(kind: Kind, item: Mapping[str, Any], connectors: Mapping[str, str]) -> Flow[list[Found]]:
    yield from ()
    return [_read(kind, item, connectors)]


def _read(kind: Kind, item: Mapping[str, Any], connectors: Mapping[str, str]) -> Found:
    id_, workspace, name = str(item[f"{kind}Id"]), str(item["workspaceId"]), str(item["name"])
    if kind == "connection":
        return Found(id_, kind, workspace, name, read_connection(item))
    definition = str(item.get("definitionId") or "")
    values = {
        "connector": item.get(f"{kind}Type") or connectors.get(definition),
        "definition": definition,
        "configuration": marked({key: one for key, one in item["configuration"].items() if key != f"{kind}Type"}),
    }
    return Found(id_, kind, workspace, name, {key: one for key, one in values.items() if one not in (None, "")})


def _locked(one: Mapping[str, Any]) -> LockedStream:
    columns = {str(path[0]): UNKNOWN for path in one.get("propertyFields") or () if path}
    return plain.locked_stream(columns, one.get("sourceDefinedPrimaryKey"), one.get("defaultCursorField"))


def _is_another_api(answer: Answer) -> bool:
    """Whether the configuration API is not there; what it says itself of a source that is gone has this name in it."""
    return not answer.is_json or (answer.status in {_NOT_FOUND, _NO_METHOD} and "exceptionClassName" not in answer.text)


def _undiscovered(source_id: str, answer: Answer) -> EltError:
    return refused(f"to discover source {source_id!r}", answer, hint="test the source in the web UI")
