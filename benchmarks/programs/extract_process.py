"""Extract alone: connection ``source`` to Parquet files below a folder."""

from __future__ import annotations

import argparse
import json
import time

from airflow_elt_provider.cli.systems import source, stage
from airflow_elt_provider.core.load import RunIdentity
from airflow_elt_provider.core.request import extraction
from airflow_elt_provider.engine.extract import Extract
from airflow_elt_provider.engine.start import StreamState
from benchmarks.programs.own_process import cpu_seconds, peak_mib


def main() -> None:
    """Extract ``public.events`` once."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--parallelism", type=int, default=1)
    arguments = parser.parse_args()
    plan = extraction(stream="bench", source_table="public.events", mode="replace", parallelism=arguments.parallelism)
    place = stage(f"file://{arguments.folder}", None)
    job = Extract(plan, RunIdentity("bench", "run", "extract"), source("source"), place, StreamState())
    before, started = cpu_seconds(), time.perf_counter()
    made = job.execute()
    seconds = time.perf_counter() - started
    print(
        json.dumps({"seconds": seconds, "peak_mib": peak_mib(), "cpu": cpu_seconds() - before, "MB": made.bytes / 1e6})
    )


if __name__ == "__main__":
    main()
