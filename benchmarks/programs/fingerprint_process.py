"""One extract by fingerprint: connection ``source`` to a stage, on from an earlier manifest where one is given."""

from __future__ import annotations

import argparse
import json
import time

from airflow_elt_provider.cli.systems import source, stage
from airflow_elt_provider.core.checkpoint import Checkpoint
from airflow_elt_provider.core.load import RunIdentity
from airflow_elt_provider.core.manifest import Manifest, ManifestRef
from airflow_elt_provider.core.request import extraction
from airflow_elt_provider.engine.extract import Extract
from airflow_elt_provider.engine.start import StreamState
from benchmarks.programs.own_process import cpu_seconds, peak_mib


def main() -> None:
    """Extract ``public.events`` once."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("run")
    parser.add_argument("--after", default="")
    parser.add_argument("--by", default="auto")
    arguments = parser.parse_args()
    plan = extraction(
        stream="bench", source_table="public.events", mode="merge", deletes="hard",
        capture={"fingerprint": {"by": arguments.by}},
    )  # fmt: skip
    place = stage(f"file://{arguments.folder}", None)
    checkpoint = None
    if arguments.after:
        before = Manifest.from_bytes(place.read(arguments.after), ManifestRef(arguments.after))
        checkpoint = Checkpoint("bench", 1, before.load_id, before.next_position)
    job = Extract(
        plan, RunIdentity("bench", arguments.run, "extract"), source("source"), place, StreamState(checkpoint)
    )
    cpu, started = cpu_seconds(), time.perf_counter()
    made = job.execute()
    seconds = time.perf_counter() - started
    manifest = Manifest.from_bytes(place.read(made.uri), made)
    snapshot = manifest.next_position.snapshot
    state = snapshot.state.bytes if snapshot and snapshot.state else 0
    print(json.dumps({
        "seconds": seconds, "peak_mib": peak_mib(), "cpu": cpu_seconds() - cpu, "manifest": made.uri,
        "rows": manifest.changes, "MB": (manifest.size + state) / 1e6, "state MB": state / 1e6,
    }))  # fmt: skip


if __name__ == "__main__":
    main()
