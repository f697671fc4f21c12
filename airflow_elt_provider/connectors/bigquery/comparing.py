"""BigQuery in a comparison."""

from __future__ import annotations

import re
from typing import Final

from airflow_elt_provider.connectors.bigquery.types import type_name
from airflow_elt_provider.core.comparison import Rule
from airflow_elt_provider.core.comparison_words import NO_NUMBERS, ComparedColumn, ComparisonWords

_KINDS: Final = {
    Rule.INTEGER: ("INT64", "NUMERIC", "BIGNUMERIC"), Rule.DECIMAL: ("INT64", "NUMERIC", "BIGNUMERIC", "STRING"),
    Rule.BOOLEAN: ("BOOL",), Rule.TEXT: ("STRING",), Rule.UUID: ("STRING",), Rule.DATE: ("DATE",),
    Rule.TIME: ("TIME",), Rule.TIMESTAMP: ("DATETIME", "TIMESTAMP"), Rule.BINARY: ("BYTES",), Rule.FLOAT: ("FLOAT64",),
}  # fmt: skip
_FRACTION: Final = re.compile(r"(?:BIG)?NUMERIC\((\d+),\1\)")
_FLOAT: Final = (
    "CASE WHEN {x} = 0 THEN '0' WHEN IS_NAN({x}) THEN 'nan' WHEN IS_INF({x}) THEN IF({x} > 0, 'inf', '-inf') "
    "ELSE FORMAT('%.14e', {x}) END"
)


class BigQueryWords(ComparisonWords):
    """What a comparison says to BigQuery."""

    def follows(self, rule: Rule, type_: str) -> bool:
        """Whether values of a type can be written as a rule says."""
        return type_name(type_) in _KINDS[rule]

    def written(self, x: str, type_: str, rule: Rule) -> str:  # noqa: PLR0911 - one for each rule
        """Return the canonical text of a value."""
        match rule:
            case Rule.BOOLEAN:
                return self.truth(x)
            case Rule.UUID:
                return f"LOWER({x})"
            case Rule.BINARY:
                return f"TO_HEX({x})"
            case Rule.FLOAT:
                return _FLOAT.format(x=x)
            case Rule.TIMESTAMP if type_ == "TIMESTAMP":
                return self.without_zeros(self.text(f"DATETIME({x}, 'UTC')"))
            case Rule.DECIMAL if _FRACTION.fullmatch(type_):
                return self.with_zero(self.without_zeros(self.text(x)))
            case Rule.DECIMAL | Rule.INTEGER | Rule.TIMESTAMP | Rule.TIME if type_ != "INT64":
                return self.without_zeros(self.text(x))
        return self.text(x)

    def exceptional(self, column: ComparedColumn) -> str | None:
        """Return the condition that a value is none: BigQuery's own types have no such values."""
        text = column.rule is Rule.DECIMAL and type_name(column.type) == "STRING"
        return f"({column.expression}) IN {NO_NUMBERS}" if text else None

    def number(self, digits: str) -> str:
        """Return eight hex digits as a number."""
        return f"CAST(CONCAT('0x', {digits}) AS INT64)"
