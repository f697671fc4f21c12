"""The very statements that BigQuery is sent, as text files: what its emulator lets pass, a reader need not.

`ELT_GOLDEN=write pytest tests/connectors/bigquery -k golden` writes them anew; look at the difference.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import sqlglot
from sqlglot import exp

from airflow_elt_provider.connectors.bigquery.dialect import BigQueryDialect
from airflow_elt_provider.connectors.bigquery.jobs import bound
from airflow_elt_provider.connectors.bigquery.script import Script
from airflow_elt_provider.connectors.bigquery.writes import BigQueryHistorySql, BigQueryWrites
from airflow_elt_provider.core.buckets import BucketKind, Buckets
from airflow_elt_provider.core.dialect import Sql
from airflow_elt_provider.core.evolve import TargetTable, evolve
from airflow_elt_provider.core.plan import Interval
from airflow_elt_provider.core.publish import Publication
from tests.connectors.staged_loads import Loads, column, odd

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_elt_provider.core.load import Load

GOLDEN = Path(__file__).with_name("golden")
DIALECT = BigQueryDialect("acme", "raw")
COLUMNS = (
    "id bigint", "name text", "amount decimal(12,2)", "moment timestamptz", "doc json",
    column("tags text", format="array", source_type="integer[]"),
)  # fmt: skip
UNKNOWN = re.compile(r"(DROP|ADD) PRIMARY KEY|, RENAME COLUMN")
"""What sqlglot does not know of BigQuery: https://cloud.google.com/bigquery/docs/reference/standard-sql/data-definition-language."""
ORPHANS = "LIKE 'p%') _elt_s"
"""Stands in the question after rows that only the target could complete, and that are not there."""
KINDS = (exp.Query, exp.DML, exp.Create, exp.Alter, exp.Merge, exp.Delete, exp.Update, exp.Insert)


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
        columns = sqlglot.parse_one(sql, dialect="bigquery").expressions
        if (len(columns) > 1 and "FULL JOIN" not in sql) or ORPHANS in sql:
            return [(0,) * len(columns)]
        return [self.numbers]


@pytest.fixture
def loads(tmp_path: Path) -> Loads:
    return Loads(tmp_path, "item", columns=COLUMNS)


def golden(name: str, text: str, load: Load | None = None) -> None:
    """Compare with a text file, and see that each statement is one to sqlglot too."""
    if load:
        text = text.replace(load.load_id, "LOAD")
    text = text.strip() + "\n"
    for statement in text.split(";\n"):
        if statement.startswith(("DECLARE", "BEGIN", "COMMIT", "ASSERT", "SET")) or not statement.strip():
            continue
        if not UNKNOWN.search(statement):
            assert isinstance(sqlglot.parse_one(statement, dialect="bigquery"), KINDS), statement
    file = GOLDEN / f"{name}.sql"
    if os.environ.get("ELT_GOLDEN") == "write":
        file.write_text(text)
    assert text == file.read_text()


def merging(load: Load, *numbers: int, types: dict[str, str] | None = None, dialect: BigQueryDialect = DIALECT) -> str:
    """Return questions and script of a load into a target of its own types."""
    object.__setattr__(load, "staging", "staging_20260101T000000_LOAD_0a1b2c3d")
    own = {each.name: DIALECT.column_type(each) for each in load.manifest.schema.columns}
    session = Answers(*numbers)
    publication = Publication(session, dialect, load, types or own, exchangeable=True, writes=BigQueryWrites)
    plan = publication.plan()
    receipt = publication.receipt(plan, plan.counts)
    script = Script.merging(DIALECT, publication.compare_and_set(), plan, receipt, load.manifest.stream)
    assert script.sql.count("\0") == len(script.params)
    return ";\n".join([*session.asked, bound(script.sql)])


ROW = (1, "a", None, None, None, None)


def test_merge(loads: Loads) -> None:
    load = loads.make(ROW, version=7, backfill={"name": "x"})
    golden("merge", merging(load, 1), load)


def test_mirror_with_exceptional_values(loads: Loads) -> None:
    load = loads.make(odd(*ROW, moment="infinity"), version=7, deletes="hard", complete=True)
    golden("mirror", merging(load, 1, 2, 3), load)


def test_soft_deletes(loads: Loads) -> None:
    types = {"id": "INT64", "name": "STRING", "_elt_deleted_at": "TIMESTAMP"}
    load = loads.make((1, "a"), version=7, deletes="soft", complete=True, columns=("id bigint", "name text"))
    golden("soft", merging(load, 1, 2, 3, types=types), load)


CHANGE = [("p0", (1, "a", None)), ("d", (2,)), ("b", (-64,)), ("k", (3,))]
SMALL = ("id bigint", "name text", "body text")
TYPES = {"id": "INT64", "name": "STRING", "body": "STRING"}
FILTERED = BigQueryDialect("acme", "raw", filtered=("day", "DATE"))
"""Of a target whose every query has to choose partitions."""


