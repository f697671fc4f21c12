"""Values that need care: what an Arrow type has no value for, and types that the user chose."""

from __future__ import annotations

from typing import Final

import pyarrow as pa

from airflow_elt_provider.connectors.postgres.selection import SelectedColumn
from airflow_elt_provider.core.exact_values import Array, Split, TextColumn, pc

_ENDLESS_OR_FAR: Final = r"^-?infinity$|BC$|^\d{5,}-"
_NO_NUMBER: Final = r"^(?:NaN|-?Infinity)$"
_MIDNIGHT: Final = r"^24:"


def can_fail(kind: pa.DataType) -> bool:
    """Whether PostgreSQL has values of the type that Arrow has not."""
    return _exceptional(kind) is not None


def _exceptional(kind: pa.DataType) -> str | None:
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        return _ENDLESS_OR_FAR
    if pa.types.is_decimal(kind):
        return _NO_NUMBER
    return _MIDNIGHT if pa.types.is_time(kind) else None


def split(texts: Array, column: SelectedColumn, what: str) -> Split:
    """Convert canonical texts to the column's type, and set aside what the type has no value for.

    :raises DataError: names the column and the first value that does not fit exactly.
    """
    pattern = _exceptional(column.column.type)
    aside = pc.match_substring_regex(texts, pattern) if pattern else None
    return TextColumn(column.source.name, column.column.type, column.own_type, what).split(texts, aside)
