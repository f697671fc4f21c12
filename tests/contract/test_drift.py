"""Every class of schema changes under every policy: all of them on two destinations, renames on every one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from airflow_elt_provider.core.drift import DriftAction, DriftClass
from airflow_elt_provider.errors import ConfigurationError, DataError, SchemaDriftError
from tests.contract.candidates import DESTINATIONS
from tests.contract.conftest import lent
from tests.contract.world import CREATE, MERGE, World

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from airflow_elt_provider.engine.merge import SyncResult
    from servers.postgres import PostgresServer
    from tests.contract.at_work import Servers

pytestmark = pytest.mark.lowest

TOUCHED = ", updated_at = now() - interval '10 minutes'"
"""Moves the rows' cursor, but for the last of them."""


@dataclass(frozen=True)
class Story:
    """A change at the source.

    :param sql: makes it, and touches rows 1 to 3.
    :param column: that the change is reported for.
    :param fits: whether a target that stays as it is can hold the new values.
    """

    sql: str
    column: str
    fits: bool = True


STORIES = {
    DriftClass.ADDED: Story(
        f"ALTER TABLE item ADD extra int; UPDATE item SET extra = id{TOUCHED} WHERE id < 4", "extra"
    ),
    DriftClass.WIDENED: Story(
        f"ALTER TABLE item ALTER amount TYPE numeric(20,4); UPDATE item SET amount = 0.1234{TOUCHED} WHERE id < 4",
        "amount", fits=False,
    ),
    DriftClass.NARROWED: Story(
        "ALTER TABLE item ALTER amount TYPE text USING 'about ' || amount; "
        f"UPDATE item SET name = 'n'{TOUCHED} WHERE id < 4", "amount", fits=False,
    ),
    DriftClass.REMOVED: Story(
        f"ALTER TABLE item DROP amount; UPDATE item SET name = 'n'{TOUCHED} WHERE id < 4", "amount"
    ),
    DriftClass.RENAMED: Story(
        f"ALTER TABLE item RENAME amount TO price; UPDATE item SET price = id{TOUCHED} WHERE id < 4", "price"
    ),
}  # fmt: skip


@pytest.fixture(params=["duckdb", "postgres"])
def world(
    request: pytest.FixtureRequest, servers: Servers, source_server: PostgresServer, tmp_path: Path
) -> Iterator[World]:
    """Lend a world with a filled source in it, and one of two destinations."""
    for lent_one in lent(request, DESTINATIONS[request.param], servers, source_server, tmp_path):
        lent_one.run_at_source(CREATE)
        yield lent_one


@pytest.fixture(params=[name for name in DESTINATIONS if name not in {"duckdb", "postgres"}])
def far(
    request: pytest.FixtureRequest, servers: Servers, source_server: PostgresServer, tmp_path: Path
) -> Iterator[World]:
    """Lend the same with one of the other destinations."""
    for lent_one in lent(request, DESTINATIONS[request.param], servers, source_server, tmp_path):
        lent_one.run_at_source(CREATE)
        yield lent_one


def changes(result: SyncResult) -> list[tuple[str, str, str]]:
    """Return class, column and action of what a result reports."""
    return [(change["class"], change["column"], change["done"]) for change in result.schema_changes]


def follow(world: World, drift: DriftClass, action: DriftAction, **parameters: Any) -> SyncResult:
    """Load, change the source, and load again."""
    world.sync(**parameters)
    world.run_at_source(STORIES[drift].sql)
    return world.sync(on_schema_drift={drift: action}, **parameters)


FULL = {"capture": "full", "mode": "merge"}
CAPTURES = {
    "cursor": MERGE, "full": FULL, "xmin": {**FULL, "capture": "xmin"},
    "fingerprint": {**FULL, "capture": "fingerprint", "deletes": "hard"},
}  # fmt: skip


@pytest.mark.parametrize("capture", CAPTURES)
@pytest.mark.parametrize("drift", STORIES)
def test_evolve_loses_nothing(world: World, drift: DriftClass, capture: str) -> None:
    """The target holds what the source holds, in columns of the source's names."""
    result = follow(world, drift, DriftAction.EVOLVE, **CAPTURES[capture])
    assert changes(result) == [(drift, STORIES[drift].column, "evolve")]
    columns = "id, name" if drift is DriftClass.REMOVED else f"id, name, {STORIES[drift].column}"
    if drift is not DriftClass.NARROWED or capture != "cursor":  # a cursor sees no row that nobody touched
        assert world.target_rows(columns) == world.source_rows(columns)
    assert "amount" in world.destination.columns(world.target)
    assert changes(world.sync(on_schema_drift={drift: "fail"}, **CAPTURES[capture])) == []


@pytest.mark.parametrize("drift", STORIES)
def test_freeze_leaves_the_target_as_it_is(world: World, drift: DriftClass) -> None:
    """What fits is loaded, what does not fails the load."""
    world.sync(**MERGE)
    before = world.destination.columns(world.target)
    world.run_at_source(STORIES[drift].sql)
    if STORIES[drift].fits:
        result = world.sync(on_schema_drift={drift: "freeze"}, **MERGE)
        assert changes(result) == [(drift, STORIES[drift].column, "freeze")]
        assert world.target_rows("id, name") == world.source_rows("id, name")
    else:
        with pytest.raises(DataError, match=r"do not fit|invalid input"):
            world.sync(on_schema_drift={drift: "freeze"}, **MERGE)
    assert world.destination.columns(world.target) == before


