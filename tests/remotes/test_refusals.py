"""Every way to be refused has a message of its own, with the remedy, end to end and in both drivers."""

from __future__ import annotations

import base64
import json
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from airflow_elt_provider.errors import AnswerLostError, ConfigurationError, EltError, RateLimitedError
from airflow_elt_provider.remotes.airbyte import Airbyte, application_token
from airflow_elt_provider.remotes.flow import Answer, Request
from airflow_elt_provider.remotes.opening import open_session
from airflow_elt_provider.remotes.refusals import NoSuchApiError, refusal, retry_after
from servers.processes import ReservedPort
from tests.fakes.airbyte import FakeAirbyte
from tests.fakes.http_fake import Fault
from tests.remotes.driving import settings_of
from tests.remotes.google_at_hand import AUDIENCE, ELT, JOBS, ask

pytestmark = pytest.mark.lowest

BASIC = {"auth": "basic", "login": "airbyte", "password": "password"}


@pytest.fixture
def airbyte():
    with FakeAirbyte(auth="basic") as server:
        yield server


@pytest.fixture
def front(iap, airbyte):
    """Put the proxy in front of an Airbyte."""
    iap.upstream_url = airbyte.url
    iap.members = {ELT}
    return iap


@pytest.fixture
def refused(driver):
    """Check a connection as the hook does; return the message of the refusal."""

    def refused(url, **fields):
        settings = settings_of(url, conn_id="my_conn", **{**BASIC, **fields})
        with pytest.raises(ConfigurationError) as caught:
            driver(Airbyte(open_session(settings, token=application_token)).check(), settings)
        assert caught.value.hint
        return str(caught.value)

    return refused


def test_all_is_well(driver, front, key):
    settings = settings_of(front.url, iap_audience=AUDIENCE, keyfile_dict=key, **BASIC)
    assert "Airbyte" in driver(Airbyte(open_session(settings)).check(), settings)


# --- Identity-Aware Proxy ---


def test_no_token_although_the_proxy_wants_one(refused, front):
    message = refused(front.url)
    assert f"{front.url} is behind Identity-Aware Proxy, which wants a login: no token was sent" in message
    assert "set iap_mode=auto in connection 'my_conn'" in message


def test_a_redirect_to_the_login_page(driver, front):
    settings = settings_of(front.url, conn_id="my_conn", **BASIC)
    with pytest.raises(ConfigurationError, match=r"wants a login: no token was sent.*iap_mode=auto"):
        ask(driver, settings, Request("GET", "/", accept="text/html"))


def test_a_token_that_somebody_removes_on_the_way(refused, front, key):
    front.inject(
        Fault("GET", "/", status=401, headers={"x-goog-iap-generated-response": "true"},
              body="Invalid IAP credentials: empty token", times=None)
    )  # fmt: skip
    message = refused(front.url, iap_audience=AUDIENCE, keyfile_dict=key)
    assert "wants a login although a token was sent" in message
    assert "removes Proxy-Authorization" in message


def test_a_login_page_in_the_place_of_an_answer(refused, front, key):
    front.login_page()
    message = refused(front.url, iap_audience=AUDIENCE, keyfile_dict=key)
    assert "answered with a login page" in message
    assert "iap_mode and iap_audience" in message


def test_a_wrong_audience(refused, front, key):
    message = refused(front.url, iap_audience="other.apps.googleusercontent.com", keyfile_dict=key)
    assert f"wrong audience: the token is for 'other.apps.googleusercontent.com', expected is '{AUDIENCE}'" in message
    assert f"set iap_audience to {AUDIENCE}" in message


def test_a_client_for_which_programs_get_no_tokens(refused, front, key):
    front.programmatic = False
    message = refused(front.url, iap_audience=AUDIENCE, keyfile_dict=key)
    assert "wrong audience" in message
    assert "signed_jwt" in message


def test_a_missing_role(refused, front, key):
    front.members.clear()
    message = refused(front.url, iap_audience=AUDIENCE, keyfile_dict=key)
    assert "knows the caller and does not let it in" in message
    assert "grant roles/iap.httpsResourceAccessor" in message


