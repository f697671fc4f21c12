"""Databricks in a comparison. The session's time zone is UTC, so that a cast to text is canonical."""

from __future__ import annotations

from typing import Final

from airflow_elt_provider.connectors.databricks.types import TEXT
from airflow_elt_provider.core.comparison import Rule
from airflow_elt_provider.core.comparison_words import NO_NUMBERS, ComparedColumn, ComparisonWords

_INTEGERS: Final = ("tinyint", "smallint", "int", "bigint")
_KINDS: Final = {
    Rule.INTEGER: (*_INTEGERS, "decimal"), Rule.DECIMAL: (*_INTEGERS, "decimal", TEXT), Rule.BOOLEAN: ("boolean",),
    Rule.TEXT: (TEXT,), Rule.UUID: (TEXT,), Rule.DATE: ("date",), Rule.TIME: (TEXT,),
    Rule.TIMESTAMP: ("timestamp", "timestamp_ntz"), Rule.BINARY: ("binary",), Rule.FLOAT: (),
}  # fmt: skip


class DatabricksWords(ComparisonWords):
    """What a comparison says to Databricks. It writes no float in a form that others write too."""

    def follows(self, rule: Rule, type_: str) -> bool:
        """Whether values of a type can be written as a rule says."""
        return type_.partition("(")[0] in _KINDS[rule]

    def written(self, x: str, type_: str, rule: Rule) -> str:
        """Return the canonical text of a value."""
        match rule:
            case Rule.BOOLEAN:
                return self.truth(x)
            case Rule.UUID:
                return f"lower({x})"
            case Rule.BINARY:
                return f"lower(hex({x}))"
            case Rule.DECIMAL | Rule.INTEGER | Rule.TIMESTAMP | Rule.TIME if type_ not in _INTEGERS:
                return self.without_zeros(self.text(x))
        return self.text(x)

    def exceptional(self, column: ComparedColumn) -> str | None:
        """Return the condition that a value counts as NULL."""
        x = f"({column.expression})"
        match column.rule:
            case Rule.DECIMAL if column.type == TEXT:
                return f"{x} IN {NO_NUMBERS}"
            case Rule.DATE | Rule.TIMESTAMP:
                return f"year({x}) NOT BETWEEN 1 AND 9999"
            case Rule.TIME:
                return f"{x} = '24:00:00'"
        return None

    def number(self, digits: str) -> str:
        """Return eight hex digits as a number."""
        return f"CAST(conv({digits}, 16, 10) AS bigint)"

    def position(self, text: str, part: str) -> str:
        """Return where a part is in a text."""
        return f"instr({text}, {part})"

    def without_end(self, text: str, character: str) -> str:
        """Return a text without some character at its end."""
        return f"TRIM(TRAILING '{character}' FROM {text})"
