"""How a load is merged exactly once where every statement commits by itself.

1. *Claim.* The stream's row says which attempt may write; see :mod:`state`. A load that finds another one's claim
   waits for it, and takes the place of one that died.
2. *Write.* One statement, one Delta commit, repeatable and fenced; see :mod:`writes`.
3. *Finish.* One commit moves the checkpoint, writes the receipt and gives the claim back: from here on the load counts.

Whoever takes a claim over makes sure of what its last owner may still do; see :mod:`line`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from databricks.sql import exc

from airflow_elt_provider.connectors.databricks.line import Line, MovedError, TakeOver
from airflow_elt_provider.connectors.databricks.session import DatabricksSession, MissingError, Warehouse
from airflow_elt_provider.connectors.databricks.state import Pending, StreamRow, StreamState
from airflow_elt_provider.connectors.databricks.writes import EPOCH, FENCED, DatabricksMergeSql, KnownStep
from airflow_elt_provider.core.dialect import Sql
from airflow_elt_provider.core.load import Load
from airflow_elt_provider.core.modes import WriteMode
from airflow_elt_provider.core.publish import Publication
from airflow_elt_provider.core.receipt import Receipt
from airflow_elt_provider.core.state import read_receipt
from airflow_elt_provider.core.steps import Counts, Effect, MergePlan, Step
from airflow_elt_provider.core.table_ref import TableRef
from airflow_elt_provider.errors import TransientError

log = logging.getLogger(__name__)

_ATTEMPTS: Final = 20


@dataclass(frozen=True)
class Commit:
    """Merges one load.

    :param target: its name in full.
    :param publication: makes a publication for the target as it is at that moment.
    """

    warehouse: Warehouse
    session: DatabricksSession
    load: Load
    target: TableRef
    publication: Callable[[], Publication]

    @property
    def _state(self) -> StreamState:
        return StreamState(self.session, self.load.manifest.stream)

    @property
    def _mine(self) -> Pending:
        appends = self.load.mode is WriteMode.APPEND and self.load.manifest.interval is None
        return Pending.of(self.load, self.target, appends=appends)

    @property
    def _own(self) -> str:
        """Whose claims are dead once this load is here: its run's; its own where others of the run may run beside it.

        Intervals may: a backfill is mapped over them.
        """
        manifest = self.load.manifest
        return manifest.load_id if manifest.interval else manifest.run_key

    def run(self) -> Receipt:
        """Merge the load, or return the receipt that it has already.

        :raises StaleLoadError: when the stream moved on since the load was extracted.
        :raises DataError: when a check, a guard or the schema says no.
        :raises TransientError: when another load of the stream does not come to its end.
        """
        for attempt in range(_ATTEMPTS):
            try:
                receipt = self._once(patient=attempt > 0)
            except MovedError:
                log.info("%s: another load was first, looking again", self.load.manifest.stream)
                known = read_receipt(self.session, self.session.dialect, self.load.load_id)
                if known:
                    return known
            else:
                return receipt
        raise TransientError(
            f"Other loads of {self.load.manifest.stream} kept taking the place of load {self.load.load_id}.",
            hint="let the task retry; merge a stream in one task at a time",
        )

    def _once(self, *, patient: bool) -> Receipt:
        row = Line(self.warehouse, self._state).free("" if patient else self._own)
        if row.receipt and not row.receipted:
            self._state.settle(row.receipt)
        if row.receipt and row.receipt.load_id == self.load.load_id:
            return row.receipt
        if self.load.manifest.base_version is None:  # nothing else would tell that it is merged, and others since
            known = read_receipt(self.session, self.session.dialect, self.load.load_id)
            if known:
                return known
        if self.load.manifest.base_version not in {None, row.version}:
            raise self.publication().stale()
        before = row.pending
        if before:
            row = TakeOver(self.warehouse, self._state).of(row, self._mine)
            before = row.pending if before.load_id == self.load.load_id else None
        receipt = self._merge(row, before)
        self._state.settle(receipt)
        return receipt

    def _merge(self, row: StreamRow, before: Pending | None) -> Receipt:
        """Go on from where an earlier attempt of this very load came to its end, or begin."""
        publication = self.publication()
        plan = publication.plan()
        fills = [step for step in plan.steps if not isinstance(step, KnownStep) and step.effect is Effect.NONE]
        writes = [step for step in plan.steps if step not in fills]
        ready = before if before and before.receipt else None
        if ready is None and not plan.steps:
            return self._finish(row, publication.receipt(plan, plan.counts))
        if ready is None and fills:
            row = self._claim(row, self._mine)
            self._perform(fills, row)
        if ready is None:
            ready = self._ready(publication, plan, writes)
            row = self._claim(row, ready)
        return self._finish(row, self._counted(ready, self._perform(writes, row), publication))

    # --- steps ---

    def _claim(self, row: StreamRow, pending: Pending) -> StreamRow:
        claimed = self._state.claim(row, pending)
        if claimed is None:
            raise MovedError
        return claimed

    def _ready(self, publication: Publication, plan: MergePlan, writes: Sequence[Step]) -> Pending:
        """Return the claim with everything that has to be known before the target changes."""
        counts, version = plan.counts, None
        for step in writes:
            if isinstance(step, KnownStep):
                gone = int(self.session.query(step.gone)[0][0]) if step.gone else 0
                effects = self.session.query(step.effects)[0] if step.effects else ()
                counts = counts.both(step.counts).both(Counts(deleted=gone)).both(Counts(*map(int, effects)))
            else:
                version = self._version()
        return replace(self._mine, receipt=publication.receipt(plan, counts), version=version)

    def _version(self) -> int:
        history = Sql(f"DESCRIBE HISTORY {self.session.dialect.table(self.target)} LIMIT 1")
        return int(self.session.query(history)[0][0])

    def _perform(self, steps: Sequence[Step], row: StreamRow) -> Counts:
        counts = Counts()
        for step in steps:
            try:
                counts = counts.both(self.session.merge(Sql(step.sql.replace(EPOCH, str(row.epoch)))))
            except (exc.ServerOperationError, MissingError) as error:  # an answer, not a lost connection
                if FENCED in str(error):
                    raise MovedError from error
                TakeOver(self.warehouse, self._state).give_back(row)
                raise
        return counts

    def _counted(self, ready: Pending, counts: Counts, publication: Publication) -> Receipt:
        """Return the receipt with the counts of an upsert, which only the MERGE itself knows."""
        receipt = ready.receipt
        assert receipt  # noqa: S101 - what is ready has one
        if ready.version is None:
            return receipt
        sql = publication.sql
        if not any(counts) and sql.upserts and isinstance(sql, DatabricksMergeSql):
            # Nothing to do, or done before: by an attempt that died, or by a sending whose answer was lost.
            counts = Counts(*map(int, self.session.query(sql.upserted(ready.version))[0]))
        return replace(receipt, inserted=counts.inserted, updated=counts.updated, deleted=counts.deleted)

    def _finish(self, row: StreamRow, receipt: Receipt) -> Receipt:
        if not self._state.finish(row, receipt, by=f"{self.load.load_id}/{self.load.nonce}"):
            raise MovedError
        return receipt
