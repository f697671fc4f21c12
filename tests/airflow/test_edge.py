"""A source in a private network: extracted by an Edge worker without a route to destination and metadata database.

The worker lives in a network namespace with three doors: Airflow's API, the source and the stage. It is killed in the
middle of an extract.
"""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path

import pytest

from servers.airflow_edge import PRIVATE, EdgeAirflow
from servers.postgres import PostgresServer
from servers.private_network import PrivateNetwork
from servers.process_tree import listeners, listening
from servers.s3 import S3Server
from tests.airflow.in_process import AIRFLOW_2

pytestmark = [pytest.mark.heavy, pytest.mark.skipif(AIRFLOW_2, reason="servers.airflow_edge runs Airflow 3")]

DAG = "elt_private_network"
EXAMPLE = Path(__file__).parents[2] / "example_dags" / f"{DAG}.py"
LOOK = """
import os, socket
from datetime import UTC, datetime
from airflow.sdk import DAG, BaseHook, task

with DAG("look", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)):

    def look(ports):
        def reached(port):
            try:
                socket.create_connection(("127.0.0.1", port), timeout=5).close()
            except OSError:
                return False
            return True

        def known(conn_id):
            try:
                return bool(BaseHook.get_connection(conn_id))
            except Exception:
                return False

        return {
            "reached": {name: reached(port) for name, port in ports.items()},
            "known": {name: known(name) for name in ("film_rental", "company_s3", "warehouse")},
            "environment": "".join(f"{name}={value}" for name, value in os.environ.items()),
        }

    for queue in ("default", "private"):
        task(task_id=queue, queue=queue)(look)(PORTS)
"""
CREATE = """
CREATE TABLE inventory (inventory_id int PRIMARY KEY, film text NOT NULL, last_update timestamptz NOT NULL);
INSERT INTO inventory SELECT n, 'film ' || n, '2026-01-01T00:00Z'::timestamptz + n * interval '1 minute'
FROM generate_series(1, 500) AS n
"""
LATER = """
INSERT INTO inventory SELECT n, 'film ' || n, '2026-02-01T00:00Z'::timestamptz + n * interval '1 minute'
FROM generate_series(501, 507) AS n
"""
WAITING = "SELECT count(*) FROM pg_locks WHERE relation = 'inventory'::regclass AND NOT granted"


def test_extract_in_a_private_network_whose_worker_is_lost(postgres_server, tmp_path):
    with (
        postgres_server.database() as source,
        postgres_server.database() as metadata,
        PostgresServer() as warehouse,
        S3Server() as s3,
    ):
        s3.create_bucket("company-elt")
        ask(postgres_server, source, CREATE)
        uri = postgres_server.airflow_uri(metadata).replace("postgres:", "postgresql+psycopg2:")
        stage = {"AIRFLOW_CONN_COMPANY_S3": s3.airflow_connection()}
        central = {**stage, "AIRFLOW_CONN_WAREHOUSE": warehouse.airflow_connection()}
        private = {**stage, "AIRFLOW_CONN_FILM_RENTAL": postgres_server.airflow_connection(source)}
        where = {"AIRFLOW__ELT__STAGE": "s3://company-elt/prod", "AIRFLOW__ELT__STAGE_CONN_ID": "company_s3"}
        s3_port = int(s3.endpoint_url.rpartition(":")[2])
        with EdgeAirflow(dags(tmp_path), uri, where, central=central) as airflow:
            try:
                ports = {"api": airflow.port, "stage": s3_port, "warehouse": warehouse.port}
                probe = tmp_path / "dags" / "look.py"
                probe.write_text(LOOK.replace("PORTS", repr(ports)))
                with PrivateNetwork([airflow.port, postgres_server.port, s3_port]) as network:
                    airflow.launch_private(network, {**private, **where})
                    the_worker_is_lost(airflow, network, postgres_server, source, {**private, **where})
                    assert_merged_once(airflow, postgres_server, source, warehouse)
                    nobody_listens(airflow, network)
                    airflow.trigger("look", "once")
                    only_what_changed_is_read_next(airflow, postgres_server, source, warehouse)
                    the_worker_sees_no_destination(airflow, warehouse)
            finally:
                airflow.keep_logs(tmp_path)


