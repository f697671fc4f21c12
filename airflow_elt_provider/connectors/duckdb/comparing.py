"""DuckDB in a comparison."""

from __future__ import annotations

import re
from typing import Final

from airflow_elt_provider.connectors.duckdb import types
from airflow_elt_provider.core.comparison import Rule
from airflow_elt_provider.core.comparison_words import NO_NUMBERS, ComparedColumn, ComparisonWords

_INTEGERS: Final = frozenset({"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT"})
_DECIMAL: Final = re.compile(r"DECIMAL\(\d+,\d+\)")
_FRACTION: Final = re.compile(r"DECIMAL\((\d+),\1\)")
"""A decimal without digits before the point, which DuckDB writes as ``.5``."""
_TEXTS: Final = {
    Rule.INTEGER: _INTEGERS, Rule.TEXT: {types.TEXT}, Rule.UUID: {"UUID", types.TEXT}, Rule.DATE: {"DATE"},
    Rule.TIME: {"TIME"}, Rule.TIMESTAMP: {"TIMESTAMP", types.TIMESTAMPTZ}, Rule.BOOLEAN: {"BOOLEAN"},
    Rule.BINARY: {"BLOB"}, Rule.FLOAT: {"FLOAT", "DOUBLE"}, Rule.DECIMAL: {*_INTEGERS, types.TEXT},
}  # fmt: skip
"""Rule -> the types that follow it."""
_FLOAT: Final = (
    "CASE WHEN {x} = 0 THEN '0' WHEN isnan({x}) THEN 'nan' WHEN isinf({x}) THEN CASE WHEN {x} > 0 THEN 'inf' "
    "ELSE '-inf' END ELSE printf('%.14e', CAST({x} AS DOUBLE)) END"
)


class DuckdbWords(ComparisonWords):
    """What a comparison says to DuckDB."""

    def follows(self, rule: Rule, type_: str) -> bool:
        """Whether values of a type can be written as a rule says."""
        return type_ in _TEXTS[rule] or (rule in {Rule.DECIMAL, Rule.INTEGER} and bool(_DECIMAL.fullmatch(type_)))

    def written(self, x: str, type_: str, rule: Rule) -> str:  # noqa: PLR0911 - one for each rule
        """Return the canonical text of a value."""
        match rule:
            case Rule.BOOLEAN:
                return self.truth(x)
            case Rule.DECIMAL if _FRACTION.fullmatch(type_):
                return self.with_zero(self.without_zeros(self.text(x)))
            case Rule.DECIMAL | Rule.INTEGER if type_ not in _INTEGERS:
                return self.without_zeros(self.text(x))
            case Rule.FLOAT:
                return _FLOAT.format(x=x)
            case Rule.BINARY:
                return f"lower(hex({x}))"
            case Rule.TIMESTAMP if type_ == types.TIMESTAMPTZ:
                return self.text(f"({x} AT TIME ZONE 'UTC')")
        return self.text(x)

    def exceptional(self, column: ComparedColumn) -> str | None:
        """Return the condition that a value has no equal in other systems."""
        x = f"({column.expression})"
        match column.rule:
            case Rule.DECIMAL if column.type == types.TEXT:
                return f"{x} IN {NO_NUMBERS}"
            case Rule.DATE:
                return f"({x} < DATE '0001-01-01' OR {x} > DATE '9999-12-31')"
            case Rule.TIMESTAMP:
                first, end = (f"CAST('{year}-01-01 00:00:00' AS {column.type})" for year in ("0001", "10000"))
                return f"({x} < {first} OR {x} >= {end})"
            case Rule.TIME:
                return f"{x} = TIME '24:00:00'"
        return None

    def number(self, digits: str) -> str:
        """Return eight hex digits as a number."""
        return f"CAST('0x' || {digits} AS BIGINT)"

    def lowest(self, key: str, size: int) -> str:
        """Return the lowest key of a range."""
        return f"(CAST({key} AS BIGINT) & {-size})"
