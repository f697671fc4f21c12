"""Merging 10,000 changed rows into a small and into a ten times larger table: it should cost what changed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from benchmarks.bench import COLUMNS, Bench
from benchmarks.journeys import duckdb_connection, postgres_connection
from benchmarks.measuring import Contestant, Measured, Role, Run
from benchmarks.report import Report, Target, progress
from demo.film_rental.events import ROWS, TABLE, create_events

SIZES: Final = (1_000_000, 10_000_000)
CHANGED: Final = 9_000
NEW: Final = 1_000
MOST_TIMES: Final = 2.0
UPSERT: Final = "one INSERT ON CONFLICT"
MERGE: Final = "one MERGE"
_SETS: Final = ", ".join(f"{name} = s.{name}" for name in COLUMNS.split(", ") if name != "id")
_EXCLUDED: Final = _SETS.replace("= s.", "= excluded.")


@dataclass(frozen=True)
class Place:
    """A source with the changed rows, and a target of so many rows in each system."""

    bench: Bench
    rows: int
    source: str
    target: str
    file: Path

    @property
    def size(self) -> str:
        """How it is called."""
        return f"{self.rows / 1e6:.0f} M"

    def change(self) -> None:
        """Change every row of the source, and take the new ones out of the targets."""
        _run(self.bench, self.source, "UPDATE events SET customer_id = customer_id + 1")
        _run(self.bench, self.target, f"DELETE FROM events WHERE id > {self.rows}", "CHECKPOINT")
        with _duckdb(self.file) as connection:
            connection.execute(f"DELETE FROM events WHERE id > {self.rows}; CHECKPOINT")

    # --- ours ---

    def to_postgres(self) -> Run:
        """Sync into PostgreSQL; the seconds are those of the merge step."""
        self.change()
        return self._sync(postgres_connection(self.bench, self.target), "public.events")

    def to_duckdb(self) -> Run:
        """Sync into DuckDB; the seconds are those of the merge step."""
        self.change()
        return self._sync(duckdb_connection(self.file), "main.events")

    def _sync(self, address: str, table: str) -> Run:
        connections = {"source": self.bench.server.airflow_uri(self.source), "target": address}
        run = self.bench.sync(connections, "--target-table", table, "--mode", "merge", "--capture", "full")
        result = run.details["result"]
        if (result["inserted"], result["updated"]) != (NEW, CHANGED):
            raise RuntimeError(f"the merge changed {result}")
        return replace(run, seconds=run.details["merge"], details={**run.details, "process": run.seconds})

    # --- the limits: one statement, from a table that is there ---

    def upsert(self) -> Run:
        """Time one INSERT ... ON CONFLICT in PostgreSQL."""
        self.change()
        rows = _rows(self.bench, self.source)
        with closing(self.bench.server.connect(self.target)) as connection, connection.cursor() as cursor:
            cursor.execute("CREATE TEMP TABLE changed (LIKE events)")
            cursor.executemany(f"INSERT INTO changed VALUES ({', '.join(['%s'] * 10)})", rows)
            started = time.perf_counter()
            cursor.execute(
                f"INSERT INTO events SELECT {COLUMNS} FROM changed ON CONFLICT (id) DO UPDATE SET {_EXCLUDED}"
            )
            connection.commit()
            return Run(time.perf_counter() - started)

    def merge(self) -> Run:
        """Time one MERGE in DuckDB."""
        import pyarrow as pa

        self.change()
        names = COLUMNS.split(", ")
        columns = zip(*_rows(self.bench, self.source), strict=True)
        changed = pa.table(dict(zip(names, map(list, columns), strict=True)))
        with _duckdb(self.file) as connection:
            connection.execute("CREATE TEMP TABLE changed AS SELECT * FROM events LIMIT 0")
            connection.register("arriving", changed)
            connection.execute("INSERT INTO changed SELECT * FROM arriving")
            started = time.perf_counter()
            connection.execute(
                f"MERGE INTO events USING changed s ON events.id = s.id WHEN MATCHED THEN UPDATE SET {_SETS} "
                "WHEN NOT MATCHED THEN INSERT"
            )
            return Run(time.perf_counter() - started)


def run(bench: Bench) -> Report:
    """Measure."""
    with ExitStack() as stack:
        places = [stack.enter_context(_place(bench, rows)) for rows in SIZES]
        sizes = [_sizes(place) for place in places]
        measured = bench.take_turns(
            [
                contestant
                for place in places
                for contestant in (
                    Contestant(f"elt, PostgreSQL, {place.size}", Role.OURS, place.to_postgres),
                    Contestant(f"{UPSERT}, PostgreSQL, {place.size}", Role.LIMIT, place.upsert),
                    Contestant(f"elt, DuckDB, {place.size}", Role.OURS, place.to_duckdb),
                    Contestant(f"{MERGE}, DuckDB, {place.size}", Role.LIMIT, place.merge),
                )
            ]
        )
    return Report(
        "merge_changes", f"merge of {CHANGED + NEW:,} changed rows into a table that is there", measured,
        targets=[_target(measured, system) for system in ("PostgreSQL", "DuckDB")],
        notes=[*sizes, "seconds of elt are those of the merge step: its checks, compare-and-set, rows and receipt."],
        columns=["extract", "stage", "merge", "process"],
    )  # fmt: skip


def _target(measured: dict[str, Measured], system: str) -> Target:
    small, large = (measured[f"elt, {system}, {rows / 1e6:.0f} M"] for rows in SIZES)
    times = 1 / (large.times_as_fast_as(small) or 1)
    promise = f"{system}: ten times the table costs at most {MOST_TIMES:.0f} times the time"
    return Target(promise, f"{times:.2f} times", times <= MOST_TIMES)


# --- places ---


@contextmanager
def _place(bench: Bench, rows: int) -> Iterator[Place]:
    started = time.perf_counter()
    file = bench.new_folder("merge") / "target.duckdb"
    with bench.database() as source, bench.database() as target:
        step = rows // CHANGED
        some = ROWS.replace("generate_series(%s::bigint, %s::bigint)", "generate_series(%s::bigint, %s, %s)")
        with closing(bench.server.connect(source)) as connection, connection, connection.cursor() as cursor:
            cursor.execute(TABLE)
            cursor.execute(some, (1, 1 + step * (CHANGED - 1), step))
            cursor.execute(some, (rows + 1, rows + NEW, 1))
            cursor.execute("ALTER TABLE events ADD PRIMARY KEY (id)")
        with closing(bench.server.connect(target)) as connection:
            create_events(connection, rows)
        with _duckdb(file) as connection:
            connection.execute(_DUCKDB_ROWS, [rows])
        progress(f"targets of {rows:,} rows made in {time.perf_counter() - started:.0f} s")
        yield Place(bench, rows, source, target, file)


_DUCKDB_ROWS: Final = """
CREATE TABLE events AS SELECT n::BIGINT AS id, (n * 7919 % 100003)::INTEGER AS customer_id,
    'event ' || md5(n::VARCHAR) AS description, ['new', 'paid', 'packed', NULL][n % 4 + 1] AS status,
    (n * 104729 % 100000000 / 100)::DECIMAL(12,2) AS amount,
    TIMESTAMPTZ '2024-01-01 00:00:00+00' + to_seconds(n) AS created_at, DATE '2024-01-01' + (n % 730)::INTEGER AS day,
    n % 3 = 0 AS active, n::DOUBLE / 997 AS score, ('{"page": ' || n % 500 || '}')::JSON AS properties
FROM range(1, ? + 1) t(n)
"""


def _sizes(place: Place) -> str:
    with closing(place.bench.server.connect(place.target)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_total_relation_size('events')")
        found = cursor.fetchone()
        assert found
    return (
        f"{place.size} rows: {found[0] / 1e6:,.0f} MB in PostgreSQL with its index, "
        f"{place.file.stat().st_size / 1e6:,.0f} MB in DuckDB"
    )


def _rows(bench: Bench, database: str) -> list[tuple[Any, ...]]:
    with closing(bench.server.connect(database)) as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT {COLUMNS.replace('properties', 'properties::text')} FROM events")
        return cursor.fetchall()


def _run(bench: Bench, database: str, *statements: str) -> None:
    with closing(bench.server.connect(database)) as connection:
        connection.autocommit = True
        for statement in statements:
            connection.cursor().execute(statement)


@contextmanager
def _duckdb(file: Path) -> Iterator[Any]:
    import duckdb

    with duckdb.connect(str(file)) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection
