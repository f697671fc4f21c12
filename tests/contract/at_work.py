"""Destinations as the contract suite sees them: something to open, and a way to look inside that is not our own."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import duckdb

from airflow_elt_provider.connectors.duckdb.destination import DuckdbDestination
from airflow_elt_provider.connectors.duckdb.settings import DuckdbSettings
from airflow_elt_provider.connectors.postgres.settings import PostgresSettings
from airflow_elt_provider.core.secret import Secret
from airflow_elt_provider.core.table_ref import TableRef

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from airflow_elt_provider.core.protocols import Destination
    from servers.postgres import PostgresServer


class DestinationAtWork(Protocol):
    """What the suite needs of a candidate."""

    @property
    def kind(self) -> str:
        """The system's name in the registry."""

    def open(self, observe: Callable[[str], None]) -> Destination:
        """Return a destination as a fresh process would make it."""

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Run a query with the system's own client."""

    def run(self, sql: str) -> None:
        """Run a statement with the system's own client."""

    def version_of(self, target: str) -> object:
        """Return something that changes when the target is written to."""

    def columns(self, target: str) -> list[str]:
        """Return the target's columns."""

    def rows_or_none(self, target: str) -> int | None:
        """Return how many rows the target has, None while it does not exist."""

    def staging_tables(self) -> list[str]:
        """Return staging tables that were left behind."""

    def wipe(self, target: str) -> None:
        """Begin anew: forget the target, all checkpoints and all receipts."""


@dataclass
class PostgresAtWork:
    """A PostgreSQL database."""

    server: PostgresServer
    dbname: str
    kind: str = "postgres"

    def open(self, observe: Callable[[str], None]) -> Destination:
        from airflow_elt_provider.connectors.postgres.destination import PostgresDestination

        settings = PostgresSettings(
            host=self.server.host, port=self.server.port, dbname=self.dbname, user=self.server.user,
            password=Secret(self.server.password),
        )  # fmt: skip
        return PostgresDestination(settings, observe=observe)

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        connection = self.server.connect(self.dbname, options="-c TimeZone=UTC")
        try:
            with connection.cursor() as cursor:
                cursor.execute(sql)
                return cursor.fetchall()
        finally:
            connection.close()

    def run(self, sql: str) -> None:
        connection = self.server.connect(self.dbname)
        with connection, connection.cursor() as cursor:
            cursor.execute(sql)
        connection.close()

    def version_of(self, target: str) -> object:
        return self.query(f"SELECT count(*), max(xmin::text::bigint), max(ctid::text) FROM {target}")

    def columns(self, target: str) -> list[str]:
        name = TableRef.parse(target).name.replace("'", "''")
        return [
            row[0]
            for row in self.query(f"SELECT column_name FROM information_schema.columns WHERE table_name = '{name}'")
        ]

    def rows_or_none(self, target: str) -> int | None:
        if not self.columns(target):
            return None
        return int(self.query(f"SELECT count(*) FROM {target}")[0][0])

    def staging_tables(self) -> list[str]:
        ours = "SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        return [
            row[0] for row in self.query(f"{ours} WHERE n.nspname = '_elt' AND c.relkind = 'r' AND c.relname ~ '[0-9]'")
        ]

    def wipe(self, target: str) -> None:
        self.run(f"DROP TABLE IF EXISTS {target}; DROP SCHEMA IF EXISTS _elt CASCADE")


@dataclass
class DuckdbAtWork:
    """A DuckDB file."""

    path: Path
    kind: str = "duckdb"

    def open(self, observe: Callable[[str], None]) -> Destination:
        return DuckdbDestination(DuckdbSettings(path=str(self.path)), observe=observe)

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(self.path)) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            return connection.execute(sql).fetchall()

    def run(self, sql: str) -> None:
        with duckdb.connect(str(self.path)) as connection:
            connection.execute(sql)

    def version_of(self, target: str) -> object:
        return self.query(f"SELECT count(*), max(rowid), bit_xor(hash(t)) FROM {target} t")

    def columns(self, target: str) -> list[str]:
        name = TableRef.parse(target).name.replace("'", "''")
        return [
            row[0]
            for row in self.query(f"SELECT column_name FROM information_schema.columns WHERE table_name = '{name}'")
        ]

    def rows_or_none(self, target: str) -> int | None:
        if not self.columns(target):
            return None
        return int(self.query(f"SELECT count(*) FROM {target}")[0][0])

    def staging_tables(self) -> list[str]:
        return []

    def wipe(self, target: str) -> None:
        self.path.unlink(missing_ok=True)
        self.path.with_name(self.path.name + ".wal").unlink(missing_ok=True)


@contextmanager
def postgres(server: PostgresServer, folder: Path) -> Iterator[DestinationAtWork]:
    """Lend a PostgreSQL destination."""
    del folder
    with server.database() as dbname:
        work = PostgresAtWork(server, dbname)
        connection = server.connect(dbname)
        with connection, connection.cursor() as cursor:
            cursor.execute("CREATE SCHEMA raw")
        connection.close()
        yield work


@contextmanager
def duckdb_file(server: PostgresServer, folder: Path) -> Iterator[DestinationAtWork]:
    """Lend a DuckDB destination."""
    del server
    yield DuckdbAtWork(folder / "warehouse.duckdb")
