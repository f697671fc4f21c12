"""Whether a DuckDB file can be written to from here."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

import duckdb

from airflow_elt_provider.connectors.duckdb.session import DuckdbSession
from airflow_elt_provider.core.dialect import Sql
from airflow_elt_provider.core.doctor import Finding, ok, problem

PATIENCE: Final = 2.0
"""Seconds in line for the file: somebody waits for the answer."""
_PROBE: Final = '"_elt doctor"'


def examine(path: Path, open_file: Callable[[], AbstractContextManager[DuckdbSession]]) -> Iterator[Finding]:
    """Check folder and file; a schema is really made, and rolled back. A file that is not there yet stays away.

    :raises TransientError: when somebody else holds the file.
    """
    if not path.exists():
        yield _folder(path)
        return
    with open_file() as session:
        yield ok("open", f"{path}, DuckDB {duckdb.__version__}")
        yield _tried(session)


def _folder(path: Path) -> Finding:
    folder = next(parent for parent in path.parents if parent.exists())
    if folder.is_dir() and os.access(folder, os.W_OK | os.X_OK):
        return ok("open", f"{path} does not exist yet; the first merge creates it (DuckDB {duckdb.__version__})")
    return problem(
        "open", f"{path} does not exist, and {folder} is no folder that this process may write to",
        f"correct the path, or let user {os.geteuid()} write to {folder}",
    )  # fmt: skip


def _tried(session: DuckdbSession) -> Finding:
    session.execute(Sql("BEGIN TRANSACTION"))
    try:
        session.execute(Sql(f"CREATE SCHEMA {_PROBE}"))
        session.execute(Sql(f"CREATE TABLE {_PROBE}.probe (id integer)"))
    finally:
        session.execute(Sql("ROLLBACK"))
    return ok("write", "a schema and a table were made, and rolled back")