@pytest.mark.parametrize("offset", [-7200, 600])
def test_a_token_that_has_expired_or_is_from_the_future(refused, google, front, key, offset):
    google.clock_offset = offset
    google.inject(Fault("POST", "/token", then="answer", status=200, body={"id_token": google.id_token(ELT, AUDIENCE)},
                        times=None))  # fmt: skip
    message = refused(front.url, iap_audience=AUDIENCE, keyfile_dict=key)
    assert "the token has expired or is from the future" in message
    assert "set the clock" in message


def test_a_token_without_an_e_mail_address(refused, google, front, key):
    token = google.id_token(ELT, AUDIENCE, include_email=False)
    google.inject(Fault("POST", "/token", status=200, body={"id_token": token}, times=None))
    message = refused(front.url, iap_audience=AUDIENCE, keyfile_dict=key)
    assert "the token names no e-mail address" in message
    assert "use a service account" in message


def test_a_wrong_signature(refused, front, key, strange_key):
    front.jwt_url = "https://airbyte.example.com/"
    stranger = json.dumps({**json.loads(key), "private_key": strange_key})
    message = refused(front.url, iap_mode="signed_jwt", iap_audience="https://airbyte.example.com/*",
                      keyfile_dict=stranger)  # fmt: skip
    assert "refused the token. It says: Invalid IAP credentials: JWT signature is invalid" in message
    assert "whose key or service account signs" in message


def test_a_wrong_password_of_the_application_behind_the_proxy(refused, front, key):
    message = refused(front.url, iap_audience=AUDIENCE, keyfile_dict=key, password="wr0ng")
    assert "the application refused 'airbyte' (basic) (401)" in message
    assert "correct auth, login and password of connection 'my_conn'" in message
    assert "wr0ng" not in message


def test_an_application_without_an_answer_behind_the_proxy(driver, front, key):
    port = ReservedPort()
    front.upstream_url = f"http://127.0.0.1:{port.number}"
    with pytest.raises(AnswerLostError, match=r"answered 502\. It says: .*Server Error"):
        ask(driver, settings_of(front.url, iap_audience=AUDIENCE, keyfile_dict=key, **BASIC))
    port.release()


# --- the application ---


def test_no_credentials_although_the_application_wants_them(refused, airbyte):
    message = refused(airbyte.url, auth="none", login=None, password=None)
    assert "The connection has no credentials for the application" in message


def test_a_right_that_is_missing(driver, airbyte):
    airbyte.inject(Fault("GET", "/jobs", status=403, body={"message": "Forbidden"}))
    with pytest.raises(ConfigurationError, match=r"'airbyte' \(basic\) may not do that \(403\).*grant it the right"):
        ask(driver, settings_of(airbyte.url, **BASIC))
    assert len(airbyte.asked("/jobs")) == 1


def test_a_dialect_that_is_not_there(refused):
    with FakeAirbyte(auth="basic", public=False, config="0.40") as server:
        message = refused(server.url, api="public_v1")
    assert "has no public API of Airbyte" in message
    assert "is a web page" in message
    assert "wrong API dialect" in message


def test_a_web_page_in_the_place_of_json(driver, airbyte):
    with pytest.raises(NoSuchApiError, match=r"a web page instead of JSON.*path prefix, or the API dialect"):
        ask(driver, settings_of(f"{airbyte.url}/wrong", **BASIC))


def test_a_web_page_is_welcome_where_it_was_asked_for(driver, airbyte):
    answer = ask(driver, settings_of(airbyte.url, **BASIC), Request("GET", "/", accept="text/html"))
    assert "<title>Airbyte</title>" in answer.text


@pytest.mark.parametrize("page", ["<form><input type='password'></form>", "<h1>Please log in</h1>"])
def test_any_other_login_page(driver, airbyte, page):
    airbyte.inject(Fault("GET", "/jobs", status=200, body=page))
    with pytest.raises(ConfigurationError, match="answered with a login page"):
        ask(driver, settings_of(airbyte.url, **BASIC))


