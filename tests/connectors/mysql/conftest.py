"""One MariaDB for these tests, a database of its own for each, and a short way to read it and to load from it."""

from __future__ import annotations

import itertools
import json
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from airflow_elt_provider.connectors.duckdb.destination import DuckdbDestination
from airflow_elt_provider.connectors.duckdb.settings import DuckdbSettings
from airflow_elt_provider.connectors.mysql.settings import MySqlSettings
from airflow_elt_provider.connectors.mysql.source import MySqlSource
from airflow_elt_provider.connectors.postgres.destination import PostgresDestination
from airflow_elt_provider.connectors.postgres.settings import PostgresSettings
from airflow_elt_provider.core.checkpoint import Position
from airflow_elt_provider.core.load import RunIdentity
from airflow_elt_provider.core.plan import Extraction
from airflow_elt_provider.core.protocols import ChangeSet, Memory
from airflow_elt_provider.core.request import extraction, merging
from airflow_elt_provider.core.system_columns import EXACT
from airflow_elt_provider.core.table_ref import TableRef
from airflow_elt_provider.engine.reconcile import Reconcile
from airflow_elt_provider.engine.sync import Sync
from airflow_elt_provider.stages.local import LocalStage
from servers.mariadb import HOW_TO_GET_IT, MariaDbServer, find_root
from servers.postgres import PostgresServer


@pytest.fixture(scope="session")
def mariadb_server():
    if find_root() is None:
        pytest.skip(f"no MariaDB on this machine: {HOW_TO_GET_IT}")
    # The second address is one that the server's certificate does not name.
    with MariaDbServer({"bind-address": "127.0.0.1,127.0.0.2"}) as server:
        yield server


@pytest.fixture
def dbname(mariadb_server):
    with mariadb_server.database() as name:
        yield name


@pytest.fixture
def sql(mariadb_server, dbname):
    """Run statements in the database, each committed at once; returns the rows of the last one."""
    with closing(mariadb_server.connect(dbname)) as connection:

        def run(*statements: str) -> list[tuple[Any, ...]]:
            with connection.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)
                return list(cursor.fetchall())

        yield run


@pytest.fixture
def settings(mariadb_server, dbname):
    return MySqlSettings.parse({**mariadb_server.parts(dbname), "ssl_ca": str(mariadb_server.authority)})


class Read:
    """What a source gave, in Python's values."""

    def __init__(self, changes: ChangeSet) -> None:
        self.changes = changes
        self.batches = [batch for stream in changes.streams for batch in stream]
        self.keys = [row for stream in changes.keys for batch in stream for row in batch.to_pylist()]
        outcome = changes.outcome() if changes.outcome else None
        self.position: Position = outcome.position if outcome else changes.position
        self.state = outcome.state if outcome else None

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

    def run(table: str | None = "t", *, since=None, until=None, state=None, source=None, **parameters) -> Read:
        if table and "query" not in parameters:
            parameters["table"] = TableRef.parse(table)
        with (source or MySqlSource(settings)).changes(
            Extraction(stream="s", **parameters), since, until, Memory(state)
        ) as changes:
            return Read(changes)

    return run


@pytest.fixture
def follow(read):
    """Read again and again, each time from where the last read ended."""

    class Follow:
        position = state = None

        def __call__(self, **parameters):
            found = read(since=self.position, state=self.state, **parameters)
            self.position, self.state = found.position, found.state or self.state
            return found

        def idle(self, **parameters):
            before = self.position
            found = self(**parameters)
            assert (found.rows, found.keys, found.position) == ([], [], before)

    return Follow()


# --- whole journeys ---


class Journey:
    """Syncs of one table into one target."""

    target = "raw.t"

    def __init__(self, source: MySqlSettings, stage: Path, destination: Any) -> None:
        self._source, self._stage, self._destination = source, stage, destination
        self._numbers = itertools.count()

    def begin_anew(self) -> str:
        """Go on into another target, as another stream; return its name."""
        self.target = f"raw.t{next(self._numbers)}"
        return self.target

    def __call__(self, table: str = "t", **parameters: Any) -> Any:
        into = {name: parameters.pop(name) for name in ("allow_empty", "max_delete_ratio") if name in parameters}
        mode = {name: parameters[name] for name in ("mode", "deletes") if name in parameters}
        return Sync(
            extraction(stream=self.target, source_table=table, **parameters),
            merging(target_table=self.target, **mode, **into),
            RunIdentity("dag", f"run {next(self._numbers)}", "task"),
            MySqlSource(self._source), LocalStage(self._stage), self._destination(),
        ).execute()  # fmt: skip

    def reconcile(self, table: str = "t", **parameters: Any) -> Any:
        """Compare the table with the target."""
        what = extraction(stream=self.target, source_table=table, **parameters)
        into = TableRef.parse(self.target)
        return Reconcile(what, into, MySqlSource(self._source), self._destination(), retry_pause=0.05).execute()


@pytest.fixture(scope="session")
def postgres_server():
    with PostgresServer() as server:
        yield server


@pytest.fixture
def to_duckdb(settings, tmp_path):
    """Sync into DuckDB; `query` looks at it."""
    import duckdb

    path = tmp_path / "lake.duckdb"
    journey = Journey(settings, tmp_path / "stage", lambda: DuckdbDestination(DuckdbSettings(str(path))))

    def query(sql: str) -> list[tuple[Any, ...]]:
        with closing(duckdb.connect(str(path), read_only=True)) as connection:
            return connection.execute(sql).fetchall()

    return journey, query


@pytest.fixture
def to_postgres(settings, tmp_path, postgres_server):
    """Sync into PostgreSQL; `query` looks at it."""
    from psycopg2.extensions import parse_dsn

    with postgres_server.database() as name:
        target = PostgresSettings.parse(parse_dsn(postgres_server.dsn(name)))

        def query(sql: str) -> list[tuple[Any, ...]]:
            with closing(postgres_server.connect(name)) as connection, connection.cursor() as cursor:
                cursor.execute(sql)
                return cursor.fetchall()

        yield Journey(settings, tmp_path / "stage", lambda: PostgresDestination(target)), query
