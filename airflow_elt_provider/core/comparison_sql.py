"""The statements of a comparison, as far as systems share them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from airflow_elt_provider.core.buckets import BucketKind, Buckets
from airflow_elt_provider.core.comparison import MD5, Form, Key, Question, Row, Rule, Sum, Value, joined, rule_of
from airflow_elt_provider.core.comparison_words import ComparedColumn, ComparisonWords
from airflow_elt_provider.core.dialect import Dialect, Sql
from airflow_elt_provider.core.evolve import TargetTable
from airflow_elt_provider.core.schema import TableSchema
from airflow_elt_provider.core.system_columns import DELETED_AT, IS_CURRENT
from airflow_elt_provider.core.table_ref import TableRef
from airflow_elt_provider.errors import ConfigurationError

_FEW: Final = 50
"""So many ranges of keys are asked for one by one; more of them as one range with holes."""


@dataclass(frozen=True)
class SqlTable:
    """One side of a comparison, asked in SQL; see :class:`airflow_elt_provider.core.protocols.ComparedTable`.

    :param from_item: what stands in FROM.
    :param where: conditions that choose the rows.
    :param columns: named as in the target.
    :param query: runs a query, with what is bound in it.
    """

    words: ComparisonWords
    from_item: str
    where: tuple[str, ...]
    schema: TableSchema
    columns: Mapping[str, ComparedColumn]
    query: Callable[[Sql, Sequence[Any]], list[tuple[Any, ...]]]
    notes: tuple[str, ...] = ()

    @property
    def tongues(self) -> tuple[str, ...]:
        """Ways of hashing rows, the fastest first."""
        return self.words.tongues

    def form(self, name: str, tongue: str) -> Form:
        """Say how a column would be written."""
        column = self.columns.get(name)
        return self.words.form(column, tongue) if column else Form("", "it is not there")

    def count(self) -> int:
        """Return how many rows there are."""
        return int(self.query(Sql(f"SELECT count(*) FROM {self._from()}"), ())[0][0])

    def bounds(self, key: str) -> tuple[int, int] | None:
        """Return the lowest and the highest key; None where there is no row."""
        own = self.columns[key].expression
        lowest, highest = self.query(Sql(f"SELECT min({own}), max({own}) FROM {self._from()}"), ())[0]
        return None if lowest is None else (int(lowest), int(highest))

    def sums(self, question: Question) -> dict[int | str, Sum]:
        """Return rows and hashes of every bucket that has rows."""
        words, columns = self.words, [self.columns[name] for name in question.columns]
        folded = [words.exceptional(column) if question.tongue == MD5 else None for column in columns]
        inner = [f"{self._bucket(question, question.buckets)} AS _elt_b", f"{self._hash(question)} AS _elt_h"]
        inner += [f"CASE WHEN {test} THEN 1 ELSE 0 END AS _elt_f{at}" for at, test in enumerate(folded) if test]
        outer = ["_elt_b", "count(*)", *words.sums("_elt_h", question.tongue)]
        hashes = len(outer) - 2
        outer += [f"sum(_elt_f{at})" for at, test in enumerate(folded) if test]
        each = f"SELECT {', '.join(inner)} FROM {self._from(question)}{words.fence}"
        rows = self.query(Sql(f"SELECT {', '.join(outer)} FROM ({each}) _elt_t GROUP BY _elt_b"), ())
        found: dict[int | str, Sum] = {}
        for bucket, count, *numbers in rows:
            counts = iter(numbers[hashes:])
            found[_bucket(bucket, question)] = Sum(
                int(count), tuple(map(int, numbers[:hashes])),
                tuple(int(next(counts)) if test else 0 for test in folded),
            )  # fmt: skip
        return found

    def rows(self, question: Question) -> Iterator[Row]:
        """Give the rows of the buckets that are asked for."""
        items = [*self._key_texts(question), self.words.hash_text(self._hash(question), question.tongue)]
        for *key, hash_ in self.query(Sql(f"SELECT {', '.join(items)} FROM {self._from(question)}"), ()):
            yield Row(tuple(key), str(hash_))

    def values(self, question: Question, keys: Sequence[Key], *, show: bool) -> dict[Key, tuple[Value, ...]]:
        """Return the values of some keys' rows."""
        words, rules = self.words, [self._rule(name) for name in question.key]
        columns = [self.columns[name] for name in question.columns]
        items = [words.md5(words.value(column, question.tongue)) for column in columns]
        items += [words.beginning(words.shown(column, question.tongue)) for column in columns] if show else []
        at = ", ".join([self.words.dialect.placeholder] * len(keys))
        sql = Sql(
            f"SELECT {', '.join([*self._key_texts(question), *items])} FROM {self._from(question)} "
            f"AND {self._key(question)} IN ({at})"
        )
        found: dict[Key, tuple[Value, ...]] = {}
        for row in self.query(sql, [joined(key, rules) for key in keys]):
            key, rest = row[: len(question.key)], row[len(question.key) :]
            texts = rest[len(columns) :] or (None,) * len(columns)
            found[tuple(key)] = tuple(map(Value, rest[: len(columns)], texts))
        return found

    # --- inside ---

    def _from(self, question: Question | None = None) -> str:
        where = [*self.where, *([self._within(question)] if question and question.within is not None else [])]
        return f"{self.from_item} WHERE {' AND '.join(where or ['1 = 1'])}"

    def _within(self, question: Question) -> str:
        scope, wanted = question.scope or question.buckets, question.within or ()
        if scope.kind is not BucketKind.RANGE:
            listed = ", ".join(f"'{bucket}'" for bucket in wanted)
            return f"{self._bucket(question, scope)} IN ({listed})"
        size, starts = scope.size, [int(bucket) for bucket in wanted]
        key = self.columns[scope.columns[0]].expression
        spans = _merged(starts, size)
        if len(spans) <= _FEW:
            return "(" + " OR ".join(f"({key} >= {low} AND {key} <= {high})" for low, high in spans) + ")"
        listed = ", ".join(map(str, starts))
        return f"({key} >= {starts[0]} AND {key} <= {spans[-1][1]} AND {self._bucket(question, scope)} IN ({listed}))"

    def _bucket(self, question: Question, buckets: Buckets) -> str:
        if buckets.kind is BucketKind.RANGE:
            return self.words.lowest(self.columns[buckets.columns[0]].expression, buckets.size)
        told_by = self.words.md5(self._key(question)) if question.key else self._hash(question)
        return f"substr({told_by}, 1, {buckets.size})"

    def _key(self, question: Question) -> str:
        return self.words.row_text([self.columns[name] for name in question.key], MD5)

    def _key_texts(self, question: Question) -> list[str]:
        return [self.words.canonical(self.columns[name]) or "NULL" for name in question.key]

    def _hash(self, question: Question) -> str:
        return self.words.row_hash([self.columns[name] for name in question.columns], question.tongue)

    def _rule(self, name: str) -> Rule:
        return self.columns[name].rule or Rule.TEXT


