"""PostgreSQL to Parquet files on disk."""

from __future__ import annotations

import shutil
from typing import Final

from benchmarks import dlt_peer
from benchmarks.bench import SOURCE, Bench
from benchmarks.copying import copy_out, copy_out_with_psql
from benchmarks.measuring import Contestant, Measured, Role, Run
from benchmarks.report import Report, Target

LIMIT: Final = "bare COPY (csv, psycopg2)"
ONE: Final = "extract, parallelism=1"
TWO: Final = "extract, parallelism=2"
SHARE: Final = 0.75


def run(bench: Bench) -> Report:
    """Measure."""
    measured = bench.take_turns(
        [
            Contestant(ONE, Role.OURS, lambda: extract(bench, 1)),
            Contestant(TWO, Role.OURS, lambda: extract(bench, 2)),
            Contestant(LIMIT, Role.LIMIT, lambda: copy_out(bench, "csv")),
            Contestant("bare COPY (text, psycopg2)", Role.LIMIT, lambda: copy_out(bench, "text")),
            Contestant("bare COPY (csv, psql)", Role.LIMIT, lambda: copy_out_with_psql(bench, "csv")),
            *(
                Contestant(f"dlt {dlt_peer.version()}, {backend}", Role.PEER, lambda b=backend: _dlt(bench, b), rounds)
                for backend, rounds in (("connectorx", bench.rounds), ("pyarrow", 1))
            ),
        ]
    )
    return Report(
        "extract", "PostgreSQL to Parquet files on disk, 10 columns of 10 types", measured, bench.rows, LIMIT,
        _targets(measured), dlt_peer.notes(bench), ["cpu"],
    )  # fmt: skip


def extract(bench: Bench, parallelism: int, database: str = SOURCE) -> Run:
    """Extract in a fresh process; the time is that of the work."""
    folder = bench.new_folder("parquet")
    try:
        connection = {"AIRFLOW_CONN_SOURCE": bench.server.airflow_uri(database)}
        return bench.run("extract_process", folder, "--parallelism", str(parallelism), env=connection)
    finally:
        shutil.rmtree(folder)


def _dlt(bench: Bench, backend: str) -> Run:
    folder = bench.new_folder("dlt")
    try:
        return dlt_peer.dlt(bench, "parquet", folder / "files", folder / "state", backend)
    finally:
        shutil.rmtree(folder)


def _targets(measured: dict[str, Measured]) -> list[Target]:
    one = measured[ONE].times_as_fast_as(measured[LIMIT]) or 0
    two = measured[TWO].times_as_fast_as(measured[LIMIT]) or 0
    return [
        Target(f"at least {SHARE} of the rows/s of bare COPY", f"{one:.3f}", one >= SHARE),
        Target("with parallelism=2 faster than bare COPY", f"{two:.3f}", two > 1),
    ]
