"""The merge of one load: questions, one script, and what to do when its fate is not what it should be."""

from __future__ import annotations

import hashlib
import logging
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from airflow_elt_provider.connectors.bigquery import catalog
from airflow_elt_provider.connectors.bigquery.dialect import BigQueryDialect
from airflow_elt_provider.connectors.bigquery.failures import AbortedError, MissingError
from airflow_elt_provider.connectors.bigquery.jobs import BigQueryJobs, BigQuerySession, Job
from airflow_elt_provider.connectors.bigquery.script import MERGED, STALE, UNEXPECTED, Script
from airflow_elt_provider.connectors.bigquery.staging import nonce_of
from airflow_elt_provider.connectors.bigquery.writes import BigQueryWrites
from airflow_elt_provider.core.drift import SchemaChange
from airflow_elt_provider.core.load import Load
from airflow_elt_provider.core.publish import Publication
from airflow_elt_provider.core.receipt import Receipt
from airflow_elt_provider.core.steps import Counts, MergePlan
from airflow_elt_provider.errors import DataError, EltError, TransientError, UncertainCommitError

log = logging.getLogger(__name__)

_ATTEMPTS: Final = 8
_LONGEST_PAUSE: Final = 30.0


@dataclass(frozen=True)
class Merge:
    """Sends the script under an id that belongs to this attempt's staging table, and numbers its tries.

    A client that dies after sending leaves a job that goes on. A retry of the merge counts from 0 again, finds that
    job by its id and waits for it. An attempt with another staging table has other ids, but the same checkpoint to
    move: of two such scripts one is aborted, or finds the checkpoint moved, and asks for the receipt.

    :param dialect_of: returns the dialect for a target as it is.
    :param receipt: returns the load's receipt.
    """

    jobs: BigQueryJobs
    dialect_of: Callable[[catalog.Target | None], BigQueryDialect]
    load: Load
    changes: Sequence[SchemaChange]
    receipt: Callable[[], Receipt | None]

    def run(self) -> Receipt:
        """Merge, and again where another transaction was in the way.

        :raises StaleLoadError: when the checkpoint has moved.
        :raises UncertainCommitError: when the script was sent and nobody can be asked what became of it.
        """
        number = aborted = 0
        while True:
            publication = self._publication()
            try:
                done = self._attempt(publication, number)
            except AbortedError as error:
                aborted += 1
                if aborted == _ATTEMPTS or self.jobs.stopped.is_set():
                    raise
                log.info("%s: %s; trying again", self.load.manifest.stream, error.message)
                self.jobs.stopped.wait(random.uniform(0.5, 1.0) * min(0.5 * 2.0**aborted, _LONGEST_PAUSE))  # noqa: S311 - no secret
            else:
                if done:
                    return done
            number += 1

    def _publication(self) -> Publication:
        session = BigQuerySession(self.jobs, f"Merging into {self.load.target}")
        target = catalog.describe(self.jobs, self.dialect_of(None), self.load.target, self.load.manifest.schema)
        types = target.table.columns if target else {}
        return Publication(
            session, self.dialect_of(target), self.load, types, self.changes, exchangeable=True, writes=BigQueryWrites
        )

    def _attempt(self, publication: Publication, number: int) -> Receipt | None:
        """Return the receipt; None where an earlier attempt's job has this number's id, and nothing came of it."""
        try:
            plan = publication.plan()
        except EltError as error:
            known = self.receipt()  # a twin may have merged it and dropped the staging table
            if known:
                return known
            if isinstance(error, MissingError) and any(name in error.message for name in self.load.staging_tables):
                raise _unstaged(self.load) from error
            raise
        receipt = publication.receipt(plan, plan.counts)
        return self._send(publication, plan, receipt, number)

    def _send(self, publication: Publication, plan: MergePlan, receipt: Receipt, number: int) -> Receipt | None:
        load = self.load
        what = f"Merging into {load.target}"
        script = Script.merging(
            self.dialect_of(None), publication.compare_and_set(), plan, receipt, load.manifest.stream
        )
        job_id = f"elt_merge_{load.load_id}_{_nonce(load)}_{number}"
        job: Job | None = None
        found = False
        try:
            with self.jobs.observed("COMMIT"):
                job, found = self.jobs.start(what, job_id, script.sql, script.params, {"elt_load": load.load_id})
                rows = self.jobs.finish(what, job)
        except EltError as error:
            over = job is not None and self.jobs.is_over(job)
            try:
                known = self._failed(publication, error, None if over else job)
            except AbortedError:
                if found and over:
                    return None
                raise
            if known or (found and over):  # an earlier try's failure is not this one's
                return known
            raise
        return self.receipt() if found else publication.receipt(plan, Counts(*map(int, rows[0])))

    def _failed(self, publication: Publication, error: EltError, job: Job | None) -> Receipt | None:
        """Return the receipt all the same, or say what the failure means where its error does not.

        :param job: that may still be running.
        """
        try:
            known = self.receipt()
        except EltError:
            raise UncertainCommitError(self.load.load_id) from error
        if known:
            return known
        if STALE in error.message:
            raise publication.stale() from error
        if any(said in error.message for said in (UNEXPECTED, MERGED)):
            raise AbortedError(error.message, hint="somebody else writes to the target; try again") from error
        if job is not None:
            raise TransientError(
                f"{error.message}; job {job.job_id} may still be running.", hint="try again: the retry waits for it"
            ) from error
        return None


def _nonce(load: Load) -> str:
    """Return what tells these staging tables from those of another attempt."""
    if not load.pieces:
        return nonce_of(load.staging)
    return hashlib.sha256(" ".join(load.staging_tables).encode()).hexdigest()[:8]


def _unstaged(load: Load) -> DataError:
    tables = ", ".join(load.staging_tables)
    return DataError(
        f"Load {load.load_id} has no staging table {tables!r} (BigQuery drops them after a day).",
        hint="clear the load from its stage task on",
    )


def refuse_unstaged(load: Load) -> None:
    """Refuse a load with rows and without a staging table.

    :raises DataError: says how to get one.
    """
    if load.manifest.rows and not load.staging_tables:
        raise _unstaged(load)
