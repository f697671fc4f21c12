"""Buckets of keys in MySQL's SQL. No I/O."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa

from airflow_elt_provider.connectors.mysql.names import quoted
from airflow_elt_provider.connectors.mysql.selection import SelectedColumn, Selection
from airflow_elt_provider.connectors.mysql.types import INTEGERS, TEXTS, exact_text
from airflow_elt_provider.core.buckets import BucketKind, Buckets
from airflow_elt_provider.core.fingerprints import md5_name, range_size, runs
from airflow_elt_provider.core.system_columns import OP

_RUNS: Final = 1000
"""Ranges of keys in one statement."""
_NAMES: Final = 20_000
"""Buckets of kind ``md5`` in one statement, each of which is a scan of the table."""
_LARGEST: Final = {16: 1 << 15, 32: 1 << 20, 64: 1 << 20}
"""Bits of a key -> the widest range whose lowest key is still one of the type's."""
_BATCH: Final = 65_536


@dataclass(frozen=True)
class KeyBuckets:
    """How the buckets of a table are told, here and at the destination.

    :param columns: key columns that tell the bucket; () for kind ``all``.
    """

    kind: BucketKind
    columns: tuple[SelectedColumn, ...] = ()

    @classmethod
    def of(cls, selection: Selection, masked: Sequence[str]) -> KeyBuckets:
        """Choose: ranges of one whole number, else hashes of the key's texts and whole numbers.

        :param masked: source columns whose values the target does not have.
        """
        names = {column.column.name: column for column in selection.columns}
        key = [names[name] for name in selection.schema.primary_key]
        if any(column.source.name in masked for column in key):
            return cls(BucketKind.ALL)
        if len(key) == 1 and pa.types.is_integer(key[0].column.type) and _whole(key[0]):
            return cls(BucketKind.RANGE, (key[0],))
        told = tuple(column for column in key if _whole(column) or _is_text(column))
        return cls(BucketKind.MD5, told) if told else cls(BucketKind.ALL)

    def sized(self, bucket_rows: int, digits: int) -> Buckets:
        """Return the buckets as the destination is told of them.

        :param digits: for kind ``md5``.
        """
        names = tuple(column.column.name for column in self.columns)
        match self.kind:
            case BucketKind.RANGE:
                largest = _LARGEST[self.columns[0].column.type.bit_width]
                return Buckets(self.kind, names, range_size(bucket_rows, largest))
            case BucketKind.MD5:
                return Buckets(self.kind, names, digits)
        return Buckets(self.kind, (), 0)

    def number(self, buckets: Buckets) -> str:
        """Return the expression for the bucket of a row, as :mod:`airflow_elt_provider.core.fingerprints` counts."""
        match self.kind:
            case BucketKind.RANGE:  # by its bits: rounds down, also below zero
                size = buckets.size
                return f"COALESCE(CAST({self._key} & {(1 << 64) - size} AS SIGNED) DIV {size}, 0)"
            case BucketKind.MD5:
                return f"CAST(CONV(LEFT({self._digest}, {buckets.size}), 16, 10) AS UNSIGNED)"
        return "0"

    @property
    def _key(self) -> str:
        return quoted(self.columns[0].source.name)

    @property
    def _digest(self) -> str:
        texts = ", ".join(exact_text(column.source.type, quoted(column.source.name)) for column in self.columns)
        return f"MD5(CONCAT_WS('|', {texts}))"

    def predicates(self, changed: Sequence[int], buckets: Buckets) -> Iterator[str]:
        """Give the predicates, one for each statement, that find the rows of some buckets."""
        if self.kind is BucketKind.ALL:
            yield "true"
        elif self.kind is BucketKind.RANGE:
            size = buckets.size
            for at, some in enumerate(_parts(runs(changed), _RUNS)):
                ranges = [f"{self._key} BETWEEN {low * size} AND {high * size + size - 1}" for low, high in some]
                lost = [f"{self._key} IS NULL"] if at == 0 and self.columns[0].source.nullable else []
                yield " OR ".join([*ranges, *lost])
        else:
            for some in _parts(list(changed), _NAMES):
                names = ", ".join(f"'{md5_name(bucket, buckets.size)}'" for bucket in some)
                yield f"LEFT({self._digest}, {buckets.size}) IN ({names})"

    def named(self, changed: Sequence[int], buckets: Buckets) -> Iterator[pa.RecordBatch]:
        """Give the rows of a keyset that name changed buckets; see :class:`~...core.buckets.Buckets`."""
        for some in _parts(list(changed), _BATCH):
            if self.kind is BucketKind.RANGE:
                column = self.columns[0].column
                lowest = pa.array([bucket * buckets.size for bucket in some], column.type)
                ops = pa.array(["b"] * len(some), pa.string())
                yield pa.RecordBatch.from_arrays([lowest, ops], [column.name, OP])
            elif self.kind is BucketKind.MD5:
                ops = pa.array([f"b{md5_name(bucket, buckets.size)}" for bucket in some], pa.string())
                yield pa.RecordBatch.from_arrays([ops], [OP])


def _whole(column: SelectedColumn) -> bool:
    return column.override is None and column.source.type.name in INTEGERS


def _is_text(column: SelectedColumn) -> bool:
    return column.override is None and column.source.type.name in TEXTS | {"uuid"}


def _parts(items: list[Any], size: int) -> Iterator[list[Any]]:
    return (items[at : at + size] for at in range(0, len(items), size))