VERSIONS = {"_elt_valid_from": "TIMESTAMP", "_elt_valid_to": "TIMESTAMP", "_elt_is_current": "BOOL"}


def test_history(loads: Loads) -> None:
    load = loads.make(
        (1, "a", None), version=7, deletes="hard", complete=True, columns=("id bigint", "name text", "doc json"),
        mode="history", as_of="2026-01-05T00:00:00+09:00",
    )  # fmt: skip
    object.__setattr__(load, "staging", "staging_20260101T000000_LOAD_0a1b2c3d")
    sql = BigQueryHistorySql(FILTERED, load, {"id": "INT64", "name": "STRING", "doc": "JSON", **VERSIONS})
    made = (sql.count_gone(), sql.count_versions(), sql.delete_gone(), sql.insert_versions(), sql.correct_versions(),
            sql.move_ends(), sql.backfill("name").replace("\0", "?"))  # fmt: skip
    golden("history", ";\n".join(map(str, made)), load)


def test_changes_with_a_keyset_by_ranges(loads: Loads) -> None:
    buckets = Buckets(BucketKind.RANGE, ("id",), 64)
    load = loads.make(
        version=7, deletes="hard", columns=SMALL, ops=CHANGE, buckets=buckets, unchanged=(("body",),),
        max_delete_ratio=1,
    )  # fmt: skip
    golden("changes", merging(load, 4, types={**TYPES, "day": "DATE"}, dialect=FILTERED), load)


def test_changes_with_a_keyset_by_md5(loads: Loads) -> None:
    keys = {"columns": ("u uuid", "n bigint", "v text"), "key": ("u", "n")}
    buckets = Buckets(BucketKind.MD5, ("u", "n"), 4)
    load = loads.make(version=7, deletes="soft", ops=[("b1f", (None, None))], buckets=buckets, **keys)
    types = {"u": "STRING", "n": "INT64", "v": "STRING", "_elt_deleted_at": "TIMESTAMP"}
    golden("changes_md5", merging(load, 1, types=types), load)


def test_replace(loads: Loads) -> None:
    load = loads.make((1, "a"), version=7, mode="replace", columns=("id bigint", "name text"), key=())
    golden("replace", merging(load, 1), load)


def test_append_for_the_first_time(loads: Loads) -> None:
    load = loads.make((1, "a"), version=0, mode="append", columns=("id bigint", "name text"))
    types = {"id": "INT64", "name": "STRING", "_elt_load_id": "STRING"}
    golden("append", merging(load, 1, types=types), load)


def test_interval(loads: Loads) -> None:
    load = loads.make(
        (1, "a"), version=None, mode="replace", columns=("id bigint", "name text"), cursor="id",
        interval=Interval("1", "5"),
    )  # fmt: skip
    golden("interval", merging(load, 1), load)


def test_no_rows(loads: Loads) -> None:
    load = loads.make(version=7, mode="replace", allow_empty=True)
    object.__setattr__(load, "staging", "")
    assert str(DIALECT.staging(load)).endswith("LIMIT 0)")
    assert sqlglot.parse_one(f"SELECT * FROM {DIALECT.staging(load)}", dialect="bigquery").find(exp.Limit)


# --- DDL ---


def test_create(loads: Loads) -> None:
    loads.settings = {
        "table_options": {
            "partition_by": "DATE(moment)", "cluster_by": ["id", "name"], "require_partition_filter": True,
            "partition_expiration_days": 30, "labels": {"team": "dwh"}, "description": "it's\nhere",
        }
    }  # fmt: skip
    load = loads.make(ROW)
    state = (*DIALECT.create_state(), DIALECT.create_checkpoint("public.item->item"))
    golden("create", ";\n".join((*evolve(DIALECT, load, None).ddl, *state)))


def test_evolve(loads: Loads) -> None:
    target = TargetTable(
        {"id": "INT64", "name": "BYTES", "amount": "NUMERIC(10,2)", "doc": "STRING", "tags": "JSON"}, ("id",)
    )
    evolution = evolve(DIALECT, loads.make(ROW, columns=(*COLUMNS, "more text")), target)
    golden("evolve", ";\n".join(DIALECT.add_columns(loads.make(ROW).target, evolution.ddl)))


def test_a_key_column_becomes_text(loads: Loads) -> None:
    dialect = BigQueryDialect("acme", "raw", key=("id",))
    target = TargetTable({"id": "INT64", "name": "STRING"}, ("id",))
    evolution = evolve(dialect, loads.make(("1", "a"), columns=("id text", "name text")), target)
    golden("key_as_text", ";\n".join(evolution.ddl))
