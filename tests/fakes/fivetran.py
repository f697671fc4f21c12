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

from tests.fakes.fivetran_control import FivetranControl
from tests.fakes.fivetran_model import Agent, Connection, enable_all, merged_schemas
from tests.fakes.fivetran_wire import RefusedError, body_of, check_scope, found, list_of, page_of, success
from tests.fakes.http_fake import answer
from tests.fakes.serving import basic, serve, stats

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
DIRECT = {"paused", "schedule_type", "is_historical_sync", "run_setup_tests", "config", "auth", "schema_status"}
IGNORED = {"trust_certificates", "trust_fingerprints", "destination_configuration", "external_secrets_keys_config"}

CHOICES: dict[str, tuple[object, ...]] = {
    "schedule_type": ("auto", "manual"),
    "sync_frequency": (1, 5, 15, 30, 60, 120, 180, 360, 480, 720, 1440),
    "networking_method": ("Directly", "PrivateLink", "SshTunnel", "ProxyAgent"),
}


class FakeFivetran(FivetranControl):
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
        one = "/v1/connections/{id}"
        return [
            stats(self),
            web.get("/v1/connections", self._handle(self._list_connections)),
            web.get(one, self._handle(self._get_connection)),
            web.patch(one, self._handle(self._patch_connection)),
            web.post(one + "/sync", self._handle(self._sync)),
            web.post(one + "/resync", self._handle(self._resync)),
            web.post(one + "/schemas/tables/resync", self._handle(self._resync_tables)),
            web.post(one + "/test", self._handle(self._test)),
            web.get(one + "/schemas", self._handle(self._get_schemas)),
            web.patch(one + "/schemas", self._handle(self._patch_schemas)),
            web.post(one + "/schemas/reload", self._handle(self._reload_schemas)),
            web.get("/v1/groups", self._handle(self._list_groups)),
            web.get("/v1/groups/{id}", self._handle(self._get_group)),
            web.get("/v1/hybrid-deployment-agents", self._handle(self._list_agents)),
            web.get("/v1/hybrid-deployment-agents/{id}", self._handle(self._get_agent)),
            web.get("/v1/private-links", self._handle(self._list_links)),
            web.get("/v1/private-links/{id}", self._handle(self._get_link)),
            web.route("*", "/{anything:.*}", self._handle(self._nothing)),
        ]

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

    def _handle(self, work: Callable[[web.Request, dict[str, Any]], web.Response]) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            try:
                body = await body_of(request)
                with self.lock:
                    self.settle()
                    return work(request, body)
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

    def _patch_connection(self, request: web.Request, body: dict[str, Any]) -> web.Response:
        """Change a connection; unless told otherwise this also runs the setup tests, which have a quota."""
        connection = self._connection(request)
        if unknown := body.keys() - connection.settings.keys() - DIRECT - IGNORED:
            raise RefusedError(400, "InvalidInput", f"Unknown property '{min(unknown)}'")
        for key, choices in CHOICES.items():
            if key in body and body[key] not in choices:
                raise RefusedError(400, "InvalidInput", f"{key} must be one of {choices}")
        if body.get("run_setup_tests", True):
            self._run_setup_tests(connection)
        changed = {key: value for key, value in body.items() if key in connection.settings}
        connection.settings = {**connection.settings, **changed}
        connection.schedule_type = body.get("schedule_type", connection.schedule_type)
        connection.schema_status = body.get("schema_status", connection.schema_status)
        connection.config = {**connection.config, **body.get("config", {})}
        if body.get("paused", connection.paused) != connection.paused:
            self._pause(connection, body["paused"], self.clock())
        if body.get("is_historical_sync"):
            self._restart(connection, "patch")
        return success(connection.details(), "Connection has been updated")

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
        for quota in self.setup_test_quotas:
            wait = quota.take(self.clock())
            if wait is not None:
                message = f"Max {quota.limit} setup tests allowed in {quota.seconds / 60:.0f} minutes"
                raise RefusedError(429, "TooManyRequests", message, wait)
        self.setup_tests_of.append(connection.id)
        connection.run_tests()

    # --- schemas ---

    def _get_schemas(self, request: web.Request, body: dict[str, Any]) -> web.Response:
        return success(self._connection(request).schemas)

    def _patch_schemas(self, request: web.Request, body: dict[str, Any]) -> web.Response:
        connection = self._connection(request)
        try:
            connection.schemas = merged_schemas(connection.schemas, body)
        except KeyError as missing:
            raise RefusedError(404, "NotFound_Schema", f"Cannot find schema or table {missing}") from None
        return success(connection.schemas, "Schema configuration has been modified")

    def _reload_schemas(self, request: web.Request, body: dict[str, Any]) -> web.Response:
        connection = self._connection(request)
        if body.get("exclude_mode", "PRESERVE") not in {"PRESERVE", "INCLUDE", "EXCLUDE"}:
            raise RefusedError(400, "InvalidInput", "exclude_mode must be PRESERVE, INCLUDE or EXCLUDE")
        if body.get("exclude_mode", "PRESERVE") != "PRESERVE":
            connection.schemas = enable_all(connection.schemas, enabled=body["exclude_mode"] == "INCLUDE")
        return success(connection.schemas, "Schema configuration has been reloaded")

    # --- the rest of the account ---

    def _list_groups(self, request: web.Request, body: dict[str, Any]) -> web.Response:
        return list_of(request, [group.row() for group in self.groups.values()])

    def _get_group(self, request: web.Request, body: dict[str, Any]) -> web.Response:
        return success(found(request, self.groups, "Group").row())

    def _list_agents(self, request: web.Request, body: dict[str, Any]) -> web.Response:
        group = request.query.get("groupId")
        return list_of(
            request, [self._agent(agent) for agent in self.agents.values() if group in {None, agent.group_id}]
        )

    def _get_agent(self, request: web.Request, body: dict[str, Any]) -> web.Response:
        return success(self._agent(found(request, self.agents, "HybridDeploymentAgent")))

    def _list_links(self, request: web.Request, body: dict[str, Any]) -> web.Response:
        return list_of(request, [link.row() for link in self.private_links.values()])

    def _get_link(self, request: web.Request, body: dict[str, Any]) -> web.Response:
        return success(found(request, self.private_links, "PrivateLink").row())

    def _nothing(self, request: web.Request, body: dict[str, Any]) -> web.Response:
        raise RefusedError(404, "NotFound", f"{request.method} {request.path} is not part of this API")

    def _agent(self, agent: Agent) -> dict[str, Any]:
        return agent.row([one for one in self.connections.values() if one.uses(agent.id)])

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
