"""The fake Identity-Aware Proxy, shown tokens that the real google-auth got from the fake Google."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import jwt
import pytest
import requests
from aiohttp import web
from google.auth import identity_pool, impersonated_credentials
from google.auth import jwt as self_signing
from google.auth.transport.requests import Request
from google.oauth2 import service_account

from servers.certificates import Authority
from tests.fakes.connect_proxy import GOOGLE_HOSTS, ConnectProxy
from tests.fakes.google import FakeGoogle
from tests.fakes.google_tokens import CLOUD_SCOPE, NAME_PREFIX, federated, new_key, signed
from tests.fakes.http_fake import FakeServer, answer
from tests.fakes.iap import FakeIap

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

ELT, MIDDLE, TARGET = (f"{name}@proj.iam.gserviceaccount.com" for name in ("elt", "middle", "target"))
APP_URL = "https://airbyte.example.com/"
JSON = {"Accept": "application/json"}
METADATA = """
from google.auth import compute_engine
from google.auth.transport.requests import Request
given = compute_engine.IDTokenCredentials(Request(), {audience!r}, use_metadata_identity_endpoint=True)
given.refresh(Request())
print(given.token)
"""


class App(FakeServer):
    """Says what reached it."""

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        return [web.get("/moved", self._moved), web.route("*", "/{path:.*}", self._echo)]

    async def _moved(self, request: web.Request) -> web.Response:
        return answer("", 302, {"Location": "/elsewhere"})

    async def _echo(self, request: web.Request) -> web.Response:
        content = {"path": request.raw_path, "method": request.method, "body": await request.text()}
        return answer(content | {"headers": {name.lower(): value for name, value in request.headers.items()}})


@pytest.fixture(scope="module")
def app() -> Iterator[App]:
    """Run what is protected."""
    with App() as running:
        yield running


@pytest.fixture(scope="module")
def server() -> Iterator[FakeGoogle]:
    """Run one Google for all: making keys takes time."""
    with FakeGoogle() as running:
        yield running


@pytest.fixture
def google(server: FakeGoogle) -> FakeGoogle:
    """Lend it with nothing granted or shifted."""
    server.mints.clear()
    server.impersonators.clear()
    server.metadata_account, server.token_seconds, server.clock_offset = None, 3600, 0
    return server


@pytest.fixture
def iap(google: FakeGoogle, app: App) -> Iterator[FakeIap]:
    """Stand in front of the app, for two accounts."""
    with FakeIap(google, app.url, members={ELT, TARGET}, jwt_url=APP_URL) as running:
        yield running


@pytest.fixture
def key_file(google: FakeGoogle, tmp_path: Path) -> Path:
    """Lend the key of ELT."""
    return google.service_account(ELT, tmp_path / "key.json")


@pytest.fixture
def proxy(google: FakeGoogle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ConnectProxy]:
    """Send everything to the hosts of Google through the proxy."""
    with ConnectProxy(dict.fromkeys(GOOGLE_HOSTS, google.port), tmp_path) as running:
        for name, value in running.environment().items():
            monkeypatch.setenv(name, value)
        yield running


def refreshed(given: Any) -> str:
    """Return a token."""
    given.refresh(Request())
    token = given.token
    return token.decode() if isinstance(token, bytes) else token  # google.auth.jwt gives bytes


def ask(
    iap: FakeIap, token: str = "", *, method: str = "GET", path: str = "/api/v1/jobs?a=%20b", **headers: str
) -> requests.Response:
    """Ask the app through the proxy; underscores in the names of headers are dashes."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    if token:
        sent.setdefault("Proxy-Authorization", f"Bearer {token}")
    return requests.request(method, iap.url + path, headers=sent, timeout=10, allow_redirects=False)


def assert_refused(answered: requests.Response, reason: str, status: int = 401) -> None:
    """Check that it is a refusal of the proxy's own."""
    assert (answered.status_code, answered.text) == (status, f"Invalid IAP credentials: {reason}")
    assert answered.headers["x-goog-iap-generated-response"] == "true"
    assert answered.headers["Content-Type"].startswith("text/html")


def assert_passed(answered: requests.Response, email: str = ELT) -> None:
    """Check that it reached the app in the name of `email`."""
    assert answered.status_code == 200, answered.text
    assert answered.json()["headers"]["x-goog-authenticated-user-email"] == f"accounts.google.com:{email}"
    assert "x-goog-iap-generated-response" not in answered.headers


# --- every way to a token ---


def test_a_key_file(iap: FakeIap, key_file: Path) -> None:
    given = service_account.IDTokenCredentials.from_service_account_file(key_file, target_audience=iap.audience)
    assert_passed(ask(iap, refreshed(given)))


