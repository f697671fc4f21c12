"""One type for each column of several files."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import pyarrow as pa

from airflow_elt_provider.core.types import MAX_PRECISION, type_name
from airflow_elt_provider.errors import SchemaDriftError


def common_types(
    files: Sequence[tuple[str, Mapping[str, pa.DataType]]], declared: Collection[str]
) -> Mapping[str, pa.DataType]:
    """Return the type that holds the values of all files; what no file gives a type has none.

    :param declared: columns whose type somebody else says.
    :raises SchemaDriftError: for two types that have none in common; names both files.
    """
    found: dict[str, tuple[str, pa.DataType]] = {}
    for uri, types in files:
        for name, kind in types.items():
            if name in declared:
                continue
            first, before = found.get(name, (uri, kind))
            both = _both(before, kind)
            if both is None:
                raise SchemaDriftError(
                    f"Column {name!r} is {type_name(before)} in {first} and {type_name(kind)} in {uri}; nothing was "
                    "read.",
                    hint=f"say what it is: column_types={{{name!r}: 'text'}}",
                )
            found[name] = (first, both)
    return {name: kind for name, (_, kind) in found.items()}


def _both(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    """Return the type that holds every value of two, as it is; None where there is none."""
    if one.equals(other) or pa.types.is_null(other):
        return one
    if pa.types.is_null(one):
        return other
    for kind in (pa.types.is_signed_integer, pa.types.is_floating):
        if kind(one) and kind(other):
            return max(one, other, key=lambda each: each.bit_width)
    if pa.types.is_decimal(one) and pa.types.is_decimal(other):
        scale = max(one.scale, other.scale)
        digits = max(one.precision - one.scale, other.precision - other.scale) + scale
        return pa.decimal128(digits, scale) if digits <= MAX_PRECISION else None
    return None
