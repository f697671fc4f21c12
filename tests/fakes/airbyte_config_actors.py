"""The configuration API's calls about sources and destinations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from tests.fakes.airbyte_config_shapes import UnfitError, mapping, needed, text
from tests.fakes.airbyte_connectors import Connector, Role
from tests.fakes.airbyte_objects import Actor, UnknownIdError
from tests.fakes.airbyte_state import AirbyteState


class ActorCalls:
    """Sources and destinations: an update takes the whole configuration, and a mask in it keeps the secret."""

    def __init__(self, state: AirbyteState) -> None:
        """Serve this state."""
        self._state = state
        self._catalogue = state.catalogue

    def calls(self) -> dict[str, Callable[[Mapping[str, Any]], Any]]:
        """Return what is served, by path."""
        served: dict[str, Callable[[Mapping[str, Any]], Any]] = {}
        roles: tuple[Role, ...] = ("source", "destination")
        for role in roles:
            served |= {
                f"/{role}s/list": partial(self._list, role),
                f"/{role}s/get": partial(self._get, role),
                f"/{role}s/create": partial(self._create, role),
                f"/{role}s/update": partial(self._update, role),
                f"/{role}s/delete": partial(self._delete, role),
            }
        return served

    def _list(self, role: Role, asked: Mapping[str, Any]) -> dict[str, Any]:
        workspace = self._catalogue.workspace(needed(asked, "workspaceId", str))
        things: Mapping[str, Actor] = self._catalogue.sources if role == "source" else self._catalogue.destinations
        return {f"{role}s": [actor_read(one) for one in things.values() if one.workspace_id == workspace.id]}

    def _actor(self, role: Role, asked: Mapping[str, Any]) -> Actor:
        return self._catalogue.actor(role, needed(asked, f"{role}Id", str))

    def _get(self, role: Role, asked: Mapping[str, Any]) -> dict[str, Any]:
        return actor_read(self._actor(role, asked))

    def _create(self, role: Role, asked: Mapping[str, Any]) -> dict[str, Any]:
        definition = needed(asked, f"{role}DefinitionId", str)
        workspace = self._catalogue.workspace(needed(asked, "workspaceId", str))
        name, given = text(asked, "name"), mapping(asked, "connectionConfiguration")
        connector = self._catalogue.connectors.defined(role, definition)
        if connector is None:
            raise UnknownIdError(f"{role}_definition", definition)
        _complete(connector, given)
        actor = self._state.create_actor(connector, workspace.id, name, given)
        self._state.note(f"{role}s/create", actor.id)
        return actor_read(actor)

    def _update(self, role: Role, asked: Mapping[str, Any]) -> dict[str, Any]:
        actor, name = self._actor(role, asked), text(asked, "name")
        given = mapping(asked, "connectionConfiguration")
        _complete(actor.connector, given)
        self._state.change_actor(actor, name, given, partly=False)
        self._state.note(f"{role}s/update", actor.id)
        return actor_read(actor)

    def _delete(self, role: Role, asked: Mapping[str, Any]) -> None:
        actor = self._actor(role, asked)
        self._state.delete_actor(actor)
        self._state.note(f"{role}s/delete", actor.id)


def actor_read(actor: Actor) -> dict[str, Any]:
    """Return a SourceRead or a DestinationRead."""
    role = actor.connector.role
    return {
        f"{role}DefinitionId": actor.connector.definition,
        f"{role}Id": actor.id,
        "workspaceId": actor.workspace_id,
        "connectionConfiguration": actor.shown,
        "name": actor.name,
        f"{role}Name": actor.connector.title,
    }


def _complete(connector: Connector, given: Mapping[str, Any]) -> None:
    if missing := connector.missing(given):
        raise UnfitError(f"json schema validation failed. Errors: $.{missing[0]}: is missing but it is required")
