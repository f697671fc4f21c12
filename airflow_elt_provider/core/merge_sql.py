"""The statements that turn staged rows into rows of the target, as text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from airflow_elt_provider.core.buckets import BucketKind, Buckets
from airflow_elt_provider.core.dialect import Sql
from airflow_elt_provider.core.drift import DriftAction, DriftClass
from airflow_elt_provider.core.modes import DeleteMode, WriteMode
from airflow_elt_provider.core.question_sql import QuestionSql
from airflow_elt_provider.core.schema import Column
from airflow_elt_provider.core.staged_file import Role
from airflow_elt_provider.core.system_columns import DELETED_AT, LOAD_ID


@dataclass(frozen=True)
class MergeSql(QuestionSql):
    """Writes the SQL of one load."""

    # --- changes ---

    def compare(self) -> Sql:
        """How many rows of a complete load are new, gone from it, and changed: three numbers.

        Rows of the target whose key is that of a row which is left out are among the second.
        """
        key, live = self.dialect.quote(self.key[0]), ""
        if self._soft:
            live = f" AND _elt_t.{self.dialect.quote(DELETED_AT)} IS NULL"
        both = f"_elt_t.{key} IS NOT NULL AND _elt_s.{key} IS NOT NULL"
        conditions = (
            f"_elt_t.{key} IS NULL", f"_elt_s.{key} IS NULL{live}", f"{both} AND ({self._differs() or 'false'})",
        )  # fmt: skip
        return Sql(
            f"SELECT {', '.join(map(self.dialect.count_if, conditions))} FROM {self.staged} _elt_s "
            f"FULL JOIN {self.target} _elt_t ON {self._same_key()}"
        )

    def _differs(self) -> str:
        pairs = []
        for name in (name for name in self.names if name not in self.key):
            column, type_ = self.dialect.quote(name), self.types[name]
            mine, theirs = (self.dialect.comparable(f"{side}.{column}", type_) for side in ("_elt_t", "_elt_s"))
            pairs.append(self.dialect.differ(mine, theirs))
        if DELETED_AT in self.types:
            pairs.append(f"_elt_t.{self.dialect.quote(DELETED_AT)} IS NOT NULL")
        return " OR ".join(pairs)

    def _sets(self) -> str:
        q = self.dialect.quote
        sets = [f"{q(name)} = _elt_s.{q(name)}" for name in self.names if name not in self.key]
        if DELETED_AT in self.types:
            sets.append(f"{q(DELETED_AT)} = NULL")
        return ", ".join(sets)

    def _newer(self) -> str:
        """Return the condition under which a backfill's row is not older than the target's, to follow others."""
        if not (self.load.manifest.interval and self.load.mode is WriteMode.MERGE):
            return ""
        name = self.load.manifest.cursor
        mine, theirs = (
            self.dialect.ordered(f"{side}.{self.dialect.quote(name)}", self.types[name])
            for side in ("_elt_t", "_elt_s")
        )
        return f" AND ({mine} IS NULL OR {theirs} >= {mine})"

    def update(self) -> Sql | None:
        """Rows of the same key that differ take the staged values; None where there is nothing but the key."""
        differs = self._differs()
        if not differs:
            return None
        return Sql(
            f"UPDATE {self.target} AS _elt_t SET {self._sets()} FROM {self.staged} _elt_s "
            f"WHERE {self._same_key()} AND ({differs}){self._newer()}"
        )

    def merge(self, *, deletes: bool = False) -> Sql:
        """Update and insert in one statement; with ``deletes``, rows absent from a complete load go, or are marked."""
        when, differs = [], self._differs()
        if differs:
            when.append(f"WHEN MATCHED AND ({differs}){self._newer()} THEN UPDATE SET {self._sets()}")
        names, values = self._inserted()
        when.append(f"WHEN NOT MATCHED THEN INSERT ({names}) VALUES ({values})")
        if deletes:
            mark = self.dialect.quote(DELETED_AT)
            soft = f" AND _elt_t.{mark} IS NULL THEN UPDATE SET {mark} = {self.dialect.now}"
            when.append(f"WHEN NOT MATCHED BY SOURCE{soft if self._soft else ' THEN DELETE'}")
        return Sql(
            f"MERGE INTO {self.target} AS _elt_t USING {self.staged} AS _elt_s ON {self._same_key()} {' '.join(when)}"
        )

    def _inserted(self) -> tuple[str, str]:
        """Return the columns of a new row, and the expressions over ``_elt_s`` that fill them."""
        names, values = list(self.names), [f"_elt_s.{self.dialect.quote(name)}" for name in self.names]
        if LOAD_ID in self.types:
            names.append(LOAD_ID)
            values.append(f"'{self.load.load_id}'")
        return self.dialect.columns(names), ", ".join(values)

    def insert(self, *, only_new: bool) -> Sql:
        """Staged rows become rows of the target; with ``only_new``, those whose key the target has not."""
        names, values = self._inserted()
        absent = f" WHERE NOT EXISTS (SELECT 1 FROM {self.target} _elt_t WHERE {self._same_key()})" if only_new else ""
        return Sql(f"INSERT INTO {self.target} ({names}) SELECT {values} FROM {self.staged} _elt_s{absent}")

    def _gone(self) -> str:
        """Return the condition over the target's rows that the load takes away."""
        whole = self.load.manifest.complete or self.load.mode is WriteMode.REPLACE
        gone = self._absent() if whole else self._doomed()
        return f"_elt_t.{self.dialect.quote(DELETED_AT)} IS NULL AND {gone}" if self._soft else gone

    @property
    def keeps_refused(self) -> bool:
        """Whether rows are left out whose keys count as being there; ``replace`` mirrors what could be taken."""
        return bool(self.refused.rows) and self.load.mode is not WriteMode.REPLACE

    def _absent(self) -> str:
        present = self.keys(self._plain) if self.keeps_refused else self.staged
        return f"NOT EXISTS (SELECT 1 FROM {present} _elt_s WHERE {self._same_key()})"

    def _doomed(self) -> str:
        """Return the condition for rows that a load of changes takes away: named, or absent from their bucket."""
        manifest, conditions = self.load.manifest, []
        if manifest.buckets:
            conditions.append(self._absent_from(manifest.buckets))
        if manifest.buckets is None or manifest.rows_of(Role.DELETE):
            named = self.keys(f"{self._op} = 'd'")
            conditions.append(f"EXISTS (SELECT 1 FROM {named} _elt_s WHERE {self._same_key()})")
        return conditions[0] if len(conditions) == 1 else f"({' OR '.join(f'({each})' for each in conditions)})"

    def _absent_from(self, buckets: Buckets) -> str:
        """Return the condition for rows of changed buckets whose key is not among those that are there now."""
        there = f"({self._plain} OR {self._op} = 'k')" if self.load.manifest.has_ops else self._plain
        absent = f"NOT EXISTS (SELECT 1 FROM {self.keys(there)} _elt_s WHERE {self._same_key()})"
        if buckets.kind is BucketKind.ALL:
            return absent
        changed = f"FROM {self.dialect.staging(self.load)} _elt_r WHERE {self._op} LIKE 'b%'"
        if buckets.kind is BucketKind.MD5:
            return f"({self._digits(buckets)}) IN (SELECT {self._op} {changed}) AND {absent}"
        column = self.load.manifest.schema.column(buckets.columns[0])
        return f"({self._lowest(column, buckets.size)}) IN (SELECT {self._own(column)} {changed}) AND {absent}"

    def _digits(self, buckets: Buckets) -> str:
        """Return what names the bucket of a target's row, of kind ``md5``."""
        text = " || '|' || ".join(map(self._key_text, buckets.columns))
        return f"'b' || substr({self.dialect.md5(text)}, 1, {buckets.size})"

    def _key_text(self, name: str) -> str:
        """Return the text that the source makes of a key: the target may hold 5 as 5.00."""
        d, type_ = self.dialect, self.types[name]
        key, arriving = f"_elt_t.{d.quote(name)}", d.column_type(self.load.manifest.schema.column(name))
        if type_ in {arriving, d.text_type}:
            return d.key_text(key, type_)
        return d.key_text(d.cast(key, arriving), arriving)

    def _lowest(self, column: Column, size: int) -> str:
        """Return the lowest key that the bucket of a target's row may have, of kind ``range``."""
        d = self.dialect
        key, type_ = f"_elt_t.{d.quote(column.name)}", d.column_type(column)
        if self.types[column.name] == d.text_type:
            key = d.try_cast(key, type_)  # the column became text once
        return f"{key} - {d.modulo(f'({d.modulo(key, size)} + {size})', size)}"

    def count_gone(self) -> Sql:
        """How many rows of the target the load takes away."""
        return Sql(f"SELECT count(*) FROM {self.target} _elt_t WHERE {self._gone()}")

    @property
    def _soft(self) -> bool:
        return self.load.deletes is DeleteMode.SOFT

    def delete_gone(self) -> Sql:
        """Delete, or mark, the rows of the target that the load takes away."""
        if self._soft:
            mark = f"{self.dialect.quote(DELETED_AT)} = {self.dialect.now}"
            return Sql(f"UPDATE {self.target} AS _elt_t SET {mark} WHERE {self._gone()}")
        return Sql(f"DELETE FROM {self.target} AS _elt_t WHERE {self._gone()}")

    def delete_all(self) -> Sql:
        """Delete every row; in a transaction, so that no reader sees the gap."""
        return Sql(f"DELETE FROM {self.target}")

    def delete_interval(self) -> Sql:
        """Delete the rows of the interval: start and end bound."""
        name, type_ = self.load.manifest.cursor, self.types[self.load.manifest.cursor]
        bound = self.dialect.cast(self.dialect.placeholder, type_)
        cursor = self.dialect.ordered(self.dialect.quote(name), type_)
        return Sql(f"DELETE FROM {self.target} WHERE {cursor} >= {bound} AND {cursor} < {bound}")

    def delete_replaced(self) -> Sql:
        """Delete the rows that an earlier load (bound) appended."""
        return Sql(f"DELETE FROM {self.target} WHERE {self.dialect.quote(LOAD_ID)} = {self.dialect.placeholder}")

    def backfill(self, column: str) -> Sql:
        """Give the rows from before a column was added the value (bound) that the source gives them."""
        name = self.dialect.quote(column)
        if self._erases(column):
            return Sql(f"UPDATE {self.target} SET {name} = NULL WHERE {name} IS NOT NULL")
        value = self._backfilled(column, self.dialect.placeholder)
        # All rows: a target that had a column of that name before still has its old values. What was appended stays.
        rows = f"{name} IS NULL" if self.load.mode is WriteMode.APPEND else "1 = 1"
        return Sql(f"UPDATE {self.target} SET {name} = {value} WHERE {rows}")

    def backfill_binds(self, column: str) -> int:
        """How often that value is bound: some systems read it more than once, and NULL is none."""
        if self._erases(column):
            return 0
        return self._backfilled(column, _MARK).count(_MARK)

    def _erases(self, column: str) -> bool:
        """Whether a column that was added has no value in old rows: what the target may have there is another's."""
        return self.load.manifest.backfill.get(column, "") is None

    @property
    def renamed(self) -> tuple[tuple[str, str], ...]:
        """New and old names of columns whose values are to move to the new name."""
        if self.load.merging.drift.action(DriftClass.RENAMED) is not DriftAction.EVOLVE:
            return ()
        pairs = self.load.manifest.renamed.items()
        return tuple((new, old) for new, old in pairs if new in self.types and old in self.types)

    @property
    def fills(self) -> bool:
        """Whether rows that are there get values before others are merged."""
        return bool(self.load.manifest.backfill or self.renamed)

    def fill_renamed(self, new: str, old: str) -> Sql:
        """Give the rows from before a column was renamed the value that they have under the old name."""
        names = self.dialect.quote(new), self.dialect.quote(old)
        value = self._of_old_name(new, old, names[1])
        differ = self.dialect.differ(*(self.dialect.comparable(each, self.types[new]) for each in (names[0], value)))
        return Sql(f"UPDATE {self.target} SET {names[0]} = {value} WHERE {differ}")

    def _of_old_name(self, new: str, old: str, value: str) -> str:
        return value if self.types[new] == self.types[old] else self.dialect.cast(value, self.types[new])

    def _backfilled(self, column: str, text: str) -> str:
        arriving = self.load.manifest.schema.column(column)
        value = self.dialect.text_value(arriving, text)
        same = self.dialect.column_type(arriving) == self.types[column]
        return value if same else self.dialect.cast(value, self.types[column])


_MARK: Final = "\1bound\1"
