"""The merge: what is asked and done, in which order.

A destination with transactions opens one, lets :meth:`Publication.run` do everything in it, and commits; it also holds
whatever lock keeps other writers of the same target away. A destination that takes a whole script in one go asks for
:meth:`Publication.plan` first, which only reads, and sends :meth:`Publication.compare_and_set`, the plan's steps and
the receipt together.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Protocol, runtime_checkable

from airflow_elt_provider.core.dialect import Dialect, Sql
from airflow_elt_provider.core.drift import SchemaChange
from airflow_elt_provider.core.history_sql import HistorySql
from airflow_elt_provider.core.load import Load
from airflow_elt_provider.core.merge_sql import MergeSql
from airflow_elt_provider.core.modes import DeleteMode, WriteMode
from airflow_elt_provider.core.receipt import Receipt
from airflow_elt_provider.core.state import Session, read_receipt
from airflow_elt_provider.core.steps import Counts, Effect, MergePlan, Step
from airflow_elt_provider.core.verification import Verification
from airflow_elt_provider.core.writes import Writes
from airflow_elt_provider.errors import DataError, StaleLoadError

_EXCHANGE_SHARE: Final = 0.3
"""From this share of changed rows on, deleting all and inserting all is faster than updating (PostgreSQL 18)."""


class BrokenKeyError(DataError):
    """A staging table cannot become the target: its key is not unique, or NULL. It is the staging table again."""


@runtime_checkable
class MergingSession(Session, Protocol):
    """A transaction of a system that has MERGE."""

    def merge(self, sql: Sql, params: Sequence[Any] = ()) -> Counts:
        """Run a MERGE and return how many rows it inserted, updated and deleted."""


@dataclass(frozen=True)
class Publication:
    """One load's merge.

    :param types: column -> type of the target as it is now.
    :param changes: what :meth:`Destination.prepare` did to the target's schema.
    :param adopt: where there is no target yet: makes the staging table the target, and builds its key.
    :param exchangeable: whether deleting and inserting a row again is as good as updating it: no foreign key points
        at the target, no trigger listens.
    :param writes: makes the statements.
    """

    session: Session
    dialect: Dialect
    load: Load
    types: Mapping[str, str]
    changes: Sequence[SchemaChange] = ()
    adopt: Callable[[], None] | None = None
    exchangeable: bool = False
    writes: type[Writes] = Writes

    def run(self) -> Receipt:
        """Merge the load, or return the receipt that it has already.

        :raises StaleLoadError: when the stream moved on since the load was extracted.
        :raises DataError: when a check, a guard or the schema says no.
        """
        known = read_receipt(self.session, self.dialect, self.load.load_id)
        if known:
            return known
        first = self.compare_and_set()
        if first and self.session.execute(first.sql, first.params) != first.expect:
            raise self.stale()
        plan = self.plan()
        receipt = self.receipt(plan, self._perform(plan))
        self.session.execute(self.dialect.insert_receipt(), receipt_row(receipt))
        return receipt

    def _perform(self, plan: MergePlan) -> Counts:
        if self.adopt:
            self._adopt(self.adopt)
        counts = plan.counts
        for step in plan.steps:
            if step.effect is Effect.MERGED:
                if not isinstance(self.session, MergingSession):
                    raise TypeError(f"{type(self.session).__name__} has no merge()")
                counts = counts.both(self.session.merge(step.sql, step.params))
                continue
            rows = self.session.execute(step.sql, step.params)
            if step.expect not in {None, rows}:
                raise self.unexpected(step, rows)
            counts = counts.plus(step.effect, rows)
        return counts

    def _adopt(self, adopt: Callable[[], None]) -> None:
        try:
            adopt()
        except BrokenKeyError:
            self._verify.broken_key()
            raise

    # --- state ---

    def compare_and_set(self) -> Step | None:
        """Return the step that moves the checkpoint if it is still the one the load goes on from.

        None for a load that leaves the checkpoint alone.
        """
        manifest = self.load.manifest
        base, stream = manifest.base_version, manifest.stream
        if base is None:
            return None
        position = json.dumps(manifest.next_position.to_json(), ensure_ascii=False)
        if base == 0 and not self.dialect.seeded:
            return Step(self.dialect.insert_checkpoint(stream), (stream, 1, manifest.load_id, position), expect=1)
        values = (base + 1, manifest.load_id, position, stream, base)
        return Step(self.dialect.move_checkpoint(stream), values, expect=1)

    def receipt(self, plan: MergePlan, counts: Counts = Counts()) -> Receipt:  # noqa: B008 - immutable
        """Return the receipt; its row is :func:`receipt_row`."""
        manifest = self.load.manifest
        return Receipt(
            load_id=manifest.load_id, run_key=manifest.run_key, stream=manifest.stream,
            version=None if manifest.base_version is None else manifest.base_version + 1,
            extracted=manifest.changes, quarantined=manifest.quarantined + plan.quarantined,
            inserted=counts.inserted, updated=counts.updated, deleted=counts.deleted,
            nulled=dict(plan.nulled), schema_changes=tuple(change.to_json() for change in self.changes),
            base_position=manifest.base_position, position=manifest.next_position, manifest=self.load.manifest_ref.uri,
            **self._told(),
        )  # fmt: skip

    def _told(self) -> dict[str, Any]:
        """Return what the receipt says besides, for the sync log."""
        manifest, facts = self.load.manifest, self.load.manifest.source_facts
        lag_bytes, lag_seconds = facts.get("lag_bytes"), facts.get("lag_seconds")
        return {
            "reached": str(manifest.next_position), "target": str(self.load.target), "mode": manifest.mode.value,
            "capture": manifest.next_position.capture, "started_at": manifest.created_at or None,
            "bytes": manifest.size, "files": len(manifest.files), "consistent": manifest.consistent,
            "lag_bytes": int(lag_bytes) if lag_bytes else None,
            "lag_seconds": float(lag_seconds) if lag_seconds else None,
        }  # fmt: skip

    def stale(self) -> StaleLoadError:
        """Return the error for a checkpoint that has moved."""
        manifest = self.load.manifest
        return StaleLoadError(
            f"Load {manifest.load_id} of {manifest.stream} was extracted from checkpoint version "
            f"{manifest.base_version}, which is no longer the current one: another load of this stream was merged "
            "since.",
            hint="clear the load from its extract task on",
        )

    def unexpected(self, step: Step, rows: int) -> DataError:
        """Return the error for deletes that were not as many as the comparison found."""
        return DataError(
            f"{self.load.target}: {step.expect or 0:,} rows were to go, {rows:,} would have gone.",
            hint="nothing was merged; see whether a trigger or rule of the target changes deletes, or who else "
            "writes to it",
        )

    # --- the plan ---

    @cached_property
    def _verify(self) -> Verification:
        """The questions, once target and rows were put to the test; about the rows that can be taken."""
        kind = self.writes.history_type if self.load.mode is WriteMode.HISTORY else self.writes.sql_type
        sql = kind(self.dialect, self.load, self.types)
        builds_key = self.adopt is not None and self.load.mode is not WriteMode.APPEND
        verify = Verification(self.session, self.dialect, self.load, sql, self.changes, builds_key)
        verify.target()
        return verify.tested()

    @property
    def sql(self) -> MergeSql:
        """Writes the statements' text, for the rows that can be taken."""
        return self._verify.sql

    def plan(self) -> MergePlan:
        """Ask everything that has to be known, and return what is to be done.

        Rows that cannot be taken are set aside, where the load allows it.

        :raises DataError: when a check, a guard or the schema says no.
        """
        sql, nulled = self.sql, self._verify.nulled()
        if self.adopt:
            if sql.refused.rows:
                raise TypeError(f"{self.load.target}: rows are left out of a staging table that becomes the target")
            return MergePlan(counts=Counts(inserted=self.load.manifest.upserts), nulled=nulled)
        has_rows = bool(self._verify.number(sql.target_has_rows))
        writes = self.writes(sql)
        steps, counts = self._steps(writes, has_rows=has_rows)
        fills = (*writes.backfill(), *writes.renames()) if has_rows else ()
        return MergePlan((*fills, *steps), counts, nulled, sql.refused.rows)

    def _steps(self, writes: Writes, *, has_rows: bool) -> tuple[tuple[Step, ...], Counts]:
        manifest = self.load.manifest
        if self.load.mode is WriteMode.MERGE:
            return self._merge(writes, has_rows=has_rows), Counts()
        if self.load.mode is WriteMode.HISTORY:
            return self._versions(writes, has_rows=has_rows)
        if manifest.interval:
            return writes.interval(manifest.interval.start, manifest.interval.end), Counts()
        if self.load.mode is WriteMode.APPEND:
            return writes.append(), Counts()
        return self._replace(writes, has_rows=has_rows)

    def _merge(self, writes: Writes, *, has_rows: bool) -> tuple[Step, ...]:
        if not has_rows:
            return writes.insert()
        if self.load.deletes is DeleteMode.IGNORE or not (self.load.manifest.complete or self.load.manifest.takes_away):
            return writes.upsert() if self.sql.upserts else ()
        self._verify.emptying()
        if self.load.manifest.complete:
            found = self._verify.difference()
            self._verify.deletes(found.gone)
            return writes.apply(found)
        gone = self._verify.number(self.sql.count_gone())
        self._verify.deletes(gone)
        return writes.changes(gone)

    def _versions(self, writes: Writes, *, has_rows: bool) -> tuple[tuple[Step, ...], Counts]:
        sql = self.sql
        if not isinstance(sql, HistorySql):
            raise TypeError(type(sql))
        if not has_rows and sql.single and writes.first_at_once:
            return writes.first_versions() if sql.upserts else (), Counts()
        if self.load.deletes is not DeleteMode.IGNORE and self._verify.number(sql.count_target):
            self._verify.emptying()
        gone = self._verify.number(sql.count_gone()) if sql.takes_away else 0
        found = self._verify.versions()
        self._verify.deletes(gone + found.gone)
        return writes.versions(found, gone), Counts(deleted=found.closed)

    def _replace(self, writes: Writes, *, has_rows: bool) -> tuple[tuple[Step, ...], Counts]:
        if not has_rows:
            return writes.insert(), Counts()
        self._verify.emptying()
        sql = self.sql
        if not sql.key:
            return writes.exchange(), Counts()
        rows, found = sql.upserts, self._verify.difference()
        if self.exchangeable and set(self.types) == set(sql.names) and found.changed > rows * _EXCHANGE_SHARE:
            return writes.exchange(counted=False), Counts(found.new, found.changed, found.gone)
        if self._verify.number(sql.count_target) - found.gone + found.new != rows:
            return writes.exchange(), Counts()  # the target had a key twice
        return writes.apply(found), Counts()


def receipt_row(receipt: Receipt) -> tuple[Any, ...]:
    """Return the values that :meth:`Dialect.insert_receipt` binds."""
    return (
        receipt.load_id, receipt.run_key, receipt.stream, receipt.version, receipt.extracted, receipt.inserted,
        receipt.updated, receipt.deleted, json.dumps(receipt.to_json(), ensure_ascii=False),
    )  # fmt: skip
