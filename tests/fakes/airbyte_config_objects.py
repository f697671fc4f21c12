"""The configuration API's calls about workspaces, connectors and what a source has."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from tests.fakes.airbyte_catalog import catalog, difference
from tests.fakes.airbyte_config_shapes import needed, text
from tests.fakes.airbyte_connectors import Connector, Role
from tests.fakes.airbyte_jobs import failure
from tests.fakes.airbyte_objects import DiscoveryFailedError, Source, UnknownIdError
from tests.fakes.airbyte_state import AirbyteState


class ObjectCalls:
    """Calls that touch no job, except that a discovery shows one."""

    def __init__(self, state: AirbyteState) -> None:
        """Serve this state."""
        self._state = state
        self._catalogue = state.catalogue

    def calls(self) -> dict[str, Callable[[Mapping[str, Any]], Any]]:
        """Return what is served, by path."""
        known = self._catalogue
        served: dict[str, Callable[[Mapping[str, Any]], Any]] = {
            "/sources/discover_schema": self._discover,
            "/workspaces/list": lambda _asked: {"workspaces": [workspace_read(w) for w in known.workspaces.values()]},
            "/workspaces/get": lambda asked: workspace_read(known.workspace(needed(asked, "workspaceId", str))),
            "/workspaces/create": self._create_workspace,
        }
        roles: tuple[Role, ...] = ("source", "destination")
        for role in roles:
            served |= {
                f"/{role}_definitions/list": partial(self._definitions, role),
                f"/{role}_definitions/list_for_workspace": partial(self._definitions_for_workspace, role),
                f"/{role}_definitions/get": partial(self._definition, role),
            }
        return served

    def _create_workspace(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        identifier = self._catalogue.add_workspace(text(asked, "name"))
        self._state.note("workspaces/create", identifier)
        return workspace_read(self._catalogue.workspace(identifier))

    def _definitions(self, role: Role, _asked: Mapping[str, Any]) -> dict[str, Any]:
        return {f"{role}Definitions": [definition_read(one) for one in self._catalogue.connectors.of(role)]}

    def _definitions_for_workspace(self, role: Role, asked: Mapping[str, Any]) -> dict[str, Any]:
        self._catalogue.workspace(needed(asked, "workspaceId", str))
        return self._definitions(role, asked)

    def _definition(self, role: Role, asked: Mapping[str, Any]) -> dict[str, Any]:
        definition = needed(asked, f"{role}DefinitionId", str)
        known = self._catalogue.connectors.defined(role, definition)
        if known is None:
            raise UnknownIdError(f"{role}_definition", definition)
        return definition_read(known)

    def _discover(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        source = self._catalogue.source(needed(asked, "sourceId", str))
        try:
            streams = source.discover(fresh=asked.get("disable_cache") is True)
        except DiscoveryFailedError as error:
            return {"jobInfo": self._job(source, error)}
        body = {"catalog": catalog(streams, {}), "catalogId": _catalog_id(source), "jobInfo": self._job(source)}
        if asked.get("connectionId"):
            connection = self._state.connection(needed(asked, "connectionId", str))
            transforms, breaking = difference(connection.streams, streams)
            body["catalogDiff"] = {"transforms": transforms}
            body |= {"breakingChange": breaking, "connectionStatus": connection.status}
        return body

    def _job(self, source: Source, error: Exception | None = None) -> dict[str, Any]:
        """Return the job of a discovery: where it failed the answer is a 200 all the same."""
        now = self._state.now()
        job = {
            "id": str(uuid.uuid4()),
            "configType": "discover_schema",
            "configId": source.id,
            "createdAt": int(now),
            "endedAt": int(now),
            "succeeded": error is None,
            "logs": {"logLines": []},
        }
        return {**job, "failureReason": failure(now, str(error), "config_error")} if error else job


def workspace_read(workspace: Any) -> dict[str, Any]:
    """Return a WorkspaceRead."""
    return {
        "workspaceId": workspace.id,
        "customerId": workspace.id,
        "name": workspace.name,
        "slug": workspace.name.lower().replace(" ", "-"),
        "initialSetupComplete": True,
        "anonymousDataCollection": False,
        "notifications": [],
        "defaultGeography": "auto",
    }


def definition_read(connector: Connector) -> dict[str, Any]:
    """Return a SourceDefinitionRead or a DestinationDefinitionRead."""
    return {
        f"{connector.role}DefinitionId": connector.definition,
        "name": connector.title,
        "dockerRepository": connector.repository,
        "dockerImageTag": connector.tag,
        "documentationUrl": f"https://docs.example/{connector.role}s/{connector.name}",
        "releaseStage": "custom" if connector.custom else "generally_available",
    }


def _catalog_id(source: Source) -> str:
    return str(uuid.uuid5(uuid.UUID(source.id), repr(source.cached)))
