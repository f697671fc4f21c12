"""``elt plan``: what a sync would do."""

from __future__ import annotations

import argparse
import uuid
from typing import Final

from airflow_elt_provider.cli.answer import Answer
from airflow_elt_provider.cli.sync import add_journey, journey

EXIT_SOMETHING_TO_DO: Final = 4


def add_plan(parser: argparse.ArgumentParser) -> None:
    """Add what ``elt plan`` takes: the same as ``elt sync``."""
    add_journey(parser, stage=False)
    parser.add_argument("--exit-code", action="store_true", help="exit with 4 where there is something to do")
    parser.set_defaults(run=_plan)


def _plan(arguments: argparse.Namespace) -> Answer:
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
    idle = plan.predicate == "none" or bool(plan.measured and plan.measured.exact and not plan.measured.rows)
    to_do = bool(plan.ddl or plan.refused) or not idle
    return Answer(plan.to_json(), str(plan), EXIT_SOMETHING_TO_DO if arguments.exit_code and to_do else 0)
