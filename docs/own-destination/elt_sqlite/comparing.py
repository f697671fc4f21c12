"""SQLite in a comparison: how it writes a value so that other systems write the same text."""

from __future__ import annotations

from typing import Final

from airflow_elt_provider.core.comparison import Rule
from airflow_elt_provider.core.comparison_words import NO_NUMBERS, ComparedColumn, ComparisonWords

_KINDS: Final = {
    Rule.INTEGER: ("INTEGER",), Rule.DECIMAL: ("INTEGER", "TEXT"), Rule.BOOLEAN: ("INTEGER",), Rule.TEXT: ("TEXT",),
    Rule.UUID: ("TEXT",), Rule.DATE: ("TIME_TEXT",), Rule.TIME: ("TIME_TEXT",), Rule.TIMESTAMP: ("TIME_TEXT",),
    Rule.BINARY: ("BLOB",), Rule.FLOAT: (),
}  # fmt: skip


class SqliteWords(ComparisonWords):
    """What a comparison says to SQLite, which writes no float in a form that others write too."""

    def follows(self, rule: Rule, type_: str) -> bool:
        """Whether values of a type can be written as a rule says."""
        return type_ in _KINDS[rule]

    def written(self, x: str, type_: str, rule: Rule) -> str:
        """Return the canonical text of a value."""
        match rule:
            case Rule.BOOLEAN:
                return self.truth(x)
            case Rule.UUID:
                return f"lower({x})"
            case Rule.BINARY:
                return f"CASE WHEN {x} IS NOT NULL THEN lower(hex({x})) END"
            case Rule.TIMESTAMP | Rule.TIME:
                return self.without_zeros(f"replace({x}, 'Z', '')")
            case Rule.DECIMAL if type_ == "TEXT":
                return self.without_zeros(x)
        return self.text(x)

    def exceptional(self, column: ComparedColumn) -> str | None:
        """Return the condition that a value counts as NULL."""
        x = f"({column.expression})"
        match column.rule:
            case Rule.DECIMAL if column.type == "TEXT":
                return f"{x} IN {NO_NUMBERS}"
            case Rule.DATE | Rule.TIMESTAMP:
                return f"({x} NOT GLOB '[0-9][0-9][0-9][0-9]-*' OR {x} LIKE '% BC')"
            case Rule.TIME:
                return f"{x} = '24:00:00'"
        return None

    def position(self, text: str, part: str) -> str:
        """Return where a part is in a text."""
        return f"instr({text}, {part})"
