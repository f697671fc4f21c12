"""``elt reset`` and ``elt gc``."""

from __future__ import annotations

import argparse
from datetime import timedelta

from airflow_elt_provider.cli.answer import Answer, lines_of
from airflow_elt_provider.cli.arguments import add_stage, days
from airflow_elt_provider.errors import ConfigurationError


def add_reset(parser: argparse.ArgumentParser) -> None:
    """Add what ``elt reset`` takes."""
    parser.add_argument("--destination-conn-id", required=True)
    parser.add_argument("--stream", required=True, help="as printed in every log")
    parser.set_defaults(run=_reset)


def _reset(arguments: argparse.Namespace) -> Answer:
    from airflow_elt_provider.cli.systems import destination

    if not destination(arguments.destination_conn_id).forget(arguments.stream):
        raise ConfigurationError(
            f"Connection {arguments.destination_conn_id!r} has no checkpoint of stream {arguments.stream!r}.",
            hint="copy the stream's name from a log line or from the table _elt.checkpoints",
        )
    document = {"stream": arguments.stream, "checkpoint": None}
    return Answer(document, f"{arguments.stream}: checkpoint forgotten; the next sync reads everything")


def add_gc(parser: argparse.ArgumentParser) -> None:
    """Add what ``elt gc`` takes."""
    add_stage(parser)
    parser.add_argument("--destination-conn-id", help="also drop staging tables of dead attempts there")
    parser.add_argument("--older-than", type=days, default=7.0, metavar="DAYS", help="default 7")
    parser.set_defaults(run=_gc)


def _gc(arguments: argparse.Namespace) -> Answer:
    from airflow_elt_provider.cli.systems import destination, stage
    from airflow_elt_provider.engine.gc import collect

    into = destination(arguments.destination_conn_id) if arguments.destination_conn_id else None
    result = collect(stage(arguments.stage, arguments.stage_conn_id), timedelta(days=arguments.older_than), into)
    document = {
        "files": result.files, "bytes": result.bytes, "leftovers": list(result.leftovers),
        "staging_tables": list(result.staging_tables),
    }  # fmt: skip
    return Answer(document, lines_of(document))
