"""Changes from the write-ahead log to Parquet files: how many a second, and in how much memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from select import select
from typing import Final

import psycopg2
from psycopg2.extras import LogicalReplicationConnection

from benchmarks.bench import Bench
from benchmarks.measuring import Contestant, Measured, Role, Run
from benchmarks.report import Report, Target

CHANGES: Final = 100_000
MANY: Final = 5_000_000
MOST_MIB: Final = 320
LEAST_A_SECOND: Final = 100_000
OURS: Final = "extract, capture wal"
LIMIT: Final = "bare peek by COPY (psycopg2)"
STREAM: Final = "bare replication protocol (psycopg2)"
LARGE: Final = "extract, 5 M changes in one transaction"
_SLOT: Final = "bare"
_MULTIPLY: Final = """
INSERT INTO events (id, customer_id, description, status, amount, created_at, day, active, score, properties)
SELECT id + {rows} * g, customer_id, description, status, amount, created_at, day, active, score, properties
FROM events, generate_series(1, {times}) g
"""
_UPDATE: Final = "UPDATE events SET customer_id = customer_id + 1"


def run(bench: Bench) -> Report:
    """Measure; the large transaction only when asked for."""
    with _changed(bench, "wal_source", _UPDATE) as place:
        measured = bench.take_turns([
            Contestant(OURS, Role.OURS, place.extract),
            Contestant(LIMIT, Role.LIMIT, place.peek),
            Contestant(STREAM, Role.LIMIT, place.stream),
        ])  # fmt: skip
    if bench.large:
        statement = _MULTIPLY.format(rows=CHANGES, times=MANY // CHANGES)
        with _changed(bench, "wal_large", statement) as place:
            measured |= bench.take_turns([Contestant(LARGE, Role.OURS, place.extract, 1)])
    return Report(
        "wal", f"{CHANGES:,} changed rows of 10 columns from the log to Parquet files", measured, CHANGES, LIMIT,
        _targets(measured), columns=["cpu"],
    )  # fmt: skip


def _targets(measured: dict[str, Measured]) -> list[Target]:
    speed = CHANGES / measured[OURS].seconds
    found = [Target(f"at least {LEAST_A_SECOND:,} changes/s", f"{speed:,.0f}", speed >= LEAST_A_SECOND)]
    if LARGE not in measured:
        return [*found, Target(f"below {MOST_MIB} MiB at {MANY:,} changes", "not asked for: add --large", None)]
    peak = measured[LARGE].peak_mib or 0
    return [*found, Target(f"below {MOST_MIB} MiB at {MANY:,} changes", f"{peak:.0f} MiB", peak < MOST_MIB)]


@dataclass(frozen=True)
class Place:
    """A database whose log holds the changes, behind two slots: ours, and a bare one."""

    bench: Bench
    database: str
    folder: Path

    def extract(self) -> Run:
        """Read the log as a load does; the slot stays where it is, so that each round reads the same."""
        connection = {"AIRFLOW_CONN_SOURCE": self.bench.server.airflow_uri(self.database)}
        return self.bench.run("wal_process", self.folder, env=connection)

    def peek(self) -> Run:
        """Read the same messages and throw them away."""
        return _timed(self._peek)

    def _peek(self) -> None:
        with closing(self.bench.server.connect(self.database)) as connection, connection.cursor() as cursor:
            cursor.copy_expert(
                f"COPY (SELECT data FROM pg_logical_slot_peek_binary_changes('{_SLOT}', NULL, NULL, 'proto_version', "
                f"'1', 'publication_names', '{_SLOT}')) TO STDOUT (FORMAT binary)", _Nowhere(),
            )  # fmt: skip

    def stream(self) -> Run:
        """Read the same messages by the replication protocol."""
        run = _timed(self._stream)
        self._wait()
        return run

    def _wait(self) -> None:
        """Wait until the server noticed that nobody reads the slot any more."""
        with closing(self.bench.server.connect(self.database)) as connection, connection.cursor() as cursor:
            connection.autocommit = True
            while True:
                cursor.execute("SELECT count(*) FROM pg_replication_slots WHERE active AND slot_name = %s", (_SLOT,))
                if cursor.fetchall() == [(0,)]:
                    return
                time.sleep(0.05)

    def _stream(self) -> None:
        dsn = self.bench.server.dsn(self.database)
        with closing(psycopg2.connect(dsn, connection_factory=LogicalReplicationConnection)) as connection:
            cursor = connection.cursor()
            cursor.start_replication(
                slot_name=_SLOT, decode=False, options={"proto_version": "1", "publication_names": _SLOT}
            )
            while (message := cursor.read_message()) is None or message.payload[:1] != b"C":
                if message is None:
                    select([connection], [], [], 0.2)


class _Nowhere:
    def write(self, data: bytes) -> int:
        return len(data)


def _timed(work: Callable[[], None]) -> Run:
    started = time.perf_counter()
    work()
    return Run(time.perf_counter() - started)


@contextmanager
def _changed(bench: Bench, database: str, statement: str) -> Iterator[Place]:
    """Lend a database in which so much changed since its slots were made."""
    bench.fill(bench.server, database, CHANGES)
    place = Place(bench, database, bench.new_folder(database))
    place.extract()
    with closing(bench.server.connect(database)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(f"CREATE PUBLICATION {_SLOT} FOR TABLE events")
            cursor.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", (_SLOT,))
            cursor.execute(statement)
            cursor.execute("CHECKPOINT")
            yield place
            cursor.execute("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots "
                           "WHERE database = current_database()")  # fmt: skip
