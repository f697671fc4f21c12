"""Connectors: the definition on a server that a file means."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from airflow_elt_provider.errors import ConfigurationError
from airflow_elt_provider.remotes.config_as_code.airbyte.api import ActorKind, ObjectsApi
from airflow_elt_provider.remotes.flow import Flow


class Definitions:
    """The connectors that a server's workspaces can use; each list is read once."""

    def __init__(self, api: ObjectsApi) -> None:
        self._api = api
        self._known: dict[tuple[str, str], Mapping[str, str]] = {}

    def resolved(self, kind: ActorKind, workspace_id: str, values: Mapping[str, Any]) -> Flow[dict[str, Any]]:
        """Return values with a definition that the server has.

        Airbyte's own connectors have the same everywhere; others have one by server, and are found by name.

        :raises ConfigurationError: where there is no such connector, or more than one.
        """
        if (kind, workspace_id) not in self._known:
            self._known[kind, workspace_id] = yield from self._api.definitions(kind, workspace_id)
        known = self._known[kind, workspace_id]
        given, connector = values.get("definition"), str(values.get("connector"))
        if not known or given in known:  # an API that does not tell them says itself what it does not have
            return dict(values)
        fitting = [id_ for id_, name in known.items() if name == connector]
        if len(fitting) == 1:
            return {**values, "definition": fitting[0]}
        raise _unclear(kind, connector, fitting, known)


def _unclear(kind: str, connector: str, fitting: list[str], known: Mapping[str, str]) -> ConfigurationError:
    if fitting:
        return ConfigurationError(
            f"The server has several {kind} connectors {connector!r}.", hint=f"write definition: one of {fitting}"
        )
    near = get_close_matches(connector, known.values(), 3)
    also = f"; or did you mean {', '.join(map(repr, near))}?" if near else ""
    return ConfigurationError(
        f"The server has no {kind} connector {connector!r}.", hint=f"add it there (Settings, {kind.title()}s){also}"
    )
