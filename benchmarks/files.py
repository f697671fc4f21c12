"""CSV files into PostgreSQL: the mission's small one from S3, and with --large one of 1 GB from a folder."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from airflow_elt_provider.connectors.files.settings import FilesSettings
from airflow_elt_provider.connectors.files.source import FilesSource
from airflow_elt_provider.connectors.postgres.destination import PostgresDestination
from airflow_elt_provider.connectors.postgres.settings import of_connection
from airflow_elt_provider.core.connection import ConnectionParts
from airflow_elt_provider.core.load import RunIdentity
from airflow_elt_provider.core.request import extraction, merging
from airflow_elt_provider.engine.sync import Sync
from airflow_elt_provider.stages.s3 import S3Stage
from airflow_elt_provider.stages.uri import parse_stage_uri
from benchmarks.bench import SETTINGS, Bench
from benchmarks.measuring import Contestant, Measured, Role, Run
from benchmarks.report import Report, Target, progress
from servers.postgres import PostgresServer
from servers.s3 import S3Server

ROWS: Final = 10_000
LARGE_BYTES: Final = 1_000_000_000
ROUNDS: Final = 9
WORK_SECONDS: Final = 0.06
EMBULK_SECONDS: Final = 0.20
LEAST_OF_COPY: Final = 0.6
MOST_MIB: Final = 320
FIRST: Final = "first load, target created"
AGAIN: Final = "the same file once more, merged by key"
COLD: Final = "first load, elt sync in a new process"
STAGED: Final = "first load, staged as Parquet"
LIMIT: Final = "GET, COPY and COMMIT (boto3, psycopg2)"
LARGE: Final = "1 GB, append, elt sync in a new process"
LARGE_KEY: Final = "1 GB, merge by key, elt sync in a new process"
LARGE_LIMIT: Final = "1 GB, COPY FROM STDIN (psycopg2)"
LARGE_KEY_LIMIT: Final = "1 GB, COPY FROM STDIN and ADD PRIMARY KEY"
_TYPES: Final = {"user_id": "bigint", "book_id": "bigint", "order_cnt": "bigint", "order_amt": "bigint"}
_DDL: Final = (
    "CREATE TABLE {name} (order_id text{key}, user_id bigint, book_id bigint, book_name text, order_cnt bigint, "
    "order_amt bigint)"
)
_COPY: Final = "COPY {name} FROM STDIN (FORMAT csv, HEADER)"
_HEADER: Final = "order_id,user_id,book_id,book_name,order_cnt,order_amt\n"
_READ: Final = 1 << 20


def run(bench: Bench) -> Report:
    """Measure; the large file only when asked for."""
    with ExitStack() as stack:
        server = stack.enter_context(PostgresServer(SETTINGS))
        s3 = stack.enter_context(S3Server())
        small = Small(bench, server, stack.enter_context(server.database()), s3)
        measured = bench.take_turns(small.contestants(), ROUNDS)
        if bench.large:
            large = stack.enter_context(_large(bench, server))
            measured |= bench.take_turns(large.contestants(), at_most=1)
    times = EMBULK_SECONDS / measured[FIRST].seconds
    return Report(
        "files", f"a CSV file of {ROWS:,} rows on S3 into PostgreSQL", measured, 0, LIMIT, _targets(measured),
        [f"peer: Embulk's published figure is {EMBULK_SECONDS:.2f} s, not transactional: {times:.1f} times as long",
         "seconds of loads in this process: from the first byte asked of S3 to the answer to COMMIT",
         "whole: with the questions to PostgreSQL before it"],
        columns=["whole", "cpu"],
    )  # fmt: skip


def _targets(measured: dict[str, Measured]) -> list[Target]:
    seconds = measured[FIRST].seconds
    promise = f"at most {WORK_SECONDS} s from the first byte asked of S3 to COMMIT"
    found = [Target(promise, f"{seconds:.3f} s", seconds <= WORK_SECONDS)]
    speed, memory = f"1 GB at {LEAST_OF_COPY} of COPY's rate", f"1 GB below {MOST_MIB} MiB"
    if LARGE not in measured:
        return [*found, *(Target(promise, "not asked for: add --large", None) for promise in (speed, memory))]
    ratio = measured[LARGE].times_as_fast_as(measured[LARGE_LIMIT]) or 0
    peak = max(measured[name].peak_mib or 0 for name in (LARGE, LARGE_KEY))
    keyed = measured[LARGE_KEY].times_as_fast_as(measured[LARGE_KEY_LIMIT]) or 0
    return [
        *found, Target(speed, f"{ratio:.2f}", ratio >= LEAST_OF_COPY),
        Target(f"{LARGE_KEY}, of {LARGE_KEY_LIMIT}", f"{keyed:.2f}", None),
        Target(memory, f"{peak:.0f} MiB", peak < MOST_MIB),
    ]  # fmt: skip


def _lines(start: int, count: int) -> str:
    return "".join(
        f"o{at:09d},{at * 7919 % 1_000_003},{at % 9973},日本語の本の名前 その{at % 1000},{at % 9 + 1},"
        f"{at * 37 % 99_991}\n"
        for at in range(start, start + count)
    )


def _parts(server: PostgresServer, database: str) -> ConnectionParts:
    return ConnectionParts.parse("target", server.airflow_connection(database))


def _timed(work: Callable[[], None]) -> Run:
    started = time.perf_counter()
    work()
    return Run(time.perf_counter() - started)


@dataclass
class Small:
    """The mission's file in a bucket, and an empty database."""

    bench: Bench
    server: PostgresServer
    database: str
    s3: S3Server
    first_byte: float = 0.0
    runs: int = 0
    uri: str = field(default="", init=False)

    def __post_init__(self) -> None:
        """Put the file, and open the connections that a worker at work has open."""
        self.uri = f"s3://{self.s3.create_bucket('mission')}"
        self.client = self.s3.client(endpoint_url=self.s3.bare_url)
        self.client.put_object(
            Bucket="mission", Key="original-data/orders.csv", Body=(_HEADER + _lines(0, ROWS)).encode()
        )
        self.client.meta.events.register("before-send.s3", self._asked)
        self.destination = PostgresDestination(of_connection(_parts(self.server, self.database)))
        self.source = FilesSource(FilesSettings("source", "s3", self._folder))
        self.stage = self._folder(f"{self.uri}/stage")

    def contestants(self) -> list[Contestant]:
        """Everybody with the small file."""
        return [
            Contestant(FIRST, Role.OURS, self.first),
            Contestant(AGAIN, Role.OURS, self.again),
            Contestant(STAGED, Role.OURS, self.staged),
            Contestant(COLD, Role.OURS, self.cold, 3),
            Contestant(LIMIT, Role.LIMIT, self.bare),
        ]

    def first(self) -> Run:
        """Load into a target that is not there."""
        self._execute("DROP TABLE IF EXISTS public.book_order")
        self.destination.forget("orders")
        return self._load()

    def again(self) -> Run:
        """Load the same rows into the target of :meth:`first`."""
        return self._load()

    def staged(self) -> Run:
        """Load by the way of files that the server cannot be given as they are."""
        self._execute("DROP TABLE IF EXISTS public.book_order")
        self.destination.forget("orders")
        return self._load(max_quarantined_rows=1)

    def cold(self) -> Run:
        """Do it as a command, with everything that a new process has to import and to open."""
        self._execute("DROP TABLE IF EXISTS public.book_order")
        s3 = self.s3.airflow_connection(endpoint_url=self.s3.bare_url)
        connections = {"source": s3, "target": self.server.airflow_connection(self.database)}
        return _command(self.bench, connections, f"{self.uri}/original-data/*.csv", "public.book_order", key=True)

    def bare(self) -> Run:
        """Do what has to be done at least."""
        self._execute("DROP TABLE IF EXISTS bare; " + _DDL.format(name="bare", key=" PRIMARY KEY"))
        with closing(self.server.connect(self.database)) as connection, connection.cursor() as cursor:
            started = time.perf_counter()
            body: Any = self.client.get_object(Bucket="mission", Key="original-data/orders.csv")["Body"]
            cursor.copy_expert(_COPY.format(name="bare"), body)
            connection.commit()
            return Run(time.perf_counter() - started)

    def _load(self, max_quarantined_rows: int = 0) -> Run:
        self.runs += 1
        what = extraction(
            stream="orders", path=f"{self.uri}/original-data/*.csv", mode="merge", primary_key="order_id",
            column_types=_TYPES, max_quarantined_rows=max_quarantined_rows,
        )  # fmt: skip
        into = merging(target_table="public.book_order", max_quarantined_rows=max_quarantined_rows)
        run = RunIdentity("benchmark", str(self.runs), "orders")
        self.first_byte, started = 0.0, time.perf_counter()
        result = Sync(what, into, run, self.source, self.stage, self.destination).execute()
        ended = time.perf_counter()
        if result.extracted != ROWS:
            raise RuntimeError(f"{result.extracted} rows arrived")
        return Run(ended - self.first_byte, details={"whole": ended - started})

    def _asked(self, **_: object) -> None:
        self.first_byte = self.first_byte or time.perf_counter()

    def _folder(self, uri: str) -> S3Stage:
        place = parse_stage_uri(uri)
        return S3Stage(lambda: self.client, place.bucket, place.path)

    def _execute(self, sql: str) -> None:
        with closing(self.server.connect(self.database)) as connection, connection, connection.cursor() as cursor:
            cursor.execute(sql)


