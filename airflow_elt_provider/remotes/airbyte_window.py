"""Thousands of Airbyte jobs by a handful of requests: only those whose ``updatedAt`` moved are listed.

Each round lists all jobs that the server changed since the last one, a hundred a page. What is new, or has not been
seen for long, is asked for by itself. All times compared are the server's own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from airflow_elt_provider.remotes.airbyte_jobs import Job
from airflow_elt_provider.remotes.flow import Flow, Together
from airflow_elt_provider.remotes.model import Phase, Sighting, Watch, parse_time

PAGE: Final = 100
PAGES_AT_ONCE: Final = 8
MOST_REQUESTS: Final = 100
"""Of one round."""
_FEW: Final = 20
_OVERLAP: Final = timedelta(seconds=5)
"""Changes may become visible a little later than their time says."""
_UNSEEN_SECONDS: Final = 300.0


class Window:
    """Remembers up to when changes were listed.

    :param page: lists jobs by ``updatedAt``, oldest first: since, offset, limit.
    :param job: asks for one job by its id.
    :param of_connection: asks what a sensor's connection does.
    """

    def __init__(
        self,
        page: Callable[[datetime, int, int], Flow[list[Job]]],
        job: Callable[[str], Flow[Job | None]],
        of_connection: Callable[[Watch], Flow[Sighting | None]],
    ) -> None:
        self._page, self._job, self._of_connection = page, job, of_connection
        self._since: datetime | None = None
        self._newest: datetime | None = None
        self._seen: dict[Watch, float] = {}

    def look(self, watches: Sequence[Watch]) -> Flow[Mapping[Watch, Sighting]]:
        """Return what is new of these jobs."""
        self._seen = {watch: self._seen[watch] for watch in watches if watch in self._seen}
        new = [watch for watch in watches if watch not in self._seen]
        found: dict[Watch, Sighting] = {}
        many = len(new) > _FEW
        if many:
            self._reach_back(new)
        if self._since is not None:
            found.update((yield from self._changed(self._since, watches)))
        missing = [watch for watch in new if watch not in found] + self._overdue(watches, found)
        room = MOST_REQUESTS if many or not new else max(_FEW, MOST_REQUESTS // 2)
        found.update((yield from self._one_by_one(missing[:room])))
        now = time.monotonic()
        self._seen.update(dict.fromkeys([*found, *missing[:room]], now))
        return found

    def _reach_back(self, new: Sequence[Watch]) -> None:
        """List from where the first of many new ones began: a job's ``updatedAt`` is never before that."""
        begun = [began for watch in new if not watch.after and (began := parse_time(watch.mark))]
        if begun:
            self._since = min([*begun, self._since] if self._since else begun)

    def _changed(self, since: datetime, watches: Sequence[Watch]) -> Flow[dict[Watch, Sighting]]:
        jobs, pages, more = yield from self._listed(since)
        before = self._newest
        times = [job.updated for job in jobs if job.updated]
        if times:
            self._newest = max(times) if self._newest is None else max(self._newest, *times)
        # While pages are turned, jobs move to the end and others into the gap that they leave: what was listed in
        # several pages is listed once more in the next round. Unless there is more: then we go on from here.
        settled = self._newest if pages == 1 or more else before
        if settled:
            self._since = max(since, settled - _OVERLAP)
        return _matched(jobs, watches)

    def _listed(self, since: datetime) -> Flow[tuple[list[Job], int, bool]]:
        jobs = yield from self._page(since, 0, PAGE)
        pages = 1
        full = len(jobs) == PAGE
        while full and pages < MOST_REQUESTS:
            count = min(PAGES_AT_ONCE, MOST_REQUESTS - pages)
            batch = yield Together([self._page(since, (pages + n) * PAGE, PAGE) for n in range(count)])
            pages += count
            full = len(batch[-1]) == PAGE
            for page in batch:
                jobs += page
        return jobs, pages, full

    def _overdue(self, watches: Sequence[Watch], found: Mapping[Watch, Sighting]) -> list[Watch]:
        limit = time.monotonic() - _UNSEEN_SECONDS
        late = [watch for watch in watches if watch not in found and self._seen.get(watch, limit) < limit]
        return sorted(late, key=lambda watch: self._seen.get(watch, 0.0))

    def _one_by_one(self, watches: Sequence[Watch]) -> Flow[dict[Watch, Sighting]]:
        if not watches:
            return {}
        answers = yield Together([self._see(watch) for watch in watches])
        return {watch: seen for watch, seen in zip(watches, answers, strict=True) if seen}

    def _see(self, watch: Watch) -> Flow[Sighting | None]:
        if watch.after:
            return (yield from self._of_connection(watch))
        job = yield from self._job(watch.job_id)
        if job is None:
            return Sighting.of_lost(watch)
        if job.updated and self._since is None:
            self._since = job.updated
        return job.sighting()


def _matched(jobs: Sequence[Job], watches: Sequence[Watch]) -> dict[Watch, Sighting]:
    by_id = {str(job.id): job for job in jobs}
    by_connection: dict[str, list[Job]] = {}
    for job in jobs:
        by_connection.setdefault(job.connection_id, []).append(job)
    found: dict[Watch, Sighting] = {}
    for watch in watches:
        if watch.after:
            good = [job for job in by_connection.get(watch.remote_id, ()) if _fulfils(job, watch)]
            if good:
                found[watch] = good[-1].sighting()
        elif watch.job_id in by_id:
            found[watch] = by_id[watch.job_id].sighting()
    return found


def _fulfils(job: Job, watch: Watch) -> bool:
    after = parse_time(watch.after)
    return job.phase is Phase.SUCCEEDED and bool(job.updated and after and job.updated >= after)
