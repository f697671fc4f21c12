"""What Parquet holds, in the types that we know: without a change of any value."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final, cast

import pyarrow as pa
import pyarrow.compute as pc

from airflow_elt_provider.core.types import JSON, MAX_PRECISION, UUID
from airflow_elt_provider.formats.json_text import json_texts
from airflow_elt_provider.formats.text_values import typed

Read = Callable[["pa.Array[Any]"], "pa.Array[Any]"]
"""Gives values of a type of ours; raises ``pa.ArrowInvalid`` where one cannot be had."""
_WIDER: Final[dict[pa.DataType, pa.DataType]] = {
    pa.int8(): pa.int16(), pa.uint8(): pa.int16(), pa.uint16(): pa.int32(), pa.uint32(): pa.int64(),
    pa.uint64(): pa.decimal128(20, 0), pa.float16(): pa.float32(), pa.null(): pa.string(),
}  # fmt: skip
_KEPT: Final[tuple[Callable[[Any], bool], ...]] = (
    pa.types.is_boolean, pa.types.is_int16, pa.types.is_int32, pa.types.is_int64, pa.types.is_float32,
    pa.types.is_float64, pa.types.is_date32,
)  # fmt: skip
_TEXTS: Final = ("string", "large_string", "string_view")
_BYTES: Final = ("binary", "large_binary", "binary_view", "fixed_size_binary")
_NANOSECONDS: Final = 1000
_DAY: Final = 86_400_000
_UUID_BYTES: Final = 16


def own_type(kind: Any, logical: str = "") -> pa.DataType | None:
    """Return which of our types a column's type is; None where we have none.

    :param logical: what Parquet says of it besides: ``JSON`` or ``UUID``.
    """
    if pa.types.is_dictionary(kind):
        return own_type(kind.value_type, logical)
    if isinstance(kind, pa.BaseExtensionType):
        return {"arrow.json": JSON, "arrow.uuid": UUID}.get(kind.extension_name) or own_type(kind.storage_type)
    if any(matches(kind) for matches in _KEPT):
        return cast("pa.DataType", kind)
    return _WIDER.get(kind) or next((own(kind, logical) for matches, own in _OWN if matches(kind)), None)


def reader(own: pa.DataType, wanted: pa.DataType) -> Read:
    """Return what reads a column.

    :param own: see :func:`own_type`.
    :param wanted: the type that is asked for.
    """
    read = partial(_own, own=own)
    if wanted.equals(own):
        return read
    widened = pa.types.is_integer(own) and pa.types.is_integer(wanted)
    return partial(_cast if widened else _by_text, read=read, wanted=wanted)


def text_of(array: pa.Array[Any]) -> pa.Array[Any]:
    """Return values of a type of ours as the text that a CSV file would have."""
    kind = array.type
    if pa.types.is_binary(kind):
        return array.cast(pa.string())
    if pa.types.is_floating(kind):
        return pa.array([None if value is None else repr(value) for value in _floats(array)], pa.string())
    return array.cast(pa.string())


def _floats(array: pa.Array[Any]) -> list[float | None]:
    if pa.types.is_float32(array.type):
        return [None if text is None else float(text) for text in array.cast(pa.string()).to_pylist()]
    values: list[float | None] = array.to_pylist()
    return values


# --- types ---


def _is_text(kind: Any) -> bool:
    return str(kind) in _TEXTS


def _is_bytes(kind: Any) -> bool:
    return str(kind).partition("[")[0] in _BYTES


def _decimal(kind: Any, _: str) -> pa.DataType:
    scale = max(kind.scale, 0)
    precision = max(kind.precision, kind.scale) - min(kind.scale, 0)
    return pa.decimal128(precision, scale) if precision <= MAX_PRECISION else pa.string()


def _bytes(kind: Any, logical: str) -> pa.DataType:
    return UUID if logical == "UUID" and getattr(kind, "byte_width", 0) == _UUID_BYTES else pa.binary()


_OWN: Final[tuple[tuple[Callable[[Any], bool], Callable[[Any, str], pa.DataType]], ...]] = (
    (pa.types.is_decimal, _decimal),
    (_is_text, lambda _, logical: JSON if logical == "JSON" else pa.string()),
    (_is_bytes, _bytes),
    (pa.types.is_date, lambda *_: pa.date32()),
    (pa.types.is_time, lambda *_: pa.time64("us")),
    (pa.types.is_timestamp, lambda kind, _: pa.timestamp("us", "UTC" if kind.tz else None)),
    (pa.types.is_nested, lambda *_: JSON),
)


# --- values ---


def _cast(array: pa.Array[Any], read: Read, wanted: pa.DataType) -> pa.Array[Any]:
    return read(array).cast(wanted)


def _by_text(array: pa.Array[Any], read: Read, wanted: pa.DataType) -> pa.Array[Any]:
    return typed(text_of(read(array)), wanted)


def _own(array: Any, own: pa.DataType) -> pa.Array[Any]:
    if isinstance(array, pa.ExtensionArray):
        return _own(array.storage, own)
    if pa.types.is_dictionary(array.type):
        return _own(array.cast(array.type.value_type), own)
    read = next((read for matches, read in _READERS if matches(array.type)), _as_it_is)
    values: pa.Array[Any] = read(array, own)
    return values


def _as_it_is(array: Any, own: pa.DataType) -> Any:
    return array.cast(own)


def _texts(array: Any, own: pa.DataType) -> pa.Array[Any]:
    """Return text that is UTF-8: nobody has looked at it yet."""
    if pa.types.is_timestamp(own):  # INT96, see ParquetTable
        return typed(array, own)
    large = pa.types.is_large_string(array.type)
    texts: pa.Array[Any] = array.cast(pa.large_binary() if large else pa.binary()).cast(pa.string())
    return texts


def _raw(array: Any, own: pa.DataType) -> Any:
    return _uuids(array) if own.equals(UUID) else array.cast(own)


def _decimals(array: Any, own: pa.DataType) -> pa.Array[Any]:
    array.validate(full=True)
    if pa.types.is_string(own) or array.type.scale < 0:
        texts = pa.array([None if value is None else f"{value:f}" for value in array.to_pylist()], pa.string())
        return texts if pa.types.is_string(own) else texts.cast(own)
    values: pa.Array[Any] = array.cast(own)
    return values


def _microseconds(array: Any, own: pa.DataType) -> pa.Array[Any]:
    number = array.cast(pa.int64())
    _refuse_rest(number, _NANOSECONDS)
    values: pa.Array[Any] = pc.divide(number, pa.scalar(_NANOSECONDS, pa.int64())).cast(own)
    return values


def _days(array: Any, own: pa.DataType) -> Any:
    _refuse_rest(array.cast(pa.int64()), _DAY)
    return array.cast(own)


def _refuse_rest(number: pa.Array[Any], unit: int) -> None:
    """Refuse numbers that are no multiples."""
    whole: Any = pc.multiply(pc.divide(number, pa.scalar(unit, pa.int64())), pa.scalar(unit, pa.int64()))
    if pc.any(pc.not_equal(whole, number)).as_py():
        raise pa.ArrowInvalid("more digits than the type has")


def _uuids(array: Any) -> pa.Array[Any]:
    def text(value: bytes) -> str:
        digits = value.hex()
        return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))

    return pa.array([None if value is None else text(value) for value in array.to_pylist()], pa.string())


def _has_nanoseconds(kind: Any) -> bool:
    return (pa.types.is_time(kind) or pa.types.is_timestamp(kind)) and kind.unit == "ns"


_READERS: Final[tuple[tuple[Callable[[Any], bool], Callable[[Any, pa.DataType], Any]], ...]] = (
    (_is_text, _texts),
    (_is_bytes, _raw),
    (pa.types.is_decimal, _decimals),
    (pa.types.is_date64, _days),
    (_has_nanoseconds, _microseconds),
    (pa.types.is_nested, lambda array, _: json_texts(array)),
)
