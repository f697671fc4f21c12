"""What two sides are asked when they are compared, and what they answer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final, NamedTuple, Protocol, TypeAlias, runtime_checkable

import pyarrow as pa

from airflow_elt_provider.core.buckets import BucketKind, Buckets
from airflow_elt_provider.core.plan import Extraction
from airflow_elt_provider.core.schema import Column, TableSchema
from airflow_elt_provider.core.table_ref import TableRef
from airflow_elt_provider.core.types import JSON, UUID

Bucket: TypeAlias = "int | str"
"""Of kind ``range`` its lowest key, of kind ``md5`` its hex digits."""
Key: TypeAlias = "tuple[str | None, ...]"
"""Canonical texts of a row's key columns, in order; () where there is no key."""
MD5: Final = "md5"
"""The tongue that every system speaks: MD5 of the canonical texts of a row's columns."""
_DIGITS: Final = 3
"""Hex digits by which a bucket is divided further, and as many buckets, 4096, as ranges are divided into."""


class Rule(StrEnum):
    """How a column's values are written, so that equal values of two systems are equal texts."""

    INTEGER = "integer"
    DECIMAL = "decimal"
    """without zeros at the end; NaN and the infinities count as NULL, and are counted"""
    BOOLEAN = "boolean"
    """``t`` or ``f``"""
    TEXT = "text"
    UUID = "uuid"
    DATE = "date"
    """``2024-02-29``; what lies outside of the years 1 to 9999 counts as NULL, and is counted"""
    TIMESTAMP = "timestamp"
    """``2024-02-29 01:02:03.5`` (in UTC where it is an instant), to the microsecond; else as ``date``"""
    TIME = "time"
    """``01:02:03.5``; 24:00:00 counts as NULL, and is counted"""
    BINARY = "binary"
    """lower-case hex digits"""
    FLOAT = "float"
    """15 digits"""


_RULES: Final[tuple[tuple[pa.DataType, Rule], ...]] = (
    (pa.bool_(), Rule.BOOLEAN), (pa.int16(), Rule.INTEGER), (pa.int32(), Rule.INTEGER), (pa.int64(), Rule.INTEGER),
    (pa.float32(), Rule.FLOAT), (pa.float64(), Rule.FLOAT), (pa.string(), Rule.TEXT), (pa.binary(), Rule.BINARY),
    (pa.date32(), Rule.DATE), (pa.time64("us"), Rule.TIME), (pa.timestamp("us"), Rule.TIMESTAMP),
    (pa.timestamp("us", "UTC"), Rule.TIMESTAMP), (UUID, Rule.UUID),
)  # fmt: skip
_EXCEPTIONS: Final = {
    Rule.DECIMAL: "NaN or infinity", Rule.DATE: "outside of the years 1 to 9999",
    Rule.TIMESTAMP: "outside of the years 1 to 9999", Rule.TIME: "of 24:00:00",
}  # fmt: skip


def rule_of(column: Column) -> Rule | None:
    """Return how a column's values are written; None where no text of theirs is the same in all systems."""
    if column.format == "array" or column.type.equals(JSON):
        return None
    if column.format == "decimal" or pa.types.is_decimal(column.type):
        return Rule.DECIMAL
    return next((rule for kind, rule in _RULES if column.type.equals(kind)), None)


def why_not(column: Column) -> str:
    """Say why a column has no rule."""
    what = "an array" if column.format == "array" else "JSON" if column.type.equals(JSON) else f"of type {column.type}"
    return f"it is {what}, whose text differs from system to system"


def exceptions(rule: Rule) -> str:
    """Say which values of a rule count as NULL."""
    return _EXCEPTIONS[rule]


class Sum(NamedTuple):
    """What one side says of one bucket.

    :param hashes: sums over the hashes of its rows.
    :param folded: for each column of the question how many of its values counted as NULL without being it.
    """

    rows: int
    hashes: tuple[int, ...]
    folded: tuple[int, ...] = ()


NOTHING: Final = Sum(0, ())


class Row(NamedTuple):
    """One row of a bucket: its key, and the hash of its columns."""

    key: Key
    hash: str


