"""One poller for each server and credential in an event loop, however many runs are waited for.

It asks about all of them in as few requests as the remote's API allows, and wakes only those whose run has ended.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from airflow_elt_provider.errors import EltError, TransientError
from airflow_elt_provider.remotes.flow import AsyncTransport, arun, readable
from airflow_elt_provider.remotes.model import Phase, Remote, Sighting, Watch
from airflow_elt_provider.remotes.patience import Outage, forgotten, interval, outlasted

log = logging.getLogger(__name__)

_WAKE_AT_ONCE: Final = 20
"""Waiters woken before others get their turn of the event loop: each may log, and all of them go on before it."""
_SAID_AT: Final = 2
"""Failures in a row after which those who wait hear of them: a single one is no news."""
Listener = Callable[[Sighting], None]


@dataclass(eq=False, slots=True)
class _Waiter:
    watch: Watch
    future: asyncio.Future[Sighting]
    interval: float
    tolerance: float
    since: float
    listener: Listener | None
    context: contextvars.Context
    last: Sighting | None = None
    lost_since: float = 0.0


@dataclass
class Poller:
    """Waits for runs of one remote.

    :param remote: the server.
    :param transport: sends requests to it from this event loop.
    """

    remote: Remote
    transport: AsyncTransport
    _waiters: dict[Watch, list[_Waiter]] = field(default_factory=dict)
    _task: asyncio.Task[None] | None = None
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _outage: Outage = field(default_factory=Outage)
    _rest_until: float = 0.0

    async def wait(
        self, watch: Watch, *, poll_interval: float, outage_tolerance: float, listener: Listener | None = None
    ) -> Sighting:
        """Wait until a run has ended and return the last sighting of it.

        :param poll_interval: the most seconds between two looks.
        :param outage_tolerance: seconds that the server may fail to answer, or not know the run.
        :param listener: is called in the event loop, in the context of this call (so that what it logs is found where
            the caller's own lines are), with every sighting that differs from the one before.
        :raises EltError: the server's last refusal, when it lasted longer than that.
        """
        future: asyncio.Future[Sighting] = asyncio.get_running_loop().create_future()
        waiter = _Waiter(watch, future, poll_interval, outage_tolerance, time.monotonic(), listener,
                         contextvars.copy_context())  # fmt: skip
        self._waiters.setdefault(watch, []).append(waiter)
        self._news.set()
        if self._task is None or self._task.done():
            # In a context of its own: it belongs to none of those who wait.
            own = contextvars.Context()
            self._task = asyncio.create_task(self._poll(), name=f"elt-poller {self.remote.name}", context=own)
            self._task.add_done_callback(self._died)
        try:
            return await future
        finally:
            self._leave(waiter)

    @property
    def waiting(self) -> int:
        """How many waits there are."""
        return sum(map(len, self._waiters.values()))

    def _leave(self, waiter: _Waiter) -> None:
        others = self._waiters.get(waiter.watch)
        if others and waiter in others:
            others.remove(waiter)
            if not others:
                del self._waiters[waiter.watch]
        if not self._waiters and self._task:
            self._task.cancel()
            self._task = None

    def _died(self, task: asyncio.Task[None]) -> None:
        """Tell those who wait when the poll task ends although they do: they ask anew."""
        if task is self._task and self._waiters:
            self._task = None
            for waiter in self._all():
                _fail(waiter, TransientError(f"The poller of {self.remote.name} ended unexpectedly."))

    async def _poll(self) -> None:
        """Look until nobody waits any more, then hang up."""
        try:
            while self._waiters:
                await asyncio.sleep(self._rest_until - time.monotonic())  # also what a server asked of those who left
                self._news.clear()
                begun = time.monotonic()
                rest = await self._look()
                if rest is None:
                    await self._pause(self._interval(time.monotonic() - begun))
                else:
                    self._rest_until = time.monotonic() + rest
        finally:
            if not self._waiters:
                await self.transport.aclose()

    async def _look(self) -> float | None:
        """Look once. Return the seconds that the server wants to be left alone, None for as usual."""
        what = f"{self.remote.name} at {self.remote.session.settings.base_url}"
        try:
            found = await arun(readable(self.remote.look(list(self._waiters)), what), self.transport)
        except EltError as error:
            return await self._failed(error, what)
        except Exception as error:
            log.exception("%s could not be asked.", what)
            return await self._failed(TransientError(f"{what} could not be asked ({type(error).__name__})."), what)
        self._outage.over(what)
        await self._tell(found)
        return None

    async def _failed(self, error: EltError, what: str) -> float:
        pause = self._outage.failed(error, what)
        if self._outage.failures == _SAID_AT:
            await self._tell(self._silence(error))
        await self._fail_impatient(error)
        return pause

    def _silence(self, error: EltError) -> Mapping[Watch, Sighting]:
        """Return what those who wait hear of an outage."""
        note = f"the server does not answer ({error.message}); waiting for it"
        return {
            watch: replace(waiters[0].last or Sighting(watch.job_id, Phase.ACTIVE, "unseen"), note=note)
            for watch, waiters in self._waiters.items()
        }

    def _interval(self, round_seconds: float) -> float:
        youngest = max((waiter.since for waiters in self._waiters.values() for waiter in waiters), default=0.0)
        longest = min((waiter.interval for waiters in self._waiters.values() for waiter in waiters), default=1.0)
        return interval(time.monotonic() - youngest, longest, round_seconds)

    async def _pause(self, seconds: float) -> None:
        """Wait; somebody new ends the wait soon, so that a run that is over already need not wait for a round."""
        try:
            await asyncio.wait_for(self._news.wait(), seconds)
            await asyncio.sleep(min(1.0, seconds))  # others come with it
        except TimeoutError:
            pass

    async def _tell(self, found: Mapping[Watch, Sighting]) -> None:
        told = 0
        for watch, sighting in found.items():
            for waiter in list(self._waiters.get(watch, ())):
                _tell(waiter, sighting)
                told += 1
                if told % _WAKE_AT_ONCE == 0:
                    await asyncio.sleep(0)

    async def _fail_impatient(self, error: EltError) -> None:
        for number, waiter in enumerate(self._all()):
            lasted = min(self._outage.seconds, time.monotonic() - waiter.since)  # what this one has seen of it
            if lasted > waiter.tolerance:
                _fail(waiter, outlasted(error, lasted))
            if number % _WAKE_AT_ONCE == 0:
                await asyncio.sleep(0)

    def _all(self) -> list[_Waiter]:
        return [waiter for waiters in self._waiters.values() for waiter in waiters]


def _tell(waiter: _Waiter, sighting: Sighting) -> None:
    if waiter.future.done():
        return
    if sighting != waiter.last and waiter.listener:
        try:
            waiter.context.run(waiter.listener, sighting)
        except Exception as error:  # noqa: BLE001 - it is this waiter's alone, and must not end the poller for all
            _fail(waiter, error)
            return
    waiter.last = sighting
    waiter.lost_since = (waiter.lost_since or time.monotonic()) if sighting.lost else 0.0
    if sighting.ended:
        waiter.future.set_result(sighting)
    elif sighting.lost and time.monotonic() - waiter.lost_since > waiter.tolerance:
        _fail(waiter, forgotten(waiter.watch, sighting))


def _fail(waiter: _Waiter, error: Exception) -> None:
    if not waiter.future.done():
        waiter.future.set_exception(error)
