"""The whole journey from PostgreSQL into an embedded DuckDB file, with full replace."""

from __future__ import annotations

import shutil
from contextlib import closing
from typing import Final

from benchmarks import dlt_peer
from benchmarks.bench import SOURCE, Bench
from benchmarks.copying import copy_to_file
from benchmarks.journeys import duckdb_connection, refuse_difference
from benchmarks.measuring import Contestant, Role, Run
from benchmarks.report import Report

LIMIT: Final = "COPY to CSV, DuckDB reads it"


def run(bench: Bench) -> Report:
    """Measure."""
    measured = bench.take_turns(
        [
            Contestant("elt sync", Role.OURS, lambda: _sync(bench)),
            Contestant("elt sync, parallelism=2", Role.OURS, lambda: _sync(bench, "--parallelism", "2")),
            Contestant(LIMIT, Role.LIMIT, lambda: _by_file(bench)),
            *(
                Contestant(f"dlt {dlt_peer.version()}, {backend}", Role.PEER, lambda b=backend: _dlt(bench, b), rounds)
                for backend, rounds in (("connectorx", bench.rounds), ("pyarrow", 1))
            ),
        ]
    )
    return Report(
        "postgres_to_duckdb", "PostgreSQL to DuckDB, the whole journey with full replace", measured, bench.rows, LIMIT,
        notes=dlt_peer.notes(bench), columns=["extract", "stage", "merge", "COPY", "DuckDB"],
    )  # fmt: skip


def _sync(bench: Bench, *words: str) -> Run:
    import duckdb

    folder = bench.new_folder("duckdb")
    path = folder / "bench.duckdb"
    connections = {"source": bench.server.airflow_uri(SOURCE), "target": duckdb_connection(path)}
    run = bench.sync(connections, "--target-table", "main.events", "--mode", "replace", *words)
    with closing(duckdb.connect(str(path), read_only=True)) as connection:
        refuse_difference(bench, connection, "main.events")
    shutil.rmtree(folder)
    return run


def _by_file(bench: Bench) -> Run:
    folder = bench.new_folder("duckdb")
    copied = copy_to_file(bench, folder / "events.csv")
    loaded = bench.run("duckdb_process", folder / "events.csv", folder / "bench.duckdb")
    shutil.rmtree(folder)
    details = {"COPY": copied.seconds, "DuckDB": loaded.seconds}
    return Run(copied.seconds + loaded.seconds, loaded.peak_mib, details)


def _dlt(bench: Bench, backend: str) -> Run:
    folder = bench.new_folder("dlt")
    try:
        return dlt_peer.dlt(bench, "duckdb", folder / "dlt.duckdb", folder / "state", backend)
    finally:
        shutil.rmtree(folder)
