"""Fingerprints of a table: for each bucket of keys how many rows it has, and the sum of their hashes.

A bucket is known here by a whole number: of kind ``range`` the key divided by the bucket's size, rounded down; of kind
``md5`` what the first digits spell; of kind ``all`` 0. Sums are kept modulo 2**64, as signed numbers.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final, cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from airflow_elt_provider.core.buckets import BucketKind, Buckets

_SCHEMA: Final = pa.schema([("bucket", pa.int64()), ("rows", pa.int64()), ("hash", pa.int64())])
_FACTS: Final = b"elt"
_FORMAT: Final = "1"
_ROOMY: Final = 4
"""So many times as full as asked for, or as empty, buckets of kind ``md5`` may get before their width changes."""
_MOST_DIGITS: Final = 7


@dataclass(frozen=True, eq=False)
class Fingerprints:
    """Count and hash of each bucket that has rows.

    :param table: columns ``bucket``, ``rows`` and ``hash``, by bucket, each bucket once.
    """

    table: pa.Table

    @classmethod
    def of(cls, bucket: Any, rows: Any, hashes: Any) -> Fingerprints:
        """Take arrays as a database gives them: in any order, the sums as whole numbers of any width, or decimals."""
        columns = [pc.cast(bucket, pa.int64()), pc.cast(rows, pa.int64()), _low_bits(hashes)]
        return cls(_summed([pa.Table.from_arrays(columns, schema=_SCHEMA)]))

    @classmethod
    def none(cls) -> Fingerprints:
        """Return the fingerprints of no rows."""
        return cls(_SCHEMA.empty_table())

    @property
    def rows(self) -> int:
        """How many rows there are in all."""
        return int(pc.sum(self.table["rows"]).as_py() or 0)

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def folded(self, bits: int) -> Fingerprints:
        """Return the fingerprints of buckets that are ``2**bits`` times as wide."""
        if not bits:
            return self
        wider = pc.shift_right(self.table["bucket"], pa.scalar(bits, pa.int64()))
        return Fingerprints(_summed([self.table.set_column(0, "bucket", wider)]))

    def plus(self, *others: Fingerprints) -> Fingerprints:
        """Return the fingerprints of these rows and others, of which no row is the same."""
        return Fingerprints(_summed([self.table, *(other.table for other in others)]))

    def changed_since(self, before: Fingerprints) -> list[int]:
        """Return the buckets whose rows are not what they were, in order."""
        taken = before.table
        for at, name in ((1, "rows"), (2, "hash")):
            taken = taken.set_column(at, name, pc.negate(taken[name]))
        moved = _summed([self.table, taken])
        rows, hashes = (pc.not_equal(cast("Any", moved[name]), cast("Any", 0)) for name in ("rows", "hash"))
        differs: Any = pc.or_(cast("Any", rows), cast("Any", hashes))
        return _numbers(moved.filter(differs)["bucket"])

    def rows_of(self, buckets: Iterable[int]) -> dict[int, int]:
        """Return how many rows these buckets have, those without any left out."""
        wanted = pa.array(buckets, pa.int64())
        there = self.table.filter(pc.is_in(self.table["bucket"], value_set=wanted))
        return dict(zip(_numbers(there["bucket"]), _numbers(there["rows"]), strict=True))


@dataclass(frozen=True)
class State:
    """What a state file holds.

    :param facts: what else the next extract needs to know of this one.
    """

    fingerprints: Fingerprints
    facts: Mapping[str, str] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """Return a small Parquet file: about 9 bytes for a bucket."""
        facts = json.dumps({"v": _FORMAT, "facts": dict(self.facts)})
        table = self.fingerprints.table.replace_schema_metadata({_FACTS: facts.encode()})
        sink = io.BytesIO()
        pq.write_table(
            table, sink, compression="zstd", use_dictionary=False, write_statistics=False,
            column_encoding={"bucket": "DELTA_BINARY_PACKED", "rows": "DELTA_BINARY_PACKED", "hash": "PLAIN"},
        )  # fmt: skip
        return sink.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> State | None:
        """Read what :meth:`to_bytes` wrote; None for what is no such file, or of another version's format."""
        try:
            table = pq.read_table(io.BytesIO(data))
            known = json.loads((table.schema.metadata or {})[_FACTS])
            if known["v"] != _FORMAT:
                return None
            return cls(Fingerprints(table.select(_SCHEMA.names).cast(_SCHEMA)), known["facts"])
        except (pa.ArrowException, OSError, ValueError, KeyError):
            return None


