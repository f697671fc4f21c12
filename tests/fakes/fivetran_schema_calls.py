"""How a fake Fivetran answers about the schemas of a connection."""

from __future__ import annotations

import copy
from typing import Any

from aiohttp import web

from tests.fakes.fivetran_control import FivetranControl
from tests.fakes.fivetran_model import Connection
from tests.fakes.fivetran_schemas import columns_of, enable_all, merged_schemas, wrong_in
from tests.fakes.fivetran_wire import RefusedError, found, success


class SchemaCalls(FivetranControl):
    """The schemas of a connection that was made by a call are read from its source at its first sync, or its reload."""

    def get_schemas(self, request: web.Request, body: dict[str, Any]) -> web.Response:
        """All schemas and tables; of the columns only those that somebody ever set."""
        return success(self._captured(request).schemas)

    def patch_schemas(self, request: web.Request, body: dict[str, Any]) -> web.Response:
        """Change what is named."""
        connection = self._captured(request)
        self._change(connection, body)
        return success(connection.schemas, "Schema configuration has been modified")

    def set_schemas(self, request: web.Request, body: dict[str, Any]) -> web.Response:
        """Say beforehand what is to be set once the schemas are read; the answer is what was sent."""
        connection = found(request, self.connections, "Connection")
        if connection.captured:
            raise RefusedError(400, "InvalidInput", "The schema of this connection has been captured already")
        self._refuse(body)
        connection.awaited = copy.deepcopy(body)
        return success(body, "Schema configuration has been set")

    def reload_schemas(self, request: web.Request, body: dict[str, Any]) -> web.Response:
        """Look at the source anew, which has a quota."""
        connection = found(request, self.connections, "Connection")
        if body.get("exclude_mode", "PRESERVE") not in {"PRESERVE", "INCLUDE", "EXCLUDE"}:
            raise RefusedError(400, "InvalidInput", "exclude_mode must be PRESERVE, INCLUDE or EXCLUDE")
        self.take(self.source_quotas, "calls that ask a source")
        self._refuse_broken(connection)
        self.look_at_source(connection)
        if body.get("exclude_mode", "PRESERVE") != "PRESERVE":
            connection.schemas = enable_all(connection.schemas, enabled=body["exclude_mode"] == "INCLUDE")
        return success(connection.schemas, "Schema configuration has been reloaded")

    def get_columns(self, request: web.Request, body: dict[str, Any]) -> web.Response:
        """All columns that a table has in the source now; only while the connection is connected."""
        connection = self._captured(request)
        self.take(self.source_quotas, "calls that ask a source")
        if connection.setup_state != "connected":
            raise RefusedError(400, "InvalidInput", "The connection is not connected")
        schema, table = request.match_info["schema"], request.match_info["table"]
        try:
            source = self.source_tables(connection.id)
            columns = columns_of(connection.schemas, connection.known, source, schema, table)
        except KeyError as missing:
            raise RefusedError(404, "NotFound_Table", f"Cannot find schema or table {missing}") from None
        return success({"columns": columns})

    def _change(self, connection: Connection, body: dict[str, Any]) -> None:
        self._refuse(body)
        try:
            connection.schemas = merged_schemas(connection.schemas, body)
        except KeyError as missing:
            raise RefusedError(404, "NotFound_Schema", f"Cannot find schema or table {missing}") from None

    def _refuse(self, body: dict[str, Any]) -> None:
        if wrong := wrong_in(body):
            raise RefusedError(400, "InvalidInput", wrong)

    def _refuse_broken(self, connection: Connection) -> None:
        if not connection.source_works:
            raise RefusedError(400, "InvalidInput", "The source cannot be reached")

    def _captured(self, request: web.Request) -> Connection:
        connection = found(request, self.connections, "Connection")
        if not connection.captured:
            raise RefusedError(404, "NotFound_SchemaConfig", f"Schema config of '{connection.id}' was not captured yet")
        return connection
