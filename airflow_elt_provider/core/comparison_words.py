"""How systems say what a comparison needs: canonical texts and hashes of values, rows and keys."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from airflow_elt_provider.core.comparison import MD5, Form, Rule
from airflow_elt_provider.core.dialect import Dialect

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
