"""Logging in to Google without Airflow, at servers that issue real signatures."""

from __future__ import annotations

import os

import pytest

from airflow_elt_provider.errors import ConfigurationError
from airflow_elt_provider.stages.gcs import GcsStage
from airflow_elt_provider.stages.gcs_login import client
from airflow_elt_provider.stages.gcs_settings import GcsStageSettings
from tests.fakes.connect_proxy import GOOGLE_HOSTS, ConnectProxy
from tests.fakes.google import FakeGoogle

ELT = "elt@proj.iam.gserviceaccount.com"
TARGET = "stage@proj.iam.gserviceaccount.com"


@pytest.fixture
def google():
    with FakeGoogle() as fake:
        yield fake


@pytest.fixture
def key(google, tmp_path):
    return google.service_account(ELT, tmp_path / "key.json")


@pytest.fixture
def who(gcs_server, gcs_bucket, google):
    """Write with an extra and return whose token the server saw."""

    def write(**extra):
        stage = GcsStage(lambda: client({"api_endpoint": gcs_server.url, **extra}), gcs_bucket)
        assert stage.put_if_absent(os.urandom(4).hex(), b"1")
        return google._access[gcs_server.asked[-1].headers["authorization"].removeprefix("Bearer ")].principal

    return write


def test_a_key(who, key):
    assert who(keyfile_dict=key.read_text()) == ELT
    assert who(key_path=str(key)) == ELT


def test_default_credentials(who, key, monkeypatch):
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key))
    assert who() == ELT


@pytest.mark.parametrize("named", [True, False])
def test_an_impersonated_account(who, google, key, tmp_path, monkeypatch, named):
    google.impersonators[TARGET] = {ELT}
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key))
    with ConnectProxy(dict.fromkeys(GOOGLE_HOSTS, google.port), tmp_path) as proxy:
        for name, value in proxy.environment().items():
            monkeypatch.setenv(name, value)
        extra = {"key_path": str(key)} if named else {}
        assert who(impersonation_chain=TARGET, **extra) == TARGET


@pytest.mark.parametrize(
    "extra", [{"key_path": "/nowhere/key.json"}, {"keyfile_dict": "{"}, {"keyfile_dict": {"type": "service_account"}}]
)
def test_a_key_that_is_none_says_so(extra):
    stage = GcsStage(lambda: client(extra), "bucket")
    with pytest.raises(ConfigurationError, match="Google"):
        stage.read("gs://bucket/x")


def test_settings_are_read_from_an_extra(tmp_path):
    extra = {"chunk_bytes": "262144", "folder": str(tmp_path), "user_project": "payer", "kms_key_name": "", "x": 1}
    assert GcsStageSettings.parse(extra) == GcsStageSettings(chunk_bytes=1 << 18, folder=tmp_path, user_project="payer")
    with pytest.raises(ConfigurationError, match=r"wrong type among .*many"):
        GcsStageSettings.parse({"chunk_bytes": "many"})
