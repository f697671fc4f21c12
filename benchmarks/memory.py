"""Peak memory of `elt sync`, and that it does not grow with the table."""

from __future__ import annotations

from typing import Final

from benchmarks.bench import SOURCE, Bench
from benchmarks.extract import extract
from benchmarks.journeys import duckdb_connection, postgres_connection
from benchmarks.measuring import Contestant, Role, Run
from benchmarks.report import Report, Target

MOST_MIB: Final = 320
LARGE: Final = 10
"""How many times as many rows the large table has."""
GROWTH: Final = 1.1


def run(bench: Bench) -> Report:
    """Measure; the large table only when asked for."""
    sizes = [(SOURCE, bench.rows)]
    if bench.large:
        bench.fill(bench.server, f"{SOURCE}_large", bench.rows * LARGE)
        sizes.append((f"{SOURCE}_large", bench.rows * LARGE))
    contestants = [contestant for database, rows in sizes for contestant in _contestants(bench, database, rows)]
    measured = bench.take_turns(contestants, 0, 1)
    into_postgres = [measured[_name(rows, "PostgreSQL")].peak_mib or 0 for _, rows in sizes]
    targets = [
        Target(f"elt sync into PostgreSQL below {MOST_MIB} MiB at {rows:,} rows", f"{peak:.0f} MiB", peak < MOST_MIB)
        for (_, rows), peak in zip(sizes, into_postgres, strict=True)
    ]
    if bench.large:
        small, large = into_postgres
        targets.append(Target("the same with ten times the rows", f"{large / small:.2f} times", large / small < GROWTH))
    else:
        targets.append(Target("the same with ten times the rows", "not asked for: add --large", None))
    notes = ["DuckDB works inside our process: its memory is part of the figure, bounded by its memory_limit."]
    return Report("memory", "peak memory of the process", measured, targets=targets, notes=notes)


def _name(rows: int, where: str) -> str:
    return f"{rows:,} rows to {where}"


def _contestants(bench: Bench, database: str, rows: int) -> list[Contestant]:
    rounds = 1
    return [
        Contestant(_name(rows, "Parquet"), Role.OURS, lambda: extract(bench, 1, database), rounds),
        Contestant(_name(rows, "Parquet, parallelism=2"), Role.OURS, lambda: extract(bench, 2, database), rounds),
        Contestant(_name(rows, "PostgreSQL"), Role.OURS, lambda: _to_postgres(bench, database), rounds),
        Contestant(_name(rows, "DuckDB"), Role.OURS, lambda: _to_duckdb(bench, database), rounds),
    ]


def _to_postgres(bench: Bench, database: str) -> Run:
    with bench.database() as target:
        connections = {"source": bench.server.airflow_uri(database), "target": postgres_connection(bench, target)}
        return bench.sync(connections, "--target-table", "public.events", "--mode", "replace")


def _to_duckdb(bench: Bench, database: str) -> Run:
    path = bench.new_folder("duckdb") / "memory.duckdb"
    connections = {"source": bench.server.airflow_uri(database), "target": duckdb_connection(path)}
    run = bench.sync(connections, "--target-table", "main.events", "--mode", "replace")
    path.unlink()
    return run
