"""``elt sync``, and the arguments that describe a journey."""

from __future__ import annotations

import argparse
import uuid
from typing import TYPE_CHECKING, Final

from airflow_elt_provider.cli.answer import Answer, lines_of
from airflow_elt_provider.cli.arguments import (
    add_stage,
    column_list,
    json_object,
    json_or_text,
    pair,
    picked,
    redaction,
)
from airflow_elt_provider.errors import ConfigurationError

if TYPE_CHECKING:
    from airflow_elt_provider.core.plan import Extraction, Merging

_OF_EXTRACTION: Final = (
    "source_table", "query", "path", "where", "cursor_column", "mode", "deletes", "primary_key", "interval",
    "full_refresh", "columns", "exclude_columns", "parallelism", "max_quarantined_rows", "file_format",
)  # fmt: skip
_OF_MERGING: Final = (
    "on_schema_drift", "max_delete_ratio", "min_deletes_for_ratio", "allow_empty", "table_options",
    "max_quarantined_rows",
)  # fmt: skip


def add_sync(parser: argparse.ArgumentParser) -> None:
    """Add what ``elt sync`` takes."""
    add_journey(parser)
    parser.add_argument(
        "--run-id",
        help="give a repeated command the same id and it is the same load (default: a new id each time)",
    )
    parser.set_defaults(run=_sync)


def add_journey(parser: argparse.ArgumentParser, *, stage: bool = True) -> None:
    """Add what describes one table's journey.

    :param stage: whether the stage has to be named.
    """
    add = parser.add_argument
    add("--source-conn-id", required=True)
    add("--source-table", help='schema.table, odd names in double quotes: public."Odd.Table"')
    add("--query", help="a SELECT instead of a table")
    add("--path", help="files instead of a table: s3://bucket/folder/*.csv, or an absolute path")
    add("--where", help="an extra predicate in the source's SQL")
    add("--destination-conn-id", required=True)
    add("--target-table", required=True)
    add_stage(parser, required=stage)
    add(
        "--capture",
        type=json_or_text,
        help="full, cursor, xmin, fingerprint, wal or new_files, or a JSON object with its settings (default: cursor "
        "with --cursor-column, else full)",
    )
    add("--cursor-column")
    add("--cursor-lag", type=float, help="seconds for dates and times, a number for numbers")
    add("--mode", default="merge", help="append, merge, replace or history (default merge)")
    add("--deletes", default="ignore", help="ignore, soft or hard (default ignore)")
    add("--primary-key", type=column_list, help="columns, separated by commas; default: the source's own key")
    add("--interval", nargs=2, metavar=("START", "END"), help="a range of the cursor column; END is not in it")
    add("--full-refresh", action="store_true", help="forget the checkpoint")
    add("--columns", type=column_list, help="separated by commas")
    add("--exclude-columns", type=column_list, default=())
    add(
        "--hash-column",
        type=pair,
        action="append",
        default=[],
        metavar="NAME=CONN_ID",
        help="an HMAC-SHA-256 under that connection's password takes the place of the column's values",
    )
    add(
        "--redact-column",
        action="append",
        default=[],
        metavar="NAME[=TEXT]",
        help="TEXT (default ***) takes the place of the column's values",
    )
    add("--rename", type=pair, action="append", default=[], metavar="OLD=NEW")
    add("--column-type", type=pair, action="append", default=[], metavar="NAME=TYPE")
    add("--file-format", type=json_or_text, help='csv, jsonl, parquet, or a JSON object such as {"delimiter": ";"}')
    add(
        "--on-schema-drift",
        type=json_or_text,
        default="evolve",
        help="evolve, freeze, fail, or a JSON object per class",
    )
    add("--check", action="append", default=[], help="not_null(id), unique(id), row_count(min=1) or sql: amount >= 0")
    add("--max-delete-ratio", type=float, default=0.5)
    add("--min-deletes-for-ratio", type=int, default=100)
    add("--allow-empty", action="store_true")
    add(
        "--max-quarantined-rows", type=int, default=0, help="rows that cannot be taken and may be set aside (default 0)"
    )
    add("--table-options", type=json_object, help="a JSON object")
    add("--parallelism", type=int, default=1, help="ranges of the table that are read at once")
    add("--stream", help="name of the checkpoint")


def journey(arguments: argparse.Namespace) -> tuple[Extraction, Merging]:
    """Return what the arguments of :func:`add_journey` describe.

    :raises ConfigurationError: names the argument that cannot be meant.
    """
    from airflow_elt_provider.core.capture import Cursor
    from airflow_elt_provider.core.request import extraction, merging
    from airflow_elt_provider.core.table_ref import TableRef
    from airflow_elt_provider.engine.sync import default_stream

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
        hash_columns=dict(arguments.hash_column), redact_columns=dict(map(redaction, arguments.redact_column)),
        **picked(arguments, _OF_EXTRACTION),
    )  # fmt: skip
    into = merging(
        target_table=target, checks=arguments.check,
        **picked(arguments, _OF_MERGING),
    )  # fmt: skip
    return plan, into


def _sync(arguments: argparse.Namespace) -> Answer:
    from airflow_elt_provider.cli.systems import destination, hash_keys, source, stage
    from airflow_elt_provider.core.load import RunIdentity
    from airflow_elt_provider.engine.sync import Sync

    plan, into = journey(arguments)
    run = RunIdentity("elt", arguments.run_id or uuid.uuid4().hex, "sync")
    sync = Sync(
        plan, into, run, source(arguments.source_conn_id, arguments.path),
        stage(arguments.stage, arguments.stage_conn_id), destination(arguments.destination_conn_id),
        hash_keys(plan.hash_columns.values()),
    )  # fmt: skip
    document = sync.execute().to_json()
    return Answer(document, lines_of(document))
