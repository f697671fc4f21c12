"""Write modes and delete modes: values that answer questions about themselves."""

from __future__ import annotations

from enum import StrEnum
from typing import TypeVar

from airflow_elt_provider.errors import ConfigurationError

_E = TypeVar("_E", bound=StrEnum)


class WriteMode(StrEnum):
    """What a merge does with the staged rows."""

    APPEND = "append"
    MERGE = "merge"
    REPLACE = "replace"
    HISTORY = "history"

    @property
    def needs_key(self) -> bool:
        """Whether rows must be matched by primary key."""
        return self in {WriteMode.MERGE, WriteMode.HISTORY}


class DeleteMode(StrEnum):
    """What a merge does with target rows that are gone from the source."""

    IGNORE = "ignore"
    SOFT = "soft"
    HARD = "hard"


def parse_mode(value: str) -> WriteMode:
    """Return the write mode of that name.

    :raises ConfigurationError: when there is none.
    """
    return _parse(WriteMode, value, "mode")


def parse_deletes(value: str) -> DeleteMode:
    """Return the delete mode of that name.

    :raises ConfigurationError: when there is none.
    """
    return _parse(DeleteMode, value, "deletes")


def _parse(kind: type[_E], value: str, parameter: str) -> _E:
    try:
        return kind(value)
    except ValueError:
        names = ", ".join(kind)
        raise ConfigurationError(f"{parameter}={value!r} is unknown.", hint=f"use one of {names}") from None
