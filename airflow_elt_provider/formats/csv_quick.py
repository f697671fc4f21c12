"""The fast way through a CSV file: Arrow makes the values itself, wherever it means what we mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from airflow_elt_provider.formats.fields import Field


def quick_types(fields: Sequence[Field], time_formats: Mapping[str, str]) -> dict[str, pa.DataType]:
    """Return as what Arrow is to read columns; the others as text."""
    return {field.name: _quick(field.type) if field.name not in time_formats else pa.string() for field in fields}


def quick_values(batch: pa.RecordBatch, fields: Sequence[Field]) -> list[pa.Array[Any]]:
    """Return the columns' values.

    :raises pa.ArrowInvalid: where they have to be looked at one by one.
    """
    return [_value(array, field) for array, field in zip(batch.columns, fields, strict=True)]


def _quick(kind: pa.DataType) -> pa.DataType:
    # Integers as text: Arrow reads 0xFFFF as the bits of a number, and nobody could tell afterwards.
    direct = pa.types.is_floating, pa.types.is_decimal, pa.types.is_date, pa.types.is_timestamp
    return kind if any(matches(kind) for matches in direct) else pa.string()


def _value(array: pa.Array[Any], field: Field) -> pa.Array[Any]:
    kind = field.type
    if pa.types.is_string(array.type):
        return field.read(array)
    if pa.types.is_floating(kind) and pc.any(pc.is_inf(array)).as_py():
        raise pa.ArrowInvalid("perhaps infinite, perhaps too large")
    if pa.types.is_decimal(kind):
        array.validate(full=True)  # Arrow lets too many digits pass where it has to add zeros
    return array
