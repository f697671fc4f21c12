"""Dates and times as somebody else writes them."""

from __future__ import annotations

import re
from datetime import date, datetime, time
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from airflow_elt_provider.errors import ConfigurationError

_DATE: Final = frozenset("YyCGmbBdjUuVWxcaAws")
_CLOCK: Final = frozenset("HIMSfpXcs")
_ZONE: Final = "z"
_DIRECTIVE: Final = re.compile(r"%(.)|([^%])", re.DOTALL)
_DIGITS: Final = {"Y": r"(\d{4})", "m": r"(\d{2})", "d": r"(\d{2})", "H": r"(\d{2})", "M": r"(\d{2})", "S": r"(\d{2})"}
"""What stands for itself in ISO 8601; ``strptime`` also takes it without leading zeros."""
_ISO: Final = {"date": "Ymd", "timestamp": "YmdHMS"}
_JOINS: Final = ("", "-", "-", " ", ":", ":")


def implied_type(pattern: str) -> pa.DataType:
    """Return the type that a format speaks of: a date, a time, or both, with a zone or without."""
    found = {letter for letter, _ in _DIRECTIVE.findall(pattern)}
    if _ZONE in found:
        return pa.timestamp("us", "UTC")
    if not found & _CLOCK:
        return pa.date32()
    return pa.timestamp("us") if found & _DATE else pa.time64("us")


def refuse_unfit(column: str, pattern: str, kind: pa.DataType) -> None:
    """Refuse a format for a type that it cannot give.

    :raises ConfigurationError: names column and format.
    """
    implied = implied_type(pattern)
    if pa.types.is_string(kind) or kind.equals(implied) or (pa.types.is_timestamp(implied) and pa.types.is_date(kind)):
        return
    if pa.types.is_timestamp(kind) and kind.tz is None and pa.types.is_date(implied):
        return
    zone = " a time zone (%z) and" if pa.types.is_timestamp(kind) and kind.tz else ""
    raise ConfigurationError(
        f"time_formats reads column {column!r} by {pattern!r}, which does not give a {kind}.",
        hint=f"give a format with{zone} all that the type holds, or leave column_types of it out: it is a {implied}",
    )


def by_format(texts: pa.Array[Any], kind: pa.DataType, pattern: str) -> pa.Array[Any]:
    """Return the dates or times that texts stand for, as ``datetime.strptime`` reads them; NULL stays NULL.

    :raises pa.ArrowInvalid: when one stands for none, or for more than the type holds.
    """
    encoded: Any = texts.dictionary_encode()  # a day, or a second, comes more than once
    values: pa.Array[Any] = _values(encoded.dictionary, kind, pattern).take(encoded.indices)
    return values


def _values(texts: pa.Array[Any], kind: pa.DataType, pattern: str) -> pa.Array[Any]:
    if iso := _iso(pattern, kind):
        matched: Any = pc.match_substring_regex(texts, iso[0])
        if pc.all(matched).as_py() in {True, None}:
            same: pa.Array[Any] = pc.replace_substring_regex(texts, pattern=iso[0], replacement=iso[1]).cast(kind)
            return same
    return pa.array([_value(text, kind, pattern) for text in texts.to_pylist()], kind)


def _iso(pattern: str, kind: pa.DataType) -> tuple[str, str] | None:
    """Return a regular expression for texts as a format wants them, and how they are put into ISO 8601."""
    wanted = _ISO["date" if pa.types.is_date(kind) else "timestamp"]
    letters = [letter for letter, _ in _DIRECTIVE.findall(pattern) if letter]
    if pa.types.is_time(kind) or getattr(kind, "tz", None) or sorted(letters) != sorted(wanted):
        return None
    sources = [_DIGITS[letter] if letter else re.escape(sign) for letter, sign in _DIRECTIVE.findall(pattern)]
    if not pattern.isascii() or any(sign.isspace() for _, sign in _DIRECTIVE.findall(pattern) if sign and sign != " "):
        return None
    iso = "".join(f"{join}\\{letters.index(letter) + 1}" for join, letter in zip(_JOINS, wanted, strict=False))
    return f"^{''.join(sources)}$", iso


def _value(text: str | None, kind: pa.DataType, pattern: str) -> date | time | datetime | None:
    if text is None:
        return None
    try:
        found = datetime.strptime(text, pattern)  # noqa: DTZ007 - the zone is in the format, or the type has none
    except ValueError as error:
        raise pa.ArrowInvalid(str(error)) from error
    if pa.types.is_time(kind):
        return found.time()
    if not pa.types.is_date(kind):
        return found
    if found.time() != time():
        raise pa.ArrowInvalid("a date with a time")
    return found.date()
