"""The merge: what happens, in which order, inside one transaction of the destination.

The caller opens the transaction, commits it when :func:`publish` returns and rolls it back when it raises; it also
holds whatever lock keeps other writers of the same target away.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from airflow_elt_provider.core.checkpoint import Checkpoint, Position
from airflow_elt_provider.core.checks import RowCount
from airflow_elt_provider.core.dialect import Dialect, Fit, Sql
from airflow_elt_provider.core.drift import DriftAction, SchemaChange
from airflow_elt_provider.core.load import Load
from airflow_elt_provider.core.merge_sql import MergeSql, row_count_problem
from airflow_elt_provider.core.modes import DeleteMode, WriteMode
from airflow_elt_provider.core.receipt import Receipt
from airflow_elt_provider.errors import (
    DataError,
    DeleteRatioError,
    StaleLoadError,
    TransientError,
)


class Session(Protocol):
    """An open transaction."""

    def execute(self, sql: Sql, params: Sequence[Any] = ()) -> int:
        """Run a statement and return how many rows it changed."""

    def query(self, sql: Sql, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run a query and return its rows (few)."""


@dataclass
class _Counts:
    inserted: int = 0
    updated: int = 0
    deleted: int = 0
    nulled: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Publication:
    """One load's merge.

    :param types: column -> type of the target as this transaction sees it.
    :param changes: what :meth:`Destination.prepare` did to the target's schema.
    """

    session: Session
    dialect: Dialect
    load: Load
    types: Mapping[str, str]
    changes: Sequence[SchemaChange] = ()

    def run(self) -> Receipt:
        """Merge the load, or return the receipt that it has already.

        :raises StaleLoadError: when the stream moved on since the load was extracted.
        :raises DataError: when a check, a guard or the schema says no.
        """
        known = read_receipt(self.session, self.dialect, self.load.load_id)
        if known:
            return known
        self._move_checkpoint()
        sql = MergeSql(self.dialect, self.load, self.types)
        self._verify_target()
        self._verify_rows(sql)
        counts = _Counts()
        self._count_nulled(sql, counts)
        self._write(sql, counts)
        return self._write_receipt(counts)

    # --- state ---

    def _move_checkpoint(self) -> None:
        manifest = self.load.manifest
        base = manifest.base_version
        if base is None:
            return
        position = json.dumps(manifest.next_position.to_json(), ensure_ascii=False)
        if base == 0:
            first = (manifest.stream, 1, manifest.load_id, position)
            moved = self.session.execute(self.dialect.insert_checkpoint(), first)
        else:
            values = (base + 1, manifest.load_id, position, manifest.stream, base)
            moved = self.session.execute(self.dialect.move_checkpoint(), values)
        if moved != 1:
            raise StaleLoadError(
                f"Load {manifest.load_id} of {manifest.stream} was extracted from checkpoint version {base}, "
                "which is no longer the current one: another load of this stream was merged since.",
                hint="clear the load from its extract task on",
            )

    def _write_receipt(self, counts: _Counts) -> Receipt:
        manifest = self.load.manifest
        receipt = Receipt(
            load_id=manifest.load_id, run_key=manifest.run_key, stream=manifest.stream,
            version=None if manifest.base_version is None else manifest.base_version + 1,
            extracted=manifest.rows, inserted=counts.inserted, updated=counts.updated, deleted=counts.deleted,
            nulled=counts.nulled, schema_changes=tuple(change.to_json() for change in self.changes),
            base_position=manifest.base_position, position=manifest.next_position, manifest=self.load.manifest_ref.uri,
        )  # fmt: skip
        row = (
            receipt.load_id, receipt.run_key, receipt.stream, receipt.version, receipt.extracted, receipt.inserted,
            receipt.updated, receipt.deleted, json.dumps(receipt.to_json(), ensure_ascii=False),
        )  # fmt: skip
        self.session.execute(self.dialect.insert_receipt(), row)
        return receipt

    # --- before anything is written ---

    def _verify_target(self) -> None:
        cursor = self.load.manifest.cursor
        if self.load.manifest.interval and cursor not in self.types:
            raise DataError(
                f"{self.load.target} has no column {cursor!r}, in which the interval is given.",
                hint="let the column be added: on_schema_drift={'added': 'evolve'}",
            )
        frozen = {change.column for change in self.changes if change.done is DriftAction.FREEZE}
        for column in self.load.manifest.schema.columns:
            current = self.types.get(column.name)
            if column.name in frozen:
                continue
            if current is None or self.dialect.fit(current, self.dialect.column_type(column)) in _NEEDS_DDL:
                raise TransientError(
                    f"Column {column.name!r} of {self.load.target} changed to {current or 'nothing'} while load "
                    f"{self.load.load_id} was being merged; nothing was merged.",
                    hint="let the task retry; if it happens again, see what else alters this table",
                )

    def _verify_rows(self, sql: MergeSql) -> None:
        staged = self._number(sql.count_staged)
        if staged != self.load.manifest.rows:
            raise DataError(
                f"{self.load.staging or self.load.manifest_ref.uri} has {staged:,} rows, the manifest lists "
                f"{self.load.manifest.rows:,}.", hint="clear the load from its stage task on",
            )  # fmt: skip
        if sql.key and not self.load.manifest.schema.key_enforced and self.load.mode is not WriteMode.APPEND:
            for problem, question in sql.key_problems():
                self._refuse(f"primary_key {', '.join(sql.key)}: %s {problem}", self._number(question))
        for column in sql.columns:
            if self._may_lose(column.name, self.dialect.column_type(column)):
                message = f"column {column.name!r} is frozen as {self.types[column.name]}: %s values do not fit"
                self._refuse(message, self._number(sql.lossy(column)))
        for check in self.load.merging.checks:
            if isinstance(check, RowCount):
                problem = row_count_problem(check, staged)
                if problem:
                    raise DataError(f"{self.load.target}: {problem}.", hint="nothing was merged; look at the source")
            else:
                self._refuse(f"check {check}: %s violations", self._number(sql.violations(check)))

    def _may_lose(self, name: str, arriving: str) -> bool:
        return self.dialect.fit(self.types[name], arriving) in _NEEDS_DDL

    def _refuse(self, message: str, count: int) -> None:
        if count:
            raise DataError(
                f"{self.load.target}: {message % f'{count:,}'}; nothing was merged.",
                hint="correct the rows at the source, or the setting, and clear the load from its extract task on",
            )

    def _count_nulled(self, sql: MergeSql, counts: _Counts) -> None:
        if self.load.manifest.has_exact:
            found = {column.name: self._number(sql.nulled(column)) for column in sql.columns}
            counts.nulled.update({name: count for name, count in found.items() if count})

    # --- the rows ---

    def _write(self, sql: MergeSql, counts: _Counts) -> None:
        has_rows = bool(self._number(sql.target_has_rows))
        if has_rows:
            for column, value in self.load.manifest.backfill.items():
                if column in self.types:
                    self.session.execute(sql.backfill(column), (value,))
        if self.load.mode is WriteMode.MERGE:
            self._merge(sql, counts, has_rows=has_rows)
        elif self.load.manifest.interval:
            interval = self.load.manifest.interval
            counts.deleted += self.session.execute(sql.delete_interval(), (interval.start, interval.end))
            counts.inserted += self.session.execute(sql.insert(only_new=False))
        elif self.load.mode is WriteMode.APPEND:
            for replaced in self.load.manifest.replaces:
                counts.deleted += self.session.execute(sql.delete_replaced(), (replaced,))
            counts.inserted += self.session.execute(sql.insert(only_new=False))
        else:
            self._replace(sql, counts, has_rows=has_rows)

    def _merge(self, sql: MergeSql, counts: _Counts, *, has_rows: bool) -> None:
        if not has_rows:
            counts.inserted += self.session.execute(sql.insert(only_new=False))
            return
        if self.load.manifest.rows:
            self._upsert(sql, counts)
        if self.load.deletes is not DeleteMode.IGNORE and self.load.manifest.complete:
            self._guard_deletes(sql)
            counts.deleted += self.session.execute(sql.delete_gone())

    def _upsert(self, sql: MergeSql, counts: _Counts) -> None:
        update = sql.update()
        if update:
            counts.updated += self.session.execute(update)
        counts.inserted += self.session.execute(sql.insert(only_new=True))

    def _guard_deletes(self, sql: MergeSql) -> None:
        gone, total = self._number(sql.count_gone()), self._number(sql.count_target)
        guards = self.load.merging.guards
        if gone >= guards.min_deletes_for_ratio and gone > guards.max_delete_ratio * total:
            raise DeleteRatioError(
                f"{self.load.target}: {gone:,} of {total:,} rows are gone from the source, more than "
                f"max_delete_ratio={guards.max_delete_ratio} allows; nothing was merged.",
                hint="see whether the source is the right one and readable in full; if so raise max_delete_ratio once",
            )

    def _replace(self, sql: MergeSql, counts: _Counts, *, has_rows: bool) -> None:
        rows = self.load.manifest.rows
        if has_rows and not rows and not self.load.merging.guards.allow_empty:
            raise DataError(
                f"{self.load.target}: the source has no rows, the target has; nothing was replaced.",
                hint="if the source is really empty, set allow_empty=True",
            )
        if has_rows and sql.key:
            # Row by row, so that rows which stay keep the foreign keys that point at them, and writes stay few.
            counts.deleted += self.session.execute(sql.delete_gone())
            self._upsert(sql, counts)
            if self._number(sql.count_target) == rows:
                return
            counts.deleted -= counts.inserted  # the target had a key twice: exchange everything, new rows too
            counts.updated = 0
        if has_rows:
            counts.deleted += self.session.execute(sql.delete_all())
        counts.inserted = self.session.execute(sql.insert(only_new=False))

    def _number(self, sql: Sql) -> int:
        return int(self.session.query(sql)[0][0])


_NEEDS_DDL = frozenset({Fit.WIDENS, Fit.CONFLICTS})


def read_receipt(session: Session, dialect: Dialect, load_id: str) -> Receipt | None:
    """Return the receipt of a load, if it was merged."""
    rows = session.query(dialect.select_receipt(), (load_id,))
    return Receipt.from_json(json.loads(rows[0][0])) if rows else None


def read_receipts(session: Session, dialect: Dialect, stream: str, run_key: str | None = None) -> list[Receipt]:
    """Return the receipts of a stream, of one run where ``run_key`` is given; oldest first."""
    bound = (stream,) if run_key is None else (stream, run_key)
    rows = session.query(dialect.select_receipts(of_run=run_key is not None), bound)
    return [Receipt.from_json(json.loads(row[0])) for row in rows]


def read_checkpoint(session: Session, dialect: Dialect, stream: str) -> Checkpoint | None:
    """Return a stream's checkpoint, if it has one."""
    for name, version, load_id, position in session.query(dialect.select_checkpoint(), (stream,)):
        known = json.loads(position)
        return Checkpoint(name, version, load_id, Position.from_json(known) if known else None)
    return None
