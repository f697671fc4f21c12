"""Hologres of three versions before one PostgreSQL; a database of its own for each test."""

from __future__ import annotations

import pytest

from airflow_elt_provider.connectors.hologres.destination import HologresDestination
from airflow_elt_provider.connectors.hologres.settings import HologresSettings
from servers.hologres import HologresServer
from servers.postgres import PostgresServer
from tests.connectors.staged_loads import Loads


@pytest.fixture(scope="session")
def postgres():
    with PostgresServer() as running:
        yield running


@pytest.fixture(scope="session")
def instance(postgres):
    with HologresServer(postgres, "2.2.14") as running:
        yield running


@pytest.fixture(scope="session")
def newer(postgres):
    """An instance that can change some columns' types."""
    with HologresServer(postgres, "3.0.33") as running:
        yield running


@pytest.fixture(scope="session")
def older(postgres):
    """An instance without DML transactions."""
    with HologresServer(postgres, "1.3.44") as running:
        yield running


@pytest.fixture
def dbname(instance):
    with instance.database() as name:
        yield name


@pytest.fixture
def settings(instance, dbname):
    return HologresSettings.parse({
        "host": instance.host, "port": instance.port, "dbname": dbname, "user": instance.user,
        "password": instance.password, "lock_timeout": 20,
    })  # fmt: skip


@pytest.fixture
def destination(settings):
    return HologresDestination(settings)


@pytest.fixture
def execute(postgres, dbname):
    """Run SQL behind the proxy's back."""
    connection = postgres.connect(dbname, options="-c TimeZone=UTC")
    connection.autocommit = True

    def run(sql, values=None):
        with connection.cursor() as cursor:
            cursor.execute(sql, values)
            return cursor.fetchall() if cursor.description else []

    yield run
    connection.close()


@pytest.fixture
def loads(tmp_path):
    return Loads(tmp_path, "public.item", columns=("id bigint", "v text"))
