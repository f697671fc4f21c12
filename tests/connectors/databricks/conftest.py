"""One stand-in for each test process, a warehouse for each test; files go to it by way of a volume."""

from __future__ import annotations

from uuid import uuid4

import pytest

from servers.databricks import ENVIRONMENT, DatabricksServer
from tests.contract.databricks_at_work import DatabricksAtWork, unavailable

pytest.register_assert_rewrite("tests.connectors.merge_stories")

VOLUME = "/Volumes/main/raw/elt"
"""A folder of it belongs to each test."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip all but the golden SQL where there is no stand-in."""
    if reason := unavailable():
        for item in items:
            if "databricks" in item.nodeid and "server" in getattr(item, "fixturenames", ()):
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def server():
    assert ENVIRONMENT
    with DatabricksServer() as running:
        yield running


@pytest.fixture
def settings(server):
    """What `DatabricksSettings` takes; the token as text."""
    return {
        "host": server.host, "http_path": server.create_warehouse(), "token": server.token, "catalog": "main",
        "schema": "default", "takeover_pause": 0.0, "volume": f"{VOLUME}/{uuid4().hex}",
        "options": server.options,
    }  # fmt: skip


@pytest.fixture
def work(server, settings):
    """A warehouse with nothing in it."""
    work = DatabricksAtWork(settings, {})
    yield work
    server.inject()
    work.close()


@pytest.fixture
def seen():
    """Statements as observers see them."""
    return []


@pytest.fixture
def destination(work, seen):
    return work.open(seen.append)


@pytest.fixture
def query(work):
    return work.query


@pytest.fixture
def execute(work):
    return work.query
