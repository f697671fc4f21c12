"""Nested values as JSON text, with every digit that they have."""

from __future__ import annotations

import base64
import json
import math
import uuid
from collections.abc import Callable, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, Final

import pyarrow as pa


def json_texts(array: Any) -> pa.Array[Any]:
    """Return lists, structs and maps as JSON.

    Decimals are numbers with all of their digits, dates and times text as ISO 8601 has them, bytes text in base64. A
    map is an object where its keys are text and come once, else a list of pairs.

    :raises pa.ArrowInvalid: for what JSON cannot hold: NaN and infinity, and text that is not UTF-8.
    """
    try:
        plain: Any = array.cast(_plain(array.type))
        texts = [None if value is None else _text(value, plain.type) for value in plain.to_pylist()]
    except (ValueError, pa.ArrowNotImplementedError) as error:
        raise pa.ArrowInvalid(str(error)) from error
    return pa.array(texts, pa.string())


def _plain(kind: Any) -> Any:
    """Return a type without what Python has no value for: nanoseconds become text."""
    for matches, change in _CHANGES:
        if matches(kind):
            return change(kind)
    return kind


def _plain_field(field: Any) -> Any:
    return field.with_type(_plain(field.type))


def _has_nanoseconds(kind: Any) -> bool:
    return (pa.types.is_timestamp(kind) or pa.types.is_time(kind)) and kind.unit == "ns"


_CHANGES: Final[tuple[tuple[Callable[[Any], bool], Callable[[Any], Any]], ...]] = (
    (_has_nanoseconds, lambda _: pa.string()),
    (pa.types.is_struct, lambda kind: pa.struct([_plain_field(field) for field in kind])),
    (pa.types.is_map, lambda kind: pa.map_(_plain(kind.key_type), _plain(kind.item_type))),
    (pa.types.is_large_list, lambda kind: pa.large_list(_plain_field(kind.value_field))),
    (pa.types.is_fixed_size_list, lambda kind: pa.list_(_plain_field(kind.value_field), kind.list_size)),
    (pa.types.is_list, lambda kind: pa.list_(_plain_field(kind.value_field))),
)


def _text(value: Any, kind: Any) -> str:
    if value is None:
        return "null"
    if pa.types.is_struct(kind):
        return _object([(field.name, _text(value[field.name], field.type)) for field in kind])
    if pa.types.is_map(kind):
        return _map(value, kind)
    return _list(value, kind) if pa.types.is_nested(kind) else _leaf(value)


def _list(value: Any, kind: Any) -> str:
    return "[" + ", ".join(_text(item, kind.value_type) for item in value) + "]"


def _map(value: Any, kind: Any) -> str:
    pairs = [(key, _text(item, kind.item_type)) for key, item in value]
    names = [key for key, _ in pairs]
    if pa.types.is_string(kind.key_type) and len({*names}) == len(names):
        return _object(pairs)
    return "[" + ", ".join(f"[{_text(key, kind.key_type)}, {item}]" for key, item in pairs) + "]"


def _object(pairs: list[tuple[str, str]]) -> str:
    return "{" + ", ".join(f"{_string(name)}: {text}" for name, text in pairs) + "}"


def _leaf(value: Any) -> str:
    for kind, text in _LEAVES.items():
        if isinstance(value, kind):
            return text(value)
    raise ValueError(f"JSON has no {type(value).__name__}")


def _string(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _number(value: float) -> str:
    if not math.isfinite(value):
        raise ValueError("JSON has no such number")
    return repr(value)


_LEAVES: Final[Mapping[type, Callable[[Any], str]]] = {
    bool: lambda value: "true" if value else "false",
    int: str,
    float: _number,
    Decimal: lambda value: f"{value:f}",
    str: _string,
    bytes: lambda value: _string(base64.b64encode(value).decode()),
    datetime: lambda value: _string(value.isoformat(" ")),
    date: lambda value: _string(value.isoformat()),
    time: lambda value: _string(value.isoformat()),
    uuid.UUID: lambda value: _string(str(value)),
}
