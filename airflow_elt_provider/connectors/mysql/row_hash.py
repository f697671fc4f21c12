"""The hash of a row's content, computed by the server. No I/O."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from airflow_elt_provider.connectors.mysql.catalog import SourceColumn
from airflow_elt_provider.connectors.mysql.names import quoted
from airflow_elt_provider.connectors.mysql.types import hashed

RULES: Final = "1"
"""Changes with every change of what is hashed: fingerprints of other rules cannot be compared."""


def row_hash(columns: Iterable[SourceColumn]) -> str:
    """Return the expression for 64 bits of the MD5 of a row, as an unsigned number.

    NULL and "" differ, as do ('ab', 'c') and ('a', 'bc'): each value stands behind its length. Sums of it keep count
    of equal rows, which XOR would take for none.
    """
    parts = ", ".join(hashed(column.type, quoted(column.name)) for column in columns)
    return f"CAST(CONV(LEFT(MD5(CONCAT({parts})), 16), 16, 10) AS UNSIGNED)"
