"""Hologres in a comparison: PostgreSQL's words, without its hash of rows and its bit strings."""

from __future__ import annotations

from typing import ClassVar

from airflow_elt_provider.connectors.postgres.comparing import PostgresWords
from airflow_elt_provider.core.comparison_words import ComparisonWords


class HologresWords(PostgresWords):
    """What a comparison says to Hologres."""

    fence: ClassVar[str] = ""

    def md5(self, text: str) -> str:
        """Return the MD5 of a text; Hologres has no other encoding than UTF-8."""
        return f"md5({text})"

    def number(self, digits: str) -> str:
        """Return eight hex digits as a number."""
        return ComparisonWords.number(self, digits)

    def lowest(self, key: str, size: int) -> str:
        """Return the lowest key of a range."""
        return ComparisonWords.lowest(self, key, size)
