"""What changed in a large table, found by fingerprints and by reading all of it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from benchmarks.bench import Bench
from benchmarks.copying import copy_out
from benchmarks.measuring import Contestant, Measured, Role, Run
from benchmarks.report import Report, Target, progress
from demo.film_rental.events import ROWS

ROWS_OF_TABLE: Final = 1_000_000
LARGE: Final = 10
UPDATED, DELETED, INSERTED = 1_000, 500, 500
MOST_SECONDS: Final = 0.5
MOST_MB: Final = 2.0
MOST_MIB: Final = 320
MOST_TIMES: Final = 12.0
LIMIT: Final = "bare COPY of the table (csv)"


@dataclass
class Place:
    """A table that changes, and a stage on which its last extract lies."""

    bench: Bench
    rows: int
    database: str
    stage: Path
    first: Run
    after: str
    number: int = 0

    @property
    def size(self) -> str:
        """How it is called."""
        return f"{self.rows / 1e6:.0f} M"

    def change(self) -> None:
        """Change 1,000 rows, delete 500 at random and add as many."""
        self.number += 1
        start = self.rows + self.number * INSERTED
        with closing(self.bench.server.connect(self.database)) as connection, connection, connection.cursor() as cursor:
            cursor.execute("SELECT setseed(%s)", (self.number / 100,))
            some = "(SELECT floor(random() * %s)::bigint + 1 FROM generate_series(1, %s))"
            cursor.execute(f"UPDATE events SET customer_id = customer_id + 1 WHERE id IN {some}", (self.rows, UPDATED))
            cursor.execute(f"DELETE FROM events WHERE id IN {some}", (self.rows, DELETED))
            cursor.execute(ROWS, (start + 1, start + INSERTED))

    def changed(self) -> Run:
        """Extract what changed."""
        self.change()
        return self._extract()

    def idle(self) -> Run:
        """Extract with nothing changed."""
        self._extract()
        return self._extract()

    def _extract(self) -> Run:
        self.number += 1
        before = self._busy()
        run = extract(self.bench, self.database, self.stage, f"run {self.number}", "--after", self.after)
        self.after = str(run.details["manifest"])
        return replace(run, details={**run.details, "source": self._busy() - before})

    def _busy(self) -> float:
        """Seconds that the server has spent on statements in the database, as it counts them itself."""
        with closing(self.bench.server.connect()) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT active_time / 1000 FROM pg_stat_database WHERE datname = %s", (self.database,))
            found = cursor.fetchone()
            assert found
            return float(found[0])


def run(bench: Bench) -> Report:
    """Measure; ten times the table only when asked for."""
    sizes = (ROWS_OF_TABLE, ROWS_OF_TABLE * LARGE) if bench.large else (ROWS_OF_TABLE,)
    measured: dict[str, Measured] = {}
    notes = []
    for rows in sizes:
        with _place(bench, rows) as place:
            measured |= bench.take_turns(_contestants(place))
            first = place.first
            notes.append(
                f"first load of {place.size} rows: {first.seconds:.1f} s, {first.details['MB']:,.0f} MB staged, peak "
                f"{first.peak_mib:.0f} MiB"
            )
    return Report(
        "fingerprint", f"{UPDATED:,} rows updated, {DELETED} deleted and {INSERTED} added at random", measured,
        targets=_targets(measured, large=bench.large),
        notes=[
            *notes, "seconds are those of the whole extract in a fresh process, Parquet files and manifest included",
            "source is the time that the server counts for its statements",
        ],
        columns=["source", "rows", "MB", "state MB", "cpu"],
    )  # fmt: skip


def _contestants(place: Place) -> list[Contestant]:
    return [
        Contestant(f"changes of {place.size} rows", Role.OURS, place.changed),
        Contestant(f"nothing changed in {place.size} rows", Role.OURS, place.idle),
        Contestant(f"{LIMIT}, {place.size}", Role.LIMIT, lambda: _copy(place), 1),
    ]


def _copy(place: Place) -> Run:
    run = copy_out(place.bench, "csv", place.database)
    return replace(run, details={**run.details, "rows": place.rows, "state MB": 0, "MB": 0, "cpu": 0, "source": 0})


def _targets(measured: dict[str, Measured], *, large: bool) -> list[Target]:
    one = measured["changes of 1 M rows"]
    source = one.detail("source")
    peak = max(found.peak_mib or 0 for name, found in measured.items() if name.startswith("changes"))
    targets = [
        Target(f"less than {MOST_SECONDS} s of source time at 1 M rows", f"{source:.2f} s", source < MOST_SECONDS),
        Target(f"less than {MOST_MB:.0f} MB staged for them", f"{one.detail('MB'):.2f} MB", one.detail("MB") < MOST_MB),
        Target(f"memory below {MOST_MIB} MiB", f"{peak:.0f} MiB", peak < MOST_MIB),
    ]
    if large:
        ten = measured["changes of 10 M rows"]
        times = ten.seconds / one.seconds
        targets.append(
            Target("ten times the table, about ten times the time", f"{times:.1f} times", times < MOST_TIMES)
        )
    return targets


def extract(bench: Bench, database: str, stage: Path, run_id: str, *words: str) -> Run:
    """Extract in a fresh process; the time is that of the work."""
    connection = {"AIRFLOW_CONN_SOURCE": bench.server.airflow_uri(database)}
    return bench.run("fingerprint_process", stage, run_id, *words, env=connection)


@contextmanager
def _place(bench: Bench, rows: int) -> Iterator[Place]:
    started = time.perf_counter()
    database, stage = f"events_{rows}", bench.new_folder("stage")
    bench.fill(bench.server, database, rows)
    try:
        first = extract(bench, database, stage, "first")
        progress(f"first load of {rows:,} rows in {time.perf_counter() - started:.0f} s")
        yield Place(bench, rows, database, stage, first, str(first.details["manifest"]))
    finally:
        bench.server.drop_database(database)
        shutil.rmtree(stage)
