"""Tests of the staged rows that run inside the merge's transaction: one that fails keeps the whole load out.

Those that look at rows one by one may ask for ``quarantine`` instead: the rows that violate them are set aside, up to
``max_quarantined_rows``, and the load goes on without them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Any

from airflow_elt_provider.errors import ConfigurationError


@dataclass(frozen=True)
class NotNull:
    """No staged row has NULL in this column.

    :param quarantine: whether rows that have are set aside.
    """

    column: str
    quarantine: bool = field(default=False, repr=False)


@dataclass(frozen=True)
class Unique:
    """No two staged rows agree in these columns (NULLs apart)."""

    columns: tuple[str, ...]

    def __init__(self, *columns: str) -> None:
        object.__setattr__(self, "columns", columns)


@dataclass(frozen=True)
class RowCount:
    """The load has at least ``min`` and at most ``max`` rows."""

    min: int = 0
    max: int | None = None


@dataclass(frozen=True)
class Sql:
    """No staged row makes this condition false; NULL passes, as in a CHECK constraint.

    :param predicate: a condition over the staged columns in the destination's SQL, e.g. ``amount >= 0``.
    :param name: how messages call it; default the condition itself.
    :param quarantine: whether rows that make it false are set aside.
    """

    predicate: str
    name: str = ""
    quarantine: bool = field(default=False, repr=False)


Check = NotNull | Unique | RowCount | Sql
RowCheck = NotNull | Sql
_ASIDE = "quarantine"
_CALL = re.compile(r"(not_null|unique|row_count)\((.*)\)")


def parse_check(value: Check | str | dict[str, Any]) -> Check:
    """Accept a check, a text such as ``not_null(id)``, ``row_count(min=1)`` or ``sql: amount >= 0``, or a dict.

    ``quarantine`` before a text, or as the key of a dict, sets the rows aside: ``quarantine not_null(id)``.

    :raises ConfigurationError: for anything else.
    """
    if isinstance(value, Check):
        return value
    if isinstance(value, dict) and set(value) == {_ASIDE}:
        return _quarantining(parse_check(value[_ASIDE]), value)
    if isinstance(value, str) and value.strip().startswith(f"{_ASIDE} "):
        return _quarantining(parse_check(value.strip().removeprefix(_ASIDE).strip()), value)
    if isinstance(value, dict) and len(value) == 1:
        ((name, argument),) = value.items()
        value = f"sql: {argument}" if name == "sql" else f"{name}({_arguments(argument)})"
    if isinstance(value, str):
        if value.startswith("sql:"):
            return Sql(value.removeprefix("sql:").strip())
        called = _CALL.fullmatch(value.strip())
        if called:
            return _call(called[1], [part.strip() for part in called[2].split(",") if part.strip()], value)
    raise _bad_check(value)


def _quarantining(check: Check, value: object) -> Check:
    if not isinstance(check, RowCheck):
        raise ConfigurationError(
            f"{value!r}: a check of the load as a whole has no rows to set aside.",
            hint="let it fail the load, or use NotNull or Sql, which look at each row by itself",
        )
    return replace(check, quarantine=True)


def _arguments(argument: object) -> str:
    if isinstance(argument, dict):
        return ", ".join(f"{key}={value}" for key, value in argument.items())
    return ", ".join(argument) if isinstance(argument, list | tuple) else str(argument)


def _call(name: str, arguments: list[str], text: str) -> Check:
    if name == "not_null" and len(arguments) == 1:
        return NotNull(arguments[0])
    if name == "unique" and arguments:
        return Unique(*arguments)
    bounds = dict(argument.split("=", 1) for argument in arguments if "=" in argument)
    if name == "row_count" and len(bounds) == len(arguments) > 0 and set(bounds) <= {"min", "max"}:
        try:
            numbers = {key: int(number) for key, number in bounds.items()}
        except ValueError:
            raise _bad_check(text) from None
        return RowCount(**numbers)
    raise _bad_check(text)


def _bad_check(value: object) -> ConfigurationError:
    return ConfigurationError(
        f"{value!r} is not a check.",
        hint="use NotNull('id'), Unique('id'), RowCount(min=1), Sql('amount >= 0') or their texts, e.g. 'not_null(id)'",
    )
