"""The configuration API's calls about operations: what happens after a sync."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tests.fakes.airbyte_config_shapes import mapping, needed, one_of, text
from tests.fakes.airbyte_objects import Operation
from tests.fakes.airbyte_state import AirbyteState

TYPES = frozenset({"normalization", "dbt", "webhook"})


class OperationCalls:
    """Operations; the connections say which of them they have."""

    def __init__(self, state: AirbyteState) -> None:
        """Serve this state."""
        self._state = state
        self._catalogue = state.catalogue

    def calls(self) -> dict[str, Callable[[Mapping[str, Any]], Any]]:
        """Return what is served, by path."""
        return {
            "/operations/list": self._list,
            "/operations/get": lambda asked: _read(self._operation(asked)),
            "/operations/create": self._create,
            "/operations/update": self._update,
            "/operations/delete": self._delete,
        }

    def _operation(self, asked: Mapping[str, Any]) -> Operation:
        return self._catalogue.operation(needed(asked, "operationId", str))

    def _list(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        connection = self._catalogue.connection(needed(asked, "connectionId", str))
        known = self._catalogue.operations
        return {"operations": [_read(known[one]) for one in connection.settings.get("operationIds", ())]}

    def _create(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        workspace, name = needed(asked, "workspaceId", str), text(asked, "name")
        operation = self._state.create_operation(workspace, name, _configuration(asked))
        self._state.note("operations/create", operation.id)
        return _read(operation)

    def _update(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        operation, name = self._operation(asked), text(asked, "name")
        operation.name, operation.configuration = name, _configuration(asked)
        self._state.note("operations/update", operation.id)
        return _read(operation)

    def _delete(self, asked: Mapping[str, Any]) -> None:
        operation = self._operation(asked)
        del self._catalogue.operations[operation.id]
        for connection in self._catalogue.connections.values():
            kept = [one for one in connection.settings.get("operationIds", ()) if one != operation.id]
            connection.settings |= {"operationIds": kept} if "operationIds" in connection.settings else {}
        self._state.note("operations/delete", operation.id)


def _configuration(asked: Mapping[str, Any]) -> dict[str, Any]:
    given = mapping(asked, "operatorConfiguration")
    one_of("operatorType", given.get("operatorType"), TYPES)
    return dict(given)


def _read(operation: Operation) -> dict[str, Any]:
    return {
        "operationId": operation.id,
        "workspaceId": operation.workspace_id,
        "name": operation.name,
        "operatorConfiguration": operation.configuration,
    }
