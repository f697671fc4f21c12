"""The staged rows as text: as the target would hold them, and without those that cannot be taken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from airflow_elt_provider.core.dialect import Dialect, Fit, Sql
from airflow_elt_provider.core.load import Load
from airflow_elt_provider.core.schema import Column
from airflow_elt_provider.core.system_columns import OP

NEEDS_DDL: Final = frozenset({Fit.WIDENS, Fit.CONFLICTS})
"""How types fit that the column's own type cannot hold."""
_WHY: Final = "_elt_why"


@dataclass(frozen=True)
class Refusal:
    """Why some staged rows cannot be taken.

    :param reason: as the quarantine file has it; it holds no value.
    :param column: the column at fault, as named in the target; "" for the row as a whole.
    :param condition: is true for these rows. Over the row as the target would hold it, whose columns need no prefix.
    :param ingested: whether it is over the row as it was ingested, ``_elt_r``.
    """

    reason: str
    column: str
    condition: str
    ingested: bool = False


@dataclass(frozen=True)
class Refused:
    """The staged rows that cannot be taken.

    :param rows: how many they are.
    """

    refusals: tuple[Refusal, ...] = ()
    rows: int = 0


@dataclass(frozen=True)
class StagedSql:
    """Writes the SQL of one load's staged rows.

    Aliases begin with ``_elt_``, as no column may: DuckDB takes ``t."id"`` for a field of a column ``t`` where one is.

    :param types: column -> type of the target table as it is now.
    :param refused: the rows that are left out. Their keys are there all the same.
    """

    dialect: Dialect
    load: Load
    types: Mapping[str, str]
    refused: Refused = Refused()

    # --- columns ---

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

    def is_frozen(self, column: Column) -> bool:
        """Whether the target's column has not room for every value of the load's."""
        return self.dialect.fit(self.types[column.name], self.dialect.column_type(column)) in NEEDS_DDL

    # --- values ---

    def _own(self, column: Column) -> str:
        return self.dialect.staged_value(column, exact=self.load.manifest.has_exact)

    def _value(self, column: Column) -> str:
        own, type_ = self._own(column), self.types[column.name]
        if self.dialect.column_type(column) == type_:
            return own
        if self.is_frozen(column):  # what does not fit is refused, but perhaps not before it was converted
            return self.dialect.try_cast(own, type_)
        value = self.dialect.cast(own, type_)
        if type_ == self.dialect.text_type and self.load.manifest.has_exact:
            return f"coalesce({value}, {self.dialect.exact_text(column)})"
        return value

    # --- rows ---

    @property
    def upserts(self) -> int:
        """How many rows the load has that can be taken."""
        return self.load.manifest.upserts - self.refused.rows

    @property
    def staged(self) -> str:
        """The staged rows as the target would hold them, as a FROM item."""
        return f"({self._sifted(self._items, self.names, self._ingested)})"

    @property
    def _items(self) -> list[str]:
        return [f"{self._filled(column)} AS {self.dialect.quote(column.name)}" for column in self.columns]

    @property
    def _ingested(self) -> str:
        """The rows of the table among those that were ingested, as FROM and WHERE."""
        before = f" LEFT JOIN {self.before} _elt_p ON {self._same_key('_elt_r', '_elt_p')}" if self.has_partial else ""
        plain = f" WHERE {self._plain}" if self.load.manifest.has_ops else ""
        return f"FROM {self.dialect.staging(self.load)} _elt_r{before}{plain}"

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
        """Return the keys of the staged rows that fulfil a condition over ``_elt_r``, as a FROM item.

        Those of rows that are left out are among them.
        """
        key = [self.load.manifest.schema.column(name) for name in self.key]
        items = ", ".join(f"{self._value(column)} AS {self.dialect.quote(column.name)}" for column in key)
        return f"(SELECT {items} FROM {self.dialect.staging(self.load)} _elt_r WHERE {condition})"

    def _same_key(self, staged: str = "_elt_s", target: str = "_elt_t") -> str:
        return " AND ".join(
            f"{target}.{self.dialect.quote(name)} = {staged}.{self.dialect.quote(name)}" for name in self.key
        )

    # --- rows that cannot be taken ---

    def _sifted(self, items: Sequence[str], names: Sequence[str], ingested: str) -> str:
        """Return the query of rows, without those that are left out.

        :param items: of its SELECT, over ``_elt_r``.
        :param names: what they are called.
        """
        if not self.refused.refusals:
            return f"SELECT {', '.join(items)} {ingested}"
        # A condition may be NULL: CASE takes that for false.
        taken = f"CASE WHEN {' OR '.join(self._conditions_of_refusals())} THEN 0 ELSE 1 END = 1"
        return f"SELECT {self.dialect.columns(names)} FROM {self._marked(items, ingested)} WHERE {taken}"

    def _marked(self, items: Sequence[str], ingested: str) -> str:
        """Return rows with what :meth:`_conditions_of_refusals` looks at, as a FROM item."""
        marks = [
            f"CASE WHEN {each.condition} THEN 1 ELSE 0 END AS {self.dialect.quote(f'{_WHY}{at}')}"
            for at, each in enumerate(self.refused.refusals)
            if each.ingested
        ]
        return f"(SELECT {', '.join((*items, *marks))} {ingested}) _elt_q"

    def _conditions_of_refusals(self) -> list[str]:
        q = self.dialect.quote
        return [
            f"{q(f'{_WHY}{at}')} = 1" if each.ingested else f"({each.condition})"
            for at, each in enumerate(self.refused.refusals)
        ]
