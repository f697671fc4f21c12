"""Thousands of Airbyte jobs by a handful of requests: only those whose ``updatedAt`` moved are listed.

Each round lists all jobs that the server changed since the last one, a hundred a page. What is new, or has not been
seen for long, is asked for by itself. All times compared are the server's own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, Protocol

from airflow_elt_provider.remotes.airbyte_config import newest_success, sightings, succeeded_after
from airflow_elt_provider.remotes.airbyte_jobs import Job
from airflow_elt_provider.remotes.flow import TURN, Flow, Pause, Together, apart
from airflow_elt_provider.remotes.model import Sighting, Watch, parse_time

PAGE: Final = 100
PAGES_AT_ONCE: Final = 8
MOST_REQUESTS: Final = 100
"""Of one round, whatever happens on the server and however many runs are waited for."""
MOST_PAGES: Final = 80
"""Of them; the others are for those that are asked for by themselves."""
_SHIFT: Final = 8
"""Pages listed again by a round that goes on with a list: jobs that changed meanwhile have moved to its end."""
_FEW: Final = 20
_OVERLAP: Final = timedelta(seconds=5)
"""Changes may become visible a little later than their time says."""
_SECOND: Final = timedelta(seconds=1)
"""What an answer shows of a time is its second."""
_UNSEEN_SECONDS: Final = 300.0


class JobsOf(Protocol):
    """Lists the latest jobs of a connection, newest first."""

    def __call__(self, connection_id: str, /) -> Flow[list[Job]]:
        """Return the flow that lists them."""


class Window:
    """Remembers up to when changes were listed.

    :param page: lists jobs by ``updatedAt``, oldest first: since, offset, limit.
    :param job: asks for one job by its id.
    :param jobs_of: lists the latest jobs of one connection, for sensors.
    :param clock: seconds of this process.
    """

    def __init__(
        self,
        page: Callable[[datetime, int, int], Flow[list[Job]]],
        job: Callable[[str], Flow[Job | None]],
        jobs_of: JobsOf,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._page, self._job, self._jobs_of, self._clock = page, job, jobs_of, clock
        self._since: datetime | None = None
        self._newest: datetime | None = None
        self._newest_at = 0.0
        self._turned = 0  # pages of the list that rounds before have read
        self._before: datetime | None = None  # what was newest before the list was begun
        self._seen: dict[Watch, float] = {}
        self._reached: set[Watch] = set()

    def look(self, watches: Sequence[Watch]) -> Flow[Mapping[Watch, Sighting]]:
        """Return what is new of these jobs."""
        self._seen = {watch: self._seen[watch] for watch in watches if watch in self._seen}
        new = [watch for watch in watches if watch not in self._seen]
        found: dict[Watch, Sighting] = {}
        self._reach_back(new)
        pages = 0
        if self._since is not None:
            begun = self._clock()
            jobs, pages, more = yield from self._listed(self._since)
            self._go_on(self._since, jobs, pages, begun, more=more)
            found = yield from _matched(jobs, watches)
        missing = [watch for watch in new if watch not in found] + self._overdue(watches, found)
        asked = missing[: MOST_REQUESTS - pages]
        found.update((yield from self._one_by_one(asked, alone=pages == 0)))
        self._seen.update(dict.fromkeys([*found, *asked], self._clock()))
        return found

    def _reach_back(self, new: Sequence[Watch]) -> None:
        """List from where the first of many new ones began: a job's ``updatedAt`` is never before that.

        Once for each: a way back that takes several rounds is gone on with, not begun again.
        """
        unreached = [watch for watch in new if watch not in self._reached]
        self._reached = set(new) if len(unreached) > _FEW else self._reached.intersection(new)
        begun = [began for watch in unreached if not watch.after and (began := parse_time(watch.mark))]
        if len(unreached) > _FEW and begun:
            self._since = min([*begun, self._since] if self._since else begun)
            self._turned = 0

    def _listed(self, since: datetime) -> Flow[tuple[list[Job], int, bool]]:
        """Return the jobs that changed since then, the number of pages, and whether there are more."""
        first = self._turned
        jobs = yield from self._page(since, first * PAGE, PAGE)
        pages = 1
        full = len(jobs) == PAGE
        while full and pages < MOST_PAGES:
            count = min(PAGES_AT_ONCE, MOST_PAGES - pages)
            batch = yield Together([self._page(since, (first + pages + n) * PAGE, PAGE) for n in range(count)])
            pages += count
            full = len(batch[-1]) == PAGE
            for page in batch:
                jobs += page
        return jobs, pages, full

    def _go_on(self, since: datetime, jobs: Sequence[Job], pages: int, begun: float, *, more: bool) -> None:
        """Set from where the next round lists.

        :param begun: when this round's list was begun.
        """
        if self._turned == 0:
            self._before = self._newest
        reached, before = max((job.updated for job in jobs if job.updated), default=since), self._before
        if jobs and (self._newest is None or reached > self._newest):
            self._newest, self._newest_at = reached, self._clock()
        if more:
            self._turned += max(1, pages - _SHIFT)
            return
        whole, self._turned = self._turned + pages, 0
        if not jobs and whole == pages:
            return
        if reached == before and begun - self._newest_at > (_OVERLAP + _SECOND).total_seconds():
            self._since = max(since, reached + _SECOND)  # all was listed twice, the second time long enough after
        elif whole == 1:
            self._since = max(since, reached - _OVERLAP)
        elif before:
            # While pages are turned, jobs move to the end and others into the gap that they leave: what was listed
            # in several pages is listed once more in the next round.
            self._since = max(since, before - _OVERLAP)

    def _overdue(self, watches: Sequence[Watch], found: Mapping[Watch, Sighting]) -> list[Watch]:
        """Return those not seen for long; all, while there is no time of the server's from which to list."""
        limit = self._clock() - (_UNSEEN_SECONDS if self._since is not None else 0.0)
        late = [watch for watch in watches if watch not in found and self._seen.get(watch, limit) < limit]
        return sorted(late, key=lambda watch: self._seen.get(watch, 0.0))

    def _one_by_one(self, watches: Sequence[Watch], *, alone: bool) -> Flow[dict[Watch, Sighting]]:
        if not watches:
            return {}
        seen = yield from apart([self._see(watch) for watch in watches], "Airbyte", alone=alone)
        return sightings(watches, seen)

    def _see(self, watch: Watch) -> Flow[Sighting | None]:
        if watch.after:
            jobs = yield from self._jobs_of(watch.remote_id)
            self._begin(jobs)
            return newest_success(jobs, watch)
        job = yield from self._job(watch.job_id)
        if job is None:
            return Sighting.of_lost(watch)
        self._begin([job])
        return job.sighting()

    def _begin(self, jobs: Sequence[Job]) -> None:
        """Learn a time of the server's: whatever changes after this answer is younger than what it shows."""
        times = [job.updated for job in jobs if job.updated]
        if self._since is None and times:
            self._since = max(times) - _OVERLAP


def _matched(jobs: Sequence[Job], watches: Sequence[Watch]) -> Flow[dict[Watch, Sighting]]:
    by_id = {str(job.id): job for job in jobs}
    by_connection: dict[str, list[Job]] = {}
    for job in jobs:
        by_connection.setdefault(job.connection_id, []).append(job)
    found: dict[Watch, Sighting] = {}
    for number, watch in enumerate(watches, 1):
        if number % TURN == 0:
            yield Pause(0)
        after = parse_time(watch.after)
        if after:
            good = [job for job in by_connection.get(watch.remote_id, ()) if succeeded_after(job, after)]
            if good:
                found[watch] = good[-1].sighting()
        elif watch.job_id in by_id:
            found[watch] = by_id[watch.job_id].sighting()
    return found
