"""What whole journeys share: addresses of destinations as ``elt`` reads them, and proof that the rows arrived."""

from __future__ import annotations

import json
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

from benchmarks.bench import SOURCE, Bench

_SUMS = "count(*), sum(id), sum(customer_id), sum(amount), sum(length(description))"


def postgres_connection(bench: Bench, database: str) -> str:
    """Return the value of AIRFLOW_CONN_*."""
    return bench.server.airflow_uri(database)


def duckdb_connection(path: Path) -> str:
    """Return the value of AIRFLOW_CONN_*."""
    return json.dumps({"conn_type": "duckdb", "host": str(path)})


def refuse_difference(bench: Bench, cursor: Any, table: str) -> None:
    """Compare a few sums with the source's: what is fast and wrong does not count.

    :raises RuntimeError: when a sum is another.
    """
    with closing(bench.server.connect(SOURCE)) as connection, connection.cursor() as source:
        wanted = _sums(source, "public.events")
    found = _sums(cursor, table)
    if wanted != found:
        raise RuntimeError(f"{table} has {found}, the source has {wanted}")


def _sums(cursor: Any, table: str) -> list[Decimal]:
    cursor.execute(f"SELECT {_SUMS} FROM {table}")
    return [Decimal(value) for value in cursor.fetchone()]
