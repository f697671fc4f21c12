"""Rows that the destination or the policy cannot take: set aside by the merge, up to a limit, on every destination."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_elt_provider.errors import DataError, QuarantineExceededError
from tests.contract.world import CREATE, MIRROR, REPLACE

if TYPE_CHECKING:
    from tests.contract.world import World

pytestmark = pytest.mark.lowest
CHECKS = ["quarantine not_null(name)", {"quarantine": {"sql": "code >= 1"}}]
BAD = "UPDATE item SET name = CASE id WHEN 2 THEN NULL ELSE name END, code = CASE id WHEN 3 THEN 0 ELSE 7 END"
HISTORY: dict[str, Any] = {"capture": "full", "mode": "history", "deletes": "soft"}


@pytest.fixture(autouse=True)
def source_table(world: World) -> None:
    """Make the table, and a view of it that guards no key."""
    world.run_at_source(f"{CREATE}; ALTER TABLE item ADD code int DEFAULT 5; CREATE TABLE more (LIKE item)")
    world.run_at_source(
        "CREATE VIEW both_items AS SELECT id, name, amount FROM item UNION ALL SELECT id, name, amount FROM more"
    )


@pytest.fixture
def mirror(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Return what keeps source and target equal: hard deletes, where those are safe."""
    guarded = request.node.callspec.params["world"] == "hologres-guarded"
    return {**MIRROR, "deletes": "soft"} if guarded else MIRROR


def set_aside(world: World) -> list[tuple[str, str, Any]]:
    """Return reason, column and id of the rows of the newest file."""
    files = [file for file in world.stage().list() if file.uri.endswith("/quarantine-00000.parquet")]
    newest = max(files, key=lambda file: file.modified)
    rows = pq.read_table(pa.BufferReader(world.stage().read(newest.uri))).to_pylist()
    return sorted((row["reason"], row["column"], json.loads(row["row"])["id"]) for row in rows)


def test_values_that_a_frozen_column_cannot_hold(world: World, mirror: dict[str, Any]) -> None:
    """They are set aside; the row in the target stays, and the others follow the source."""
    world.sync(**mirror)
    bad, type_ = ("1.5", "numeric(12,2)") if world.destination.kind.startswith("hologres") else ("'x'", "text")
    world.run_at_source(
        f"ALTER TABLE item ALTER code TYPE {type_} USING code::{type_}; UPDATE item SET code = {bad} WHERE id = 1; "
        f"UPDATE item SET code = code::int + 2 WHERE id = 3; DELETE FROM item WHERE id = 2"
    )
    frozen = {**mirror, "on_schema_drift": "freeze"}
    with pytest.raises(DataError, match="do not fit"):
        world.sync(**frozen)
    result = world.sync(max_quarantined_rows=1, **frozen)
    assert (result.quarantined, result.updated, result.deleted, result.inserted) == (1, 1, 1, 0)
    assert [row[1] for row in world.target_rows("id, code", "id IN (1, 3)")] == ["5", "7"]
    ((reason, column, key),) = set_aside(world)
    assert (reason.startswith("does not fit "), column, key) == (True, "code", "1")


def test_keys_that_are_there_twice(world: World, mirror: dict[str, Any]) -> None:
    """Nobody knows which row is right: all of them are set aside, and none is deleted."""
    world.table, mirror = "public.both_items", {**mirror, "primary_key": ["id"]}
    world.sync(**mirror)
    world.run_at_source("INSERT INTO more SELECT * FROM item WHERE id IN (3, 4)")
    world.run_at_source("UPDATE more SET name = 'again'; UPDATE item SET name = 'new' WHERE id IN (3, 5)")
    world.run_at_source("DELETE FROM item WHERE id = 6")
    with pytest.raises(DataError, match="more than once"):
        world.sync(**mirror)
    with pytest.raises(QuarantineExceededError, match=r"max_quarantined_rows=3.*more than once.*quarantine-00000"):
        world.sync(max_quarantined_rows=3, **mirror)
    assert len(world.target_rows()) == 9
    result = world.sync(run_id="run", max_quarantined_rows=4, **mirror)
    assert (result.quarantined, result.updated, result.deleted, result.inserted) == (4, 1, 1, 0)
    assert {row[0]: row[1] for row in world.target_rows("id, name", "id BETWEEN 3 AND 5")} == {
        "3": "name 3", "4": "name 4", "5": "new",
    }  # fmt: skip
    assert set_aside(world) == [("the key is there more than once", "", key) for key in "3344"]
    again = world.sync(run_id="run", max_quarantined_rows=4, **mirror)
    assert (again.quarantined, again.updated) == (4, 1), "as the receipt says"


