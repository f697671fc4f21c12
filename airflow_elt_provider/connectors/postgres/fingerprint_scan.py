"""Asks the server for the fingerprints of a table."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from typing import Any, Final, cast

import pyarrow as pa
import pyarrow.compute as pc
from psycopg2.extensions import connection as Connection  # noqa: N812 - a class in all but its name
from pyarrow import csv

from airflow_elt_provider.connectors.postgres.capture_fingerprint import KeyText, scan
from airflow_elt_provider.connectors.postgres.catalog import query_rows
from airflow_elt_provider.core.buckets import Buckets
from airflow_elt_provider.core.fingerprints import Fingerprints, width_bits

_TYPES: Final = {"bucket": pa.int64(), "rows": pa.int64(), "hash": pa.decimal128(38, 0), "old": pa.int64()}
_BY_HASH: Final = {"enable_sort": "off", "enable_gathermerge": "off"}
"""The planner takes each row for a bucket of its own, and would sort the whole table: half as fast."""


@dataclass(frozen=True)
class Scanned:
    """The fingerprints of one snapshot.

    :param buckets: how theirs are told.
    :param old: for each bucket how many rows the last snapshot saw as they are now; its hashes mean nothing.
    :param keyless: rows in no bucket, for there is NULL in what tells it. They are read every time.
    """

    buckets: Buckets
    now: Fingerprints
    old: Fingerprints
    keyless: int = 0

    @property
    def rows(self) -> int:
        """How many rows there are in all."""
        return self.now.rows + self.keyless

    def told_as(self, buckets: Buckets) -> Scanned:
        """Return the same for buckets that are as wide, or wider."""
        bits = width_bits(buckets) - width_bits(self.buckets)
        return Scanned(buckets, self.now.folded(bits), self.old.folded(bits), self.keyless)


def scan_table(
    connection: Connection, key: KeyText, buckets: Buckets, row_hash: str, rows: str, old: str = "false"
) -> Scanned:
    """Read the fingerprints of the rows that FROM and WHERE in ``rows`` name."""
    sink = io.BytesIO()
    with planned(connection, _BY_HASH), connection.cursor() as cursor:
        cursor.copy_expert(f"COPY ({scan(key, buckets, row_hash, rows, old)}) TO STDOUT (FORMAT csv)", sink)
    if not sink.tell():
        return Scanned(buckets, Fingerprints.none(), Fingerprints.none())
    table = csv.read_csv(
        cast("Any", pa.py_buffer(sink.getbuffer())), csv.ReadOptions(column_names=list(_TYPES), use_threads=False),
        convert_options=csv.ConvertOptions(column_types=_TYPES),
    )  # fmt: skip
    keyless = pc.sum(table.filter(pc.is_null(table["bucket"]))["rows"]).as_py() or 0
    table = table.filter(pc.is_valid(table["bucket"]))
    now = Fingerprints.of(table["bucket"], table["rows"], table["hash"])
    return Scanned(buckets, now, Fingerprints.of(table["bucket"], table["old"], table["old"]), int(keyless))


class planned:  # noqa: N801 - a context manager
    """Settings of the planner for one statement of the open transaction."""

    def __init__(self, connection: Connection, settings: dict[str, str]) -> None:
        self._connection, self._settings = connection, settings

    def __enter__(self) -> None:
        for name, value in self._settings.items():
            query_rows(self._connection, "SELECT pg_catalog.set_config(%s, %s, true)", (name, value))

    def __exit__(self, failure: type[BaseException] | None, *rest: object) -> None:
        if failure is None:  # else the transaction is over, and they with it
            for name in self._settings:
                query_rows(self._connection, "SELECT pg_catalog.set_config(%s, 'on', true)", (name,))


def estimated_rows(connection: Connection, from_item: str) -> int:
    """Return how many rows the planner expects."""
    found = query_rows(connection, f"EXPLAIN (FORMAT json) SELECT FROM {from_item}")[0][0]
    plan = json.loads(found) if isinstance(found, str) else found
    return int(plan[0]["Plan"]["Plan Rows"])


def table_bytes(connection: Connection, tables: tuple[int, ...]) -> int:
    """Return how large tables are, without indexes and values kept apart."""
    sql = "SELECT COALESCE(sum(pg_catalog.pg_relation_size(oid::regclass)), 0)::int8 FROM unnest(%s::oid[]) AS t(oid)"
    return int(query_rows(connection, sql, (list(tables),))[0][0])
