"""``elt plan``: what a sync would do."""

from __future__ import annotations

import argparse
import uuid
from typing import Any

from airflow_elt_provider.cli.sync import add_journey, journey


def add_plan(parser: argparse.ArgumentParser) -> None:
    """Add what ``elt plan`` takes: the same as ``elt sync``."""
    add_journey(parser, stage=False)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.set_defaults(run=_plan)


def _plan(arguments: argparse.Namespace) -> dict[str, Any] | None:
    from airflow_elt_provider.cli.systems import destination, hash_keys, source, stage
    from airflow_elt_provider.core.load import RunIdentity
    from airflow_elt_provider.engine.planning import Planning

    extraction, merging = journey(arguments)
    plan = Planning(
        extraction, merging, RunIdentity("elt", uuid.uuid4().hex, "plan"),
        source(arguments.source_conn_id, arguments.path),
        stage(arguments.stage, arguments.stage_conn_id) if arguments.stage else None,
        destination(arguments.destination_conn_id), hash_keys(extraction.hash_columns.values()),
    ).execute()  # fmt: skip
    if arguments.json:
        return plan.to_json()
    print(plan)
    return None
