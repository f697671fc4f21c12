"""DuckDB alone: a CSV file of the benchmark's table becomes a table of a database file."""

from __future__ import annotations

import json
import sys
import time

import duckdb

from benchmarks.programs.own_process import cpu_seconds, peak_mib

TABLE = """
CREATE TABLE events (
    id BIGINT PRIMARY KEY, customer_id INTEGER NOT NULL, description VARCHAR NOT NULL, status VARCHAR,
    amount DECIMAL(12, 2) NOT NULL, created_at TIMESTAMPTZ NOT NULL, day DATE NOT NULL, active BOOLEAN NOT NULL,
    score DOUBLE, properties VARCHAR NOT NULL
)
"""


def main() -> None:
    """Load file ``argv[1]`` into database ``argv[2]``."""
    source, target = sys.argv[1:]
    before, started = cpu_seconds(), time.perf_counter()
    connection = duckdb.connect(target)
    connection.execute(TABLE)
    connection.execute(f"COPY events FROM '{source}' (FORMAT csv, HEADER false)")
    connection.close()
    print(json.dumps({"seconds": time.perf_counter() - started, "peak_mib": peak_mib(), "cpu": cpu_seconds() - before}))


if __name__ == "__main__":
    main()
