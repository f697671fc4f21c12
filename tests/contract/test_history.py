"""``mode="history"`` on every destination: each row's versions, whatever comes in which order."""

from __future__ import annotations

import itertools
import os
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_elt_provider.errors import ConfigurationError, DataError, DeleteRatioError
from tests.connectors.staged_loads import Loads, bring_in
from tests.contract.faults import PowerCutError
from tests.contract.test_any_history import PROFILE
from tests.contract.versions_model import Model, moment, timed, versions
from tests.contract.world import CHANGE, CREATE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from airflow_elt_provider.core.protocols import Destination
    from airflow_elt_provider.core.receipt import Receipt
    from tests.contract.versions_model import Event
    from tests.contract.world import World

SMALL = ("id bigint", "name text")


@pytest.fixture
def destination(world: World) -> Iterator[Destination]:
    return world.destination.open(world.fuse.tick)


@pytest.fixture
def loads(world: World) -> Loads:
    return Loads(world.folder, world.target, columns=SMALL, store=world.stage(), mode="history")


def full(loads: Loads, destination: Destination, at: float, *rows: tuple[Any, ...], **changes: Any) -> Receipt:
    """Load a whole table as it was at a moment."""
    return loads.merge(
        destination, *rows, **{"complete": True, "as_of": moment(at).isoformat(), "deletes": "hard", **changes}
    )


def events(loads: Loads, destination: Destination, *happened: Event, **changes: Any) -> Receipt:
    """Load what happened, as a log tells it."""
    load = timed(loads, happened, **{"deletes": "hard", "version": None, "as_of": moment(1000).isoformat(), **changes})
    return bring_in(destination, load, loads.stage)


def counted(done: Receipt) -> tuple[int, int, int]:
    return done.inserted, done.updated, done.deleted


def told(*rows: Sequence[Any]) -> list[tuple[str | None, ...]]:
    """Return versions as `versions` shows them: key, name, from, to."""
    return sorted(
        (tuple(None if value is None else str(value) for value in (*row, row[-1] is None)) for row in rows), key=str
    )


def test_history_of_a_table_read_whole(world, destination, loads):
    """Values that change make versions; rows that go leave a gap when they come back."""
    assert counted(full(loads, destination, 10, (1, "a"), (2, "b"), (3, "c"))) == (3, 0, 0)
    assert counted(full(loads, destination, 20, (1, "a"), (2, "B"), (4, "d"))) == (2, 0, 1)
    assert counted(full(loads, destination, 30, (1, "a"), (2, "B"), (4, "d"))) == (0, 0, 0)
    assert counted(full(loads, destination, 40, (1, "a"), (2, "b"), (3, "c"), (4, "d"))) == (2, 0, 0)
    expected = told(
        (1, "a", 10, None), (2, "b", 10, 20), (2, "B", 20, 40), (2, "b", 40, None), (3, "c", 10, 20),
        (3, "c", 40, None), (4, "d", 20, None),
    )  # fmt: skip
    assert versions(world) == expected
    assert counted(full(loads, destination, 40, (1, "a"), (2, "b"), (3, "c"), (4, "d"))) == (0, 0, 0)
    assert versions(world) == expected


@pytest.mark.parametrize("deletes", ["soft", "ignore"])
def test_history_of_deletes(world, destination, loads, deletes):
    """Soft deletes end a version as hard ones do; ignored ones leave it as it is."""
    full(loads, destination, 10, (1, "a"), (2, "b"), deletes=deletes)
    assert counted(full(loads, destination, 20, (1, "a"), deletes=deletes)) == (0, 0, deletes == "soft")
    ends = 20 if deletes == "soft" else None
    assert versions(world) == told((1, "a", 10, None), (2, "b", 10, ends))
    assert "_elt_deleted_at" not in world.destination.columns(world.target)
    assert world.target_rows("id", "_elt_is_current") == [("1",)] + [("2",)] * (deletes == "ignore")


