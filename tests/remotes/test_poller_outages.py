"""A server that is away, busy or forgetful: those who wait hear of it when it lasts longer than they tolerate."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import pytest

from airflow_elt_provider.errors import RateLimitedError, TransientError
from airflow_elt_provider.remotes.model import Phase
from airflow_elt_provider.remotes.patience import Outage, until_ended
from tests.fakes.http_fake import Fault
from tests.remotes.poller_stories import begun, told, until, waiting
from tests.remotes.systems import DigdagSystem, FivetranSystem, Kept

pytestmark = pytest.mark.lowest


@pytest.fixture
def system():
    """Run any of them: what is said here is said of none in particular."""
    with FivetranSystem() as running:
        yield running


def test_an_outage_that_is_shorter_than_the_tolerance_fails_nothing(system):
    async def story(poller):
        watches = await begun(system, poller, 5)
        waits = [waiting(poller, watch) for watch in watches]
        await asyncio.sleep(0.2)
        await asyncio.to_thread(system.server.stop)
        for watch in watches:
            system.end(watch.remote_id)
        await until(lambda: poller._outage.failures > 0)
        assert not any(wait.done() for wait in waits)
        await asyncio.to_thread(system.server.start)
        return {seen.phase for seen in await asyncio.gather(*waits)}

    assert told(system, story) == {Phase.SUCCEEDED}


def test_an_outage_that_is_longer_fails_with_the_servers_own_reason(system):
    async def story(poller):
        impatient, patient = await begun(system, poller, 2)
        system.server.inject(Fault("GET", "", status=503, body="Closed until noon", times=None))
        waits = [waiting(poller, impatient, tolerance=0.5), waiting(poller, patient, tolerance=600)]
        with pytest.raises(TransientError, match=r"Closed until noon.*longer than outage_tolerance"):
            await waits[0]
        assert not waits[1].done()
        system.server.heal()
        system.end(patient.remote_id)
        return (await waits[1]).phase

    assert told(system, story) is Phase.SUCCEEDED


def test_an_outage_that_began_before_somebody_came_is_not_held_against_them(system):
    async def story(poller):
        (watch,) = await begun(system, poller)
        poller._outage.began = time.monotonic() - 100_000  # those who met it gave up long ago
        system.server.inject(Fault("GET", "", status=503))
        system.end(watch.remote_id)
        return (await waiting(poller, watch)).phase

    assert told(system, story) is Phase.SUCCEEDED


def test_a_connection_that_hangs_is_given_up_and_made_anew(system):
    async def story(poller):
        (watch,) = await begun(system, poller)
        system.server.inject(Fault("GET", "", then="hang"))
        system.end(watch.remote_id)
        return (await waiting(poller, watch)).phase

    system.settings = replace(system.settings, timeout=0.3)
    assert told(system, story) is Phase.SUCCEEDED


@pytest.mark.parametrize("leaves", [False, True], ids=["waiting", "gone-and-back"])
def test_a_server_that_asks_for_time_gets_it(system, leaves):
    async def story(poller):
        (watch,) = await begun(system, poller)
        system.end(watch.remote_id)
        asked = system.server.inject(Fault("GET", "", status=429, headers={"Retry-After": "1"}))
        wait = waiting(poller, watch, tolerance=0.01)
        await until(lambda: asked.hits)
        at = list(system.server.requests)[-1].at
        await asyncio.sleep(0.2)
        if leaves:
            wait.cancel()
            await asyncio.sleep(0)
            wait = waiting(poller, watch, tolerance=0.01)
        seen = await wait
        after = [seen.at for seen in list(system.server.requests) if seen.at > at]
        return seen.phase, min(after) - at

    phase, gap = told(system, story)
    assert phase is Phase.SUCCEEDED
    assert gap >= 0.95


def test_a_run_that_the_server_forgot_is_given_up_after_the_tolerance():
    async def story(poller):
        kept, lost = await begun(system, poller, 2)
        waits = [waiting(poller, kept), waiting(poller, lost, tolerance=0.3)]
        await asyncio.sleep(0.1)
        with system.server.lock:
            system.server.attempts.pop(lost.job_id)
        with pytest.raises(TransientError, match="does not know"):
            await waits[1]
        system.end(kept.remote_id)
        return (await waits[0]).phase

    with DigdagSystem() as system:
        assert told(system, story) is Phase.SUCCEEDED


# --- a worker that waits by itself ---


def test_a_worker_waits_through_an_outage_as_the_poller_does(system, driver):
    heard = []
    watch = driver(system.remote().start(system.order(system.target()), Kept()), system.settings).watch
    system.end(watch.remote_id)
    system.server.inject(Fault("GET", "", then="cut"))
    flow = until_ended(system.remote(), watch, poll_interval=0.05, outage_tolerance=30, listener=heard.append)
    assert driver(flow, system.settings).phase is Phase.SUCCEEDED
    assert [seen.phase for seen in heard] == [Phase.SUCCEEDED]


def test_a_worker_gives_up_with_the_servers_own_reason(system, driver):
    watch = driver(system.remote().start(system.order(system.target()), Kept()), system.settings).watch
    system.server.inject(Fault("GET", "", status=503, body="Closed until noon", times=None))
    with pytest.raises(TransientError, match="Closed until noon"):
        driver(until_ended(system.remote(), watch, poll_interval=0.05, outage_tolerance=0.3), system.settings)


def test_a_server_that_asks_for_time_is_not_away():
    outage = Outage()
    outage.failed(TransientError("no answer"), "test")
    outage.began -= 100_000
    assert outage.failed(RateLimitedError("later", retry_after=7.0), "test") >= 7.0
    assert outage.seconds == 0
    outage.failed(TransientError("no answer"), "test")
    assert outage.seconds < 60
