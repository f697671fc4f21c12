"""PostgreSQL at work."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from airflow_elt_provider.connectors.postgres.names import literal
from airflow_elt_provider.connectors.postgres.settings import PostgresSettings
from airflow_elt_provider.core.secret import Secret
from servers.postgres import PostgresServer
from tests.contract.at_work import DestinationAtWork, DestinationCandidate, Servers, Shown, local_stage, made_by

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from airflow_elt_provider.core.protocols import Destination, Stage

TYPES = {
    # As a number, so that lc_monetary of neither server matters.
    "c_money": Shown("numeric", ("1234.56", "-0.01")),
}


class ServerElsewhere(PostgresServer):
    """A server that another process runs."""

    def __init__(self, port: int, user: str, password: str) -> None:
        """Point to it."""
        super().__init__(user=user, password=password)
        self._there = port

    @property
    def port(self) -> int:
        """Its port."""
        return self._there


@dataclass
class PostgresAtWork:
    """A PostgreSQL database."""

    server: PostgresServer
    dbname: str
    kind: str = "postgres"
    keeps_numeric: bool = True
    nulled: Mapping[str, int] = field(default_factory=dict)
    types: Mapping[str, Shown] = field(default_factory=lambda: TYPES)

    @classmethod
    def reopen(cls, port: int, user: str, password: str, dbname: str) -> Self:
        return cls(ServerElsewhere(port, user, password), dbname)

    def recipe(self) -> dict[str, Any]:
        server = self.server
        return made_by(self, port=server.port, user=server.user, password=server.password, dbname=self.dbname)

    def stage(self, folder: Path) -> Stage:
        return local_stage(folder)

    def name(self, target: str) -> str:
        return target

    def text(self, expression: str) -> str:
        return f"CAST({expression} AS text)"

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

    def columns(self, target: str) -> dict[str, str]:
        return dict(
            self.query(
                "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute "
                f"WHERE attrelid = to_regclass({literal(target)}) AND attnum > 0 AND NOT attisdropped"
            )
        )

    def staging_tables(self) -> list[str]:
        ours = "SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        return [
            row[0] for row in self.query(f"{ours} WHERE n.nspname = '_elt' AND c.relkind = 'r' AND c.relname ~ '[0-9]'")
        ]

    def wipe(self, target: str) -> None:
        self.run(f"DROP TABLE IF EXISTS {target}; DROP SCHEMA IF EXISTS _elt CASCADE")


@contextmanager
def postgres(servers: Servers, folder: Path) -> Iterator[DestinationAtWork]:
    """Lend a PostgreSQL destination."""
    del folder
    server = servers.of(PostgresServer)
    with server.database() as dbname:
        work = PostgresAtWork(server, dbname)
        work.run("CREATE SCHEMA raw")
        yield work


CANDIDATES = {"postgres": DestinationCandidate(postgres, stride=3)}
