"""ReconcileOperator and PlanOperator under Airflow, on a real PostgreSQL and a real DuckDB."""

from __future__ import annotations

import json
import logging

import pytest

from airflow_elt_provider.errors import ConfigurationError
from airflow_elt_provider.operators.plan import PlanOperator
from airflow_elt_provider.operators.reconcile import ReconcileOperator
from tests.airflow import in_process

pytestmark = pytest.mark.lowest

COMMON = 'source_conn_id="rds", source_table="public.actor", destination_conn_id="lake", target_table="raw.actor"'
IMPORTS = """
from airflow_elt_provider.operators.plan import PlanOperator
from airflow_elt_provider.operators.reconcile import ReconcileOperator
"""
SYNC = f"""{IMPORTS}
SyncTableOperator(task_id="sync", {COMMON})
"""
RECONCILE = f"""{IMPORTS}
ReconcileOperator(task_id="reconcile", retries=3, retry_pause=0.1, {{parameters}}, {COMMON})
"""
PLAN = f"""{IMPORTS}
PlanOperator(task_id="plan", {{parameters}}, {COMMON})
"""


def test_equal_tables_pass_and_unequal_ones_fail_at_once(place, caplog):
    """The log has a table; a difference fails the task without burning its retries, unless it is allowed."""
    in_process.run(SYNC)
    with caplog.at_level(logging.INFO):
        result = in_process.run(RECONCILE.format(parameters="max_differences=0")).one()
    assert (result["equal"], result["source_rows"], result["target_rows"]) == (True, 3, 3)
    assert json.loads(json.dumps(result)) == result
    place.sql("UPDATE actor SET name = 'secret' WHERE id = 2; DELETE FROM actor WHERE id = 3")
    run = in_process.run(RECONCILE.format(parameters="max_differences='{{ 1 }}'"))
    assert (run.state, run.states["reconcile"]) == ("failed", "failed")
    allowed = in_process.run(RECONCILE.format(parameters="max_differences='{{ 1 + 1 }}'")).one()
    assert [(key["key"]["id"], key["difference"], key["columns"]) for key in allowed["keys"]] == [
        ("2", "different", ["name"]), ("3", "surplus", []),
    ]  # fmt: skip
    assert "secret" not in json.dumps(allowed)


def test_a_plan_writes_nothing(place):
    """Neither a file, nor a table, nor a checkpoint; later the plan knows the checkpoint, and counts what is new."""
    cursor = "cursor_column='last_update', deletes='ignore', max_delete_ratio=0.25"
    first = in_process.run(PLAN.format(parameters=cursor)).one()
    assert not any(place.folder.iterdir())
    assert (first["checkpoint"], first["rows"], first["rows_exact"]) == (None, 3, True)
    assert first["ddl"]
    assert first["refused"] == ""
    in_process.run(f"SyncTableOperator(task_id='sync', cursor_column='last_update', {COMMON})")
    files = sorted(place.folder.rglob("*"))
    place.sql("ALTER TABLE actor ADD COLUMN age int; INSERT INTO actor VALUES (9, 'new', now())")
    second = in_process.run(PLAN.format(parameters=f"{cursor}, on_schema_drift={{'added': 'fail'}}")).one()
    assert second["checkpoint"].startswith("2026-01-04")
    assert "'age'" in second["refused"]
    third = in_process.run(PLAN.format(parameters=cursor)).one()
    assert [change["column"] for change in third["schema_changes"]] == ["age"]
    assert third["ddl"] == ['ALTER TABLE "lake"."raw"."actor" ADD COLUMN IF NOT EXISTS "age" INTEGER']
    assert sorted(place.folder.rglob("*")) == files
    assert place.lake("SELECT count(*) FROM raw.actor") == [(3,)]


@pytest.mark.parametrize(
    ("operator", "parameters"),
    [
        (ReconcileOperator, {"query": "SELECT 1"}),
        (ReconcileOperator, {"max_differences": "many"}),
        (ReconcileOperator, {"columns": ["a", "a"]}),
        (PlanOperator, {"mode": "upsert"}),
    ],
)
def test_mistakes_are_found_while_the_file_is_parsed(operator, parameters):
    """As with every operator."""
    given = {"source_conn_id": "rds", "destination_conn_id": "lake", "source_table": "a.b", "target_table": "a.b"}
    with pytest.raises(ConfigurationError):
        operator(task_id="x", **{**given, **parameters})
