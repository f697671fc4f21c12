"""One way to look at a CSV file, measured in a process of its own; imports do not count."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.programs.own_process import peak_mib


def main() -> None:
    """Do ``argv[1]`` with file ``argv[2]``."""
    ready = globals()[f"_{sys.argv[1]}"](Path(sys.argv[2]))
    started = time.perf_counter()
    ready()
    print(json.dumps({"seconds": time.perf_counter() - started, "peak_mib": peak_mib()}))


def _guess(file: Path) -> Callable[[], Any]:
    from airflow_elt_provider.connectors.files.guessing import guess_path
    from airflow_elt_provider.stages.local import LocalStage

    return lambda: guess_path(str(file), LocalStage, validate=False)


def _check(file: Path) -> Callable[[], Any]:
    from airflow_elt_provider.formats.guess_check import check

    found = _guess(file)().guess

    def run() -> None:
        done = check(file, found)
        if done.misfits or not done.rows:
            raise RuntimeError(str(done))

    return run


def _arrow(file: Path) -> Callable[[], Any]:
    import pyarrow.csv as pacsv

    return lambda: sum(batch.num_rows for batch in pacsv.open_csv(file))


def _arrow_table(file: Path) -> Callable[[], Any]:
    import pyarrow.csv as pacsv

    return lambda: pacsv.read_csv(file)


def _duckdb_sniff(file: Path) -> Callable[[], Any]:
    import duckdb

    connection = duckdb.connect()
    return lambda: connection.execute("SELECT * FROM sniff_csv(?)", [str(file)]).fetchall()


def _pandas_head(file: Path) -> Callable[[], Any]:
    import pandas as pd

    return lambda: pd.read_csv(file, nrows=10_000)


if __name__ == "__main__":
    main()