@dataclass(frozen=True)
class Question:
    """What both sides are asked.

    :param tongue: how rows are hashed; both sides speak it.
    :param columns: the columns that are compared, named as in the target.
    :param key: the columns that identify a row, named as in the target; () where nothing does: then the buckets are
        told by the rows' own hashes.
    :param within: the buckets of ``scope`` that are asked for; None for all.
    :param scope: how those buckets are told, where ``buckets`` divides them further.
    """

    tongue: str
    columns: tuple[str, ...]
    key: tuple[str, ...]
    buckets: Buckets
    within: tuple[Bucket, ...] | None = field(default=None, repr=False)
    scope: Buckets | None = None

    def of(self, buckets: Iterable[Bucket]) -> Question:
        """Return the question about some buckets alone."""
        return replace(self, within=tuple(sorted(buckets)), scope=self.buckets)

    def finer(self, bucket: Bucket) -> Question | None:
        """Return the question that divides one bucket; None where it cannot be divided any more."""
        kind, size = self.buckets.kind, self.buckets.size
        if size == 1 if kind is BucketKind.RANGE else size >= _MD5_DIGITS:
            return None
        smaller = max(1, size >> (4 * _DIGITS)) if kind is BucketKind.RANGE else size + _DIGITS
        return replace(self, buckets=replace(self.buckets, size=smaller), within=(bucket,), scope=self.buckets)


_MD5_DIGITS: Final = 30


def ranges_of(key: str, lowest: int, highest: int) -> Buckets:
    """Return buckets of whole numbers, about 4096 of them between the lowest and the highest."""
    size = 1
    while (highest - lowest) // size > 16**_DIGITS and size < 1 << 62:
        size <<= 1
    return Buckets(BucketKind.RANGE, (key,), size)


def digits_of(key: Sequence[str]) -> Buckets:
    """Return 4096 buckets by the MD5 of keys."""
    return Buckets(BucketKind.MD5, tuple(key), _DIGITS)


def joined(key: Key, rules: Sequence[Rule]) -> str:
    """Return the text under which both sides know a key.

    No two keys have the same: texts bear their length, others have no ``|`` in them, and NULL is ``~``.
    """
    return "|".join(
        "~" if text is None else f"{len(text)}:{text}" if rule is Rule.TEXT else text
        for text, rule in zip(key, rules, strict=True)
    )


class Form(NamedTuple):
    """How one side would write a column: two of one name are comparable.

    :param name: "" where it cannot.
    :param reason: why it cannot, or what it has.
    :param whole: whether the column holds whole numbers, and ranges of them can be asked for.
    """

    name: str
    reason: str = ""
    whole: bool = False


class Value(NamedTuple):
    """One value of one row.

    :param hash: another one where the value is.
    :param text: its beginning, where it was asked for; None for NULL.
    """

    hash: str
    text: str | None = None


# --- the two sides ---


class ComparedTable(Protocol):
    """One side of a comparison, asked under one snapshot."""

    @property
    def schema(self) -> TableSchema:
        """Columns and key, named as in the target."""

    @property
    def notes(self) -> Sequence[str]:
        """Sentences for the log."""

    @property
    def tongues(self) -> Sequence[str]:
        """The ways in which it can hash rows, the fastest first; none where it can do no more than count them."""

    def form(self, name: str, tongue: str) -> Form:
        """Say how a column would be written: what has the same form on both sides can be compared."""

    def count(self) -> int:
        """Return how many rows there are."""

    def bounds(self, key: str) -> tuple[int, int] | None:
        """Return the lowest and the highest value of a column of whole numbers; None where there is no row."""

    def sums(self, question: Question) -> Mapping[Bucket, Sum]:
        """Return rows and hashes of every bucket that has rows."""

    def rows(self, question: Question) -> Iterator[Row]:
        """Give the rows of the buckets that are asked for."""

    def values(self, question: Question, keys: Sequence[Key], *, show: bool) -> Mapping[Key, Sequence[Value]]:
        """Return the values of some keys' rows, one for each column of the question.

        :param show: whether the values' texts are wanted too.
        """


@runtime_checkable
class ComparableSource(Protocol):
    """A source whose tables can be compared."""

    def compared(self, extraction: Extraction) -> AbstractContextManager[ComparedTable]:
        """Open the columns and rows that an extraction is about.

        :raises ConfigurationError: for a missing table, column or privilege.
        """


@runtime_checkable
class ComparableDestination(Protocol):
    """A destination whose targets can be compared."""

    def compared(self, target: TableRef, schema: TableSchema) -> AbstractContextManager[ComparedTable]:
        """Open a target; rows that are marked as deleted or no longer current are left out.

        :param schema: the source's columns, by which the target's are chosen and spelled.
        :raises ConfigurationError: when there is no such table.
        """
