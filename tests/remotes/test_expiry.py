"""Thousands of requests of one event loop across the ends of short-lived tokens."""

from __future__ import annotations

import asyncio
import itertools
import time

from airflow_elt_provider.remotes.airbyte import application_token
from airflow_elt_provider.remotes.flow import Pause, arun
from airflow_elt_provider.remotes.opening import open_session
from airflow_elt_provider.remotes.tokens import REFRESH_AT
from airflow_elt_provider.remotes.transports import HttpxTransport
from tests.fakes.airbyte import FakeAirbyte
from tests.remotes.driving import settings_of
from tests.remotes.google_at_hand import AUDIENCE, HEALTH, JOBS

LIFE = 3
SHORTEST = (LIFE - 1) * REFRESH_AT
"""Google counts in whole seconds, so that a token's real life may be one second less."""


def polled(settings, pollers, times, pause):
    """Return all answers to many who ask again and again."""
    session = open_session(settings, token=application_token)

    def polls():
        answers = []
        for _ in range(times):
            answers.append((yield from session.ask(HEALTH if settings.iap else JOBS)))
            yield Pause(pause)
        return answers

    async def story():
        transport = HttpxTransport(settings)
        try:
            found = await asyncio.gather(*(arun(polls(), transport) for _ in range(pollers)))
            return [answer for answers in found for answer in answers]
        finally:
            await transport.aclose()

    return story()


def test_tokens_are_minted_once_a_life_and_no_request_fails(google, iap, key):
    google.token_seconds = LIFE
    with FakeAirbyte(auth="client_credentials", token_seconds=LIFE) as airbyte:
        fields = {"auth": "client_credentials", "login": "client", "password": "secret"}
        behind_iap = settings_of(iap.url, iap_mode="id_token", iap_audience=AUDIENCE, keyfile_dict=key)

        async def story():
            return await asyncio.gather(
                polled(settings_of(airbyte.url, **fields), pollers=50, times=36, pause=0.1),
                polled(behind_iap, pollers=10, times=20, pause=0.2),
            )

        began = time.monotonic()
        of_airbyte, of_iap = asyncio.run(story())
        took = time.monotonic() - began
        mints = [seen.at for seen in airbyte.asked("/applications/token")]

    assert len(of_airbyte) + len(of_iap) == 2000
    assert {answer.status for answer in [*of_airbyte, *of_iap]} == {200}
    for minted in (mints, [mint.at for mint in google.mints if mint.kind == "id_token"]):
        assert 2 <= len(minted) <= took / SHORTEST + 1
        assert all(after - before > SHORTEST / 2 for before, after in itertools.pairwise(minted))
