"""One PostgreSQL for these tests, and a database of its own for each that asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from servers.postgres import PostgresServer

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """Run a PostgreSQL."""
    with PostgresServer() as server:
        yield server


@pytest.fixture
def dbname(postgres_server: PostgresServer) -> Iterator[str]:
    """Lend an empty database."""
    with postgres_server.database() as name:
        yield name
