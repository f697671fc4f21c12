"""A PostgreSQL for these tests, a database of its own for each."""

from __future__ import annotations

import psycopg2
import pytest

from airflow_elt_provider.connectors.postgres.destination import PostgresDestination
from airflow_elt_provider.connectors.postgres.settings import PostgresSettings
from servers.postgres import PostgresServer

pytest.register_assert_rewrite("tests.connectors.merge_stories")


@pytest.fixture(scope="session")
def server():
    with PostgresServer() as running:
        yield running


@pytest.fixture
def dbname(server):
    with server.database() as name:
        yield name


@pytest.fixture
def settings(server, dbname):
    return PostgresSettings.parse({**psycopg2.extensions.parse_dsn(server.dsn(dbname)), "lock_timeout": 20})


@pytest.fixture
def destination(settings):
    return PostgresDestination(settings)


@pytest.fixture
def connect(server, dbname):
    """Open further sessions, which end with the test."""
    opened = []

    def connect(**options):
        connection = server.connect(dbname, **options)
        opened.append(connection)
        return connection

    yield connect
    for connection in opened:
        connection.close()


@pytest.fixture
def execute(connect):
    connection = connect(options="-c TimeZone=UTC")
    connection.autocommit = True

    def run(sql, values=None):
        with connection.cursor() as cursor:
            cursor.execute(sql, values)
            return cursor.fetchall() if cursor.description else []

    return run


@pytest.fixture
def query(execute):
    return execute
