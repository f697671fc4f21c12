"""A comparison of source and target finds every difference, and none where there is none."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from airflow_elt_provider.core.request import extraction
from airflow_elt_provider.core.table_ref import TableRef
from airflow_elt_provider.engine import drilling
from airflow_elt_provider.engine.reconcile import Reconcile, Reconciliation
from airflow_elt_provider.errors import ConfigurationError, DataError
from tests.connectors.postgres_types import DDL, TYPES

if TYPE_CHECKING:
    from airflow_elt_provider.core.protocols import Source
    from tests.contract.world import World

pytestmark = pytest.mark.lowest

CREATE = """
CREATE TABLE item (
    id bigint PRIMARY KEY, name text, amount numeric(12,2), code numeric, seen timestamptz, at timestamp, day date,
    clock time, token uuid, data bytea, flag boolean, small smallint, label varchar(20), padded char(4)
);
INSERT INTO item SELECT g, '名前 ' || g, g / 4.0, g * 1.10,
    '2024-06-01 12:00:00.123456+09'::timestamptz + g * interval '1 us', '2024-06-01 12:00:00.1', '2024-02-29',
    '01:02:03.000004', ('a0eebc99-9c0b-4ef8-bb6d-' || lpad((g + 3)::text, 12, '0'))::uuid,
    decode(lpad(to_hex(g + 3), 4, '0'), 'hex'), g % 2 = 0, g, 'label', 'ab'
FROM generate_series(-3, 40) g;
INSERT INTO item (id) VALUES (100);
INSERT INTO item (id, name, data, label) VALUES (101, '', '', '')
"""
COMPOSITE = """
CREATE TABLE pair (part text, number int, token uuid, amount numeric(10,2), PRIMARY KEY (part, number, token));
INSERT INTO pair SELECT CASE g % 3 WHEN 0 THEN 'a|1' WHEN 1 THEN 'あ' ELSE '' END, g,
    ('00000000-0000-0000-0000-' || lpad(g::text, 12, '0'))::uuid, g FROM generate_series(1, 30) g
"""
CHANGES = {
    "name = NULL": "name",
    "amount = amount + 0.01": "amount",
    "code = code + 1": "code",
    "seen = seen + interval '1 microsecond'": "seen",
    "at = at + interval '1 microsecond'": "at",
    "day = day + 1": "day",
    "clock = '01:02:03.000005'": "clock",
    "token = '00000000-0000-0000-0000-000000000000'": "token",
    "data = data || '\\x00'::bytea": "data",
    "flag = NOT flag": "flag",
    "small = small + 1": "small",
    "label = 'label '": "label",
    "padded = 'ab c'": "padded",
}


def comparison(world: World, source: Source | None = None, **parameters: Any) -> Reconcile:
    """Return a comparison."""
    own = {name: parameters.pop(name) for name in ("max_keys", "show_values", "retry_differing") if name in parameters}
    if "query" not in parameters:
        parameters.setdefault("source_table", world.table)
    return Reconcile(
        extraction(stream="s", **parameters), TableRef.parse(world.target), source or world.source(),
        world.destination.open(world.fuse.tick), **{"retry_pause": 0.05, **own},
    )  # fmt: skip


def reconcile(world: World, source: Source | None = None, **parameters: Any) -> Reconciliation:
    """Compare."""
    return comparison(world, source, **parameters).execute()


def found(result: Reconciliation) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Return what differs, by key."""
    return {str(key): (key.difference, key.columns) for key in result.keys}


@pytest.fixture
def loaded(world: World) -> World:
    """Load a table with something of everything."""
    world.run_at_source(CREATE)
    world.sync()
    return world


class ReadOnly:
    """A source that cannot be asked for hashes, as files and other people's sources are."""

    def __init__(self, source: Any) -> None:
        """Wrap a source."""
        self.changes, self.cancel, self.tables = source.changes, source.cancel, source.tables


def test_equal_tables_are_equal(loaded: World) -> None:
    """Whatever the types, texts and NULLs: what a sync has just brought is equal, in every column."""
    result = reconcile(loaded)
    assert result.to_json()["keys"] == []
    assert (result.source_rows, result.target_rows, result.differences) == (46, 46, 0)
    assert result.not_compared == {}
    assert "equal" in str(result)


