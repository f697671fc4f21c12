"""``elt reconcile``: whether a target equals its source."""

from __future__ import annotations

import argparse

from airflow_elt_provider.cli.answer import Answer
from airflow_elt_provider.cli.arguments import amount, column_list, count, pair, picked, redaction
from airflow_elt_provider.errors import DataError

_OF_EXTRACTION = ("source_table", "query", "path", "where", "primary_key", "columns", "exclude_columns")
_OF_COMPARISON = ("max_keys", "show_values", "retry_differing", "retry_pause")


def add_reconcile(parser: argparse.ArgumentParser) -> None:
    """Add what ``elt reconcile`` takes."""
    add = parser.add_argument
    add("--source-conn-id", required=True)
    add("--source-table", help='schema.table, odd names in double quotes: public."Odd.Table"')
    add("--query", help="a SELECT instead of a table")
    add("--path", help="files instead of a table: s3://bucket/folder/*.csv, or an absolute path")
    add("--where", help="an extra predicate in the source's SQL")
    add("--destination-conn-id", required=True)
    add("--target-table", required=True)
    add("--primary-key", type=column_list, help="columns, separated by commas; default: the source's own key")
    add("--columns", type=column_list, help="separated by commas")
    add("--exclude-columns", type=column_list, default=())
    add("--rename", type=pair, action="append", default=[], metavar="OLD=NEW")
    add("--column-type", type=pair, action="append", default=[], metavar="NAME=TYPE")
    add(
        "--hash-column", type=pair, action="append", default=[], metavar="NAME=CONN_ID", help="as in elt sync: left out"
    )
    add("--redact-column", action="append", default=[], metavar="NAME[=TEXT]", help="as in elt sync: left out")
    add("--max-differences", type=count, default=0, help="rows that may differ before the exit code is 3 (default 0)")
    add("--max-keys", type=count, default=100, help="keys that are named (default 100)")
    add("--show-values", action="store_true", help="show the values that differ, not only their keys")
    add("--retry-differing", type=count, default=1, help="how often keys that differ are asked for again (default 1)")
    add("--retry-pause", type=amount, default=2.0, metavar="SECONDS", help="before each of these times (default 2)")
    parser.set_defaults(run=_reconcile)


def _reconcile(arguments: argparse.Namespace) -> Answer:
    from airflow_elt_provider.cli.systems import destination, source
    from airflow_elt_provider.core.request import extraction
    from airflow_elt_provider.core.table_ref import TableRef
    from airflow_elt_provider.engine.reconcile import Reconcile

    asked = extraction(
        stream="reconcile", rename=dict(arguments.rename), column_types=dict(arguments.column_type),
        hash_columns=dict(arguments.hash_column), redact_columns=dict(map(redaction, arguments.redact_column)),
        **picked(arguments, _OF_EXTRACTION),
    )  # fmt: skip
    result = Reconcile(
        asked, TableRef.parse(arguments.target_table), source(arguments.source_conn_id, arguments.path),
        destination(arguments.destination_conn_id), **picked(arguments, _OF_COMPARISON),
    ).execute()  # fmt: skip
    problem = None
    try:
        result.refuse_beyond(arguments.max_differences)
    except DataError as error:  # the result is said all the same: it is wanted all the more where the two differ
        problem = error
    return Answer(result.to_json(), str(result), problem=problem)
