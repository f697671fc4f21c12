"""What is asked before a merge writes: nothing that is doubtful gets as far as the target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from airflow_elt_provider.core.checks import RowCount
from airflow_elt_provider.core.dialect import Dialect, Fit, Sql
from airflow_elt_provider.core.drift import DriftAction, SchemaChange
from airflow_elt_provider.core.history_sql import HistorySql, Versions
from airflow_elt_provider.core.load import Load
from airflow_elt_provider.core.merge_sql import MergeSql, row_count_problem
from airflow_elt_provider.core.modes import WriteMode
from airflow_elt_provider.core.plan import Merging
from airflow_elt_provider.core.state import Session
from airflow_elt_provider.core.steps import Difference
from airflow_elt_provider.errors import DataError, DeleteRatioError, TransientError

_NEEDS_DDL: Final = frozenset({Fit.WIDENS, Fit.CONFLICTS})


@dataclass(frozen=True)
class Verification:
    """The questions of one load, each a query whose answer must be as expected."""

    session: Session
    dialect: Dialect
    load: Load
    sql: MergeSql
    changes: Sequence[SchemaChange]

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
            if current is None or self.dialect.fit(current, self.dialect.column_type(column)) in _NEEDS_DDL:
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

    def rows(self) -> None:
        """See that all rows are there, their key is one, and the user's checks hold.

        :raises DataError: says what is wrong, and with how many rows.
        """
        staged = self.number(self.sql.count_staged)
        if staged != self.load.manifest.rows:
            raise DataError(
                f"{self.load.staging or self.load.manifest_ref.uri} has {staged:,} rows, the manifest lists "
                f"{self.load.manifest.rows:,}.", hint="clear the load from its stage task on",
            )  # fmt: skip
        if self.sql.has_partial:
            self._refuse_orphans(self.number(self.sql.count_orphans()))
        if self.sql.key and self.sql.asks_key:
            for problem, question in self.sql.key_problems():
                self._refuse(f"primary_key {', '.join(self.sql.key)}: %s {problem}", self.number(question))
        for column in self.sql.columns:
            if self.dialect.fit(self.types[column.name], self.dialect.column_type(column)) in _NEEDS_DDL:
                message = f"column {column.name!r} is frozen as {self.types[column.name]}: %s values do not fit"
                self._refuse(message, self.number(self.sql.lossy(column)))
        refuse_count(self.load.merging, self.load.manifest.upserts)
        for check in self.load.merging.checks:
            if not isinstance(check, RowCount):
                self._refuse(f"check {check}: %s violations", self.number(self.sql.violations(check)))

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
        return {column.name: int(count) for column, count in zip(asked, counts, strict=True) if count}

    def difference(self) -> Difference:
        """Return how a complete load differs from the target."""
        return Difference(*map(int, self.session.query(self.sql.compare())[0]))

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
        whole = manifest.complete or self.load.mode is WriteMode.REPLACE
        empty = manifest.source_rows == 0 or (whole and not manifest.upserts)
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
