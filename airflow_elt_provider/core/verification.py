"""What is asked before a merge writes: nothing that is doubtful gets as far as the target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from airflow_elt_provider.core.checks import RowCheck, RowCount
from airflow_elt_provider.core.dialect import Dialect, Sql
from airflow_elt_provider.core.drift import DriftAction, SchemaChange
from airflow_elt_provider.core.history_sql import HistorySql, Versions
from airflow_elt_provider.core.load import Load
from airflow_elt_provider.core.merge_sql import MergeSql
from airflow_elt_provider.core.modes import WriteMode
from airflow_elt_provider.core.plan import Merging
from airflow_elt_provider.core.quarantine import RefusedRow
from airflow_elt_provider.core.question_sql import row_count_problem
from airflow_elt_provider.core.staged_sql import NEEDS_DDL, Refusal, Refused
from airflow_elt_provider.core.state import Session
from airflow_elt_provider.core.steps import Difference
from airflow_elt_provider.errors import DataError, DeleteRatioError, QuarantineExceededError, TransientError

_SHOWN: Final = 3


@dataclass(frozen=True)
class Verification:
    """The questions of one load, each a query whose answer must be as expected.

    :param builds_key: whether the merge ends with building the target's key, which finds by itself what breaks it.
    """

    session: Session
    dialect: Dialect
    load: Load
    sql: MergeSql
    changes: Sequence[SchemaChange]
    builds_key: bool = False

    @property
    def types(self) -> Mapping[str, str]:
        """Column -> type of the target."""
        return self.sql.types

    def number(self, sql: Sql) -> int:
        """Return the number that a query gives."""
        return int(self.session.query(sql)[0][0])

    def target(self) -> None:
        """See that the target's columns are what the load was prepared for.

        :raises DataError: when the interval's column is missing or has no order there.
        :raises TransientError: when somebody changed the target meanwhile.
        """
        self._interval()
        frozen = {change.column for change in self.changes if change.done is DriftAction.FREEZE}
        for column in self.load.manifest.schema.columns:
            current = self.types.get(column.name)
            if column.name in frozen:
                continue
            if current is None or self.dialect.fit(current, self.dialect.column_type(column)) in NEEDS_DDL:
                raise TransientError(
                    f"Column {column.name!r} of {self.load.target} changed to {current or 'nothing'} while load "
                    f"{self.load.load_id} was being merged; nothing was merged.",
                    hint="let the task retry; if it happens again, see what else alters this table",
                )

    def _interval(self) -> None:
        cursor = self.load.manifest.cursor
        if self.load.manifest.interval and cursor not in self.types:
            raise DataError(
                f"{self.load.target} has no column {cursor!r}, in which the interval is given.",
                hint="let the column be added: on_schema_drift={'added': 'evolve'}",
            )
        if self.load.manifest.interval and not self.sql.cursor_is_ordered:
            raise DataError(
                f"{self.load.target} keeps the cursor {cursor!r} as text, in which 10 comes before 9: an interval of "
                "it cannot be told there.",
                hint=f"give the column a type that the target has, e.g. column_types={{{cursor!r}: 'decimal(38,9)'}}, "
                "and load it anew",
            )

    def tested(self) -> Verification:
        """Put the rows to the test, and return the questions about those that can be taken.

        The others, where the load may set rows aside, lie in a file beside it from then on.

        :raises DataError: says what is wrong, and with how many rows.
        :raises QuarantineExceededError: when more rows would be set aside than the load allows.
        """
        self._count()
        if self.sql.has_partial:
            self._refuse_orphans(self.number(self.sql.count_orphans()))
        refusals = (*self._keys(), *self._frozen(), *self._checks())
        verify = self._set_aside(refusals) if refusals else self
        refuse_count(self.load.merging, verify.sql.upserts)
        return verify

    def _count(self) -> None:
        staged = self.number(self.sql.count_staged)
        if staged != self.load.manifest.rows:
            where = ", ".join(self.load.staging_tables) or self.load.manifest_ref.uri
            raise DataError(
                f"{where} has {staged:,} rows, the manifest lists {self.load.manifest.rows:,}.",
                hint="clear the load from its stage task on",
            )

    def _keys(self) -> list[Refusal]:
        return [] if self.builds_key else self.broken_key()

    def broken_key(self) -> list[Refusal]:
        """Return the refusals of rows without a key of their own. :raises DataError: where none may be set aside."""
        if not (self.sql.key and self.sql.asks_key):
            return []
        key, problems = ", ".join(self.sql.key), self.sql.key_problems()
        found = [self._found(f"primary_key {key}: %s {what}", sql, refusal) for what, sql, refusal in problems]
        return [refusal for refusal in found if refusal]

    def _frozen(self) -> list[Refusal]:
        found = []
        for column in filter(self.sql.is_frozen, self.sql.columns):
            message = f"column {column.name!r} is frozen as {self.types[column.name]}: %s values do not fit"
            # A key that does not fit could be taken for another one, which does.
            aside = None if column.name in self.sql.key else self.sql.unfit(column)
            found.append(self._found(message, self.sql.lossy(column), aside))
        return [refusal for refusal in found if refusal]

    def _checks(self) -> list[Refusal]:
        found = []
        for check in self.load.merging.checks:
            if isinstance(check, RowCount):
                continue
            aside = self.sql.violating(check) if isinstance(check, RowCheck) and check.quarantine else None
            found.append(self._found(f"check {check}: %s violations", self.sql.violations(check), aside))
        return [refusal for refusal in found if refusal]

    def _found(self, message: str, question: Sql, refusal: Refusal | None) -> Refusal | None:
        """Return the refusal of rows that are to be set aside; None where nothing is wrong."""
        count = self.number(question)
        if count and refusal and self.load.sets_aside:
            return refusal
        self._refuse(message, count)
        return None

    # --- rows that are set aside ---

    def _set_aside(self, refusals: tuple[Refusal, ...]) -> Verification:
        limit, before = self.load.merging.guards.max_quarantined_rows, self.load.manifest.quarantined
        left = max(limit - before, 0)
        asking = replace(self.sql, refused=Refused(refusals))
        rows = [self._refused_row(refusals, *row) for row in self.session.query(asking.refused_rows(left + 1))]
        if self.load.set_aside is None:
            raise TypeError(self.load.set_aside)
        uri = self.load.set_aside(rows)
        if len(rows) > left:
            extracted = f"the extract set {before:,} aside, and " if before else ""
            raise QuarantineExceededError(
                f"{self.load.target}: more than max_quarantined_rows={limit} rows cannot be taken: {extracted}"
                f"{'; '.join(map(str, rows[:_SHOWN]))}. Nothing was merged.",
                hint=f"correct them at the source, or raise max_quarantined_rows; see {uri}",
            )
        return replace(self, sql=replace(self.sql, refused=Refused(refusals, len(rows))))

    def _refused_row(self, refusals: Sequence[Refusal], first: int, *texts: str | None) -> RefusedRow:
        refusal, manifest = refusals[int(first)], self.load.manifest
        values = dict(zip(manifest.schema.names, texts, strict=True))
        return RefusedRow(refusal.reason, refusal.column, manifest.source, values)

    def _refuse_orphans(self, count: int) -> None:
        if count:
            raise DataError(
                f"{self.load.target}: {count:,} rows were updated whose large values the log does not repeat, and the "
                "target has no such rows to take them from; nothing was merged.",
                hint="somebody deleted rows of the target: run once with full_refresh=True",
            )

    def _refuse(self, message: str, count: int) -> None:
        if count:
            raise DataError(
                f"{self.load.target}: {message % f'{count:,}'}; nothing was merged.",
                hint="correct the rows at the source, or the setting, and clear the load from its extract task on",
            )

    def nulled(self) -> dict[str, int]:
        """Return how many values of each column the destination will hold as NULL for want of an equal."""
        asked = [column for column in self.sql.columns if self.load.manifest.has_exact or self.dialect.parses(column)]
        if not asked:
            return {}
        counts = self.session.query(self.sql.nulled(asked))[0]
        nulled = {column.name: int(count) for column, count in zip(asked, counts, strict=True) if count}
        for name in self.sql.key if self.load.mode.needs_key else ():
            self._refuse(f"the key {name!r} has %s values that the destination cannot hold", nulled.get(name, 0))
        return nulled

    def difference(self) -> Difference:
        """Return how a complete load differs from the target."""
        found = Difference(*map(int, self.session.query(self.sql.compare())[0]))
        return found._replace(gone=self.number(self.sql.count_gone())) if self.sql.keeps_refused else found

    def versions(self) -> Versions[int]:
        """Return what a load makes of the versions of a target with history."""
        if not isinstance(self.sql, HistorySql):
            raise TypeError(type(self.sql))
        if not self.sql.tells:
            return Versions(0, 0, 0, 0, 0)
        return Versions(*map(int, self.session.query(self.sql.count_versions())[0]))

    def deletes(self, gone: int) -> None:
        """Refuse to delete more than the guards allow.

        :raises DeleteRatioError: gives both numbers.
        """
        guards = self.load.merging.guards
        if gone < max(guards.min_deletes_for_ratio, 1):
            return
        total = self.number(self.sql.count_target)
        if gone > guards.max_delete_ratio * total:
            raise DeleteRatioError(
                f"{self.load.target}: {gone:,} of {total:,} rows are gone from the source, more than "
                f"max_delete_ratio={guards.max_delete_ratio} allows; nothing was merged.",
                hint="see whether the source is the right one and readable in full; if so raise max_delete_ratio once",
            )

    def emptying(self) -> None:
        """Refuse a load without rows in the place of a target with some.

        :raises DataError: names the setting that allows it.
        """
        manifest = self.load.manifest
        replaces = self.load.mode is WriteMode.REPLACE
        rows = self.sql.upserts if replaces else manifest.upserts
        empty = manifest.source_rows == 0 or ((manifest.complete or replaces) and not rows)
        if empty and not self.load.merging.guards.allow_empty:
            raise DataError(
                f"{self.load.target}: the source has no rows, the target has; nothing was merged.",
                hint="if the source is really empty, set allow_empty=True",
            )


def refuse_count(merging: Merging, rows: int) -> None:
    """Hold the number of a load's rows against the checks, which a load of no rows may fail too.

    :raises DataError: names the bound.
    """
    for check in merging.checks:
        problem = row_count_problem(check, rows) if isinstance(check, RowCount) else ""
        if problem:
            raise DataError(f"{merging.target}: {problem}.", hint="nothing was merged; look at the source")
