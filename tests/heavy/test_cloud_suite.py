"""The suite for real accounts, against an emulator that the environment calls an account: it must not rot unseen."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from servers.s3 import S3Server
from servers.snowflake import SnowflakeServer, unavailable

pytestmark = [pytest.mark.heavy, pytest.mark.skipif(bool(unavailable()), reason=str(unavailable()))]
ROOT = Path(__file__).parents[2]


def test_the_contract_runs_on_an_account_of_the_environment(tmp_path: Path) -> None:
    with S3Server() as s3, SnowflakeServer(s3) as server:
        s3.create_bucket("cloud")
        database = server.create_database()
        env = {
            **os.environ, "AIRFLOW_HOME": str(tmp_path), "REQUESTS_CA_BUNDLE": str(server.ca_bundle),
            "ELT_CLOUD": "snowflake", "ELT_CLOUD_SNOWFLAKE_STAGE": "s3://cloud/elt",
            "AIRFLOW_CONN_ELT_CLOUD_SNOWFLAKE": server.airflow_connection(database),
            "AIRFLOW_CONN_ELT_CLOUD_SNOWFLAKE_STAGE": s3.airflow_connection(),
        }  # fmt: skip
        command = [sys.executable, "-m", "pytest", "tests/cloud", "-q", "-k", "arrives_and_stays"]
        done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert "4 passed" in done.stdout, done.stdout[-3000:]
