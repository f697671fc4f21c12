"""Each step alone by `airflow tasks test`, with one date, and literal URIs in place of the tasks before."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.airflow import in_process

pytestmark = [pytest.mark.lowest, pytest.mark.slow]

BODY = """
import os
manifest = os.environ.get("LITERAL", "{{ ti.xcom_pull('extract') }}")
staged = os.environ.get("LITERAL", "{{ ti.xcom_pull('stage') }}")
checkpoint = CheckpointOperator(task_id="checkpoint", destination_conn_id="lake", source_conn_id="rds",
                                source_table="public.actor", target_table="raw.actor")
extract = ExtractOperator(task_id="extract", source_conn_id="rds", source_table="public.actor",
                          target_table="raw.actor",
                          cursor_column="last_update",
                          checkpoint=os.environ.get("CHECKPOINT", checkpoint.output))
StageOperator(task_id="stage", manifest=manifest, destination_conn_id="lake", target_table="raw.actor", retries=3)
MergeOperator(task_id="merge", staged=staged, destination_conn_id="lake")
"""


def tasks_test(dag_id, task_id, **env):
    """Run a task alone and return what it printed; the exit code goes with it."""
    words = [Path(sys.executable).with_name("airflow"), "tasks", "test", dag_id, task_id, "2026-01-05"]
    done = subprocess.run(words, env={**os.environ, **env}, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def printed(text, what):
    """Return the JSON that follows ``what`` in the log."""
    _, found, rest = text.partition(what)
    assert found, text[-3000:]
    return json.JSONDecoder().raw_decode(rest.strip())[0]


def test_step_by_step_with_literal_uris(place):
    in_process.boot()
    dag_id, _ = in_process.write(BODY)
    code, text = tasks_test(dag_id, "checkpoint")
    assert code == 0, text
    checkpoint = json.dumps(printed(text, "raw.actor: checkpoint: "))
    code, text = tasks_test(dag_id, "extract", CHECKPOINT=checkpoint)
    assert code == 0, text
    uri = printed(text, "extract: reference ")["manifest"]
    assert uri.startswith("file://")
    for task_id in ("stage", "merge"):
        code, text = tasks_test(dag_id, task_id, LITERAL=uri)
        assert code == 0, text
    assert place.lake("SELECT count(*) FROM raw.actor") == [(3,)]


@pytest.mark.parametrize("task_id", ["stage"])
def test_without_the_task_before_it_says_what_to_write(place, task_id):
    in_process.boot()
    dag_id, _ = in_process.write(BODY)
    _, text = tasks_test(dag_id, task_id)
    assert "rendered to None: there is no" in text
    assert "write the value itself" in text
