"""The time that importing some modules adds to a process that has imported ``airflow.sdk``, as every DAG file has."""

from __future__ import annotations

import importlib
import json
import sys
import time

HEAVY = (
    "airflow.providers", "boto3", "botocore", "databricks", "duckdb", "google", "numpy", "pandas", "psycopg",
    "psycopg2", "pyarrow", "requests", "snowflake", "sqlalchemy",
)  # fmt: skip


def main() -> None:
    """Import ``airflow.sdk``, then the modules named on the command line."""
    import airflow.sdk  # noqa: F401

    from benchmarks.programs.own_process import peak_mib

    before, memory = set(sys.modules), peak_mib()
    started = time.perf_counter()
    for name in sys.argv[1:]:
        importlib.import_module(name)
    seconds = time.perf_counter() - started
    added = set(sys.modules) - before
    heavy = sorted(name for name in HEAVY if any(one == name or one.startswith(f"{name}.") for one in added))
    print(
        json.dumps(
            {
                "seconds": seconds,
                "peak_mib": peak_mib(),
                "MiB added": peak_mib() - memory,
                "modules": len(added),
                "heavy": heavy,
            }
        )
    )


if __name__ == "__main__":
    main()
