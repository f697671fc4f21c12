"""One PostgreSQL per worker as the source of every story, and each destination in turn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from servers.postgres import PostgresServer
from tests.contract.candidates import DESTINATIONS
from tests.contract.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def source_server() -> Iterator[PostgresServer]:
    """Run the source."""
    with PostgresServer() as server:
        yield server


@pytest.fixture(params=list(DESTINATIONS))
def world(request: pytest.FixtureRequest, source_server: PostgresServer, tmp_path: Path) -> Iterator[World]:
    """Lend a source database, a stage and a destination that nobody else sees."""
    with source_server.database() as dbname, DESTINATIONS[request.param](source_server, tmp_path) as destination:
        yield World(source_server, dbname, tmp_path, destination)
