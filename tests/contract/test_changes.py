"""Loads of changes on every destination: keys that are gone, keysets of changed buckets, rows that lack columns.

The loads are made by hand, so that no capture is needed; what a bucket is called is asked of a PostgreSQL source.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest

from airflow_elt_provider.core.buckets import BucketKind, Buckets
from airflow_elt_provider.engine.merge import SyncResult, merge_load, stage_load
from airflow_elt_provider.errors import DataError, DeleteRatioError
from tests.connectors.staged_loads import Loads, column, odd
from tests.contract.faults import PowerCutError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from airflow_elt_provider.core.load import Load
    from airflow_elt_provider.core.protocols import Destination
    from airflow_elt_provider.core.receipt import Receipt
    from tests.contract.world import World

SMALL: Final = ("id bigint", "name text")
SIZE: Final = 64
INT64: Final = (-(2**63), -(2**63) + 1, -65, -64, -63, -1, 0, 1, 63, 64, 2**63 - 65, 2**63 - 2, 2**63 - 1)
ALL: Final = Buckets(BucketKind.ALL, ("id",))
BY_RANGE: Final = Buckets(BucketKind.RANGE, ("id",), SIZE)


def counted(done: Receipt | SyncResult) -> tuple[int, int, int]:
    return done.inserted, done.updated, done.deleted


@pytest.fixture
def destination(world: World) -> Iterator[Destination]:
    return world.destination.open(world.fuse.tick)


@pytest.fixture
def loads(world: World) -> Loads:
    return Loads(world.folder, world.target, columns=SMALL, store=world.stage())


@pytest.fixture(params=["soft", "hard"])
def deletes(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def live(world: World, deletes: str, columns: str = "id, name") -> list[tuple[str | None, ...]]:
    return world.target_rows(columns, "_elt_deleted_at IS NULL" if deletes == "soft" else "1 = 1")


def named(*keys: int, but: dict[int, str] | None = None) -> list[tuple[int, str]]:
    return [(key, (but or {}).get(key, f"name {key}")) for key in keys]


def texts(rows: Iterable[tuple[Any, ...]]) -> list[tuple[str | None, ...]]:
    return sorted((tuple(None if value is None else str(value) for value in row) for row in rows), key=str)


# --- keys that are gone ---


def test_named_keys_go_and_come_back(world, destination, loads, deletes):
    loads.merge(destination, *named(1, 2, 3, 4, 5), deletes=deletes, complete=True)
    change = {"deletes": deletes, "ops": [("d", (4,)), ("d", (5,)), ("d", (99,))]}
    receipt = loads.merge(destination, (2, "B"), (6, "new"), **change)
    assert counted(receipt) == (1, 1, 2)
    assert receipt.extracted == 5
    assert live(world, deletes) == texts([*named(1, 3, 6, but={6: "new"}), (2, "B")])
    assert counted(loads.merge(destination, **change)) == (0, 0, 0)
    back = loads.merge(destination, (4, "again"), deletes=deletes, ops=[("d", (1,))])
    assert counted(back) == ((0, 1, 1) if deletes == "soft" else (1, 0, 1))
    assert live(world, deletes) == texts([*named(3, 6, but={6: "new"}), (2, "B"), (4, "again")])


def test_nothing_but_deletes(world, destination, loads, deletes):
    loads.merge(destination, *named(1, 2, 3), deletes=deletes, complete=True)
    assert counted(loads.merge(destination, deletes=deletes, ops=[("d", (2,))])) == (0, 0, 1)
    assert live(world, deletes) == texts(named(1, 3))


def test_deletes_of_a_composite_key_of_texts(world, destination, loads, deletes):
    loads.columns, loads.key = ("a text", "b bigint", "v text"), ("b", "a")
    loads.merge(destination, ("日本", 1, "x"), ("日本", 2, "x"), ("it's", 1, "x"), deletes=deletes, complete=True)
    receipt = loads.merge(destination, ("it's", 1, "y"), deletes=deletes, ops=[("d", (2, "日本")), ("d", (1, "x"))])
    assert counted(receipt) == (0, 1, 1)
    assert live(world, deletes, "a, b, v") == texts([("日本", 1, "x"), ("it's", 1, "y")])


def test_ignored_deletes_change_nothing(world, destination, loads):
    loads.merge(destination, *named(1, 2, 3))
    ops = [("d", (1,)), ("b", (0,)), ("k", (2,))]
    assert counted(loads.merge(destination, (3, "C"), ops=ops, buckets=BY_RANGE)) == (0, 1, 0)
    assert counted(loads.merge(destination, ops=[("d", (1,))])) == (0, 0, 0)
    assert live(world, "ignore") == texts([*named(1, 2), (3, "C")])


def test_a_mark_is_set_once(world, destination, loads):
    loads.merge(destination, *named(1, 2, 3), deletes="soft", complete=True)
    loads.merge(destination, deletes="soft", ops=[("d", (2,))])
    marked = world.target_rows("id, _elt_deleted_at", "id = 2")
    ops = [("d", (2,)), ("d", (3,))]
    assert counted(loads.merge(destination, (1, "A"), deletes="soft", ops=ops)) == (0, 1, 1)
    assert world.target_rows("id, _elt_deleted_at", "id = 2") == marked
    assert marked[0][1] is not None


def test_changes_of_an_empty_target(world, destination, loads, deletes):
    loads.merge(destination, deletes=deletes, complete=True)
    receipt = loads.merge(destination, (1, "a"), deletes=deletes, ops=[("d", (2,))])
    assert counted(receipt) == (1, 0, 0)
    assert counted(loads.merge(destination, deletes=deletes, ops=[("d", (3,))])) == (0, 0, 0)
    assert live(world, deletes) == texts([(1, "a")])


# --- keysets ---


@pytest.mark.parametrize(("kind", "bits"), [("bigint", 64), ("integer", 32), ("smallint", 16)])
def test_buckets_of_numbers(world, destination, loads, deletes, kind, bits):
    """Below 0, at both ends of the type, and at both ends of a bucket."""
    lowest, highest = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    keys = sorted({key for key in INT64 if lowest <= key <= highest} | {lowest, lowest + 1, highest - 1, highest})
    gone = {lowest + 1, -64, -1, 1, highest}
    loads.columns = (f"id {kind}", "name text")
    loads.merge(destination, *named(*keys), deletes=deletes, complete=True)
    changed = [("b", (bucket,)) for bucket in sorted({key // SIZE * SIZE for key in keys})]
    there = [("k", (key,)) for key in keys if key not in gone | {0}]
    receipt = loads.merge(
        destination, (0, "zero"), deletes=deletes, ops=[*changed, *there], buckets=BY_RANGE, max_delete_ratio=1
    )
    assert counted(receipt) == (0, 1, len(gone))
    assert receipt.extracted == 1
    left = [key for key in keys if key not in gone]
    assert live(world, deletes) == texts(named(*left, but={0: "zero"}))
    one = loads.merge(destination, deletes=deletes, ops=[("b", (lowest,)), ("b", (-64,))], buckets=BY_RANGE)
    taken = [key for key in left if lowest <= key < lowest + SIZE or -SIZE <= key < 0]
    assert counted(one) == (0, 0, len(taken))
    assert live(world, deletes, "id") == texts((key,) for key in left if key not in taken)


ODD_KEYS: Final = [
    ("6f9619ff-8b86-d011-b42d-00c04fc964ff", "日本語", 1),
    ("6f9619ff-8b86-d011-b42d-00c04fc964fe", "it's", -5),
    ("00000000-0000-0000-0000-000000000000", 'a|"b"', 2**63 - 1),
    ("ffffffff-ffff-ffff-ffff-ffffffffffff", "a", -(2**63)),
    ("6f9619ff-8b86-d011-b42d-00c04fc964fd", "|", 10),
    ("6f9619ff-8b86-d011-b42d-00c04fc964fd", "", 0),
    ("6f9619ff-8b86-d011-b42d-00c04fc964fc", " ü\\n%s ", 7),
    ("6f9619ff-8b86-d011-b42d-00c04fc964fb", "😀", 100000000000),
]


def test_buckets_of_texts_are_those_of_the_source(world, destination, loads, deletes):
    buckets = Buckets(BucketKind.MD5, ("u", "t", "n"), 12)
    digits = "substr(md5(convert_to(%s::uuid::text || '|' || %s || '|' || CAST(%s AS bigint)::text, 'UTF8')), 1, 12)"
    names = [f"b{world.run_at_source(f'SELECT {digits}', *key)[0][0]}" for key in ODD_KEYS]
    loads.columns, loads.key = (column("u uuid"), "t text", "n bigint", "v text"), ("u", "t", "n")
    loads.merge(destination, *[(*key, "v") for key in ODD_KEYS], deletes=deletes, complete=True)
    none = (None, None, None)
    kept = loads.merge(
        destination, deletes=deletes, buckets=buckets,
        ops=[*[(name, none) for name in names], *[("k", key) for key in ODD_KEYS]],
    )  # fmt: skip
    assert counted(kept) == (0, 0, 0)
    gone = loads.merge(
        destination, deletes=deletes, buckets=buckets, max_delete_ratio=1, ops=[(name, none) for name in names[1:]]
    )
    assert counted(gone) == (0, 0, len(names) - 1)
    assert live(world, deletes, "t, n") == texts([ODD_KEYS[0][1:]])


def test_buckets_by_some_of_the_key(world, destination, loads, deletes):
    """A bucket may be told by the first column of a key; rows are matched by all of it."""
    loads.columns, loads.key = ("id bigint", "part text", "v text"), ("id", "part")
    rows = [(1, "a", "v"), (1, "b", "v"), (2, "a", "v"), (70, "a", "v")]
    loads.merge(destination, *rows, deletes=deletes, complete=True)
    ops = [("b", (0, None)), ("k", (1, "a"))]
    receipt = loads.merge(destination, (2, "a", "w"), (3, "c", "v"), deletes=deletes, ops=ops, buckets=BY_RANGE)
    assert counted(receipt) == (1, 1, 1)
    left = [(1, "a", "v"), (2, "a", "w"), (3, "c", "v"), (70, "a", "v")]
    assert live(world, deletes, "id, part, v") == texts(left)


def test_one_bucket_of_all_keys(world, destination, loads, deletes):
    loads.merge(destination, *named(1, 2, 3, 4), deletes=deletes, complete=True)
    whole = {"deletes": deletes, "buckets": ALL}
    assert counted(loads.merge(destination, (3, "C"), ops=[("k", (1,)), ("k", (2,))], **whole)) == (0, 1, 1)
    assert live(world, deletes) == texts([*named(1, 2), (3, "C")])
    # None is staged as it was before, so there is no key to name besides.
    assert counted(loads.merge(destination, (1, "A"), (3, "3"), **whole)) == (0, 2, 1)
    assert live(world, deletes) == texts([(1, "A"), (3, "3")])
    assert counted(loads.merge(destination, **whole)) == (0, 0, 0)


def test_keysets_and_named_keys_in_one_load(world, destination, loads, deletes):
    loads.merge(destination, *named(1, 2, 70, 71), deletes=deletes, complete=True)
    ops = [("d", (71,)), ("d", (2,)), ("b", (0,)), ("k", (1,))]
    receipt = loads.merge(destination, (70, "x"), deletes=deletes, ops=ops, buckets=BY_RANGE)
    assert counted(receipt) == (0, 1, 2)
    assert live(world, deletes) == texts([*named(1), (70, "x")])


# --- rows without what did not change ---

WIDE: Final = ("id bigint", "name text", "body text", "size integer")


def test_unchanged_columns_stay(world, destination, loads, deletes):
    loads.columns = WIDE
    before = [(key, "old", f"body {key}", key * 10) for key in range(1, 7)]
    loads.merge(destination, *before, deletes=deletes, complete=True)
    receipt = loads.merge(
        destination, (3, "three", None, None), odd(7, "new", None, 70), deletes=deletes,
        unchanged=(("body",), ("body", "size")),
        ops=[("p0", (1, "one", None, None)), ("p1", (2, "two", None, None)), ("d", (4,)), ("p1", (5, "old", None, 0))],
    )  # fmt: skip
    assert counted(receipt) == (1, 3, 1)
    expected = [
        (1, "one", "body 1", None), (2, "two", "body 2", 20), (3, "three", None, None), (5, "old", "body 5", 50),
        (6, "old", "body 6", 60), (7, "new", None, 70),
    ]  # fmt: skip
    assert live(world, deletes, "id, name, body, size") == texts(expected)


def test_a_row_that_comes_back_keeps_what_did_not_change(world, destination, loads):
    loads.columns = WIDE
    loads.merge(destination, (1, "a", "body", 1), (2, "b", "body", 2), deletes="soft", complete=True)
    loads.merge(destination, deletes="soft", ops=[("d", (1,))])
    back = loads.merge(destination, deletes="soft", unchanged=(("body",),), ops=[("p0", (1, "a", None, 1))])
    assert counted(back) == (0, 1, 0)
    assert live(world, "soft", "id, name, body, size") == texts([(1, "a", "body", 1), (2, "b", "body", 2)])


def test_unchanged_columns_that_nobody_has_are_refused(world, destination, loads):
    loads.columns = WIDE
    loads.merge(destination, (1, "a", "body", 1))
    lost = {"unchanged": (("body",),), "ops": [("p0", (2, "b", None, 2))]}
    with pytest.raises(DataError, match="1 rows were updated whose large values"):
        loads.merge(destination, (1, "A", "body", 1), **lost)
    assert live(world, "ignore", "id, name, body, size") == texts([(1, "a", "body", 1)])
    assert destination.checkpoint("stream").version == 1
    assert counted(loads.merge(destination, unchanged=(("body",),))) == (0, 0, 0)


# --- guards ---


def test_guards_stop_before_anything_is_merged(world, destination, loads, deletes):
    loads.merge(destination, *named(1, 2, 3, 4), deletes=deletes, complete=True)
    gone = {"deletes": deletes, "min_deletes_for_ratio": 1}
    whole = [("b", (0,))]
    with pytest.raises(DeleteRatioError, match="3 of 4"):
        loads.merge(destination, (9, "x"), ops=[("d", (1,)), ("d", (2,)), ("d", (3,))], **gone)
    with pytest.raises(DeleteRatioError, match="4 of 4"):
        loads.merge(destination, (9, "x"), ops=whole, buckets=BY_RANGE, **gone)
    for empty in ({"ops": whole, "buckets": BY_RANGE}, {"buckets": ALL}):
        with pytest.raises(DataError, match="source has no rows"):
            loads.merge(destination, deletes=deletes, source_rows=0, max_delete_ratio=1, **empty)
    assert live(world, deletes) == texts(named(1, 2, 3, 4))
    assert destination.checkpoint("stream").version == 1
    few = loads.merge(destination, deletes=deletes, ops=[("d", (1,)), ("d", (2,)), ("d", (3,))])
    assert counted(few) == (0, 0, 3)  # fewer than min_deletes_for_ratio
    receipt = loads.merge(
        destination, deletes=deletes, source_rows=0, allow_empty=True, max_delete_ratio=1, buckets=ALL
    )
    assert counted(receipt) == (0, 0, 1)
    assert live(world, deletes) == []


# --- the power goes ---


def run(world: World, load: Load) -> SyncResult:
    """Stage and merge as the tasks would, in a fresh process."""
    destination, stage = world.destination.open(world.fuse.tick), world.stage()
    staged = stage_load(load.manifest_ref, load.target, destination, stage)
    return merge_load(staged, load.merging, destination, stage)


def setting_out(world: World, number: int, deletes: str) -> Load:
    """Begin a story of its own: a target with rows, and a load of changes."""
    world.target = f"raw.item_{number}"
    loads = Loads(world.folder, world.target, columns=WIDE, stream=f"stream {number}", store=world.stage())
    rows = [(key, "old", f"body {key}", key) for key in (1, 2, 3, 4, 5, 70)]
    loads.merge(world.destination.open(lambda _: None), *rows, deletes=deletes, complete=True)
    ops = [("p0", (1, "one", None, 1)), ("d", (70,)), ("b", (0,)), ("k", (3,)), ("k", (4,))]
    change = {"deletes": deletes, "unchanged": (("body",),), "ops": ops, "buckets": BY_RANGE, "source_rows": 5}
    return loads.make((2, "two", None, 2), (6, "six", "body 6", 6), **change)


@pytest.mark.parametrize("kind", ["soft", "hard"])
def test_no_cut_of_a_load_of_changes(world, kind):
    after = [(1, "one", "body 1", 1), (2, "two", None, 2), (3, "old", "body 3", 3), (4, "old", "body 4", 4),
             (6, "six", "body 6", 6)]  # fmt: skip
    load = setting_out(world, 0, kind)
    world.fuse.moments.clear()
    assert counted(run(world, load)) == (1, 2, 2)
    moments = list(world.fuse.moments)
    assert len(moments) > 8
    first = 1 + ["soft", "hard"].index(kind) % world.stride
    for number in range(first, len(moments) + 1, world.stride):
        load = setting_out(world, number, kind)
        with world.blowing_at(number), pytest.raises(PowerCutError):
            run(world, load)
        where = f"cut at moment {number}: {moments[number - 1]}"
        assert counted(run(world, load)) == (1, 2, 2), where
        assert live(world, kind, "id, name, body, size") == texts(after), where
        assert counted(run(world, load)) == (1, 2, 2), where  # its receipt says so
