"""The statements that turn staged rows into rows of the target, as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import pyarrow as pa

from airflow_elt_provider.core.buckets import BucketKind, Buckets
from airflow_elt_provider.core.checks import NotNull, RowCount, Unique
from airflow_elt_provider.core.checks import Sql as SqlCheck
from airflow_elt_provider.core.dialect import Dialect, Sql
from airflow_elt_provider.core.drift import DriftAction, DriftClass
from airflow_elt_provider.core.load import Load
from airflow_elt_provider.core.manifest import Role
from airflow_elt_provider.core.modes import DeleteMode, WriteMode
from airflow_elt_provider.core.schema import Column
from airflow_elt_provider.core.system_columns import DELETED_AT, EXACT, LOAD_ID, OP


@dataclass(frozen=True)
class MergeSql:
    """Writes the SQL of one load.

    Aliases begin with ``_elt_``, as no column may: DuckDB takes ``t."id"`` for a field of a column ``t`` where one is.

    :param types: column -> type of the target table as it is now.
    """

    dialect: Dialect
    load: Load
    types: Mapping[str, str]

    # --- the staged rows ---

    @property
    def target(self) -> Sql:
        """The target's name."""
        return self.dialect.table(self.load.target)

    @property
    def columns(self) -> tuple[Column, ...]:
        """The load's columns that the target has (a frozen target may lack some)."""
        return tuple(column for column in self.load.manifest.schema.columns if column.name in self.types)

    @property
    def names(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(column.name for column in self.columns)

    @property
    def key(self) -> tuple[str, ...]:
        """The load's key."""
        return self.load.manifest.schema.primary_key

    def _own(self, column: Column) -> str:
        return self.dialect.staged_value(column, exact=self.load.manifest.has_exact)

    def _value(self, column: Column) -> str:
        own, type_ = self._own(column), self.types[column.name]
        if self.dialect.column_type(column) == type_:
            return own
        value = self.dialect.cast(own, type_)
        if type_ == self.dialect.text_type and self.load.manifest.has_exact:
            return f"coalesce({value}, {self.dialect.exact_text(column)})"
        return value

    @property
    def staged(self) -> str:
        """The staged rows as the target would hold them, as a FROM item."""
        items = ", ".join(f"{self._filled(column)} AS {self.dialect.quote(column.name)}" for column in self.columns)
        before = f" LEFT JOIN {self.before} _elt_p ON {self._same_key('_elt_r', '_elt_p')}" if self.has_partial else ""
        plain = f" WHERE {self._plain}" if self.load.manifest.has_ops else ""
        return f"(SELECT {items} FROM {self.dialect.staging(self.load)} _elt_r{before}{plain})"

    def _filled(self, column: Column) -> str:
        """Return a staged value; that of the target where the source sent none because it did not change."""
        lacking = [f"'p{at}'" for at, names in enumerate(self.load.manifest.unchanged) if column.name in names]
        if not (lacking and self.has_partial):
            return self._value(column)
        kept = f"_elt_p.{self.dialect.quote(column.name)}"
        return f"CASE WHEN {self._op} IN ({', '.join(lacking)}) THEN {kept} ELSE {self._value(column)} END"

    @property
    def has_partial(self) -> bool:
        """Whether some staged rows may lack the columns that did not change."""
        return bool(self.load.manifest.unchanged) and self.load.manifest.has_ops

    @property
    def before(self) -> str:
        """The target's rows as they were before the load, one for each key, as a FROM item."""
        return self.target

    @property
    def _op(self) -> str:
        return f"_elt_r.{self.dialect.quote(OP)}"

    @property
    def _plain(self) -> str:
        """The condition for staged rows that are rows of the table."""
        return f"({self._op} IS NULL OR {self._op} LIKE 'p%')" if self.load.manifest.has_ops else "1 = 1"

    def keys(self, condition: str) -> str:
        """Return the keys of the staged rows that fulfil a condition over ``_elt_r``, as a FROM item."""
        key = [self.load.manifest.schema.column(name) for name in self.key]
        items = ", ".join(f"{self._value(column)} AS {self.dialect.quote(column.name)}" for column in key)
        return f"(SELECT {items} FROM {self.dialect.staging(self.load)} _elt_r WHERE {condition})"

    def count_orphans(self) -> Sql:
        """How many staged rows lack columns that only the target could fill in, and are not there."""
        rows = self.keys(f"{self._op} LIKE 'p%'")
        return Sql(
            f"SELECT count(*) FROM {rows} _elt_s "
            f"WHERE NOT EXISTS (SELECT 1 FROM {self.before} _elt_t WHERE {self._same_key()})"
        )

    @property
    def count_staged(self) -> Sql:
        """How many rows were staged."""
        return Sql(f"SELECT count(*) FROM {self.dialect.staging(self.load)} _elt_r")

    @property
    def target_has_rows(self) -> Sql:
        """Whether the target has any row: 1 or 0."""
        return Sql(f"SELECT count(*) FROM (SELECT 1 FROM {self.target} LIMIT 1) _elt_a")

    @property
    def count_target(self) -> Sql:
        """How many rows the target has."""
        return Sql(f"SELECT count(*) FROM {self.target}")

    @property
    def cursor_is_ordered(self) -> bool:
        """Whether the target's cursor column sorts as the source's: a number kept as text does not."""
        column = self.load.manifest.schema.column(self.load.manifest.cursor)
        text = self.dialect.column_type(replace(column, type=pa.string(), format="", source_type=""))
        return self.types[column.name] != text or (pa.types.is_string(column.type) and column.format != "decimal")

    # --- tests of the staged rows ---

    @property
    def asks_key(self) -> bool:
        """Whether the staged keys have to be looked at: the source does not guard them."""
        return not self.load.manifest.schema.key_enforced and self.load.mode is not WriteMode.APPEND

    def key_problems(self) -> tuple[tuple[str, Sql], ...]:
        """Questions whose answers must be 0, for a key that the source does not guard."""
        key = self.dialect.columns(self.key)
        null = " OR ".join(f"{self.dialect.quote(name)} IS NULL" for name in self.key)
        return (
            ("rows have NULL in the key", Sql(f"SELECT count(*) FROM {self.staged} _elt_s WHERE {null}")),
            ("keys appear more than once", Sql(
                f"SELECT count(*) FROM (SELECT 1 FROM {self.staged} _elt_s GROUP BY {key} HAVING count(*) > 1) _elt_d"
            )),
        )  # fmt: skip

    def lossy(self, column: Column) -> Sql:
        """How many staged values change when they are cast to the target's type (a frozen column)."""
        own, arriving = self._own(column), self.dialect.column_type(column)
        d = self.dialect
        back = d.try_cast(d.try_cast(own, self.types[column.name]), arriving)
        return Sql(
            f"SELECT count(*) FROM {d.staging(self.load)} _elt_r "
            f"WHERE {d.differ(d.comparable(own, arriving), d.comparable(back, arriving))}"
        )

    def nulled(self, columns: Sequence[Column]) -> Sql:
        """How many values of each of these columns the destination holds as NULL for want of an equal."""
        counts = (
            self.dialect.count_if(f"({self._some(column)}) AND {self._value(column)} IS NULL") for column in columns
        )
        return Sql(f"SELECT {', '.join(counts)} FROM {self.dialect.staging(self.load)} _elt_r")

    def _some(self, column: Column) -> str:
        """Return the condition that the source has a value."""
        some = [f"_elt_r.{self.dialect.quote(column.name)} IS NOT NULL"] if self.dialect.parses(column) else []
        if self.load.manifest.has_exact:
            exact = f"_elt_r.{self.dialect.quote(EXACT)}"
            some.append(f"{exact} IS NOT NULL AND {self.dialect.exact_text(column)} IS NOT NULL")
        return " OR ".join(some)

    def violations(self, check: NotNull | Unique | SqlCheck) -> Sql:
        """How many rows (or groups) break a check."""
        d = self.dialect
        match check:
            case NotNull(column):
                return Sql(f"SELECT count(*) FROM {self.staged} _elt_s WHERE {d.quote(column)} IS NULL")
            case Unique():
                some = " AND ".join(f"{d.quote(name)} IS NOT NULL" for name in check.columns)
                group = f"SELECT 1 FROM {self.staged} _elt_s WHERE {some} GROUP BY {d.columns(check.columns)}"
                return Sql(f"SELECT count(*) FROM ({group} HAVING count(*) > 1) _elt_d")
            case SqlCheck(predicate):
                return Sql(f"SELECT count(*) FROM {self.staged} _elt_s WHERE NOT ({predicate})")

    # --- changes ---

    def compare(self) -> Sql:
        """How many rows of a complete load are new, gone from it, and changed: three numbers."""
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

    def _same_key(self, staged: str = "_elt_s", target: str = "_elt_t") -> str:
        return " AND ".join(
            f"{target}.{self.dialect.quote(name)} = {staged}.{self.dialect.quote(name)}" for name in self.key
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

    def _absent(self) -> str:
        return f"NOT EXISTS (SELECT 1 FROM {self.staged} _elt_s WHERE {self._same_key()})"

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
        d = self.dialect
        text = " || '|' || ".join(d.key_text(f"_elt_t.{d.quote(name)}", self.types[name]) for name in buckets.columns)
        return f"'b' || substr({d.md5(text)}, 1, {buckets.size})"

    def _lowest(self, column: Column, size: int) -> str:
        """Return the lowest key that the bucket of a target's row may have, of kind ``range``."""
        d = self.dialect
        key, type_ = f"_elt_t.{d.quote(column.name)}", d.column_type(column)
        if self.types[column.name] == d.text_type:
            key = d.try_cast(key, type_)  # the column became text once
        return f"{key} - {d.modulo(f'({d.modulo(key, size)} + {size})', size)}"

    def count_gone(self) -> Sql:
        """How many rows of the target a load of changes takes away."""
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
        name, value = self.dialect.quote(column), self._backfilled(column, self.dialect.placeholder)
        # Rows with a value had it from a load since: an interval load may be ahead of the checkpoint.
        return Sql(f"UPDATE {self.target} SET {name} = {value} WHERE {name} IS NULL")

    def backfill_binds(self, column: str) -> int:
        """How often that value is bound: some systems read it more than once."""
        return self._backfilled(column, _MARK).count(_MARK)

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
        return Sql(f"UPDATE {self.target} SET {names[0]} = {value} WHERE {names[0]} IS NULL AND {names[1]} IS NOT NULL")

    def _of_old_name(self, new: str, old: str, value: str) -> str:
        return value if self.types[new] == self.types[old] else self.dialect.cast(value, self.types[new])

    def _backfilled(self, column: str, text: str) -> str:
        arriving = self.load.manifest.schema.column(column)
        value = self.dialect.text_value(arriving, text)
        same = self.dialect.column_type(arriving) == self.types[column]
        return value if same else self.dialect.cast(value, self.types[column])


_MARK: Final = "\1bound\1"


def row_count_problem(check: RowCount, rows: int) -> str:
    """Return what is wrong with a load of so many rows, or ""."""
    if rows < check.min:
        return f"the load has {rows:,} rows, at least {check.min:,} are required"
    if check.max is not None and rows > check.max:
        return f"the load has {rows:,} rows, at most {check.max:,} are allowed"
    return ""
