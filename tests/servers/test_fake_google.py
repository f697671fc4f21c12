"""The fake Google, asked by the real google-auth."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import jwt
import pytest
import requests
from google.auth import exceptions, iam, identity_pool, impersonated_credentials
from google.auth.transport.requests import Request
from google.oauth2 import credentials, id_token, service_account

from servers.processes import ReservedPort
from tests.fakes.connect_proxy import GOOGLE_HOSTS, ConnectProxy
from tests.fakes.google import FLAVOR, FakeGoogle
from tests.fakes.google_tokens import CLOUD_SCOPE, NAME_PREFIX, federated
from tests.fakes.http_fake import Fault

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

AUDIENCE = "123-abc.apps.googleusercontent.com"
ELT, MIDDLE, TARGET = (f"{name}@proj.iam.gserviceaccount.com" for name in ("elt", "middle", "target"))
METADATA = """
import google.auth, json
from google.auth import compute_engine
from google.auth.transport.requests import Request
identity = compute_engine.IDTokenCredentials(Request(), "the-client", use_metadata_identity_endpoint=True)
identity.refresh(Request())
default, project = google.auth.default()
default.refresh(Request())
print(json.dumps([identity.token, type(default).__name__, project, default.service_account_email, default.token]))
"""


@pytest.fixture(scope="module")
def server() -> Iterator[FakeGoogle]:
    """Run one Google for all: making keys takes time."""
    with FakeGoogle() as running:
        yield running


@pytest.fixture
def fake(server: FakeGoogle) -> FakeGoogle:
    """Lend it with nothing minted, granted or shifted."""
    server.heal()
    server.mints.clear()
    server.impersonators.clear()
    server.keys.clear()
    server.metadata_account, server.metadata_keeps = None, False
    server.token_seconds, server.clock_offset = 3600, 0
    return server


@pytest.fixture
def key_file(fake: FakeGoogle, tmp_path: Path) -> Path:
    """Lend the key of ELT."""
    return fake.service_account(ELT, tmp_path / "key.json")


@pytest.fixture
def proxy(fake: FakeGoogle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ConnectProxy]:
    """Send everything to the hosts of Google through the proxy."""
    with ConnectProxy(dict.fromkeys(GOOGLE_HOSTS, fake.port), tmp_path) as running:
        for name, value in running.environment().items():
            monkeypatch.setenv(name, value)
        yield running


def identity(path: Path, audience: str = AUDIENCE) -> Any:
    """Return the credentials for ID tokens of a key file."""
    return service_account.IDTokenCredentials.from_service_account_file(path, target_audience=audience)


def source(path: Path) -> Any:
    """Return the credentials for access tokens of a key file."""
    return service_account.Credentials.from_service_account_file(path, scopes=[CLOUD_SCOPE])


def impersonated(path: Path, *, include_email: bool = True, delegates: tuple[str, ...] = ()) -> Any:
    """Return the credentials for ID tokens of TARGET."""
    target = impersonated_credentials.Credentials(
        source_credentials=source(path),
        target_principal=TARGET,
        target_scopes=[CLOUD_SCOPE],
        delegates=[NAME_PREFIX + email for email in delegates],
    )
    return impersonated_credentials.IDTokenCredentials(target, target_audience=AUDIENCE, include_email=include_email)


def refreshed(given: Any) -> str:
    """Return a token."""
    given.refresh(Request())
    return given.token


def claims(token: str) -> dict[str, Any]:
    """Return what a token claims."""
    return jwt.decode(token, options={"verify_signature": False})


def refusal(given: Any) -> str:
    """Return the text of the error that refreshing ends with."""
    with pytest.raises(exceptions.RefreshError) as raised:
        given.refresh(Request())
    return str(raised.value)


def iam_post(fake: FakeGoogle, verb: str, token: str, body: dict[str, Any]) -> requests.Response:
    """Ask IAM without google-auth."""
    url = f"{fake.url}/v1/{NAME_PREFIX}{TARGET}:{verb}"
    return requests.post(url, json=body, headers={"Authorization": f"Bearer {token}"}, timeout=10)


def run(code: str, **environment: str) -> Any:
    """Run Python where google-auth was not imported yet."""
    known = {name: value for name, value in os.environ.items() if not name.startswith(("GOOGLE_", "GCE_"))}
    done = subprocess.run(
        [sys.executable, "-c", code], env=known | environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


# --- keys ---


def test_a_key_file_gives_an_id_token(fake: FakeGoogle, key_file: Path) -> None:
    token = claims(refreshed(identity(key_file)))
    assert (token["aud"], token["email"], token["email_verified"]) == (AUDIENCE, ELT, True)
    assert token["exp"] - token["iat"] == 3600
    assert [(mint.kind, mint.email, mint.audience) for mint in fake.mints] == [("id_token", ELT, AUDIENCE)]


def test_a_key_file_gives_an_access_token(fake: FakeGoogle, key_file: Path) -> None:
    assert refreshed(source(key_file)).startswith("ya29.")
    assert [mint.kind for mint in fake.mints] == ["access_token"]


def test_google_auth_accepts_the_tokens(fake: FakeGoogle, key_file: Path) -> None:
    token = refreshed(identity(key_file))
    assert id_token.verify_token(token, Request(), AUDIENCE, certs_url=f"{fake.url}/certs")["email"] == ELT


def test_the_keys_are_there_as_jwks_too(fake: FakeGoogle, key_file: Path) -> None:
    key = jwt.PyJWKClient(f"{fake.url}/jwks").get_signing_key(fake.key_id)
    assert jwt.decode(refreshed(identity(key_file)), key, algorithms=["RS256"], audience=AUDIENCE)["email"] == ELT


def test_fetch_id_token_finds_the_key_file(key_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key_file))
    assert claims(id_token.fetch_id_token(Request(), AUDIENCE))["email"] == ELT


def test_a_key_of_another_account_is_refused(fake: FakeGoogle, key_file: Path) -> None:
    fake.service_account(MIDDLE, key_file.with_name("other.json"))
    content = json.loads(key_file.read_text()) | {"client_email": MIDDLE}
    key_file.write_text(json.dumps(content))
    assert refusal(identity(key_file)).startswith("('invalid_grant: Invalid JWT Signature.', {")


def test_a_deleted_key_is_refused(fake: FakeGoogle, key_file: Path) -> None:
    fake.keys[ELT].clear()
    assert "Invalid JWT Signature." in refusal(identity(key_file))


def test_an_account_that_is_gone_is_refused(fake: FakeGoogle, key_file: Path) -> None:
    fake.keys.clear()
    assert "Invalid grant: account not found" in refusal(identity(key_file))


def test_a_clock_that_is_far_off_is_refused(fake: FakeGoogle, key_file: Path) -> None:
    fake.clock_offset = -1000
    assert "Token must be a short-lived token" in refusal(identity(key_file))


def test_tokens_follow_the_lifetime_and_the_clock(fake: FakeGoogle, key_file: Path) -> None:
    fake.token_seconds, fake.clock_offset = 60, 100
    token = claims(refreshed(identity(key_file)))
    assert token["exp"] - token["iat"] == 60
    assert token["iat"] - time.time() == pytest.approx(100, abs=5)


def test_google_auth_asks_again_after_a_server_error(fake: FakeGoogle, key_file: Path) -> None:
    fault = fake.inject(Fault("POST", "^/token$", status=503, body={"error": "internal_failure"}))
    assert refreshed(identity(key_file))
    assert fault.hits == 1


# --- users and workloads ---


def test_a_user_gets_an_access_token(fake: FakeGoogle, proxy: ConnectProxy, tmp_path: Path) -> None:
    path = fake.authorized_user("ann@example.com", tmp_path / "user.json")
    assert refreshed(credentials.Credentials.from_authorized_user_file(path)).startswith("ya29.")
    assert proxy.seen == ["oauth2.googleapis.com"]


def test_a_refresh_token_that_was_revoked_is_refused(fake: FakeGoogle, proxy: ConnectProxy, tmp_path: Path) -> None:
    path = fake.authorized_user("ann@example.com", tmp_path / "user.json")
    path.write_text(path.read_text().replace("1//", "2//"))
    assert "Token has been expired or revoked." in refusal(credentials.Credentials.from_authorized_user_file(path))


def test_a_workload_gets_an_id_token(fake: FakeGoogle, tmp_path: Path) -> None:
    fake.impersonators[TARGET] = {federated("workload")}
    path = fake.external_account(tmp_path / "workload.json")
    access = refreshed(identity_pool.Credentials.from_file(path, scopes=[CLOUD_SCOPE]))
    answered = iam_post(fake, "generateIdToken", access, {"audience": AUDIENCE, "includeEmail": True})
    assert claims(answered.json()["token"])["email"] == TARGET
    assert [mint.kind for mint in fake.mints] == ["federated_token", "access_token", "id_token"]


def test_a_workload_acts_as_a_service_account(fake: FakeGoogle, tmp_path: Path) -> None:
    fake.impersonators[TARGET] = {federated("workload"), TARGET}
    path = fake.external_account(tmp_path / "workload.json", impersonate=TARGET)
    given = identity_pool.Credentials.from_file(path, scopes=[CLOUD_SCOPE])  # google.auth.default asks more hosts
    assert given.service_account_email == TARGET
    assert iam_post(fake, "generateIdToken", refreshed(given), {"audience": AUDIENCE}).status_code == 200


def test_a_workload_without_the_role_is_refused(fake: FakeGoogle, tmp_path: Path) -> None:
    path = fake.external_account(tmp_path / "workload.json", impersonate=TARGET)
    given = identity_pool.Credentials.from_file(path, scopes=[CLOUD_SCOPE])
    assert "iam.serviceAccounts.getAccessToken" in refusal(given)


def test_an_unknown_workload_is_refused(fake: FakeGoogle, tmp_path: Path) -> None:
    path = fake.external_account(tmp_path / "workload.json")
    content = json.loads(path.read_text())
    content["credential_source"]["headers"]["Subject"] = "somebody"
    path.write_text(json.dumps(content))
    with pytest.raises(exceptions.OAuthError, match="Error code invalid_grant"):
        identity_pool.Credentials.from_file(path, scopes=[CLOUD_SCOPE]).refresh(Request())


# --- acting as another account ---


def test_acting_as_another_account(fake: FakeGoogle, key_file: Path, proxy: ConnectProxy) -> None:
    fake.impersonators[TARGET] = {ELT}
    assert claims(refreshed(impersonated(key_file)))["email"] == TARGET
    assert proxy.seen == ["iamcredentials.googleapis.com"]


def test_without_include_email_there_is_no_email(fake: FakeGoogle, key_file: Path, proxy: ConnectProxy) -> None:
    fake.impersonators[TARGET] = {ELT}
    assert "email" not in claims(refreshed(impersonated(key_file, include_email=False)))


def test_a_chain_of_delegates(fake: FakeGoogle, key_file: Path, proxy: ConnectProxy) -> None:
    fake.impersonators |= {TARGET: {MIDDLE}, MIDDLE: {ELT}}
    assert claims(refreshed(impersonated(key_file, delegates=(MIDDLE,))))["email"] == TARGET


def test_a_broken_chain_is_refused(fake: FakeGoogle, key_file: Path, proxy: ConnectProxy) -> None:
    fake.impersonators[TARGET] = {MIDDLE}
    denied = refusal(impersonated(key_file, delegates=(MIDDLE,)))
    assert "Permission 'iam.serviceAccounts.implicitDelegation' denied" in denied


def test_acting_without_the_role_is_refused(fake: FakeGoogle, key_file: Path, proxy: ConnectProxy) -> None:
    denied = refusal(impersonated(key_file))
    assert denied.startswith("Error getting ID token: {'error': {'code': 403, 'message': ")
    assert "Permission 'iam.serviceAccounts.getOpenIdToken' denied on resource (or it may not exist)." in denied


def test_nobody_acts_as_himself_unasked(fake: FakeGoogle) -> None:
    own = fake.access_token(TARGET)
    assert iam_post(fake, "signJwt", own, {"payload": "{}"}).status_code == 403
    fake.impersonators[TARGET] = {TARGET}
    assert iam_post(fake, "signJwt", own, {"payload": "{}"}).status_code == 200


def test_a_file_that_names_the_target(fake: FakeGoogle, key_file: Path, proxy: ConnectProxy) -> None:
    fake.impersonators |= {TARGET: {MIDDLE}, MIDDLE: {ELT}}
    path = fake.impersonated_file(key_file.with_name("imp.json"), TARGET, key_file, delegates=[MIDDLE])
    content = json.loads(path.read_text())
    given = impersonated_credentials.Credentials.from_impersonated_service_account_info(content, [CLOUD_SCOPE])
    assert refreshed(given).startswith("ya29.")
    assert fake.mints[-1].email == TARGET


@pytest.mark.parametrize(
    ("token", "status"), [("", 401), ("ya29.other", 401), ("narrow", 403)], ids=["none", "unknown", "scope"]
)
def test_iam_wants_an_access_token(fake: FakeGoogle, token: str, status: int) -> None:
    fake.impersonators[TARGET] = {ELT}
    given = fake.access_token(ELT, ["email"]) if token == "narrow" else token
    assert iam_post(fake, "generateIdToken", given, {"audience": AUDIENCE}).status_code == status


def test_an_access_token_ends(fake: FakeGoogle) -> None:
    fake.impersonators[TARGET] = {ELT}
    fake.token_seconds = 0
    answered = iam_post(fake, "generateIdToken", fake.access_token(ELT), {"audience": AUDIENCE})
    assert answered.json()["error"]["status"] == "UNAUTHENTICATED"


@pytest.mark.parametrize(
    ("verb", "body"),
    [
        ("generateIdToken", {}),
        ("generateIdToken", {"audience": AUDIENCE, "delegates": [ELT]}),
        ("generateAccessToken", {"scope": [CLOUD_SCOPE], "lifetime": "7200s"}),
        ("signJwt", {"payload": "{"}),
    ],
    ids=["no-audience", "bare-delegate", "lifetime", "no-json"],
)
def test_iam_refuses_what_is_malformed(fake: FakeGoogle, verb: str, body: dict[str, Any]) -> None:
    fake.impersonators[TARGET] = {ELT}
    answered = iam_post(fake, verb, fake.access_token(ELT), body)
    assert (answered.status_code, answered.json()["error"]["status"]) == (400, "INVALID_ARGUMENT")


def test_iam_signs_blobs(fake: FakeGoogle, key_file: Path, proxy: ConnectProxy) -> None:
    fake.impersonators[TARGET] = {ELT}
    blob = iam.Signer(Request(), source(key_file), TARGET).sign(b"text")
    answered = iam_post(fake, "signBlob", fake.access_token(ELT), {"payload": base64.b64encode(b"text").decode()})
    assert base64.b64decode(answered.json()["signedBlob"]) == blob
    assert [mint.kind for mint in fake.mints].count("signed_blob") == 2


# --- the metadata server ---


def test_the_metadata_server(fake: FakeGoogle) -> None:
    fake.metadata_account = TARGET
    host = f"127.0.0.1:{fake.port}"
    token, kind, project, email, access = run(METADATA, GCE_METADATA_HOST=host, GCE_METADATA_IP=host, HOME="/none")
    assert (claims(token)["email"], claims(token)["aud"]) == (TARGET, "the-client")
    assert (kind, project, email, access[:5]) == ("Credentials", "proj", TARGET, "ya29.")


def test_without_the_full_format_there_is_no_email(fake: FakeGoogle) -> None:
    fake.metadata_account = TARGET
    url = f"{fake.url}/computeMetadata/v1/instance/service-accounts/default/identity"
    short = requests.get(url, {"audience": AUDIENCE}, headers=FLAVOR, timeout=10)
    full = requests.get(url, {"audience": AUDIENCE, "format": "full"}, headers=FLAVOR, timeout=10)
    assert ("email" in claims(short.text), "email" in claims(full.text)) == (False, True)
    assert requests.get(url, headers=FLAVOR, timeout=10).status_code == 400


def test_a_metadata_server_that_keeps_its_tokens(fake: FakeGoogle) -> None:
    fake.metadata_account, fake.metadata_keeps = TARGET, True
    url = f"{fake.url}/computeMetadata/v1/instance/service-accounts/default"
    asked = [f"{url}/token", f"{url}/identity?audience=a", f"{url}/identity?audience=b"]
    first, second = ([requests.get(one, headers=FLAVOR, timeout=10).text for one in asked] for _ in range(2))
    assert len(set(first)) == 3
    assert first[1:] == second[1:]
    assert json.loads(first[0])["access_token"] == json.loads(second[0])["access_token"]


def test_metadata_wants_its_header(fake: FakeGoogle) -> None:
    answered = requests.get(f"{fake.url}/computeMetadata/v1/project/project-id", timeout=10)
    assert (answered.status_code, answered.headers["Metadata-Flavor"]) == (403, "Google")


def test_a_machine_without_an_account(fake: FakeGoogle) -> None:
    url = f"{fake.url}/computeMetadata/v1/instance/service-accounts/default/token"
    assert requests.get(url, headers=FLAVOR, timeout=10).status_code == 404


def test_an_absent_metadata_server() -> None:
    port = ReservedPort()
    code = """
import json, time
from google.auth.transport.requests import Request
from google.oauth2 import id_token
started = time.monotonic()
try:
    id_token.fetch_id_token(Request(), "the-client")
except Exception as error:
    print(json.dumps([type(error).__name__, str(error), time.monotonic() - started]))
"""
    host = f"127.0.0.1:{port.number}"
    kind, text, _seconds = run(code, GCE_METADATA_HOST=host, GCE_METADATA_IP=host, GCE_METADATA_DETECT_RETRIES="1")
    port.release()
    assert kind == "DefaultCredentialsError"
    assert text.startswith("Neither metadata server or valid service account credentials are found.")


# --- the proxy ---


def test_the_proxy_refuses_other_hosts(proxy: ConnectProxy) -> None:
    with pytest.raises(requests.exceptions.ProxyError, match="403"):
        requests.get("https://www.example.com/", timeout=10)
    assert proxy.seen == ["www.example.com"]


def test_the_proxy_refuses_plain_http(proxy: ConnectProxy) -> None:
    answered = requests.get("http://www.example.com/", proxies={"http": proxy.url}, timeout=10)
    assert (answered.status_code, proxy.seen) == (403, ["www.example.com"])
