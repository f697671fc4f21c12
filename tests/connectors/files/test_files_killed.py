"""CSV with Japanese text on S3, plain and encrypted, into PostgreSQL and Hologres: killed half-way, and retried."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from contextlib import closing

import pytest

from servers.hologres import HologresServer
from tests.connectors.files import doomed_files

TITLES = ("吾輩は猫である", "坊っちゃん", "銀河鉄道の夜", "羅生門、他", "人間失格")
HEADER = "order_id,user_id,book_id,book_name,order_cnt,order_amt\n"
KEY = "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
ENCRYPTIONS = ({}, {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": KEY}, {"ServerSideEncryption": "AES256"})


def orders(first, last):
    return HEADER + "".join(f"注文-{n:05},{n % 97},{n % 11},{TITLES[n % 5]},{n % 7},{n}\n" for n in range(first, last))


@pytest.fixture(params=["postgres", "hologres"])
def place(request, postgres_server):
    """What a connection says, and what asks the database."""
    server = postgres_server
    with HologresServer(server) as hologres:
        lent = hologres.database() if request.param == "hologres" else server.database()
        port = {"host": hologres.host, "port": hologres.port} if request.param == "hologres" else {}
        with lent as name:
            given = {**json.loads(server.airflow_connection(name)), **port, "conn_type": request.param}

            def query(sql):
                with closing(server.connect(name)) as connection, connection.cursor() as cursor:
                    cursor.execute(sql)
                    return cursor.fetchall()

            yield request.param, json.dumps(given), query


def test_killed_at_some_moment_and_retried_each_order_is_there_once(bucket, place, tmp_path):
    kind, connection, query = place
    name, folder = bucket.path.removeprefix("s3://").split("/", 1)
    for number, encryption in enumerate(ENCRYPTIONS):
        body = orders(number * 1000, number * 1000 + 1000).encode()
        bucket.server.client().put_object(Bucket=name, Key=f"{folder}/{number}.csv", Body=body, **encryption)
    mode = "append" if kind == "postgres" else "merge"
    plan = {"endpoint": bucket.server.endpoint_url, "kind": kind, "destination": connection, "mode": mode,
            "path": f"{bucket.path}/**/*.csv", "stage": str(tmp_path / "stage"), "run": "monday",
            "dooms": [3, 12, 25, 40, 80]}  # fmt: skip
    words = [sys.executable, doomed_files.__file__, json.dumps(plan)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    *deaths, last = told["deaths"]
    assert (set(deaths), last, told["later"]) == ({-signal.SIGKILL}, 0, 0), done.stderr
    assert len(deaths) >= 3
    assert query("SELECT count(*), count(DISTINCT order_id), sum(order_amt), max(book_name) FROM book_order") == [
        (3000, 3000, sum(range(3000)), max(TITLES))
    ]
