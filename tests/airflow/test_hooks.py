"""From Airflow connections to settings, on real servers; secrets stay where they are."""

from __future__ import annotations

import json

import pytest

from airflow_elt_provider.errors import ConfigurationError
from airflow_elt_provider.hooks.duckdb import EltDuckdbHook
from airflow_elt_provider.hooks.files import EltFilesHook
from airflow_elt_provider.hooks.postgres import EltPostgresHook
from airflow_elt_provider.hooks.systems import destination_hook, get_stage, source_hook
from servers.s3 import S3Server
from tests.airflow.in_process import environment

pytestmark = pytest.mark.lowest


def connection(**fields):
    return environment(AIRFLOW_CONN_C=json.dumps(fields))


def test_postgres_keeps_everything_libpq_knows():
    extra = {
        "sslmode": "verify-full",
        "sslrootcert": "/ca.pem",
        "sslcert": "/c.pem",
        "sslkey": "/k.pem",
        "options": "-c search_path=x",
        "keepalives_idle": 30,
        "connect_timeout": 7,
        "lock_timeout": 5,
        "cursor": "dictcursor",
        "prepare_threshold": None,
        "sqlalchemy_query": {"a": "b"},
        "aws_conn_id": "x",
        "redshift": False,
        "application_name": "",
    }
    with connection(conn_type="postgres", host="h", port=6543, login="u", password="hunter2", schema="d", extra=extra):
        settings = EltPostgresHook("c").settings()
    assert (settings.host, settings.port, settings.user, settings.dbname) == ("h", 6543, "u", "d")
    assert settings.password.reveal() == "hunter2"
    assert (settings.connect_timeout, settings.lock_timeout) == (7, 5.0)
    keywords = settings.keywords()
    assert {name: keywords[name] for name in ("sslmode", "sslrootcert", "sslcert", "sslkey", "keepalives_idle")} == {
        "sslmode": "verify-full",
        "sslrootcert": "/ca.pem",
        "sslcert": "/c.pem",
        "sslkey": "/k.pem",
        "keepalives_idle": "30",
    }
    assert "search_path=x" in keywords["options"]
    assert "cursor" not in keywords
    assert "hunter2" not in repr(settings) + str(settings) + str(keywords)


def test_postgres_asks_for_an_iam_token_and_again_when_it_is_old(monkeypatch):
    aws = {"conn_type": "aws", "login": "AKIAX", "password": "hunter2", "extra": {"region_name": "eu-west-1"}}
    with (
        environment(AIRFLOW_CONN_KEYS=json.dumps(aws)),
        connection(
            conn_type="postgres", host="db.x", login="u", schema="d", extra={"iam": True, "aws_conn_id": "keys"}
        ),
    ):
        settings = EltPostgresHook("c").settings()
        token = settings.password.reveal()
        assert token.startswith("db.x:5432/?Action=connect&DBUser=u")
        assert settings.password.reveal() == token
        settings.password._made -= 700
        assert settings.password.reveal().startswith("db.x:5432/")
        assert settings.password._made > 0


@pytest.mark.parametrize(
    ("host", "extra"),
    [
        (None, {"redshift": True}),
        (None, {}),
        ("db.x", {"aws_conn_id": "keyless"}),
        ("db.x", {"azure_conn_id": "nobody"}),
    ],
)
def test_a_token_that_cannot_be_had_says_so(host, extra):
    keyless = json.dumps({"conn_type": "aws", "extra": {"region_name": "eu-west-1"}})
    with (
        environment(AIRFLOW_CONN_KEYLESS=keyless),
        connection(conn_type="postgres", host=host, login="u", extra={"iam": True, **extra}),
        pytest.raises(ConfigurationError, match="'iam' in its extra"),
    ):
        EltPostgresHook("c").settings()


@pytest.mark.parametrize(
    "fields",
    [
        {"host": "/d/x.duckdb"},
        {"extra": {"path": "/d/x.duckdb", "lock_timeout": 9, "threads": None}},
        {"host": "ignored", "extra": {"path": "/d/x.duckdb"}},
    ],
)
def test_duckdb_path(fields):
    with connection(conn_type="duckdb", **fields):
        assert EltDuckdbHook("c").settings().path == "/d/x.duckdb"


