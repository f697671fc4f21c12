"""From what is to become of the target to the statements that do it."""

from __future__ import annotations

from typing import ClassVar

from airflow_elt_provider.core.history_sql import HistorySql, Versions
from airflow_elt_provider.core.merge_sql import MergeSql
from airflow_elt_provider.core.modes import WriteMode
from airflow_elt_provider.core.steps import Difference, Effect, Step


class Writes:
    """The statements of one load: UPDATE, INSERT and DELETE, which every transactional system has.

    :cvar sql_type: writes the statements' text.
    :cvar history_type: writes it for a target with history.
    :cvar first_at_once: whether a target that had no rows a moment ago has none when they are written.
    """

    first_at_once: ClassVar[bool] = True

    sql_type: ClassVar[type[MergeSql]] = MergeSql
    history_type: ClassVar[type[HistorySql]] = HistorySql

    def __init__(self, sql: MergeSql) -> None:
        self._sql = sql
        self._load = sql.load

    def backfill(self) -> tuple[Step, ...]:
        """Rows from before a column was added get the value that the source gives them."""
        return tuple(
            Step(self._sql.backfill(column), (value,) * self._sql.backfill_binds(column))
            for column, value in self._load.manifest.backfill.items()
            if column in self._sql.types and not (value is None and self._load.mode is WriteMode.APPEND)
        )

    def renames(self) -> tuple[Step, ...]:
        """Rows from before a column was renamed get the value that they have under the old name."""
        return tuple(Step(self._sql.fill_renamed(*pair)) for pair in self._sql.renamed)

    def insert(self) -> tuple[Step, ...]:
        """Every staged row becomes a row."""
        return (Step(self._sql.insert(only_new=False), effect=Effect.INSERTED),)

    def append(self) -> tuple[Step, ...]:
        """Every staged row becomes a row, and the rows of the loads that this one takes the place of go."""
        gone = (Step(self._sql.delete_replaced(), (load,), Effect.DELETED) for load in self._load.manifest.replaces)
        return (*gone, *self.insert())

    def interval(self, start: str, end: str) -> tuple[Step, ...]:
        """The staged rows take the place of the interval's."""
        return (Step(self._sql.delete_interval(), (start, end), Effect.DELETED), *self.insert())

    def exchange(self, *, counted: bool = True) -> tuple[Step, ...]:
        """The staged rows take the place of all others.

        :param counted: whether the rows count as deleted and inserted; else the caller knows what changed.
        """
        if not counted:
            return (Step(self._sql.delete_all()), Step(self._sql.insert(only_new=False)))
        return (Step(self._sql.delete_all(), effect=Effect.DELETED), *self.insert())

    def upsert(self) -> tuple[Step, ...]:
        """Rows of a known key are updated where they differ, others inserted."""
        update = self._sql.update()
        changed = (Step(update, effect=Effect.UPDATED),) if update else ()
        return (*changed, Step(self._sql.insert(only_new=True), effect=Effect.INSERTED))

    def apply(self, found: Difference) -> tuple[Step, ...]:
        """A complete load's differences, row by row: rows that stay keep what points at them, and writes stay few."""
        steps = list(self._delete_gone(found))
        update = self._sql.update()
        if found.changed and update:
            steps.append(Step(update, effect=Effect.UPDATED))
        if found.new:
            steps.append(Step(self._sql.insert(only_new=True), effect=Effect.INSERTED))
        return tuple(steps)

    def changes(self, gone: int) -> tuple[Step, ...]:
        """A load of changes: ``gone`` rows go, then the others come."""
        return (*self._delete_gone(Difference(0, gone, 0)), *(self.upsert() if self._sql.upserts else ()))

    # --- versions ---

    @property
    def _history(self) -> HistorySql:
        if not isinstance(self._sql, HistorySql):
            raise TypeError(type(self._sql))
        return self._sql

    def first_versions(self) -> tuple[Step, ...]:
        """Every staged row becomes a version of an empty target."""
        return (Step(self._history.insert_first(), effect=Effect.INSERTED),)

    def versions(self, found: Versions[int], gone: int) -> tuple[Step, ...]:
        """Staged rows become versions, and ``gone`` current ones end with their rows. Deletes are not counted."""
        sql, steps = self._history, list(self._delete_gone(Difference(0, gone, 0)))
        # A column that is filled in first changes what there is to do.
        filled = self._sql.fills
        if found.new or filled:
            steps.append(Step(sql.insert_versions(), effect=Effect.INSERTED, expect=None if filled else found.new))
        if (found.corrected or filled) and (correct := sql.correct_versions()):
            steps.append(Step(correct, effect=Effect.UPDATED, expect=None if filled else found.corrected))
        if found.moved or filled:
            steps.append(Step(sql.move_ends(), expect=None if filled else found.moved))
        return tuple(steps)

    def _delete_gone(self, found: Difference) -> tuple[Step, ...]:
        # Before the others: a row of another key may take over what has to be unique.
        return (Step(self._sql.delete_gone(), effect=Effect.DELETED, expect=found.gone),) if found.gone else ()


class MergeWrites(Writes):
    """The same with MERGE, which reads the target once.

    :cvar deletes_by_source: whether the system's MERGE has ``WHEN NOT MATCHED BY SOURCE``.
    """

    deletes_by_source: ClassVar[bool] = False

    def upsert(self) -> tuple[Step, ...]:
        """One MERGE."""
        return (Step(self._sql.merge(), effect=Effect.MERGED),)

    def apply(self, found: Difference) -> tuple[Step, ...]:
        """One MERGE, after a DELETE where MERGE cannot delete."""
        if self.deletes_by_source and not self._sql.keeps_refused:
            steps = (Step(self._sql.merge(deletes=True), effect=Effect.MERGED),)
            return steps if any(found) else ()
        return (*self._delete_gone(found), *(self.upsert() if found.new or found.changed else ()))
