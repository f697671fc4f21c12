"""DuckDB's SQL, as far as it differs from the standard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from airflow_elt_provider.connectors.duckdb import types
from airflow_elt_provider.core.dialect import Dialect, Fit, Sql
from airflow_elt_provider.core.load import Load
from airflow_elt_provider.core.schema import Column
from airflow_elt_provider.core.system_columns import EXACT
from airflow_elt_provider.core.table_ref import TableRef
from airflow_elt_provider.core.types import wire_type
from airflow_elt_provider.errors import ConfigurationError


class DuckdbDialect(Dialect):
    """Writes DuckDB's SQL.

    Targets have no primary key constraint: rows are matched by hash join, and DuckDB's indexes cost memory and check
    too eagerly when a row is deleted and inserted again in one transaction.

    :param catalog: name of the database, by default what the file is called: names are qualified in full, because
        ``a.b`` is ambiguous in a file named ``a.duckdb``.
    :param paths: the local Parquet files of the load.
    """

    placeholder: ClassVar[str] = "?"
    text_type: ClassVar[str] = types.TEXT
    double_type: ClassVar[str] = "double"

    def __init__(self, catalog: str = "", paths: Sequence[str] = ()) -> None:
        self._catalog = catalog
        self._paths = tuple(paths)

    def table(self, ref: TableRef) -> Sql:
        """Return a table's name, quoted and qualified in full.

        :raises ConfigurationError: when it has more parts than DuckDB's names, or lies in another database.
        """
        return super().table(TableRef(self.parts(ref)))

    def parts(self, ref: TableRef) -> tuple[str, ...]:
        """Return database, schema and table; ``main`` where no schema is given."""
        match ref.parts:
            case (name,):
                found = (self._catalog, "main", name)
            case (schema, name):
                found = (self._catalog, schema, name)
            case (catalog, schema, name) if catalog.lower() == self._catalog.lower():
                found = (self._catalog, schema, name)
            case _:
                raise ConfigurationError(
                    f"{ref} is no table of DuckDB database {self._catalog!r}.", hint="write table or schema.table"
                )
        return found

    def column_type(self, column: Column) -> str:
        """Return the type that a column gets."""
        return types.column_type(column)

    def fit(self, current: str, arriving: str) -> Fit:
        """Say how an arriving type fits."""
        return types.fit(current, arriving)

    # --- staged rows ---

    def staging(self, load: Load) -> Sql:
        """Return the load's files as a FROM item, or no rows of the same columns."""
        if not self._paths:
            nulls = [
                f"CAST(NULL AS {_wire(column)}) AS {self.quote(column.name)}"
                for column in (*load.manifest.schema.columns, *load.manifest.extra_columns)
            ]
            return Sql(f"(SELECT {', '.join(nulls)} WHERE false)")
        files = ", ".join("'" + path.replace("'", "''") + "'" for path in self._paths)
        mixed = len({file.extra for file in load.manifest.files}) > 1
        options = ", union_by_name = true" if mixed else ""
        return Sql(f"read_parquet([{files}]{options}, hive_partitioning = false)")

    def staged_value(self, column: Column, *, exact: bool) -> str:
        """Return the staged value in the column's own type."""
        own, type_ = f"_elt_r.{self.quote(column.name)}", self.column_type(column)
        if type_ == "TIME":
            own = self.cast(own, type_)  # older versions read a Parquet file's times as TIME WITH TIME ZONE
        if column.format == "array":
            return f"CAST({types.array_json(own, column.source_type)} AS JSON)"
        if type_ in {"JSON", "UUID"}:
            return self.cast(own, type_)
        if exact and type_ in _EXCEPTIONAL:
            return f"coalesce({own}, {types.from_canonical(self.exact_text(column), type_)})"
        return own

    def staged_text(self, column: Column) -> str:
        """Return what was staged as text."""
        own = f"_elt_r.{self.quote(column.name)}"
        return f"'\\x' || lower(hex({own}))" if _wire(column) == "BLOB" else self.cast(own, self.text_type)

    def exact_text(self, column: Column) -> str:
        """Return an exceptional value as text."""
        name = column.name.replace("'", "''")
        return f"CAST(CAST(_elt_r.{self.quote(EXACT)} AS JSON) AS MAP(VARCHAR, VARCHAR))['{name}']"

    def text_value(self, column: Column, expression: str) -> str:
        """Return the expression that reads PostgreSQL's canonical text."""
        text, type_ = f"CAST({expression} AS VARCHAR)", self.column_type(column)
        if column.format == "array":
            return f"CAST({types.array_json(text, column.source_type)} AS JSON)"
        if type_ == "BLOB":
            return f"unhex(regexp_replace({text}, '^\\\\x', ''))"
        return types.from_canonical(text, type_) if type_ in _EXCEPTIONAL else self.cast(text, type_)

    def try_cast(self, expression: str, type_: str) -> str:
        """Return a cast that gives NULL for what does not fit."""
        return f"TRY_CAST({expression} AS {type_})"

    def create_table(
        self, ref: TableRef, columns: Sequence[tuple[str, str]], key: Sequence[str], options: Mapping[str, Any]
    ) -> Sql:
        """Return CREATE TABLE without a key; see the class."""
        del key
        return super().create_table(ref, columns, (), options)

    def create_schema(self, name: str) -> Sql:
        """Return CREATE SCHEMA IF NOT EXISTS."""
        return Sql(f"CREATE SCHEMA IF NOT EXISTS {self.quote(self._catalog)}.{self.quote(name)}")

    def state_tables(self) -> tuple[Sql, ...]:
        """Return the DDL of our own tables."""
        return (self.create_schema(self.state_schema), *super().state_tables()[1:])

    def _logged(self, receipts: str) -> str:
        """Return the query of the sync log: without the database's name, which changes when the file is renamed."""
        own = f"{self.quote(self.state_schema)}.{self.quote('receipts')}"
        return super()._logged(receipts if self._catalog.lower() == self.state_schema else own)


_EXCEPTIONAL = frozenset({"DATE", "TIME", "TIMESTAMP", types.TIMESTAMPTZ})
"""Types that have some of the values which Arrow has not; DuckDB's decimals have neither NaN nor infinity."""


def _wire(column: Column) -> str:
    return types.column_type(Column(column.name, wire_type(column.type)))
