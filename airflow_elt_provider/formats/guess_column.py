"""The type of one column: one into which every value goes and comes out as it was, or text with the reason why."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from airflow_elt_provider.core.types import MAX_PRECISION
from airflow_elt_provider.formats.guess_values import (
    FLOAT,
    INTEGER,
    LED_BY_ZERO,
    NUMBER,
    TIME,
    UUID,
    all_dates,
    is_document,
    when,
)

TEXT: Final = "text"
_BIGINT: Final = range(-(1 << 63), 1 << 63)
_ROOM: Final = 6
"""Digits more than the sample has, for what it does not show."""
_USUAL_PRECISION: Final = 18
_EXACT_DIGITS: Final = 17
"""Digits that a double keeps."""
_MINUS_ZERO: Final = re.compile(r"-0(?:\.0+)?")
_MANY_DATES: Final = 10
_NEARLY: Final = 0.9
_SHOWN: Final = 3
_IDENTIFIERS: Final = re.compile(
    r"zip|postal|postcode|phone|mobile|\btel\b|(?:^|_)tel(?:_|$)|\bfax|(?:^|_)fax|ssn|isbn|\bean\b|barcode|jan_?code"
    r"|郵便|電話|携帯|口座|マイナンバー|ファクス|FAX|TEL", re.IGNORECASE,
)  # fmt: skip
_VERSIONS: Final = re.compile(r"version|(?:^|_)ver(?:$|_)|release|バージョン|版", re.IGNORECASE)
_DAYS: Final = re.compile(r"date|ymd|(?:^|_)(?:day|dt)(?:$|_)|日付|年月日|[^曜休]日$|^日$", re.IGNORECASE)
_NUMBERS_WRITTEN: Final = (
    (re.compile(r"[$€£¥￥] ?-?[\d,.]+|-?[\d,.]+ ?(?:[$€£¥￥円]|USD|EUR|JPY)"), "amounts with a currency"),
    (re.compile(r"[+-]?\d[\d,.]* ?[%％]"), "percentages"),  # noqa: RUF001
    (re.compile(r"[+-]?\d{1,3}(?:[,' ]\d{3})+(?:\.\d+)?|[+-]?\d{1,3}(?:\.\d{3})+,\d+"),
     "numbers with thousands separators"),
    (re.compile(r"[+-]?\d+,\d+"), "numbers with a decimal comma"),
    (re.compile(r"[+-]?\d+(?:\.\d+)?[eE][+-]?\d+"), "numbers with exponents, or codes that look like them"),
    (re.compile(r"0[xX][0-9A-Fa-f]+"), "hexadecimal numbers"),
    (re.compile(r"\+?[\d() -]{7,}"), "digits with signs between them, as of phone numbers"),
    (re.compile(r"(?i:y|n|yes|no|on|off)"), "words for yes and no, which databases do not agree upon"),
    (re.compile(r"\d{1,2}[/.-]\d{1,2}[/.-]\d{2}"), "dates with two digits for the year"),
)  # fmt: skip


@dataclass(frozen=True)
class ColumnGuess:
    """A column.

    :param type: as ``column_types`` of the operators has it.
    :param confidence: 0 to 1.
    :param why: in words.
    :param time_format: how dates or times are written; "" for ISO and for everything else.
    :param nulls: share of the sample's rows without a value.
    :param unique: whether every row of the sample has a value of its own.
    """

    name: str
    type: str
    confidence: float
    why: str
    time_format: str = ""
    nulls: float = 0.0
    unique: bool = False

    @property
    def is_text(self) -> bool:
        """Whether it is read as it stands."""
        return self.type == TEXT


@dataclass(frozen=True)
class _Found:
    type: str
    base: float
    why: str
    time_format: str = ""


def guess_type(name: str, values: Counter[str]) -> ColumnGuess:
    """Guess the type of values, each with how often it occurs; without the ones that mean NULL."""
    count = sum(values.values())
    if not count:
        return ColumnGuess(name, TEXT, 0.3, "it is empty in all of the sample: text takes whatever may come")
    found = _type(name, values)
    sure = 1 - 0.5 / (1 + count) ** 0.7
    return ColumnGuess(name, found.type, round(min(0.99, found.base * sure), 2), found.why, found.time_format)


def _type(name: str, values: Counter[str]) -> _Found:
    # Spaces around a value count for texts only; a value of spaces is a text.
    distinct = list({value.strip(" "): None for value in values})
    padded = len(distinct) < len(values) or any(value not in values for value in distinct)
    for guess in (_boolean, _uuid, _led_by_zeros, _integer, _decimal, _float, _time, _day, _document):
        found = guess(name, distinct)
        if found and not (padded and (found.time_format or not all(distinct))):
            return found
    return _text(values)


def _boolean(_: str, values: Collection[str]) -> _Found | None:
    words = {value.lower() for value in values}
    if words <= {"true", "false"}:
        return _Found("boolean", 0.98 if len(words) > 1 else 0.85, f"all are {' or '.join(sorted(words))}")
    if words == {"t", "f"}:
        return _Found("boolean", 0.85, "all are t or f, as PostgreSQL writes booleans")
    return None


def _uuid(_: str, values: Collection[str]) -> _Found | None:
    # Written again a UUID is in small letters.
    if all(UUID.fullmatch(value) and value == value.lower() for value in values):
        return _Found("uuid", 0.99, "all are UUIDs")
    return None


def _led_by_zeros(_: str, values: Collection[str]) -> _Found | None:
    led = next((value for value in values if LED_BY_ZERO.fullmatch(value)), None)
    if led and all(value.lstrip("+-").isdecimal() for value in values):
        return _Found(TEXT, 0.99, f"digits, of which some begin with zeros that a number would lose ({led})")
    return None


def _integer(name: str, values: Collection[str]) -> _Found | None:
    if not all(map(INTEGER.fullmatch, values)):
        return None
    if _IDENTIFIERS.search(name):
        return _Found(TEXT, 0.9, "digits, and the name says that they are no quantity: zeros in front would count")
    digits = max(len(value.lstrip("-")) for value in values)
    if digits > MAX_PRECISION:
        return _Found(TEXT, 0.95, f"integers of {digits} digits, more than any type of number holds")
    if all(int(value) in _BIGINT for value in values):
        return _eight_digits(name, values) if all_dates(values) else _bigint(values)
    precision = min(MAX_PRECISION, digits + _ROOM)
    return _Found(f"decimal({precision},0)", 0.95, f"integers of up to {digits} digits, too large for bigint")


def _bigint(values: Collection[str]) -> _Found:
    words = {value for value in values if len(value) == 1}
    if set(values) <= {"0", "1"}:
        return _Found("bigint", 0.9, "all are 0 or 1: numbers, whatever they mean")
    if len(words) == len(values):
        return _Found("bigint", 0.95, "all are integers of one digit")
    return _Found("bigint", 0.97, "all are integers, without zeros in front")


def _eight_digits(name: str, values: Collection[str]) -> _Found:
    if _DAYS.search(name) and len(values) >= _MANY_DATES:
        return _Found("date", 0.9, f"all of {len(values)} different numbers are days of the calendar as yyyymmdd, and "
                      "the name says so, too", "%Y%m%d")  # fmt: skip
    missing = "the name does not say so" if not _DAYS.search(name) else f"there are only {len(values)} different ones"
    return _Found("bigint", 0.8, f"integers of eight digits; they could be dates (yyyymmdd), but {missing}")


def _decimal(name: str, values: Collection[str]) -> _Found | None:
    found = [NUMBER.fullmatch(value) for value in values]
    matched = [one for one in found if one]
    if len(matched) < len(found) or any(_MINUS_ZERO.fullmatch(value) for value in values):
        return None
    scales = {len(one[1]) for one in matched if one[1]}
    # 1.9 and 1.10 are versions; 1.90 and 1.10, or 1.9 and 1.1, are numbers. Many programs write 1.0 for one.
    padded = any(one[1] and len(one[1]) > 1 and one[1].endswith("0") for one in matched)
    if padded and len(scales) > 1:
        return _Found(TEXT, 0.8, "numbers with zeros at the end and different counts of decimals, as versions have "
                      "(1.9, 1.10): a number would lose them")  # fmt: skip
    if _VERSIONS.search(name):
        return _Found(TEXT, 0.9, "the name says that these are versions, not numbers")
    before = max(len(one[0].lstrip("-").partition(".")[0]) for one in matched)
    scale = max(scales)
    if before + scale > MAX_PRECISION:
        return _Found(TEXT, 0.9, f"numbers of {before + scale} digits, more than decimals hold")
    precision = min(MAX_PRECISION, max(_USUAL_PRECISION, before + scale + _ROOM))
    alike = "all with" if len(scales) == 1 else "with up to"
    return _Found(f"decimal({precision},{scale})", 0.95 if len(scales) == 1 else 0.85,
                  f"numbers {alike} {scale} decimals")  # fmt: skip


def _float(_: str, values: Collection[str]) -> _Found | None:
    if not all(map(FLOAT.fullmatch, values)) or not any("e" in value.lower() for value in values):
        return None
    if all(Decimal(value) == Decimal(repr(float(value))) for value in values):
        return _Found("double", 0.9, "numbers with a decimal point and exponents, as programs write floating point")
    return _Found(TEXT, 0.8, f"numbers with exponents and more digits than the {_EXACT_DIGITS} of floating point")


def _time(_: str, values: Collection[str]) -> _Found | None:
    if all(map(TIME.fullmatch, values)):
        return _Found("time", 0.95, "all are times of the day")
    return None


def _day(_: str, values: Collection[str]) -> _Found | None:
    found = when(values)
    return _Found(found.kind, found.confidence, found.why, found.form) if found else None


def _document(_: str, values: Collection[str]) -> _Found | None:
    return _Found("json", 0.97, "all are JSON objects or lists") if all(map(is_document, values)) else None


# --- why it is text ---


def _text(values: Counter[str]) -> _Found:
    for pattern, what in _NUMBERS_WRITTEN:
        if all(map(pattern.fullmatch, values)):
            return _Found(TEXT, 0.95, f"{what}: kept as they stand")
    count = sum(values.values())
    odd = {value: often for value, often in values.items() if not NUMBER.fullmatch(value)}
    share = 1 - sum(odd.values()) / count
    if share >= _NEARLY:
        shown = ", ".join(repr(value[:40]) for value in list(odd)[:_SHOWN])
        return _Found(TEXT, 0.75, f"{share:.1%} of the values are numbers, but not {shown}")
    return _Found(TEXT, 0.97, "words, or texts of no type")
