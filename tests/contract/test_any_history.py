"""Random histories of a source table, syncs, power cuts, clears and DDL: at the end source and target agree.

Every write mode sees the events that it promises to carry: ``append`` only inserts, ``merge`` no deletes. The cursors
are a clock and a counter that begins at 7, so that it rolls past 10, where text would sort wrong.
"""

from __future__ import annotations

import itertools
import os
import random
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.contract.faults import PowerCutError
from tests.contract.world import World

CLOCK: dict[str, Any] = {"capture": {"cursor": {"column": "updated_at", "lag": 0}}}
COUNTER: dict[str, Any] = {"capture": "cursor", "cursor_column": "seq"}
FULL: dict[str, Any] = {"capture": "full"}
MODES: dict[str, dict[str, Any]] = {
    "merge by clock": {**CLOCK, "mode": "merge"},
    "merge by counter": {**COUNTER, "mode": "merge"},
    "append by clock": {**CLOCK, "mode": "append"},
    "append by counter": {**COUNTER, "mode": "append"},
    "replace": {**FULL, "mode": "replace"},
    "mirror": {**FULL, "mode": "merge", "deletes": "hard", "max_delete_ratio": 1.0},
    "soft mirror": {**FULL, "mode": "merge", "deletes": "soft", "max_delete_ratio": 1.0},
}
_numbers = itertools.count()

events = st.lists(
    st.one_of(
        st.tuples(st.just("insert"), st.integers(1, 4)),
        st.tuples(st.just("update"), st.integers(0, 10_000)),
        st.tuples(st.just("delete"), st.integers(0, 10_000)),
        st.tuples(st.just("touch"), st.integers(0, 10_000)),
        st.tuples(st.just("add column"), st.sampled_from(["int DEFAULT 7", "text", "numeric(8,3) DEFAULT 1.5"])),
        st.tuples(st.just("sync"), st.just(0)),
        st.tuples(st.just("cut"), st.integers(1, 40)),
        st.tuples(st.just("clear"), st.just(0)),
        st.tuples(st.just("refresh"), st.just(0)),
    ),
    min_size=4,
    max_size=14,
)


@dataclass
class History:
    """Plays events against one table."""

    world: World
    mode: str
    columns: list[str] = field(default_factory=lambda: ["id", "name", "amount"])
    run: int = 0
    generation: int = 0
    story: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        number = next(_numbers)
        self.world.table, self.world.target = f"public.h{number}", f"raw.h{number}"
        self.world.run_at_source(
            f"CREATE SEQUENCE s{number} START 7; CREATE TABLE h{number} (id bigint PRIMARY KEY DEFAULT "
            f"nextval('s{number}'), name text, amount numeric(12,2), seq bigint UNIQUE DEFAULT nextval('s{number}'), "
            "updated_at timestamptz DEFAULT clock_timestamp())"
        )
        self.sequence = f"s{number}"

    @property
    def parameters(self) -> dict[str, Any]:
        return MODES[self.mode]

    def play(self, what: str, argument: Any) -> None:
        """Let one event happen, if the mode promises to carry it."""
        self.story.append(f"{what} {argument}")
        getattr(self, what.replace(" ", "_"))(argument)

    def insert(self, count: int) -> None:
        table = self.world.table
        self.world.run_at_source(f"INSERT INTO {table} (name) SELECT 'n' || g FROM generate_series(1, {count}) g")

    def update(self, seed: int) -> None:
        if not self.mode.startswith("append"):
            moved = f"updated_at = clock_timestamp(), seq = nextval('{self.sequence}')"
            self._change(f"UPDATE {{}} SET name = 'u{seed}', amount = {seed} / 7.0, {moved} WHERE id IN {{}}", seed)

    def touch(self, seed: int) -> None:
        if not self.mode.startswith("append"):
            moved = f"updated_at = clock_timestamp(), seq = nextval('{self.sequence}')"
            self._change(f"UPDATE {{}} SET {moved} WHERE id IN {{}}", seed)

    def delete(self, seed: int) -> None:
        if self.parameters["capture"] == "full":
            self._change("DELETE FROM {} WHERE id IN {}", seed)

    def _change(self, sql: str, seed: int) -> None:
        ids = [row[0] for row in self.world.run_at_source(f"SELECT id FROM {self.world.table} ORDER BY id")]
        chosen = random.Random(seed).sample(ids, min(2, len(ids)))
        if chosen:
            self.world.run_at_source(sql.format(self.world.table, f"({', '.join(map(str, chosen))})"))

    def add_column(self, type_: str) -> None:
        if self.mode.startswith("append") and "DEFAULT" not in type_:
            return  # rows appended before keep NULL there, which is what they have
        name = f"extra{len(self.columns)}"
        self.world.run_at_source(f"ALTER TABLE {self.world.table} ADD COLUMN {name} {type_}")
        self.columns.append(name)

    def sync(self, _: Any = None, **more: Any) -> None:
        self.run, self.generation = self.run + 1, 0
        self._sync(**more)

    def _sync(self, **more: Any) -> None:
        self.world.sync(
            run_id=f"run {self.run}", generation=self.generation, allow_empty=True, **{**self.parameters, **more}
        )

    def cut(self, moment: int) -> None:
        """The power goes during a sync; Airflow retries it."""
        self.run, self.generation = self.run + 1, 0
        with self.world.blowing_at(moment):
            try:
                self._sync()
            except PowerCutError:
                pass
            else:
                return
        self._sync()

    def clear(self, _: Any) -> None:
        """A user clears the last run."""
        if self.run:
            self.generation += 1
            self._sync()

    def refresh(self, _: Any) -> None:
        self.sync(full_refresh=True)

    def check(self) -> None:
        """Compare, after one more sync that nothing disturbs."""
        self.sync()
        names = ", ".join(self.columns)
        alive = "_elt_deleted_at IS NULL" if self.mode.startswith("soft") else "true"
        assert self.world.target_rows(names, alive) == self.world.source_rows(names), "\n".join(self.story)


def play(world: World, mode: str, story: list[tuple[str, Any]]) -> None:
    """Play a story and check its end."""
    history = History(world, mode)
    for what, argument in story:
        history.play(what, argument)
    history.check()


PROFILE = settings(
    deadline=None, database=None, print_blob=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip


@pytest.mark.parametrize("mode", list(MODES))
def test_source_and_target_agree_at_the_end(world: World, mode: str) -> None:
    """The same few histories in every run."""

    @settings(PROFILE, max_examples=max(2, int(8 * world.histories)), derandomize=True)
    @given(events)
    def histories(story: list[tuple[str, Any]]) -> None:
        play(world, mode, story)

    histories()


@pytest.mark.heavy
@pytest.mark.parametrize("mode", list(MODES))
def test_source_and_target_agree_whatever_happens(world: World, mode: str) -> None:
    """Other histories than those above; with ELT_EXPLORE=1, others in every run."""

    @settings(PROFILE, max_examples=max(2, int(10 * world.histories)), derandomize=not os.environ.get("ELT_EXPLORE"))
    @given(events)
    def histories(story: list[tuple[str, Any]]) -> None:
        play(world, mode, story)

    histories()
