"""Connections that only a secrets backend knows, and task logs in a bucket: a real Airflow, moto for both."""

from __future__ import annotations

import hmac
import json
import secrets
from contextlib import closing

import pytest

from servers.airflow import AirflowServer
from servers.s3 import REGION, S3Server
from tests.airflow import in_process
from tests.airflow.in_process import AIRFLOW_2

pytestmark = [pytest.mark.slow, pytest.mark.skipif(AIRFLOW_2, reason="servers.airflow runs Airflow 3")]

DAG, RUN = "from_secrets", "once"
SYNC = """
SyncTableOperator(task_id="customer", source_conn_id="crm", source_table="public.customer", destination_conn_id="lake",
                  target_table="raw.customer", hash_columns={"email": "privacy_key"}, stage="s3://company-elt/prod",
                  stage_conn_id="company_s3")
"""
KEY = secrets.token_hex(24)


@pytest.fixture(scope="module")
def aws():
    with S3Server(secret_key=secrets.token_hex(20)) as server:
        server.create_bucket("company-elt")
        server.create_bucket("company-logs")
        yield server


@pytest.fixture
def databases(postgres_server):
    with postgres_server.database() as source, postgres_server.database() as target:
        with closing(postgres_server.connect(source)) as connection, connection, connection.cursor() as cursor:
            cursor.execute("CREATE TABLE customer (id int PRIMARY KEY, email text NOT NULL)")
            cursor.execute("INSERT INTO customer SELECT n, n || '@example.org' FROM generate_series(1, 5) AS n")
        yield source, target


def store(aws, connections):
    manager = aws.client_of("secretsmanager")
    for conn_id, value in connections.items():
        manager.create_secret(Name=f"airflow/connections/{conn_id}", SecretString=value)


def configuration(aws):
    """Return what docs/logs-and-secrets.md says, with the address of moto."""
    kwargs = {"connections_prefix": "airflow/connections", "variables_prefix": None, "config_prefix": None}
    here = {"endpoint_url": aws.endpoint_url, "region_name": REGION}
    return {
        "AIRFLOW__SECRETS__BACKEND": "airflow.providers.amazon.aws.secrets.secrets_manager.SecretsManagerBackend",
        "AIRFLOW__SECRETS__BACKEND_KWARGS": json.dumps(kwargs | here),
        "AIRFLOW__LOGGING__REMOTE_LOGGING": "True",
        "AIRFLOW__LOGGING__REMOTE_BASE_LOG_FOLDER": "s3://company-logs/airflow",
        "AIRFLOW__LOGGING__REMOTE_LOG_CONN_ID": "company_s3",
        "AIRFLOW__LOGGING__DELETE_LOCAL_LOGS": "True",
        # The role of the machine: what opens the secrets backend itself cannot stand in it.
        "AWS_ACCESS_KEY_ID": aws.access_key,
        "AWS_SECRET_ACCESS_KEY": aws.secret_key,
    }


def test_secrets_backend_and_logs_in_s3(aws, databases, postgres_server, tmp_path):
    source, target = databases
    store(
        aws,
        {
            "crm": postgres_server.airflow_connection(source),
            "lake": postgres_server.airflow_uri(target),
            "company_s3": aws.airflow_connection(),
            "privacy_key": json.dumps({"conn_type": "generic", "password": KEY}),
        },
    )
    dag_file = in_process.write(SYNC, DAG)[1]
    (tmp_path / "dags").mkdir()
    dag_file.rename(tmp_path / "dags" / dag_file.name)
    with AirflowServer(tmp_path / "dags", configuration(aws)) as airflow:
        assert airflow.connections() == []
        airflow.wait_for_dag(DAG)
        airflow.trigger(DAG, RUN)
        state = airflow.wait_for_run(DAG, RUN)
        shown = json.dumps(airflow.log(DAG, RUN, "customer"))
        written = {path: path.read_text(errors="replace") for path in airflow.home.rglob("*") if path.is_file()}
    logs = objects(aws, "company-logs")
    (key,) = [key for key in logs if "task_id=customer" in key]
    assert state == "success", logs[key]
    assert key == f"airflow/dag_id={DAG}/run_id={RUN}/task_id=customer/attempt=1.log"
    for log in (logs[key], shown):
        assert "5 inserted, 0 updated" in log
    with closing(postgres_server.connect(target)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT email FROM raw.customer WHERE id = 3")
        assert cursor.fetchall() == [(hmac.digest(KEY.encode(), b"3@example.org", "sha256").hex(),)]
    for secret in (KEY, postgres_server.password, aws.secret_key):
        for place, text in {**logs, **written, "web page": shown}.items():
            assert secret not in text, place


def objects(aws, bucket):
    client = aws.client()
    keys = [found["Key"] for found in client.list_objects_v2(Bucket=bucket).get("Contents", [])]
    return {key: client.get_object(Bucket=bucket, Key=key)["Body"].read().decode() for key in keys}
