"""Several tables of one slot, as Airflow runs them."""

from __future__ import annotations

import json
from contextlib import closing
from datetime import UTC, datetime

import duckdb
import pytest

from demo import film_rental
from tests.airflow import in_process
from tests.airflow.test_examples import example

pytestmark = pytest.mark.lowest


@pytest.fixture
def rental(postgres_server, tmp_path):
    """The business, its warehouse, and a way to change the business."""
    with postgres_server.database() as name, closing(postgres_server.connect(name)) as connection:
        connection.autocommit = True
        film_rental.create(connection, scale=0.1)
        with in_process.environment(
            AIRFLOW_CONN_FILM_RENTAL=postgres_server.airflow_connection(name),
            AIRFLOW_CONN_WAREHOUSE=json.dumps({"conn_type": "duckdb", "host": str(tmp_path / "warehouse.duckdb")}),
            AIRFLOW__ELT__STAGE=f"file://{tmp_path}/stage",
        ), connection.cursor() as cursor:  # fmt: skip
            yield cursor, tmp_path / "warehouse.duckdb"
            cursor.execute("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots")


def count(rental, table: str) -> tuple[int, int]:
    cursor, path = rental
    cursor.execute(f"SELECT count(*) FROM public.{table}")
    with duckdb.connect(str(path)) as warehouse:
        return cursor.fetchone()[0], warehouse.execute(f"SELECT count(*) FROM wal.{table}").fetchone()[0]


def test_wal_many_tables(rental):
    first = example("wal_many_tables")
    assert first.state == "success"
    assert all(source == target > 10 for source, target in (count(rental, name) for name in ("customer", "rental")))
    cursor = rental[0]
    cursor.execute("DELETE FROM payment WHERE payment_id IN (SELECT payment_id FROM payment ORDER BY 1 LIMIT 3)")
    cursor.execute("UPDATE rental SET return_date = now() WHERE rental_id IN (SELECT rental_id FROM rental LIMIT 2)")
    second = example("wal_many_tables", date=datetime(2026, 1, 6, tzinfo=UTC))
    assert second.state == "success"
    counts = [
        tuple(second.xcoms[f"merge[{at}]"][name] for name in ("inserted", "updated", "deleted")) for at in range(3)
    ]
    assert counts == [(0, 0, 0), (0, 2, 0), (0, 0, 3)]
    source, target = count(rental, "payment")
    assert target == source + 3, "soft deletes stay"
    idle = example("wal_many_tables", date=datetime(2026, 1, 7, tzinfo=UTC))
    assert [item["manifest"]["rows"] for item in idle.xcoms["extract"]] == [0, 0, 0]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [("tables=[], slot='s'", "no table"), ("tables=[{'source_table': 'a.b'}], slot='s'", "does not say what to read"),
     ("tables=[{'source_table': 'a.b', 'target_table': 'c.d', 'mode': 'append'}], slot='s'", "append"),
     ("tables=[{'source_table': 'a.b', 'target_table': 'c.d'}], slot=''", "no slot")],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused(parameters, message):
    from airflow_elt_provider.errors import ConfigurationError
    from airflow_elt_provider.operators.slot import ExtractSlotOperator

    with pytest.raises(ConfigurationError, match=message):
        ExtractSlotOperator(
            task_id="t",
            source_conn_id="a",
            destination_conn_id="b",
            **eval(f"dict({parameters})"),
        )
