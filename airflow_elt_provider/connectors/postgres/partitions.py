"""A table divided among several tasks: ranges of keys with about as many rows each, and the reading of one."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from airflow_elt_provider.connectors.postgres.catalog import KINDS, query_rows
from airflow_elt_provider.connectors.postgres.fingerprint_comparison import Comparison
from airflow_elt_provider.connectors.postgres.fingerprint_reading import Cancel
from airflow_elt_provider.connectors.postgres.fingerprint_scan import estimated_rows, table_bytes
from airflow_elt_provider.connectors.postgres.first_load import FirstLoad, PortionSizes, identity, step_of
from airflow_elt_provider.core.partition import Key, Partition, divided
from airflow_elt_provider.errors import ConfigurationError, StaleLoadError

_SAMPLE: Final = 100_000
"""Rows, about, from which the bounds are taken."""


def divide(comparison: Comparison, into: int) -> Sequence[Partition]:
    """Divide a table's keys into ranges of about as many rows each; fewer where there are not as many rows.

    The bounds come from a sample of the table's blocks: a whole table is neither sorted nor read for them.

    :raises ConfigurationError: for a table whose keys cannot be divided.
    """
    refuse(comparison)
    return divided(_table(comparison), _bounds(comparison, into), comparison.wanted)


def refuse(comparison: Comparison) -> None:
    """Refuse a relation whose rows have no ranges of keys that can be looked up.

    :raises ConfigurationError: says why.
    """
    moment = comparison.moment
    relation, extraction = moment.relation, moment.extraction
    names = tuple(column.source.name for column in comparison.key.columns)
    masked = sorted(set(names) & set(extraction.masked_columns))
    rules = [
        (relation.kind not in "rp", f"a {KINDS[relation.kind]} cannot be read range by range", "name a table"),
        (relation.inherited, "other tables inherit from it, and keys are unique in each of them alone",
         "name the tables one by one"),
        (names not in relation.keys, f"the source keeps no index that makes {', '.join(names)} unique and not NULL",
         "leave primary_key out, or name the columns of such an index"),
        (bool(masked), f"the bounds of ranges are keys, and column {', '.join(masked)} of the key is masked",
         "leave partitions out"),
    ]  # fmt: skip
    for rule, message, hint in rules:
        if rule:
            raise ConfigurationError(f"partitions of {extraction.source}: {message}.", hint=hint)


def reading(comparison: Comparison, partition: Partition, sizes: PortionSizes, cancel: Cancel) -> FirstLoad:
    """Return the reading of one range; a large one is read in portions, as a whole table would be.

    :raises StaleLoadError: when the table is not what was divided.
    """
    refuse(comparison)
    moment = comparison.moment
    comparison = replace(comparison, wanted=partition.buckets)
    if _table(comparison) != partition.table:
        raise StaleLoadError(
            f"{moment.extraction.source} was altered since it was divided into partitions.",
            hint="clear the load from the task that plans the partitions on",
        )
    rows = estimated_rows(moment.connection, moment.relation.from_item)
    size = table_bytes(moment.connection, moment.present.epoch.tables)
    low, high = (None if key is None else list(key) for key in (partition.low, partition.high))
    return FirstLoad(comparison, step_of(comparison, sizes, rows, size), cancel, low, high)


def _table(comparison: Comparison) -> str:
    return hashlib.sha256(identity(comparison).encode()).hexdigest()[:16]


def _bounds(comparison: Comparison, into: int) -> list[Key]:
    """Return the first keys of all ranges but the first."""
    moment = comparison.moment
    rows = estimated_rows(moment.connection, moment.relation.from_item)
    share = min(100.0, 100.0 * _SAMPLE / max(rows, 1))
    own = ", ".join(comparison.key.names)
    # A cast keeps its column's name, and ORDER BY would take the text for the key.
    texts = ", ".join(f'{name}::pg_catalog.text AS "_elt_{at}"' for at, name in enumerate(comparison.key.names))
    sql = (
        f'SELECT DISTINCT ON ("_elt_tile") "_elt_tile", {texts} FROM ('
        f'SELECT {own}, pg_catalog.ntile({into}) OVER (ORDER BY {own}) AS "_elt_tile" '
        f"FROM {moment.relation.from_item} TABLESAMPLE SYSTEM ({share:.6f}) WHERE {moment.where}"
        f') "_elt_x" ORDER BY "_elt_tile", {own}'
    )
    found = query_rows(moment.connection, sql)
    return [tuple(key) for tile, *key in found if tile > 1]
