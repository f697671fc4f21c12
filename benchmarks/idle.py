"""A run that finds nothing new."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Final

from benchmarks import dlt_peer
from benchmarks.bench import SOURCE, Bench
from benchmarks.journeys import duckdb_connection, postgres_connection
from benchmarks.measuring import Contestant, Role, Run
from benchmarks.report import Report, Target

MOST_SECONDS: Final = 0.5
ROUNDS: Final = 5
CURSORS: Final = {"id": "indexed", "created_at": "no index"}
LIMIT: Final = "connect, SELECT max(id)"


def run(bench: Bench) -> Report:
    """Measure."""
    folder = bench.new_folder("idle")
    with bench.database() as target, bench.database() as dlt_target:
        addresses = {
            "PostgreSQL": postgres_connection(bench, target), "DuckDB": duckdb_connection(folder / "idle.duckdb"),
        }  # fmt: skip
        ours = [
            Contestant(f"elt sync to {where}, cursor {cursor} ({how})", Role.OURS, _sync(bench, address, where, cursor))
            for where, address in addresses.items()
            for cursor, how in CURSORS.items()
        ]
        peers = [
            Contestant(
                f"dlt {dlt_peer.version()}, connectorx, to {where}, cursor id",
                Role.PEER,
                _dlt(bench, to, address, folder),
            )
            for where, to, address in (
                ("PostgreSQL", "postgres", bench.uri(dlt_target)),
                ("DuckDB", "duckdb", str(folder / "dlt.duckdb")),
            )
        ]
        limit = Contestant(LIMIT, Role.LIMIT, lambda: _ask(bench))
        measured = bench.take_turns([*ours, limit, *peers], ROUNDS)
    targets = [
        Target(f"{one.name}: at most {MOST_SECONDS} s", f"{measured[one.name].seconds:.2f} s",
               measured[one.name].seconds < MOST_SECONDS)
        for one in ours
    ]  # fmt: skip
    notes = [
        "seconds are those of the steps; column process is the whole command with its imports.",
        "dlt's imports (about a second) are left out; its state is in a local folder.",
    ]
    return Report(
        "idle", f"a run with nothing new, table of {bench.rows:,} rows", measured, targets=targets, notes=notes,
        columns=["extract", "stage", "merge", "process"],
    )  # fmt: skip


def _sync(bench: Bench, address: str, where: str, cursor: str) -> Callable[[], Run]:
    connections = {"source": bench.server.airflow_uri(SOURCE), "target": address}
    schema = {"PostgreSQL": "public", "DuckDB": "main"}[where]
    words = (
        "--target-table",
        f"{schema}.events_{cursor}",
        "--mode",
        "merge",
        "--cursor-column",
        cursor,
        "--capture",
        "cursor",
    )
    done: list[Run] = []

    def run() -> Run:
        if not done:
            done.append(bench.sync(connections, *words))
        found = bench.sync(connections, *words)
        if found.details["result"]["extracted"]:
            raise RuntimeError(f"a run with nothing new read {found.details['result']}")
        steps = sum(found.details[step] for step in ("extract", "stage", "merge"))
        return replace(found, seconds=steps, details={**found.details, "process": found.seconds})

    return run


def _dlt(bench: Bench, to: str, address: str, folder: Path) -> Callable[[], Run]:
    done: list[Run] = []

    def run() -> Run:
        if not done:
            done.append(dlt_peer.dlt(bench, to, address, folder / f"dlt-{to}", "connectorx", "--cursor", "id"))
        return dlt_peer.dlt(bench, to, address, folder / f"dlt-{to}", "connectorx", "--cursor", "id")

    return run


def _ask(bench: Bench) -> Run:
    started = time.perf_counter()
    with closing(bench.server.connect(SOURCE)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT max(id) FROM public.events")
        cursor.fetchone()
    return Run(time.perf_counter() - started)
