"""A server that answers as Airbyte does: the public API, the configuration API of 0.40 or of today, or both.

>>> with FakeAirbyte(public=True, config=None) as server:
...     connection_id = server.add_connection("zendesk", ["tickets", "users"])
...     server.run_seconds = 2  # jobs end by themselves
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from aiohttp import web

from tests.fakes.airbyte_auth import CONFIG, PUBLIC, TOKEN_PATHS, Doorkeeper, Way
from tests.fakes.airbyte_config import ConfigApi, Version
from tests.fakes.airbyte_public import PublicApi
from tests.fakes.airbyte_state import AirbyteState
from tests.fakes.http_fake import FakeServer, Fault, Handler, answer
from tests.fakes.serving import serve

STATS = "/_stats"
WRITES = (
    "POST|PATCH|PUT|DELETE",
    r"^/api/public/v1/(workspaces|sources|destinations|connections)\b|^/api/v1/\w+/(create|update|delete)$",
)
INDEX = (
    '<!DOCTYPE html><html lang="en"><head><title>Airbyte</title></head>'
    '<body><noscript>You need to enable JavaScript to run this app.</noscript><div id="root"></div></body></html>'
)


class FakeAirbyte(AirbyteState, FakeServer):
    """An Airbyte server; see AirbyteState for how tests control it.

    What it does not serve it answers as the web interface does: 200 and an HTML page, whatever was asked. (A real
    front answers so to GET; to POST some answer 405 instead.) `public` and `config` say which APIs there are, and so
    which of the two health checks answers.
    """

    def __init__(
        self,
        *,
        public: bool = True,
        config: Version | None = None,
        auth: Way = "none",
        user: str = "airbyte",
        password: str = "password",
        client_id: str = "client",
        client_secret: str = "secret",
        token: str = "static-token",
        token_seconds: float = 900,
        token_key: str = "signing-key",
        **options: Any,
    ) -> None:
        """Describe a server; `options` are those of FakeServer."""
        super().__init__(**options)
        self.public = public
        self.config = config
        self.doorkeeper = Doorkeeper(
            auth, user, password, client_id, client_secret, token, token_seconds, token_key, self.now
        )
        self.answered = 0

    @property
    def token_mints(self) -> int:
        """How many tokens were handed out."""
        return self.doorkeeper.mints

    @property
    def refused(self) -> int:
        """How many requests were refused for want of a good credential."""
        return self.doorkeeper.refused

    def disturb_write(self, number: int, **fault: Any) -> Fault:
        """Let something happen to one write of configuration: 0 is the next, whichever API it goes to.

        Unless told otherwise (see Fault), the answer is lost after the write has happened.
        """
        return self.inject(Fault(*WRITES, **{"when": "after", "then": "cut", "skip": number, **fault}))

    def revoke_tokens(self) -> None:
        """Refuse every token made so far."""
        with self.lock:
            self.doorkeeper.revoke()

    async def admit(self, request: web.Request) -> web.StreamResponse | None:
        """Ask the doorkeeper."""
        if request.path == STATS:
            return None
        self.answered += 1
        with self.lock:
            return self.doorkeeper.refusal(request)

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        """Serve the APIs there are, the statistics, and the web interface for all the rest."""
        yield web.get(STATS, self._stats)
        if self.doorkeeper.way == "client_credentials":
            yield from (web.post(path, self._safely(self.doorkeeper.mint)) for path in TOKEN_PATHS)
        if self.public:
            yield from self._public_routes()
        if self.config:
            yield from self._config_routes(self.config)
        yield web.route("*", "/{path:.*}", _web_interface)

    def _public_routes(self) -> Iterable[web.AbstractRouteDef]:
        api = PublicApi(self)
        for method, path, call in api.calls():
            yield web.route(method, PUBLIC + path, self._safely(partial(api.answered, call)))

    def _config_routes(self, version: Version) -> Iterable[web.AbstractRouteDef]:
        api = ConfigApi(self, version)
        yield web.get(f"{CONFIG}/health", self._safely(lambda _request, _body: answer({"available": True})))
        for path, call in api.calls().items():
            yield web.post(CONFIG + path, self._safely(partial(api.answered, call)))
            yield web.route("*", CONFIG + path, _wrong_method)

    def _safely(self, call: Callable[[web.Request, bytes], web.Response]) -> Handler:
        async def handler(request: web.Request) -> web.StreamResponse:
            body = await request.read()
            with self.lock:
                self.settle()
                return call(request, body)

        return handler

    async def _stats(self, request: web.Request) -> web.StreamResponse:
        """Count since the start, or since the last question with ?reset=1; this request is not counted."""
        with self.lock:
            self.settle()
            counted = {
                "requests": self.answered,
                "most_in_flight": self.most_in_flight,
                "token_mints": self.token_mints,
                "jobs": len(self.jobs),
                "running": sum(1 for connection in self.catalogue.connections.values() if connection.running),
                "cancelled_by_api": len(self.cancelled_by_api),
            }
            if request.query.get("reset"):
                self.answered = self.most_in_flight = 0
        return answer(counted)


async def _web_interface(_request: web.Request) -> web.StreamResponse:
    return answer(INDEX)


async def _wrong_method(request: web.Request) -> web.StreamResponse:
    return answer({"message": f"Method [{request.method}] not allowed for URI [{request.path}]"}, 405)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, default=1)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before each answer")
    parser.add_argument("--run-seconds", type=float, default=None, help="jobs end by themselves after so long")
    parser.add_argument("--pending-seconds", type=float, default=0.0)
    parser.add_argument("--outcome", default="succeeded")
    parser.add_argument("--begin", action="store_true", help="start a job on each connection")
    parser.add_argument("--no-public", action="store_true")
    parser.add_argument("--config", choices=("0.40", "current"), default=None)
    parser.add_argument("--auth", choices=("none", "basic", "client_credentials", "bearer"), default="none")
    parser.add_argument("--token-seconds", type=float, default=900)
    return parser.parse_args()


def main() -> None:
    """Serve until stdin closes; print where, and what there is, as one line of JSON."""
    asked = _arguments()
    server = FakeAirbyte(
        public=not asked.no_public, config=asked.config, auth=asked.auth, token_seconds=asked.token_seconds
    )
    server.latency, server.outcome = asked.latency, asked.outcome
    server.run_seconds, server.pending_seconds = asked.run_seconds, asked.pending_seconds
    connections = [server.add_connection(f"connection {number}") for number in range(asked.connections)]
    jobs = [server.begin(connection) for connection in connections] if asked.begin else []
    serve(server, workspace=server.catalogue.workspace_id, connections=connections, jobs=jobs)


if __name__ == "__main__":
    main()