def test_duckdb_by_uri():
    with environment(AIRFLOW_CONN_C="duckdb:///d/x.duckdb?lock_timeout=9"):
        assert EltDuckdbHook("c").settings().lock_timeout == 9.0
        assert EltDuckdbHook("c").path() == "/d/x.duckdb"


def test_duckdb_test_button(tmp_path):
    import duckdb

    def says(path):
        with connection(conn_type="duckdb", host=str(path)):
            return EltDuckdbHook("c").test_connection()

    assert says(tmp_path / "new.duckdb")[0] is True
    assert not (tmp_path / "new.duckdb").exists(), "a test changes nothing"
    duckdb.connect(str(tmp_path / "real.duckdb")).close()
    assert says(tmp_path / "real.duckdb") == (True, says(tmp_path / "real.duckdb")[1])
    (tmp_path / "text.duckdb").write_text("no database, this one")
    assert says(tmp_path / "text.duckdb")[0] is False
    assert says("relative.duckdb")[0] is False
    assert says(tmp_path / "text.duckdb" / "x.duckdb")[0] is False


@pytest.mark.parametrize(
    ("conn", "ask", "message"),
    [
        ({"conn_type": "http"}, source_hook, "'http', which is no source"),
        ({"conn_type": "duckdb"}, source_hook, "'duckdb', which is no source"),
        (
            {"conn_type": "http"},
            destination_hook,
            "use a connection of one of these types: databricks, duckdb, google_cloud_platform, hologres, postgres",
        ),
    ],
)
def test_an_unknown_type_lists_the_known_ones(conn, ask, message):
    with connection(**conn), pytest.raises(ConfigurationError) as refused:
        ask("c")
    assert message in str(refused.value)


def test_a_missing_connection_says_so():
    with pytest.raises(ConfigurationError, match="Airflow has no connection 'nobody'"):
        source_hook("nobody")
    with pytest.raises(ConfigurationError, match="Airflow has no connection 'nobody'"):
        get_stage("s3://bucket/x", "nobody")


def test_stages(tmp_path):
    assert EltFilesHook().get_stage(f"file://{tmp_path}").root == f"file://{tmp_path}"
    assert get_stage(str(tmp_path), None).scheme == "file"
    with pytest.raises(ConfigurationError, match="ftp"):
        get_stage("ftp://host/x", None)


def test_s3_logs_in_as_airflow_does_and_encrypts():
    with S3Server() as s3:
        s3.create_bucket("stage")
        extra = {
            "endpoint_url": s3.endpoint_url,
            "region_name": "us-east-1",
            "sse": "AES256",
            "aws_session_token": "session",
        }
        with connection(conn_type="aws", login=s3.access_key, password=s3.secret_key, extra=extra):
            stage = get_stage("s3://stage/a/b", "c")
            assert stage.put_if_absent("x", b"1")
            assert not stage.put_if_absent("x", b"2")
            assert stage.read("s3://stage/a/b/x") == b"1"
            head = stage._client.head_object(Bucket="stage", Key="a/b/x")
    assert head["ServerSideEncryption"] == "AES256"


def test_s3_assumes_a_role():
    with S3Server() as s3:
        s3.create_bucket("stage")
        here = {"endpoint_url": s3.endpoint_url}
        extra = {
            "service_config": {"s3": here, "sts": here},
            "region_name": "us-east-1",
            "role_arn": "arn:aws:iam::123456789012:role/elt",
        }
        with connection(conn_type="aws", login=s3.access_key, password=s3.secret_key, extra=extra):
            stage = get_stage("s3://stage/a", "c")
            assert stage.put_if_absent("x", b"1")
            credentials = stage._client._request_signer._credentials
    assert credentials.token, "a role's credentials have a session token"
    assert credentials.access_key != s3.access_key


def test_s3_settings_are_checked():
    with connection(conn_type="aws", extra={"sse": "rot13"}), pytest.raises(ConfigurationError, match="rot13"):
        get_stage("s3://stage/a", "c")
