"""The physical limit: PostgreSQL's own COPY with nothing behind it, and from one COPY straight into another."""

from __future__ import annotations

import os
import subprocess
import time
from contextlib import closing
from pathlib import Path
from typing import Final

from benchmarks.bench import COLUMNS, SOURCE, Bench
from benchmarks.measuring import Run, Skipped
from servers.postgres_binaries import find_binaries

QUERY: Final = f"SELECT {COLUMNS} FROM public.events"
JIT_OFF: Final = "SET jit = off"  # as our own sessions have it: compiling this scan costs more than it saves


def copy_out(bench: Bench, file_format: str, database: str = SOURCE) -> Run:
    """Read the table over one connection of psycopg2 and throw it away."""
    with closing(bench.server.connect(database)) as connection, connection.cursor() as cursor:
        cursor.execute(JIT_OFF)
        started = time.perf_counter()
        with Path(os.devnull).open("wb") as nowhere:
            cursor.copy_expert(f"COPY ({QUERY}) TO STDOUT (FORMAT {file_format})", nowhere)
        return Run(time.perf_counter() - started)


def copy_out_with_psql(bench: Bench, file_format: str) -> Run:
    """Read the table with psql and throw it away."""
    command = _psql(bench, SOURCE, f"COPY ({QUERY}) TO STDOUT (FORMAT {file_format})")
    started = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return Run(time.perf_counter() - started)


def copy_to_file(bench: Bench, path: Path) -> Run:
    """Write the table to a CSV file with psql."""
    command = _psql(bench, SOURCE, f"COPY ({QUERY}) TO STDOUT (FORMAT csv)")
    started = time.perf_counter()
    with path.open("wb") as file:
        subprocess.run(command, stdout=file, check=True)
    return Run(time.perf_counter() - started)


def copy_pipe(bench: Bench, target: str, table: str) -> Run:
    """Copy the table into an empty one of another database: ``psql COPY TO | psql COPY FROM``.

    :raises RuntimeError: when either end failed.
    """
    into = _psql(bench, target, f"COPY {table} ({COLUMNS}) FROM STDIN")
    out = _psql(bench, SOURCE, f"COPY ({QUERY}) TO STDOUT")
    started = time.perf_counter()
    with subprocess.Popen(out, stdout=subprocess.PIPE) as reading:
        writing = subprocess.run(into, stdin=reading.stdout, check=False)
    if writing.returncode or reading.returncode:
        raise RuntimeError(f"COPY from {SOURCE} to {target} failed")
    return Run(time.perf_counter() - started)


def _psql(bench: Bench, database: str, statement: str) -> list[str | Path]:
    program = find_binaries() / "psql"
    if not program.exists():
        raise Skipped(f"there is no psql beside the server's programs in {program.parent}")
    return [program, "-qX", "-v", "ON_ERROR_STOP=1", "-c", JIT_OFF, "-c", statement, bench.server.dsn(database)]
