"""Comparing a table with its target, row for row: it should cost little more than one scan that hashes the content."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from airflow_elt_provider.connectors.duckdb.destination import DuckdbDestination
from airflow_elt_provider.connectors.duckdb.settings import DuckdbSettings
from airflow_elt_provider.connectors.postgres.destination import PostgresDestination
from airflow_elt_provider.connectors.postgres.settings import PostgresSettings
from airflow_elt_provider.connectors.postgres.source import PostgresSource
from airflow_elt_provider.core.request import extraction
from airflow_elt_provider.core.secret import Secret
from airflow_elt_provider.core.table_ref import TableRef
from airflow_elt_provider.engine.reconcile import Reconcile
from benchmarks.bench import SOURCE, Bench
from benchmarks.journeys import duckdb_connection
from benchmarks.measuring import Contestant, Measured, Role, Run
from benchmarks.report import Report, Target

if TYPE_CHECKING:
    from airflow_elt_provider.core.protocols import Destination

LIMIT: Final = "one content-hash scan of the source (psycopg2)"
EQUAL: Final = "PostgreSQL and PostgreSQL, equal"
DIFFERENT: Final = "PostgreSQL and PostgreSQL, 3 rows differ"
DUCKDB: Final = "PostgreSQL and DuckDB, equal"
MOST: Final = 3.0
_SCAN: Final = "SELECT count(*), sum(hashtextextended(ROW(e.*)::text, 0)) FROM events e"
_CHANGE: Final = (
    "UPDATE events SET customer_id = customer_id + 1 WHERE id = 77; DELETE FROM events WHERE id = 78; "
    "UPDATE events SET status = 'other' WHERE id = 79"
)


@dataclass(frozen=True)
class Places:
    """The same rows in three databases, and a fourth of which three are not the same."""

    bench: Bench
    equal: str
    different: str
    file: Path

    def scan(self) -> Run:
        """Hash every row once."""
        with closing(self.bench.server.connect(SOURCE)) as connection, connection.cursor() as cursor:
            cursor.execute("SET jit = off; SET TimeZone = 'UTC'; SET extra_float_digits = 3")
            return _timed(lambda: cursor.execute(_SCAN))

    def to_postgres(self, database: str, differences: int) -> Run:
        """Compare with another database of the server."""
        return self._compare(PostgresDestination(_settings(self.bench, database)), "public.events", differences)

    def to_duckdb(self) -> Run:
        """Compare with a DuckDB file."""
        return self._compare(DuckdbDestination(DuckdbSettings(str(self.file))), "main.events", 0)

    def _compare(self, destination: Destination, target: str, differences: int) -> Run:
        comparison = Reconcile(
            extraction(stream="bench", source_table="public.events"), TableRef.parse(target),
            PostgresSource(_settings(self.bench, SOURCE)), destination, retry_differing=0,
        )  # fmt: skip
        started = time.perf_counter()
        result = comparison.execute()
        seconds = time.perf_counter() - started
        if result.differences != differences:
            raise RuntimeError(f"the comparison found {result.to_json()}")
        return Run(seconds, details={"columns left out": len(result.not_compared)})


def run(bench: Bench) -> Report:
    """Measure."""
    server = bench.server
    with bench.database(SOURCE) as equal, bench.database(SOURCE) as different:
        places = Places(bench, equal, different, bench.new_folder("lake") / "lake.duckdb")
        with closing(server.connect(different)) as connection, connection, connection.cursor() as cursor:
            cursor.execute(_CHANGE)
        bench.sync(
            {"source": server.airflow_uri(SOURCE), "target": duckdb_connection(places.file)},
            "--target-table", "main.events", "--mode", "replace",
        )  # fmt: skip
        measured = bench.take_turns([
            Contestant(EQUAL, Role.OURS, lambda: places.to_postgres(equal, 0)),
            Contestant(DIFFERENT, Role.OURS, lambda: places.to_postgres(different, 3)),
            Contestant(DUCKDB, Role.OURS, places.to_duckdb),
            Contestant(LIMIT, Role.LIMIT, places.scan),
        ])  # fmt: skip
    return Report(
        "reconcile", "comparing all columns of two tables", measured, bench.rows, LIMIT, _targets(measured),
        columns=["columns left out"],
    )  # fmt: skip


def _targets(measured: dict[str, Measured]) -> list[Target]:
    ratio = 1 / (measured[EQUAL].times_as_fast_as(measured[LIMIT]) or float("inf"))
    return [Target(f"equal tables in at most {MOST} times the scan", f"{ratio:.2f}", ratio <= MOST)]


def _timed(work: Callable[[], Any]) -> Run:
    started = time.perf_counter()
    work()
    return Run(time.perf_counter() - started, details={"columns left out": 0})


def _settings(bench: Bench, database: str) -> PostgresSettings:
    server = bench.server
    return PostgresSettings(
        host=server.host, port=server.port, dbname=database, user=server.user, password=Secret(server.password)
    )
