"""kill -9 at every statement of the source and the destination and every operation of the stage, under each capture.

Each time the same run is retried, as Airflow would, other changes follow, and in the end nothing is lost and nothing
repeated; a slot never stands beyond what is merged.
"""

from __future__ import annotations

import itertools
import re
import threading
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from airflow_elt_provider.connectors.postgres.wal_messages import lsn_number
from tests.contract.doomed_sync import STEPS, take_step
from tests.contract.faults import PowerCutError
from tests.contract.world import CREATE, World

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.contract.doomed_sync import DoomedProcesses, End

HARD: dict[str, Any] = {"mode": "merge", "deletes": "hard", "max_delete_ratio": 1.0}
CAPTURES: dict[str, dict[str, Any]] = {
    "fingerprint": {**HARD, "capture": {"fingerprint": {"bucket_rows": 2}}},
    "wal": {**HARD, "capture": "wal"},
    "wal-history": {**HARD, "capture": "wal", "mode": "history"},
}
CASES = [(name, capture) for name in ("duckdb", "postgres") for capture in CAPTURES]
SHARE = 12
"""`make test` kills at one of so many moments, at others in each case; `make test-heavy` at all of them, on DuckDB."""
MIDST = 0.003
"""Every other death comes so many seconds late: the statement has been sent and, as a rule, is not over."""
ALL = [pytest.mark.heavy, pytest.mark.timeout(1200)]


def scopes(cases: list[tuple[str, str]]) -> pytest.MarkDecorator:
    """Kill at some moments everywhere; at all of them on DuckDB, where a load takes a second."""
    some = [(*each, "some") for each in cases]
    every = [pytest.param(*each, "all", marks=ALL) for each in cases if each[0] == "duckdb"]
    return pytest.mark.parametrize(("world", "case", "scope"), [*some, *every], indirect=["world"])


SLOTS = """
SELECT confirmed_flush_lsn::text FROM pg_replication_slots
WHERE database = current_database() AND NOT temporary AND confirmed_flush_lsn IS NOT NULL
"""
DROP_SLOTS = """
SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = current_database() AND NOT active
"""


@dataclass
class Tale:
    """One table whose syncs are killed, retried and followed by changes.

    :ivar rounds: of changes so far.
    :ivar waiting: where the slot stood before there was a checkpoint.
    """

    world: World
    parameters: dict[str, Any]
    rounds: int = 0
    waiting: int = 0
    reached: set[str] = field(default_factory=set)

    def begin(self, number: int) -> None:
        """Begin with a fresh table, and nothing in the destination."""
        self.rounds = self.waiting = 0
        self.world.run_at_source(DROP_SLOTS)
        self.world.table, self.world.target = f"public.item_{number}", f"raw.item_{number}"
        self.world.destination.wipe(self.world.target)
        self.world.run_at_source(CREATE.replace("item", f"item_{number}"))

    def change(self) -> None:
        """Update two rows, insert one, delete one, move one to another key; each in a transaction of its own."""
        table, number = self.world.table, self.rounds
        gone, moved = (29 + number, 199 + number) if number else (4, 1)
        for sql in (
            f"UPDATE {table} SET name = 'round {number}' WHERE id IN (2, 3)",
            f"DELETE FROM {table} WHERE id = {gone}",
            f"INSERT INTO {table} (id, name) VALUES ({30 + number}, 'round {number}')",
            f"UPDATE {table} SET id = {200 + number} WHERE id = {moved}",
        ):
            self.world.run_at_source(sql)
        self.rounds += 1

    def settle_in(self) -> None:
        """Begin, load twice, and change something: the next load does all that a later load does."""
        self.begin(0)
        for run_id in ("first", "second"):
            self.job(run_id).execute()
            self.change()

    def job(self, run_id: str) -> Any:
        """Return a sync."""
        return self.world.job(run_id=run_id, **self.parameters)

    def moments(self, step: str, given: Any = None, run_id: str = "rehearsal") -> tuple[int, Any]:
        """Do a step, and return how many moments it has, and what it hands on."""
        self.world.fuse.moments.clear()
        given = take_step(self.job(run_id), step, given)
        return len(self.world.fuse.moments), given

    def slots_are_behind(self) -> None:
        """Compare every slot with the checkpoint in the destination."""
        destination = self.job("look").destination
        checkpoint = destination.checkpoint(f"{self.world.table}->{self.world.target}")
        slots = [lsn_number(lsn) for (lsn,) in self.world.run_at_source(SLOTS)]
        assert len(slots) <= 1
        if checkpoint is None:
            self.waiting = max([self.waiting, *slots])
        elif checkpoint.position.log:
            merged = lsn_number(checkpoint.position.log.lsn)
            assert slots
            assert max(slots) <= merged
            assert self.waiting <= merged

    def nothing_is_missing(self) -> None:
        """Compare source and target; in history, count the versions too: four for each round."""
        where = "_elt_is_current" if self.parameters["mode"] == "history" else "true"
        assert self.world.target_rows(where=where) == self.world.source_rows()
        if self.parameters["mode"] == "history":
            assert len(self.world.target_rows("id")) == 9 + 4 * self.rounds
        self.slots_are_behind()

    def note(self, end: End) -> None:
        """Remember where a process died, whatever numbers are in the name."""
        if end.killed:
            self.reached.add(re.sub(r"[0-9a-f]*\d[0-9a-f]*", "#", end.moment))


