"""Every way to a token that Identity-Aware Proxy accepts, with the real google-auth."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from google.oauth2 import service_account

from airflow_elt_provider.core.connection import ConnectionParts
from airflow_elt_provider.remotes.settings import parse_settings
from servers.processes import ReservedPort
from tests.fakes.google_tokens import CLOUD_SCOPE, federated
from tests.fakes.http_fake import Fault
from tests.remotes.google_at_hand import ELT, MIDDLE, TARGET, ask, through

pytestmark = pytest.mark.lowest

APP_URL = "https://airbyte.example.com/"


@pytest.fixture
def by_url(iap):
    """Let JWTs in that a service account signed for a URL."""
    iap.jwt_url = APP_URL
    return iap


def kinds(google):
    return [mint.kind for mint in google.mints]


@pytest.fixture
def adc(monkeypatch):
    """Make a file the application default credentials."""
    return lambda path: monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))


# --- ID tokens ---


def test_the_key_in_the_connection(driver, iap, google, key):
    assert through(driver, iap, keyfile_dict=key) == ELT
    assert through(driver, iap, keyfile_dict=json.loads(key)) == ELT
    assert set(kinds(google)) == {"id_token"}


def test_the_credentials_of_a_google_connection(driver, iap, google, key):
    def credentials(name):
        assert name == "gcp"
        return service_account.Credentials.from_service_account_info(json.loads(key), scopes=[CLOUD_SCOPE])

    extra = {"iap_mode": "id_token", "iap_audience": iap.audience, "google_conn_id": "gcp"}
    parts = ConnectionParts("remote", "eltairbyte", host=iap.url, extra=extra)
    answer = ask(driver, parse_settings(parts, google_credentials=credentials))
    assert answer.json()["headers"]["x-goog-authenticated-user-email"].endswith(ELT)


def test_a_key_as_application_default(driver, iap, hosts, adc, key_file):
    adc(key_file)
    assert through(driver, iap) == ELT


def test_an_impersonation_as_application_default(driver, iap, google, hosts, adc, key_file, tmp_path):
    google.impersonators |= {TARGET: {MIDDLE}, MIDDLE: {ELT}}
    adc(google.impersonated_file(tmp_path / "as.json", TARGET, key_file, delegates=[MIDDLE]))
    assert through(driver, iap) == TARGET


@pytest.mark.parametrize("chain", [[TARGET], [MIDDLE, TARGET]])
def test_impersonation_with_and_without_delegates(driver, iap, google, hosts, key, chain):
    google.impersonators |= {TARGET: {MIDDLE}, MIDDLE: {ELT}} if len(chain) > 1 else {TARGET: {ELT}}
    assert through(driver, iap, keyfile_dict=key, iap_impersonate=", ".join(chain)) == TARGET
    assert kinds(google) == ["access_token", "id_token"]
    assert "iamcredentials.googleapis.com" in hosts.seen


def test_a_user_may_impersonate_a_service_account(driver, iap, google, hosts, adc, tmp_path):
    google.impersonators[TARGET] = {"me@example.com"}
    adc(google.authorized_user("me@example.com", tmp_path / "user.json"))
    assert through(driver, iap, iap_impersonate=TARGET) == TARGET


def test_a_workload_that_impersonates_by_its_own_configuration(driver, iap, google, hosts, adc, tmp_path):
    google.impersonators[TARGET] = {federated("workload"), TARGET}
    adc(google.external_account(tmp_path / "workload.json", impersonate=TARGET))
    assert through(driver, iap) == TARGET


def test_a_workload_that_impersonates_by_the_connection(driver, iap, google, hosts, adc, tmp_path):
    google.impersonators[TARGET] = {federated("workload")}
    adc(google.external_account(tmp_path / "workload.json"))
    assert through(driver, iap, iap_impersonate=TARGET) == TARGET


# --- signed JWTs ---


def test_a_jwt_signed_with_the_key_needs_no_call(driver, by_url, google, key):
    fields = {"iap_mode": "signed_jwt", "audience": f"{APP_URL}*", "keyfile_dict": key}
    assert through(driver, by_url, **fields) == ELT
    assert kinds(google) == []


@pytest.mark.parametrize("chain", [[TARGET], [MIDDLE, TARGET]])
def test_a_jwt_signed_by_google_for_an_impersonated_account(driver, by_url, google, hosts, key, chain):
    google.impersonators |= {TARGET: {MIDDLE}, MIDDLE: {ELT}} if len(chain) > 1 else {TARGET: {ELT}}
    fields = {"iap_mode": "signed_jwt", "audience": APP_URL, "keyfile_dict": key}
    assert through(driver, by_url, **fields, iap_impersonate=",".join(chain)) == TARGET
    assert kinds(google) == ["access_token", "signed_jwt"]


def test_a_jwt_signed_by_google_for_a_workload(driver, by_url, google, hosts, adc, tmp_path):
    google.impersonators[TARGET] = {federated("workload"), TARGET}
    adc(google.external_account(tmp_path / "workload.json", impersonate=TARGET))
    assert through(driver, by_url, iap_mode="signed_jwt", audience=APP_URL) == TARGET
    assert kinds(google)[-1] == "signed_jwt"


def test_a_jwt_without_an_audience_is_for_the_whole_host(driver, iap, key):
    iap.jwt_url = f"{iap.url}/"
    assert through(driver, iap, iap_mode="signed_jwt", audience="", keyfile_dict=key) == ELT


# --- auto ---


def test_auto_takes_an_id_token_for_a_client_id(driver, iap, google, key):
    assert through(driver, iap, iap_mode="auto", keyfile_dict=key) == ELT
    assert kinds(google) == ["id_token"]


def test_auto_takes_a_signed_jwt_for_a_url(driver, by_url, google, key):
    assert through(driver, by_url, iap_mode="auto", audience=APP_URL + "*", keyfile_dict=key) == ELT
    assert kinds(google) == []


def test_auto_finds_the_audience_in_the_redirect_to_the_login(driver, iap, google, key):
    iap.audience = "999-found.apps.googleusercontent.com"
    assert through(driver, iap, iap_mode="auto", audience="", keyfile_dict=key) == ELT
    assert [mint.audience for mint in google.mints] == [iap.audience]
    assert [seen.path for seen in iap.requests] == ["/", "/api/public/v1/jobs"]


# --- the header ---


@pytest.mark.parametrize(
    ("fields", "header"),
    [
        ({}, "Authorization"),
        ({"auth_headers": {"X-Tenant": "a"}}, "Authorization"),
        ({"login": "me", "password": "pw"}, "Proxy-Authorization"),
        ({"auth": "bearer", "password": "pw"}, "Proxy-Authorization"),
        ({"auth_headers": {"authorization": "Custom pw"}}, "Proxy-Authorization"),
    ],
    ids=["nothing", "another header", "basic", "bearer", "a header of its own"],
)
def test_authorization_is_left_to_an_application_that_reads_it(driver, iap, echo, key, fields, header):
    through(driver, iap, keyfile_dict=key, **fields)
    assert [answered.token_header for answered in iap.log] == [header]
    own = echo.requests[-1].headers.get("Authorization", echo.requests[-1].headers.get("authorization"))
    assert (own is not None) == (header == "Proxy-Authorization")
    assert "Proxy-Authorization" not in echo.requests[-1].headers


# --- the metadata server: its address is read when google-auth is imported ---

METADATA = """
import json, sys
from airflow_elt_provider.errors import EltError
from tests.remotes.driving import driven_by_httpx, driven_by_requests, settings_of
from tests.remotes.google_at_hand import ask
url, *each = json.loads(sys.argv[1])
for fields in each:
    for driver in (driven_by_requests, driven_by_httpx):
        try:
            print(ask(driver, settings_of(url, **fields)).json()["headers"]["x-goog-authenticated-user-email"])
        except EltError as error:
            print(error)
