"""The example from MySQL to DuckDB by whole DAG runs, with a real MariaDB."""

from __future__ import annotations

import json
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from servers.mariadb import HOW_TO_GET_IT, MariaDbServer, find_root
from tests.airflow import in_process

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(600)]

EXAMPLE = Path(__file__).parents[2] / "example_dags" / "mysql_to_duckdb.py"
SHOP = (
    "CREATE TABLE customers (id int PRIMARY KEY, name varchar(40), active tinyint(1))",
    "INSERT INTO customers VALUES (1, '日本', 1), (2, '', 0), (3, NULL, NULL)",
    "CREATE TABLE orders (id int PRIMARY KEY, amount decimal(10,2), updated_at timestamp)",
    "INSERT INTO orders SELECT seq, seq / 4, now() - INTERVAL seq MINUTE FROM seq_1_to_100",
)
CHANGES = (
    "DELETE FROM customers WHERE id = 2",
    "INSERT INTO customers VALUES (4, 'new', 1)",
    "UPDATE orders SET amount = 0, updated_at = now() WHERE id = 50",
)


@pytest.fixture
def shop(tmp_path):
    """Lend a way to change the shop; Airflow knows it, and the warehouse."""
    if find_root() is None:
        pytest.skip(f"no MariaDB on this machine: {HOW_TO_GET_IT}")
    with MariaDbServer() as server, server.database() as name:

        def change(statements):
            with closing(server.connect(name)) as connection, connection.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)

        with in_process.environment(
            AIRFLOW_CONN_SHOP=server.airflow_connection(name, ssl={"ca": str(server.authority)}),
            AIRFLOW_CONN_WAREHOUSE=json.dumps({"conn_type": "duckdb", "host": str(tmp_path / "warehouse.duckdb")}),
            AIRFLOW__ELT__STAGE=f"file://{tmp_path}/stage",
        ):
            yield change


def run(day):
    # Airflow 3 runs only what lies in its DAG folder; a failure shall show at once.
    copied = in_process.dags_folder() / EXAMPLE.name
    copied.write_text(EXAMPLE.read_text().replace('"retries": 2', '"retries": 0'))
    return in_process.run_file(copied, EXAMPLE.stem, date=datetime(2026, 1, day, tzinfo=UTC))


def test_changes_and_deletes_arrive(shop):
    shop(SHOP)
    first = run(5)
    assert first.state == "success"
    assert (first.xcoms["customers"]["inserted"], first.xcoms["orders"]["inserted"]) == (3, 100)
    shop(CHANGES)
    second = run(6).xcoms
    assert (second["customers"]["inserted"], second["customers"]["deleted"]) == (1, 1)
    assert (second["orders"]["inserted"], second["orders"]["updated"]) == (0, 1)
