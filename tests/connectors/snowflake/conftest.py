"""One emulator for each test process, a database for each test, and our own look into it."""

from __future__ import annotations

import pytest

from tests.contract.at_work import Servers
from tests.contract.snowflake_at_work import SnowflakeAndBucket, SnowflakeAtWork

pytest.register_assert_rewrite("tests.connectors.merge_stories")


@pytest.fixture(scope="session")
def servers():
    running = Servers()
    yield running
    running.close()


@pytest.fixture(scope="session")
def both(servers):
    """Snowflake, and the S3 that it reads."""
    return servers.of(SnowflakeAndBucket)


@pytest.fixture
def work(both):
    """A database with nothing in it."""
    return SnowflakeAtWork(both.snowflake.port, both.s3.endpoint_url, both.snowflake.create_database())


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