# --- buckets ---


def range_size(bucket_rows: int, largest: int = 1 << 20) -> int:
    """Return the power of two that is nearest to ``bucket_rows``, at most ``largest`` (a power of two)."""
    below = 1 << (bucket_rows.bit_length() - 1)
    return min(largest, below if bucket_rows * bucket_rows <= 2 * below * below else 2 * below)


def md5_digits(rows: int, bucket_rows: int, before: int = 0) -> int:
    """Return how many hex digits give buckets of about ``bucket_rows`` rows.

    :param before: the digits so far; they stay while the buckets are neither much too full nor much too empty.
    """
    if (
        before
        and rows <= (bucket_rows * _ROOMY) << (4 * before)
        and (before == 1 or rows * _ROOMY * 16 >= bucket_rows << (4 * before))
    ):
        return before
    digits = 1
    while digits < _MOST_DIGITS and rows > (2 * bucket_rows) << (4 * digits):
        digits += 1
    return digits


def width_bits(buckets: Buckets) -> int:
    """Return the binary logarithm of how wide the buckets are, from any fixed point."""
    match buckets.kind:
        case BucketKind.RANGE:
            return buckets.size.bit_length() - 1
        case BucketKind.MD5:
            return -4 * buckets.size
    return 0


def comparable(one: Buckets, other: Buckets) -> bool:
    """Whether the wider of the two consist of whole buckets of the narrower."""
    return (one.kind, one.columns) == (other.kind, other.columns)


def narrower(one: Buckets, other: Buckets) -> Buckets:
    """Return those of two comparable ones whose fingerprints can be folded into those of the other."""
    return min(one, other, key=width_bits)


def md5_name(bucket: int, digits: int) -> str:
    """Return the digits of a bucket of kind ``md5``."""
    return f"{bucket:0{digits}x}"


def runs(buckets: Iterable[int]) -> list[tuple[int, int]]:
    """Return first and last of each run of neighbours among ascending buckets."""
    found = list(buckets)
    if not found:
        return []
    breaks = [(low, high) for low, high in pairwise(found) if high - low > 1]
    return list(zip([found[0], *(high for _, high in breaks)], [*(low for low, _ in breaks), found[-1]], strict=True))


# --- arrays ---


def _summed(tables: list[pa.Table]) -> pa.Table:
    """Add up rows and hashes of each bucket (64-bit sums wrap around, as they should)."""
    table = pa.concat_tables(tables)
    grouped = table.group_by("bucket", use_threads=False).aggregate([("rows", "sum"), ("hash", "sum")])
    columns = [grouped["bucket"], grouped["rows_sum"], grouped["hash_sum"]]
    return pa.Table.from_arrays(columns, schema=_SCHEMA).sort_by("bucket").combine_chunks()


def _numbers(column: Any) -> list[int]:
    found: list[int] = column.to_pylist()
    return found


def _low_bits(numbers: Any) -> Any:
    """Return whole numbers modulo 2**64, as signed ones."""
    if isinstance(numbers, pa.ChunkedArray):
        return pa.chunked_array([_low_bits(chunk) for chunk in numbers.chunks], pa.int64())
    if pa.types.is_decimal128(numbers.type):
        if numbers.type.scale:
            raise ValueError(f"{numbers.type} holds no whole numbers")
        halves = pa.Array.from_buffers(
            pa.int64(), 2 * len(numbers), [None, numbers.buffers()[1]], offset=2 * numbers.offset
        )
        return pc.list_element(pa.FixedSizeListArray.from_arrays(halves, 2), 0)  # the lower half comes first
    return numbers.view(pa.int64()) if pa.types.is_uint64(numbers.type) else pc.cast(numbers, pa.int64())