def dags(folder):
    found = folder / "dags"
    found.mkdir()
    (found / EXAMPLE.name).write_text(EXAMPLE.read_text().replace("minutes=1", "seconds=1"))
    return found


def the_worker_is_lost(airflow, network, server, source, env):
    """Kill it while it reads a table that somebody else has locked, and start another one."""
    airflow.wait_for_dag(DAG)
    with closing(server.connect(source)) as lock, lock.cursor() as cursor:
        cursor.execute("LOCK TABLE inventory IN ACCESS EXCLUSIVE MODE")
        airflow.trigger(DAG, "first", "2026-01-02")
        wait_until(lambda: ask(server, source, WAITING) == [(1,)])
        assert states(airflow, "first")["extract"] == ("running", 1)
        assert listening(airflow.pid(PRIVATE)) == set()
        assert airflow.lose(PRIVATE) > 1
    airflow.launch_private(network, env)
    assert airflow.wait_for_run(DAG, "first") == "success"


def assert_merged_once(airflow, server, source, warehouse):
    found = states(airflow, "first")
    assert {state for state, _ in found.values()} == {"success"}
    assert found["extract"][1] >= 2, "what ran on the lost worker was tried again"
    result = airflow.xcom(DAG, "first", "merge")
    assert (result["extracted"], result["inserted"]) == (500, 500)
    assert_equal(server, source, warehouse, loads=1)


def assert_equal(server, source, warehouse, loads):
    rows = "SELECT inventory_id, film, last_update FROM {} ORDER BY inventory_id"
    assert ask(warehouse, "postgres", rows.format("raw.inventory")) == ask(server, source, rows.format("inventory"))
    receipts = "SELECT count(*), count(DISTINCT load_id), sum(extracted) FROM _elt.receipts"
    assert ask(warehouse, "postgres", receipts) == [(loads, loads, len(ask(server, source, "TABLE inventory")))]


def nobody_listens(airflow, network):
    """What listens in the worker's network are its three doors."""
    pid = airflow.pid(PRIVATE)
    assert listening(pid) == set()
    assert set(listeners(pid)) == set(network.doors)
    assert listening(airflow.pid("api-server")) == {airflow.port}, "seen where somebody does"


def only_what_changed_is_read_next(airflow, server, source, warehouse):
    ask(server, source, LATER)
    airflow.trigger(DAG, "second", "2026-01-03")
    assert airflow.wait_for_run(DAG, "second") == "success"
    handed = airflow.xcom(DAG, "second", "checkpoint")["checkpoint"]
    assert handed is not None
    assert airflow.xcom(DAG, "second", "extract")["rows"] == 7
    assert_equal(server, source, warehouse, loads=2)


def the_worker_sees_no_destination(airflow, warehouse):
    assert airflow.wait_for_run("look", "once") == "success"
    here, there = (airflow.xcom("look", "once", queue) for queue in ("default", "private"))
    assert here["reached"] == {"api": True, "stage": True, "warehouse": True}
    assert there["reached"] == {"api": True, "stage": True, "warehouse": False}
    assert here["known"] == {"film_rental": False, "company_s3": True, "warehouse": True}
    assert there["known"] == {"film_rental": True, "company_s3": True, "warehouse": False}
    assert warehouse.password in here["environment"]
    assert warehouse.password not in there["environment"]


def states(airflow, run_id):
    return {ti["task_id"]: (ti["state"], ti["try_number"]) for ti in airflow.task_instances(DAG, run_id)}


def wait_until(true, seconds=90):
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)


def ask(server, database, sql):
    with closing(server.connect(database)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall() if cursor.description else []
