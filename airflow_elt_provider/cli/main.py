"""Arguments, commands and exit codes of ``elt``."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import uuid
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

from airflow_elt_provider.errors import ConfigurationError, DataError, EltError

EXIT_CONFIGURATION: Final = 2
EXIT_DATA: Final = 3
EXIT_TRANSIENT: Final = 75
"""EX_TEMPFAIL of sysexits.h: the same command may go well later."""

_OF_EXTRACTION: Final = (
    "source_table", "query", "path", "where", "cursor_column", "mode", "deletes", "primary_key", "interval",
    "full_refresh", "columns", "exclude_columns", "parallelism",
)  # fmt: skip
_OF_MERGING: Final = (
    "on_schema_drift", "max_delete_ratio", "min_deletes_for_ratio", "allow_empty", "table_options",
)  # fmt: skip
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
    _add_sync(commands.add_parser("sync", help="bring one target table up to date"))
    _add_reset(commands.add_parser("reset", help="forget a stream's checkpoint: the next sync reads everything"))
    _add_gc(commands.add_parser("gc", help="delete stage files and staging tables that nobody needs any more"))
    return parser


# --- elt sync ---


def _add_sync(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--source-conn-id", required=True)
    add("--source-table", help='schema.table, odd names in double quotes: public."Odd.Table"')
    add("--query", help="a SELECT instead of a table")
    add("--path", help="files instead of a table: s3://bucket/folder/*.csv, or an absolute path")
    add("--where", help="an extra predicate in the source's SQL")
    add("--destination-conn-id", required=True)
    add("--target-table", required=True)
    _add_stage(parser)
    add("--capture", help="full or cursor (default: cursor with --cursor-column, else full)")
    add("--cursor-column")
    add("--cursor-lag", type=float, help="seconds for dates and times, a number for numbers")
    add("--mode", default="merge", help="append, merge or replace (default merge)")
    add("--deletes", default="ignore", help="ignore, soft or hard (default ignore)")
    add("--primary-key", type=_list, help="columns, separated by commas; default: the source's own key")
    add("--interval", nargs=2, metavar=("START", "END"), help="a range of the cursor column; END is not in it")
    add("--full-refresh", action="store_true", help="forget the checkpoint")
    add("--columns", type=_list, help="separated by commas")
    add("--exclude-columns", type=_list, default=())
    add("--rename", type=_pair, action="append", default=[], metavar="OLD=NEW")
    add("--column-type", type=_pair, action="append", default=[], metavar="NAME=TYPE")
    add(
        "--on-schema-drift",
        type=_json_or_text,
        default="evolve",
        help="evolve, freeze, fail, or a JSON object per class",
    )
    add("--check", action="append", default=[], help="not_null(id), unique(id), row_count(min=1) or sql: amount >= 0")
    add("--max-delete-ratio", type=float, default=0.5)
    add("--min-deletes-for-ratio", type=int, default=100)
    add("--allow-empty", action="store_true")
    add("--table-options", type=json.loads, help="a JSON object")
    add("--parallelism", type=int, default=1, help="ranges of the table that are read at once")
    add("--stream", help="name of the checkpoint")
    add("--run-id", help="give a repeated command the same id and it is the same load (default: a new id each time)")
    parser.set_defaults(run=_sync)


def _sync(arguments: argparse.Namespace) -> dict[str, Any]:
    from airflow_elt_provider.cli.systems import destination, source, stage
    from airflow_elt_provider.core.capture import Cursor
    from airflow_elt_provider.core.load import RunIdentity
    from airflow_elt_provider.core.request import extraction, merging
    from airflow_elt_provider.core.table_ref import TableRef
    from airflow_elt_provider.engine.sync import Sync, default_stream

    target = TableRef.parse(arguments.target_table)
    what = arguments.source_table or ("query" if arguments.path is None else "files")
    stream = arguments.stream or default_stream(arguments.source_conn_id, what, target)
    capture = arguments.capture
    if arguments.cursor_lag is not None:
        if not arguments.cursor_column:
            raise ConfigurationError("--cursor-lag needs --cursor-column.", hint="name the column")
        capture = Cursor(arguments.cursor_column, arguments.cursor_lag)
    plan = extraction(
        stream=stream, capture=capture, rename=dict(arguments.rename), column_types=dict(arguments.column_type),
        **_picked(arguments, _OF_EXTRACTION),
    )  # fmt: skip
    into = merging(
        target_table=target, checks=arguments.check,
        **_picked(arguments, _OF_MERGING),
    )  # fmt: skip
    run = RunIdentity("elt", arguments.run_id or uuid.uuid4().hex, "sync")
    sync = Sync(
        plan, into, run, source(arguments.source_conn_id, arguments.path),
        stage(arguments.stage, arguments.stage_conn_id), destination(arguments.destination_conn_id),
    )  # fmt: skip
    return sync.execute().to_json()


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
    _add_stage(parser)
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


# --- arguments ---


def _add_stage(parser: argparse.ArgumentParser) -> None:
    default = os.environ.get("AIRFLOW__ELT__STAGE")
    parser.add_argument(
        "--stage", required=default is None, default=default,
        help="file:///shared/folder or s3://bucket/prefix (default: AIRFLOW__ELT__STAGE)",
    )  # fmt: skip
    parser.add_argument("--stage-conn-id", help="for s3://; default: boto3's own credentials")


def _picked(arguments: argparse.Namespace, names: Sequence[str]) -> dict[str, Any]:
    return {name: getattr(arguments, name) for name in names}


def _list(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _pair(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not (name and separator and value):
        msg = f"{text!r} is not NAME=VALUE"
        raise argparse.ArgumentTypeError(msg)
    return name, value


def _json_or_text(text: str) -> Any:
    return json.loads(text) if text.startswith("{") else text
