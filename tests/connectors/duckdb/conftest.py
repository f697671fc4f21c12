"""A DuckDB file for each test, and our own look into it."""

from __future__ import annotations

import duckdb
import pytest

from airflow_elt_provider.connectors.duckdb.destination import DuckdbDestination
from airflow_elt_provider.connectors.duckdb.settings import DuckdbSettings

pytest.register_assert_rewrite("tests.connectors.merge_stories")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "warehouse.duckdb"


@pytest.fixture
def destination(path):
    return DuckdbDestination(DuckdbSettings(str(path), lock_timeout=20))


@pytest.fixture
def query(path):
    def run(sql):
        with duckdb.connect(str(path)) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            return connection.execute(sql).fetchall()

    return run


@pytest.fixture
def execute(query):
    return query