@pytest.fixture
def tale(world: World, case: str) -> Iterator[Tale]:
    world.observe_source = True
    yield Tale(world, CAPTURES[case])
    world.run_at_source(DROP_SLOTS)


def kills(last: int, scope: str, tale: Tale, case: str, shift: int) -> list[tuple[int, float]]:
    """Return at which moments to kill, and with which delays; others for each case."""
    place = CASES.index((tale.world.destination.kind, case))
    moments = range(1, last + 1) if scope == "all" else range(1 + (5 * place + shift) % SHARE, last + 1, SHARE)
    return [(moment, MIDST * ((number + place) % 2)) for number, moment in enumerate(moments)]


@scopes(CASES)
def test_a_first_load_that_is_killed(tale: Tale, doomed: DoomedProcesses, case: str, scope: str) -> None:
    """Kill, retry, change, sync, compare; each time from nothing."""
    tale.begin(0)
    last, _ = tale.moments("sync")
    assert last >= 30
    planned = kills(last, scope, tale, case, 0)
    for number, (moment, delay) in enumerate(planned, 1):
        tale.begin(number)
        tale.note(doomed.run(tale.world, moment, tale.parameters, delay=delay))
        tale.slots_are_behind()
        tale.job("killed").execute()
        tale.nothing_is_missing()
        tale.change()
        tale.job("next").execute()
        tale.nothing_is_missing()
    assert len(tale.reached) >= (30 if scope == "all" else len(planned) // 2)


@scopes(CASES)
def test_a_later_load_that_is_killed(tale: Tale, doomed: DoomedProcesses, case: str, scope: str) -> None:
    """Change, kill, retry, compare, again and again on one table: what one round lost the next would miss."""
    tale.settle_in()
    last, rehearsed = tale.moments("sync")
    assert last >= 30
    assert any("slot_advance" in name for name in tale.world.fuse.moments) == case.startswith("wal")
    counts = ("inserted", "updated", "deleted")
    planned = kills(last, scope, tale, case, 3)
    for number, (moment, delay) in enumerate(planned):
        tale.change()
        parameters = {**tale.parameters, "run_id": f"run {number}"}
        tale.note(doomed.run(tale.world, moment, parameters, delay=delay))
        tale.slots_are_behind()
        retried = tale.job(f"run {number}").execute().to_json()
        assert {name: retried[name] for name in counts} == {name: rehearsed[name] for name in counts}, moment
        tale.nothing_is_missing()
    assert len(tale.reached) >= (30 if scope == "all" else len(planned) // 2)


@scopes([each for each in CASES if "history" not in each[1]])
def test_single_steps_that_are_killed(tale: Tale, doomed: DoomedProcesses, case: str, scope: str) -> None:
    """Extract, stage and merge by processes of their own; each is killed once, and tried again alone."""
    tale.settle_in()
    last, given = {}, None
    for step in STEPS:
        last[step], given = tale.moments(step, given)
    planned = kills(max(last.values()), scope, tale, case, 6)
    for number, (moment, delay) in enumerate(planned):
        tale.change()
        parameters, given = {**tale.parameters, "run_id": f"run {number}"}, None
        for step in STEPS:
            if moment <= last[step]:
                tale.note(doomed.run(tale.world, moment, parameters, step=step, given=given, delay=delay))
                tale.slots_are_behind()
            given = take_step(tale.job(f"run {number}"), step, given)
        tale.nothing_is_missing()
    assert len(tale.reached) >= (30 if scope == "all" else len(planned) // 2)


@pytest.mark.parametrize(("world", "case"), CASES[:2], indirect=["world"])
def test_a_cut_at_the_source_is_not_taken_for_something_else(tale: Tale, case: str) -> None:
    """What dies within a statement of the source, in whatever thread, ends the sync, and leaves nothing behind."""
    tale.settle_in()
    last, _ = tale.moments("extract")
    for moment in itertools.count(1):
        tale.change()
        try:
            with tale.world.blowing_at(moment):
                take_step(tale.job(f"cut {moment}"), "extract", None)
        except PowerCutError:
            continue
        break
    assert moment >= last, tale.world.fuse.moments[moment - 1]  # the slot need not be advanced twice
    tale.job("whole").execute()
    tale.world.fuse.blow_at = None
    assert tale.world.target_rows() == tale.world.source_rows()
    tale.slots_are_behind()


@pytest.mark.parametrize(("world", "case"), [("duckdb", "wal")], indirect=["world"])
def test_a_slot_whose_maker_dies_while_the_server_waits(tale: Tale, doomed: DoomedProcesses, case: str) -> None:
    """The server goes on making a slot for the dead until who writes has ended; the retry waits for it."""
    tale.begin(0)
    tale.moments("sync")
    making = next(at for at, name in enumerate(tale.world.fuse.moments, 1) if name.startswith("CREATE_REPLICATION"))
    tale.begin(1)
    with closing(tale.world.server.connect(tale.world.dbname)) as writer, writer.cursor() as cursor:
        cursor.execute(f"INSERT INTO {tale.world.table} (id, name) VALUES (77, 'late')")
        assert doomed.run(tale.world, making, tale.parameters, delay=0.5).killed
        assert tale.world.run_at_source("SELECT active FROM pg_replication_slots WHERE NOT temporary") == [(True,)]
        ending = threading.Timer(1.0, writer.commit)
        ending.start()
        tale.job("killed").execute()
        ending.join()
    tale.job("next").execute()
    assert ("77", "late", None) in tale.world.target_rows()
    tale.nothing_is_missing()
