"""Airflow cancels a trigger that is to go again and again: what it does at its end is done all the same."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from airflow_elt_provider.triggers._undisturbed import undisturbed

pytestmark = pytest.mark.lowest


async def cancelled_often(ending, bound):
    """Do as Airflow does: call ``ending`` once a trigger is cancelled, and go on cancelling the trigger."""

    async def trigger():
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await asyncio.wait_for(ending(), bound)
            raise

    task = asyncio.create_task(trigger())
    while not task.done():
        await asyncio.sleep(0.02)
        task.cancel("user-action")
    with suppress(asyncio.CancelledError):
        await task


def test_it_is_done_however_often_airflow_cancels():
    done = []

    async def work():
        await asyncio.sleep(0.3)
        done.append(True)

    async def all_of_it():
        await cancelled_often(lambda: undisturbed(work()), 30)
        await asyncio.sleep(0.5)

    asyncio.run(all_of_it())
    assert done == [True]


def test_the_end_of_the_event_loop_ends_it():
    done = []

    async def work():
        await asyncio.sleep(60)
        done.append(True)

    async def stopped():
        await cancelled_often(lambda: undisturbed(work()), 0.1)

    asyncio.run(asyncio.wait_for(stopped(), 10))
    assert done == []


def test_its_error_is_heard():
    async def work():
        raise ValueError("as it is")

    with pytest.raises(ValueError, match="as it is"):
        asyncio.run(undisturbed(work()))
