"""A client of the fake Fivetran, and a clock that only tests move."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import requests

from tests.fakes.fivetran import FakeFivetran

if TYPE_CHECKING:
    from collections.abc import Iterator

NOW = 1_800_000_000.25


class Client:
    """Calls with a key, and a clock that only tests move."""

    def __init__(self, server: FakeFivetran) -> None:
        self.server = server
        self.now = NOW
        self.auth: tuple[str, str] | None = ("key", "secret")
        server.clock = lambda: self.now

    def call(self, method: str, path: str, body: Any = None, **query: Any) -> requests.Response:
        return requests.request(method, self.server.url + path, json=body, params=query, auth=self.auth, timeout=10)

    def data(self, path: str, **query: Any) -> Any:
        return self.call("GET", path, **query).json()["data"]

    def connection(self, name: str) -> Any:
        return self.data(f"/v1/connections/{name}")

    def state(self, name: str) -> tuple[str, str | None, str | None]:
        seen = self.connection(name)
        return seen["status"]["sync_state"], seen["succeeded_at"], seen["failed_at"]

    def sync(self, name: str, *, force: bool = False) -> int:
        return self.call("POST", f"/v1/connections/{name}/sync", {"force": force}).status_code


@pytest.fixture
def server() -> Iterator[FakeFivetran]:
    """Run a Fivetran."""
    with FakeFivetran(key="key", secret="secret") as running:
        yield running


@pytest.fixture
def client(server: FakeFivetran) -> Client:
    """Lend a client with a clock."""
    return Client(server)


def refusal(response: requests.Response) -> tuple[int, str]:
    """Return the status and code of a refusal, which says nothing else than a message."""
    assert response.json().keys() == {"code", "message"}
    return response.status_code, response.json()["code"]