def test_a_self_signed_jwt(iap: FakeIap, key_file: Path, google: FakeGoogle) -> None:
    assert_passed(ask(iap, refreshed(self_signing.Credentials.from_service_account_file(key_file, audience=APP_URL))))
    assert google.mints == []


@pytest.mark.parametrize("url", ["https://airbyte.example.com/*", "https://airbyte.example.com/api/v1/jobs"])
def test_a_self_signed_jwt_for_more_or_less(iap: FakeIap, key_file: Path, url: str) -> None:
    assert_passed(ask(iap, refreshed(self_signing.Credentials.from_service_account_file(key_file, audience=url))))


def test_the_metadata_server(iap: FakeIap, google: FakeGoogle) -> None:
    google.metadata_account = TARGET
    host = f"127.0.0.1:{google.port}"
    done = subprocess.run(
        [sys.executable, "-c", METADATA.format(audience=iap.audience)],
        env=os.environ | {"GCE_METADATA_HOST": host, "GCE_METADATA_IP": host},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert_passed(ask(iap, done.stdout.strip()), TARGET)


def test_another_account_through_delegates(
    iap: FakeIap, google: FakeGoogle, key_file: Path, proxy: ConnectProxy
) -> None:
    google.impersonators |= {TARGET: {MIDDLE}, MIDDLE: {ELT}}
    source = service_account.Credentials.from_service_account_file(key_file, scopes=[CLOUD_SCOPE])
    target = impersonated_credentials.Credentials(source, TARGET, [CLOUD_SCOPE], delegates=[f"{NAME_PREFIX}{MIDDLE}"])
    given = impersonated_credentials.IDTokenCredentials(target, target_audience=iap.audience, include_email=True)
    assert_passed(ask(iap, refreshed(given)), TARGET)


def test_a_workload(iap: FakeIap, google: FakeGoogle, tmp_path: Path) -> None:
    google.impersonators[TARGET] = {federated("workload")}
    path = google.external_account(tmp_path / "workload.json")
    access = refreshed(identity_pool.Credentials.from_file(path, scopes=[CLOUD_SCOPE]))
    answered = requests.post(
        f"{google.url}/v1/{NAME_PREFIX}{TARGET}:generateIdToken",
        json={"audience": iap.audience, "includeEmail": True},
        headers={"Authorization": f"Bearer {access}"},
        timeout=10,
    )
    assert_passed(ask(iap, answered.json()["token"]), TARGET)


def test_a_jwt_that_iam_signed(iap: FakeIap, google: FakeGoogle) -> None:
    google.impersonators[TARGET] = {TARGET}
    now = int(time.time())
    payload = {"iss": TARGET, "sub": TARGET, "aud": f"{APP_URL}*", "iat": now, "exp": now + 3600}
    answered = requests.post(
        f"{google.url}/v1/{NAME_PREFIX}{TARGET}:signJwt",
        json={"payload": json.dumps(payload)},
        headers={"Authorization": f"Bearer {google.access_token(TARGET)}"},
        timeout=10,
    )
    assert_passed(ask(iap, answered.json()["signedJwt"]), TARGET)


# --- headers ---


def test_the_app_gets_its_own_authorization(iap: FakeIap, google: FakeGoogle) -> None:
    answered = ask(iap, google.id_token(ELT, iap.audience), Authorization="Basic YTpi")
    assert answered.json()["headers"]["authorization"] == "Basic YTpi"
    assert "proxy-authorization" not in answered.json()["headers"]


def test_a_token_in_authorization_does_not_reach_the_app(iap: FakeIap, google: FakeGoogle) -> None:
    answered = ask(iap, Authorization=f"Bearer {google.id_token(ELT, iap.audience)}")
    assert_passed(answered)
    assert "authorization" not in answered.json()["headers"]


def test_a_bad_proxy_authorization_leaves_it_to_the_other(iap: FakeIap, google: FakeGoogle) -> None:
    answered = ask(iap, "garbage", Authorization=f"Bearer {google.id_token(ELT, iap.audience)}")
    assert_passed(answered)
    assert not {"authorization", "proxy-authorization"} & set(answered.json()["headers"])


def test_forged_headers_are_taken_away(iap: FakeIap, google: FakeGoogle) -> None:
    forged = {"X_Goog_Authenticated_User_Email": "root", "X_Goog_IAP_JWT_Assertion": "x", "X_Goog_Other": "y"}
    answered = ask(iap, google.id_token(ELT, iap.audience), **forged)
    assert_passed(answered)
    assertion = answered.json()["headers"]["x-goog-iap-jwt-assertion"]
    assert jwt.get_unverified_header(assertion)["alg"] == "ES256"
    assert jwt.decode(assertion, options={"verify_signature": False})["email"] == ELT
    assert "x-goog-other" not in answered.json()["headers"]


def test_the_request_arrives_as_it_was(iap: FakeIap, google: FakeGoogle) -> None:
    sent = {"Proxy-Authorization": f"Bearer {google.id_token(ELT, iap.audience)}", "Accept": "a/b"}
    arrived = requests.post(f"{iap.url}/a%2Fb?c=%20d", json={"e": 1}, headers=sent, timeout=10).json()
    assert (arrived["path"], arrived["method"], json.loads(arrived["body"])) == ("/a%2Fb?c=%20d", "POST", {"e": 1})
    assert (arrived["headers"]["accept"], arrived["headers"]["content-type"]) == ("a/b", "application/json")


def test_redirects_of_the_app_are_passed_on(iap: FakeIap, google: FakeGoogle) -> None:
    answered = ask(iap, google.id_token(ELT, iap.audience), path="/moved")
    assert (answered.status_code, answered.headers["Location"]) == (302, "/elsewhere")


# --- refusals ---


@pytest.mark.parametrize("accept", ["*/*", "text/html,*/*"])
def test_without_a_token_one_is_sent_to_the_login(iap: FakeIap, accept: str) -> None:
    answered = ask(iap, Accept=accept)
    assert_refused(answered, "empty token", 302)
    login = f"https://accounts.google.com/o/oauth2/v2/auth?client_id={iap.audience}&"
    assert answered.headers["Location"].startswith(login)


@pytest.mark.parametrize(
    ("method", "headers"),
    [("POST", {}), ("GET", JSON), ("GET", {"X_Requested_With": "XMLHttpRequest"})],
    ids=["post", "json", "script"],
)
def test_without_a_token_programs_get_401(iap: FakeIap, method: str, headers: dict[str, str]) -> None:
    assert_refused(ask(iap, method=method, **headers), "empty token")


def test_basic_authorization_is_no_token(iap: FakeIap) -> None:
    assert_refused(ask(iap, Authorization="Basic YTpi", **JSON), "empty token")


def test_the_audience_has_to_be_this_client(iap: FakeIap, google: FakeGoogle) -> None:
    reason = (
        "JWT audience doesn't match this application"
        f" ('aud' claim (other) doesn't match expected value ({iap.audience}))"
    )
    assert_refused(ask(iap, google.id_token(ELT, "other")), reason)


def test_the_email_has_to_be_there(iap: FakeIap, google: FakeGoogle) -> None:
    token = google.id_token(ELT, iap.audience, include_email=False)
    assert_refused(ask(iap, token), "JWT 'email' claim isn't a string")


@pytest.mark.parametrize("token", ["garbage", "ya29.access-token", "a.b.c"])
def test_what_is_no_jwt(iap: FakeIap, token: str) -> None:
    assert_refused(ask(iap, token), "Unable to parse JWT")


def test_what_another_key_signed(iap: FakeIap, google: FakeGoogle) -> None:
    key, _ = new_key()
    claims = jwt.decode(google.id_token(ELT, iap.audience), options={"verify_signature": False})
    for token in (signed(claims, key, google.key_id), signed(claims, key, "other"), jwt.encode(claims, "", "none")):
        assert_refused(ask(iap, token), "JWT signature is invalid")


def test_what_a_deleted_key_signed(iap: FakeIap, google: FakeGoogle, key_file: Path) -> None:
    token = refreshed(self_signing.Credentials.from_service_account_file(key_file, audience=APP_URL))
    google.keys.pop(ELT)
    assert_refused(ask(iap, token), "JWT signature is invalid")


def test_what_expired(iap: FakeIap, google: FakeGoogle) -> None:
    assert_refused(ask(iap, google.id_token(ELT, iap.audience, exp=int(time.time()) - 1)), "Expired JWT")


def test_a_known_token_expires_too(iap: FakeIap, google: FakeGoogle) -> None:
    token = google.id_token(ELT, iap.audience, exp=time.time() + 2)
    assert_passed(ask(iap, token))
    time.sleep(2)
    assert_refused(ask(iap, token), "Expired JWT")


def test_all_that_was_shown_can_expire(iap: FakeIap, google: FakeGoogle) -> None:
    token = google.id_token(ELT, iap.audience)
    assert_passed(ask(iap, token))
    iap.expire_seen()
    assert_refused(ask(iap, token), "Expired JWT")
    assert_passed(ask(iap, google.id_token(ELT, iap.audience, jti="another")))


def test_a_clock_that_runs_ahead(iap: FakeIap, google: FakeGoogle) -> None:
    google.clock_offset = 120
    assert_refused(ask(iap, google.id_token(ELT, iap.audience)), "JWT issued in the future")


def test_a_jwt_for_another_url(iap: FakeIap, google: FakeGoogle) -> None:
    _, token = google.sign_jwt(ELT, own_claims("https://airbyte.example.com.evil.com/*"))
    reason = (
        "JWT audience doesn't match this application ('aud' claim (https://airbyte.example.com.evil.com/*)"
        f" doesn't match expected value ({APP_URL}))"
    )
    assert_refused(ask(iap, token), reason)


def test_a_jwt_that_lives_too_long(iap: FakeIap, google: FakeGoogle) -> None:
    _, token = google.sign_jwt(ELT, own_claims(APP_URL, seconds=7200))
    assert_refused(ask(iap, token), "JWT lifetime is longer than an hour")


def test_a_jwt_in_the_name_of_another(iap: FakeIap, google: FakeGoogle) -> None:
    _, token = google.sign_jwt(ELT, own_claims(APP_URL) | {"sub": TARGET})
    assert_refused(ask(iap, token), "Invalid JWT issuer")


def test_a_client_that_google_manages(iap: FakeIap, google: FakeGoogle) -> None:
    iap.programmatic = False
    assert_refused(ask(iap, google.id_token(ELT, iap.audience)), "Invalid bearer token. Invalid JWT audience.")
    assert_passed(ask(iap, google.sign_jwt(ELT, own_claims(APP_URL))[1]))


def test_who_is_no_member(iap: FakeIap, google: FakeGoogle) -> None:
    answered = ask(iap, google.id_token(MIDDLE, iap.audience))
    assert (answered.status_code, answered.headers["x-goog-iap-generated-response"]) == (403, "true")
    iap.members.add(MIDDLE)
    assert_passed(ask(iap, google.id_token(MIDDLE, iap.audience)), MIDDLE)


def test_an_app_that_is_down(google: FakeGoogle) -> None:
    with App() as gone, FakeIap(google, gone.url, members={ELT}) as iap:
        gone.stop()
        answered = ask(iap, google.id_token(ELT, iap.audience))
        assert (answered.status_code, "x-goog-iap-generated-response" in answered.headers) == (502, False)
        gone.start()
        assert_passed(ask(iap, google.id_token(ELT, iap.audience)))


def test_a_login_page(iap: FakeIap, google: FakeGoogle) -> None:
    iap.login_page()
    answered = ask(iap, google.id_token(ELT, iap.audience), **JSON)
    assert (answered.status_code, answered.text[:15]) == (200, "<!DOCTYPE html>")
    iap.login_page(None)
    assert_passed(ask(iap, google.id_token(ELT, iap.audience)))


# --- the rest ---


def own_claims(audience: str, seconds: int = 3600) -> dict[str, Any]:
    """Return what ELT claims of itself."""
    now = int(time.time())
    return {"iss": ELT, "sub": ELT, "aud": audience, "iat": now, "exp": now + seconds}


def test_the_log(iap: FakeIap, google: FakeGoogle) -> None:
    token = google.id_token(ELT, iap.audience)
    ask(iap)
    ask(iap, token)
    ask(iap, Authorization=f"Bearer {token}")
    ask(iap, google.id_token(MIDDLE, iap.audience))
    assert iap.log == [
        (302, "", ""),
        (200, ELT, "Proxy-Authorization"),
        (200, ELT, "Authorization"),
        (403, MIDDLE, "Proxy-Authorization"),
    ]
    assert iap.seen_tokens == 2


def test_over_tls_after_a_restart(google: FakeGoogle, app: App, tmp_path: Path) -> None:
    authority = Authority.create(tmp_path)
    certificate = authority.issue("iap", ["127.0.0.1"])
    with FakeIap(google, app.url, members={ELT}, certificate=certificate) as iap:
        sent = {"Proxy-Authorization": f"Bearer {google.id_token(ELT, iap.audience)}"}
        assert_passed(requests.get(iap.url, headers=sent, verify=str(authority.certificate), timeout=10))
        iap.stop()
        iap.start()
        assert_passed(requests.get(iap.url, headers=sent, verify=str(authority.certificate), timeout=10))


def test_many_requests_with_one_token_are_cheap(iap: FakeIap, google: FakeGoogle) -> None:
    sent = {"Proxy-Authorization": f"Bearer {google.id_token(ELT, iap.audience)}"}
    started = time.monotonic()
    with requests.Session() as session:
        for _ in range(500):
            assert session.get(iap.url, headers=sent, timeout=10).status_code == 200
    assert time.monotonic() - started < 10
    assert (iap.seen_tokens, len(iap.log)) == (1, 500)
