"""The syncs of many tables one after the other in this process, without Airflow: what Airflow is compared with."""

from __future__ import annotations

import contextlib
import io
import json
import sys
import time

from airflow_elt_provider.cli import main
from benchmarks.programs.own_process import cpu_seconds, peak_mib


def run() -> None:
    """Sync `shop.<table>` into `raw.<table>` for each table named; words: stage, tables."""
    stage, *tables = sys.argv[1:]
    begun = time.perf_counter()
    for table in tables:
        words = ["--source-conn-id", "shop", "--source-table", f"shop.{table}", "--destination-conn-id", "reporting"]
        own = ["--mode", "append", "--cursor-column", "id"] if table.startswith("log_") else []
        with contextlib.redirect_stdout(io.StringIO()):
            code = main(["sync", *words, "--target-table", f"raw.{table}", "--stage", stage, *own])
        if code:
            raise SystemExit(code)
    seconds = time.perf_counter() - begun
    print(json.dumps({"seconds": seconds, "peak_mib": peak_mib(), "worker cpu": cpu_seconds() / len(tables)}))


if __name__ == "__main__":
    run()
