"""What single texts can stand for: numbers, dates, times."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

INTEGER: Final = re.compile(r"0|-?[1-9]\d*")
"""An integer as a database writes it: what it is read as, and written again, is the same text."""
NUMBER: Final = re.compile(r"-?(?:0|[1-9]\d*)(?:\.(\d+))?")
FLOAT: Final = re.compile(r"-?\d+\.\d+(?:[eE][+-]?\d+)?|-?(?:0|[1-9]\d*)")
LED_BY_ZERO: Final = re.compile(r"[+-]?0\d+")
UUID: Final = re.compile(r"[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}")
EIGHT_DIGITS: Final = re.compile(r"(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])")
TIME: Final = re.compile(r"(?:[01]\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:\.\d{1,6})?)?")
_ISO_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d")
_ISO_TIMESTAMP: Final = re.compile(
    r"\d{4}-\d\d-\d\d(?:[ T](?:[01]\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:\.(\d+))?)?(Z|[+-]\d\d(?::?\d\d)?)?)?"
)
_DATE_PART: Final = (
    (r"\d{4}/\d{1,2}/\d{1,2}", "%Y/%m/%d"), (r"\d{4}\.\d{1,2}\.\d{1,2}", "%Y.%m.%d"),
    (r"\d{4}-\d\d-\d\d", "%Y-%m-%d"), (r"\d{1,2}\.\d{1,2}\.\d{4}", "%d.%m.%Y"),
    (r"\d{4}年\d{1,2}月\d{1,2}日", "%Y年%m月%d日"), (r"\d{1,2}-[A-Z][a-z]{2}-\d{4}", "%d-%b-%Y"),
    (r"\d{1,2} [A-Z][a-z]{2} \d{4}", "%d %b %Y"), (r"[A-Z][a-z]{2} \d{1,2}, \d{4}", "%b %d, %Y"),
    (r"[A-Z][a-z]{2}, \d{1,2} [A-Z][a-z]{2} \d{4}", "%a, %d %b %Y"),
    (r"(\d{1,2})/(\d{1,2})/\d{4}", "%d/%m/%Y"), (r"(\d{1,2})-(\d{1,2})-\d{4}", "%d-%m-%Y"),
)  # fmt: skip
_TIME_PART: Final = (
    ("", ""), (r"[ T]\d{1,2}:\d\d", "%H:%M"), (r"[ T]\d{1,2}:\d\d:\d\d", "%H:%M:%S"),
    (r"[ T]\d{1,2}:\d\d:\d\d\.\d{1,6}", "%H:%M:%S.%f"),
)  # fmt: skip
_ZONE_PART: Final = (("", ""), (r" ?(?:[+-]\d\d:?\d\d|Z)", "%z"), (r" UTC", "UTC"))
"""UTC is no zone to strptime: it is what all the times without one are in."""
_APACHE: Final = (r"\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}", "%d/%b/%Y:%H:%M:%S %z")
_BIGGEST_MONTH: Final = 12
_MICROSECONDS: Final = 6


@dataclass(frozen=True)
class When:
    """What dates and times are read as.

    :param kind: ``date``, ``timestamp``, ``timestamptz``, or ``text`` where nobody can tell.
    :param form: as ``strptime`` has it; "" for ISO.
    """

    kind: str
    form: str
    why: str
    confidence: float = 0.97


def when(values: Collection[str]) -> When | None:
    """Say how dates or times are written, all of them alike; None where they are none."""
    return _iso(values) or _written(values)


def _iso(values: Collection[str]) -> When | None:
    if all(map(_ISO_DATE.fullmatch, values)):
        return When("date", "", "ISO dates", 0.99) if _all_read(values, "%Y-%m-%d") else None
    found = [_ISO_TIMESTAMP.fullmatch(value) for value in values]
    matched = [one for one in found if one]
    if len(matched) < len(found) or not all(_real(one[0][:10], "%Y-%m-%d") for one in matched):
        return None
    if any(len(one[1] or "") > _MICROSECONDS for one in matched):
        return When("text", "", "timestamps with more digits than microseconds have, which would be cut off", 0.9)
    zones = {bool(one[2]) for one in matched}
    if len(zones) > 1:
        return When("text", "", "timestamps, of which some have a time zone and some have none", 0.9)
    return When("timestamptz" if zones == {True} else "timestamp", "",
                f"ISO timestamps {'with' if zones == {True} else 'without'} time zone", 0.99)  # fmt: skip


def _written(values: Collection[str]) -> When | None:
    first = next(iter(values))
    for pattern, form, kind in _FORMS:
        if not pattern.fullmatch(first):
            continue
        found = [pattern.fullmatch(value) for value in values]
        matched = [one for one in found if one]
        if len(matched) < len(found):
            continue
        if pattern.groups == 2:  # noqa: PLR2004 - day and month, or month and day
            return _in_order([(int(one[1]), int(one[2])) for one in matched], values, form, kind)
        if _all_read(values, form):
            return When(kind, form, f"all are written as {form}")
    return None


def _in_order(numbers: Sequence[tuple[int, int]], values: Collection[str], form: str, kind: str) -> When | None:
    """Tell 31/12/2026 from 12/31/2026, if one of the values does."""
    day_first = any(first > _BIGGEST_MONTH for first, _ in numbers)
    month_first = any(second > _BIGGEST_MONTH for _, second in numbers)
    if day_first and month_first:
        return None
    if not day_first and not month_first:
        return When("text", "", "dates of which nobody can tell day and month: none has a number above 12; "
                    f"if you know: time_formats={form!r} (day first)", 0.6)  # fmt: skip
    form = form if day_first else form.replace("%d", "%?").replace("%m", "%d").replace("%?", "%m")
    what = "day" if day_first else "month"
    return When(kind, form, f"all are written as {form}: numbers above 12 say that the {what} comes first",
                0.95) if _all_read(values, form) else None  # fmt: skip


def _all_read(values: Collection[str], form: str) -> bool:
    return all(_real(value, form) for value in values)


def _real(value: str, form: str) -> bool:
    try:
        datetime.strptime(value, form)  # noqa: DTZ007 - whether it is one, not when it is
    except ValueError:
        return False
    return True


def is_document(value: str) -> bool:
    """Whether a text is a JSON object or list."""
    if value.lstrip()[:1] not in {"{", "["}:
        return False
    try:
        json.loads(value, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return False
    return True


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def all_dates(values: Collection[str]) -> bool:
    """Whether numbers of eight digits are dates of the calendar, all of them."""
    return all(EIGHT_DIGITS.fullmatch(value) for value in values) and _all_read(values, "%Y%m%d")


def _forms() -> Sequence[tuple[re.Pattern[str], str, str]]:
    found = []
    for day, day_form in _DATE_PART:
        for time, time_form in _TIME_PART:
            for zone, zone_form in _ZONE_PART if time else _ZONE_PART[:1]:
                for sign in (" ", "T") if time else ("",):
                    form = day_form + (sign + time_form if time else "")
                    for blank in ("", " ") if zone_form == "%z" else (" ",) if zone_form else ("",):
                        kind = "date" if not time else "timestamptz" if zone_form == "%z" else "timestamp"
                        pattern = day + time.replace("[ T]", sign) + zone.replace(" ?", blank)
                        found.append((re.compile(pattern), form + blank + zone_form, kind))
    return [*found, (re.compile(_APACHE[0]), _APACHE[1], "timestamptz")]


_FORMS: Final = _forms()
