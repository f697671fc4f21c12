"""What a difference between source and target schema means, and what the policy does about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from airflow_elt_provider.errors import ConfigurationError


class DriftClass(StrEnum):
    """Classes of schema changes, seen from the target."""

    ADDED = "added"
    """a column that the target has not"""
    WIDENED = "widened"
    """a type that holds more than the target's column"""
    NARROWED = "narrowed"
    """a type that the target's column cannot be widened to without becoming text"""
    REMOVED = "removed"
    """a column of the target that no longer arrives; it is kept, new rows have NULL there"""
    RENAMED = "renamed"
    """a column that is there under another name; the old one is kept, new rows have NULL there"""
    KEY = "key"
    """another primary key"""


class DriftAction(StrEnum):
    """What to do about one class of changes."""

    EVOLVE = "evolve"
    """change the target so that nothing is lost"""
    FREEZE = "freeze"
    """leave the target as it is and load what fits it; a value that does not fit fails the load"""
    FAIL = "fail"
    """merge nothing"""


@dataclass(frozen=True)
class DriftPolicy:
    """One action per class of changes. By default the target follows, but a changed key is refused."""

    added: DriftAction = DriftAction.EVOLVE
    widened: DriftAction = DriftAction.EVOLVE
    narrowed: DriftAction = DriftAction.EVOLVE
    removed: DriftAction = DriftAction.EVOLVE
    renamed: DriftAction = DriftAction.EVOLVE
    key: DriftAction = DriftAction.FAIL

    def action(self, drift: DriftClass) -> DriftAction:
        """Return what to do about changes of that class."""
        action: DriftAction = getattr(self, drift.value)
        return action

    @classmethod
    def parse(cls, value: str | Mapping[str, str] | DriftPolicy) -> DriftPolicy:
        """Accept ``"evolve"``, ``"freeze"``, ``"fail"``, or a mapping from class to action.

        :raises ConfigurationError: for an unknown class or action.
        """
        if isinstance(value, DriftPolicy):
            return value
        if isinstance(value, str):
            action = _action(value)
            return cls(action, action, action, action, action)
        unknown = sorted(set(value) - set(DriftClass))
        if unknown:
            classes = ", ".join(DriftClass)
            raise ConfigurationError(f"on_schema_drift names {unknown[0]!r}.", hint=f"the classes are {classes}")
        return cls(**{drift: _action(action) for drift, action in value.items()})


def _action(value: str) -> DriftAction:
    try:
        return DriftAction(value)
    except ValueError:
        actions = ", ".join(DriftAction)
        raise ConfigurationError(f"on_schema_drift={value!r} is unknown.", hint=f"use one of {actions}") from None


@dataclass(frozen=True)
class SchemaChange:
    """One change: what was seen and what was done.

    :param before: the target's type before, or ``""``; of a renamed column and of a key, the name.
    :param after: the type that arrives, or ``""``; likewise.
    :param done: the action taken, e.g. ``evolve``.
    """

    drift: DriftClass
    column: str
    before: str
    after: str
    done: DriftAction

    def to_json(self) -> dict[str, str]:
        """Return a JSON object for XCom, receipts and logs."""
        return {
            "class": self.drift, "column": self.column, "before": self.before, "after": self.after, "done": self.done,
        }  # fmt: skip
