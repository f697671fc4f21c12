"""The contract suite against real accounts, when the environment names some; see `accounts.py`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from servers.postgres import PostgresServer
from tests.contract.at_work import Servers
from tests.contract.conftest import lent

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.contract.world import World

collect_ignore_glob = [] if os.environ.get("ELT_CLOUD") else ["test_*.py"]


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """Keep the source."""
    running = Servers()
    yield running
    running.close()


@pytest.fixture(params=[name.strip() for name in os.environ.get("ELT_CLOUD", "").split(",") if name.strip()])
def world(request: pytest.FixtureRequest, servers: Servers, tmp_path: Path) -> Iterator[World]:
    """Lend a source database, and an account as the destination."""
    from tests.cloud.accounts import DESTINATIONS

    yield from lent(request, DESTINATIONS[request.param], servers, servers.of(PostgresServer), tmp_path)
