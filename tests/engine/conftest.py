"""A PostgreSQL as the source, and DuckDB, or whatever a test asks for, as the destination."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from servers.postgres import PostgresServer
from tests.contract.at_work import Servers
from tests.contract.candidates import DESTINATIONS
from tests.contract.conftest import lent

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.contract.world import World


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """Keep what the candidates share."""
    running = Servers()
    yield running
    running.close()


@pytest.fixture
def world(request: pytest.FixtureRequest, servers: Servers, tmp_path: Path) -> Iterator[World]:
    """Lend a source, a stage and a destination that nobody else sees."""
    name = getattr(request, "param", "duckdb")
    yield from lent(request, DESTINATIONS[name], servers, servers.of(PostgresServer), tmp_path)
