"""The examples that end in a warehouse, each by `airflow tasks test`, twice: a first load, then one day's changes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from demo import film_rental
from servers import bigquery, databricks, snowflake
from servers.bigquery import BigQueryServer
from servers.databricks import DatabricksServer
from servers.gcs import GcsServer
from servers.s3 import S3Server
from servers.snowflake import SnowflakeServer
from tests.airflow import in_process

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
EXAMPLES = Path(__file__).parents[2] / "example_dags"
MERGED = re.compile(r"merge: ([\d,]+) inserted, ([\d,]+) updated, ([\d,]+) deleted")


@pytest.fixture
def business(postgres_server) -> Iterator[str]:
    with postgres_server.database() as name:
        with closing(postgres_server.connect(name)) as connection:
            film_rental.create(connection, scale=0.02)
        yield name


@contextmanager
def airflow_knows(**connections: str) -> Iterator[None]:
    with in_process.environment(**{f"AIRFLOW_CONN_{name.upper()}": value for name, value in connections.items()}):
        in_process.boot()
        yield


def tasks_test(example: str, task: str, day: int) -> tuple[int, ...]:
    """Run one task as a person does, and return what its log says of inserted, updated and deleted rows."""
    copied = in_process.dags_folder() / f"{example}.py"
    copied.write_text((EXAMPLES / copied.name).read_text())
    in_process.load(copied, register=True)
    words = [Path(sys.executable).with_name("airflow"), "tasks", "test", example, task, f"2026-01-{day:02}"]
    done = subprocess.run(words, env=dict(os.environ), capture_output=True, text=True, check=False)
    text = done.stdout + done.stderr
    found = MERGED.search(text)
    assert done.returncode == 0, text[-4000:]
    assert found or "merge: nothing new" in text, text[-4000:]
    return tuple(int(number.replace(",", "")) for number in found.groups()) if found else (0, 0, 0)


def at_source(server, name, sql):
    with closing(server.connect(name)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall() if cursor.description else []


def count(server, name, table):
    return at_source(server, name, f"SELECT count(*) FROM {table}")[0][0]


ONE_MORE = "INSERT INTO actor (first_name, last_name) VALUES ('PENÉLOPE', 'GUINESS')"


@pytest.mark.skipif(bool(snowflake.unavailable()), reason=str(snowflake.unavailable()))
def test_postgres_s3_snowflake(postgres_server, business):
    """Row 1 of the deployments: an INSERT and a DELETE at the source appear in Snowflake after the next run."""
    with S3Server() as s3, SnowflakeServer(s3) as server:
        s3.create_bucket("company-elt")
        database = server.create_database()
        # There are no integrations in the emulator: the stage's own keys are handed over.
        known = airflow_knows(
            rds=postgres_server.airflow_connection(business), company_s3=s3.airflow_connection(),
            snowflake=server.airflow_connection(database),
        )  # fmt: skip
        with known, in_process.environment(REQUESTS_CA_BUNDLE=str(server.ca_bundle)):
            actors = count(postgres_server, business, "actor")
            assert tasks_test("elt_postgres_s3_snowflake", "actor", 5) == (actors, 0, 0)
            at_source(postgres_server, business, ONE_MORE)
            gone = "DELETE FROM film_actor WHERE actor_id = 3; DELETE FROM actor WHERE actor_id = 3"
            at_source(postgres_server, business, gone)
            assert tasks_test("elt_postgres_s3_snowflake", "actor", 6) == (1, 0, 1)
        with server.connect(database) as connection:
            rows = connection.cursor().execute("SELECT ACTOR_ID, LAST_NAME FROM DVDRENTAL.ACTOR ORDER BY 1").fetchall()
        assert rows == at_source(postgres_server, business, "SELECT actor_id, last_name FROM actor ORDER BY 1")


@pytest.mark.skipif(bool(databricks.ENVIRONMENT.unavailable()), reason=str(databricks.ENVIRONMENT.unavailable()))
def test_postgres_s3_databricks(postgres_server, business):
    """Row 2: one inserted actor row, the log says 1, and the Delta table shows it."""
    with S3Server() as s3, DatabricksServer(s3) as server:
        s3.create_bucket("acme-elt-stage")
        path = server.create_warehouse()
        known = airflow_knows(
            film_rental=postgres_server.airflow_connection(business), aws=s3.airflow_connection(),
            databricks=server.airflow_connection(path),
        )  # fmt: skip
        with known:
            actors = count(postgres_server, business, "actor")
            assert tasks_test("elt_postgres_s3_databricks", "actor", 5) == (actors, 0, 0)
            at_source(postgres_server, business, ONE_MORE)
            assert tasks_test("elt_postgres_s3_databricks", "actor", 6) == (1, 0, 0)
        with server.connect(path) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT actor_id, last_name FROM main.postgres_rds_dvdrental_public.actor ORDER BY 1")
            rows = [tuple(row) for row in cursor.fetchall()]
        assert rows == at_source(postgres_server, business, "SELECT actor_id, last_name FROM actor ORDER BY 1")


@pytest.mark.heavy
@pytest.mark.skipif(bool(bigquery.unavailable()), reason=str(bigquery.unavailable()))
def test_postgres_gcs_bigquery(postgres_server, business):
    """Through a bucket of Google's into a partitioned and clustered table."""
    with GcsServer() as gcs, BigQueryServer(buckets=gcs.folder) as server:
        gcs.create_bucket("acme-elt-stage")
        google = json.loads(gcs.airflow_connection())
        google["extra"]["project"] = server.project
        known = airflow_knows(film_rental=postgres_server.airflow_connection(business), google=json.dumps(google))
        with known, in_process.environment(**gcs.env(), **server.env()):
            rentals = count(postgres_server, business, "rental")
            assert tasks_test("elt_postgres_gcs_bigquery", "rental", 5) == (rentals, 0, 0)
            at_source(
                postgres_server, business,
                "UPDATE rental SET return_date = now(), last_update = now() WHERE rental_id IN (1, 2)",
            )  # fmt: skip
            assert tasks_test("elt_postgres_gcs_bigquery", "rental", 6) == (0, 2, 0)
        assert server.query("SELECT COUNT(*) AS n FROM raw.rental") == [{"n": str(rentals)}]
