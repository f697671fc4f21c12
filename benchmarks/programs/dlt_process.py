"""One dlt pipeline in a process of its own, inside dlt's own environment; prints seconds and peak memory as JSON.

It imports nothing of this project: dlt's environment does not hold it.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import dlt
from dlt.common.configuration.specs import ConnectionStringCredentials
from dlt.destinations import duckdb, filesystem, postgres
from dlt.sources.sql_database import sql_table

CHUNK_ROWS = 100_000  # twice dlt's default: faster, and what its own performance guide suggests for Arrow


def main() -> None:
    """Run the pipeline once; imports do not count."""
    arguments = _arguments()
    started = time.perf_counter()
    _run(arguments)
    seconds = time.perf_counter() - started
    print(json.dumps({"seconds": seconds, "peak_mib": _peak_mib()}))


def _run(arguments: argparse.Namespace) -> None:
    incremental = dlt.sources.incremental(arguments.cursor) if arguments.cursor else None
    source = arguments.source.replace("postgresql://", "postgresql+psycopg2://", 1)  # the driver that is installed
    resource = sql_table(
        ConnectionStringCredentials(source), "events", schema="public", backend=arguments.backend,
        chunk_size=CHUNK_ROWS, incremental=incremental,
        backend_kwargs=_backend_options(arguments),
    )  # fmt: skip
    name = f"bench_{arguments.to}_{arguments.backend}"
    pipeline = dlt.pipeline(
        name, pipelines_dir=arguments.folder, dataset_name=arguments.dataset, destination=_destination(arguments)
    )
    disposition: Any = "merge" if arguments.cursor else "replace"
    info = pipeline.run(
        resource, table_name="events", write_disposition=disposition, primary_key="id", loader_file_format="parquet"
    )
    info.raise_on_failed_jobs()


def _backend_options(arguments: argparse.Namespace) -> dict[str, Any]:
    return {"conn": arguments.source} if arguments.backend == "connectorx" else {}


def _destination(arguments: argparse.Namespace) -> Any:
    if arguments.to == "parquet":
        return filesystem(bucket_url=f"file://{arguments.target}")
    if arguments.to == "duckdb":
        return duckdb(arguments.target)
    return postgres(arguments.target)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--source", required=True)
    parser.add_argument("--to", choices=["parquet", "duckdb", "postgres"], required=True)
    parser.add_argument("--target", required=True)
    parser.add_argument("--folder", required=True)
    parser.add_argument("--backend", choices=["pyarrow", "connectorx"], default="pyarrow")
    parser.add_argument("--dataset", default="dlt_bench")
    parser.add_argument("--cursor", default="")
    return parser.parse_args()


def _peak_mib() -> float:
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


if __name__ == "__main__":
    main()
