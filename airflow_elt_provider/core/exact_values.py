"""Canonical texts become values of an Arrow type, exactly, or are found not to fit."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import pyarrow as pa
from pyarrow import compute

from airflow_elt_provider.core.types import UUID, wire_type
from airflow_elt_provider.errors import DataError

Array: TypeAlias = Any
"""A pyarrow array. The stubs' generics know too little of compute functions to help here."""
pc: Any = compute

_NO_TIME: Final = r"[ T]00:00:00(?:\.0+)?(?:\+00)?$"
_UUID: Final = r"^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$"
_BOOLS: Final = {"t": True, "true": True, "1": True, "f": False, "false": False, "0": False}
_EXACT_DIGITS: Final = {64: 15, 32: 6}
"""Bits of a float -> decimal digits that it keeps, whatever they are."""


@dataclass(frozen=True)
class Split:
    """A column after conversion.

    :param exact: where ``typed`` is NULL for want of a value, the canonical text; None where there is no such row.
    """

    typed: Array
    exact: Array | None = None


@dataclass(frozen=True)
class TextColumn:
    """A column whose values come as texts.

    :param name: at the source, for errors.
    :param kind: the type that they are to have.
    :param own: the Arrow type of the source's own type.
    :param what: what is being read, for errors.
    """

    name: str
    kind: pa.DataType
    own: pa.DataType
    what: str

    def split(self, texts: Array, aside: Array | None) -> Split:
        """Convert canonical texts, and set aside what the type has no value for.

        :param aside: which texts those are; None for none.
        :raises DataError: names the column and the first value that does not fit exactly.
        """
        if aside is None or not pc.any(aside, min_count=0).as_py():
            return Split(self.convert(texts))
        none = pa.scalar(None, pa.string())
        typed = self.convert(pc.if_else(aside, none, texts))
        return Split(typed, pc.if_else(pc.equal(aside, pa.scalar(value=True)), texts, none))

    def convert(self, texts: Array) -> Array:
        """Convert canonical texts; see :meth:`split`."""
        converter = _converter(self.kind, self.own)
        try:
            return converter(texts)
        except pa.ArrowInvalid as error:
            value = _first_unfit(texts, converter)
            raise DataError(
                f"{self.what}: column {self.name!r} holds {value!r}, which {self.kind} cannot hold exactly.",
                hint=f"choose a wider type in column_types[{self.name!r}], or leave the column its own type",
            ) from error


def exact_json(columns: Mapping[str, Array]) -> Array:
    """Return ``{"column": "text"}`` for the rows that have such values, NULL for the others.

    The texts are digits, signs and a few words: nothing in them needs escaping.
    """
    joined: Array = pa.array([""] * len(next(iter(columns.values()))), pa.string())
    for name, texts in columns.items():
        member = pc.binary_join_element_wise(json.dumps(name, ensure_ascii=False) + ': "', texts, '", ', "")
        joined = pc.binary_join_element_wise(joined, pc.fill_null(member, pa.scalar("")), pa.scalar(""))
    bodies = pc.replace_substring_regex(joined, ", $", "")
    some = pc.not_equal(bodies, "")
    return pc.if_else(some, pc.binary_join_element_wise("{", bodies, "}", ""), pa.scalar(None, pa.string()))


# --- conversion ---


def _first_unfit(texts: Array, converter: Callable[[Array], Array]) -> str:
    """Find the value by halving."""
    while len(texts) > 1:
        half = texts[: len(texts) // 2]
        try:
            converter(half)
            texts = texts[len(texts) // 2 :]
        except pa.ArrowInvalid:
            texts = half
    return str(texts[0].as_py())


def _converter(kind: pa.DataType, own: pa.DataType) -> Callable[[Array], Array]:
    known: tuple[tuple[bool, Callable[[Array], Array]], ...] = (
        (pa.types.is_time(kind), _to_time),
        (pa.types.is_date(kind), lambda texts: pc.cast(_without(texts, _NO_TIME), kind)),
        (pa.types.is_boolean(kind), _to_bool),
        (pa.types.is_integer(kind), lambda texts: pc.cast(_all(_without(texts, r"\.0+$"), r"^[-+]?\d+$"), kind)),
        (pa.types.is_floating(kind), lambda texts: _to_float(texts, kind, own)),
        (kind.equals(UUID), lambda texts: _all(pc.utf8_lower(texts), _UUID)),
    )
    return next((convert for fits, convert in known if fits), lambda texts: pc.cast(texts, wire_type(kind)))


def _without(texts: Array, pattern: str) -> Array:
    return pc.replace_substring_regex(texts, pattern, "")


def _all(texts: Array, pattern: str) -> Array:
    if pc.all(pc.match_substring_regex(texts, pattern), min_count=0).as_py():
        return texts
    raise pa.ArrowInvalid(pattern)


def _to_time(texts: Array) -> Array:
    # Arrow has no cast from text to a time of day, but one by way of a timestamp.
    days = pc.binary_join_element_wise("1970-01-01 ", texts, "")
    return pc.cast(pc.cast(days, pa.timestamp("us")), pa.time64("us"))


def _to_bool(texts: Array) -> Array:
    _all(texts, f"^(?i:{'|'.join(_BOOLS)})$")
    values = pa.array(list(_BOOLS.values()))
    return pc.take(values, pc.index_in(pc.utf8_lower(texts), pa.array(list(_BOOLS))))


def _to_float(texts: Array, kind: pa.DataType, own: pa.DataType) -> Array:
    floats = pc.cast(texts, kind)
    if pa.types.is_floating(own):
        wide = pc.cast(texts, pa.float64())
        same = pc.or_(pc.equal(pc.cast(floats, pa.float64()), wide), pc.is_nan(wide))
        if own.bit_width > kind.bit_width and not pc.all(same, min_count=0).as_py():
            raise pa.ArrowInvalid(str(kind))
        return floats
    digits = texts
    for pattern in (r"[eE].*$", r"[-+.]", r"^0+", r"0+$"):
        digits = _without(digits, pattern)
    longest = pc.max(pc.utf8_length(digits))
    if (longest.as_py() or 0) > _EXACT_DIGITS[kind.bit_width]:
        raise pa.ArrowInvalid(str(kind))
    return floats
