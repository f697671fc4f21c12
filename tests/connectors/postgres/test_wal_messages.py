"""The bytes of pgoutput, and the folding of changes, without a server."""

from __future__ import annotations

import struct
from collections import defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_elt_provider.connectors.postgres import wal_fold
from airflow_elt_provider.connectors.postgres.wal_fold import GONE, MOVED, NOW, Change, Fold
from airflow_elt_provider.connectors.postgres.wal_messages import (
    joined,
    key_pieces,
    key_values,
    lsn_number,
    lsn_text,
    pieces,
    read_relation,
    read_truncate,
    tuple_end,
    values,
)

pytestmark = pytest.mark.lowest

UNSENT = "unsent"
VALUES = st.one_of(st.none(), st.just(UNSENT), st.binary(max_size=300))


def written(row) -> bytes:
    """Write a tuple as the server does."""
    told = []
    for value in row:
        if value is None:
            told.append(b"n")
        elif value == UNSENT:
            told.append(b"u")
        else:
            told.append(b"t" + struct.pack(">I", len(value)) + value)
    return struct.pack(">H", len(row)) + b"".join(told)


@given(st.lists(VALUES, max_size=12), st.binary(max_size=5), st.binary(max_size=5))
def test_a_tuple_is_read_as_it_was_written(row, before, behind):
    message = before + written(row) + behind
    found, lacking = values(message, len(before))
    assert found == [None if value == UNSENT else value for value in row]
    assert lacking == tuple(at for at, value in enumerate(row) if value == UNSENT)
    assert tuple_end(message, len(before)) == len(message) - len(behind)
    assert joined(pieces(message, len(before))) == written(row)


@given(st.lists(st.binary(max_size=20), min_size=1, max_size=6), st.data())
def test_a_key_is_what_tells_two_keys_apart(row, data):
    positions = tuple(sorted(data.draw(st.sets(st.sampled_from(range(len(row))), min_size=1))))
    key = key_pieces(written(row), 0, positions)
    assert key is not None
    assert key_values(key) == [row[at] for at in positions]
    row[positions[0]] = None
    assert key_pieces(written(row), 0, positions) is None


@given(st.integers(0, (1 << 64) - 1))
def test_positions_are_written_as_postgres_writes_them(number):
    assert lsn_number(lsn_text(number)) == number


def test_a_table_and_a_truncate():
    columns = b"".join(b"\1" + name.encode() + b"\0" + struct.pack(">II", 23, 0xFFFFFFFF) for name in ("id", "größe"))
    relation = b"R" + struct.pack(">I", 4711) + b"east\0item\0" + b"d" + struct.pack(">H", 2) + columns
    found = read_relation(b"xx" + relation, 2)
    assert (found.oid, found.identity, found.columns) == (4711, "d", ("id", "größe"))
    assert read_truncate(b"T" + struct.pack(">IB", 2, 1) + struct.pack(">II", 7, 8), 0) == (7, 8)


# --- folding ---

STEPS = st.lists(
    st.tuples(st.sampled_from(["put", "patch", "gone", "move", "empty"]), st.integers(0, 5), st.integers(0, 99)),
    max_size=60,
)


def told(fold: Fold, steps) -> dict[int, list[tuple]]:
    """Tell a fold a history, and return the model's versions of each key: (value, large value), or None for gone."""
    now: dict[int, tuple] = {}
    past: dict[int, list] = defaultdict(list)
    at = 0
    for what, key, value in steps:
        at += 1
        text = str(value).encode()
        match what:
            case "put" if key not in now:
                now[key] = (text, b"big" + text)
            case "patch" if key in now:
                now[key] = (text, now[key][1])
            case "gone" if key in now:
                now.pop(key)
            case "empty":
                past_of_all(past, now)
                now.clear()
                fold.empty(at)
                continue
            case _:
                continue
        row = now.get(key)
        past[key].append(row)
        if row is None:
            fold.add(Change(bytes([key]), GONE, at, 0, b"", 0))
        else:
            big = UNSENT if what == "patch" else row[1]
            fold.add(Change(bytes([key]), NOW, at, 0, written([row[0], big]), 0))
    return past


def past_of_all(past, now) -> None:
    for key in now:
        past[key].append(None)


@pytest.mark.parametrize("every", [False, True])
@pytest.mark.parametrize("held", [1, 1 << 20], ids=["disk", "memory"])
@settings(deadline=None)
@given(steps=STEPS)
def test_a_fold_gives_the_last_of_each_key_or_all(tmp_path_factory, monkeypatch_module, held, every, steps):
    monkeypatch_module.setattr(wal_fold, "HELD_BYTES", held)
    fold = Fold(tmp_path_factory.mktemp("fold"), [("v", "big")], every=every)
    past = told(fold, [step for step in steps if every or step[0] != "empty"])
    found = defaultdict(list)
    for part in fold.parts():
        for change in part:
            row = None if change.what == GONE else tuple(values(change.tuple, change.start)[0])
            found[change.key[0]].append(row)
    expected = {key: rows if every else rows[-1:] for key, rows in past.items() if rows}
    assert found == expected


@pytest.fixture(scope="module")
def monkeypatch_module():
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.mark.parametrize("held", [1, 1 << 20], ids=["disk", "memory"])
def test_a_moved_row_takes_nothing_from_who_had_the_key_before(tmp_path, monkeypatch, held):
    monkeypatch.setattr(wal_fold, "HELD_BYTES", held)
    fold = Fold(tmp_path, [("v", "big")])
    fold.add(Change(b"k", NOW, 1, 0, written([b"1", b"other's"]), 0))
    fold.add(Change(b"k", GONE, 2, 0, b"", 0))
    fold.add(Change(b"k", MOVED, 3, 0, written([b"2", UNSENT]), 0))
    fold.add(Change(b"k", NOW, 4, 0, written([b"3", UNSENT]), 0))
    changes = [change for part in fold.parts() for change in part]
    assert [(change.what, values(change.tuple, change.start)) for change in changes] == [(MOVED, ([b"3", None], (1,)))]


def test_what_was_before_the_table_was_emptied_is_void(tmp_path, monkeypatch):
    monkeypatch.setattr(wal_fold, "HELD_BYTES", 1)
    fold = Fold(tmp_path, [("v",)])
    fold.add(Change(b"a", NOW, 1, 0, written([b"1"]), 0))
    fold.empty(2)
    fold.add(Change(b"b", NOW, 3, 0, written([b"2"]), 0))
    assert [change.key for part in fold.parts() for change in part] == [b"b"]
    assert not [file for file in tmp_path.iterdir() if file.stat().st_size]
