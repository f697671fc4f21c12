"""Sources, destinations and connections through Airbyte's configuration API: that of 0.40, and today's.

A source or destination is written whole: what the server gave is sent back with our changes over it, for a mask that
comes back leaves the secret as it is. A connection is patched; one whose streams change gets the schemas that its
source has, never those that a file or the connection itself had before.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from airflow_elt_provider.errors import AnswerLostError, ConfigurationError
from airflow_elt_provider.remotes.airbyte_jobs import START_SECONDS
from airflow_elt_provider.remotes.config_as_code.airbyte.api import (
    ActorKind,
    Found,
    Kind,
    SourceStreams,
    connector_of,
)
from airflow_elt_provider.remotes.config_as_code.airbyte.catalog import laid_over, missing_streams
from airflow_elt_provider.remotes.config_as_code.airbyte.config_calls import Calls, discovered
from airflow_elt_provider.remotes.config_as_code.airbyte.config_operations import configuration_of, operations_of, same
from airflow_elt_provider.remotes.config_as_code.airbyte.config_words import (
    actor_configuration,
    connection_body,
    objections,
    read_connection,
    secret_parts,
)
from airflow_elt_provider.remotes.config_as_code.airbyte.streams import source_streams
from airflow_elt_provider.remotes.config_as_code.model import Values
from airflow_elt_provider.remotes.config_as_code.secret_values import marked
from airflow_elt_provider.remotes.flow import Flow, JsonObject, Together, readable
from airflow_elt_provider.remotes.session import Session

_AT_ONCE: Final = 32


class ConfigObjects:
    """The objects of one server."""

    def __init__(self, session: Session) -> None:
        self._calls = Calls(session)
        self._old: bool | None = None
        self._definitions: dict[tuple[str, str], dict[str, str]] = {}
        self._workspaces: dict[str, str] = {}
        """Of sources, destinations and connections, by their ids: 0.40 does not tell that of a connection."""
        self._organization = ""

    # --- workspaces and definitions ---

    def workspaces(self) -> Flow[Mapping[str, str]]:
        """Return names by id."""
        found = yield from self._calls.post("workspaces/list", {})
        if self._old is None:
            self._old = not (yield from self._calls.has("connections/status", {"connectionIds": []}))
        for one in found["workspaces"]:
            self._organization = str(one.get("organizationId") or self._organization)
        return {str(one["workspaceId"]): str(one["name"]) for one in found["workspaces"]}

    def create_workspace(self, name: str) -> Flow[str]:
        """Make one, in the organization of the others where there is such a thing."""
        body = {"name": name, **({"organizationId": self._organization} if self._organization else {})}
        made = yield from self._calls.post("workspaces/create", body, repr(name))
        return str(made["workspaceId"])

    def definitions(self, kind: ActorKind, workspace_id: str) -> Flow[Mapping[str, str]]:
        """Return connectors by their definitions."""
        known = self._definitions.get((kind, workspace_id))
        if known is None:
            path, body = f"{kind}_definitions/list_for_workspace", {"workspaceId": workspace_id}
            found = (yield from self._calls.known(path, body)) or (
                yield from self._calls.post(f"{kind}_definitions/list", {})
            )
            listed = found[f"{kind}Definitions"]
            known = {
                str(one[f"{kind}DefinitionId"]): connector_of(kind, str(one["dockerRepository"])) for one in listed
            }
            self._definitions[kind, workspace_id] = known
        return known

    # --- reading ---

    def listed(self, kind: Kind, workspace_id: str) -> Flow[Sequence[Found]]:
        """Return those of a workspace."""
        found = yield from self._calls.post(f"{kind}s/list", {"workspaceId": workspace_id})
        items: list[JsonObject] = [one for one in found[f"{kind}s"] if one.get("status") != "deprecated"]
        self._workspaces |= {str(one[f"{kind}Id"]): workspace_id for one in items}
        if kind != "connection":
            yield from self.definitions(kind, workspace_id)
        read: list[Found] = []
        while batch := items[len(read) : len(read) + _AT_ONCE]:
            read += yield Together(
                [readable(self._read(kind, one, workspace_id), f"Airbyte's {kind} {one['name']!r}") for one in batch]
            )
        return read

    def get(self, kind: Kind, id_: str) -> Flow[Found | None]:
        """Return one."""
        item = yield from self._raw(kind, id_)
        if item is None:
            return None
        found = yield from self._read(kind, item, (yield from self._workspace(kind, item)))
        catalog = item.get("syncCatalog")
        return replace(found, copied=source_streams(catalog).locked) if catalog else found

    def discovered(self, source_id: str, destination_id: str, *, fresh: bool) -> Flow[SourceStreams]:  # noqa: ARG002 - the public API wants it
        """Return the streams of a source."""
        found = yield from discovered(self._calls, source_id, fresh=fresh)
        return source_streams(found["catalog"])

    def objections(self, kind: Kind, values: Values) -> Sequence[str]:
        """Return what this API cannot write."""
        return objections(values, old=bool(self._old)) if kind == "connection" else ()

    def _raw(self, kind: Kind, id_: str) -> Flow[JsonObject | None]:
        item = yield from self._calls.find(f"{kind}s/get", {f"{kind}Id": id_})
        return None if item is None or item.get("status") == "deprecated" else item

    def _workspace(self, kind: Kind, item: JsonObject) -> Flow[str]:
        id_ = str(item[f"{kind}Id"])
        if id_ not in self._workspaces:
            told = item.get("workspaceId")
            if not told:
                source = yield from self._calls.post("sources/get", {"sourceId": item["sourceId"]})
                told = source["workspaceId"]
            self._workspaces[id_] = str(told)
        return self._workspaces[id_]

    def _read(self, kind: Kind, item: JsonObject, workspace_id: str) -> Flow[Found]:
        id_ = str(item[f"{kind}Id"])
        if kind == "connection":
            values = read_connection(item)
            operations = yield from self._operations(id_, item)
            values |= {"operations": operations_of(operations)} if operations else {}
        else:
            definition = str(item[f"{kind}DefinitionId"])
            connector = yield from self._connector(kind, workspace_id, definition)
            given = marked(item.get("connectionConfiguration") or {})
            values = {"connector": connector, "definition": definition, "configuration": given}
        return Found(id_, kind, workspace_id, str(item.get("name") or ""), values)

    def _connector(self, kind: ActorKind, workspace_id: str, definition: str) -> Flow[str]:
        """Return the short name of a connector, also of one that lists no longer have."""
        known = dict((yield from self.definitions(kind, workspace_id)))
        if definition not in known:
            body = {f"{kind}DefinitionId": definition}
            found = yield from self._calls.post(f"{kind}_definitions/get", body)
            known[definition] = connector_of(kind, str(found["dockerRepository"]))
            self._definitions[kind, workspace_id] = known
        return known[definition]

    def _operations(self, connection_id: str, item: JsonObject) -> Flow[list[JsonObject]]:
        if not item.get("operationIds"):
            return []
        found = yield from self._calls.post("operations/list", {"connectionId": connection_id})
        return list(found["operations"])

    # --- writing ---

    def create(self, kind: Kind, workspace_id: str, name: str, values: Values) -> Flow[str]:
        """Make one."""
        body: JsonObject = {"name": name}
        if kind == "connection":
            patch = yield from self._patch({}, values, values.keys(), workspace_id)
            body |= {"sourceId": values["source"], "destinationId": values["destination"], **patch}
            body["status"] = "inactive"
        else:
            settings = actor_configuration(values.get("configuration") or {}, {})
            body |= {f"{kind}DefinitionId": values["definition"], "connectionConfiguration": settings}
            body["workspaceId"] = workspace_id
        made = yield from self._calls.post(f"{kind}s/create", body, repr(name), given=[values, secret_parts(body)])
        id_ = str(made[f"{kind}Id"])
        self._workspaces[id_] = workspace_id
        return id_

    def update(self, kind: Kind, id_: str, values: Values, fields: Collection[str]) -> Flow[None]:
        """Change one."""
        present = yield from self._raw(kind, id_)
        if present is None:
            raise ConfigurationError(f"Airbyte has no {kind} {id_!r} any more.", hint="make a new plan")
        body: JsonObject = {f"{kind}Id": id_}
        if kind == "connection":
            workspace = yield from self._workspace(kind, present)
            body |= yield from self._patch(present, values, fields, workspace)
        elif "configuration" in fields:
            whole = actor_configuration(values["configuration"], present.get("connectionConfiguration") or {})
            body |= {"name": present["name"], "connectionConfiguration": whole}
        if len(body) > 1:
            given = [values, secret_parts(body)]
            yield from self._calls.post(f"{kind}s/update", body, repr(present.get("name")), given=given)

    def delete(self, kind: Kind, id_: str) -> Flow[None]:
        """Delete one."""
        yield from self._calls.delete(f"{kind}s/delete", {f"{kind}Id": id_})

    def reset(self, connection_id: str) -> Flow[None]:
        """Reset all streams of one."""
        present = yield from self._raw("connection", connection_id)
        if present is None or present.get("status") != "active":
            raise ConfigurationError(
                f"Connection {connection_id!r} is not active: its data cannot be reset.", hint="activate it first"
            )
        body = {"connectionId": connection_id}
        last = yield from self._last_reset(connection_id)
        try:
            yield from self._calls.post("connections/reset", body, repr(present.get("name")), timeout=START_SECONDS)
        except AnswerLostError:
            if (yield from self._last_reset(connection_id)) == last:
                raise

    def _last_reset(self, connection_id: str) -> Flow[int]:
        """Return the id of the newest job that resets a connection; 0: there is none."""
        page = {"pageSize": 1, "rowOffset": 0}
        body = {"configTypes": ["reset_connection"], "configId": connection_id, "pagination": page}
        found = yield from self._calls.post("jobs/list", body)
        return max((int(one["job"]["id"]) for one in found["jobs"]), default=0)

    def _patch(self, present: JsonObject, values: Values, fields: Collection[str], workspace_id: str) -> Flow[Any]:
        """Return what is sent of a connection; everything that can be refused is, before something is written.

        :param present: the connection as it is, empty for one that is to be made.
        """
        wanted = {name: values[name] for name in fields if name in values}
        body = connection_body(wanted)
        if "streams" in wanted:
            source = str(present.get("sourceId") or values["source"])
            body |= yield from self._catalog(source, wanted["streams"], present.get("syncCatalog") or {})
        if "operations" in wanted:
            body["operationIds"] = yield from self._operation_ids(wanted["operations"] or [], present, workspace_id)
        return body

    def _catalog(self, source_id: str, wanted: Mapping[str, Any], present: JsonObject) -> Flow[JsonObject]:
        """Return the catalogue that a connection gets; the server's memory of the source may be too old for it."""
        found = yield from discovered(self._calls, source_id, fresh=False)
        if missing_streams(wanted, found["catalog"]):
            found = yield from discovered(self._calls, source_id, fresh=True)
        body = {"syncCatalog": laid_over(wanted, found["catalog"], present)}
        return {**body, "sourceCatalogId": found["catalogId"]} if found.get("catalogId") else body

    def _operation_ids(self, wanted: Sequence[JsonObject], present: JsonObject, workspace_id: str) -> Flow[list[str]]:
        """Return the ids of operations: those that the connection has, or new ones.

        None is changed or deleted: another connection may have it too.
        """
        connection_id = str(present.get("connectionId") or "")
        there = (yield from self._operations(connection_id, present)) if connection_id else []
        named = {str(one["name"]): one for one in there}
        ids: list[str] = []
        for one in wanted:
            old = named.get(str(one["name"]))
            configuration = configuration_of(one, old and old["operatorConfiguration"])
            if old is None or not same(old["operatorConfiguration"], configuration):
                body = {"workspaceId": workspace_id, "name": one["name"], "operatorConfiguration": configuration}
                given = [one, secret_parts(body)]
                old = yield from self._calls.post("operations/create", body, repr(one["name"]), given=given)
            ids.append(str(old["operationId"]))
        return ids
