"""The example from S3 to Hologres by `airflow tasks test`, as a person runs it, and by whole DAG runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from servers.hologres import HologresServer
from servers.s3 import S3Server
from tests.airflow import in_process

pytestmark = pytest.mark.slow

EXAMPLE = Path(__file__).parents[2] / "example_dags" / "elt_s3_csv_hologres.py"
TITLES = ("吾輩は猫である", "坊っちゃん", "銀河鉄道の夜", "羅生門、他", "人間失格")
HEADER = "order_id,user_id,book_id,book_name,order_cnt,order_amt\n"
ROWS = 10_000
KEY = "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
COLUMNS = """
SELECT string_agg(attname || ' ' || format_type(atttypid, NULL), ', ' ORDER BY attnum) FROM pg_attribute
WHERE attrelid = 'public.book_order'::regclass AND attnum > 0
"""


def orders() -> str:
    return HEADER + "".join(f"O-{n:08},{n % 5000},{n % 777},{TITLES[n % 5]},{n % 9},{n * 10}\n" for n in range(ROWS))


@pytest.fixture
def s3():
    with S3Server() as server:
        server.create_bucket("company-orders")
        server.create_bucket("company-elt")
        yield server


@pytest.fixture
def hologres(postgres_server):
    with HologresServer(postgres_server) as server, server.database() as name:
        yield server, name


def put(s3, name, text, **encryption):
    s3.client().put_object(Bucket="company-orders", Key=f"original-data/{name}", Body=text.encode(), **encryption)


KMS = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": KEY}


@pytest.fixture
def connections(s3, hologres):
    server, dbname = hologres
    place = {"host": server.host, "port": server.port, "login": server.user, "password": server.password}
    given = {
        "AIRFLOW__ELT__STAGE": "s3://company-elt/prod",
        "AIRFLOW__ELT__STAGE_CONN_ID": "aws_default",
        "AIRFLOW_CONN_AWS_DEFAULT": s3.airflow_connection(),
        "AIRFLOW_CONN_HOLOGRES_DEFAULT": json.dumps({"conn_type": "hologres", **place, "schema": dbname}),
    }
    with in_process.environment(**given):
        yield


def tasks_test(date):
    words = [Path(sys.executable).with_name("airflow"), "tasks", "test", EXAMPLE.stem, "book_order", date]
    done = subprocess.run(words, env=dict(os.environ), capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


@pytest.mark.usefixtures("connections")
def test_orders_on_s3_become_rows_of_hologres(s3, hologres):
    in_process.boot()
    copied = in_process.dags_folder() / EXAMPLE.name
    copied.write_text(EXAMPLE.read_text())
    in_process.load(copied, register=True)
    put(s3, "orders.csv", orders(), **KMS)
    assert "merge: 10,000 inserted, 0 updated, 0 deleted" in tasks_test("2026-01-05")
    server, dbname = hologres
    with closing(server.postgres.connect(dbname)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*), sum(order_amt), max(book_name) FROM public.book_order")
        assert cursor.fetchone() == (ROWS, sum(n * 10 for n in range(ROWS)), max(TITLES))
        cursor.execute(COLUMNS)
        assert cursor.fetchone() == (
            "order_id text, user_id bigint, book_id bigint, book_name text, order_cnt bigint, order_amt bigint",
        )
    assert server.properties(dbname)["public", "book_order"] == {
        "orientation": "column", "distribution_key": "order_id", "bitmap_columns": "user_id,book_id",
        "time_to_live_in_seconds": "3153600000",
    }  # fmt: skip
    put(
        s3,
        "2026/01/more.csv",
        f"{HEADER}O-other,1,1,三四郎,1,10\nO-new,1,1,三四郎,1,1\n",
        ServerSideEncryption="AES256",
    )
    put(s3, "2026/01/plain.csv", f"{HEADER}O-plain,1,1,こゝろ,1,10\n")
    result = in_process.run_file(copied, EXAMPLE.stem, date=in_process.DATE.replace(day=6)).one()
    assert (result["extracted"], result["inserted"], result["updated"]) == (3, 3, 0), "the new files alone"
    result = in_process.run_file(copied, EXAMPLE.stem, date=in_process.DATE.replace(day=7)).one()
    assert (result["extracted"], result["checkpoint"]) == (0, "3 files")
    put(s3, "2026/01/more.csv", f"{HEADER}O-other,1,1,三四郎,many,1\n")
    run = in_process.run_file(copied, EXAMPLE.stem, date=in_process.DATE.replace(day=8))
    assert (run.states["book_order"], run.tries["book_order"]) == ("failed", 1)
