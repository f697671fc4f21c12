"""The statements of a comparison, as far as systems share them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from airflow_elt_provider.core.buckets import BucketKind, Buckets
from airflow_elt_provider.core.comparison import MD5, Form, Key, Question, Row, Rule, Sum, Value, joined, rule_of
from airflow_elt_provider.core.dialect import Dialect, Sql
from airflow_elt_provider.core.evolve import TargetTable
from airflow_elt_provider.core.schema import TableSchema
from airflow_elt_provider.core.system_columns import DELETED_AT, IS_CURRENT
from airflow_elt_provider.core.table_ref import TableRef
from airflow_elt_provider.errors import ConfigurationError

_FEW: Final = 50
"""So many ranges of keys are asked for one by one; more of them as one range with holes."""
_SHOWN: Final = 200
"""Characters of a value that a report may show."""
_WHOLE: Final = re.compile(r"tinyint|smallint|integer|int|bigint|hugeint|int64|number\(\d+,0\)")
_POINT: Final = "'.'"
_ZERO: Final = "'0'"
_MINUS_ZERO: Final = "'-0'"
NO_NUMBERS: Final = "('NaN', 'Infinity', '-Infinity')"
_NUMBERS: Final = (1, 9)
"""Where the two numbers of 32 bits begin among an MD5's digits: their sums overflow in no system."""


@dataclass(frozen=True)
class ComparedColumn:
    """A column of one side.

    :param expression: SQL that gives its value.
    :param type: of that value, as the system spells it.
    :param rule: None where the source's type has no canonical text.
    """

    expression: str
    type: str
    rule: Rule | None


class ComparisonWords:
    """How one system says what a comparison needs. Expressions are SQL; every one may be NULL.

    :cvar fence: ends the innermost SELECT, where that keeps the planner from looking into it.
    """

    fence: ClassVar[str] = ""

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect

    @property
    def tongues(self) -> tuple[str, ...]:
        """Ways of hashing rows, the fastest first."""
        return (MD5,)

    def follows(self, rule: Rule, type_: str) -> bool:
        """Whether values of a type can be written as a rule says."""
        raise NotImplementedError

    def written(self, x: str, type_: str, rule: Rule) -> str:
        """Return the canonical text of a value that is not exceptional."""
        raise NotImplementedError

    def canonical(self, column: ComparedColumn) -> str | None:
        """Return the canonical text of a value; None where the column's type has none."""
        if column.rule is None or not self.follows(column.rule, column.type):
            return None
        text = self.written(f"({column.expression})", column.type, column.rule)
        exceptional = self.exceptional(column)
        return f"CASE WHEN {exceptional} THEN NULL ELSE {text} END" if exceptional else text

    def exceptional(self, column: ComparedColumn) -> str | None:
        """Return the condition that a value counts as NULL without being it; None where there are no such values."""
        del column
        return None

    def form(self, column: ComparedColumn, tongue: str) -> Form:
        """Say how a column would be written in a tongue."""
        del tongue
        if column.rule is None or self.canonical(column) is None:
            return Form("", f"values of type {column.type} have no text that both systems write alike")
        whole = column.rule is Rule.INTEGER and bool(_WHOLE.fullmatch(column.type.lower()))
        return Form(column.rule, f"a {column.type} here", whole)

    def value(self, column: ComparedColumn, tongue: str) -> str:
        """Return a value as a text without NULL, which tells all values apart."""
        del tongue
        text = self.canonical(column) or "NULL"
        if column.rule is Rule.TEXT:
            text = self.joined([self.text(self.length(text)), "':'", text])
        return f"coalesce({text}, '~')"

    def shown(self, column: ComparedColumn, tongue: str) -> str:
        """Return a value as a person would like to see it, or NULL."""
        del tongue
        return self.canonical(column) or "NULL"

    def row_hash(self, columns: Sequence[ComparedColumn], tongue: str) -> str:
        """Return the hash of a row."""
        return self.md5(self.row_text(columns, tongue))

    def row_text(self, columns: Sequence[ComparedColumn], tongue: str) -> str:
        """Return all values of a row in one text, which tells all rows apart."""
        texts = [self.value(column, tongue) for column in columns]
        return self.joined([part for text in texts for part in (text, "'|'")][:-1])

    def sums(self, hash_: str, tongue: str) -> list[str]:
        """Return the aggregates over rows' hashes."""
        del tongue
        return [f"sum({self.number(f'substr({hash_}, {first}, 8)')})" for first in _NUMBERS]

    def hash_text(self, hash_: str, tongue: str) -> str:
        """Return a row's hash as text."""
        del tongue
        return hash_

    # --- what systems say differently ---

    def text(self, expression: str) -> str:
        """Return a value as the system's own text."""
        return self.dialect.cast(expression, self.dialect.text_type)

    def joined(self, texts: Sequence[str]) -> str:
        """Return texts one after the other."""
        return f"({' || '.join(texts)})"

    def length(self, text: str) -> str:
        """Return the number of a text's characters (code points)."""
        return f"length({text})"

    def md5(self, text: str) -> str:
        """Return the MD5 of a text's UTF-8 bytes, in lower-case hex digits."""
        return self.dialect.md5(text)

    def number(self, digits: str) -> str:
        """Return eight hex digits as a number of 64 bits."""
        values = (self.position("'123456789abcdef'", f"substr({digits}, {at}, 1)") for at in range(1, 9))
        whole = (self.dialect.cast(value, self.dialect.whole_type) for value in values)
        return f"({' + '.join(f'{value} * {16 ** (8 - at)}' for at, value in enumerate(whole, 1))})"

    def lowest(self, key: str, size: int) -> str:
        """Return the lowest key of the range that a whole number lies in; ``size`` is a power of two."""
        rest = self.dialect.modulo(key, size)
        return f"({key} - {self.dialect.modulo(f'({rest} + {size})', size)})"

    def without_zeros(self, text: str) -> str:
        """Return a number's text without zeros at its end, where there is a point."""
        trimmed = self.without_end(self.without_end(text, "0"), ".")
        return f"CASE WHEN {self.position(text, _POINT)} > 0 THEN {trimmed} ELSE {text} END"

    def with_zero(self, text: str) -> str:
        """Return a number's text with a digit before its point, where some systems write none."""
        return (
            f"CASE WHEN {text} LIKE '.%' THEN {self.joined([_ZERO, text])} "
            f"WHEN {text} LIKE '-.%' THEN {self.joined([_MINUS_ZERO, f'substr({text}, 2)'])} ELSE {text} END"
        )

    def without_end(self, text: str, character: str) -> str:
        """Return a text without some character at its end."""
        return f"rtrim({text}, '{character}')"

    def position(self, text: str, part: str) -> str:
        """Return where a part is in a text, counted from 1; 0 where it is not."""
        return f"strpos({text}, {part})"

    def truth(self, x: str) -> str:
        """Return a boolean's canonical text."""
        return f"CASE WHEN {x} THEN 't' WHEN NOT {x} THEN 'f' END"

    def beginning(self, text: str) -> str:
        """Return the beginning of a text."""
        return f"substr({text}, 1, {_SHOWN})"


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
