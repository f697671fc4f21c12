"""A refused token is replaced once, and only the one whose guard refused it; calls keep within their rate."""

from __future__ import annotations

import asyncio
import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from airflow_elt_provider.core.secret import Secret
from airflow_elt_provider.errors import ConfigurationError, EltError, RateLimitedError
from airflow_elt_provider.remotes.airbyte import application_token
from airflow_elt_provider.remotes.auth import Fixed, Minted, is_from_iap
from airflow_elt_provider.remotes.flow import Answer, Request, Together, arun, run
from airflow_elt_provider.remotes.opening import open_session
from airflow_elt_provider.remotes.session import Budget, Session
from airflow_elt_provider.remotes.tokens import Token
from airflow_elt_provider.remotes.transports import HttpxTransport
from tests.fakes.airbyte import FakeAirbyte
from tests.fakes.http_fake import Fault
from tests.fakes.iap import FakeIap
from tests.remotes.driving import settings_of
from tests.remotes.google_at_hand import AUDIENCE, ELT, JOBS, ask

pytestmark = pytest.mark.lowest

CLIENT = {"auth": "client_credentials", "login": "client", "password": "secret"}


@pytest.fixture
def airbyte():
    with FakeAirbyte(auth="client_credentials") as server:
        yield server


@pytest.fixture
def both(google, airbyte):
    """Stand in front of an Airbyte that has tokens of its own."""
    with FakeIap(google, airbyte.url, AUDIENCE, members={ELT}) as running:
        yield running


def behind(iap, key, **fields):
    return settings_of(iap.url, iap_audience=AUDIENCE, keyfile_dict=key, **{**CLIENT, **fields})


def id_tokens(google):
    return len([mint for mint in google.mints if mint.kind == "id_token"])


@pytest.mark.parametrize("status", [400, 401, 403, 404, 500])
def test_secrets_that_a_server_repeats_are_struck_out(status):
    settings = settings_of("http://x", login="me", password='hush"hush')
    shown = [("Authorization", "Bearer s3cr3t-t0ken"), ("X-Key", "t3nant")]
    session = Session(settings, [Fixed(name, Secret(value)) for name, value in shown])

    class Repeats:
        def send(self, request):
            escaped = json.dumps('hush"hush')
            said = f'{json.dumps(dict(request.headers))} s3cr3t-t0ken hush"hush {escaped}'
            return Answer(status, {}, said.encode(), "http://x")

    outcome = run(session.attempt(Request("GET", "/x")), Repeats())
    text = str(outcome) if isinstance(outcome, EltError) else outcome.text
    assert "***" in text
    assert not [secret for secret in ("s3cr3t", "t3nant", "hush") if secret in text]


# --- one more attempt ---


def test_both_tokens_are_minted_once_and_used_again(driver, both, google, key, airbyte):
    settings = behind(both, key)
    for _ in range(3):
        assert ask(driver, settings).status == 200
    assert (id_tokens(google), airbyte.token_mints) == (1, 1)
    assert {answered.token_header for answered in both.log} == {"Proxy-Authorization"}


def test_a_token_that_the_application_refused_is_replaced_and_the_proxys_is_kept(driver, both, google, key, airbyte):
    settings = behind(both, key)
    ask(driver, settings)
    airbyte.revoke_tokens()
    assert ask(driver, settings).status == 200
    assert (id_tokens(google), airbyte.token_mints) == (1, 2)


def test_a_token_that_the_proxy_refused_is_replaced_and_the_applications_is_kept(driver, both, google, key, airbyte):
    settings = behind(both, key)
    ask(driver, settings)
    both.expire_seen()
    google.clock_offset = 1  # or the next token is the same to the letter
    assert ask(driver, settings).status == 200
    assert (id_tokens(google), airbyte.token_mints) == (2, 1)


def test_many_requests_whose_token_is_revoked_mint_one_new_token(airbyte):
    settings = settings_of(airbyte.url, **CLIENT)
    airbyte.latency = 0.02

    async def story():
        transport, session = HttpxTransport(settings), open_session(settings, token=application_token)
        await arun(session.ask(JOBS), transport)
        airbyte.revoke_tokens()

        def flow():
            return (yield Together([session.ask(JOBS) for _ in range(150)]))

        answers = await arun(flow(), transport)
        await transport.aclose()
        return answers

    assert {answer.status for answer in asyncio.run(story())} == {200}
    assert airbyte.token_mints == 2


def test_there_is_only_one_more_attempt(driver, airbyte):
    settings = settings_of(airbyte.url, **CLIENT)
    airbyte.inject(Fault("GET", "/jobs", status=401, body={"message": "Unauthorized"}, times=None))
    with pytest.raises(ConfigurationError, match=r"refused 'client' \(client_credentials\) \(401\)"):
        ask(driver, settings)
    assert len(airbyte.asked("/jobs")) == 2
    assert airbyte.token_mints == 2