def test_a_key_of_several_columns(world: World, mirror: dict[str, Any]) -> None:
    """A row counts as the same only where all of them are."""
    world.table = "public.both_items"
    world.run_at_source("INSERT INTO more SELECT * FROM item WHERE id IN (3, 4)")
    world.run_at_source("UPDATE more SET name = 'other' WHERE id = 3")
    both = {**mirror, "primary_key": ["id", "name"]}
    assert world.sync(max_quarantined_rows=5, **both).quarantined == 2
    assert len(world.target_rows()) == 9
    world.run_at_source("DELETE FROM more")
    result = world.sync(max_quarantined_rows=5, **both)
    assert (result.quarantined, result.inserted, result.deleted) == (0, 1, 1)


def test_rows_that_violate_a_check(world: World, mirror: dict[str, Any]) -> None:
    """Also with the very first load; the other checks still keep the whole load out."""
    world.run_at_source(BAD)
    result = world.sync(checks=CHECKS, max_quarantined_rows=2, **mirror)
    assert (result.quarantined, result.inserted) == (2, 7)
    assert set_aside(world) == [("is NULL", "name", "2"), ("violates check code >= 1", "", "3")]
    assert len(world.target_rows()) == 7
    with pytest.raises(DataError, match="1 violations"):
        world.sync(checks=CHECKS, **mirror)
    with pytest.raises(DataError, match="violations"):
        world.sync(checks=["unique(code)", *CHECKS], max_quarantined_rows=9, **mirror)
    world.run_at_source("UPDATE item SET name = 'two', code = 3; UPDATE item SET name = NULL WHERE id > 4")
    with pytest.raises(QuarantineExceededError, match="max_quarantined_rows=4"):
        world.sync(checks=CHECKS, max_quarantined_rows=4, **mirror)
    result = world.sync(checks=CHECKS, max_quarantined_rows=5, **mirror)
    assert (result.quarantined, result.inserted, result.deleted) == (5, 2, 0)
    assert world.target_rows("id, code", "id > 4") == [(str(key), "7") for key in range(5, 10)]


def test_every_row_is_bad(world: World, mirror: dict[str, Any]) -> None:
    """Nothing is merged and nothing deleted."""
    world.sync(**mirror)
    world.run_at_source("UPDATE item SET name = NULL")
    result = world.sync(checks=CHECKS, max_quarantined_rows=9, **mirror)
    assert (result.quarantined, result.inserted, result.updated, result.deleted) == (9, 0, 0, 0)


def test_replace_leaves_bad_rows_out(world: World) -> None:
    """It mirrors what could be taken, but does not empty the target."""
    world.sync(**REPLACE)
    world.run_at_source("UPDATE item SET name = NULL")
    with pytest.raises(DataError, match="allow_empty"):
        world.sync(checks=CHECKS, max_quarantined_rows=9, **REPLACE)
    world.run_at_source("UPDATE item SET name = 'y' WHERE id < 8")
    result = world.sync(checks=CHECKS, max_quarantined_rows=9, **REPLACE)
    assert (result.quarantined, len(world.target_rows())) == (2, 7)


def test_versions_stay_current(world: World) -> None:
    """In history too: a row that was set aside is there, and its version holds until it is repaired."""
    world.sync(**HISTORY)
    world.run_at_source(f"{BAD}; DELETE FROM item WHERE id = 4")
    result = world.sync(checks=CHECKS, max_quarantined_rows=2, **HISTORY)
    assert (result.quarantined, result.deleted) == (2, 1)
    now = {row[0]: row[1] for row in world.target_rows("id, name", "_elt_is_current")}
    assert (now["2"], now["3"], "4" in now) == ("name 2", "name 3", False)
    world.run_at_source("UPDATE item SET name = 'back' WHERE id = 2")
    assert world.sync(checks=CHECKS, max_quarantined_rows=2, **HISTORY).quarantined == 1
    assert world.target_rows("name", "_elt_is_current AND id = 2") == [("back",)]
    assert len(world.target_rows("id", "id = 2")) == 2
