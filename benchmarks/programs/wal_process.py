"""One extract of ``public.events`` with ``capture="wal"``: connection ``source`` to Parquet files below a folder.

The first one in a folder makes the slot and reads the table; the others read the log from there on, all the same part.
"""

from __future__ import annotations

import argparse
import json
import time
import uuid
from pathlib import Path

from airflow_elt_provider.cli.systems import source, stage
from airflow_elt_provider.core.checkpoint import Checkpoint
from airflow_elt_provider.core.load import RunIdentity
from airflow_elt_provider.core.manifest import Manifest
from airflow_elt_provider.core.request import extraction
from airflow_elt_provider.engine.extract import Extract
from airflow_elt_provider.engine.start import StreamState
from benchmarks.programs.own_process import cpu_seconds, peak_mib


def main() -> None:
    """Extract once."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    saved = arguments.folder / "checkpoint.json"
    state = StreamState(Checkpoint.from_json(json.loads(saved.read_text()))) if saved.exists() else StreamState()
    plan = extraction(stream="bench", source_table="public.events", capture="wal", mode="merge", deletes="hard")
    place = stage(f"file://{arguments.folder}/stage", None)
    job = Extract(plan, RunIdentity("bench", uuid.uuid4().hex, "extract"), source("source"), place, state)
    before, started = cpu_seconds(), time.perf_counter()
    made = job.execute()
    seconds = time.perf_counter() - started
    if not saved.exists():
        manifest = Manifest.from_bytes(place.read(made.uri), made)
        saved.write_text(json.dumps(Checkpoint("bench", 1, made.load_id, manifest.next_position).to_json()))
    told = {"seconds": seconds, "peak_mib": peak_mib(), "cpu": cpu_seconds() - before, "MB": made.bytes / 1e6}
    print(json.dumps({**told, "rows": made.rows}))


if __name__ == "__main__":
    main()