@pytest.mark.parametrize(
    ("location", "place"),
    [
        ("https://sso.example.com/login?state=s3cr3t", "https://sso.example.com"),
        ("/elsewhere", "another path"),
        ("http://[x", "another path"),
    ],
)
@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_elsewhere_gets_no_credentials(driver, airbyte, status, location, place):
    airbyte.inject(Fault("GET", "/jobs", status=status, headers={"Location": location}))
    with pytest.raises(ConfigurationError) as caught:
        ask(driver, settings_of(airbyte.url, **BASIC))
    assert f"redirects to {place}; credentials are not sent there" in str(caught.value)
    assert "s3cr3t" not in str(caught.value)
    assert len(airbyte.requests) == 1


def test_a_proxy_that_wants_a_login(driver, airbyte):
    airbyte.inject(Fault("GET", "/jobs", status=407))
    with pytest.raises(ConfigurationError, match=r"the HTTP proxy wants a login\. Remedy: put it into proxy"):
        ask(driver, settings_of(airbyte.url, **BASIC))


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_server_in_trouble_may_have_done_it(driver, airbyte, status):
    airbyte.inject(Fault("GET", "/jobs", status=status, body="<html><h1>Bad   Gateway</h1></html>"))
    with pytest.raises(AnswerLostError, match=rf"answered {status}\. It says: Bad Gateway"):
        ask(driver, settings_of(airbyte.url, **BASIC))


@pytest.mark.parametrize("status", [200, 204, 400, 404, 409, 422])
def test_the_applications_own_answers_are_answers(driver, airbyte, status):
    airbyte.inject(Fault("GET", "/jobs", status=status, body={"message": "m"}))
    assert ask(driver, settings_of(airbyte.url, **BASIC)).status == status


# --- too many requests ---


def in_seconds(seconds):
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize(
    ("header", "expected"),
    [("7", 7), (None, 30), ("soon", 30), (" 12 ", 12), ("999999", 3600), ("-1", 30), ("1²", 30), ("0", 1)],
)
def test_a_busy_server_says_how_long(driver, airbyte, header, expected):
    headers = {} if header is None else {"Retry-After": header}
    airbyte.inject(Fault("GET", "/jobs", status=429, headers=headers))
    with pytest.raises(RateLimitedError, match=f"too many requests; it asks for {expected} s") as caught:
        ask(driver, settings_of(airbyte.url, **BASIC))
    assert caught.value.retry_after == expected


@pytest.mark.parametrize(("seconds", "expected"), [(40, 40), (-40, 1), (86400, 3600)])
def test_a_busy_server_may_say_until_when(seconds, expected):
    answer = Answer(429, {"retry-after": in_seconds(seconds)}, b"", "http://x")
    assert retry_after(answer) == pytest.approx(expected, abs=2)


def test_a_date_is_reckoned_from_the_answers_own():
    headers = {"retry-after": in_seconds(7240), "date": in_seconds(7200)}
    assert retry_after(Answer(429, headers, b"", "http://x")) == 40


@pytest.mark.parametrize("text", ["Mon, 01 Jan 99999999999999999999 00:00:00 GMT", "Mon,", "9" * 500])
def test_a_date_that_is_none_raises_nothing(text):
    assert retry_after(Answer(429, {"retry-after": text}, b"", "http://x")) in {30, 3600}


@pytest.mark.parametrize("piece", [b"<", b"<a", b" ", b"aud' claim ("])
@pytest.mark.parametrize("status", [200, 401, 500])
def test_a_hostile_body_is_judged_at_once(status, piece):
    body = piece * 1_000_000
    headers = {"content-type": "text/html", "x-goog-iap-generated-response": "true"}
    started = time.monotonic()
    refusal(JOBS, Answer(status, headers, body, "http://x"), settings_of("http://x"))
    assert time.monotonic() - started < 0.5


def test_what_a_server_says_is_kept_short():
    error = refusal(JOBS, Answer(500, {}, b"x" * 100_000, "http://x"), settings_of("http://x"))
    assert isinstance(error, EltError)
    assert len(str(error)) < 500


def test_the_credentials_themselves_are_in_no_refusal(refused, front, key):
    pair = base64.b64encode(b"airbyte:wr0ng").decode()
    message = refused(front.url, iap_audience=AUDIENCE, keyfile_dict=key, password="wr0ng")
    assert pair not in message
    assert "Bearer" not in message
