"""One PostgreSQL per worker as the source of every story, and each destination in turn."""

from __future__ import annotations

import os
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING
from zlib import crc32

import pytest

from servers.postgres import PostgresServer
from tests.contract.at_work import Servers
from tests.contract.candidates import DESTINATIONS
from tests.contract.doomed_sync import DoomedProcesses
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


@pytest.fixture(scope="session")
def doomed() -> Iterator[DoomedProcesses]:
    """Lend processes that die."""
    with DoomedProcesses() as processes:
        yield processes


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark the tests of heavy destinations, and leave some of the tests of slow ones to `ELT_EXPLORE=1`."""
    spared = []
    for item in items:
        name = getattr(item, "callspec", None) and item.callspec.params.get("world")
        candidate = DESTINATIONS.get(str(name))
        if candidate and candidate.heavy:
            item.add_marker(pytest.mark.heavy)
        if candidate and _costs_too_much(item, str(name), candidate):
            spared.append(item)
    if spared and not os.environ.get("ELT_EXPLORE"):
        config.hook.pytest_deselected(items=spared)
        items[:] = [item for item in items if item not in spared]


def _costs_too_much(item: pytest.Item, destination: str, candidate: DestinationCandidate) -> bool:
    """Whether a test is left out: a further history of a slow destination, or one of those that its share leaves."""
    number = crc32(item.nodeid.replace(destination, "").encode())  # the same in every process
    return (candidate.histories < 1 and "whatever_happens" in item.name) or number % candidate.share > 0


@pytest.fixture(params=list(DESTINATIONS))
def world(
    request: pytest.FixtureRequest, servers: Servers, source_server: PostgresServer, tmp_path: Path
) -> Iterator[World]:
    """Lend a source database, a stage and a destination that nobody else sees."""
    yield from lent(request, DESTINATIONS[request.param], servers, source_server, tmp_path)


def lent(
    request: pytest.FixtureRequest, candidate: DestinationCandidate, servers: Servers, source: PostgresServer,
    folder: Path,
) -> Iterator[World]:  # fmt: skip
    """Lend a world with a candidate in it; what it declares to be impossible must fail."""
    if reason := candidate.unavailable():
        pytest.skip(f"{request.param}: {reason}")
    for pattern, why in candidate.exceptions.items():
        if fnmatchcase(request.node.name, pattern):
            request.applymarker(pytest.mark.xfail(reason=f"{request.param}: {why}", strict=True))
    with source.database() as dbname, candidate.open(servers, folder) as destination:
        stride = 1 if os.environ.get("ELT_EXPLORE") else candidate.stride
        yield World(source, dbname, folder, destination, stride=stride, histories=candidate.histories)