def test_history_of_a_log(world, destination, loads):
    """Several changes of a key in one load, deletes and re-inserts among them, follow one another."""
    log = (
        (1, "", (1, "a")), (2, "", (1, "a")), (3, "", (1, "b")), (5, "d", (1,)), (7, "", (1, "b")),
        (4, "", (2, "x")), (6, "d", (2,)), (2, "d", (3,)),
    )  # fmt: skip
    assert counted(events(loads, destination, *log)) == (4, 0, 2)
    expected = told((1, "a", 1, 3), (1, "b", 3, 5), (1, "b", 7, None), (2, "x", 4, 6))
    assert versions(world) == expected
    assert counted(events(loads, destination, *log)) == (0, 0, 0)
    assert versions(world) == expected
    assert counted(events(loads, destination, (8, "d", (1,)), (9, "", (2, "y")), (10, "", (2, "z")))) == (2, 0, 1)
    ended = told((1, "a", 1, 3), (1, "b", 3, 5), (1, "b", 7, 8), (2, "x", 4, 6), (2, "y", 9, 10), (2, "z", 10, None))
    assert versions(world) == ended
    assert counted(events(loads, destination, *log)) == (0, 0, 0)
    assert versions(world) == ended


def test_history_out_of_order(world, destination, loads):
    """What comes late finds its place: before, between and after what is there, and in a gap."""
    events(loads, destination, (10, "", (1, "c")), (20, "", (1, "e")), (30, "d", (1,)))
    assert counted(events(loads, destination, (15, "", (1, "d")), (5, "", (1, "b")))) == (2, 0, 0)
    expected = [(1, "b", 5, 10), (1, "c", 10, 15), (1, "d", 15, 20), (1, "e", 20, 30)]
    assert versions(world) == told(*expected)
    assert counted(events(loads, destination, (40, "", (1, "f")))) == (1, 0, 0)
    assert counted(events(loads, destination, (35, "", (1, "x")), (36, "d", (1,)))) == (1, 0, 1)
    expected += [(1, "x", 35, 36), (1, "f", 40, None)]
    assert versions(world) == told(*expected)
    assert counted(events(loads, destination, (20, "", (1, "E")))) == (0, 1, 0)
    expected[3] = (1, "E", 20, 30)
    assert versions(world) == told(*expected)


def test_history_of_a_version_taken_back(world, destination, loads):
    """A delete at the moment a version begins leaves it with no time in which it held, and can be undone."""
    events(loads, destination, (1, "", (1, "a")), (5, "", (1, "b")))
    assert counted(events(loads, destination, (5, "d", (1,)))) == (0, 0, 1)
    taken = told((1, "a", 1, 5), (1, "b", 5, 5))
    assert versions(world) == taken
    assert counted(events(loads, destination, (5, "d", (1,)))) == (0, 0, 0)
    assert versions(world) == taken
    events(loads, destination, (5, "", (1, "c")))
    assert versions(world) == told((1, "a", 1, 5), (1, "c", 5, None))


def test_history_where_a_clock_went_back(world, destination, loads):
    """What was read last is what holds now."""
    full(loads, destination, 10, (1, "a"), (2, "b"), (3, "c"))
    full(loads, destination, 20, (1, "A"), (2, "b"))
    assert counted(full(loads, destination, 15, (2, "B"), (3, "c"))) == (2, 0, 1)
    assert versions(world) == told(
        (1, "a", 10, 20), (1, "A", 20, 20), (2, "b", 10, 15), (2, "B", 15, None), (3, "c", 10, 20), (3, "c", 20, None)
    )
    assert counted(full(loads, destination, 15, (2, "B"), (3, "C"))) == (0, 1, 0)
    assert world.target_rows("id, name", "_elt_is_current") == [("2", "B"), ("3", "C")]


def test_history_of_unchanged_columns(world, destination, loads):
    """Columns that a row does not bring are those of the version before it, in the load or in the target."""
    loads.columns = ("id bigint", "name text", "big text")
    events(loads, destination, (1, "", (1, "a", "X")), (1, "", (2, "a", "Y")), unchanged=(("big",), ("big", "name")))
    changes = (
        (2, "p0", (1, "b", None)), (3, "", (1, "c", "Z")), (4, "p0", (1, "d", None)), (5, "p1", (1, None, None)),
        (1.5, "p0", (1, "late", None)),
    )  # fmt: skip
    assert counted(events(loads, destination, *changes, unchanged=(("big",), ("big", "name")))) == (4, 0, 0)
    assert versions(world, "id, name, big") == told(
        (1, "a", "X", 1, "1.500000"), (1, "late", "X", "1.500000", 2), (1, "b", "X", 2, 3), (1, "c", "Z", 3, 4),
        (1, "d", "Z", 4, None), (2, "a", "Y", 1, None),
    )  # fmt: skip
    assert counted(events(loads, destination, *changes, unchanged=(("big",), ("big", "name")))) == (0, 0, 0)
    with pytest.raises(DataError, match="1 rows were updated whose large values"):
        events(loads, destination, (9, "p0", (3, "x", None)), unchanged=(("big",),))


