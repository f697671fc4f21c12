"""How long to wait between looks, and how long to bear with a server that does not answer."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, TypeVar

from airflow_elt_provider.errors import EltError, RateLimitedError, TransientError
from airflow_elt_provider.remotes.flow import Flow, Pause, readable
from airflow_elt_provider.remotes.model import Remote, Sighting, Watch

log = logging.getLogger(__name__)

FIRST_SECONDS: Final = 1.0
"""Between the first looks at a run that has just begun."""
_YOUTH: Final = 0.1
"""The interval is a tenth of the youngest run's age: a run of a minute is noticed within seconds, one of hours is
asked for as seldom as the caller allows."""
_LONGEST_OUTAGE_WAIT: Final = 60.0
_SAY_SECONDS: Final = 60.0
_T = TypeVar("_T")


def interval(age: float, longest: float, round_seconds: float) -> float:
    """Return the seconds until the next look.

    :param age: of the youngest run that is waited for.
    :param longest: what the caller asks for.
    :param round_seconds: how long the last look took; one is never at it more than half of the time.
    """
    calm = min(max(age * _YOUTH, min(FIRST_SECONDS, longest)), longest)
    return jitter(max(calm, round_seconds))


def jitter(seconds: float) -> float:
    """Return about so many seconds, so that not all come back at once."""
    return seconds * random.uniform(0.9, 1.1)  # noqa: S311 - nothing is secret about it


@dataclass
class Outage:
    """One server's silence, from its first failure to its next answer."""

    began: float | None = None
    failures: int = 0
    error: EltError | None = None
    _said: float = field(default=0.0, repr=False)

    def failed(self, error: EltError, what: str) -> float:
        """Count a failure; return the seconds to wait before the next attempt."""
        now = time.monotonic()
        if isinstance(error, RateLimitedError):  # a server that asks for time is there
            self.began, self.failures, self.error = None, 0, None
        else:
            self.began = now if self.began is None else self.began
            self.failures += 1
            self.error = error
        if now - self._said >= _SAY_SECONDS:
            self._said = now
            log.warning("%s: %s Trying again.", what, error)
        if isinstance(error, RateLimitedError):
            return error.retry_after * random.uniform(1.0, 1.2)  # noqa: S311
        return jitter(min(2.0 ** min(self.failures - 1, 10), _LONGEST_OUTAGE_WAIT))

    def over(self, what: str) -> None:
        """The server has answered."""
        if self.began is not None and self.failures > 1:
            log.info("%s answers again, after %.0f s.", what, self.seconds)
        self.began, self.failures, self.error, self._said = None, 0, None, 0.0

    @property
    def seconds(self) -> float:
        """How long it has lasted; 0 for none."""
        return 0.0 if self.began is None else time.monotonic() - self.began


def patiently(flow: Callable[[], Flow[_T]], tolerance: float, what: str) -> Flow[_T]:
    """Drive a flow that may be begun again, through an outage of at most ``tolerance`` seconds.

    :raises TransientError: the last one, when the outage lasts longer.
    """
    outage = Outage()
    while True:
        try:
            return (yield from readable(flow(), what))
        except TransientError as error:
            wait = outage.failed(error, what)
            if outage.seconds + wait > tolerance and not isinstance(error, RateLimitedError):
                raise outlasted(error, outage.seconds) from error
            yield Pause(wait)


def until_ended(
    remote: Remote,
    watch: Watch,
    *,
    poll_interval: float,
    outage_tolerance: float,
    listener: Callable[[Sighting], None] | None = None,
) -> Flow[Sighting]:
    """Wait until one run has ended and return the last sighting of it: what a worker does that waits by itself.

    :param poll_interval: the most seconds between two looks.
    :param outage_tolerance: seconds that the server may fail to answer, or not know the run.
    :raises TransientError: when it failed for longer.
    """
    began, outage, lost, last = time.monotonic(), Outage(), Outage(), None
    while True:
        begun = time.monotonic()
        try:
            found = (yield from readable(remote.look([watch]), remote.name)).get(watch)
        except EltError as error:
            wait = outage.failed(error, remote.name)
            if outage.seconds > outage_tolerance:
                raise outlasted(error, outage.seconds) from error
            yield Pause(wait)
            continue
        outage.over(remote.name)
        if found and found != last and listener:
            listener(found)
        last = found or last
        if found and found.ended:
            return found
        if found and found.lost:
            lost.failed(TransientError(found.word), f"{remote.name}, {watch}")
            if lost.seconds > outage_tolerance:
                raise forgotten(watch, found)
        elif found:
            lost = Outage()
        yield Pause(interval(time.monotonic() - began, poll_interval, time.monotonic() - begun))


def outlasted(error: EltError, seconds: float) -> TransientError:
    """Return the error for an outage that lasted too long; a later try may meet better times."""
    return TransientError(
        f"{error.message} That has lasted {seconds / 60:.0f} minutes, longer than outage_tolerance.", hint=error.hint
    )


def forgotten(watch: Watch, seen: Sighting) -> TransientError:
    """Return the error for a run that the server has not known, or not told of, for too long."""
    return TransientError(
        f"The server does not know {watch} any more, for longer than outage_tolerance. {seen.note}".strip(),
        hint="was it restored from a backup, or its history removed? A retry starts a new sync",
    )
