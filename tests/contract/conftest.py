"""One PostgreSQL per worker as the source of every story, and each destination in turn."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import pytest

from servers.postgres import PostgresServer
from tests.contract.at_work import Servers
from tests.contract.candidates import DESTINATIONS
from tests.contract.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.contract.at_work import DestinationCandidate


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """Keep what the candidates share."""
    running = Servers()
    yield running
    running.close()


@pytest.fixture(scope="session")
def source_server(servers: Servers) -> PostgresServer:
    """Run the source."""
    return servers.of(PostgresServer)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of heavy destinations."""
    for item in items:
        candidate = DESTINATIONS.get(getattr(item, "callspec", None) and item.callspec.params.get("world"))
        if candidate and candidate.heavy:
            item.add_marker(pytest.mark.heavy)


@pytest.fixture(params=list(DESTINATIONS))
def world(
    request: pytest.FixtureRequest, servers: Servers, source_server: PostgresServer, tmp_path: Path
) -> Iterator[World]:
    """Lend a source database, a stage and a destination that nobody else sees."""
    candidate: DestinationCandidate = DESTINATIONS[request.param]
    if reason := candidate.unavailable():
        pytest.skip(f"{request.param}: {reason}")
    for pattern, why in candidate.exceptions.items():
        if fnmatchcase(request.node.name, pattern):
            request.applymarker(pytest.mark.xfail(reason=f"{request.param}: {why}", strict=True))
    with source_server.database() as dbname, candidate.open(servers, tmp_path) as destination:
        yield World(
            source_server, dbname, tmp_path, destination, stride=candidate.stride, histories=candidate.histories
        )
