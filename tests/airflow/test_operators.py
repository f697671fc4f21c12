"""The operators under Airflow, on a real PostgreSQL and a real DuckDB."""

from __future__ import annotations

import pytest

from tests.airflow import in_process

pytestmark = pytest.mark.lowest

SYNC = """
SyncTableOperator(task_id="actor", source_conn_id="rds", source_table="public.actor", destination_conn_id="lake",
                  target_table="raw.actor")
"""


def test_sync(place):
    first = in_process.run(SYNC)
    assert first.state == "success"
    result = first.one()
    assert (result["extracted"], result["inserted"], result["updated"]) == (3, 3, 0)
    assert result["stream"] == "rds.public.actor->raw.actor"
    assert place.lake("SELECT id, name FROM raw.actor ORDER BY id") == [(1, "actor 1"), (2, "actor 2"), (3, "actor 3")]
