"""A list of jobs that changes while its pages are turned, as an Airbyte server's does; in memory, without I/O."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random

from airflow_elt_provider.remotes.airbyte_jobs import Job
from airflow_elt_provider.remotes.airbyte_window import Window
from airflow_elt_provider.remotes.flow import Flow, Pause, run
from airflow_elt_provider.remotes.model import Sighting, Watch, iso

BEGIN = datetime(2026, 11, 25, tzinfo=UTC)
ENDED = ("succeeded", "failed", "cancelled")


@dataclass
class _Row:
    id: int
    status: str
    created: float
    updated: float


@dataclass
class World:
    """The server. Times are filtered in full and shown in whole seconds, as the real one does.

    :param restless: jobs that change, at most, between one request and the next.
    """

    random: Random = field(default_factory=lambda: Random(0))
    restless: int = 0
    now: float = 0.0
    requests: int = 0
    rows: dict[int, _Row] = field(default_factory=dict)
    running: list[int] = field(default_factory=list)
    forgotten: set[int] = field(default_factory=set)
    _turn: int = 0
    _listed: list[_Row] | None = None

    def __post_init__(self) -> None:
        self.window = Window(self.page, self.job, self.jobs_of, clock=lambda: self.now)

    # --- what happens ---

    def begin(self, count: int = 1, apart: float = 0.001) -> list[int]:
        ids = []
        for _ in range(count):
            self.now += apart
            self._turn += 1
            self.rows[self._turn] = _Row(self._turn, "running", self.now, self.now)
            self._listed = None
            self.running.append(self._turn)
            ids.append(self._turn)
        return ids

    def change(self, job: int, status: str, after: float = 0.0) -> None:
        self.now += after
        row = self.rows.pop(job)
        row.status, row.updated = status, self.now
        self.rows[job] = row  # at the end: the list is in the order of changes
        self._listed = None

    def end_all(self, apart: float = 0.001) -> None:
        for job in self.running:
            self.change(job, "succeeded", apart)
        self.running.clear()

    def _live(self) -> None:
        """Let some jobs change."""
        for _ in range(self.random.randint(0, self.restless)):
            if not self.running:
                return
            place = self.random.randrange(len(self.running))
            status = self.random.choice(("running", "incomplete", "running", *ENDED))
            self.change(self.running[place], status, self.random.choice((0.0, 0.0001, 0.05)))
            if status in ENDED:
                self.running[place] = self.running[-1]
                self.running.pop()

    # --- what is asked ---

    def _asked(self) -> Flow[None]:
        yield Pause(0)
        self.requests += 1
        self._live()

    def page(self, since: datetime, offset: int, limit: int) -> Flow[list[Job]]:
        yield from self._asked()
        if self._listed is None:
            self._listed = list(self.rows.values())
        rows = self._listed
        first = bisect_left(rows, (since - BEGIN).total_seconds(), key=lambda row: row.updated) + offset
        return [self._shown(row) for row in rows[first : first + limit] if row.id not in self.forgotten]

    def job(self, job_id: str) -> Flow[Job | None]:
        yield from self._asked()
        return None if int(job_id) in self.forgotten else self._shown(self.rows[int(job_id)])

    def jobs_of(self, connection_id: str, /) -> Flow[list[Job]]:
        yield from self._asked()
        number = int(connection_id.removeprefix("c"))
        return [self._shown(self.rows[number])] if number in self.rows else []

    def _shown(self, row: _Row) -> Job:
        created, updated = (BEGIN + timedelta(seconds=int(time)) for time in (row.created, row.updated))
        return Job(row.id, f"c{row.id}", row.status, created, updated)

    # --- what the window does ---

    def watch(self, job: int) -> Watch:
        return Watch(f"c{job}", str(job), iso(BEGIN + timedelta(seconds=int(self.rows[job].created))) or "")

    def watches(self, jobs: Iterable[int]) -> list[Watch]:
        return [self.watch(job) for job in jobs]

    def look(self, watches: Iterable[Watch], later: float = 10.0) -> tuple[dict[Watch, Sighting], int]:
        """One round: what was found, and the number of requests."""
        self.now += later
        before = self.requests
        found = run(self.window.look(list(watches)), None, sleep=lambda seconds: None)
        return dict(found), self.requests - before

    def rounds_until_noticed(self, watches: Iterable[Watch], most: int, later: float = 10.0) -> int:
        """How many rounds it takes until all of these, which have ended, are seen so."""
        waiting = dict.fromkeys(watches)
        if not waiting:
            return 0
        for number in range(1, most + 1):
            found, requests = self.look(waiting, later)
            assert requests <= 100
            for watch, seen in found.items():
                if seen.ended:
                    del waiting[watch]
            if not waiting:
                return number
        raise AssertionError(f"{len(waiting)} not noticed within {most} rounds")