def test_every_changed_value_is_found(loaded: World) -> None:
    """A row differs, and its column is named, whatever was changed in it: by a microsecond, a blank or a zero byte."""
    for number, change in enumerate(CHANGES):
        loaded.run_at_source(f"UPDATE item SET {change} WHERE id = {number}")
    result = reconcile(loaded)
    assert found(result) == {f"id={number}": ("different", (column,)) for number, column in enumerate(CHANGES.values())}


def test_a_source_that_is_read_says_the_same(loaded: World) -> None:
    """Rows that are read and hashed here have the same hashes as those that the target hashes."""
    source: Any = ReadOnly(loaded.source())
    equal = reconcile(loaded, source)
    assert (equal.to_json()["keys"], equal.source_rows, equal.not_compared) == ([], 46, {})
    for number, change in enumerate(CHANGES):
        loaded.run_at_source(f"UPDATE item SET {change} WHERE id = {number}")
    assert found(reconcile(loaded, source)) == {
        f"id={number}": ("different", (column,)) for number, column in enumerate(CHANGES.values())
    }


def test_missing_and_surplus_rows_are_told_apart(loaded: World) -> None:
    """A row that only one side has is named so; NULL is not the empty text."""
    loaded.run_at_source("INSERT INTO item (id) VALUES (500); DELETE FROM item WHERE id = 7")
    loaded.run_at_source("UPDATE item SET name = '' WHERE id = 100")
    result = reconcile(loaded)
    assert found(result) == {
        "id=7": ("surplus", ()), "id=500": ("missing", ()), "id=100": ("different", ("name",)),
    }  # fmt: skip
    assert result.to_json()["missing"] == result.to_json()["surplus"] == result.to_json()["different"] == 1
    text = str(result)
    assert max(map(len, text.splitlines())) <= 100
    assert "id=500" in text
    with pytest.raises(DataError, match=r"3 rows.*id=7 \(surplus\)"):
        result.refuse_beyond(2)
    result.refuse_beyond(3)


def test_values_are_shown_only_where_asked_for(loaded: World) -> None:
    """Logs are not for data: keys are named, values when a user says so."""
    loaded.run_at_source("UPDATE item SET name = 'geheim' WHERE id = 5")
    assert "geheim" not in str(reconcile(loaded).to_json()) + str(reconcile(loaded))
    shown = reconcile(loaded, show_values=True)
    assert shown.to_json()["keys"] == [
        {"key": {"id": "5"}, "difference": "different", "columns": ["name"], "values": {"name": ["geheim", "名前 5"]}}
    ]
    assert "geheim" in str(shown)


def test_composite_keys_of_any_type(world: World) -> None:
    """Keys of text, number and uuid, with separators in the text."""
    world.run_at_source(COMPOSITE)
    world.table, world.target = "public.pair", "raw.pair"
    world.sync()
    assert reconcile(world).differences == 0
    world.run_at_source("DELETE FROM pair WHERE number = 3; UPDATE pair SET amount = 0 WHERE number = 4")
    differences = {tuple(key.key.values())[:2]: key.difference for key in reconcile(world).keys}
    assert differences == {("a|1", "3"): "surplus", ("あ", "4"): "different"}


def test_what_the_stream_reads_is_what_is_compared(loaded: World) -> None:
    """Renamed, excluded and masked columns, and a predicate: the comparison is about what a sync would load."""
    loaded.target = "raw.part"
    picked: dict[str, Any] = {
        "columns": ["id", "name", "amount", "label"], "rename": {"name": "title"}, "where": "id > 10 -- some",
    }  # fmt: skip
    loaded.sync(**picked)
    result = reconcile(loaded, **picked, redact_columns=["label"])
    assert (result.differences, result.source_rows, result.target_rows) == (0, 32, 32)
    assert list(result.not_compared) == ["label"]
    assert "redacted" in result.not_compared["label"]
    loaded.run_at_source("UPDATE item SET name = 'x', label = 'y', padded = 'z' WHERE id = 20")
    assert found(reconcile(loaded, **picked, redact_columns=["label"])) == {"id=20": ("different", ("title",))}


def test_rows_marked_as_deleted_do_not_count(loaded: World) -> None:
    """A soft-deleted row of the target is as good as gone."""
    soft = {"deletes": "soft", "capture": "full"}
    loaded.target = "raw.soft"
    loaded.sync(**soft)
    loaded.run_at_source("DELETE FROM item WHERE id IN (1, 2)")
    assert set(found(reconcile(loaded)).values()) == {("surplus", ())}
    loaded.sync(**soft)
    result = reconcile(loaded)
    assert (result.differences, result.source_rows, result.target_rows) == (0, 44, 44)