@pytest.mark.parametrize("drift", STORIES)
def test_fail_merges_nothing_and_says_what_changed(world: World, drift: DriftClass) -> None:
    """And the stream goes on where it was, once the policy allows it."""
    world.sync(**MERGE)
    rows, columns = world.target_rows(), world.destination.columns(world.target)
    world.run_at_source(STORIES[drift].sql)
    with pytest.raises(SchemaDriftError, match=f"{drift.value} '{STORIES[drift].column}'"):
        world.sync(on_schema_drift={drift: "fail"}, **MERGE)
    assert (world.target_rows(), world.destination.columns(world.target)) == (rows, columns)
    assert changes(world.sync(**MERGE)) == [(drift, STORIES[drift].column, "evolve")]


@pytest.mark.parametrize("action", DriftAction)
def test_a_changed_key(world: World, action: DriftAction) -> None:
    """The stream itself refuses it; read anew, the target's own key decides."""
    world.sync(**FULL)
    world.run_at_source("ALTER TABLE item DROP CONSTRAINT item_pkey, ADD PRIMARY KEY (name)")
    with pytest.raises(ConfigurationError, match=r"key .*full_refresh"):
        world.sync(on_schema_drift={"key": action}, **FULL)
    anew = {**FULL, "full_refresh": True, "on_schema_drift": {"key": action}}
    if action is DriftAction.FAIL:
        with pytest.raises(SchemaDriftError, match="key 'name'"):
            world.sync(**anew)
    else:
        assert changes(world.sync(**anew)) == [("key", "name", action.value)]
        assert world.target_rows() == world.source_rows()


# --- renamed columns ---


def test_a_rename_brings_the_values_of_rows_that_are_not_read_again(world: World) -> None:
    """One row is read; all others have their value under the new name as well, the old column stays."""
    follow_a_rename(world)


def test_a_rename_on_other_destinations(far: World) -> None:
    """The same; then under the two other policies."""
    follow_a_rename(far)
    far.run_at_source("ALTER TABLE item RENAME name TO title")
    with pytest.raises(SchemaDriftError, match="renamed 'title'"):
        far.sync(on_schema_drift={"renamed": "fail"}, **MERGE)
    assert changes(far.sync(on_schema_drift={"renamed": "freeze"}, **MERGE)) == [("renamed", "title", "freeze")]
    assert "title" not in far.destination.columns(far.target)


def follow_a_rename(world: World) -> None:
    """Rename a column, and see that its values go with it."""
    world.run_at_source("UPDATE item SET updated_at = updated_at - id * interval '1 hour'")  # out of the cursor's lag
    world.sync(**MERGE)
    world.run_at_source(f"ALTER TABLE item RENAME amount TO price; UPDATE item SET price = 7{TOUCHED} WHERE id = 9")
    result = world.sync(**MERGE)
    assert result.extracted <= 2
    assert result.schema_changes[0] == {
        "class": "renamed", "column": "price", "before": "amount", "after": "price", "done": "evolve",
    }  # fmt: skip
    assert world.target_rows("id, price") == world.source_rows("id, price")
    assert len(world.target_rows("id", "amount IS NOT NULL")) == 9


def test_a_rename_alone_is_followed_too(world: World) -> None:
    """No row changed, the column did."""
    world.sync(**MERGE)
    world.run_at_source("ALTER TABLE item RENAME amount TO price")
    assert changes(world.sync(**MERGE)) == [("renamed", "price", "evolve")]
    assert world.target_rows("id, price") == world.source_rows("id, price")


def test_a_user_may_keep_the_old_name(world: World) -> None:
    """rename={new: old}: nothing changes in the target."""
    world.sync(**MERGE)
    world.run_at_source(STORIES[DriftClass.RENAMED].sql)
    assert changes(world.sync(rename={"price": "amount"}, on_schema_drift="fail", **MERGE)) == []
    assert world.target_rows("id, amount") == world.source_rows("id, price")


def test_dropped_and_added_is_no_rename(world: World) -> None:
    """A new column of the same type is another column."""
    world.sync(**MERGE)
    world.run_at_source("ALTER TABLE item DROP amount, ADD price numeric(12,2)")
    assert set(changes(world.sync(**MERGE))) == {("added", "price", "evolve"), ("removed", "amount", "evolve")}
    assert world.target_rows("id", "price IS NOT NULL") == []


def test_a_rename_whose_old_column_the_target_lacks_is_refused(world: World) -> None:
    """Rows from before would have no value under the new name."""
    world.sync(rename={"amount": "sum"}, **MERGE)
    world.run_at_source("ALTER TABLE item RENAME amount TO price")
    with pytest.raises(ConfigurationError, match="renamed column 'amount' to 'price'"):
        world.sync(**MERGE)
    assert changes(world.sync(rename={"price": "sum"}, **MERGE)) == []
    assert world.target_rows("id, sum") == world.source_rows("id, price")


def test_names_that_change_places(world: World) -> None:
    """Both names are known: everything is read once."""
    world.run_at_source("ALTER TABLE item ADD discount numeric(12,2) DEFAULT 1")
    world.sync(**MERGE)
    world.run_at_source("ALTER TABLE item RENAME amount TO other; ALTER TABLE item RENAME discount TO amount; "
                        "ALTER TABLE item RENAME other TO discount")  # fmt: skip
    world.sync(**MERGE)
    assert world.target_rows("id, amount, discount") == world.source_rows("id, amount, discount")
