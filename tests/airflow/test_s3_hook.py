"""What a stage's requests carry when its settings come from Airflow's own AWS connection."""

from __future__ import annotations

import json
import os

import pytest

from airflow_elt_provider.errors import ConfigurationError
from airflow_elt_provider.hooks.systems import get_folder, get_stage
from servers.s3 import REGION, S3Server
from tests.airflow.in_process import environment

pytestmark = pytest.mark.lowest

KEY = "arn:aws:kms:us-east-1:123456789012:key/elt"
BIG = 20 << 20
"""More than one part of an upload."""


@pytest.fixture(scope="module")
def s3():
    with S3Server() as server:
        server.create_bucket("stage")
        yield server


def requests_of(s3, connection):
    """Use a stage in every way, and return what the server received for it."""
    begin = len(s3.asked)
    with environment(AIRFLOW_CONN_C=connection):
        stage = get_stage("s3://stage/elt", "c")
    name = os.urandom(4).hex()
    stage.put_if_absent(f"{name}/manifest", b"1")
    for size in (10, BIG):
        with stage.workspace() as folder:
            (folder / "part").write_bytes(bytes(size))
            stage.put(folder / "part", f"{name}/{size}")
    uris = [file.uri for file in stage.list(name)]
    assert len(uris) == 3
    assert stage.exists(uris[0])
    with stage.fetch(uris[1]) as path:
        assert path.stat().st_size in {10, BIG}
    stage.delete(uris)
    return s3.asked[begin:]


def creating(asked):
    """Return the requests that bring an object into being, or begin to."""
    found = [
        each for each in asked
        if (each.operation == "PUT" and "partNumber" not in each.query) or "uploads" in each.query
    ]  # fmt: skip
    assert len(found) == 3
    return [each.headers for each in found]


def finishing(asked):
    return [each.headers for each in asked if each.operation == "POST" and "uploadId" in each.query]


@pytest.mark.parametrize("kind", ["aws:kms", "aws:kms:dsse"])
def test_kms_and_its_key_are_asked_for_in_every_write(s3, kind):
    asked = requests_of(s3, s3.airflow_connection(sse=kind, kms_key_id=KEY))
    for headers in creating(asked):
        assert headers["x-amz-server-side-encryption"] == kind
        assert headers["x-amz-server-side-encryption-aws-kms-key-id"] == KEY


def test_the_account_s_own_kms_key(s3):
    for headers in creating(requests_of(s3, s3.airflow_connection(sse="aws:kms"))):
        assert headers["x-amz-server-side-encryption"] == "aws:kms"
        assert "x-amz-server-side-encryption-aws-kms-key-id" not in headers


def test_keys_of_s3_are_asked_for_in_every_write(s3):
    for headers in creating(requests_of(s3, s3.airflow_connection(sse="AES256"))):
        assert headers["x-amz-server-side-encryption"] == "AES256"


def test_without_a_setting_the_bucket_decides(s3):
    asked = requests_of(s3, s3.airflow_connection())
    assert not [each for each in asked if "x-amz-server-side-encryption" in each.headers]


def test_every_write_is_conditional(s3):
    asked = requests_of(s3, s3.airflow_connection(sse="AES256"))
    writes = [each.headers for each in asked if each.operation == "PUT" and "partNumber" not in each.query]
    assert [headers["if-none-match"] for headers in (*writes, *finishing(asked))] == ["*"] * 3


def test_the_session_token_is_sent_with_every_request(s3):
    asked = requests_of(s3, s3.airflow_connection(aws_session_token="session-of-an-hour"))
    assert {each.headers["x-amz-security-token"] for each in asked} == {"session-of-an-hour"}
    assert all(f"Credential={s3.access_key}/" in each.headers["authorization"] for each in asked)
    assert all("x-amz-security-token" in each.headers["authorization"] for each in asked), "it is signed, too"


def test_login_and_token_may_all_be_extras(s3):
    extra = {
        "aws_access_key_id": "AKIAEXTRA", "aws_secret_access_key": "hush", "aws_session_token": "t",
        "endpoint_url": s3.endpoint_url, "region_name": REGION,
    }  # fmt: skip
    asked = requests_of(s3, json.dumps({"conn_type": "aws", "extra": extra}))
    assert {each.headers["x-amz-security-token"] for each in asked} == {"t"}
    assert all("Credential=AKIAEXTRA/" in each.headers["authorization"] for each in asked)


@pytest.mark.parametrize("of_the_service", [True, False])
def test_the_endpoint_is_where_requests_go(s3, of_the_service):
    """By `endpoint_url`, and by `service_config`, which is for S3 alone."""
    nowhere = "http://127.0.0.1:1"
    where = {"endpoint_url": s3.endpoint_url}
    extra = {"endpoint_url": nowhere, "service_config": {"s3": where}} if of_the_service else where
    connection = {"conn_type": "aws", "login": "AKIAX", "password": "hush", "extra": {"region_name": REGION, **extra}}
    asked = requests_of(s3, json.dumps(connection))
    assert {each.headers["host"] for each in asked} == {s3.endpoint_url.removeprefix("http://")}


def test_an_owner_and_an_acl_are_sent(s3):
    asked = requests_of(s3, s3.airflow_connection(bucket_owner="123456789012", acl="bucket-owner-full-control"))
    assert {each.headers["x-amz-expected-bucket-owner"] for each in asked} == {"123456789012"}
    for headers in creating(asked):
        assert headers["x-amz-acl"] == "bucket-owner-full-control"


def test_a_key_without_kms_is_refused(s3):
    for extra in ({"kms_key_id": KEY}, {"kms_key_id": KEY, "sse": "AES256"}):
        connection = environment(AIRFLOW_CONN_C=s3.airflow_connection(**extra))
        with connection, pytest.raises(ConfigurationError, match="sse='aws:kms'"):
            get_stage("s3://stage/elt", "c")


def test_folders_of_small_files_log_in_as_stages_do(s3):
    with environment(AIRFLOW_CONN_C=s3.airflow_connection(sse="aws:kms", kms_key_id=KEY)):
        folder, begin = get_folder("s3://stage/config", "c"), len(s3.asked)
    for content in (b"1", b"2"):
        folder.write("a/x.yaml", content)
    assert folder.read() == {"a/x.yaml": b"2"}
    written = [each.headers for each in s3.asked[begin:] if each.operation == "PUT"]
    assert [headers["x-amz-server-side-encryption-aws-kms-key-id"] for headers in written] == [KEY] * 2
    with (
        environment(AIRFLOW_CONN_C="postgres://h/d"),
        pytest.raises(ConfigurationError, match="does not lead to the stage"),
    ):
        get_folder("s3://stage/config", "c")
