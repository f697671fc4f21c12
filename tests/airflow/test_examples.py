"""Every example DAG, really run: a film rental business in PostgreSQL, DuckDB as its warehouse."""

from __future__ import annotations

import json
import os
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pytest

from demo import film_rental
from tests.airflow import in_process

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.lowest

EXAMPLES = Path(__file__).parents[2] / "example_dags"


@pytest.fixture(scope="module")
def business(postgres_server, tmp_path_factory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("warehouse")
    with postgres_server.database() as name:
        with closing(postgres_server.connect(name)) as connection:
            film_rental.create(connection, scale=0.1)
        with in_process.environment(
            AIRFLOW_CONN_FILM_RENTAL=postgres_server.airflow_connection(name),
            AIRFLOW_CONN_WAREHOUSE=json.dumps({"conn_type": "duckdb", "host": str(folder / "warehouse.duckdb")}),
            AIRFLOW__ELT__STAGE=f"file://{folder}/stage",
        ):
            yield folder


def example(name, **arguments):
    # Airflow 3 runs only what lies in its DAG folder; a failure shall show at once.
    copied = in_process.dags_folder() / f"{name}.py"
    copied.write_text((EXAMPLES / copied.name).read_text().replace('"retries": 2', '"retries": 0'))
    return in_process.run_file(copied, name, **arguments)


def test_sync_table(business):
    first, second = example("elt_sync_table"), example("elt_sync_table", date=datetime(2026, 1, 6, tzinfo=UTC))
    assert first.xcoms["rental"]["inserted"] > 100
    assert second.xcoms["rental"]["extracted"] == 0
    again = example("elt_sync_table", date=datetime(2026, 1, 7, tzinfo=UTC), conf={"full_refresh": True})
    assert again.xcoms["rental"]["extracted"] == first.xcoms["rental"]["extracted"]
    assert again.xcoms["rental"]["inserted"] == 0


def test_history(business, postgres_server):
    first = example("elt_history", date=datetime(2026, 1, 5, tzinfo=UTC))
    customers = first.xcoms["customer"]["inserted"]
    name = json.loads(os.environ["AIRFLOW_CONN_FILM_RENTAL"])["schema"]
    with closing(postgres_server.connect(name)) as connection, connection, connection.cursor() as cursor:
        cursor.execute("UPDATE customer SET email = 'new@example.org' WHERE customer_id IN (1, 2)")
    second = example("elt_history", date=datetime(2026, 1, 6, tzinfo=UTC))
    assert (second.xcoms["customer"]["inserted"], second.xcoms["customer"]["updated"]) == (2, 0)
    with duckdb.connect(str(business / "warehouse.duckdb"), read_only=True) as warehouse:
        found = warehouse.execute(
            "SELECT count(*), count(*) FILTER (WHERE _elt_is_current), "
            "count(*) FILTER (WHERE _elt_is_current AND email = 'new@example.org') FROM raw.customer_history"
        ).fetchall()
    assert found == [(customers + 2, customers, 2)]


def test_every_change(business, postgres_server, monkeypatch):
    monkeypatch.setenv(
        "AIRFLOW_CONN_PRIVACY_KEY", '{"conn_type": "generic", "password": "a key of thirty-two characters.."}'
    )
    example("elt_every_change", date=datetime(2026, 1, 5, tzinfo=UTC))
    name = json.loads(os.environ["AIRFLOW_CONN_FILM_RENTAL"])["schema"]
    with closing(postgres_server.connect(name)) as connection, connection, connection.cursor() as cursor:
        cursor.execute("INSERT INTO actor (first_name, last_name) VALUES ('Setsuko', 'Hara') RETURNING actor_id")
    one = example("elt_every_change", date=datetime(2026, 1, 5, 1, tzinfo=UTC)).xcoms["actor"]
    assert (one["extracted"], one["inserted"], one["updated"], one["deleted"]) == (1, 1, 0, 0)
    with closing(postgres_server.connect(name)) as connection, connection, connection.cursor() as cursor:
        cursor.execute("DELETE FROM actor WHERE first_name = 'Setsuko'")
    gone = example("elt_every_change", date=datetime(2026, 1, 5, 2, tzinfo=UTC)).xcoms["actor"]
    assert (gone["extracted"], gone["inserted"], gone["updated"], gone["deleted"]) == (0, 0, 0, 1)
    with duckdb.connect(str(business / "warehouse.duckdb"), read_only=True) as warehouse:
        shown = warehouse.execute("SELECT email, last_name FROM mirror.customer WHERE email IS NOT NULL").fetchall()
    assert {len(email) for email, _ in shown} == {64}
    assert {name for _, name in shown} == {"***"}


def test_three_steps(business):
    run = example("elt_three_steps")
    assert run.state == "success"
    assert run.xcoms["merge"]["inserted"] == run.xcoms["extract"]["rows"] > 10


def test_partitioned_table(business):
    first = example("elt_partitioned_table")
    assert {f"rental.extract[{at}]" for at in range(3)} <= set(first.states)
    assert first.xcoms["rental.merge"]["inserted"] == sum(
        first.xcoms[f"rental.extract[{at}]"]["rows"] for at in range(3)
    )
    assert first.xcoms["rental.merge"]["consistent"] is False


def test_sync_tables(business):
    run = example("elt_sync_tables")
    assert run.state == "success"
    tables = run.xcoms["film_rental.tables"]
    assert len(tables) >= 14
    assert sum(state == "success" for name, state in run.states.items() if "sync[" in name) == len(tables)


def test_backfill_interval(business):
    opened = datetime(2026, 1, 3, tzinfo=UTC)
    runs = [example("elt_backfill_interval", date=opened.replace(day=day)) for day in (5, 3, 5)]
    assert {run.state for run in runs} == {"success"}
    assert runs[2].xcoms["payment"]["inserted"] == runs[0].xcoms["payment"]["inserted"]
    assert runs[2].xcoms["payment"]["deleted"] == runs[0].xcoms["payment"]["inserted"]


def test_private_network(business):
    first, second = (example("elt_private_network", date=datetime(2026, 1, day, tzinfo=UTC)) for day in (5, 6))
    assert first.xcoms["merge"]["inserted"] > 10
    assert second.xcoms["merge"]["extracted"] == 0


def test_stage_cleanup(business):
    run = example("elt_stage_cleanup")
    assert run.state == "success"
    assert set(run.xcoms["clean_up"]) == {"files", "bytes", "leftovers", "staging_tables"}


def test_reconcile(business):
    run = example("elt_reconcile")
    assert run.state == "success"
    found = run.xcoms["reconcile"]
    assert found["equal"]
    assert [left["column"] for left in found["not_compared"]] == ["preferences"]  # jsonb
    assert found["source_rows"] == found["target_rows"] == run.xcoms["sync"]["inserted"]


def test_plan(business):
    run = example("elt_plan")
    assert run.state == "success"
    plan = run.xcoms["payment"]
    assert plan["rows"] > 10
    assert plan["checkpoint"] is None
    assert plan["ddl"][0].startswith("CREATE TABLE")
