"""The one statement that changes a target: a single Delta commit, repeatable, and fenced.

*Repeatable*, because it may run twice: after a crash, and behind our back, since databricks-sql-connector sends a
statement again when the connection breaks before the answer came. So there is no plain INSERT.

*Fenced*, because it may run late: a worker that lost its claim, or a statement that the warehouse still held, must
change nothing. Its rows pass a condition that fails the statement once the stream's epoch is another one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Final

from airflow_elt_provider.connectors.databricks.names import literal
from airflow_elt_provider.core.dialect import Sql
from airflow_elt_provider.core.history_sql import HistorySql, Versions
from airflow_elt_provider.core.merge_sql import MergeSql
from airflow_elt_provider.core.modes import WriteMode
from airflow_elt_provider.core.steps import Counts, Difference, Effect, Step
from airflow_elt_provider.core.system_columns import DELETED_AT, LOAD_ID
from airflow_elt_provider.core.writes import Writes

EPOCH: Final = "\0epoch\0"
"""Stands in a statement for the epoch of the claim, which is known once the load has it. No SQL of a user holds it."""
FENCED: Final = "elt: another load has claimed this stream"
_GONE: Final = "_elt_gone"


@dataclass(frozen=True)
class KnownStep(Step):
    """A statement whose counts are known before it runs.

    :param counts: without the rows that ``gone`` counts.
    :param gone: asks how many rows it will delete.
    :param effects: asks how many rows it will insert, and how many it will update.
    """

    counts: Counts = field(default_factory=Counts)
    gone: Sql | None = None
    effects: Sql | None = None


@dataclass(frozen=True)
class DatabricksMergeSql(MergeSql):
    """Writes the SQL of one load.

    :param fenced: whether the staged rows are read for a statement that writes.
    """

    fenced: bool = False

    @property
    def staged(self) -> str:
        """The staged rows as the target would hold them, as a FROM item."""
        rows = super().staged
        return f"(SELECT * FROM {rows} _elt_q WHERE {self._fence})" if self.fenced else rows

    @property
    def _claimed(self) -> str:
        return f"FROM {self.dialect.checkpoints(self.load.manifest.stream)} WHERE epoch = {EPOCH}"

    @property
    def _fence(self) -> str:
        # Fails instead of giving no rows: an empty source would let REPLACE WHERE and NOT MATCHED BY SOURCE delete.
        return f"CASE WHEN (SELECT count(*) {self._claimed}) = 1 THEN true ELSE raise_error({literal(FENCED)}) END"

    def rows_of(self, load_ids: Sequence[str]) -> str:
        """Return the condition for the rows that these loads appended."""
        return f"{self.dialect.quote(LOAD_ID)} IN ({', '.join(map(literal, load_ids))})"

    def within(self, start: str, end: str) -> str:
        """Return the condition for the rows of an interval of the cursor."""
        name, type_ = self.load.manifest.cursor, self.types[self.load.manifest.cursor]
        cursor = self.dialect.quote(name)
        low, high = (self.dialect.cast(literal(bound), type_) for bound in (start, end))
        return f"{cursor} >= {low} AND {cursor} < {high}"

    def count_where(self, condition: str) -> Sql:
        """How many rows of the target fulfil a condition."""
        return Sql(f"SELECT count(*) FROM {self.target} WHERE {condition}")

    def replace_where(self, condition: str) -> Sql:
        """The staged rows take the place of those that fulfil a condition."""
        return Sql(f"INSERT INTO {self.target} REPLACE WHERE {condition} {self._in_order()}")

    def overwrite(self) -> Sql:
        """The staged rows take the place of all others; grants, properties and history stay."""
        return Sql(f"INSERT OVERWRITE {self.target} {self._in_order()}")

    def _in_order(self) -> str:
        """Return the query that gives every column of the target, in its order: neither form takes a list."""
        q, items = self.dialect.quote, []
        for name, type_ in self.types.items():
            value = f"_elt_s.{q(name)}" if name in self.names else f"CAST(NULL AS {type_})"
            items.append(f"{literal(self.load.load_id) if name == LOAD_ID else value} AS {q(name)}")
        return f"SELECT {', '.join(items)} FROM {replace(self, fenced=True).staged} _elt_s"

    def delete_where(self, condition: str) -> Sql:
        """A load without rows: those that fulfil a condition go."""
        return self._on_claim(condition, "WHEN MATCHED THEN DELETE")

    def mark_all(self) -> Sql:
        """A complete load without rows, with soft deletes: every row is marked."""
        mark = self.dialect.quote(DELETED_AT)
        return self._on_claim(f"_elt_t.{mark} IS NULL", f"WHEN MATCHED THEN UPDATE SET {mark} = {self.dialect.now}")

    def backfill_with(self, column: str, value: str | None) -> Sql:
        """Give the rows from before a column was added the value that the source gives them."""
        arriving, name = self.load.manifest.schema.column(column), self.dialect.quote(column)
        if value is None:
            return self._on_claim(
                f"{self._old} AND _elt_t.{name} IS NOT NULL", f"WHEN MATCHED THEN UPDATE SET {name} = NULL"
            )
        given = self.dialect.text_value(arriving, literal(value))
        if self.dialect.column_type(arriving) != self.types[column]:
            given = self.dialect.cast(given, self.types[column])
        rows = f"_elt_t.{name} IS NULL" if self.load.mode is WriteMode.APPEND else self._old
        return self._on_claim(rows, f"WHEN MATCHED THEN UPDATE SET {name} = {given}")

    def fill_renamed(self, new: str, old: str) -> Sql:
        """Give the rows from before a column was renamed the value that they have under the old name."""
        names = self.dialect.quote(new), f"_elt_t.{self.dialect.quote(old)}"
        value = self._of_old_name(new, old, names[1])
        condition = self.dialect.differ(f"_elt_t.{names[0]}", value)
        return self._on_claim(condition, f"WHEN MATCHED THEN UPDATE SET {names[0]} = {value}")

    @property
    def _old(self) -> str:
        """The condition for rows that get the value of a column that was added."""
        return "1 = 1"

    def _on_claim(self, condition: str, when: str) -> Sql:
        """Return a MERGE whose source is the claim itself: without it, nothing matches."""
        claim = f"(SELECT epoch AS _elt_epoch {self._claimed})"
        return Sql(f"MERGE INTO {self.target} AS _elt_t USING {claim} AS _elt_s ON {condition} {when}")

    def merge_changes(self, *, upserts: bool) -> Sql:
        """Update, insert, and delete or mark the rows that a load of changes takes away, in one statement.

        :param upserts: whether there are staged rows besides.
        """
        q, names = self.dialect.quote, self.names
        gone = ", ".join(
            f"{f'_elt_t.{q(name)}' if name in self.key else f'CAST(NULL AS {self.types[name]})'} AS {q(name)}"
            for name in names
        )
        rows = f"SELECT {gone}, true AS {_GONE} FROM {self.target} _elt_t WHERE {self._gone()}"
        if upserts:
            rows = f"SELECT {self.dialect.columns(names)}, false AS {_GONE} FROM {self.staged} _elt_s UNION ALL {rows}"
        mark = f"UPDATE SET {q(DELETED_AT)} = {self.dialect.now}" if self._soft else "DELETE"
        when = [f"WHEN MATCHED AND _elt_s.{_GONE} THEN {mark}"]
        if upserts and (differs := self._differs()):
            when.append(f"WHEN MATCHED AND ({differs}) THEN UPDATE SET {self._sets()}")
        if upserts:
            columns, values = self._inserted()
            when.append(f"WHEN NOT MATCHED AND NOT _elt_s.{_GONE} THEN INSERT ({columns}) VALUES ({values})")
        source = f"(SELECT * FROM ({rows}) _elt_q WHERE {self._fence})"
        return Sql(
            f"MERGE INTO {self.target} AS _elt_t USING {source} AS _elt_s ON {self._same_key()} {' '.join(when)}"
        )

    def effects(self) -> Sql:
        """How many staged rows are new, and how many will change a row: two numbers."""
        return self._effects_on(self.target)

    def upserted(self, version: int) -> Sql:
        """What an upsert made of a version of the target: how many rows were inserted, and how many updated."""
        return self._effects_on(f"{self.target} VERSION AS OF {version}")

    def _effects_on(self, table: str) -> Sql:
        key = self.dialect.quote(self.key[0])
        known = f"_elt_t.{key} IS NOT NULL AND ({self._differs() or 'false'}){self._newer()}"
        counted = ", ".join(map(self.dialect.count_if, (f"_elt_t.{key} IS NULL", known)))
        return Sql(f"SELECT {counted} FROM {self.staged} _elt_s LEFT JOIN {table} _elt_t ON {self._same_key()}")


@dataclass(frozen=True)
class DatabricksHistorySql(HistorySql, DatabricksMergeSql):
    """Writes the SQL of one load into a target with history."""

    def _source(self, rows: str) -> str:
        return f"(SELECT * FROM ({rows}) _elt_q WHERE {self._fence})"

    @property
    def _old(self) -> str:
        return self._current


class DatabricksWrites(Writes):
    """The statements of one load, at most one besides those that fill in a column that was added."""

    sql_type: ClassVar[type[MergeSql]] = DatabricksMergeSql
    history_type: ClassVar[type[HistorySql]] = DatabricksHistorySql
    first_at_once: ClassVar[bool] = False

    def __init__(self, sql: MergeSql) -> None:
        super().__init__(sql)
        if not isinstance(sql, DatabricksMergeSql):
            raise TypeError(type(sql))
        self._text = sql
        self._rows = sql.upserts

    def backfill(self) -> tuple[Step, ...]:
        """Rows from before a column was added get the value that the source gives them."""
        appends = self._load.mode is WriteMode.APPEND
        given = {
            name: value
            for name, value in self._load.manifest.backfill.items()
            if name in self._text.types and not (value is None and appends)
        }
        return tuple(Step(self._text.backfill_with(*each)) for each in given.items())

    def insert(self) -> tuple[Step, ...]:
        """Every staged row becomes a row of a target that has none."""
        if not self._rows:
            return ()
        merges = self._load.mode.needs_key
        sql = self._merge() if merges else self._text.overwrite()
        return (KnownStep(sql, counts=Counts(inserted=self._rows)),)

    def append(self) -> tuple[Step, ...]:
        """The staged rows become rows, in the place of those of the loads that this one takes the place of."""
        replaces = self._load.manifest.replaces
        gone = self._text.count_where(self._text.rows_of(replaces)) if replaces else None
        return self._exchange(self._text.rows_of((self._load.load_id, *replaces)), gone)

    def interval(self, start: str, end: str) -> tuple[Step, ...]:
        """The staged rows take the place of the interval's."""
        within = self._text.within(start, end)
        return self._exchange(within, self._text.count_where(within))

    def _exchange(self, condition: str, gone: Sql | None) -> tuple[Step, ...]:
        if self._rows:
            return (KnownStep(self._text.replace_where(condition), counts=Counts(inserted=self._rows), gone=gone),)
        return (KnownStep(self._text.delete_where(condition), gone=gone),) if gone else ()

    def exchange(self, *, counted: bool = True) -> tuple[Step, ...]:
        """The staged rows take the place of all others."""
        gone = self._text.count_target if counted else None
        if not self._rows:
            return (KnownStep(self._text.delete_where("true"), gone=gone),)
        counts = Counts(inserted=self._rows) if counted else Counts()
        return (KnownStep(self._text.overwrite(), counts=counts, gone=gone),)

    def upsert(self) -> tuple[Step, ...]:
        """One MERGE, which says itself how many rows it changed."""
        return (Step(self._merge(), effect=Effect.MERGED),)

    def apply(self, found: Difference) -> tuple[Step, ...]:
        """One MERGE that also takes away what is gone."""
        if not any(found):
            return ()
        counts = Counts(found.new, found.changed, found.gone)
        if found.gone and self._text.keeps_refused:  # NOT MATCHED BY SOURCE would take those for gone
            return (KnownStep(self._text.merge_changes(upserts=bool(self._rows)), counts=counts),)
        if self._rows:
            return (KnownStep(self._merge(deletes=bool(found.gone)), counts=counts),)
        soft = DELETED_AT in self._text.types
        return (KnownStep(self._text.mark_all() if soft else self._text.delete_where("true"), counts=counts),)

    def changes(self, gone: int) -> tuple[Step, ...]:
        """One MERGE for both kinds of changes: a key has one of them."""
        if not gone:
            return super().changes(gone)
        effects = self._text.effects() if self._rows else None
        sql = self._text.merge_changes(upserts=bool(self._rows))
        return (KnownStep(sql, counts=Counts(deleted=gone), effects=effects),)

    def versions(self, found: Versions[int], gone: int) -> tuple[Step, ...]:
        """One MERGE, which finds nothing to do when it comes again."""
        filled = self._text.fills  # by a statement that is yet to come, and changes the numbers
        if not (filled or gone or found.new or found.corrected or found.moved):
            return ()
        sql = self._history.merge_versions(gone=bool(gone))
        if filled:
            return (KnownStep(sql, counts=Counts(deleted=gone), effects=self._history.count_written()),)
        return (KnownStep(sql, counts=Counts(found.new, found.corrected, gone)),)

    def _merge(self, *, deletes: bool = False) -> Sql:
        return replace(self._text, fenced=True).merge(deletes=deletes)
