"""What others hear of a sync: asset events and OpenLineage."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.airflow import in_process

pytestmark = pytest.mark.lowest

LINEAGE = Path(os.environ["AIRFLOW_HOME"]) / "lineage.jsonl"
STEPS = """
extract = ExtractOperator(task_id="extract", source_conn_id="rds", source_table="public.actor",
                          target_table="raw.actor", destination_conn_id="lake", rename=dict(name="full_name"))
stage = StageOperator(task_id="stage", manifest=extract.output, destination_conn_id="lake", target_table="raw.actor")
merge = MergeOperator(task_id="merge", staged=stage.output, destination_conn_id="lake"{target})
"""


def events_of(run) -> list[tuple[str, dict]]:
    """Return URI and extra of the asset events of a run."""
    from airflow.utils.session import create_session

    try:
        from airflow.models.asset import AssetEvent as Event
    except ImportError:
        from airflow.models.dataset import DatasetEvent as Event
    with create_session() as session:
        found = session.query(Event).filter_by(source_dag_id=run.run.dag_id, source_run_id=run.run.run_id).all()
        return [
            ((getattr(event, "asset", None) or getattr(event, "dataset", None)).uri, event.extra) for event in found
        ]


BODIES = {
    "sync": """
SyncTableOperator(task_id="a", source_conn_id="rds", source_table="public.actor", destination_conn_id="lake",
                  target_table="raw.actor")
""",
    "templated": """
SyncTableOperator(task_id="a", source_conn_id="rds", source_table="public.actor", destination_conn_id="lake",
                  target_table="raw.{{ 'actor' }}")
""",
    "mapped": """
SyncTableOperator.partial(task_id="a", source_conn_id="rds", source_table="public.actor", destination_conn_id="lake",
                          ).expand(target_table=["raw.actor"])
""",
    "merge": STEPS.format(target=""),
    "merge, named": STEPS.format(target=", target_table='raw.actor'"),
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
def test_one_asset_event_per_target(place, body):
    run = in_process.run(body)
    assert run.state == "success"
    ((uri, extra),) = events_of(run)
    assert uri == "elt://lake/raw.actor"
    assert {name: extra[name] for name in ("rows", "inserted", "updated", "deleted")} == {
        "rows": 3,
        "inserted": 3,
        "updated": 0,
        "deleted": 0,
    }
    assert len(extra["load_id"]) == 32
    assert len(extra["schema_hash"]) == 16


@pytest.mark.parametrize("body", [BODIES["mapped"], BODIES["templated"]])
def test_a_dag_that_no_scheduler_has_seen_runs_too(place, body):
    assert in_process.run(body, register=False).state == "success"


def completed(task: str, run) -> dict:
    """Return the last COMPLETE event of a task."""
    name = f"{run.run.dag_id}.{task}"
    events = [json.loads(line) for line in LINEAGE.read_text().splitlines()]
    return [event for event in events if event["eventType"] == "COMPLETE" and event["job"]["name"] == name][-1]


@pytest.mark.parametrize(("body", "task"), [(STEPS.format(target=""), "merge"), (BODIES["sync"], "a")])
def test_lineage_has_columns_and_counts(place, body, task):
    event = completed(task, in_process.run(body))
    (source,), (target,) = event["inputs"], event["outputs"]
    assert source["namespace"] == f"postgres://127.0.0.1:{place.server.port}"
    assert source["name"] == f"{place.dbname}.public.actor"
    assert target["name"] == f"{place.folder}/lake.duckdb.raw.actor"
    named = "full_name" if task == "merge" else "name"
    (origin,) = target["facets"]["columnLineage"]["fields"][named]["inputFields"]
    assert (origin["name"], origin["field"]) == (source["name"], "name")
    assert {field["name"] for field in target["facets"]["schema"]["fields"]} == {"id", named, "last_update"}
    assert target["outputFacets"]["outputStatistics"]["rowCount"] == 3


def test_extract_names_its_source(place):
    event = completed("extract", in_process.run(STEPS.format(target="")))
    assert [item["name"] for item in event["inputs"]] == [f"{place.dbname}.public.actor"]
