"""The merge: what happens, in which order, inside one transaction of the destination.

The caller opens the transaction, commits it when :meth:`Publication.run` returns and rolls it back when it raises; it
also holds whatever lock keeps other writers of the same target away.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from airflow_elt_provider.core.checks import RowCount
from airflow_elt_provider.core.dialect import Dialect, Fit, Sql
from airflow_elt_provider.core.drift import DriftAction, SchemaChange
from airflow_elt_provider.core.load import Load
from airflow_elt_provider.core.merge_sql import MergeSql, row_count_problem
from airflow_elt_provider.core.modes import DeleteMode, WriteMode
from airflow_elt_provider.core.plan import Merging
from airflow_elt_provider.core.receipt import Receipt
from airflow_elt_provider.core.state import Session, read_receipt
from airflow_elt_provider.errors import DataError, DeleteRatioError, StaleLoadError, TransientError


@dataclass
class _Counts:
    inserted: int = 0
    updated: int = 0
    deleted: int = 0
    nulled: dict[str, int] = field(default_factory=dict)


class _Difference(NamedTuple):
    """How a complete load differs from the target, in rows."""

    new: int
    gone: int
    changed: int


@dataclass(frozen=True)
class Publication:
    """One load's merge.

    :param types: column -> type of the target as this transaction sees it.
    :param changes: what :meth:`Destination.prepare` did to the target's schema.
    :param adopt: where there is no target yet: makes the staging table the target.
    :param exchangeable: whether deleting and inserting a row again is as good as updating it: no foreign key points
        at the target, no trigger listens.
    """

    session: Session
    dialect: Dialect
    load: Load
    types: Mapping[str, str]
    changes: Sequence[SchemaChange] = ()
    adopt: Callable[[], None] | None = None
    exchangeable: bool = False

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
        if self.load.manifest.interval and not MergeSql(self.dialect, self.load, self.types).cursor_is_ordered:
            raise DataError(
                f"{self.load.target} keeps the cursor {cursor!r} as text, in which 10 comes before 9: an interval of "
                "it cannot be told there.",
                hint=f"give the column a type that the target has, e.g. column_types={{{cursor!r}: 'decimal(38,9)'}}, "
                "and load it anew",
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
        refuse_count(self.load.merging, staged)
        for check in self.load.merging.checks:
            if not isinstance(check, RowCount):
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
        if self.adopt:
            self.adopt()
            counts.inserted = self.load.manifest.rows
            return
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
        elif self.load.deletes is not DeleteMode.IGNORE and self.load.manifest.complete:
            self._refuse_emptying()
            found = self._compare(sql)
            self._guard_deletes(sql, found.gone)
            self._apply(sql, counts, found)
        elif self.load.manifest.rows:
            self._upsert(sql, counts)

    def _compare(self, sql: MergeSql) -> _Difference:
        return _Difference(*map(int, self.session.query(sql.compare())[0]))

    def _apply(self, sql: MergeSql, counts: _Counts, found: _Difference) -> None:
        """Change the target row by row, so that rows which stay keep what points at them, and writes stay few."""
        before = counts.deleted
        if found.gone:  # before the others: a row of another key may take over what has to be unique
            counts.deleted += self.session.execute(sql.delete_gone())
        if counts.deleted - before != found.gone:
            raise DataError(
                f"{self.load.target}: {found.gone:,} rows were to go, {counts.deleted - before:,} would have gone.",
                hint="nothing was merged; see whether a trigger or rule of the target changes deletes",
            )
        update = sql.update()
        if found.changed and update:
            counts.updated += self.session.execute(update)
        if found.new:
            counts.inserted += self.session.execute(sql.insert(only_new=True))

    def _upsert(self, sql: MergeSql, counts: _Counts) -> None:
        update = sql.update()
        if update:
            counts.updated += self.session.execute(update)
        counts.inserted += self.session.execute(sql.insert(only_new=True))

    def _guard_deletes(self, sql: MergeSql, gone: int) -> None:
        guards = self.load.merging.guards
        if gone < max(guards.min_deletes_for_ratio, 1):
            return
        total = self._number(sql.count_target)
        if gone > guards.max_delete_ratio * total:
            raise DeleteRatioError(
                f"{self.load.target}: {gone:,} of {total:,} rows are gone from the source, more than "
                f"max_delete_ratio={guards.max_delete_ratio} allows; nothing was merged.",
                hint="see whether the source is the right one and readable in full; if so raise max_delete_ratio once",
            )

    def _replace(self, sql: MergeSql, counts: _Counts, *, has_rows: bool) -> None:
        rows = self.load.manifest.rows
        if has_rows:
            self._refuse_emptying()
        if has_rows and sql.key:
            found = self._compare(sql)
            if self.exchangeable and set(self.types) == set(sql.names) and found.changed > rows * _EXCHANGE_SHARE:
                self._exchange(sql)
                counts.inserted, counts.updated, counts.deleted = found.new, found.changed, found.gone
                return
            self._apply(sql, counts, found)
            if self._number(sql.count_target) == rows:
                return
            counts.deleted -= counts.inserted  # the target had a key twice: exchange everything, new rows too
            counts.updated = 0
        if has_rows:
            counts.deleted += self.session.execute(sql.delete_all())
        counts.inserted = self.session.execute(sql.insert(only_new=False))

    def _refuse_emptying(self) -> None:
        if not self.load.manifest.rows and not self.load.merging.guards.allow_empty:
            raise DataError(
                f"{self.load.target}: the source has no rows, the target has; nothing was merged.",
                hint="if the source is really empty, set allow_empty=True",
            )

    def _exchange(self, sql: MergeSql) -> None:
        self.session.execute(sql.delete_all())
        self.session.execute(sql.insert(only_new=False))

    def _number(self, sql: Sql) -> int:
        return int(self.session.query(sql)[0][0])


def refuse_count(merging: Merging, rows: int) -> None:
    """Hold the number of a load's rows against the checks, which a load of no rows may fail too.

    :raises DataError: names the bound.
    """
    for check in merging.checks:
        problem = row_count_problem(check, rows) if isinstance(check, RowCount) else ""
        if problem:
            raise DataError(f"{merging.target}: {problem}.", hint="nothing was merged; look at the source")


_NEEDS_DDL: Final = frozenset({Fit.WIDENS, Fit.CONFLICTS})
_EXCHANGE_SHARE: Final = 0.3
"""From this share of changed rows on, deleting all and inserting all is faster than updating (PostgreSQL 18)."""
