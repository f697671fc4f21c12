"""What every transactional destination does with loads made by hand; a class for each inherits the stories."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from airflow_elt_provider.core.plan import Interval
from airflow_elt_provider.errors import (
    ConfigurationError,
    DataError,
    DeleteRatioError,
    SchemaDriftError,
    StaleLoadError,
)
from tests.connectors.staged_loads import Loads, bring_in, column, odd, staged

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ONE, TWO, THREE = (1, "a", Decimal("1.10")), (2, "b", None), (3, None, Decimal("0.00"))


class MergeStories:
    """Needs the fixtures ``destination`` and ``query``."""

    target: ClassVar[str] = "raw.item"

    @pytest.fixture
    def loads(self, tmp_path: Path) -> Loads:
        return Loads(tmp_path, self.target)

    @pytest.fixture
    def rows(self, query: Callable[[str], list[tuple[Any, ...]]]) -> Callable[..., list[tuple[Any, ...]]]:
        def read(columns: str = "id, name, amount", table: str = self.target) -> list[tuple[Any, ...]]:
            return query(f"SELECT {columns} FROM {table} ORDER BY 1")

        return read

    # --- modes ---

    def test_merge_updates_inserts_and_leaves_alone(self, destination, loads, rows):
        assert loads.merge(destination, ONE, TWO).inserted == 2
        receipt = loads.merge(destination, ONE, (2, "B", None), THREE)
        assert (receipt.inserted, receipt.updated, receipt.deleted) == (1, 1, 0)
        assert rows() == [ONE, (2, "B", None), THREE]
        assert loads.merge(destination, ONE, (2, "B", None), THREE).updated == 0

    def test_null_and_empty_differ_and_nan_equals_itself(self, destination, loads, rows):
        loads.columns = ("id bigint", "name text", "f double")
        loads.merge(destination, (1, None, 0.5), (2, "", 0.5), (3, "x", float("nan")))
        assert loads.merge(destination, (1, "", 0.5), (2, None, 0.5), (3, "x", float("nan"))).updated == 2
        assert [str(row) for row in rows("id, name, f")] == ["(1, '', 0.5)", "(2, None, 0.5)", "(3, 'x', nan)"]

    def test_append_stamps_rows_and_takes_the_place_of_earlier_loads(self, destination, loads, rows):
        loads.mode = "append"
        first = loads.merge(destination, ONE, ONE)
        loads.merge(destination, TWO)
        again = loads.merge(destination, THREE, replaces=(first.load_id,))
        assert (again.inserted, again.deleted) == (1, 2)
        assert rows() == [TWO, THREE]
        assert (again.load_id,) in rows("_elt_load_id")

    def test_replace_follows_row_by_row(self, destination, loads, rows):
        loads.merge(destination, ONE, TWO, mode="replace")
        receipt = loads.merge(destination, (2, "B", None), THREE, mode="replace")
        assert (receipt.inserted, receipt.updated, receipt.deleted) == (1, 1, 1)
        assert rows() == [(2, "B", None), THREE]
        with pytest.raises(DataError, match="allow_empty"):
            loads.merge(destination, mode="replace")
        assert loads.merge(destination, mode="replace", allow_empty=True).deleted == 2

    def test_replace_keeps_columns_that_users_added(self, destination, loads, rows, execute):
        loads.merge(destination, ONE, TWO, mode="replace")
        execute(f"ALTER TABLE {self.target} ADD COLUMN mine varchar")
        execute(f"UPDATE {self.target} SET mine = 'kept'")
        changed = [(at, "new", None) for at in (1, 2)]
        assert loads.merge(destination, *changed, mode="replace").updated == 2
        assert rows("id, name, mine") == [(1, "new", "kept"), (2, "new", "kept")]

    def test_replace_without_a_key(self, destination, loads, rows):
        loads.key, loads.mode = (), "replace"
        loads.merge(destination, ONE, ONE, TWO)
        assert loads.merge(destination, TWO, TWO).deleted == 3
        assert rows() == [TWO, TWO]

    def test_an_interval_is_exchanged_and_the_checkpoint_stays(self, destination, loads, rows):
        loads.merge(destination, ONE, TWO, THREE, mode="replace")
        interval = {"interval": Interval("2", "4"), "cursor": "id", "version": None}
        receipt = loads.merge(destination, (3, "new", None), mode="replace", **interval)
        assert (receipt.deleted, receipt.inserted, receipt.version) == (2, 1, None)
        assert rows() == [ONE, (3, "new", None)]
        assert destination.checkpoint("stream").version == 1

    def test_an_interval_merge_does_not_bring_old_rows_back(self, destination, loads, rows):
        loads.columns, loads.key = ("id bigint", "moment bigint", "v text"), ("id",)
        loads.merge(destination, (1, 10, "new"), (2, 5, "old"), (3, None, "none"))
        interval = {"interval": Interval("0", "99"), "cursor": "moment", "version": None}
        receipt = loads.merge(destination, (1, 9, "older"), (2, 6, "newer"), (3, 1, "some"), **interval)
        assert receipt.updated == 2
        assert rows("id, moment, v") == [(1, 10, "new"), (2, 6, "newer"), (3, 1, "some")]

    # --- deletes, guards, checks ---

    def test_soft_deletes_come_and_go(self, destination, loads, rows):
        whole = {"deletes": "soft", "complete": True}
        loads.merge(destination, ONE, TWO, **whole)
        assert loads.merge(destination, ONE, **whole).deleted == 1
        assert rows("id, _elt_deleted_at IS NULL") == [(1, True), (2, False)]
        assert loads.merge(destination, ONE, **whole).deleted == 0
        assert loads.merge(destination, ONE, TWO, **whole).updated == 1
        assert rows("id, _elt_deleted_at IS NULL") == [(1, True), (2, True)]

    def test_hard_deletes_only_by_complete_loads_and_within_the_ratio(self, destination, loads, rows):
        whole = {"deletes": "hard", "complete": True}
        loads.merge(destination, ONE, TWO, THREE, **whole)
        assert loads.merge(destination, ONE, deletes="hard").deleted == 0
        with pytest.raises(DeleteRatioError, match="2 of 3"):
            loads.merge(destination, ONE, min_deletes_for_ratio=1, **whole)
        with pytest.raises(DataError, match="allow_empty"):
            loads.merge(destination, **whole)
        assert loads.merge(destination, ONE, **whole).deleted == 2
        assert rows() == [ONE]

    @pytest.mark.parametrize("check", ["not_null(amount)", "unique(name)", "row_count(min=3)", "sql: id < 2"])
    def test_a_failed_check_leaves_nothing(self, destination, loads, rows, check):
        loads.merge(destination, ONE)
        with pytest.raises(DataError):
            loads.merge(destination, (2, "b", None), (4, "b", None), checks=[check])
        assert rows() == [ONE]
        assert destination.checkpoint("stream").version == 1

    def test_a_key_that_the_source_does_not_guard_is_checked(self, destination, loads):
        with pytest.raises(DataError, match="more than once"):
            loads.merge(destination, ONE, ONE, key_enforced=False)
        with pytest.raises(DataError, match="NULL in the key"):
            loads.merge(destination, (None, "x", None), key_enforced=False)

    def test_a_composite_key_in_its_own_order(self, destination, loads, rows):
        loads.columns, loads.key = ("a text", "b bigint", "v text"), ("b", "a")
        loads.merge(destination, ("x", 1, "one"), ("x", 2, "two"), ("y", 1, "three"))
        assert loads.merge(destination, ("x", 2, "2"), ("y", 2, "four")).updated == 1
        found = sorted(rows("a, b, v"))
        assert found == [("x", 1, "one"), ("x", 2, "2"), ("y", 1, "three"), ("y", 2, "four")]

    def test_a_table_of_nothing_but_its_key(self, destination, loads, rows):
        loads.columns = ("id bigint",)
        loads.merge(destination, (1,), (2,))
        receipt = loads.merge(destination, (2,), (3,), mode="replace")
        assert (receipt.inserted, receipt.updated, receipt.deleted) == (1, 0, 1)
        assert rows("id") == [(2,), (3,)]

    # --- exactly once ---

    def test_every_step_twice(self, destination, loads, rows):
        load = loads.make(ONE, TWO)
        attempts = [staged(destination, load, loads.stage) for _ in range(2)]
        changes = [destination.prepare(attempt) for attempt in attempts]
        receipts = [destination.commit(attempt, loads.stage, changes[0]) for attempt in attempts]
        assert receipts[0] == receipts[1] == destination.receipt(load.load_id)
        assert destination.receipts("stream", load.manifest.run_key) == [receipts[0]]
        destination.discard(attempts[1])
        destination.discard(attempts[1])
        assert rows() == [ONE, TWO]

    def test_a_zombie_twin_is_stale(self, destination, loads, rows):
        twins = [loads.make(row, version=0) for row in (ONE, TWO)]
        bring_in(destination, twins[0], loads.stage)
        with pytest.raises(StaleLoadError, match="checkpoint version 0"):
            bring_in(destination, twins[1], loads.stage)
        assert rows() == [ONE]
        assert destination.receipt(twins[1].load_id) is None

    def test_asking_creates_nothing(self, destination, query):
        assert destination.checkpoint("stream") is None
        assert destination.receipt("x") is None
        assert destination.receipts("stream") == []
        assert destination.staged("x") is None
        assert destination.forget("stream") is False
        assert list(destination.collect_garbage(older_than=_now())) == []

    def test_a_forgotten_checkpoint_makes_loads_stale(self, destination, loads):
        loads.merge(destination, ONE)
        late = loads.make(TWO)
        assert destination.forget("stream") is True
        assert destination.forget("stream") is False
        assert destination.checkpoint("stream").position is None
        with pytest.raises(StaleLoadError):
            bring_in(destination, late, loads.stage)
        loads.version = destination.checkpoint("stream").version
        loads.merge(destination, TWO)

    def test_a_file_that_was_changed_is_refused(self, destination, loads, tmp_path):
        load = loads.make(ONE, TWO)
        path = next(tmp_path.rglob("part-*.parquet"))
        path.chmod(0o600)
        path.write_bytes(bytes(path.stat().st_size))
        with pytest.raises(DataError, match="sha256"):
            bring_in(destination, load, loads.stage)
        path.unlink()
        with pytest.raises(FileNotFoundError) as caught:
            bring_in(destination, load, loads.stage)
        assert path.name in str(caught.value.filename)

    # --- drift ---

    def test_added_columns_are_filled_from_the_source(self, destination, loads, rows):
        loads.merge(destination, ONE, TWO)
        more = (*loads.columns, "colour text", "level integer", "raw bytea", "day date")
        backfill = {"colour": "grün's", "level": "7", "raw": "\\x00ff", "day": "2024-02-29"}
        receipt = loads.merge(destination, (*TWO, "rot", 8, b"\x01", None), columns=more, backfill=backfill)
        assert {change["class"] for change in receipt.schema_changes} == {"added"}
        found = rows("id, colour, level, raw, day")
        assert [(row[0], row[1], row[2], bytes(row[3]), str(row[4])) for row in found] == [
            (1, "grün's", 7, b"\x00\xff", "2024-02-29"), (2, "rot", 8, b"\x01", "None"),
        ]  # fmt: skip

    def test_widened_types(self, destination, loads, rows):
        loads.columns = ("id integer", "n decimal(5,2)", "f float")
        loads.merge(destination, (1, Decimal("1.25"), 0.5))
        receipt = loads.merge(
            destination, (2**40, Decimal("123456789.1234"), 1e300), columns=("id bigint", "n decimal(20,4)", "f double")
        )
        assert [change["class"] for change in receipt.schema_changes] == ["widened"] * 3
        assert rows("id, n, f") == [(1, Decimal("1.2500"), 0.5), (2**40, Decimal("123456789.1234"), 1e300)]
        narrower = loads.merge(destination, (3, Decimal("1.25"), 0.25))
        assert narrower.schema_changes == ()

    def test_conflicting_types_become_text_once(self, destination, loads, rows):
        loads.merge(destination, ONE)
        text = ("id bigint", "name text", "amount text")
        assert loads.merge(destination, (2, "b", "many"), columns=text).schema_changes[0]["class"] == "narrowed"
        assert loads.merge(destination, (3, "c", Decimal("3.30"))).schema_changes == ()
        assert rows() == [(1, "a", "1.10"), (2, "b", "many"), (3, "c", "3.30")]

    def test_frozen_columns_take_what_fits(self, destination, loads, rows):
        loads.merge(destination, ONE)
        finer = ("id bigint", "name text", "amount decimal(20,6)", "more text")
        frozen = {"columns": finer, "on_schema_drift": "freeze"}
        assert loads.merge(destination, (2, "b", Decimal("2.200000"), "x"), **frozen).inserted == 1
        with pytest.raises(DataError, match="1 values do not fit"):
            loads.merge(destination, (3, "c", Decimal("2.200001"), "x"), **frozen)
        with pytest.raises(DataError):
            loads.merge(destination, (3, "c", Decimal("99999999999999.000000"), "x"), **frozen)
        assert rows() == [ONE, (2, "b", Decimal("2.20"))]

    def test_failing_policies_and_changed_keys(self, destination, loads, rows):
        loads.merge(destination, ONE)
        for drift, columns in (
            ("added", (*loads.columns, "x text")), ("removed", loads.columns[:2]),
            ("widened", ("id bigint", "name text", "amount decimal(20,4)")),
            ("narrowed", ("id bigint", "name integer", "amount boolean")),
        ):  # fmt: skip
            with pytest.raises(SchemaDriftError, match=drift):
                loads.merge(destination, columns=columns, on_schema_drift={drift: "fail"}, **_seen(loads))
        assert rows() == [ONE]

    def test_our_own_column_names_are_refused(self, destination, loads):
        with pytest.raises(ConfigurationError, match="_elt_load_id"):
            loads.merge(destination, (1, "x"), columns=("id bigint", "_elt_load_id text"))

    # --- values ---

    def test_exceptional_values_survive_text(self, destination, loads, rows):
        """A column that became text keeps the text of values that no type of the wire has."""
        loads.columns = ("id bigint", "v text")
        loads.merge(destination, (1, "word"))
        loads.merge(destination, odd(2, None, v="NaN"), (3, Decimal("1.50")), columns=("id bigint", "v decimal(5,2)"))
        assert rows("id, v") == [(1, "word"), (2, "NaN"), (3, "1.50")]

    def test_odd_names(self, destination, loads, query):
        """Names with quotes, dots, percent signs, backslashes, other alphabets, in columns with exceptional values."""
        names = ['Käse "1"', "a.b", "100%s", "日本", "it's", "back\\slash", "$.x", "select", "with space"]
        loads.columns, loads.key = [column(f"{name} date") for name in names] + [column("ID bigint")], ("ID",)
        loads.target = 'raw."Ta%s ""b"""'
        row = odd(*[None] * len(names), 1, **dict.fromkeys(names, "infinity"))
        assert loads.merge(destination, row).inserted == 1
        assert loads.merge(destination, row).updated == 0
        loads.merge(destination, row, mode="replace", version=None, interval=Interval("0", "2"), cursor="ID")
        (found,) = query('SELECT * FROM raw."Ta%s ""b"""')
        assert [str(value) for value in found] != []
        for name in names:
            quoted = name.replace('"', '""')
            assert query(f'SELECT CAST("{quoted}" AS varchar) FROM raw."Ta%s ""b"""') == [("infinity",)]

    def test_a_thousand_columns(self, destination, loads, rows):
        loads.columns = ["id bigint", *(f"c{at} text" for at in range(500))]
        wide = (1, *("x" for _ in range(500)))
        loads.merge(destination, wide)
        assert loads.merge(destination, (1, *("y" for _ in range(500)))).updated == 1
        assert rows("id, c499") == [(1, "y")]


def _now():
    from datetime import timedelta

    return timedelta(0)


def _seen(loads: Loads) -> dict[str, Any]:
    """The load that goes before, as far as ``removed`` looks at it."""
    from airflow_elt_provider.core.checkpoint import Position

    return {"base_position": Position("full", "src", columns=("id", "name", "amount"))}
