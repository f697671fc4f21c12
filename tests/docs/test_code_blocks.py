from __future__ import annotations

import json
import os
import subprocess
from contextlib import closing

import duckdb
import pytest

from airflow_elt_provider.connectors.duckdb.dialect import DuckdbDialect
from airflow_elt_provider.connectors.postgres.dialect import PostgresDialect
from servers.postgres import PostgresServer
from tests.docs.pages import ELT, ROOT, blocks

PYTHON = blocks("python")
_RUN_ALL = """
import json, sys, types
try:
    from airflow.sdk import DAG
except ImportError:
    from airflow import DAG
sys.modules["probe"] = types.SimpleNamespace(DAG=DAG)
for number, text in enumerate(json.loads(sys.argv[1])):
    exec(compile(text, f"block {number}", "exec"), {"__name__": f"block_{number}"})
print("ran", number + 1)
"""
CHECKPOINT = """INSERT INTO _elt.checkpoints VALUES ('s', 1, 'l', '{"cursor": {"value": "7"}}', now())"""


@pytest.mark.parametrize("block", PYTHON, ids=str)
def test_python_compiles(block):
    compile(block.text, block.page, "exec")


@pytest.mark.parametrize("block", blocks("json"), ids=str)
def test_json_is_json(block):
    json.loads(block.text)


def test_python_runs_as_a_dag_file(python_under_airflow):
    """Every block is run; operators check their parameters when they are made."""
    texts = [block.text.replace("from airflow.sdk import DAG", "from probe import DAG") for block in PYTHON]
    assert f"ran {len(texts)}" in python_under_airflow(_RUN_ALL, json.dumps(texts))


@pytest.fixture(scope="module")
def server():
    with PostgresServer() as running:
        yield running


def _run(block, execute):
    for statement in block.text.split(";\n"):
        if statement.strip():
            execute(statement)


def _queries():
    return [block for block in blocks("sql") if "_elt." in block.text]


@pytest.mark.parametrize("block", _queries(), ids=str)
def test_queries_of_the_sync_log_run_in_duckdb(block):
    with duckdb.connect() as connection:
        for sql in DuckdbDialect("memory").state_tables():
            connection.execute(sql)
        connection.execute(CHECKPOINT)
        _run(block, connection.execute)


@pytest.mark.parametrize("block", _queries(), ids=str)
def test_queries_of_the_sync_log_run_in_postgres(block, server):
    with closing(server.connect(server.create_database())) as connection, connection.cursor() as cursor:
        for sql in PostgresDialect().state_tables():
            cursor.execute(sql)
        cursor.execute(CHECKPOINT)
        _run(block, cursor.execute)


def _grants(marker, database):
    (block,) = (block for block in blocks("sql") if block.text.startswith(f"-- {marker}\n"))
    text = block.text.replace("film_rental", f'"{database}"').replace("warehouse", f'"{database}"')
    return text.replace("…", "secret")


def _elt(env, *arguments):
    done = subprocess.run(
        [ELT, "-q", *arguments, "--json"],
        cwd=ROOT, env={**os.environ, **env}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def _login(server, database, user):
    return json.dumps({**json.loads(server.airflow_connection(database)), "login": user, "password": "secret"})


def test_privileges_of_the_source_are_enough(server, tmp_path):
    database = server.create_database()
    with closing(server.connect(database)) as connection, connection.cursor() as cursor:
        cursor.execute(
            "CREATE TABLE film (id int PRIMARY KEY, at timestamptz DEFAULT now()); INSERT INTO film VALUES (1)"
        )
        cursor.execute(_grants("source", database))
        cursor.execute("CREATE TABLE actor (id int PRIMARY KEY); INSERT INTO actor VALUES (1), (2)")
        connection.commit()
    env = {
        "AIRFLOW_CONN_SOURCE": _login(server, database, "elt_reader"),
        "AIRFLOW_CONN_LAKE": json.dumps({"conn_type": "duckdb", "host": str(tmp_path / "lake.duckdb")}),
    }
    plain = (
        "sync",
        "--source-conn-id",
        "source",
        "--destination-conn-id",
        "lake",
        "--stage",
        f"file://{tmp_path}/stage",
    )
    film = (
        *plain,
        "--source-table",
        "public.film",
        "--target-table",
        "film",
        "--cursor-column",
        "at",
        "--parallelism",
        "2",
    )
    assert _elt(env, *film)["inserted"] == 1
    assert _elt(env, *film)["extracted"] == 0
    assert _elt(env, *plain, "--source-table", "public.actor", "--target-table", "actor")["inserted"] == 2


def test_privileges_of_the_destination_are_enough(server, tmp_path):
    database, source = server.create_database(), server.create_database()
    with closing(server.connect(database)) as connection, connection.cursor() as cursor:
        cursor.execute(_grants("destination", database))
        connection.commit()
    with closing(server.connect(source)) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE film (id int PRIMARY KEY); INSERT INTO film VALUES (1)")
        connection.commit()
        env = {
            "AIRFLOW_CONN_SOURCE": server.airflow_connection(source),
            "AIRFLOW_CONN_WAREHOUSE": _login(server, database, "elt_writer"),
        }
        sync = (
            "sync", "--source-conn-id", "source", "--destination-conn-id", "warehouse", "--source-table", "public.film",
            "--target-table", "raw.film", "--stage", f"file://{tmp_path}/stage",
        )  # fmt: skip
        assert _elt(env, *sync)["inserted"] == 1
        cursor.execute("ALTER TABLE film ADD COLUMN title text DEFAULT 'x'")
        connection.commit()
        assert _elt(env, *sync)["updated"] == 1