def test_history_of_named_and_absent_keys(world, destination, loads):
    """Keys that are gone without a time of their own are gone since the source was read."""
    full(loads, destination, 10, (1, "a"), (2, "b"), (3, "c"))
    change = {"ops": [("d", (2,)), ("d", (9,))], "as_of": moment(20).isoformat(), "deletes": "soft"}
    assert counted(loads.merge(destination, (1, "A"), **change)) == (1, 0, 1)
    assert counted(loads.merge(destination, **{**change, "as_of": moment(30).isoformat()})) == (0, 0, 0)
    assert versions(world) == told((1, "a", 10, 20), (1, "A", 20, None), (2, "b", 10, 20), (3, "c", 10, None))


def test_history_keeps_the_guards(world, destination, loads):
    """They count current versions."""
    full(loads, destination, 10, *((key, "a") for key in range(8)))
    full(loads, destination, 20, *((key, "b") for key in range(8)))
    before = versions(world)
    strict = {"min_deletes_for_ratio": 1, "max_delete_ratio": 0.5}
    with pytest.raises(DeleteRatioError, match="5 of 8 rows"):
        full(loads, destination, 30, (1, "b"), (2, "b"), (3, "b"), **strict)
    with pytest.raises(DeleteRatioError, match="5 of 8 rows"):
        events(loads, destination, *((30, "d", (key,)) for key in range(5)), **strict)
    with pytest.raises(DataError, match="the source has no rows"):
        full(loads, destination, 30)
    assert versions(world) == before
    gone_and_back = [(at, op, (key, "b")[: 1 if op else 2]) for key in range(8) for at, op in ((30, "d"), (31, ""))]
    assert counted(events(loads, destination, *gone_and_back, **strict)) == (8, 0, 8)
    assert counted(full(loads, destination, 40, allow_empty=True, max_delete_ratio=1)) == (0, 0, 8)
    assert counted(full(loads, destination, 50)) == (0, 0, 0)


def test_history_looks_at_keys_that_nobody_guards(world, destination, loads):
    """One row of a key at one time."""
    with pytest.raises(DataError, match="1 keys appear more than once"):
        full(loads, destination, 10, (1, "a"), (1, "b"), key_enforced=False)
    with pytest.raises(DataError, match="1 keys appear more than once"):
        events(loads, destination, (1, "", (1, "a")), (1, "d", (1,)))
    with pytest.raises(DataError, match="1 violations"):
        full(loads, destination, 10, (1, None), checks=["not_null(name)"])


def test_history_and_other_modes_do_not_mix(world, destination, loads):
    """A target with history takes no other mode, and one without gets none."""
    full(loads, destination, 10, (1, "a"))
    with pytest.raises(ConfigurationError, match="has a history"):
        loads.merge(destination, (1, "b"), mode="merge")
    other = Loads(world.folder, "raw.other", columns=SMALL, store=world.stage(), stream="other")
    other.merge(destination, (1, "a"))
    with pytest.raises(ConfigurationError, match="has no history"):
        other.merge(destination, (1, "b"), mode="history", as_of=moment(1).isoformat())


CURSOR: dict[str, Any] = {"capture": {"cursor": {"column": "updated_at", "lag": 0}}, "mode": "history"}
ITEMS = """
CREATE TABLE item (id bigint PRIMARY KEY, name text, updated_at timestamptz NOT NULL);
INSERT INTO item VALUES (1, 'a', '2024-01-01 00:00:01Z'), (2, 'b', '2024-01-01 00:00:02Z')"""


def test_history_by_a_cursor(world):
    """The cursor says from when a row holds: backfills and refreshes find their place, and a new column is one."""
    world.run_at_source(ITEMS)
    assert world.sync(**CURSOR).inserted == 2
    world.run_at_source("UPDATE item SET name = 'A', updated_at = '2024-01-01 00:00:10Z' WHERE id = 1")
    assert world.sync(**CURSOR).inserted == 1
    assert world.sync(**CURSOR).inserted == 0
    expected = [(1, "a", 1, 10), (1, "A", 10, None), (2, "b", 2, None)]
    assert versions(world) == told(*expected)
    world.run_at_source("UPDATE item SET name = 'late', updated_at = '2024-01-01 00:00:05Z' WHERE id = 1")
    late = world.sync(**CURSOR, interval=("2024-01-01 00:00:00Z", "2024-01-01 00:00:06Z"))
    assert (late.inserted, late.updated) == (1, 0)
    expected = [(1, "a", 1, 5), (1, "late", 5, 10), (1, "A", 10, None), (2, "b", 2, None)]
    assert versions(world) == told(*expected)
    refreshed = world.sync(**CURSOR, full_refresh=True)
    assert (refreshed.inserted, refreshed.updated, refreshed.deleted) == (0, 0, 0)
    assert versions(world) == told(*expected)
    world.run_at_source("ALTER TABLE item ADD COLUMN extra int DEFAULT 7")
    world.run_at_source("UPDATE item SET name = 'B', updated_at = '2024-01-01 00:00:20Z' WHERE id = 2")
    assert world.sync(**CURSOR).inserted == 1
    assert versions(world, "id, extra") == told(
        (1, None, 1, 5), (1, None, 5, 10), (1, 7, 10, None), (2, 7, 2, 20), (2, 7, 20, None)
    )


