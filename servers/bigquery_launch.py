"""Start local-bigquery without reaching for the Internet; a program for its own environment.

DuckDB refuses a time zone among the settings of `connect` before its icu extension is loaded, and would then
fetch icu, although it is linked into the wheel: the time zone is set after connecting instead.
"""

from __future__ import annotations

import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import duckdb

_connect = duckdb.connect


def connect(
    database: str | Path = ":memory:", *, config: dict[str, Any] | None = None, **options: Any
) -> duckdb.DuckDBPyConnection:
    """Connect as `duckdb.connect` does, and set the time zone last."""
    settings = dict(config or {})
    zone = settings.pop("TimeZone", None)
    connection = _connect(database, config=settings, **options)
    if zone:
        connection.execute(f"SET GLOBAL TimeZone = '{zone}'")
    return connection


if __name__ == "__main__":
    duckdb.connect = connect  # type: ignore[assignment]
    (program,) = entry_points(group="console_scripts", name="local-bigquery")
    sys.exit(program.load()())
