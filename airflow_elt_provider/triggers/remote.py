"""Waits for a remote sync in the triggerer. Ten thousand of them share one poller."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Final

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_elt_provider.errors import ConfigurationError, EltError, TransientError
from airflow_elt_provider.triggers._claims import may_cancel, was_killed
from airflow_elt_provider.triggers._pollers import poller_of
from airflow_elt_provider.triggers._undisturbed import undisturbed

if TYPE_CHECKING:
    from airflow_elt_provider.remotes.model import Watch
    from airflow_elt_provider.remotes.poller import Poller

log = logging.getLogger(__name__)

_CANCEL_SECONDS: Final = 20.0
"""How long a server may fail to answer when a run is to be cancelled."""
_AIRFLOW_CALLS_ON_KILL: Final = hasattr(BaseTrigger, "on_kill")  # since 3.3


class RemoteSyncTrigger(BaseTrigger):
    """Fires when a run of a remote has ended, when it has lasted too long, or when it cannot be watched any more.

    The event is ``{"status": "ended", "sighting": {...}}``, ``{"status": "timeout"}`` or
    ``{"status": "error", "message", "retryable"}``, and ``told`` as it was given. Its arguments hold no secret.

    :param conn_id: connection of the remote.
    :param watch: what is waited for, the JSON of a ``Watch``: ``{"remote_id", "job_id", "mark", "after"}``.
    :param poll_interval: the most seconds between two looks.
    :param outage_tolerance: seconds that the server may fail to answer.
    :param deadline: when to give up, in seconds since 1970; None: never.
    :param owner: the try that may cancel the run, "" where nobody may.
    :param told: what the task wants to hear again in the event. (Airflow's own way for that, ``kwargs`` of ``defer``,
        is lost in ``airflow tasks test``.)
    """

    def __init__(
        self,
        conn_id: str,
        watch: dict[str, str],
        poll_interval: float = 10.0,
        outage_tolerance: float = 1800.0,
        deadline: float | None = None,
        owner: str = "",
        told: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.conn_id = conn_id
        self.watch = watch
        self.poll_interval = poll_interval
        self.outage_tolerance = outage_tolerance
        self.deadline = deadline
        self.owner = owner
        self.told = told
        self._poller: Poller | None = None

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what Airflow stores."""
        names = ("conn_id", "watch", "poll_interval", "outage_tolerance", "deadline", "owner", "told")
        return f"{__name__}.{type(self).__name__}", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and fire once."""
        try:
            event = await self._event()
        except asyncio.CancelledError:
            if not _AIRFLOW_CALLS_ON_KILL:
                await undisturbed(self._if_killed())
            raise
        yield TriggerEvent({**event, "told": self.told})

    async def _event(self) -> dict[str, Any]:
        from airflow_elt_provider.remotes.progress import Progress

        loop = asyncio.get_running_loop()
        limit = asyncio.timeout_at(None if self.deadline is None else loop.time() + self.deadline - time.time())
        try:
            watch = self._watch()
            async with limit:
                self._poller = await self._opened()
                sighting = await self._poller.wait(
                    watch,
                    poll_interval=self.poll_interval,
                    outage_tolerance=self.outage_tolerance,
                    listener=Progress(str(watch)),
                )
        except TimeoutError:
            if not limit.expired():  # somebody else's: not our deadline
                raise
            await self._cancel("its time is over")
            return {"status": "timeout"}
        except EltError as error:
            return {"status": "error", "message": str(error), "retryable": not isinstance(error, ConfigurationError)}
        return {"status": "ended", "sighting": sighting.to_json()}

    async def _opened(self) -> Poller:
        """Return the poller. The task has read the connection already: that it cannot be had now is an outage."""
        from airflow_elt_provider.remotes.patience import Outage, outlasted

        outage = Outage()
        while True:
            try:
                return await poller_of(self.conn_id)
            except Exception as error:  # noqa: BLE001 - of whatever secrets backend there is
                lost = TransientError(f"Connection {self.conn_id!r} could not be read: {error}")
            wait = outage.failed(lost, "Airflow")
            if outage.seconds + wait > self.outage_tolerance:
                raise outlasted(lost, outage.seconds)
            await asyncio.sleep(wait)

    def _watch(self) -> Watch:
        """Return what is waited for. One that cannot be read would disturb all others of its server."""
        from airflow_elt_provider.remotes.model import Watch, parse_time

        try:
            watch = Watch.from_json(self.watch)
            parse_time(watch.after)
        except (TypeError, ValueError):
            raise ConfigurationError(
                f"watch={self.watch!r} cannot be read.", hint='{"remote_id", "job_id", "mark", "after"}, all texts'
            ) from None
        return watch

    async def on_kill(self) -> None:
        """Cancel the run if it is still ours: a person marked the task, or cleared it and no other try took over."""
        await undisturbed(self._let_go())

    async def _if_killed(self) -> None:
        if self.task_instance is not None and await was_killed(self.task_instance):
            await self._let_go()

    async def _let_go(self) -> None:
        ti = self.task_instance
        if self.owner and ti is not None and await may_cancel(ti, self.owner):
            await self._cancel("the task was ended by hand")

    async def _cancel(self, why: str) -> None:
        """Cancel the run; a server that does not answer is said, not raised: the task has ended in any case."""
        from airflow_elt_provider.remotes.flow import arun
        from airflow_elt_provider.remotes.patience import patiently

        if not self.owner:
            return
        try:
            # The one that watched: the connection may lead to another server by now.
            poller = self._poller or await poller_of(self.conn_id)
            remote, watch = poller.remote, self._watch()
            flow = patiently(lambda: remote.cancel(watch), _CANCEL_SECONDS, remote.name)
            cancelled = await arun(flow, poller.transport)
        except EltError as error:
            log.warning("%s: %s, and it could not be cancelled: %s", self._watch(), why, error)
            return
        log.info("%s: %s; %s", self._watch(), why, "cancelled." if cancelled else "it was not ours to cancel, or over.")