"""


def on_a_machine(iap, metadata_port, *each):
    """Ask from a process whose metadata server is the fake's, with each of these connections, through both drivers."""
    host = f"127.0.0.1:{metadata_port}"
    given = {**os.environ, "NO_GCE_CHECK": "false", "GCE_METADATA_HOST": host, "GCE_METADATA_IP": host}
    given |= {"GCE_METADATA_TIMEOUT": "1", "GCE_METADATA_DETECT_RETRIES": "1"}
    code = [sys.executable, "-c", METADATA, json.dumps([iap.url, *each])]
    done = subprocess.run(code, env=given, capture_output=True, text=True, timeout=60, check=True)
    return [line.removeprefix("accounts.google.com:") for line in done.stdout.splitlines()]


def test_the_metadata_servers_account_passes_impersonates_and_signs(google, by_url, hosts):
    google.metadata_account = ELT
    google.impersonators |= {TARGET: {ELT}, ELT: {ELT}}
    by_audience = {"iap_mode": "id_token", "iap_audience": by_url.audience}
    said = on_a_machine(
        by_url, google.port, by_audience, {**by_audience, "iap_impersonate": TARGET}, {"iap_audience": APP_URL}
    )
    assert said == [ELT, ELT, TARGET, TARGET, ELT, ELT]
    assert kinds(google).count("signed_jwt") == 1


def test_a_metadata_server_that_is_not_there(iap, hosts):
    port = ReservedPort()
    said = on_a_machine(iap, port.number, {"iap_mode": "id_token", "iap_audience": iap.audience})
    port.release()
    assert len(said) == 2
    for message in said:
        assert "There are no Google credentials for Identity-Aware Proxy" in message
        assert "set google_conn_id or keyfile_dict, or run where a metadata server is" in message


def test_a_metadata_server_in_trouble_is_a_fault_of_the_moment(google, iap, hosts):
    google.metadata_account = ELT
    google.inject(Fault("GET", "/identity", status=404, times=None))
    said = on_a_machine(iap, google.port, {"iap_mode": "id_token", "iap_audience": iap.audience})
    assert all("Google did not answer when asked for a token" in message for message in said)
