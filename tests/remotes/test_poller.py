"""One poller serves all who wait for runs of one server, in few requests, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import gc
import time

import pytest

from airflow_elt_provider.remotes.model import Phase, Watch
from airflow_elt_provider.remotes.poller import _Waiter
from tests.remotes.poller_stories import begun, looks, told, until, waiting
from tests.remotes.systems import DigdagSystem, FivetranSystem, PublicAirbyte

pytestmark = pytest.mark.lowest


@pytest.fixture(params=[PublicAirbyte, FivetranSystem, DigdagSystem], ids=lambda system: system.name.split()[0])
def system(request):
    with request.param() as running:
        yield running


# --- what it is for ---


def test_everybody_hears_how_their_run_ended(system):
    async def story(poller):
        good, bad = await begun(system, poller, 2)
        waits = [waiting(poller, good), waiting(poller, bad), waiting(poller, good)]
        await asyncio.sleep(0.1)
        system.end(good.remote_id)
        system.end(bad.remote_id, "failed")
        return [seen.phase for seen in await asyncio.gather(*waits)]

    assert told(system, story) == [Phase.SUCCEEDED, Phase.FAILED, Phase.SUCCEEDED]


def test_one_round_serves_all(system):
    async def story(poller):
        watches = await begun(system, poller, 60)
        waits = [waiting(poller, watch) for watch in watches]
        heard = asyncio.Event()
        extra = waiting(poller, watches[0], listener=lambda seen: heard.set())
        await heard.wait()
        await asyncio.sleep(0.2)
        before = looks(system)
        for watch in watches:
            system.end(watch.remote_id)
        await asyncio.gather(*waits, extra)
        return looks(system) - before

    assert told(system, story) <= 10


def test_a_thousand_waits_take_a_handful_of_requests(record_property):
    with PublicAirbyte() as system:
        jobs = [system.server.begin(system.target()) for _ in range(1000)]
        watches = [Watch(system.server.job(job).connection_id, str(job), "2026-01-01T00:00:00+00:00") for job in jobs]
        lags = []

        async def measure():
            while True:
                before = time.perf_counter()
                await asyncio.sleep(0.005)
                lags.append(time.perf_counter() - before - 0.005)

        async def story(poller):
            meter = asyncio.create_task(measure())
            waits = [waiting(poller, watch) for watch in watches]
            await until(lambda: looks(system) >= 20)
            for job in jobs:
                system.server.finish(job)
            seen = await asyncio.gather(*waits)
            meter.cancel()
            return sum(one.phase is Phase.SUCCEEDED for one in seen)

        assert told(system, story) == 1000
        assert looks(system) < 150
        record_property("longest lag of the event loop, ms", round(max(lags) * 1000, 1))


def test_a_listener_hears_changes_only():
    heard = []

    async def story(poller):
        (watch,) = await begun(system, poller)
        job = int(watch.job_id)
        wait = waiting(poller, watch, listener=lambda seen: heard.append(seen.word))
        await until(lambda: looks(system) > 10)
        for word in ("incomplete", "hibernating"):
            system.server.set_status(job, word)
            await until(lambda word=word: word in heard)
        system.server.finish(job)
        return (await wait).known

    with PublicAirbyte() as system:
        assert told(system, story) is True
    assert heard == ["running", "incomplete", "hibernating", "succeeded"]


def test_a_listener_that_fails_fails_nobody_else(system):
    def broken(seen):
        raise ZeroDivisionError

    async def story(poller):
        one, other = await begun(system, poller, 2)
        waits = [waiting(poller, one, listener=broken), waiting(poller, other), waiting(poller, one)]
        with pytest.raises(ZeroDivisionError):
            await waits[0]
        system.end(one.remote_id)
        system.end(other.remote_id)
        return [seen.phase for seen in await asyncio.gather(*waits[1:])]

    assert told(system, story) == [Phase.SUCCEEDED, Phase.SUCCEEDED]


def test_a_defect_of_ours_reaches_all_who_wait_longer_than_an_outage_may_last(system):
    async def story(poller):
        watches = await begun(system, poller, 2)
        poller.remote.look = lambda watches: 1 / 0
        waits = (waiting(poller, watch, tolerance=0.1) for watch in watches)
        return await asyncio.gather(*waits, return_exceptions=True)

    assert ["ZeroDivisionError" in str(error) for error in told(system, story)] == [True, True]


@pytest.mark.parametrize("system", [FivetranSystem], indirect=True)
def test_somebody_new_is_looked_at_soon_though_the_others_are_old(system):
    async def story(poller):
        old, new = await begun(system, poller, 2)
        wait = waiting(poller, old, interval=3600)
        await asyncio.sleep(0)
        poller._waiters[old][0].since -= 100_000  # it has waited for a day: the next look is an hour away
        await asyncio.sleep(0.3)
        system.end(new.remote_id)
        seen = await asyncio.wait_for(waiting(poller, new, interval=3600), 20)
        wait.cancel()
        return seen.phase

    assert told(system, story) is Phase.SUCCEEDED


# --- nothing is left behind ---


@pytest.mark.parametrize("system", [FivetranSystem], indirect=True)
def test_waits_that_are_cancelled_leave_nothing_behind(system):
    async def story(poller):
        (watch,) = await begun(system, poller)
        waits = [waiting(poller, watch, interval=3600) for _ in range(300)]
        await asyncio.sleep(0.3)
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
        del waits, wait
        await asyncio.sleep(0.05)
        gc.collect()
        left = [one for one in gc.get_objects() if isinstance(one, _Waiter)]
        return poller.waiting, poller._task, len(asyncio.all_tasks()), left

    assert told(system, story) == (0, None, 2, [])  # the story, and who waits for it


def test_one_who_leaves_does_not_disturb_the_others(system):
    async def story(poller):
        watches = await begun(system, poller, 2)
        gone, stays = (waiting(poller, watch) for watch in watches)
        await asyncio.sleep(0.1)
        gone.cancel()
        system.end(watches[1].remote_id)
        return (await stays).phase, poller.waiting

    assert told(system, story) == (Phase.SUCCEEDED, 0)


def test_a_poller_that_all_have_left_serves_the_next(system):
    async def story(poller):
        for watch in await begun(system, poller, 3):
            cancelled = waiting(poller, watch)
            await asyncio.sleep(0.03)
            cancelled.cancel()
            system.end(watch.remote_id)
            assert (await waiting(poller, watch)).phase is Phase.SUCCEEDED

    told(system, story)