@dataclass
class Large:
    """A large file in a folder, and an empty database."""

    bench: Bench
    server: PostgresServer
    database: str
    path: Path

    def contestants(self) -> list[Contestant]:
        """Everybody with the large file."""
        return [
            Contestant(LARGE_LIMIT, Role.LIMIT, lambda: self.bare(key=False)),
            Contestant(LARGE_KEY_LIMIT, Role.LIMIT, lambda: self.bare(key=True)),
            Contestant(LARGE, Role.OURS, lambda: self.load("appended", key=False)),
            Contestant(LARGE_KEY, Role.OURS, lambda: self.load("merged", key=True)),
        ]

    def bare(self, *, key: bool) -> Run:
        """Let the server read the file, and do nothing else, but for a key."""
        with closing(self.server.connect(self.database)) as connection, connection.cursor() as cursor:
            cursor.execute(_DDL.format(name="bare", key=""))
            connection.commit()

            def work() -> None:
                with self.path.open("rb") as file:
                    cursor.copy_expert(_COPY.format(name="bare"), file, _READ)
                if key:
                    cursor.execute("ALTER TABLE bare ADD PRIMARY KEY (order_id)")
                connection.commit()

            found = _timed(work)
            cursor.execute("DROP TABLE bare")
            connection.commit()
            return found

    def load(self, table: str, *, key: bool) -> Run:
        """Load it as a command."""
        folder = json.dumps({"conn_type": "fs", "extra": {"path": "/"}})
        connections = {"source": folder, "target": self.server.airflow_connection(self.database)}
        found = _command(self.bench, connections, str(self.path), f"public.{table}", key=key)
        with closing(self.server.connect(self.database)) as connection, connection, connection.cursor() as cursor:
            cursor.execute(f"DROP TABLE {table}")
        return found


def _command(bench: Bench, connections: dict[str, str], path: str, target: str, *, key: bool) -> Run:
    mode = ["--mode", "merge", "--primary-key", "order_id"] if key else ["--mode", "append"]
    types = [word for name, kind in _TYPES.items() for word in ("--column-type", f"{name}={kind}")]
    return bench.run(
        "elt_process", "sync", "--json", "--source-conn-id", "source", "--path", path,
        "--destination-conn-id", "target", "--target-table", target, "--stage",
        f"file://{bench.new_folder('stage')}", *mode, *types,
        env={f"AIRFLOW_CONN_{name.upper()}": value for name, value in connections.items()},
    )  # fmt: skip


@contextmanager
def _large(bench: Bench, server: PostgresServer) -> Iterator[Large]:
    path = bench.new_folder("large") / "orders.csv"
    step, at = 200_000, 0
    with path.open("w") as file:
        file.write(_HEADER)
        while file.tell() < LARGE_BYTES:
            file.write(_lines(at, step))
            at += step
    progress(f"{path} with {at:,} rows and {path.stat().st_size:,} bytes made")
    try:
        with server.database() as database:
            yield Large(bench, server, database, path)
    finally:
        path.unlink()
