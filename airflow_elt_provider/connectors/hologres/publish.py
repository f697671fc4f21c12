"""A merge in one DML transaction."""

from __future__ import annotations

from dataclasses import dataclass, field

from airflow_elt_provider.connectors.hologres.merge_sql import HologresSql, HologresWrites
from airflow_elt_provider.core.modes import DeleteMode, WriteMode
from airflow_elt_provider.core.publish import Publication, receipt_row
from airflow_elt_provider.core.receipt import Receipt
from airflow_elt_provider.core.steps import Counts, Effect, Step
from airflow_elt_provider.core.writes import Writes


@dataclass(frozen=True)
class HologresPublication(Publication):
    """One load's merge.

    The receipts are not read inside the transaction, which would lock them, for all streams, until its end; the row is
    written last. So a twin of the same load fails, and is told then.

    :param target_key: primary key of the target.
    """

    target_key: tuple[str, ...] = ()
    writes: type[Writes] = field(default=HologresWrites)

    def run(self) -> Receipt:
        """Merge the load.

        :raises StaleLoadError: when the stream moved on since the load was extracted, or this very load was merged.
        :raises psycopg2.errors.UniqueViolation: when this load was merged, and leaves the checkpoint alone.
        :raises DataError: when a check, a guard or the schema says no.
        """
        first = self.compare_and_set()
        if first and self.session.execute(first.sql, first.params) != first.expect:
            raise self.stale()
        plan = self.plan()
        receipt = self.receipt(plan, self._perform(plan))
        self.session.execute(self.dialect.insert_receipt(), receipt_row(receipt))
        return receipt

    def _steps(self, writes: Writes, *, has_rows: bool) -> tuple[tuple[Step, ...], Counts]:
        manifest, sql = self.load.manifest, self.sql
        mirrors = self.load.deletes is not DeleteMode.IGNORE and (manifest.complete or manifest.takes_away)
        by_key = self.load.mode is WriteMode.MERGE and set(self.target_key) == set(manifest.schema.primary_key)
        if has_rows and manifest.rows and by_key and not mirrors and isinstance(sql, HologresSql):
            new = self._verify.number(sql.count_new())
            # The statement counts both kinds of rows together.
            return (Step(sql.upsert(), effect=Effect.UPDATED),), Counts(inserted=new, updated=-new)
        return super()._steps(writes, has_rows=has_rows)
