"""A table in ranges of its blocks, to be read at once under one snapshot."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from psycopg2.extensions import connection as Connection  # noqa: N812 - a class in all but its name

from airflow_elt_provider.connectors.postgres.catalog import KINDS, Relation, query_rows
from airflow_elt_provider.connectors.postgres.session import PG_14

_SMALLEST_RANGE: Final = 32
"""Blocks (of 8 kB) below which a further connection costs more than it brings."""
_LEAVES: Final = """
WITH RECURSIVE leaf(oid) AS (
    SELECT %s::oid UNION SELECT i.inhrelid FROM pg_catalog.pg_inherits i JOIN leaf ON i.inhparent = leaf.oid)
SELECT c.relkind IN ('r', 'm') AND COALESCE(am.amname = 'heap', false),
       CASE WHEN c.relkind IN ('r', 'm')
       THEN pg_catalog.pg_relation_size(c.oid) / pg_catalog.current_setting('block_size')::int8 END
FROM leaf JOIN pg_catalog.pg_class c ON c.oid = leaf.oid LEFT JOIN pg_catalog.pg_am am ON am.oid = c.relam
WHERE c.relkind <> 'p'
"""


def ranges(connection: Connection, relation: Relation, wanted: int) -> tuple[Sequence[str], str]:
    """Return predicates, disjoint and together true for every row, and a note where they are fewer than wanted.

    The ranges are of ``ctid``, over the table with all its partitions: each reads its share of every partition's
    blocks, so the privileges and the row security that count are those of the table itself.
    """
    if wanted == 1:
        return ["true"], ""
    if connection.server_version < PG_14:
        return ["true"], "parallelism needs PostgreSQL 14 or newer: reading in one stream"
    if relation.kind not in "rpm":
        return ["true"], f"parallelism needs a table, and this is a {KINDS[relation.kind]}: reading in one stream"
    leaves = query_rows(connection, _LEAVES, (relation.oid,))
    if not all(heap for heap, _ in leaves):
        return ["true"], "parallelism needs ordinary tables, and a partition is none: reading in one stream"
    cuts = split_points([blocks or 0 for _, blocks in leaves], wanted)
    return between(cuts), ""


def split_points(sizes: Sequence[int], wanted: int) -> list[int]:
    """Return block numbers that split tables of these sizes, all at the same numbers, into parts of about one size."""
    total = sum(sizes)
    parts = min(wanted, max(1, total // _SMALLEST_RANGE))
    cuts = {_block_at(sizes, total * part // parts) for part in range(1, parts)}
    return sorted(cuts - {0})


def _block_at(sizes: Sequence[int], share: int) -> int:
    """Return the smallest block number below which at least ``share`` blocks of all tables lie."""
    low, high = 0, max(sizes)
    while low < high:
        middle = (low + high) // 2
        if sum(min(middle, size) for size in sizes) < share:
            low = middle + 1
        else:
            high = middle
    return low


def between(cuts: Sequence[int]) -> list[str]:
    """Return the predicates; the last one has no end, for blocks that are added meanwhile."""
    if not cuts:
        return ["true"]
    middle = [f"ctid >= '({low},0)'::tid AND ctid < '({high},0)'::tid" for low, high in pairwise(cuts)]
    return [f"ctid < '({cuts[0]},0)'::tid", *middle, f"ctid >= '({cuts[-1]},0)'::tid"]
