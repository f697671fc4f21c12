"""A stage on Cloud Storage through Airflow's own Google connection, and Airflow's own hook on the same server."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from airflow.providers.google.cloud.hooks.gcs import GCSHook

from airflow_elt_provider.errors import ConfigurationError
from airflow_elt_provider.hooks.systems import get_folder, get_stage
from servers.gcs import GcsServer
from tests.airflow.in_process import environment
from tests.fakes.connect_proxy import GOOGLE_HOSTS, ConnectProxy
from tests.fakes.google import FakeGoogle
from tests.fakes.http_fake import Fault

ELT = "elt@proj.iam.gserviceaccount.com"
TARGET = "stage@proj.iam.gserviceaccount.com"
MIDDLE = "middle@proj.iam.gserviceaccount.com"
KEY = "projects/p/locations/eu/keyRings/elt/cryptoKeys/stage"
URI = "gs://stage/elt"
PROJECTS = "cloudresourcemanager.googleapis.com"  # where google-auth looks for a workload's project


@pytest.fixture(scope="module")
def gcs():
    with GcsServer() as server, environment(**server.env()):
        server.create_bucket("stage")
        yield server
        server.heal()


@pytest.fixture
def google():
    with FakeGoogle() as fake:
        yield fake


@pytest.fixture
def key(google, tmp_path):
    return google.service_account(ELT, tmp_path / "key.json")


def opened(**extra):
    with environment(AIRFLOW_CONN_C=json.dumps({"conn_type": "google_cloud_platform", "extra": extra})):
        return get_stage(URI, "c")


def who(gcs, google):
    """Return whose token the last request carried."""
    return google._access[gcs.asked[-1].headers["authorization"].removeprefix("Bearer ")].principal


def name():
    return os.urandom(4).hex()


def test_a_key_in_the_connection(gcs, google, key):
    stage, path = opened(keyfile_dict=key.read_text()), name()
    assert stage.put_if_absent(path, b"1")
    assert who(gcs, google) == ELT
    assert not stage.put_if_absent(path, b"2")
    assert stage.read(f"{URI}/{path}") == b"1"


def test_a_key_file(gcs, google, key):
    assert opened(key_path=str(key)).put_if_absent(name(), b"1")
    assert who(gcs, google) == ELT


def test_folders_of_small_files_log_in_as_stages_do(gcs, google, key):
    with environment(
        AIRFLOW_CONN_C=json.dumps({"conn_type": "google_cloud_platform", "extra": {"key_path": str(key)}})
    ):
        folder = get_folder("gs://stage/config", "c")
    for content in (b"1", b"2"):
        folder.write("a/x.yaml", content)
    assert who(gcs, google) == ELT
    assert folder.read() == {"a/x.yaml": b"2"}


@pytest.mark.parametrize("chain", [TARGET, f"projects/-/serviceAccounts/{MIDDLE},{TARGET}"])
def test_an_impersonated_account(gcs, google, key, tmp_path, chain):
    google.impersonators |= {TARGET: {ELT, MIDDLE}, MIDDLE: {ELT}}
    with ConnectProxy(dict.fromkeys(GOOGLE_HOSTS, google.port), tmp_path) as proxy, environment(**proxy.environment()):
        assert opened(key_path=str(key), impersonation_chain=chain).put_if_absent(name(), b"1")
    assert who(gcs, google) == TARGET


def test_an_impersonation_that_is_not_granted_names_the_role(gcs, google, key, tmp_path):
    with ConnectProxy(dict.fromkeys(GOOGLE_HOSTS, google.port), tmp_path) as proxy, environment(**proxy.environment()):
        stage = opened(key_path=str(key), impersonation_chain=TARGET)
        with pytest.raises(ConfigurationError, match=r"getAccessToken' denied.*roles/iam\.serviceAccountTokenCreator"):
            stage.put_if_absent(name(), b"1")


def test_default_credentials_with_and_without_a_connection(gcs, google, key):
    with environment(GOOGLE_APPLICATION_CREDENTIALS=str(key)):
        assert opened().put_if_absent(name(), b"1")
        assert who(gcs, google) == ELT
    assert get_stage(URI, None).put_if_absent(name(), b"1"), "an emulator's client needs no credentials"


def test_a_workload_identity(gcs, google, tmp_path):
    google.inject(Fault("GET", "/v1/projects", status=404, body={}))
    workload, hosts = google.external_account(tmp_path / "workload.json"), (*GOOGLE_HOSTS, PROJECTS)
    with (
        ConnectProxy(dict.fromkeys(hosts, google.port), tmp_path) as proxy,
        environment(GOOGLE_APPLICATION_CREDENTIALS=str(workload), **proxy.environment()),
    ):
        assert opened().put_if_absent(name(), b"1")
    assert "workload" in who(gcs, google)


@pytest.mark.parametrize(
    "extra", [{"key_path": "/nowhere/key.json"}, {"keyfile_dict": "{"}, {"keyfile_dict": '{"type": "x"}'}]
)
def test_a_key_that_is_none_says_so_and_is_no_missing_file(gcs, extra):
    stage = opened(**extra)
    with pytest.raises(ConfigurationError, match="Connection 'c' has no usable Google credentials"):
        stage.read(f"{URI}/x")


def test_our_extras_reach_the_requests(gcs, tmp_path):
    extra = {"kms_key_name": KEY, "user_project": "payer", "chunk_bytes": "262144", "folder": str(tmp_path)}
    stage = opened(is_anonymous=True, **extra)
    with stage.workspace() as folder:
        assert folder.parent == tmp_path
    assert stage.put_if_absent(name(), b"1")
    asked = gcs.asked[-1]
    assert (asked.query["kmsKeyName"], asked.query["userProject"]) == (KEY, "payer")
    assert stage._settings.chunk_bytes == 262144


def test_a_private_endpoint(gcs, google, key):
    extra = {"key_path": str(key), "api_endpoint": gcs.url}
    with environment(STORAGE_EMULATOR_HOST="http://127.0.0.1:1"):
        assert opened(**extra).put_if_absent(name(), b"1")
    assert who(gcs, google) == ELT


@pytest.mark.parametrize(
    ("extra", "words"),
    [({"kms_key_name": "k"}, "full name"), ({"chunk_bytes": "1x"}, "wrong type"), ({"chunk_bytes": 5}, "256 KiB")],
)
def test_extras_are_checked(extra, words):
    with pytest.raises(ConfigurationError, match=words):
        opened(**extra)


def test_a_connection_of_another_type_is_refused():
    with environment(AIRFLOW_CONN_C=json.dumps({"conn_type": "aws"})), pytest.raises(ConfigurationError, match="aws"):
        get_stage(URI, "c")
    with pytest.raises(ConfigurationError, match="no connection 'nobody'"):
        get_stage(URI, "nobody")


def test_opening_a_stage_asks_nobody(google, key):
    """Not even for a token: the connection is read, and nothing else."""
    google.keys.clear()
    opened(key_path=str(key), api_endpoint="http://127.0.0.1:1", impersonation_chain=TARGET)
    opened(key_path="/nowhere")
    assert not google.requests


def test_airflow_s_own_hook_finds_the_server(gcs, google, key):
    with environment(
        AIRFLOW_CONN_C=json.dumps({"conn_type": "google_cloud_platform", "extra": {"key_path": str(key)}})
    ):
        hook, path = GCSHook("c"), name()
        hook.upload("stage", f"elt/{path}", data=b"from the hook")
        assert hook.exists("stage", f"elt/{path}")
        stage = get_stage(URI, "c")
    assert who(gcs, google) == ELT
    assert stage.read(f"{URI}/{path}") == b"from the hook"
    assert not stage.put_if_absent(path, b"ours")


def test_the_hook_imports_nothing_of_google_before_it_is_used():
    code = (
        "import sys, airflow_elt_provider.hooks.files as files; files.EltFilesHook('c');"
        "assert not {'google.cloud.storage', 'airflow.providers.google.common.hooks.base_google'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
