"""A fake of Fivetran's REST API. What is unexpected about the real one stands at the handlers.

>>> with FakeFivetran(key="key", secret="secret") as server:
...     connection_id = server.add_connection("rental", schedule_type="manual")
...     server.run_seconds = 2
"""

from __future__ import annotations

import argparse
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from aiohttp import web

from tests.fakes.fivetran_account import AccountCalls
from tests.fakes.fivetran_creation import CHANGED, CONTROL, NAMING, NEW, WRITABLE, name_of, refuse_wrong
from tests.fakes.fivetran_model import Connection
from tests.fakes.fivetran_schema_calls import SchemaCalls
from tests.fakes.fivetran_secrets import kept
from tests.fakes.fivetran_wire import RefusedError, body_of, check_scope, found, needs, page_of, success
from tests.fakes.http_fake import answer
from tests.fakes.serving import basic, serve, stats

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Work = Callable[[web.Request, dict[str, Any]], web.Response]


class FakeFivetran(SchemaCalls, AccountCalls):
    """The HTTP side."""

    def __init__(
        self,
        key: str = "key",
        secret: str = "secret",
        calls_per_hour: int | None = None,
        **tls: Any,
    ) -> None:
        """Describe a server that lets in whoever has this key and secret."""
        super().__init__(calls_per_hour=calls_per_hour, **tls)
        self.credentials = basic(key, secret)

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        """Return what is served; everything unknown, like the retired /v1/connectors, is a 404 in Fivetran's shape."""
        served = {**self._connection_calls(), **self._schema_calls(), **self._account_calls()}
        calls: list[web.AbstractRouteDef] = []
        for line, work in served.items():
            method, path = line.split()
            calls.append(web.route(method, path, self._handle(work)))
        return [stats(self), *calls, web.route("*", "/{anything:.*}", self._handle(self._nothing))]

    def _connection_calls(self) -> dict[str, Work]:
        one = "/v1/connections/{id}"
        return {
            "GET /v1/connections": self._list_connections,
            "POST /v1/connections": self._create_connection,
            f"GET {one}": self._get_connection,
            f"PATCH {one}": self._patch_connection,
            f"DELETE {one}": self._delete_connection,
            f"POST {one}/sync": self._sync,
            f"POST {one}/resync": self._resync,
            f"POST {one}/test": self._test,
        }

    def _schema_calls(self) -> dict[str, Work]:
        schemas = "/v1/connections/{id}/schemas"
        return {
            f"GET {schemas}": self.get_schemas,
            f"POST {schemas}": self.set_schemas,
            f"PATCH {schemas}": self.patch_schemas,
            f"POST {schemas}/reload": self.reload_schemas,
            f"POST {schemas}/tables/resync": self._resync_tables,
            f"GET {schemas}/{{schema}}/tables/{{table}}/columns": self.get_columns,
        }

    def _account_calls(self) -> dict[str, Work]:
        agents, links, hooks = "/v1/hybrid-deployment-agents", "/v1/private-links", "/v1/webhooks"
        return {
            "GET /v1/groups": self.list_groups,
            "POST /v1/groups": self.create_group,
            "GET /v1/groups/{id}": self.get_group,
            "DELETE /v1/groups/{id}": self.delete_group,
            f"GET {agents}": self.list_agents,
            f"POST {agents}": self.create_agent,
            f"GET {agents}/{{id}}": self.get_agent,
            f"DELETE {agents}/{{id}}": self.delete_agent,
            f"PATCH {agents}/{{id}}/re-auth": self.re_auth_agent,
            f"POST {agents}/{{id}}/reset-credentials": self.reset_agent,
            f"GET {links}": self.list_links,
            f"POST {links}": self.create_link,
            f"GET {links}/{{id}}": self.get_link,
            f"PATCH {links}/{{id}}": self.patch_link,
            f"DELETE {links}/{{id}}": self.delete_link,
            f"GET {hooks}": self.list_webhooks,
            f"POST {hooks}/account": self.create_account_webhook,
            f"POST {hooks}/group/{{id}}": self.create_group_webhook,
            f"GET {hooks}/{{id}}": self.get_webhook,
            f"PATCH {hooks}/{{id}}": self.patch_webhook,
            f"DELETE {hooks}/{{id}}": self.delete_webhook,
        }

    async def admit(self, request: web.Request) -> web.StreamResponse | None:
        """Refuse strangers, then callers beyond the quota; a refused call does not use it up."""
        if request.path == "/_stats":
            return None
        if request.headers.get("Authorization") != self.credentials:
            return answer({"code": "Unauthorized", "message": "The API key or secret is not valid."}, 401)
        with self.lock:
            wait = self.calls.take(self.clock())
        if wait is None:
            return None
        message = f"Max {self.calls.limit} api calls allowed in one-hour rolling time period"
        return answer({"code": "TooManyRequests", "message": message}, 429, {"Retry-After": str(wait)})

    def _handle(self, work: Work) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            try:
                body = await body_of(request)
                with self.lock:
                    self.settle()
                    done = work(request, body)
                    if request.method != "GET":
                        self.changes.append((request.method, request.path))
                    return done
            except RefusedError as refused:
                return refused.response

        return handle

    # --- connections ---

    def _list_connections(self, request: web.Request, body: dict[str, Any]) -> web.Response:
        group, schema = request.query.get("group_id"), request.query.get("schema")
        chosen = list(self.connections.values())
        if group or schema:
            chosen = [one for one in chosen if group in {None, one.group_id} and schema in {None, one.schema}]
        page, following = page_of(request, chosen)
        items = ",".join(connection.text() for connection in page)
        cursor = f',"next_cursor":"{following}"' if following else ""
        text = f'{{"code":"Success","data":{{"items":[{items}]{cursor}}}}}'
        return web.Response(text=text, content_type="application/json")

    def _get_connection(self, request: web.Request, body: dict[str, Any]) -> web.Response:
        return success(self._connection(request).details())

    def _create_connection(self, request: web.Request, body: dict[str, Any]) -> web.Response:
        """Make a connection. Unless told otherwise it runs the setup tests, which have a quota, and is not paused.

        It is `incomplete` until its setup tests pass. Connected and not paused it begins a historical sync at once, on
        a schedule of type auto. Its name cannot be changed afterwards, and is not in the `config` that is answered.
        """
        needs(body, "group_id", "service")
        refuse_wrong(body, NEW)
        group_id, service, config = body["group_id"], body["service"], body.get("config") or {}
        if group_id not in self.groups:
            raise RefusedError(404, "NotFound_Group", f"Cannot find group with id '{group_id}'")
        schema = name_of(service, config)
        if any((one.group_id, one.schema) == (group_id, schema) for one in self.connections.values()):
            raise RefusedError(400, "InvalidInput", f"A connection with the schema '{schema}' already exists")
        self._refuse_strange(body)
        connection = Connection(
            self._new_id("connection"), schema, service, group_id, self.clock(), bool(body.get("paused", False)),
            body.get("schedule_type", "auto"), setup_state="incomplete", captured=False, first_waits=True,
            config={key: value for key, value in config.items() if key not in NAMING}, auth=body.get("auth") or {},
        )  # fmt: skip
        connection.sync_state = "paused" if connection.paused else "scheduled"
        connection.settings = {**connection.settings, **{key: body[key] for key in WRITABLE if key in body}}
        if body.get("run_setup_tests", True):
            self._run_setup_tests(connection)
        self._enter(connection)
        self._start_first(connection, self.clock())
        return success(connection.details(), "Connection has been created", 201)

    def _patch_connection(self, request: web.Request, body: dict[str, Any]) -> web.Response:
        """Change a connection; unless told otherwise this also runs the setup tests, which have a quota.

        Of `config` the keys change that are sent; a mask that is sent back leaves its secret as it is.
        """
        connection = self._connection(request)
        refuse_wrong(body, CHANGED)
        if not body.keys() - CONTROL:
            raise RefusedError(400, "InvalidInput", "There is nothing to change")
        if fixed := body.get("config", {}).keys() & set(NAMING):
            raise RefusedError(400, "InvalidInput", f"config.{min(fixed)} cannot be changed")
        self._refuse_strange(body)
        if body.get("run_setup_tests", True):
            self._run_setup_tests(connection)
        connection.config = {**connection.config, **kept(body.get("config", {}), connection.config)}
        connection.auth = {**connection.auth, **kept(body.get("auth", {}), connection.auth)}
        changed = {key: value for key, value in body.items() if key in connection.settings}
        connection.settings = {**connection.settings, **changed}
        connection.schedule_type = body.get("schedule_type", connection.schedule_type)
        connection.schema_status = body.get("schema_status", connection.schema_status)
        if body.get("paused", connection.paused) != connection.paused:
            self._pause(connection, body["paused"], self.clock())
        self._start_first(connection, self.clock())
        if body.get("is_historical_sync"):
            self._restart(connection, "patch")
        return success(connection.details(), "Connection has been updated")

    def _refuse_strange(self, body: dict[str, Any]) -> None:
        for key, things in (("private_link_id", self.private_links), ("hybrid_deployment_agent_id", self.agents)):
            if body.get(key) and body[key] not in things:
                raise RefusedError(400, "InvalidInput", f"{key} '{body[key]}' is not known")

    def _delete_connection(self, request: web.Request, body: dict[str, Any]) -> web.Response:
        connection = self._connection(request)
        if connection.sync:
            self._end_sync(connection.sync, "stopped", self.clock())
        del self.connections[connection.id]
        return success(message=f"Connection with id '{connection.id}' has been deleted")

    def _sync(self, request: web.Request, body: dict[str, Any]) -> web.Response:
        """Start a sync; 200 also when none starts: it runs already, or it is paused, broken or incomplete."""
        connection = self._connection(request)
        if not connection.paused and connection.setup_state == "connected":
            if connection.sync is None:
                self._start_sync(connection, "api", self.clock())
            elif body.get("force", False):
                self._restart(connection, "api", historical=connection.sync.historical)
        return success(message=f"Sync has been successfully triggered for connection with id '{connection.id}'")

    def _resync(self, request: web.Request, body: dict[str, Any]) -> web.Response:
        """Sync everything, or the tables in `scope`, anew; a running sync is completed first, or this is refused."""
        connection = self._connection(request)
        if "scope" in body:
            check_scope(body["scope"])
        self._anew(connection, historical="scope" not in body)
        return success(message=f"Re-sync has been successfully triggered for connection with id '{connection.id}'")

    def _resync_tables(self, request: web.Request, body: dict[str, Any]) -> web.Response:
        connection = self._connection(request)
        check_scope(body)
        self._anew(connection, historical=False)
        return success(message="Re-sync has been triggered successfully")

    def _test(self, request: web.Request, body: dict[str, Any]) -> web.Response:
        connection = self._connection(request)
        self._run_setup_tests(connection)
        self._start_first(connection, self.clock())
        return success(connection.details(), "Setup tests have been completed")

    def _anew(self, connection: Connection, *, historical: bool) -> None:
        if connection.paused:
            connection.resync_waits = True
            return
        if connection.sync:
            if not connection.completable:
                raise RefusedError(409, "Conflict", "The sync in progress cannot be completed, try again later")
            self._end_sync(connection.sync, "succeeded", self.clock())
        self._start_sync(connection, "resync", self.clock(), historical=historical)

    def _restart(self, connection: Connection, by: str, *, historical: bool = True) -> None:
        if connection.sync:
            self.interrupted.append(connection.sync)
            self._end_sync(connection.sync, "stopped", self.clock())
        if not connection.paused:
            self._start_sync(connection, by, self.clock(), historical=historical)

    def _run_setup_tests(self, connection: Connection) -> None:
        self.take(self.setup_test_quotas, "setup tests")
        self.setup_tests_of.append(connection.id)
        connection.run_tests()

    def _nothing(self, request: web.Request, body: dict[str, Any]) -> web.Response:
        raise RefusedError(404, "NotFound", f"{request.method} {request.path} is not part of this API")

    def _connection(self, request: web.Request) -> Connection:
        return found(request, self.connections, "Connection")


def main() -> None:
    """Serve connections that sync for a while when asked."""
    parser = argparse.ArgumentParser(prog="tests.fakes.fivetran", description=main.__doc__)
    parser.add_argument("--connections", type=int, default=100)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before every answer")
    parser.add_argument("--run-seconds", type=float, default=None, help="how long a sync takes; without it: for ever")
    parser.add_argument("--calls-per-hour", type=int, default=None)
    parser.add_argument("--key", default="key")
    parser.add_argument("--secret", default="secret")
    wanted = parser.parse_args()
    server = FakeFivetran(wanted.key, wanted.secret, wanted.calls_per_hour)
    server.latency, server.run_seconds = wanted.latency, wanted.run_seconds
    serve(server, connections=[server.add_connection(f"schema_{number}") for number in range(wanted.connections)])


if __name__ == "__main__":
    main()
