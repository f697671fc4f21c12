"""Arguments, commands and exit codes of ``elt``."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

from airflow_elt_provider.cli.arguments import add_stage
from airflow_elt_provider.cli.plan import add_plan
from airflow_elt_provider.cli.reconcile import add_reconcile
from airflow_elt_provider.cli.sync import add_sync
from airflow_elt_provider.errors import ConfigurationError, DataError, EltError

EXIT_CONFIGURATION: Final = 2
EXIT_DATA: Final = 3
EXIT_TRANSIENT: Final = 75
"""EX_TEMPFAIL of sysexits.h: the same command may go well later."""

_EXIT_CODES: Final = ((ConfigurationError, EXIT_CONFIGURATION), (DataError, EXIT_DATA))


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return the exit code: 0, 2 configuration, 3 data, 75 try again later."""
    arguments = _parser().parse_args(argv)
    logging.basicConfig(
        level=logging.WARNING if arguments.quiet else logging.INFO, format="%(message)s", stream=sys.stderr
    )
    try:
        result = arguments.run(arguments)
    except EltError as error:
        print(f"elt: {error}", file=sys.stderr)
        return next((code for kind, code in _EXIT_CODES if isinstance(error, kind)), EXIT_TRANSIENT)
    if result is not None:  # else the command has said it itself
        print(json.dumps(result, indent=2, ensure_ascii=False))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="elt",
        description="Extract, stage and merge tables exactly once. Connections are read from AIRFLOW_CONN_<ID>, "
        "as a URI or JSON, the way Airflow reads them.",
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="log warnings only")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    add_sync(commands.add_parser("sync", help="bring one target table up to date"))
    add_plan(commands.add_parser("plan", help="say what a sync would read, write and change, doing nothing"))
    add_reconcile(commands.add_parser("reconcile", help="compare a target with its source, down to the keys"))
    _add_reset(commands.add_parser("reset", help="forget a stream's checkpoint: the next sync reads everything"))
    _add_gc(commands.add_parser("gc", help="delete stage files and staging tables that nobody needs any more"))
    return parser


# --- elt reset, elt gc ---


def _add_reset(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--destination-conn-id", required=True)
    parser.add_argument("--stream", required=True, help="as printed in every log")
    parser.set_defaults(run=_reset)


def _reset(arguments: argparse.Namespace) -> dict[str, Any]:
    from airflow_elt_provider.cli.systems import destination

    if not destination(arguments.destination_conn_id).forget(arguments.stream):
        raise ConfigurationError(
            f"Connection {arguments.destination_conn_id!r} has no checkpoint of stream {arguments.stream!r}.",
            hint="copy the stream's name from a log line or from the table _elt.checkpoints",
        )
    return {"stream": arguments.stream, "checkpoint": None}


def _add_gc(parser: argparse.ArgumentParser) -> None:
    add_stage(parser)
    parser.add_argument("--destination-conn-id", help="also drop staging tables of dead attempts there")
    parser.add_argument("--older-than", type=float, default=7.0, metavar="DAYS", help="default 7")
    parser.set_defaults(run=_gc)


def _gc(arguments: argparse.Namespace) -> dict[str, Any]:
    from airflow_elt_provider.cli.systems import destination, stage
    from airflow_elt_provider.engine.gc import collect

    into = destination(arguments.destination_conn_id) if arguments.destination_conn_id else None
    result = collect(stage(arguments.stage, arguments.stage_conn_id), timedelta(days=arguments.older_than), into)
    return {
        "files": result.files, "bytes": result.bytes, "leftovers": list(result.leftovers),
        "staging_tables": list(result.staging_tables),
    }  # fmt: skip
