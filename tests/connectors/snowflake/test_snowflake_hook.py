"""From an Airflow connection to settings, with Airflow's own hook in between; and through TLS to the emulator."""

from __future__ import annotations

import base64
import json

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from airflow_elt_provider.core.table_ref import TableRef
from airflow_elt_provider.errors import ConfigurationError
from airflow_elt_provider.hooks.snowflake import EltSnowflakeHook
from tests.airflow.in_process import environment
from tests.connectors.staged_loads import Loads

EXTRA = {"account": "org-acct", "database": "raw", "warehouse": "LOADING", "role": "ELT_WRITER"}


def connection(**fields):
    extra = {**EXTRA, **fields.pop("extra", {})}
    return environment(AIRFLOW_CONN_SF=json.dumps({"conn_type": "snowflake", "extra": extra, **fields}))


def key_pem(passphrase=None):
    key = rsa.generate_private_key(65537, 2048)
    encryption = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    private = serialization.PrivateFormat.PKCS8
    der = key.private_bytes(serialization.Encoding.DER, private, serialization.NoEncryption())
    return key.private_bytes(serialization.Encoding.PEM, private, encryption).decode(), der


def test_password_and_what_goes_with_it():
    extra = {"session_parameters": {"QUOTED_IDENTIFIERS_IGNORE_CASE": True}, "host": "h", "port": 8443, "region": "",
             "elt_stage": "LOADING.BUCKET", "elt_lock_timeout": "90", "proxy_host": "p"}  # fmt: skip
    with connection(login="ELT", password="hunter22", schema="dvd", extra=extra):
        settings = EltSnowflakeHook("sf").settings()
    assert (settings.account, settings.database, settings.schema, settings.user) == ("org-acct", "raw", "dvd", "ELT")
    assert (settings.stage, settings.lock_timeout) == ("LOADING.BUCKET", 90.0)
    assert settings.login == {
        "warehouse": "LOADING", "role": "ELT_WRITER", "host": "h", "port": 8443, "authenticator": "snowflake",
        "application": "AIRFLOW", "proxy_host": "p",
    }  # fmt: skip
    assert settings.session_parameters == {"QUOTED_IDENTIFIERS_IGNORE_CASE": True}
    assert settings.credentials()["password"].reveal() == "hunter22"
    assert "hunter22" not in repr(settings) + str(settings) + repr(settings.credentials())


@pytest.mark.parametrize("passphrase", [None, b"hunter22"])
def test_a_key_pair(passphrase):
    pem, der = key_pem(passphrase)
    password = {"password": passphrase.decode()} if passphrase else {}
    with connection(login="ELT", extra={"private_key_content": pem}, **password):
        settings = EltSnowflakeHook("sf").settings()
        again = settings.credentials(), settings.credentials()
    assert again[0] == again[1]
    assert set(again[0]) == {"private_key"}
    assert base64.b64decode(again[0]["private_key"].reveal()) == der


def test_a_key_that_cannot_be_read():
    pem, _ = key_pem(b"hunter22")
    with (
        connection(login="ELT", password="wrong", extra={"private_key_content": pem}),
        pytest.raises(ConfigurationError, match="no usable login") as caught,
    ):
        EltSnowflakeHook("sf").settings()
    assert "hunter22" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_the_task_is_named_in_the_tag(monkeypatch):
    monkeypatch.setenv("AIRFLOW_CTX_DAG_ID", "nightly")
    monkeypatch.setenv("AIRFLOW_CTX_TASK_ID", "item")
    with connection(login="ELT", password="p"):
        assert EltSnowflakeHook("sf").settings().query_tag == {"dag": "nightly", "task": "item"}


def test_names_in_lineage():
    with connection(login="ELT", password="p"):
        names = [EltSnowflakeHook("sf").lineage_name(TableRef.parse(each)) for each in ("t", "s.t", "d.s.t")]
    assert {namespace for namespace, _ in names} == {"snowflake://org-acct"}
    assert [name for _, name in names] == ["RAW.PUBLIC.T", "RAW.S.T", "D.S.T"]


def test_an_extra_that_nobody_knows_and_a_database_that_is_missing():
    with (
        connection(login="ELT", password="p", extra={"elt_stages": "x"}),
        pytest.raises(ConfigurationError, match="elt_stages"),
    ):
        EltSnowflakeHook("sf").settings()
    with connection(login="ELT", password="p", extra={"database": ""}), pytest.raises(ConfigurationError, match="_ELT"):
        EltSnowflakeHook("sf").settings()
    with connection(login="ELT", password="p"), pytest.raises(ConfigurationError, match="no source"):
        EltSnowflakeHook("sf").get_source()


def test_through_tls(both, work, tmp_path, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(both.snowflake.ca_bundle))
    with environment(AIRFLOW_CONN_SF=both.snowflake.airflow_connection(work.database)):
        destination = EltSnowflakeHook("sf").get_destination()
        assert Loads(tmp_path, "raw.item").merge(destination, (1, "a", None)).inserted == 1
    assert work.query("SELECT NAME FROM RAW.ITEM") == [("a",)]


def test_a_certificate_that_nobody_trusts(both, work):
    with (
        environment(AIRFLOW_CONN_SF=both.snowflake.airflow_connection(work.database, login_timeout=3)),
        pytest.raises(Exception, match="Cannot log in to Snowflake"),
    ):
        EltSnowflakeHook("sf").get_destination().receipt("x")
