"""Connections that no environment variable and no database has: from a secrets backend, as the documentation says."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

import boto3
import pytest

from servers.s3 import REGION, S3Server
from tests.airflow.in_process import AIRFLOW_2
from tests.fakes.slack import FakeSlack

pytestmark = pytest.mark.lowest

ROOT = Path(__file__).parents[2]
INI = {}
for _text in re.findall(r"```ini\n(.*?)```", (ROOT / "docs/logs-and-secrets.md").read_text(), re.DOTALL):
    _parser = ConfigParser(interpolation=None)
    _parser.read_string(_text)
    INI[_text.split("\n")[2]] = _parser
SCRIPT = """
from airflow_elt_provider.hooks.systems import destination_hook, source_hook
from airflow_elt_provider.notifications._slack_post import deliver
print([str(table) for table in source_hook("rds").get_source().tables("public")])
print(destination_hook("lake").get_destination().checkpoint("nothing"))
deliver("slack", None, {"text": "from a secret"}, 10)
"""


@pytest.mark.parametrize("parser", INI.values(), ids=INI.keys())
def test_every_documented_option_is_airflows(parser):
    from airflow.configuration import conf

    for section in parser.sections():
        if AIRFLOW_2 and section == "workers":  # has a secrets backend of its own since Airflow 3
            continue
        assert set(parser[section]) <= set(conf.configuration_description[section]["options"]), section


def test_connections_come_from_secrets_manager(place, tmp_path):
    (documented,) = (
        parser["secrets"] for parser in INI.values() if "amazon" in parser.get("secrets", "backend", fallback="")
    )
    arguments = {**json.loads(documented["backend_kwargs"]), "region_name": REGION}
    with S3Server() as aws, FakeSlack() as slack:
        login = {"aws_access_key_id": aws.access_key, "aws_secret_access_key": aws.secret_key, "region_name": REGION}
        client = boto3.client("secretsmanager", endpoint_url=aws.endpoint_url, **login)
        values = {
            "rds": os.environ["AIRFLOW_CONN_RDS"], "lake": os.environ["AIRFLOW_CONN_LAKE"], "slack": slack.connection(),
        }  # fmt: skip
        for name, value in values.items():
            client.create_secret(Name=f"{arguments['connections_prefix']}/{name}", SecretString=value)
        env = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW_CONN_")} | {
            "AIRFLOW_HOME": str(tmp_path / "home"), "AIRFLOW__SECRETS__BACKEND": documented["backend"],
            "AIRFLOW__SECRETS__BACKEND_KWARGS": json.dumps(arguments), "AWS_ENDPOINT_URL": aws.endpoint_url,
            "AWS_ACCESS_KEY_ID": aws.access_key, "AWS_SECRET_ACCESS_KEY": aws.secret_key,
        }  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT], cwd=ROOT, env=env, capture_output=True, text=True, check=False
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line for line in done.stdout.splitlines() if line in {"['public.actor']", "None"}] == [
        "['public.actor']", "None",
    ]  # fmt: skip
    assert [message["text"] for message in slack.messages] == ["from a secret"]
    assert place.server.password not in done.stdout + done.stderr