def test_without_a_key_rows_are_compared_as_they_are(world: World) -> None:
    """Of rows without a key so many are missing and surplus; nobody can say which."""
    world.run_at_source("CREATE TABLE item (name text); INSERT INTO item SELECT 'x' FROM generate_series(1, 5)")
    world.sync(mode="replace")
    assert reconcile(world).differences == 0
    world.run_at_source("INSERT INTO item VALUES ('x'), (NULL)")
    result = reconcile(world)
    assert result.to_json()["missing"] == 2
    assert result.keys == ()


def test_a_difference_that_goes_away_is_none(loaded: World) -> None:
    """Keys that differ are asked for again: what a sync was just bringing is no difference."""
    loaded.run_at_source("UPDATE item SET name = 'new' WHERE id < 3")
    running = comparison(loaded, retry_differing=20)
    results: list[Reconciliation] = []
    thread = threading.Thread(target=lambda: results.append(running.execute()))
    thread.start()
    time.sleep(0.2)
    loaded.sync()
    thread.join()
    assert (results[0].differences, results[0].differing_buckets) == (0, 6)


def test_a_missing_target_is_said_so(loaded: World) -> None:
    """There is nothing to compare with."""
    loaded.target = "raw.nowhere"
    with pytest.raises(ConfigurationError, match="no table"):
        reconcile(loaded)


def test_of_an_empty_source_everything_is_surplus(loaded: World) -> None:
    """The target's rows are named, as far as they are wanted."""
    loaded.run_at_source("DELETE FROM item")
    result = reconcile(loaded, max_keys=2)
    assert (result.source_rows, result.total, len(result.keys)) == (0, (0, 46, 0), 2)


def test_every_type_is_compared_or_named(world: World) -> None:
    """No type differs only because two systems write it in two ways, and what is left out is said."""
    for sql in DDL:
        world.run_at_source(sql)
    columns = {f"c{number}": type_ for number, type_ in enumerate(TYPES)}
    rows = max(map(len, TYPES.values()))
    world.run_at_source(
        "CREATE TABLE item (id int PRIMARY KEY, "
        + ", ".join(f"{name} {type_}" for name, type_ in columns.items())
        + ")"
    )
    for row in range(rows):
        values = [f"CAST({texts[row % len(texts)]} AS {type_})" for type_, texts in TYPES.items()]
        world.run_at_source(f"INSERT INTO item VALUES ({row}, {', '.join(values)})")
    world.run_at_source(f"INSERT INTO item (id) VALUES ({rows})")
    world.sync()
    result = reconcile(world)
    differing = {(key.key["id"], columns.get(name, name)) for key in result.keys for name in key.columns}
    assert differing == set()
    assert result.differences == 0
    assert 30 < len(result.compared) <= len(columns) + 1
    left_out = {columns[name.partition(" ")[0]] for name in result.not_compared}
    assert {name.partition(" ")[0] for name in result.not_compared} | set(result.compared) == {"id", *columns}, left_out


@pytest.mark.parametrize("key", ["id", "token"])
def test_three_differences_among_many_rows(world: World, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Buckets that are too large are divided, down to the keys; by ranges of numbers, and by hashes of others."""
    small = world.destination.kind not in {"duckdb", "postgres"}
    rows = 3_000 if small else 100_000
    monkeypatch.setattr(drilling, "LEAF_ROWS", 20)
    world.run_at_source(
        "CREATE TABLE item (id bigint, token text, n int); INSERT INTO item "
        f"SELECT g * 3, md5(g::text), g FROM generate_series(1, {rows}) g; ALTER TABLE item ADD PRIMARY KEY ({key})"
    )
    world.sync()
    world.run_at_source(
        f"DELETE FROM item WHERE n = 17; UPDATE item SET n = -1 WHERE n = {rows - 5}; "
        "INSERT INTO item VALUES (4, 'new', 0)"
    )
    result = reconcile(world)
    assert sorted(each.difference for each in result.keys) == ["different", "missing", "surplus"]
    assert result.differences == 3
    assert (result.source_rows, result.target_rows) == (rows, rows)
