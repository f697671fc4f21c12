"""What is checked while a DAG file is parsed, and what Airflow stores of a DAG."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.airflow import in_process

pytestmark = pytest.mark.lowest

EXAMPLES = sorted((Path(__file__).parents[2] / "example_dags").glob("elt_*.py"))
SYNC = """
SyncTableOperator(task_id="t", source_conn_id="rds", source_table="public.actor", destination_conn_id="lake",
                  target_table="raw.actor", **({parameters}))
"""
WRONG = {
    "dict(mode='upsert')": "mode='upsert' is unknown",
    "dict(capture='xmin', deletes='hard')": "does not see deletes",
    "dict(capture='wal', query='SELECT 1', source_table=None)": "follows a table, and this is a query",
    "dict(capture='fingerprint', mode='replace')": "would throw away",
    "dict(capture='cursor')": "has no cursor_column",
    "dict(cursor_column='u', mode='replace')": "would throw away",
    "dict(cursor_column='u', deletes='hard')": "does not see deletes",
    "dict(deletes='soft', mode='append')": "does not go with",
    "dict(hash_columns={'a': 'b'}, redact_columns=['a'])": "both hashed and redacted",
    "dict(max_quarantined_rows=-1)": "is no number of rows",
    "dict(path='x/*.csv', source_table=None)": "or an absolute",
    "dict(interval=('{{ ds }}', '{{ ds }}'))": "interval needs a cursor column",
    "dict(full_refresh='perhaps')": "neither true nor false",
    "dict(parallelism=0)": "parallelism=0",
    "dict(checks=['not_nul(id)'])": "is not a check",
    "dict(on_schema_drift='ignore')": "on_schema_drift='ignore'",
    "dict(max_delete_ratio=2)": "max_delete_ratio=2",
    "dict(primary_key=[])": "primary_key is empty",
    "dict(query='SELECT 1')": "exactly one of source_table, query and path",
    "dict(source_table='a..b') | dict(source_table='a..b')": "is not a table name",
}


@pytest.mark.parametrize(("parameters", "message"), WRONG.items())
def test_a_parameter_that_cannot_be_meant_is_an_import_error(parameters, message):
    given = f"dict(source_table='public.actor') | {parameters}"
    _, path = in_process.write(SYNC.replace('source_table="public.actor", ', "").format(parameters=given))
    with pytest.raises(AssertionError, match="ConfigurationError") as refused:
        in_process.load(path)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    "parameters",
    [
        "cursor_column='updated_at', mode='append'",
        "checkpoint={}, destination_conn_id='lake'",
        "mode='append'",
    ],
)
def test_an_extract_must_know_where_to_start(parameters):
    _, path = in_process.write(
        f"ExtractOperator(task_id='t', source_conn_id='rds', source_table='a', target_table='b', {parameters})"
    )
    with pytest.raises(AssertionError, match="of checkpoint and destination_conn_id"):
        in_process.load(path)


def test_templates_wait_for_their_values():
    _, path = in_process.write("""
SyncTableOperator(task_id="t", source_conn_id="rds", destination_conn_id="lake", source_table="{{ a }}.{{ b }}",
                  target_table="{{ c }}", full_refresh="{{ d }}", interval=("{{ e }}", "{{ f }}"), cursor_column="u")
@task
def where():
    return "id > 1"
SyncTableOperator(task_id="u", source_conn_id="rds", destination_conn_id="lake", source_table="a", target_table="b",
                  where=where())
""")
    (dag,) = in_process.load(path).values()
    assert {task.task_id for task in dag.get_task("u").get_direct_relatives(upstream=True)} == {"where"}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_can_be_stored(path):
    from airflow.serialization import serialized_objects

    in_process.boot()  # Airflow 2 looks aliases up when it stores a DAG
    (dag,) = in_process.load(path).values()
    assert dag.dag_id == path.stem
    serializer = serialized_objects.SerializedDAG if in_process.AIRFLOW_2 else serialized_objects.DagSerialization
    stored = json.loads(json.dumps(serializer.to_dict(dag)))
    again = serializer.from_dict(stored)
    assert set(again.task_dict) == set(dag.task_dict)
