"""Snowflake in a comparison. The session's output formats are pinned, so that a cast to text is canonical."""

from __future__ import annotations

import re
from typing import Final

from airflow_elt_provider.core.comparison import Rule
from airflow_elt_provider.core.comparison_words import NO_NUMBERS, ComparedColumn, ComparisonWords

_NUMBER: Final = re.compile(r"NUMBER\((\d+),(\d+)\)")
_KINDS: Final = {
    Rule.INTEGER: ("NUMBER",), Rule.DECIMAL: ("NUMBER", "VARCHAR"), Rule.BOOLEAN: ("BOOLEAN",),
    Rule.TEXT: ("VARCHAR",), Rule.UUID: ("VARCHAR",), Rule.DATE: ("DATE",), Rule.TIME: ("TIME",),
    Rule.TIMESTAMP: ("TIMESTAMP_NTZ", "TIMESTAMP_TZ", "TIMESTAMP_LTZ"), Rule.BINARY: ("BINARY",), Rule.FLOAT: (),
}  # fmt: skip


class SnowflakeWords(ComparisonWords):
    """What a comparison says to Snowflake. It writes no float in a form that others write too."""

    def follows(self, rule: Rule, type_: str) -> bool:
        """Whether values of a type can be written as a rule says."""
        return type_.partition("(")[0] in _KINDS[rule]

    def written(self, x: str, type_: str, rule: Rule) -> str:  # noqa: PLR0911 - one for each rule
        """Return the canonical text of a value."""
        match rule:
            case Rule.BOOLEAN:
                return self.truth(x)
            case Rule.UUID:
                return f"LOWER({x})"
            case Rule.BINARY:
                return f"LOWER(HEX_ENCODE({x}))"
            case Rule.TIMESTAMP if not type_.startswith("TIMESTAMP_NTZ"):
                utc = f"CAST(CONVERT_TIMEZONE('UTC', {x}) AS TIMESTAMP_NTZ(9))"
                return self.without_zeros(self.text(utc))
            case Rule.DECIMAL | Rule.INTEGER | Rule.TIMESTAMP | Rule.TIME:
                number = _NUMBER.fullmatch(type_)
                if number and number[2] == "0":
                    return self.text(x)
                text = self.without_zeros(self.text(x))
                return self.with_zero(text) if number and number[1] == number[2] else text
        return self.text(x)

    def exceptional(self, column: ComparedColumn) -> str | None:
        """Return the condition that a value is none: Snowflake's own types have no such values."""
        text = column.rule is Rule.DECIMAL and column.type.startswith("VARCHAR")
        return f"({column.expression}) IN {NO_NUMBERS}" if text else None

    def position(self, text: str, part: str) -> str:
        """Return where a part is in a text."""
        return f"CHARINDEX({part}, {text})"

    def without_end(self, text: str, character: str) -> str:
        """Return a text without some character at its end."""
        return f"REGEXP_REPLACE({text}, '[{character}]+$', '')"
