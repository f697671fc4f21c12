"""What a load costs a destination, apart from time: statements, and bytes on the stage.

There is no honest time to be had of an emulator; how often we ask, and how much we bring, is the same there as on the
real platform. The limit is what the job needs at the least: the statements of a hand-written load, and the table's
data as Parquet of its own kind.
"""

from __future__ import annotations

import io
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks.bench import SOURCE, Bench
from benchmarks.measuring import Contestant, Measured, Role, Run
from benchmarks.report import Report, progress
from servers.postgres import PostgresServer
from tests.contract.at_work import Servers
from tests.contract.candidates import DESTINATIONS
from tests.contract.faults import Fuse
from tests.contract.world import World

if TYPE_CHECKING:
    from airflow_elt_provider.engine.merge import SyncResult

MERGE: Final[dict[str, Any]] = {
    "capture": "cursor", "cursor_column": "created_at", "mode": "merge", "source_table": "public.events",
}  # fmt: skip
MOST_ROWS: Final = 100_000
BY_HAND: Final = (
    "7 statements, CREATE a staging table, COPY, BEGIN, MERGE, UPDATE the position, COMMIT, DROP; it counts nothing, "
    "checks nothing, and does twice what is retried"
)
CHANGED: Final = 1_000


@dataclass
class Counting(Fuse):
    """Counts statements instead of cutting the power."""

    kinds: Counter[str] = field(default_factory=Counter)

    def tick(self, moment: str) -> None:
        """Count one statement by its first word."""
        if moment and not moment.startswith(("before ", "after ")):
            self.kinds[moment.split(maxsplit=1)[0].upper()] += 1


def run(bench: Bench) -> Report:
    """Count."""
    servers, notes = Servers(), []
    measured: dict[str, Measured] = {}
    try:
        for name, candidate in DESTINATIONS.items():
            if reason := candidate.unavailable():
                notes.append(f"SKIPPED {name}: {reason}")
                continue
            with candidate.open(servers, bench.new_folder(name)) as work:
                for contestant in _contestants(bench, name, work, servers):
                    measured[contestant.name] = Measured(contestant, [contestant.run()])
            progress(f"{name} counted")
    finally:
        servers.close()
    notes.append(f"the limit, a load by hand: {BY_HAND}")
    notes.append(f"the same rows as COPY writes them in CSV: {_csv_bytes(bench):,.0f} bytes a row")
    notes.append("the column seconds is of no meaning here: most of these are emulators")
    columns = ["statements", "queries", "DDL", "rows", "bytes staged", "bytes a row"]
    title = f"statements and bytes of one load; {min(bench.rows, MOST_ROWS):,} rows, then {CHANGED:,} changed ones"
    return Report("statements", title, measured, notes=notes, columns=columns)


def _csv_bytes(bench: Bench) -> float:
    with closing(bench.server.connect(SOURCE)) as connection, connection.cursor() as cursor:
        text = io.StringIO()
        cursor.copy_expert("COPY (SELECT * FROM public.events LIMIT 10000) TO STDOUT (FORMAT csv)", text)
    return len(text.getvalue().encode()) / min(bench.rows, 10_000)


def _contestants(bench: Bench, name: str, work: Any, servers: Servers) -> list[Contestant]:
    fuse = Counting()
    server = servers.of(PostgresServer)
    database = f"source_{name.replace('-', '_')}"
    bench.fill(server, database, min(bench.rows, MOST_ROWS))
    folder = Path(bench.new_folder(f"{name}-stage"))
    world = World(server, database, folder, work, table="public.events", target="raw.events", fuse=fuse)

    def load() -> Run:
        fuse.kinds.clear()
        return _run(world.sync(**MERGE), fuse.kinds)

    def changed() -> Run:
        world.run_at_source(
            "UPDATE events SET customer_id = customer_id + 1, created_at = now() WHERE id IN "
            f"(SELECT id FROM events ORDER BY mod(id * 7919, 100003) LIMIT {CHANGED})"
        )
        return load()

    return [
        Contestant(f"{name}, first load", Role.OURS, load),
        Contestant(f"{name}, changes", Role.OURS, changed),
        Contestant(f"{name}, nothing new", Role.OURS, load),
    ]


def _run(result: SyncResult, kinds: Counter[str]) -> Run:
    ddl = sum(count for kind, count in kinds.items() if kind in {"CREATE", "ALTER", "DROP"})
    details = {
        "statements": sum(kinds.values()), "queries": kinds["SELECT"] + kinds["WITH"], "DDL": ddl,
        "rows": result.extracted, "bytes staged": result.bytes_staged,
        "bytes a row": result.bytes_staged / max(result.extracted, 1),
    }  # fmt: skip
    return Run(sum(result.seconds.values()), None, details)
