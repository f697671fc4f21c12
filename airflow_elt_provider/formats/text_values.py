"""Texts become values of a type, or are found not to be any."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final, NoReturn

import pyarrow as pa
import pyarrow.compute as pc

from airflow_elt_provider.core.types import JSON, UUID

_FALSE: Final = ("false", "f", "0")
_TRUE: Final = ("true", "t", "1")
_BOOLEANS: Final = pa.array([*_FALSE, *_TRUE])
_UUID: Final = r"^[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}$"


def typed(
    texts: pa.Array[Any], kind: pa.DataType, read: Callable[[pa.Array[Any]], pa.Array[Any]] | None = None
) -> pa.Array[Any]:
    """Return the values that texts stand for; NULL stays NULL, and "" is NULL for every type but text.

    Spaces around a value count for text only.

    :param read: for texts of a form of their own, instead of the usual one of the type.
    :raises pa.ArrowInvalid: when one stands for none.
    """
    if pa.types.is_string(kind):
        return texts
    texts = _without_blanks(texts)
    if read:
        return read(texts)
    try:
        return _read(texts, kind)
    except pa.ArrowInvalid:
        return _read(pc.utf8_trim_whitespace(texts), kind)


def first_bad(texts: pa.Array[Any], kind: pa.DataType) -> int:
    """Return where the first text is that stands for no value of the type; there must be one."""
    low, high = 0, len(texts)  # the first is at low or after it, and before high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if all_good(taken(texts, low, middle), kind) else (low, middle)
    return low


def all_good(texts: pa.Array[Any], kind: pa.DataType) -> bool:
    """Whether every text stands for a value of the type."""
    try:
        typed(texts, kind)
    except pa.ArrowInvalid:
        return False
    return True


def _without_blanks(texts: pa.Array[Any]) -> pa.Array[Any]:
    if texts.offset:  # Arrow 19 garbles what if_else is given of a slice
        texts = taken(texts, 0, len(texts))
    values: pa.Array[Any] = pc.if_else(pc.equal(texts, pa.scalar("")), pa.scalar(None, pa.string()), texts)
    return values


def taken(texts: pa.Array[Any], start: int, end: int) -> pa.Array[Any]:
    """Return a copy of some values."""
    return texts.take(pa.array(range(start, end), pa.int64()))


def _read(texts: pa.Array[Any], kind: pa.DataType) -> pa.Array[Any]:
    for matches, read in _READERS:
        if matches(kind):
            return read(texts, kind)
    return texts.cast(kind)


def _integers(texts: pa.Array[Any], kind: pa.DataType) -> pa.Array[Any]:
    values = texts.cast(kind)
    negative = pc.less(values, pa.scalar(0, kind))
    if pc.any(negative).as_py():
        # Arrow reads 0xFFFF as the bits of a number, which for a smallint is -1.
        signed: Any = pc.starts_with(texts, "-")
        if not pc.all(pc.or_(pc.invert(negative), signed)).as_py():
            _refuse(str(kind))
    return values


def _booleans(texts: pa.Array[Any], _: pa.DataType) -> pa.Array[Any]:
    codes: Any = pc.index_in(pc.utf8_lower(texts), value_set=_BOOLEANS)
    if codes.null_count != texts.null_count:
        _refuse("boolean")
    values: pa.Array[Any] = pc.greater_equal(codes, pa.scalar(len(_FALSE)))
    return values


def _floats(texts: pa.Array[Any], kind: pa.DataType) -> pa.Array[Any]:
    values = texts.cast(kind)
    endless = pc.is_inf(values)
    if pc.any(endless).as_py():
        # Arrow reads what is too large as infinity.
        spelled = pc.match_substring(pc.utf8_lower(texts), "inf")
        if not pc.all(pc.or_(pc.invert(endless), spelled)).as_py():
            _refuse(str(kind))
    return values


def _times(texts: pa.Array[Any], kind: pa.DataType) -> pa.Array[Any]:
    join: Any = pc.binary_join_element_wise
    values: pa.Array[Any] = join(pa.scalar("1970-01-01"), texts, " ").cast(pa.timestamp("us")).cast(kind)
    return values


def _uuids(texts: pa.Array[Any], _: pa.DataType) -> pa.Array[Any]:
    if not pc.all(pc.match_substring_regex(texts, _UUID)).as_py():
        _refuse("uuid")
    return texts


def _documents(texts: pa.Array[Any], _: pa.DataType) -> pa.Array[Any]:
    for text in texts.to_pylist():
        if text is not None:
            try:
                json.loads(text, parse_constant=_refuse)
            except (ValueError, RecursionError) as error:
                raise pa.ArrowInvalid(str(error)) from error
    return texts


def _refuse(kind: str) -> NoReturn:
    raise pa.ArrowInvalid(f"not a {kind}")


_READERS: Final[
    tuple[tuple[Callable[[pa.DataType], bool], Callable[[pa.Array[Any], pa.DataType], pa.Array[Any]]], ...]
] = (
    (pa.types.is_integer, _integers),
    (pa.types.is_boolean, _booleans),
    (pa.types.is_floating, _floats),
    (pa.types.is_time, _times),
    (UUID.equals, _uuids),
    (JSON.equals, _documents),
)
