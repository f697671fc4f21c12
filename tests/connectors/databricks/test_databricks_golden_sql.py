"""The very statements that Databricks is sent, as text files: what its stand-in lets pass, a reader need not.

`ELT_GOLDEN=write pytest tests/connectors/databricks/test_databricks_golden_sql.py` writes them anew; look at the
difference.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import sqlglot
from sqlglot import exp

from airflow_elt_provider.connectors.databricks.dialect import DatabricksDialect
from airflow_elt_provider.connectors.databricks.state import create_statements
from airflow_elt_provider.connectors.databricks.writes import (
    EPOCH,
    DatabricksHistorySql,
    DatabricksMergeSql,
    DatabricksWrites,
    KnownStep,
)
from airflow_elt_provider.core.buckets import BucketKind, Buckets
from airflow_elt_provider.core.evolve import TargetTable, evolve
from airflow_elt_provider.core.plan import Interval
from airflow_elt_provider.core.publish import Publication
from tests.connectors.staged_loads import Loads, column, odd

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from airflow_elt_provider.core.dialect import Sql
    from airflow_elt_provider.core.load import Load

GOLDEN = Path(__file__).with_name("golden")
DIALECT = DatabricksDialect("main", "raw")
COLUMNS = (
    "id bigint", "name text", "amount decimal(12,2)", "moment timestamptz", "at time",
    column("tags text", format="array", source_type="integer[]"),
)  # fmt: skip
SMALL = ("id bigint", "name text")
ORPHANS = "LIKE 'p%') _elt_s"
"""Stands in the question after rows that only the target could complete, and that are not there."""
ROW = (1, "a", None, None, None, None)


class Answers:
    """A session that was asked everything already: it notes the questions and gives the same numbers."""

    def __init__(self, *numbers: int) -> None:
        """Give these numbers to whoever asks."""
        self.numbers = numbers
        self.asked: list[str] = []

    def execute(self, sql: Sql, params: Sequence[Any] = ()) -> int:
        raise AssertionError(sql)

    def query(self, sql: Sql, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        assert not params
        self.asked.append(sql)
        columns = sqlglot.parse_one(sql, dialect="databricks").expressions
        known = (len(columns) == 1 or "FULL JOIN" in sql) and ORPHANS not in sql
        return [self.numbers if known else (0,) * len(columns)]


@pytest.fixture
def loads(tmp_path: Path) -> Loads:
    return Loads(tmp_path, "item", columns=COLUMNS)


def golden(name: str, statements: Iterable[str], load: Load | None = None) -> None:
    """Compare with a text file, and see that each statement is one to sqlglot too."""
    text = ";\n".join(statements).strip().replace(EPOCH, "7") + ";\n"
    if load:
        text = text.replace(load.load_id, "LOAD")
    for statement in text.split(";\n"):
        if statement:
            assert not isinstance(sqlglot.parse_one(statement, dialect="databricks"), exp.Command), statement
    file = GOLDEN / f"{name}.sql"
    if os.environ.get("ELT_GOLDEN") == "write":
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    assert text == file.read_text()


def merging(load: Load, *numbers: int, types: dict[str, str] | None = None) -> list[str]:
    """Return questions and statements of a load into a target of its own types."""
    object.__setattr__(load, "staging", "staging_20260101t000000_LOAD_0a1b2c3d" if load.manifest.rows else "")
    own = {each.name: DIALECT.column_type(each) for each in load.manifest.schema.columns}
    session = Answers(*numbers)
    publication = Publication(session, DIALECT, load, types or own, writes=DatabricksWrites)
    plan = publication.plan()
    known = [step for step in plan.steps if isinstance(step, KnownStep)]
    asked = [question for step in known for question in (step.gone, step.effects) if question]
    return [*session.asked, *asked, *(step.sql for step in plan.steps)]


def test_merge(loads: Loads) -> None:
    load = loads.make(ROW, version=7, backfill={"name": "it's ${x}", "tags": "{1}"})
    sql = DatabricksMergeSql(DIALECT, load, {"id": "bigint", "name": "string"})
    golden("merge", [*merging(load, 1), sql.upserted(41)], load)


def test_mirror_with_exceptional_values(loads: Loads) -> None:
    load = loads.make(odd(*ROW, moment="infinity"), version=7, deletes="hard", complete=True)
    golden("mirror", merging(load, 1, 2, 3), load)


def test_soft_deletes(loads: Loads) -> None:
    types = {"id": "bigint", "name": "string", "_elt_deleted_at": "timestamp"}
    load = loads.make((1, "a"), version=7, deletes="soft", complete=True, columns=SMALL)
    none = loads.make(version=7, deletes="soft", complete=True, columns=SMALL, allow_empty=True)
    mark = DatabricksWrites(DatabricksMergeSql(DIALECT, none, types)).apply(_found(0, 2, 0))
    golden("soft", [*merging(load, 1, 2, 3, types=types), *(step.sql for step in mark)], load)


def test_history(loads: Loads) -> None:
    load = loads.make(
        (1, "a", None), version=7, deletes="soft", complete=True, columns=("id bigint", "name text", "day date"),
        mode="history", cursor="day", as_of="2026-01-05T00:00:00+09:00",
    )  # fmt: skip
    object.__setattr__(load, "staging", "staging_20260101t000000_LOAD_0a1b2c3d")
    own = {"_elt_valid_from": "timestamp", "_elt_valid_to": "timestamp", "_elt_is_current": "boolean"}
    sql = DatabricksHistorySql(DIALECT, load, {"id": "bigint", "name": "string", "day": "date", **own})
    golden("history", [sql.count_versions(), sql.merge_versions(gone=True), sql.backfill_with("name", "x")], load)


def test_changes(loads: Loads) -> None:
    """One MERGE of rows, of rows without what did not change, and of keys that are gone; and of these alone."""
    change = {
        "version": 7, "columns": (*SMALL, "body text"), "buckets": Buckets(BucketKind.RANGE, ("id",), 64),
        "max_delete_ratio": 1,
    }  # fmt: skip
    types = {"id": "bigint", "name": "string", "body": "string", "_elt_deleted_at": "timestamp"}
    ops = [("d", (2,)), ("b", (-64,)), ("k", (3,))]
    whole = loads.make(
        (1, "a", "b"), deletes="soft", ops=[("p0", (4, "a", None)), *ops], unchanged=(("body",),), **change
    )
    gone = loads.make(deletes="hard", ops=ops, **change)
    texts = golden_parts(merging(whole, 5, types=types), whole), golden_parts(merging(gone, 3)[-1:], gone)
    golden("changes", [*texts[0], *texts[1]])


def golden_parts(statements: Iterable[str], load: Load) -> list[str]:
    return [sql.replace(load.load_id, "LOAD") for sql in statements]


def _found(*numbers: int) -> Any:
    from airflow_elt_provider.core.steps import Difference

    return Difference(*numbers)


def test_replace_without_a_key_and_a_column_of_the_user_s(loads: Loads) -> None:
    load = loads.make((1, "a"), version=7, mode="replace", columns=SMALL, key=())
    golden("replace", merging(load, 1, types={"id": "bigint", "mine": "date", "name": "string"}), load)


def test_append(loads: Loads) -> None:
    load = loads.make((1, "a"), version=7, mode="append", columns=SMALL, replaces=("0" * 32,))
    golden("append", merging(load, 1, types={"id": "bigint", "name": "string", "_elt_load_id": "string"}), load)


def test_interval_with_rows_and_without(loads: Loads) -> None:
    interval = {"version": None, "mode": "replace", "columns": SMALL, "cursor": "id", "interval": Interval("1", "5")}
    load = loads.make((1, "a"), **interval)
    golden("interval", [*merging(load, 1), *merging(loads.make(**interval), 0)[-1:]], load)


# --- DDL ---


def test_create(loads: Loads) -> None:
    loads.settings = {"table_options": {"cluster_by": ["id"], "properties": {"team": "it's"}, "location": "s3://b/t"}}
    append = loads.make(ROW, mode="append", version=0, target="other.raw.Item")
    created = evolve(DIALECT, append, None).ddl
    loads.settings = {"table_options": {"partition_by": ["name"]}}
    more = evolve(DIALECT, loads.make((1, "a"), columns=SMALL, deletes="soft"), None).ddl
    golden("create", [DIALECT.create_schema(DIALECT.place(append.target)), *created, *more])


def test_evolve(loads: Loads) -> None:
    current = {"id": "int", "name": "int", "amount": "decimal(5,2)"}
    ddl = evolve(DIALECT, loads.make(ROW), TargetTable(current)).ddl
    left = ("id", "_elt_old_a", "b", "_elt_old_b", "_elt_new_c", "_elt_new_a")
    half = DIALECT.unfinished(loads.make(ROW).target, dict.fromkeys(left, "string"))
    fence = DIALECT.set_property(loads.make(ROW).target, "elt.fence", "0a1b2c3d")
    golden("evolve", [*ddl, *half, fence])
    assert DIALECT.enabling(loads.make(ROW).target, ddl) == ()


def test_a_column_without_a_time_zone_is_enabled_first(loads: Loads) -> None:
    """Delta does so by itself only where the table is created with one."""
    load = loads.make((1, "a", None), columns=(*SMALL, "at timestamp"))
    ddl = evolve(DIALECT, load, TargetTable({"id": "bigint", "name": "string"})).ddl
    assert [*DIALECT.enabling(load.target, ddl), *ddl] == [
        "ALTER TABLE `main`.`raw`.`item` SET TBLPROPERTIES ('delta.feature.timestampNtz' = 'supported')",
        "ALTER TABLE `main`.`raw`.`item` ADD COLUMN `at` timestamp_ntz",
    ]
    assert DIALECT.enabling(load.target, evolve(DIALECT, load, None).ddl) == ()


def test_our_own_tables() -> None:
    golden("state", create_statements(DIALECT, "it's a stream", ("staging",)))