def _bucket(value: Any, question: Question) -> int | str:
    return int(value) if question.buckets.kind is BucketKind.RANGE else str(value)


def _merged(starts: Sequence[int], size: int) -> list[tuple[int, int]]:
    """Return the spans that neighbouring ranges make together, both ends included."""
    spans: list[tuple[int, int]] = []
    for low in starts:
        if spans and spans[-1][1] + 1 == low:
            spans[-1] = (spans[-1][0], low + size - 1)
        else:
            spans.append((low, low + size - 1))
    return spans


def living(dialect: Dialect, columns: Mapping[str, str]) -> tuple[str, ...]:
    """Return the conditions that leave out rows of a target which are deleted, or no longer current.

    :param columns: the target's, with their types.
    """
    found = []
    if DELETED_AT in columns:
        found.append(f"{dialect.quote(DELETED_AT)} IS NULL")
    if IS_CURRENT in columns:
        found.append(dialect.quote(IS_CURRENT))
    return tuple(found)


def sql_table(
    words: ComparisonWords, target: TableRef, schema: TableSchema, found: TargetTable | None,
    query: Callable[[Sql, Sequence[Any]], list[tuple[Any, ...]]], where: Sequence[str] = (),
) -> SqlTable:  # fmt: skip
    """Return a target as one side of a comparison.

    :param found: the target with its columns spelled as the schema spells them; None where there is none.
    :param where: further conditions that a statement on the target has to have.
    :raises ConfigurationError: where there is none.
    """
    if found is None:
        raise no_target(target)
    columns = {
        column.name: ComparedColumn(words.dialect.quote(column.name), found.columns[column.name], rule_of(column))
        for column in schema.columns
        if column.name in found.columns
    }
    conditions = (*where, *living(words.dialect, found.columns))
    return SqlTable(words, words.dialect.table(target), conditions, schema, columns, query)


def no_target(target: TableRef) -> ConfigurationError:
    """Say that there is nothing to compare with."""
    return ConfigurationError(f"There is no table {target}.", hint="load it first, or correct target_table")
