"""TLS as both drivers do it: verified unless a private authority is given, with a client certificate where wanted."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from airflow_elt_provider.core.secret import Secret
from airflow_elt_provider.errors import AnswerLostError, ConfigurationError
from airflow_elt_provider.remotes import transports
from airflow_elt_provider.remotes.flow import Request
from servers.certificates import Authority
from tests.remotes.driving import asked, settings_of
from tests.remotes.echo import Echo

pytestmark = pytest.mark.lowest

GET = Request("GET", "/x")


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority.create(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def server(authority):
    """Run a server that is really this address."""
    with Echo(certificate=authority.issue("server", ["127.0.0.1"])) as running:
        yield running


@pytest.fixture(scope="module")
def picky(authority):
    """Run a server that speaks only to clients with a certificate."""
    with Echo(certificate=authority.issue("picky", ["127.0.0.1"]), clients=authority) as running:
        yield running


@pytest.fixture(scope="module")
def client(authority):
    return authority.issue("client")


def refused(driver, url, **fields):
    with pytest.raises(ConfigurationError) as caught:
        driver(asked(GET), settings_of(url, **fields))
    return str(caught.value)


def test_a_private_authority_is_refused_by_default(driver, server):
    message = refused(driver, server.url)
    assert f"GET /x at {server.url}: the server's certificate was refused" in message
    assert "give its file as ca_bundle" in message


def test_a_private_authority_is_accepted_when_it_is_given(driver, server, authority):
    settings = settings_of(server.url, ca_bundle=str(authority.certificate))
    assert driver(asked(GET), settings).status == 200


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"])
def test_the_environment_may_give_it_too(driver, server, authority, monkeypatch, name):
    monkeypatch.setenv(name, str(authority.certificate))
    assert driver(asked(GET), settings_of(server.url)).status == 200


def test_the_connection_has_the_last_word_about_authorities(driver, server, authority, monkeypatch, tmp_path):
    other = Authority.create(tmp_path, "Other")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority.certificate))
    assert "certificate was refused" in refused(driver, server.url, ca_bundle=str(other.certificate))


def test_a_wrong_host_name_is_refused(driver, server, authority):
    url = f"https://localhost:{server.port}"
    message = refused(driver, url, ca_bundle=str(authority.certificate))
    assert "certificate was refused (Hostname mismatch" in message
    assert "for a wrong name correct the host" in message


def test_a_bundle_that_is_not_there_is_named(driver):
    message = refused(driver, "https://host", conn_id="mine", ca_bundle="/no/such.pem")
    assert "'/no/such.pem' of connection 'mine' is not on this machine" in message


def test_a_bundle_that_cannot_be_read_is_refused(driver, tmp_path):
    path = tmp_path / "ca.pem"
    path.write_text("nonsense")
    assert "cannot be read" in refused(driver, "https://host", ca_bundle=str(path))


def test_a_server_without_tls_is_told_apart(driver):
    with Echo() as plain:
        message = refused(driver, plain.url.replace("http:", "https:"))
    assert "there is no TLS" in message
    assert "schema" in message


# --- client certificates ---


def forms(client):
    """Return the ways to give a client certificate."""
    certificate, key = client.certificate.read_text(), client.key.read_text()
    both = client.certificate.with_name("both.pem")
    both.write_text(certificate + key)
    return {
        "files": {"client_cert": str(client.certificate), "client_private_key": str(client.key)},
        "text": {"client_cert": certificate, "client_private_key": key},
        "text on one line": {
            "client_cert": certificate.replace("\n", "\\n"),
            "client_private_key": key.replace("\n", "\\n"),
        },
        "one file": {"client_cert": str(both)},
        "one text": {"client_cert": certificate + key},
    }


@pytest.mark.parametrize("form", ["files", "text", "text on one line", "one file", "one text"])
def test_a_client_certificate_opens_the_door(driver, picky, authority, client, form):
    settings = settings_of(picky.url, ca_bundle=str(authority.certificate), **forms(client)[form])
    assert driver(asked(GET), settings).status == 200


def test_without_a_client_certificate_the_door_stays_closed(driver, picky, authority):
    settings = settings_of(picky.url, ca_bundle=str(authority.certificate))
    with pytest.raises((ConfigurationError, AnswerLostError)) as caught:
        driver(asked(GET), settings)
    if isinstance(caught.value, ConfigurationError):  # the server's alert may get lost in its reset
        assert "refused our side of TLS" in str(caught.value)
        assert "client_cert and client_private_key" in str(caught.value)


def test_a_client_certificate_of_another_authority_stays_outside(driver, picky, authority, tmp_path):
    stranger = Authority.create(tmp_path, "Stranger").issue("stranger")
    fields = {"client_cert": str(stranger.certificate), "client_private_key": str(stranger.key)}
    with pytest.raises((ConfigurationError, AnswerLostError)):
        driver(asked(GET), settings_of(picky.url, ca_bundle=str(authority.certificate), **fields))


@pytest.mark.parametrize("fields", [{"client_cert": "/no/such.pem"}, {"client_cert": "-----BEGIN X-----\nhidden"}])
def test_a_client_certificate_that_cannot_be_read_is_refused_and_not_shown(driver, fields):
    message = refused(driver, "https://host", **fields)
    assert "both are PEM" in message
    assert "hidden" not in message


def test_a_key_of_another_certificate_is_refused(driver, authority, client):
    other = authority.issue("other")
    fields = {"client_cert": str(client.certificate), "client_private_key": str(other.key)}
    assert "the private key belongs to the certificate" in refused(driver, "https://host", **fields)


def test_keys_given_as_text_are_for_our_eyes_only():
    path = Path(transports._as_file(Secret("-----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY-----")))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert path == Path(transports._as_file(Secret("-----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY-----")))


def test_keys_that_were_swept_away_are_written_again():
    text = Secret("-----BEGIN PRIVATE KEY-----\ny\n-----END PRIVATE KEY-----")
    path = Path(transports._as_file(text))
    path.unlink()
    assert Path(transports._as_file(text)).exists()
    for file in path.parent.iterdir():
        file.unlink()
    path.parent.rmdir()
    again = Path(transports._as_file(text))
    assert stat.S_IMODE(again.parent.stat().st_mode) == 0o700
    assert again.exists()
