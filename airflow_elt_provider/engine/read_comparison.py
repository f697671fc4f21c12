"""A source that cannot be asked for hashes, in a comparison: its rows are read, and hashed here."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, Final, NamedTuple

import pyarrow as pa

from airflow_elt_provider.core.buckets import BucketKind, Buckets
from airflow_elt_provider.core.comparison import (
    MD5,
    Bucket,
    ComparedTable,
    Form,
    Key,
    Question,
    Row,
    Rule,
    Sum,
    Value,
    joined,
    rule_of,
    why_not,
)
from airflow_elt_provider.core.plan import Extraction
from airflow_elt_provider.core.protocols import Source
from airflow_elt_provider.core.schema import TableSchema
from airflow_elt_provider.core.system_columns import EXACT

_SHOWN: Final = 200
_NO_NUMBERS: Final = frozenset({"NaN", "Infinity", "-Infinity"})


class _Read(NamedTuple):
    """One row.

    :param texts: canonical texts of the question's columns.
    :param folded: for each of them whether it counts as NULL without being it.
    """

    key: Key
    joined_key: str
    hash: str
    texts: tuple[str | None, ...]
    folded: tuple[bool, ...]


@dataclass(frozen=True)
class ReadTable:
    """Everything a source gives for an extraction; it is read anew for each question.

    :class:`airflow_elt_provider.core.protocols.ComparedTable` says what the methods promise.
    """

    source: Source
    extraction: Extraction
    schema: TableSchema
    notes: tuple[str, ...]
    tongues: tuple[str, ...] = (MD5,)

    def form(self, name: str, tongue: str) -> Form:
        """Say how a column would be written."""
        del tongue
        column = self.schema.column(name)
        rule = rule_of(column)
        return Form(rule, f"{column.type} here", rule is Rule.INTEGER) if rule else Form("", why_not(column))

    def count(self) -> int:
        """Return how many rows there are."""
        return sum(batch.num_rows for batch in self._batches())

    def bounds(self, key: str) -> tuple[int, int] | None:
        """Return the lowest and the highest key."""
        keys = [value for batch in self._batches() for value in batch.column(key).to_pylist() if value is not None]
        return (min(keys), max(keys)) if keys else None

    def sums(self, question: Question) -> dict[Bucket, Sum]:
        """Return rows and hashes of every bucket that has rows."""
        found: dict[Bucket, list[Any]] = {}
        for row in self._rows(question):
            bucket = _bucket(row, question.buckets, question)
            rows, first, second, folded = found.get(bucket) or [0, 0, 0, (0,) * len(row.folded)]
            found[bucket] = [
                rows + 1, first + int(row.hash[:8], 16), second + int(row.hash[8:16], 16),
                tuple(one + other for one, other in zip(folded, row.folded, strict=True)),
            ]  # fmt: skip
        return {bucket: Sum(rows, (first, second), folded) for bucket, (rows, first, second, folded) in found.items()}

    def rows(self, question: Question) -> Iterator[Row]:
        """Give the rows of the buckets that are asked for."""
        for row in self._rows(question):
            yield Row(row.key, row.hash)

    def values(self, question: Question, keys: Sequence[Key], *, show: bool) -> dict[Key, tuple[Value, ...]]:
        """Return the values of some keys' rows."""
        wanted, rules = set(keys), self._rules(question.columns)
        return {
            row.key: tuple(
                Value(_md5(joined((text,), (rule,))), text[:_SHOWN] if show and text is not None else None)
                for text, rule in zip(row.texts, rules, strict=True)
            )
            for row in self._rows(question)
            if row.key in wanted
        }

    # --- reading ---

    def _batches(self) -> Iterator[pa.RecordBatch]:
        with self.source.changes(self.extraction, None) as changes:
            for stream in changes.streams:
                yield from stream

    def _rules(self, names: Iterable[str]) -> list[Rule]:
        return [rule_of(self.schema.column(name)) or Rule.TEXT for name in names]

    def _rows(self, question: Question) -> Iterator[_Read]:
        rules = self._rules(question.columns)
        own = [question.columns.index(name) for name in question.key]
        key_rules = [rules[at] for at in own]
        scope, within = question.scope or question.buckets, set(question.within or ())
        for batch in self._batches():
            columns = [_texts(batch, name, rule) for name, rule in zip(question.columns, rules, strict=True)]
            exact = [json.loads(text) if text else {} for text in _exact(batch)]
            for at, texts in enumerate(zip(*columns, strict=True)):
                given = exact[at] if exact else {}
                folded = tuple(
                    (text is None and name in given) or (text in _NO_NUMBERS and rule is Rule.DECIMAL)
                    for name, text, rule in zip(question.columns, texts, rules, strict=True)
                )
                seen = tuple(None if fold else text for text, fold in zip(texts, folded, strict=True))
                key = tuple(seen[number] for number in own)
                hash_ = _md5(joined(seen, rules))
                row = _Read(key, joined(key, key_rules), hash_, seen, folded)
                if question.within is None or _bucket(row, scope, question) in within:
                    yield row


@contextmanager
def read_table(source: Source, extraction: Extraction) -> Iterator[ComparedTable]:
    """Open a source that can do no more than read."""
    with source.changes(extraction, None) as changes:
        schema, notes = changes.schema, tuple(changes.notes)
    yield ReadTable(source, extraction, schema, (*notes, "the source's rows are read and hashed here"))


def _bucket(row: _Read, buckets: Buckets, question: Question) -> Bucket:
    if buckets.kind is BucketKind.RANGE:
        return int(row.key[0] or 0) // buckets.size * buckets.size
    return (_md5(row.joined_key) if question.key else row.hash)[: buckets.size]


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


# --- canonical texts ---


def _exact(batch: pa.RecordBatch) -> list[str | None]:
    return batch.column(EXACT).to_pylist() if EXACT in batch.schema.names else []


def _texts(batch: pa.RecordBatch, name: str, rule: Rule) -> list[str | None]:
    write = _WRITERS[rule]
    return [None if value is None else write(value) for value in batch.column(name).to_pylist()]


def _decimal(value: Decimal | str) -> str:
    text = value if isinstance(value, str) else format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _float(value: float) -> str:
    return "0" if value == 0 else f"{value:.14e}" if value - value == 0 else str(value)


def _time(value: time) -> str:
    return _trimmed(value.isoformat("microseconds"))


def _timestamp(value: datetime) -> str:
    return _trimmed(value.replace(tzinfo=None).isoformat(" ", "microseconds"))


def _trimmed(text: str) -> str:
    return text.rstrip("0").rstrip(".")


_WRITERS: Final[dict[Rule, Callable[[Any], str]]] = {
    Rule.INTEGER: str, Rule.DECIMAL: _decimal, Rule.BOOLEAN: lambda value: "t" if value else "f", Rule.TEXT: str,
    Rule.UUID: str.lower, Rule.DATE: date.isoformat, Rule.TIMESTAMP: _timestamp, Rule.TIME: _time,
    Rule.BINARY: bytes.hex, Rule.FLOAT: _float,
}  # fmt: skip
