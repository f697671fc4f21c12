"""Proof that a load was merged."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Final

from airflow_elt_provider.core.checkpoint import Position

ROW_COUNTS: Final = ("extracted", "inserted", "updated", "deleted", "quarantined")
"""What a receipt, and a task's result, say in numbers of rows."""


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """A row of the destination's receipts, written in the merge's own transaction.

    :param version: the checkpoint's version after the merge; None where the load left the checkpoint alone.
    :param nulled: column -> how many values the destination has no value for and holds as NULL.
    :param base_position: where the load went on from.
    :param position: where it ended.
    :param reached: the same as a person would write it.
    :param target: the target table.
    :param capture: how the changes were found.
    :param started_at: when its extract began, ISO 8601 with time zone; None where that is not known.
    :param bytes: size of the staged files.
    :param files: how many they are.
    :param lag_bytes: how far the source's log was ahead of what was read, where there is one.
    :param consistent: whether all rows that were merged are of one snapshot.
    :param lag_seconds: how long ago what was read last was committed, where there is a log.
    """

    load_id: str
    run_key: str
    stream: str
    version: int | None
    extracted: int
    inserted: int = 0
    updated: int = 0
    deleted: int = 0
    quarantined: int = 0
    nulled: dict[str, int] = field(default_factory=dict)
    schema_changes: tuple[dict[str, str], ...] = ()
    base_position: Position | None = None
    position: Position | None = None
    manifest: str = ""
    reached: str = ""
    target: str = ""
    mode: str = ""
    capture: str = ""
    started_at: str | None = None
    bytes: int = 0
    files: int = 0
    lag_bytes: int | None = None
    lag_seconds: float | None = None
    consistent: bool = True

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object that :meth:`from_json` reads."""
        return {
            **asdict(self), "schema_changes": list(self.schema_changes),
            "base_position": self.base_position.to_json() if self.base_position else None,
            "position": self.position.to_json() if self.position else None,
        }  # fmt: skip

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Receipt:
        """Read what :meth:`to_json` wrote."""
        base, position = value["base_position"], value["position"]
        return cls(**{
            **value, "schema_changes": tuple(value["schema_changes"]),
            "base_position": Position.from_json(base) if base else None,
            "position": Position.from_json(position) if position else None,
        })  # fmt: skip
