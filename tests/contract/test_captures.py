"""Random histories under the captures that find changes: at the end the target is what the source is.

Rows are inserted, updated, deleted, moved to other keys and truncated, by transactions that commit late and by others
that write during the sync; columns are added, the table is rewritten; syncs are cut off, retried, cleared and
refreshed.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings

from tests.contract.candidates import DESTINATIONS
from tests.contract.capture_history import Life, events

if TYPE_CHECKING:
    from tests.contract.world import World

SMALL: dict[str, Any] = {"capture": {"fingerprint": {"bucket_rows": 2}}}
CONTENT: dict[str, Any] = {"capture": {"fingerprint": {"bucket_rows": 2, "by": "content"}}}
XMIN: dict[str, Any] = {"capture": "xmin"}
WAL: dict[str, Any] = {"capture": "wal"}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "fingerprint-hard": ("bigint", {**SMALL, "mode": "merge", "deletes": "hard"}),
    "fingerprint-soft": ("bigint", {**SMALL, "mode": "merge", "deletes": "soft"}),
    "fingerprint-ignore": ("bigint", {**SMALL, "mode": "merge", "deletes": "ignore"}),
    "fingerprint-text-key": ("text", {**SMALL, "mode": "merge", "deletes": "hard"}),
    "fingerprint-numeric-key": ("numeric", {**SMALL, "mode": "merge", "deletes": "hard"}),
    "fingerprint-content": ("bigint", {**CONTENT, "mode": "merge", "deletes": "hard"}),
    "fingerprint-history": ("bigint", {**SMALL, "mode": "history", "deletes": "hard"}),
    "xmin-ignore": ("bigint", {**XMIN, "mode": "merge"}),
    "xmin-history": ("bigint", {**XMIN, "mode": "history"}),
    "wal-hard": ("bigint", {**WAL, "mode": "merge", "deletes": "hard"}),
    "wal-soft": ("text", {**WAL, "mode": "merge", "deletes": "soft"}),
    "wal-ignore": ("bigint", {**WAL, "mode": "merge", "deletes": "ignore"}),
    "wal-history": ("bigint", {**WAL, "mode": "history", "deletes": "hard"}),
}
EVERYWHERE = frozenset({"fingerprint-hard", "wal-soft"})
"""What every destination sees; the others only DuckDB and PostgreSQL, which differ in nothing that a capture sees."""
THOROUGH = frozenset({"duckdb", "postgres"})
PROFILE = settings(
    deadline=None, database=None, print_blob=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip


def play(world: World, case: str, story: list[tuple[str, Any]]) -> None:
    """Play a story and check its end."""
    key, parameters = CASES[case]
    life = Life(world, parameters, key)
    try:
        for what, argument in story:
            life.play(what, argument)
        life.check()
    finally:
        life.close()


@pytest.mark.parametrize(
    ("world", "case"),
    [(name, case) for name in DESTINATIONS for case in CASES if case in EVERYWHERE or name in THOROUGH],
    indirect=["world"],
)
def test_the_target_follows_whatever_happens(world: World, case: str) -> None:
    """The same histories in every run; with ELT_EXPLORE=1 others, and more."""
    explore = bool(os.environ.get("ELT_EXPLORE"))

    @settings(PROFILE, max_examples=max(2, int((60 if explore else 8) * world.histories)), derandomize=not explore)
    @given(events)
    def histories(story: list[tuple[str, Any]]) -> None:
        play(world, case, story)

    histories()
