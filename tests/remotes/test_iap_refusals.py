"""When Google gives no token: what is wrong, and what to do about it."""

from __future__ import annotations

import json

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from airflow_elt_provider.core.secret import Secret
from airflow_elt_provider.errors import ConfigurationError, TransientError
from airflow_elt_provider.remotes.iap import id_token, signed_jwt
from airflow_elt_provider.remotes.settings import Iap
from servers.processes import ReservedPort
from tests.fakes.google_tokens import federated
from tests.fakes.http_fake import Fault
from tests.remotes.google_at_hand import AUDIENCE, ELT, TARGET, through

pytestmark = pytest.mark.lowest

URL = "https://airbyte.example.com/*"
BOTH = pytest.mark.parametrize(("mode", "audience"), [("id_token", AUDIENCE), ("signed_jwt", URL)])


@pytest.fixture
def refused(driver, iap):
    """Ask through the proxy; return the message of the refusal, which the proxy never saw."""

    def refused(kind=ConfigurationError, **fields):
        with pytest.raises(kind) as caught:
            through(driver, iap, **fields)
        assert iap.log == []
        return str(caught.value)

    return refused


# --- the credentials ---


@BOTH
def test_a_users_credentials_are_refused(refused, google, hosts, tmp_path, monkeypatch, mode, audience):
    path = google.authorized_user("me@example.com", tmp_path / "user.json")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
    message = refused(iap_mode=mode, audience=audience)
    assert "The application default credentials are a user's (Credentials)" in message
    assert "set iap_impersonate to a service account that the user may impersonate" in message


def test_a_google_connection_with_a_users_credentials_is_named(google, hosts, tmp_path):
    from google.oauth2.credentials import Credentials

    path = google.authorized_user("me@example.com", tmp_path / "user.json")
    given = Credentials.from_authorized_user_file(str(path))
    iap = Iap("id_token", source="gcp", credentials=lambda: given)
    with pytest.raises(ConfigurationError, match="Google connection 'gcp' are a user's"):
        id_token(iap, AUDIENCE)
    with pytest.raises(ConfigurationError, match="Google connection 'gcp' are a user's"):
        signed_jwt(iap, URL)


@BOTH
def test_a_workload_without_a_service_account_is_refused(refused, google, hosts, tmp_path, monkeypatch, mode, audience):
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(google.external_account(tmp_path / "workload.json")))
    message = refused(iap_mode=mode, audience=audience)
    assert "names no service account" in message
    assert "set iap_impersonate" in message


def test_no_credentials_at_all(refused, hosts):
    message = refused()
    assert "There are no Google credentials for Identity-Aware Proxy" in message
    assert "set google_conn_id or keyfile_dict" in message


def test_a_file_of_credentials_that_is_not_there(refused, hosts, monkeypatch):
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/no/such/key.json")
    assert "/no/such/key.json was not found" in refused()


@pytest.mark.parametrize("text", ["nonsense", "[]", '{"type": "authorized_user", "refresh_token": "hidden"}'])
def test_a_key_that_is_none_is_refused_and_not_shown(refused, text):
    message = refused(keyfile_dict=text)
    assert "keyfile_dict is not the JSON key of a service account" in message
    assert "paste the whole key file" in message
    assert text not in message


@pytest.mark.parametrize("lost", ["private_key", "client_email", "token_uri"])
def test_a_key_that_lacks_a_field_is_refused(refused, key, lost):
    info = json.loads(key)
    message = refused(keyfile_dict={name: value for name, value in info.items() if name != lost})
    assert lost in message
    assert info["private_key"][60:100] not in message


def test_a_private_key_that_is_broken_is_refused_and_not_shown(refused, key):
    info = {**json.loads(key), "private_key": "-----BEGIN PRIVATE KEY-----\nhidden\n-----END PRIVATE KEY-----\n"}
    message = refused(keyfile_dict=info)
    assert "check the key" in message
    assert "hidden" not in message


@pytest.mark.parametrize("name", ["private_key", "client_email", "token_uri"])
@pytest.mark.parametrize("value", [["hidden"], {"a": "hidden"}, 7, None])
def test_a_key_whose_fields_are_no_text_is_refused_and_not_shown(refused, key, name, value):
    message = refused(keyfile_dict={**json.loads(key), name: value})
    assert "lacks client_email, private_key or token_uri" in message
    assert "hidden" not in message


@pytest.mark.parametrize("uri", ["http://[hidden", "hidden", "ftp://hidden"])
def test_a_key_with_a_token_uri_that_is_none_is_refused_and_not_shown(refused, key, uri):
    message = refused(keyfile_dict={**json.loads(key), "token_uri": uri})
    assert "token_uri that is no URL" in message
    assert "hidden" not in message


@BOTH
def test_a_private_key_of_another_kind_is_refused(refused, key, mode, audience):
    private = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    message = refused(
        keyfile_dict={**json.loads(key), "private_key": private.decode()}, iap_mode=mode, audience=audience
    )
    assert "The private key in keyfile_dict cannot be read" in message


@pytest.mark.parametrize(
    "text", ["[]", "7", "no json", '{"type": "external_account", "credential_source": "x"}', "\xff"]
)
def test_a_file_of_credentials_that_holds_none(refused, hosts, tmp_path, monkeypatch, text):
    path = tmp_path / "adc.json"
    path.write_text(text, encoding="latin-1")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
    assert f"{str(path)!r} of GOOGLE_APPLICATION_CREDENTIALS holds no Google credentials" in refused()


