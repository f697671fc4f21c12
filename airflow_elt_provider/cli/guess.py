"""``elt guess``: how the rows stand in a file, and the task that loads it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

from airflow_elt_provider.cli.answer import Answer
from airflow_elt_provider.cli.arguments import count

_CONNECTIONS: Final = {"s3": "aws_default", "gs": "google_cloud_default"}


def add_guess(parser: argparse.ArgumentParser) -> None:
    """Add what ``elt guess`` takes."""
    add = parser.add_argument
    add("path", metavar="PATH", help="a file, s3://bucket/folder/*.csv or gs://...; of several files the first")
    add("--conn-id", help="for s3:// and gs://; default: the credentials that their clients find by themselves")
    add("--destination-conn-id", default="warehouse", metavar="CONN_ID", help="for the call that is printed")
    add("--target-table", default="", metavar="TABLE", help="for the call that is printed (default: raw.<file>)")
    add("--yaml", action="store_true", help="print the call's parameters as YAML instead of Python")
    add("--no-validate", action="store_true", help="look at a sample only, and do not read the whole file")
    add("--max-shown", type=count, default=20, metavar="N", help="rows that do not fit and are shown (default 20)")
    parser.set_defaults(run=_guess)


def _guess(arguments: argparse.Namespace) -> Answer:
    from airflow_elt_provider.cli.systems import stage
    from airflow_elt_provider.connectors.files.guessing import guess_path
    from airflow_elt_provider.formats.guess_report import Call

    path = arguments.path if "://" in arguments.path else str(Path.cwd() / arguments.path)
    found = guess_path(
        path, lambda uri: stage(uri, arguments.conn_id), validate=not arguments.no_validate,
        max_shown=arguments.max_shown,
    )  # fmt: skip
    source = arguments.conn_id or _CONNECTIONS.get(path.partition("://")[0], "files")
    call = Call(found.guess, path, source, arguments.destination_conn_id, arguments.target_table)
    document = {**found.to_json(), "operator": call.parameters()}
    parts = [str(found.guess), call.yaml() if arguments.yaml else call.python()]
    parts += [f"validation: {found.check}"] if found.check else []
    parts += ["\n".join(["other headers:", *found.differing])] if found.differing else []
    return Answer(document, "\n\n".join(parts), problem=found.problem)
