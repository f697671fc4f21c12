"""Tokens are minted once at a time, before they end, and dropped only when they themselves were refused."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from airflow_elt_provider.core.secret import Secret
from airflow_elt_provider.errors import TransientError
from airflow_elt_provider.remotes import tokens
from airflow_elt_provider.remotes.auth import Minted
from airflow_elt_provider.remotes.flow import arun
from airflow_elt_provider.remotes.tokens import TOKENS, Token, TokenCache, jwt_seconds

pytestmark = pytest.mark.lowest


class Mint:
    """Mints t1, t2, ...; slowly, or not at all."""

    def __init__(self, seconds=60.0, takes=0.0):
        self.seconds, self.takes = seconds, takes
        self.count = 0
        self.error = None
        self.begun, self.go_on = threading.Event(), threading.Event()
        self.go_on.set()

    def __call__(self):
        self.count += 1
        self.begun.set()
        self.go_on.wait(5)
        time.sleep(self.takes)
        if self.error:
            raise self.error
        return Token(Secret(f"t{self.count}"), self.seconds)


@pytest.fixture
def cache():
    return TokenCache()


def reveal(secret):
    return secret.reveal() if secret else None


def test_fifty_threads_share_one_mint(cache):
    mint, start = Mint(takes=0.05), threading.Barrier(50)

    def ask(_):
        start.wait()
        return cache.get("key", mint).reveal()

    with ThreadPoolExecutor(50) as threads:
        assert set(threads.map(ask, range(50))) == {"t1"}
    assert mint.count == 1


def test_five_hundred_coroutines_share_one_mint():
    mint = Mint(takes=0.05)
    guard = Minted("Authorization", "key", mint, proxy=False)

    async def story():
        return await asyncio.gather(*(arun(guard.header(), None) for _ in range(500)))

    assert {value.reveal() for _, value in asyncio.run(story())} == {"Bearer t1"}
    assert mint.count == 1


def test_threads_and_event_loops_share_one_cache():
    mint = Mint()
    assert TOKENS.get("key", mint).reveal() == "t1"
    guard = Minted("Authorization", "key", mint, proxy=False)
    assert asyncio.run(arun(guard.header(), None))[1].reveal() == "Bearer t1"


def test_each_key_has_its_own_token_and_waits_for_no_other(cache):
    slow, quick = Mint(), Mint()
    slow.go_on.clear()
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(cache.get, "slow", slow)
        slow.begun.wait(5)
        assert cache.get("quick", quick).reveal() == "t1"
        slow.go_on.set()
        assert waiting.result(5).reveal() == "t1"


def test_a_token_is_replaced_after_four_fifths_of_its_life(cache):
    mint = Mint(seconds=0.5)
    began = time.monotonic()
    cache.get("key", mint)
    while reveal(cache.peek("key")) == "t1":
        time.sleep(0.002)
    assert 0.395 <= time.monotonic() - began < 0.49
    assert cache.get("key", mint).reveal() == "t2"
    assert reveal(cache.peek("key")) == "t2"


def test_the_old_token_does_while_somebody_mints_the_next(cache):
    mint = Mint(seconds=1.0)
    cache.get("key", mint)
    time.sleep(0.82)
    assert cache.peek("key") is None
    mint.go_on.clear()
    mint.begun.clear()
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(cache.get, "key", mint)
        mint.begun.wait(5)
        assert reveal(cache.peek("key")) == "t1"
        time.sleep(0.2)
        assert cache.peek("key") is None  # its life is over
        mint.go_on.set()
        assert waiting.result(5).reveal() == "t2"


def test_a_refresh_that_fails_keeps_the_old_token_and_is_not_tried_at_every_request(cache, caplog):
    mint = Mint(seconds=1.0)
    cache.get("key", mint)
    time.sleep(0.81)
    mint.error = TransientError("Google is away")
    with caplog.at_level(logging.WARNING):
        assert [cache.get("key", mint).reveal() for _ in range(20)] == ["t1"] * 20
    assert mint.count == 2
    assert "Google is away" in caplog.text
    assert "t1" not in caplog.text


def test_a_refresh_that_fails_after_the_end_is_an_error(cache):
    mint = Mint(seconds=0.05)
    cache.get("key", mint)
    time.sleep(0.06)
    mint.error = TransientError("Google is away")
    with pytest.raises(TransientError):
        cache.get("key", mint)


def test_a_first_mint_that_fails_is_an_error_and_the_next_may_go_well(cache, monkeypatch):
    monkeypatch.setattr(tokens, "FAILED_FOR", 0.1)
    mint = Mint()
    mint.error = TransientError("busy")
    with pytest.raises(TransientError):
        cache.get("key", mint)
    mint.error = None
    with pytest.raises(TransientError, match="busy"):  # remembered for a while
        cache.get("key", mint)
    time.sleep(0.11)
    assert cache.get("key", mint).reveal() == "t2"


def test_fifty_threads_share_one_failure(cache):
    mint = Mint(takes=0.2)
    mint.error = TransientError("busy")

    def ask(_):
        with pytest.raises(TransientError, match="busy"):
            cache.get("key", mint)

    with ThreadPoolExecutor(50) as threads:
        list(threads.map(ask, range(50)))
    assert mint.count == 1


def test_a_bug_in_a_mint_is_not_hidden_by_the_old_token(cache):
    mint = Mint(seconds=0.5)
    cache.get("key", mint)
    time.sleep(0.41)
    mint.error = KeyError("bug")
    with pytest.raises(KeyError):
        cache.get("key", mint)


def test_forget_drops_a_refused_token_and_no_other(cache):
    mint = Mint()
    first = cache.get("key", mint)
    cache.forget("other", first)
    cache.forget("key", Secret("stranger"))
    assert reveal(cache.peek("key")) == "t1"
    cache.forget("key", first)
    assert cache.peek("key") is None
    second = cache.get("key", mint)
    cache.forget("key", first)  # the refusal of the old one comes late
    assert cache.peek("key") == second == Secret("t2")


def test_forget_does_not_wait_for_a_mint(cache):
    mint = Mint(seconds=0.5)
    old = cache.get("key", mint)
    time.sleep(0.41)
    mint.go_on.clear()
    mint.begun.clear()
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(cache.get, "key", mint)
        mint.begun.wait(5)
        began = time.monotonic()
        cache.forget("key", old)
        assert time.monotonic() - began < 0.2
        assert cache.peek("key") is None
        mint.go_on.set()
        assert waiting.result(5).reveal() == "t2"


def jwt(**claims):
    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"head.{body}.signature"


@pytest.mark.parametrize("skew", [0, -86400, 86400])
def test_a_jwt_lives_from_its_issue_to_its_end_whatever_our_clock_says(skew):
    now = int(time.time()) + skew
    seconds = jwt_seconds(jwt(iat=now, exp=now + 3600), 1)
    assert seconds == pytest.approx(3600, abs=2)


def test_a_jwt_that_was_kept_by_somebody_lives_only_its_rest():
    now = int(time.time())
    assert jwt_seconds(jwt(iat=now - 3000, exp=now + 600), 1) == pytest.approx(600, abs=2)


@pytest.mark.parametrize(
    "token", ["", "opaque", "a.b.c", "a.!!!.c", jwt(exp=1), jwt(iat="x", exp="y"), jwt(iat=None, exp=None)],
    ids=["empty", "opaque", "letters", "no base64", "no iat", "words", "null"],
)  # fmt: skip
def test_what_is_no_jwt_has_the_default_life(token):
    assert jwt_seconds(token, 99) == 99


def test_a_jwt_that_ends_before_it_begins_has_no_life():
    assert jwt_seconds(jwt(iat=100, exp=50), 99) == 0