def test_a_broken_private_key_in_a_file_of_credentials_is_not_shown(refused, key, hosts, tmp_path, monkeypatch):
    path = tmp_path / "adc.json"
    path.write_text(json.dumps({**json.loads(key), "private_key": "-----BEGIN PRIVATE KEY-----\nhidden"}))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
    message = refused()
    assert "There are no Google credentials" in message
    assert "hidden" not in message
    assert "ValueError" not in message


def test_a_key_that_was_revoked_is_refused(refused, key, strange_key):
    revoked = {**json.loads(key), "private_key": strange_key}
    message = refused(keyfile_dict=revoked)
    assert "Google gives no token for Identity-Aware Proxy" in message
    assert "Invalid JWT Signature" in message


# --- rights ---


@BOTH
def test_a_right_that_is_missing_names_the_role(refused, google, hosts, key, mode, audience):
    message = refused(keyfile_dict=key, iap_impersonate=TARGET, iap_mode=mode, audience=audience)
    assert f"No token for {TARGET}: " in message
    assert "denied on resource" in message
    assert f"grant roles/iam.serviceAccountTokenCreator on {TARGET} to the caller" in message


def test_a_workload_that_may_not_impersonate_names_the_role(refused, google, hosts, tmp_path, monkeypatch):
    path = google.external_account(tmp_path / "workload.json", impersonate=TARGET)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
    assert "roles/iam.serviceAccountTokenCreator" in refused()


def test_a_workload_whose_account_may_not_act_as_itself_names_the_role(refused, google, hosts, tmp_path, monkeypatch):
    google.impersonators[TARGET] = {federated("workload")}
    path = google.external_account(tmp_path / "workload.json", impersonate=TARGET)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
    message = refused()
    assert "roles/iam.serviceAccountTokenCreator" in message
    assert "also where it is the same" in message


# --- Google in trouble: a fault of the moment ---


@BOTH
@pytest.mark.parametrize("status", [429, 500, 503])
def test_iam_in_trouble(refused, google, hosts, key, mode, audience, status):
    google.impersonators[TARGET] = {ELT}
    google.inject(Fault("POST", "serviceAccounts", status=status, body="<html>busy</html>", times=None))
    message = refused(TransientError, keyfile_dict=key, iap_impersonate=TARGET, iap_mode=mode, audience=audience)
    assert f"IAM Credentials answered {status}" in message


@BOTH
@pytest.mark.parametrize("body", [{}, [], {"token": "", "signedJwt": None}, "<html>"])
def test_iam_that_answers_without_a_token(refused, google, hosts, key, mode, audience, body):
    google.impersonators[TARGET] = {ELT}
    google.inject(Fault("POST", "generateIdToken|signJwt", status=200, body=body, times=None))
    message = refused(TransientError, keyfile_dict=key, iap_impersonate=TARGET, iap_mode=mode, audience=audience)
    assert f"for {TARGET} without a token" in message


def test_iam_that_hangs_up(refused, google, hosts, key):
    google.impersonators[TARGET] = {ELT}
    google.inject(Fault("POST", "serviceAccounts", then="cut", times=None))
    assert "Google did not answer" in refused(TransientError, keyfile_dict=key, iap_impersonate=TARGET)


def test_a_token_server_that_is_not_there(refused, key):
    port = ReservedPort()
    info = {**json.loads(key), "token_uri": f"http://127.0.0.1:{port.number}/token"}
    assert "Google did not answer when asked for a token" in refused(TransientError, keyfile_dict=info)
    port.release()


def test_a_token_server_in_trouble(google, key):
    google.inject(Fault("POST", "/token", status=503, body={"error": "unavailable"}, times=None))
    with pytest.raises(TransientError, match="Google did not answer"):
        id_token(Iap("id_token", keyfile=Secret(key)), AUDIENCE)


# --- discovery ---


@pytest.mark.parametrize("mode", ["auto", "id_token"])
def test_a_server_that_names_no_audience(driver, echo, iap, key, mode):
    iap.inject(Fault("GET", "^/$", status=200, body={"hello": 1}, times=None))
    with pytest.raises(ConfigurationError) as caught:
        through(driver, iap, iap_mode=mode, audience="", keyfile_dict=key, conn_id="my_conn")
    assert "does not say which audience its Identity-Aware Proxy wants (it answered 200)" in str(caught.value)
    assert "set iap_audience in connection 'my_conn'" in str(caught.value)
    assert len(iap.requests) == 1


@pytest.mark.parametrize("location", ["https://sso.example.com/login?client_id=theirs", "http://[x"])
def test_a_redirect_to_another_login_names_no_audience(driver, iap, key, location):
    elsewhere = {"Location": location}
    iap.inject(Fault("GET", "^/$", status=302, headers=elsewhere, times=None))
    with pytest.raises(ConfigurationError, match="does not say which audience"):
        through(driver, iap, iap_mode="auto", audience="", keyfile_dict=key)


def test_the_audience_is_asked_for_at_a_server_that_is_there(driver, key, iap):
    iap.stop()
    with pytest.raises(TransientError, match="connection refused"):
        through(driver, iap, iap_mode="auto", audience="", keyfile_dict=key)
