"""Jobs under ids of our own: a retry finds its job again, and another thread can cancel what runs."""

from __future__ import annotations

import logging
import os
import random
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from typing import Any, Final, TypeAlias, TypeVar, cast

from google.api_core import exceptions as api
from google.api_core.client_info import ClientInfo
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery
from google.cloud.bigquery.retry import DEFAULT_RETRY

from airflow_elt_provider.connectors.bigquery.dialect import BigQueryDialect
from airflow_elt_provider.connectors.bigquery.failures import AbortedError, MissingError, translate
from airflow_elt_provider.connectors.bigquery.settings import EMULATOR, BigQuerySettings
from airflow_elt_provider.core.dialect import Sql
from airflow_elt_provider.errors import EltError

log = logging.getLogger(__name__)

Observe = Callable[[str], None]
Job: TypeAlias = "bigquery.QueryJob | bigquery.LoadJob"
_J = TypeVar("_J", bound=Job)
_T = TypeVar("_T")
_ATTEMPTS: Final = 5
_RETRY: Final = DEFAULT_RETRY.with_timeout(120.0)


class BigQueryJobs:
    """Runs jobs in one project.

    :param observe: called before each job and each change of a table, and with "" when it is done.
    """

    def __init__(self, settings: BigQuerySettings, observe: Observe | None) -> None:
        self.settings = settings
        self.observe = observe or _see_nothing
        self.location = ""  # Google infers it from the tables of a job, but wants to be told where a known job is
        self.stopped = threading.Event()
        self._mutex = threading.Lock()
        self._running: dict[str, str | None] = {}

    @cached_property
    def client(self) -> bigquery.Client:
        """Google's client."""
        find = self.settings.credentials
        credentials: Any = find() if find else None
        if credentials is None and os.environ.get(EMULATOR):
            credentials = AnonymousCredentials()  # type: ignore[no-untyped-call]
        with translate(f"Connecting to {self.settings}"):
            return bigquery.Client(
                project=self.settings.project, credentials=credentials,
                client_info=ClientInfo(user_agent="airflow-elt-provider"),  # type: ignore[no-untyped-call]
            )  # fmt: skip

    # --- queries ---

    def query(self, what: str, sql: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run a query and return its rows (few)."""
        with self.observed(sql):
            job, _ = self.start(what, f"elt_{uuid.uuid4().hex}", sql, params)
            return self.finish(what, job)

    def execute(self, what: str, sql: str, params: Sequence[Any] = ()) -> int:
        """Run a statement and return how many rows it changed."""
        with self.observed(sql):
            job, _ = self.start(what, f"elt_{uuid.uuid4().hex}", sql, params)
            self.finish(what, job)
            return int(job.num_dml_affected_rows or 0)

    @contextmanager
    def observed(self, text: str) -> Iterator[None]:
        """Tell the observer before the block, and when it went well."""
        self.observe(text)
        yield
        self.observe("")

    def start(
        self, what: str, job_id: str, sql: str, params: Sequence[Any] = (), labels: dict[str, str] | None = None
    ) -> tuple[bigquery.QueryJob, bool]:
        """Start a query job; or return the one that has this id already, and True."""
        config = bigquery.QueryJobConfig(
            labels={**self.settings.labels, **(labels or {})}, query_parameters=_parameters(params),
            use_legacy_sql=False,
        )  # fmt: skip
        if self.settings.maximum_bytes_billed:
            config.maximum_bytes_billed = self.settings.maximum_bytes_billed
        if self.settings.job_timeout:
            config.job_timeout_ms = self.settings.job_timeout * 1000

        def insert() -> bigquery.QueryJob:
            return self.client.query(
                bound(sql), job_config=config, job_id=job_id, location=self.location or None, retry=_RETRY,
                job_retry=None,
            )  # fmt: skip

        return self._start(what, job_id, insert)

    def load(
        self, what: str, job_id: str, uris: Sequence[str], table: bigquery.Table, config: bigquery.LoadJobConfig
    ) -> bigquery.LoadJob:
        """Start a load job, or find the one that has this id already."""
        config.labels = {**self.settings.labels, **config.labels}
        if self.settings.job_timeout:
            config.job_timeout_ms = self.settings.job_timeout * 1000

        def insert() -> bigquery.LoadJob:
            return self.client.load_table_from_uri(
                list(uris), table, job_id=job_id, job_config=config, location=self.location or None, retry=_RETRY
            )

        return self._start(what, job_id, insert)[0]

    def _start(self, what: str, job_id: str, insert: Callable[[], _J]) -> tuple[_J, bool]:
        with self._mutex:
            self._running[job_id] = self.location or None
        found = False
        with translate(what):
            try:
                job = insert()
            except api.Conflict:
                # The answer to an earlier insert was lost, or this is a retry of a step that sent it.
                found = True
                job = cast("_J", self.client.get_job(job_id, location=self.location or None, retry=_RETRY))
        with self._mutex:
            self._running[job_id] = job.location
        return job, found

    def finish(self, what: str, job: Job) -> list[tuple[Any, ...]]:
        """Wait for a job and return its rows: none of a load job.

        :raises EltError: what became of it, or that it cannot be asked.
        """
        try:
            with translate(what):
                if isinstance(job, bigquery.LoadJob):
                    job.result(retry=_RETRY)
                    return []
                return [tuple(row) for row in job.result(retry=_RETRY)]
        finally:
            with self._mutex:
                self._running.pop(job.job_id, None)

    def is_over(self, job: Job) -> bool:
        """Ask whether a job ended; False where nobody can be asked. What waiting for it raised does not tell."""
        with suppress(EltError), translate(f"Asking for job {job.job_id}"):
            job.reload(retry=_RETRY)
        return str(job.state) == "DONE"

    def racing(self, work: Callable[[], _T]) -> _T:
        """Do what may be done again, and again when somebody did the like at the same moment."""
        for attempt in range(_ATTEMPTS - 1):
            try:
                return work()
            except AbortedError as error:
                log.info("somebody else was first (%s), trying again", error.message)
                self.stopped.wait(random.uniform(0.5, 1.0) * 2.0**attempt)  # noqa: S311 - no secret
        return work()

    # --- tables ---

    def table(self, what: str, ref: Sequence[str]) -> bigquery.Table | None:
        """Return what BigQuery knows of a table, None where there is none."""
        try:
            with translate(what):
                return self.client.get_table(".".join(ref), retry=_RETRY)
        except MissingError:
            return None

    def cancel(self) -> None:
        """Cancel the jobs that run; safe from another thread."""
        self.stopped.set()
        with self._mutex:
            running = dict(self._running)
        for job_id, location in running.items():
            with suppress(MissingError), translate(f"Cancelling job {job_id}"):
                self.client.cancel_job(job_id, location=location, retry=_RETRY)


class BigQuerySession:
    """Queries as the core asks them: each is a job of its own.

    :param what: what is being done, for messages.
    """

    def __init__(self, jobs: BigQueryJobs, what: str) -> None:
        self._jobs, self._what = jobs, what

    def execute(self, sql: Sql, params: Sequence[Any] = ()) -> int:
        """Run a statement and return how many rows it changed."""
        return self._jobs.execute(self._what, sql, params)

    def query(self, sql: Sql, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run a query and return its rows (few)."""
        return self._jobs.query(self._what, sql, params)


def bound(sql: str) -> str:
    """Return SQL whose placeholders are named parameters, numbered in order."""
    head, *rest = sql.split(BigQueryDialect.placeholder)
    return head + "".join(f"@p{number}{part}" for number, part in enumerate(rest))


def _parameters(params: Sequence[Any]) -> list[bigquery.ScalarQueryParameter]:
    return [
        bigquery.ScalarQueryParameter(f"p{number}", "INT64" if isinstance(value, int) else "STRING", value)
        for number, value in enumerate(params)
    ]


def _see_nothing(_: str) -> None:
    pass