def test_history_by_a_date(world):
    """A date tells days apart."""
    world.run_at_source(
        "CREATE TABLE item (id bigint PRIMARY KEY, name text, updated_at date NOT NULL); "
        "INSERT INTO item VALUES (1, 'a', '2024-01-01')"
    )
    world.sync(**CURSOR)
    world.run_at_source("UPDATE item SET name = 'b', updated_at = '2024-01-02'")
    world.sync(**CURSOR)
    assert versions(world) == told((1, "a", 0, 86400), (1, "b", 86400, None))


def test_no_cut_breaks_a_history(world):
    """The power goes at each moment; after a retry the target holds the source's rows, each change once."""
    parameters = {"capture": "full", "mode": "history", "deletes": "hard"}
    world.run_at_source(CREATE)
    world.sync(**parameters)
    world.run_at_source(CHANGE + "; DELETE FROM item WHERE id IN (5, 6)")
    number = rounds = 1
    while True:
        world.run_at_source(f"UPDATE item SET name = 'cut {number}' WHERE id IN (1, 2)")
        with world.blowing_at(number):
            try:
                world.sync(run_id=f"run {number}", **parameters)
            except PowerCutError:
                pass
            else:
                break
        where = f"cut at moment {number}: {world.fuse.moments[-1]}"
        retried = world.sync(run_id=f"run {number}", **parameters)
        assert (retried.inserted, retried.updated) == ((7, 0) if number == 1 else (2, 0)), where
        assert world.target_rows(where="_elt_is_current") == world.source_rows(), where
        one = versions(world, "id")
        ends = {(row[0], row[1]): row[2] for row in one}
        assert len(ends) == len(one), where
        assert sum(row[0] == "1" for row in one) == rounds + 1, where
        assert all(end is None or (key, end) in ends or key in {"5", "6"} for (key, _), end in ends.items()), where
        number, rounds = number + max(2, world.stride), rounds + 1
    assert number > 8


# --- whatever happens ---

KEYS, NAMES = st.integers(1, 3), st.sampled_from(["a", "b", "NULL", None])
happenings = st.lists(
    st.lists(st.tuples(st.integers(1, 12), KEYS, NAMES), max_size=7, unique_by=lambda event: event[:2]),
    min_size=1, max_size=3,
)  # fmt: skip


def test_history_of_anything_in_any_order(world, destination):
    """Random events, deletes (None) among them, in loads that come in any order and twice, against a model."""
    numbers = itertools.count()

    @settings(PROFILE, max_examples=max(2, int(12 * world.histories)), derandomize=not os.environ.get("ELT_EXPLORE"))
    @given(happenings)
    def histories(story: list[list[tuple[int, int, str | None]]]) -> None:
        name = f"history{next(numbers)}"
        world.target = f"raw.{name}"
        loads = Loads(world.folder, world.target, SMALL, store=world.stage(), mode="history", stream=name)
        model, target = Model(), full(loads, destination, 0)
        for batch in story:
            happened: list[Event] = [
                (at, "d", (key,)) if value is None else (at, "", (key, None if value == "NULL" else value))
                for at, key, value in batch
            ]
            before = versions(world)
            receipt = events(loads, destination, *happened, stream=name, max_delete_ratio=1)
            model.load(batch)
            after = versions(world)
            shown = [(row[0], row[1] or "NULL", *row[2:]) for row in after]
            assert model.shape(shown) == model.versions()
            assert receipt.inserted == len(after) - len(before)
            assert counted(events(loads, destination, *happened, stream=name, max_delete_ratio=1)) == (0, 0, 0)
            assert versions(world) == after
        assert target.version == 1

    histories()