@pytest.mark.parametrize("fields", [{"auth": "basic", "login": "airbyte", "password": "wrong"}, {"auth": "none"}])
def test_what_never_changes_is_not_tried_again(driver, fields):
    with FakeAirbyte(auth="basic") as server:
        with pytest.raises(ConfigurationError, match="401"):
            ask(driver, settings_of(server.url, **fields))
        assert len(server.requests) == 1


def test_wrong_client_credentials_are_tried_once(driver, airbyte):
    with pytest.raises(ConfigurationError):
        ask(driver, settings_of(airbyte.url, **{**CLIENT, "password": "wrong"}))
    assert airbyte.asked("/jobs") == []
    assert len(airbyte.asked("/token")) == 1


def test_a_bearer_and_further_headers_are_shown(driver):
    with FakeAirbyte(auth="bearer") as server:
        fields = {"auth": "bearer", "password": "static-token", "auth_headers": {"X-Tenant": "a"}}
        assert ask(driver, settings_of(server.url, **fields)).status == 200
        assert server.requests[-1].headers["X-Tenant"] == "a"


def test_client_credentials_where_the_remote_knows_none_are_refused(driver):
    settings = settings_of("http://127.0.0.1:1", **CLIENT)
    with pytest.raises(ConfigurationError, match=r"which this remote does not know\. Remedy: use basic"):
        driver(open_session(settings).ask(JOBS), settings)


# --- who is shown what, without a network ---


class Transport:
    def __init__(self, *answers):
        self.answers, self.shown = list(answers), []

    def send(self, request):
        self.shown.append(dict(request.headers))
        return self.answers.pop(0) if self.answers else Answer(200, {}, b"{}", "http://x")


def guards():
    minted = iter(range(100))

    def mint():
        return Token(Secret(f"t{next(minted)}"), 60)

    return [
        Minted("Proxy-Authorization", object(), mint, proxy=True),
        Fixed("X-Tenant", Secret("a")),
        Minted("Authorization", object(), mint, proxy=False),
    ]


def test_a_plain_request_shows_the_proxys_header_only_and_a_bare_one_none():
    transport, session = Transport(), Session(settings_of("http://x"), guards())
    for fields in ({}, {"plain": True}, {"bare": True}):
        run(session.ask(Request("GET", "/", **fields)), transport)
    assert transport.shown == [
        {"Proxy-Authorization": "Bearer t0", "X-Tenant": "a", "Authorization": "Bearer t1"},
        {"Proxy-Authorization": "Bearer t0"},
        {},
    ]


@pytest.mark.parametrize(("headers", "kept"), [({"x-goog-iap-generated-response": "true"}, 1), ({}, 0)])
def test_only_the_token_of_the_guard_that_refused_is_replaced(headers, kept):
    refused = Answer(401, headers, b"no", "http://x")
    assert is_from_iap(refused) == bool(headers)
    transport = Transport(refused)
    run(Session(settings_of("http://x"), guards()).ask(Request("GET", "/")), transport)
    names = ["Proxy-Authorization", "Authorization"]
    first, second = ([shown[name] for name in names] for shown in transport.shown)
    assert first[kept] == second[kept]
    assert first[1 - kept] != second[1 - kept]


def test_an_attempt_returns_the_refusal():
    refused = Answer(429, {"retry-after": "7"}, b"", "http://x")
    error = run(Session(settings_of("http://x")).attempt(Request("GET", "/")), Transport(refused))
    assert isinstance(error, RateLimitedError)
    assert isinstance(error, EltError)
    assert error.retry_after == 7


# --- rate ---


def test_a_budget_lets_a_burst_pass_and_spreads_the_rest():
    budget = Budget(calls=10, seconds=1, burst=5)
    waits = [budget.take() for _ in range(8)]
    assert waits[:5] == pytest.approx([0] * 5, abs=0.005)
    assert waits[5:] == pytest.approx([0.1, 0.2, 0.3], abs=0.02)


def test_a_budget_recovers_in_quiet_times_up_to_its_burst():
    budget = Budget(calls=1000, seconds=1, burst=10)
    for _ in range(10):
        budget.take()
    time.sleep(0.05)
    assert [budget.take() for _ in range(10)] == pytest.approx([0] * 10, abs=0.002)
    assert [budget.take() for _ in range(100)][-1] > 0.05


def test_a_budget_counts_every_thread():
    budget = Budget(calls=100, seconds=1, burst=1)
    with ThreadPoolExecutor(8) as threads:
        waits = sorted(threads.map(lambda _: budget.take(), range(40)))
    assert waits[-1] == pytest.approx(0.39, abs=0.05)
    assert len({round(wait, 3) for wait in waits}) > 35


def test_a_session_waits_its_turn_before_each_attempt():
    slept = []
    session = Session(settings_of("http://x"), budget=Budget(calls=1, seconds=60, burst=1))
    for _ in range(2):
        run(session.ask(Request("GET", "/")), Transport(), slept.append)
    assert slept == pytest.approx([60], abs=1)
