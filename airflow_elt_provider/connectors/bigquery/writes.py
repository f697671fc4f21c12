"""The statements of a merge, as far as BigQuery needs others.

UPDATE, INSERT and DELETE rather than MERGE: inside a script ``@@row_count`` is all that is known of a statement, and
of a MERGE it is the sum of what it inserted, updated and deleted. The receipt, which the same script writes, gives
each by itself. INSERT reads nothing of the target but its key, so that the difference in bytes is small.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from airflow_elt_provider.connectors.bigquery import types
from airflow_elt_provider.connectors.bigquery.dialect import BigQueryDialect
from airflow_elt_provider.core.dialect import Sql
from airflow_elt_provider.core.history_sql import HistorySql
from airflow_elt_provider.core.merge_sql import MergeSql
from airflow_elt_provider.core.modes import WriteMode
from airflow_elt_provider.core.schema import Column
from airflow_elt_provider.core.steps import Effect, Step
from airflow_elt_provider.core.writes import Writes


class BigQueryMergeSql(MergeSql):
    """Writes GoogleSQL: conversions know the type they come from, and DELETE has a WHERE.

    A table with ``require_partition_filter`` wants a condition on its partitions in every statement: one that is true
    of every row is added.
    """

    def _value(self, column: Column) -> str:
        own, arriving, type_ = self._own(column), self.dialect.column_type(column), self.types[column.name]
        value = types.converted(own, arriving, type_)
        if type_ == types.TEXT != arriving and self.load.manifest.has_exact:
            return f"COALESCE({value}, {self.dialect.exact_text(column)})"
        return value

    def _lossy(self, column: Column) -> str:
        own, arriving, type_ = self._own(column), self.dialect.column_type(column), self.types[column.name]
        there = types.converted(own, arriving, type_)
        if {types.type_name(arriving), types.type_name(type_)} <= types.NUMBERS:
            mine, back = own, types.converted(there, type_, arriving)
        else:
            mine, back = types.as_text(own, arriving), types.as_text(there, type_)
        return self.dialect.differ(mine, back)

    # --- partitions ---

    def _everywhere(self, alias: str = "") -> str:
        dialect = self.dialect
        return dialect.everywhere(alias) if isinstance(dialect, BigQueryDialect) else ""

    def _and_everywhere(self, sql: Sql, alias: str = "") -> Sql:
        """Add the condition to a statement that ends in one."""
        everywhere = self._everywhere(alias)
        return Sql(f"{sql} AND {everywhere}") if everywhere else sql

    def _in_partitions(self, sql: Sql, rest: str) -> Sql:
        """Let a query read the target with the condition; ``rest`` is what follows its name."""
        everywhere = self._everywhere()
        if not everywhere:
            return sql
        return Sql(sql.replace(f"{self.target}{rest}", f"(SELECT * FROM {self.target} WHERE {everywhere}){rest}"))

    @property
    def target_has_rows(self) -> Sql:
        """Whether the target has any row: 1 or 0."""
        return self._in_partitions(super().target_has_rows, " LIMIT")

    @property
    def count_target(self) -> Sql:
        """How many rows the target has."""
        return self._in_partitions(super().count_target, "")

    @property
    def before(self) -> str:
        """The target's rows as they were before the load, one for each key, as a FROM item."""
        everywhere = self._everywhere()
        return f"(SELECT * FROM {super().before} WHERE {everywhere})" if everywhere else super().before

    def count_gone(self) -> Sql:
        """How many rows of the target a load of changes takes away."""
        return self._and_everywhere(super().count_gone(), "_elt_t.")

    def compare(self) -> Sql:
        """How many rows of a complete load are new, gone from it, and changed: three numbers."""
        return self._in_partitions(super().compare(), " _elt_t")

    def update(self) -> Sql | None:
        """Rows of the same key that differ take the staged values; None where there is nothing but the key."""
        sql = super().update()
        return self._and_everywhere(sql, "_elt_t.") if sql else None

    def insert(self, *, only_new: bool) -> Sql:
        """Staged rows become rows of the target; with ``only_new``, those whose key the target has not."""
        return self._in_partitions(super().insert(only_new=only_new), " _elt_t")

    def delete_gone(self) -> Sql:
        """Delete, or mark, the rows of the target that are that the load takes away."""
        return self._and_everywhere(super().delete_gone(), "_elt_t.")

    def delete_all(self) -> Sql:
        """Delete every row; in a transaction, so that no reader sees the gap."""
        return Sql(f"DELETE FROM {self.target} WHERE {self._everywhere() or 'TRUE'}")

    def delete_interval(self) -> Sql:
        """Delete the rows of the interval: start and end bound."""
        return self._and_everywhere(super().delete_interval())

    def delete_replaced(self) -> Sql:
        """Delete the rows that an earlier load (bound) appended."""
        return self._and_everywhere(super().delete_replaced())

    def backfill(self, column: str) -> Sql:
        """Give the rows from before a column was added the value (bound) that the source gives them."""
        return self._and_everywhere(super().backfill(column))

    def fill_renamed(self, new: str, old: str) -> Sql:
        """Give the rows from before a column was renamed the value that they have under the old name."""
        return self._and_everywhere(super().fill_renamed(new, old))


@dataclass(frozen=True)
class BigQueryHistorySql(HistorySql, BigQueryMergeSql):
    """Writes the SQL of one load into a target with history."""

    @property
    def existing(self) -> str:
        """The target as a FROM item."""
        everywhere = self._everywhere()
        return f"(SELECT * FROM {self.target} WHERE {everywhere})" if everywhere else self.target

    def delete_gone(self) -> Sql:
        """End the current versions of rows that are gone."""
        return self._and_everywhere(super().delete_gone(), "_elt_t.")

    def _update(self, sets: list[str], condition: str) -> Sql:
        return self._and_everywhere(super()._update(sets, condition), "_elt_t.")


class BigQueryWrites(Writes):
    """The statements of one load.

    The questions are asked before the transaction: a target that was empty then may have rows by now.
    """

    sql_type: ClassVar[type[MergeSql]] = BigQueryMergeSql
    history_type: ClassVar[type[HistorySql]] = BigQueryHistorySql
    first_at_once: ClassVar[bool] = False

    def insert(self) -> tuple[Step, ...]:
        """Every staged row becomes a row; where the target is to mirror the load, none becomes a second one."""
        mirrors = self._load.mode is not WriteMode.APPEND and not self._load.manifest.interval
        if mirrors and not self._sql.key:
            return (Step(self._sql.delete_all(), effect=Effect.DELETED), *self._all())
        return self._new() if mirrors or self._load.mode is WriteMode.MERGE else self._all()

    def exchange(self, *, counted: bool = True) -> tuple[Step, ...]:
        """The staged rows take the place of all others."""
        if not counted:
            return super().exchange(counted=False)
        return (Step(self._sql.delete_all(), effect=Effect.DELETED), *self._all())

    def _all(self) -> tuple[Step, ...]:
        return (Step(self._sql.insert(only_new=False), effect=Effect.INSERTED),)

    def _new(self) -> tuple[Step, ...]:
        return (Step(self._sql.insert(only_new=True), effect=Effect.INSERTED),)
