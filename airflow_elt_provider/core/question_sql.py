"""What is asked about a load's staged rows before a merge writes, as text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import pyarrow as pa

from airflow_elt_provider.core.checks import NotNull, RowCheck, RowCount, Unique
from airflow_elt_provider.core.checks import Sql as SqlCheck
from airflow_elt_provider.core.dialect import Sql
from airflow_elt_provider.core.modes import WriteMode
from airflow_elt_provider.core.quarantine import KEYLESS
from airflow_elt_provider.core.schema import Column
from airflow_elt_provider.core.staged_sql import Refusal, StagedSql
from airflow_elt_provider.core.system_columns import DELETED_AT, EXACT

_TEXT: Final = "_elt_text"
_FIRST: Final = "_elt_first"


class Problem(NamedTuple):
    """Something that may be wrong with staged rows.

    :param what: follows a number.
    :param question: asks for that number.
    :param refusal: the same of each row.
    """

    what: str
    question: Sql
    refusal: Refusal


@dataclass(frozen=True)
class QuestionSql(StagedSql):
    """Writes the questions about one load's staged rows."""

    # --- is everything there ---

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
        """How many rows the target has, but for those that are marked as gone."""
        live = f" WHERE {self.dialect.quote(DELETED_AT)} IS NULL" if DELETED_AT in self.types else ""
        return Sql(f"SELECT count(*) FROM {self.target}{live}")

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

    def key_problems(self) -> tuple[Problem, ...]:
        """Questions whose answers must be 0, for a key that the source does not guard."""
        key = self.dialect.columns(self.key)
        group = f"SELECT 1 FROM {self.staged} _elt_s GROUP BY {key} HAVING count(*) > 1"
        return (
            self._keyless(f"SELECT count(*) FROM {self.staged} _elt_s"),
            self._twice("keys appear more than once", f"SELECT count(*) FROM ({group}) _elt_d"),
        )

    def _keyless(self, count: str) -> Problem:
        null = " OR ".join(f"{self.dialect.quote(name)} IS NULL" for name in self.key)
        column = self.key[0] if len(self.key) == 1 else ""
        refusal = Refusal(KEYLESS if column else "a column of the key is NULL", column, null)
        return Problem("rows have NULL in the key", Sql(f"{count} WHERE {null}"), refusal)

    def _twice(self, what: str, count: str, *more: str) -> Problem:
        """Return the problem that rows agree in their key and in ``more``, expressions over ``_elt_r``."""
        values = (self._value(self.load.manifest.schema.column(name)) for name in self.key)
        again = f"count(*) OVER (PARTITION BY {', '.join((*values, *more))}) > 1"
        return Problem(what, Sql(count), Refusal("the key is there more than once", "", again, ingested=True))

    def lossy(self, column: Column) -> Sql:
        """How many staged values change when they are cast to the target's type (a frozen column)."""
        return Sql(f"SELECT count(*) FROM {self.dialect.staging(self.load)} _elt_r WHERE {self._lossy(column)}")

    def _lossy(self, column: Column) -> str:
        own, arriving = self._own(column), self.dialect.column_type(column)
        d = self.dialect
        back = d.try_cast(d.try_cast(own, self.types[column.name]), arriving)
        return d.differ(d.comparable(own, arriving), d.comparable(back, arriving))

    def unfit(self, column: Column) -> Refusal:
        """Say why rows whose value a frozen column does not hold cannot be taken."""
        return Refusal(f"does not fit {self.types[column.name]}", column.name, self._lossy(column), ingested=True)

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

    def violating(self, check: RowCheck) -> Refusal:
        """Say why rows that violate a check cannot be taken."""
        if isinstance(check, NotNull):
            return Refusal("is NULL", check.column, f"{self.dialect.quote(check.column)} IS NULL")
        return Refusal(f"violates check {check.name or check.predicate}", "", f"NOT ({check.predicate})")

    # --- rows that cannot be taken ---

    def refused_rows(self, limit: int) -> Sql:
        """The rows that are left out, at most so many: which refusal is the first that is true, and all values' texts.

        The texts are those of the load's columns in their order, also of those that the target has not.
        """
        q, texts = self.dialect.quote, []
        for at, column in enumerate(self.load.manifest.schema.columns):
            text = self.dialect.staged_text(column)
            text = f"coalesce({text}, {self.dialect.exact_text(column)})" if self.load.manifest.has_exact else text
            texts.append(f"{text} AS {q(f'{_TEXT}{at}')}")
        names = self.dialect.columns(f"{_TEXT}{at}" for at in range(len(texts)))
        conditions = self._conditions_of_refusals()
        first = " ".join(f"WHEN {condition} THEN {at}" for at, condition in enumerate(conditions))
        rows = self._marked((*self._items, *texts), self._ingested)
        return Sql(
            f"SELECT CASE {first} END AS {q(_FIRST)}, {names} FROM {rows} "
            f"WHERE CASE WHEN {' OR '.join(conditions)} THEN 1 ELSE 0 END = 1 LIMIT {limit}"
        )


def row_count_problem(check: RowCount, rows: int) -> str:
    """Return what is wrong with a load of so many rows, or ""."""
    if rows < check.min:
        return f"the load has {rows:,} rows, at least {check.min:,} are required"
    if check.max is not None and rows > check.max:
        return f"the load has {rows:,} rows, at most {check.max:,} are allowed"
    return ""
