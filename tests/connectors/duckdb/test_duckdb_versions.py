"""Many random histories in one DuckDB in memory, where a load costs little; see `tests/contract/test_history.py`."""

from __future__ import annotations

import itertools
import os
from typing import TYPE_CHECKING, Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_elt_provider.connectors.duckdb.dialect import DuckdbDialect
from airflow_elt_provider.core.evolve import evolve
from airflow_elt_provider.core.publish import Publication
from tests.connectors.staged_loads import Loads
from tests.contract.test_any_history import PROFILE
from tests.contract.versions_model import START, Model, timed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_elt_provider.core.load import Load
    from airflow_elt_provider.core.receipt import Receipt
    from tests.contract.versions_model import Version

pytestmark = pytest.mark.lowest
happenings = st.lists(
    st.lists(
        st.tuples(st.integers(1, 9), st.integers(1, 2), st.sampled_from(["a", "b", "NULL", None])), max_size=8,
        unique_by=lambda event: event[:2],
    ),
    min_size=1, max_size=5,
)  # fmt: skip


class Memory:
    """A session, and the loads into one table after the other."""

    def __init__(self, folder: Any) -> None:
        self.connection = duckdb.connect(":memory:")
        self.connection.execute("SET TimeZone = 'UTC'")
        self.loads = Loads(folder, "item", ("id bigint", "name text"), mode="history", version=None)
        self.dialect = DuckdbDialect("memory")
        for sql in self.dialect.state_tables():
            self.execute(sql)

    def execute(self, sql: str, params: Sequence[Any] = ()) -> int:
        found = self.connection.execute(sql, list(params)).fetchall()
        return int(found[0][0]) if found else 0

    def query(self, sql: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return self.connection.execute(sql, list(params)).fetchall()

    def load(self, target: str, batch: Sequence[tuple[int, int, str | None]]) -> Receipt:
        happened = [
            (at, "d", (key,)) if value is None else (at, "", (key, None if value == "NULL" else value))
            for at, key, value in batch
        ]
        load = timed(self.loads, happened, target=target, deletes="hard", as_of=START.isoformat(), max_delete_ratio=1)
        return self.merge(load)

    def merge(self, load: Load) -> Receipt:
        for sql in evolve(self.dialect, load, None).ddl:
            self.execute(sql)
        columns = dict(self.query(f"SELECT column_name, column_type FROM (DESCRIBE {self.dialect.table(load.target)})"))
        paths = [file.uri.removeprefix("file://") for file in load.manifest.files]
        return Publication(self, DuckdbDialect("memory", paths), load, columns).run()

    def versions(self, target: str) -> list[Version]:
        second = "CAST(epoch({}) - {} AS bigint)::varchar"
        start, end = (second.format(name, START.timestamp()) for name in ("_elt_valid_from", "_elt_valid_to"))
        return self.query(
            f"SELECT id::varchar, coalesce(name, 'NULL'), {start}, {end}, if(_elt_is_current, 'True', 'False') "
            f"FROM {target} ORDER BY 1, _elt_valid_from"
        )


def test_anything_in_any_order(tmp_path):
    """Random events, deletes (None) among them, in loads that come in any order and twice, against a model."""
    memory, numbers = Memory(tmp_path), itertools.count()

    @settings(PROFILE, max_examples=30, derandomize=not os.environ.get("ELT_EXPLORE"))
    @given(happenings)
    def histories(story: list[list[tuple[int, int, str | None]]]) -> None:
        target, model = f"h{next(numbers)}", Model()
        memory.load(target, [])
        for batch in story:
            before = memory.versions(target)
            receipt = memory.load(target, batch)
            model.load(batch)
            after = memory.versions(target)
            assert model.shape(after) == model.versions()
            assert receipt.inserted == len(after) - len(before)
            again = memory.load(target, batch)
            assert (again.inserted, again.updated, again.deleted) == (0, 0, 0)
            assert memory.versions(target) == after

    histories()
