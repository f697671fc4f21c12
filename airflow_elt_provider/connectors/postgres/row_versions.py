"""Row versions: which transaction wrote a row, and which of them an earlier snapshot cannot have seen."""

from __future__ import annotations

from typing import Final

from psycopg2.extensions import connection as Connection  # noqa: N812 - a class in all but its name

from airflow_elt_provider.connectors.postgres.catalog import query_rows
from airflow_elt_provider.connectors.postgres.session import PG_13

_WRAP: Final = 1 << 32
COMPARABLE: Final = (1 << 31) - 100_000_000
"""Transactions between two snapshots beyond which 32-bit ids of rows could be taken for older ones."""
_OLD: Final = 100_000_000
"""Transactions after which a position that nothing else moves takes the present snapshot."""


def snapshot_xmin(connection: Connection) -> int:
    """Return the 64-bit id of the oldest transaction that is not over in the snapshot of the open transaction.

    What it and later ones wrote, the snapshot may not show yet. All before are over, and their rows are in sight.
    """
    if connection.server_version >= PG_13:
        sql = "SELECT pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot())::text::int8"
    else:
        sql = "SELECT pg_catalog.txid_snapshot_xmin(pg_catalog.txid_current_snapshot())"
    return int(query_rows(connection, sql)[0][0])


def maybe_new(xmin: int) -> str:
    """Return the predicate for rows that a snapshot with this xmin (64-bit) may not have seen; never misses one.

    Holds for one table whose row versions are comparable with those of then (see ``epoch``), while :func:`in_reach`.
    The unqualified system column ``xmin`` stands in it, so it belongs where the table alone is in FROM.
    """
    return f"pg_catalog.age(xmin) <= pg_catalog.age('{xmin % _WRAP}'::pg_catalog.xid)"


def maybe_new_here(connection: Connection, xmin: int) -> str:
    """Return the same predicate, cheaper, for the open transaction of this connection alone."""
    age = query_rows(connection, f"SELECT pg_catalog.age('{xmin % _WRAP}'::pg_catalog.xid)")[0][0]
    return f"pg_catalog.age(xmin) <= {age}"


def in_reach(before: int, now: int) -> bool:
    """Whether the row versions of two snapshots of one cluster can be told apart (both 64-bit xmin)."""
    return 0 <= now - before <= COMPARABLE


def has_aged(before: int, now: int) -> bool:
    """Whether a snapshot is so old that it should be renewed although nothing changed."""
    return now - before > _OLD


def version(*, many_tables: bool) -> str:
    """Return the expression (int8) for a row's version.

    :param many_tables: whether the rows come from several tables: two may hold the same key in the same version.
    """
    number = "xmin::pg_catalog.text::pg_catalog.int8"
    return f"({number} # (tableoid::pg_catalog.int8 << 32))" if many_tables else number
