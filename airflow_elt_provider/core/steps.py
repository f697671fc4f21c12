"""What a merge does, as data: statements, and what their row counts mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from airflow_elt_provider.core.dialect import Sql


class Effect(StrEnum):
    """What the rows are that a statement changes."""

    NONE = ""
    """not counted"""
    INSERTED = "inserted"
    UPDATED = "updated"
    DELETED = "deleted"
    MERGED = "merged"
    """a MERGE: rows of all three kinds"""


@dataclass(frozen=True)
class Step:
    """One statement.

    :param expect: how many rows it must change; with any other number nothing is merged.
    """

    sql: Sql
    params: tuple[Any, ...] = ()
    effect: Effect = Effect.NONE
    expect: int | None = None


class Difference(NamedTuple):
    """How a complete load differs from the target, in rows."""

    new: int
    gone: int
    changed: int


class Counts(NamedTuple):
    """Rows that a merge changed."""

    inserted: int = 0
    updated: int = 0
    deleted: int = 0

    def plus(self, effect: Effect, rows: int) -> Counts:
        """Return the counts with those of one more statement."""
        return self._replace(**{effect.value: getattr(self, effect.value) + rows}) if effect else self

    def both(self, other: Counts) -> Counts:
        """Return the sum of two."""
        return Counts(*map(sum, zip(self, other, strict=True)))


@dataclass(frozen=True)
class MergePlan:
    """What is left to do once all questions are answered.

    :param counts: rows that are known to change by steps that do not count them.
    :param nulled: column -> how many values the destination has no value for and will hold as NULL.
    :param quarantined: how many staged rows were set aside.
    """

    steps: tuple[Step, ...] = ()
    counts: Counts = field(default_factory=Counts)
    nulled: Mapping[str, int] = field(default_factory=dict)
    quarantined: int = 0
