"""A search over all that can be read: messages, reprs, tracebacks, and the log at DEBUG of every library on the way."""

from __future__ import annotations

import base64
import json
import logging
import traceback

import pytest

from airflow_elt_provider.errors import EltError
from airflow_elt_provider.remotes.airbyte import Airbyte, application_token
from airflow_elt_provider.remotes.opening import open_session
from airflow_elt_provider.remotes.tokens import TOKENS
from airflow_elt_provider.remotes.transports import RequestsTransport
from servers.certificates import Authority
from tests.fakes.airbyte import FakeAirbyte
from tests.fakes.http_fake import Fault
from tests.remotes.driving import settings_of
from tests.remotes.echo import Tunnel
from tests.remotes.google_at_hand import AUDIENCE, ELT, TARGET

pytestmark = pytest.mark.lowest

PASSWORD, TENANT, HUSH = "client-s3cr3t", "tenant-k3y", "pr0xy-hush"
CLIENT = {"auth": "client_credentials", "login": "client", "password": PASSWORD, "auth_headers": {"X-Key": TENANT}}


@pytest.fixture
def airbyte():
    with FakeAirbyte(auth="client_credentials", client_secret=PASSWORD) as server:
        yield server


@pytest.fixture
def front(iap, airbyte):
    iap.upstream_url, iap.members = airbyte.url, {ELT, TARGET}
    return iap


@pytest.fixture
def searched(driver, caplog, capfd, key):
    """Check a connection; look for its secrets, and for all tokens that went over the wire, in all that can be read."""
    caplog.set_level(logging.DEBUG)
    for name in ("urllib3", "httpx", "httpcore", "google", "google.auth", "requests", "asyncio"):
        caplog.set_level(logging.DEBUG, logger=name)

    def searched(url, *servers, **fields):
        settings = settings_of(url, **{**CLIENT, **fields})
        session = open_session(settings, token=application_token)
        error = None
        try:
            driver(Airbyte(session).check(), settings)
        except EltError as caught:
            error = caught
        held = [place.held for place in TOKENS._places.values()]
        readable = "\n".join(
            [
                caplog.text,
                *(repr(record.__dict__) for record in caplog.records),
                *capfd.readouterr(),
                "".join(traceback.format_exception(error)) if error else "",
                repr(error), repr(getattr(error, "__dict__", "")),
                repr(settings), repr(session), repr(vars(session)), repr(settings.iap),
                repr(TOKENS), repr(held), *(repr(vars(guard)) for guard in session._guards),
                repr(vars(RequestsTransport(settings))),
            ]
        )  # fmt: skip
        secrets = {PASSWORD, TENANT, HUSH, *(one.value.reveal() for one in held if one), *private(key)}
        for server in servers:
            for seen in server.requests:
                secrets |= {seen.headers[name].split()[-1] for name in AUTHORIZATIONS if name in seen.headers}
        assert not [secret for secret in secrets if secret in readable]
        assert caplog.records
        return error, secrets

    return searched


AUTHORIZATIONS = ("Authorization", "Proxy-Authorization")


def private(key):
    """Return lines of the private key."""
    return json.loads(key)["private_key"].splitlines()[1:-1]


def test_when_all_goes_well(searched, front, airbyte, google, key):
    error, secrets = searched(front.url, front, airbyte, google, iap_audience=AUDIENCE, keyfile_dict=key)
    assert error is None
    assert len([secret for secret in secrets if secret.count(".") == 2]) >= 2  # two real tokens were looked for


def test_when_another_account_is_impersonated(searched, front, airbyte, google, hosts, key):
    google.impersonators[TARGET] = {ELT}
    fields = {"iap_audience": AUDIENCE, "keyfile_dict": key, "iap_impersonate": TARGET}
    error, secrets = searched(front.url, front, airbyte, google, **fields)
    assert error is None
    assert [secret for secret in secrets if secret.startswith("ya29.")]


def test_when_the_right_to_impersonate_is_missing(searched, front, google, hosts, key):
    fields = {"iap_audience": AUDIENCE, "keyfile_dict": key, "iap_impersonate": TARGET}
    assert searched(front.url, front, google, **fields)[0] is not None


@pytest.mark.parametrize("wrong", ["audience", "role", "clock", "login page"])
def test_when_the_proxy_refuses(searched, front, google, key, wrong):
    fields = {"iap_audience": AUDIENCE, "keyfile_dict": key}
    if wrong == "audience":
        fields["iap_audience"] = "other"
    elif wrong == "role":
        front.members.clear()
    elif wrong == "clock":
        google.inject(Fault("POST", "/token", status=200, times=None,
                            body={"id_token": google.id_token(ELT, AUDIENCE, exp=1, iat=0)}))  # fmt: skip
    else:
        front.login_page()
    assert searched(front.url, front, google, **fields)[0] is not None


@pytest.mark.parametrize("fields", [{"password": "wr0ng-s3cr3t"}, {"auth": "basic"}, {"auth": "bearer"}])
def test_when_the_application_refuses(searched, airbyte, fields):
    error, _ = searched(airbyte.url, airbyte, **fields)
    assert error is not None
    assert "wr0ng" not in str(error)
    assert base64.b64encode(f"client:{PASSWORD}".encode()).decode() not in str(error)


@pytest.mark.parametrize("then", ["cut", "answer"])
def test_when_the_server_is_in_trouble(searched, airbyte, then):
    airbyte.inject(Fault("GET|POST", "/", then=then, status=503, times=None))
    assert searched(airbyte.url, airbyte)[0] is not None


def test_when_the_key_is_not_the_accounts(searched, front, google, key, strange_key):
    revoked = {**json.loads(key), "private_key": strange_key}
    error, _ = searched(front.url, front, google, iap_audience=AUDIENCE, keyfile_dict=revoked)
    assert revoked["private_key"].splitlines()[1] not in str(error)


@pytest.mark.parametrize("login", ["", f"me:{HUSH}@"])
def test_when_a_proxy_is_between(searched, airbyte, login):
    with Tunnel(airbyte.port, login=f"me:{HUSH}") as tunnel:
        url = f"http://{login}127.0.0.1:{tunnel.port}"
        error, _ = searched("https://airbyte.example.com", airbyte, proxy=url)
    assert error is not None  # it leads to a server without TLS


def test_when_certificates_are_wrong(searched, tmp_path):
    issued = Authority.create(tmp_path).issue("client")
    text = issued.key.read_text()
    with FakeAirbyte(certificate=issued) as server:
        error, _ = searched(server.url, client_cert=issued.certificate.read_text() + text)
    assert error is not None
    assert text.splitlines()[1] not in f"{error} {error!r}"
