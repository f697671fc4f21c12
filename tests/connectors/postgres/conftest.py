"""One PostgreSQL for these tests, a database of its own for each, and a short way to read it."""

from __future__ import annotations

import json
from typing import Any

import psycopg2
import pytest

from airflow_elt_provider.connectors.postgres.settings import PostgresSettings
from airflow_elt_provider.connectors.postgres.source import PostgresSource
from airflow_elt_provider.core.checkpoint import Position
from airflow_elt_provider.core.plan import Extraction
from airflow_elt_provider.core.protocols import ChangeSet
from airflow_elt_provider.core.system_columns import EXACT
from airflow_elt_provider.core.table_ref import TableRef
from servers.postgres import PostgresServer
from tests.connectors.postgres.mirrors import Mirror, Place
from tests.contract.at_work import Servers
from tests.contract.candidates import DESTINATIONS


@pytest.fixture(scope="session")
def postgres_server():
    with PostgresServer() as server:
        yield server


@pytest.fixture
def dbname(postgres_server):
    with postgres_server.database() as name:
        yield name


@pytest.fixture
def sql(postgres_server, dbname):
    """Run statements in the database, each committed at once; returns the rows of the last one."""
    connection = postgres_server.connect(dbname)
    connection.autocommit = True

    def run(*statements: str) -> list[tuple[Any, ...]]:
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []

    yield run
    connection.close()


@pytest.fixture
def settings(postgres_server, dbname):
    dsn = psycopg2.extensions.parse_dsn(postgres_server.dsn(dbname))
    return PostgresSettings.parse(dsn)


class Read:
    """What a source gave, in Python's values."""

    def __init__(self, changes: ChangeSet) -> None:
        self.changes = changes
        self.batches = [batch for stream in changes.streams for batch in stream]

    @property
    def position(self) -> Position:
        return self.changes.position

    @property
    def notes(self) -> str:
        return "; ".join(self.changes.notes)

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Rows as dicts; an exceptional value as its text."""
        found = []
        for row in (row for batch in self.batches for row in batch.to_pylist()):
            exceptional = json.loads(row.pop(EXACT, None) or "{}")
            found.append({**row, **exceptional})
        return found

    def column(self, name: str) -> list[Any]:
        return sorted((row[name] for row in self.rows), key=lambda value: (value is None, value))

    @property
    def ids(self) -> list[Any]:
        return self.column("id")


@pytest.fixture
def read(settings):
    """Read a table, or a query, through a source of its own."""

    def run(table: str | None = "t", *, since=None, until=None, source=None, **parameters) -> Read:
        if table and "query" not in parameters:
            parameters["table"] = TableRef.parse(table)
        with (source or PostgresSource(settings)).changes(
            Extraction(stream="s", **parameters), since, until
        ) as changes:
            return Read(changes)

    return run


@pytest.fixture
def world(postgres_server, dbname, tmp_path):
    """The database, a stage and a DuckDB file, and syncs between them."""
    from tests.contract.duckdb_at_work import DuckdbAtWork
    from tests.contract.world import World

    made = World(postgres_server, dbname, tmp_path, DuckdbAtWork(tmp_path / "warehouse.duckdb"))
    yield made
    for (slot,) in made.run_at_source("SELECT slot_name FROM pg_replication_slots WHERE database = current_database()"):
        made.run_at_source("SELECT pg_drop_replication_slot(%s)", slot)


@pytest.fixture(scope="session")
def servers(postgres_server):
    """What destinations of the contract suite share; the source's own server among them."""
    running = Servers()
    running._running[PostgresServer] = postgres_server
    yield running
    running.close()


@pytest.fixture(params=["duckdb", "postgres"])
def mirror(request, servers, postgres_server, tmp_path):
    candidate = DESTINATIONS[request.param]
    with postgres_server.database() as dbname, candidate.open(servers, tmp_path) as destination:
        yield Mirror(Place(postgres_server, dbname, tmp_path, destination, "public.t", "raw.t"))


@pytest.fixture
def table(mirror):
    """Ten thousand rows, synced once."""
    mirror.sql(
        "CREATE TABLE t (id bigint PRIMARY KEY, v text, n int); "
        "INSERT INTO t SELECT g, 'v' || g, g FROM generate_series(-4000, 5999) g"
    )
    mirror.check()
    return mirror
