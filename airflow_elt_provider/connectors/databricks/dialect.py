"""Databricks's SQL, as far as it differs from the standard."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

import pyarrow as pa

from airflow_elt_provider.connectors.databricks import types
from airflow_elt_provider.connectors.databricks.names import full_name, literal, quoted
from airflow_elt_provider.core.dialect import Dialect, Fit, Sql
from airflow_elt_provider.core.load import Load
from airflow_elt_provider.core.schema import Column
from airflow_elt_provider.core.system_columns import EXACT, PREFIX
from airflow_elt_provider.core.table_ref import TableRef
from airflow_elt_provider.errors import ConfigurationError

OPTIONS: Final = frozenset({"cluster_by", "location", "partition_by", "properties"})
NEW: Final = f"{PREFIX}new_"
OLD: Final = f"{PREFIX}old_"
"""Begin the names of a column's successor and of its predecessor while it gets another type."""
_OURS: Final = {"delta.columnMapping.mode": "name", "delta.enableTypeWidening": "true"}
"""So that columns may have any name, be renamed, and get a wider type without being written anew."""


class DatabricksDialect(Dialect):
    """Writes Databricks's SQL.

    :param catalog: where names without a catalog lead, and where our own tables are.
    :param schema: where names without a schema lead.
    """

    placeholder: ClassVar[str] = "?"
    text_type: ClassVar[str] = types.TEXT
    timestamp_type: ClassVar[str] = "timestamp"
    seeded: ClassVar[bool] = True
    now: ClassVar[str] = "current_timestamp()"
    double_type: ClassVar[str] = "double"

    def __init__(self, catalog: str, schema: str) -> None:
        self._catalog = catalog
        self._schema = schema

    # --- names ---

    def quote(self, name: str) -> str:
        """Return an identifier in backticks."""
        return quoted(name)

    def table(self, ref: TableRef) -> Sql:
        """Return a table's name in full. :raises ConfigurationError: when Unity Catalog takes no such name."""
        return super().table(full_name(ref, self._catalog, self._schema))

    def full_name(self, ref: TableRef) -> TableRef:
        """Return a table's name with catalog and schema."""
        return full_name(ref, self._catalog, self._schema)

    def place(self, ref: TableRef) -> Sql:
        """Return the name of a table's schema, in full."""
        return Sql(".".join(map(quoted, full_name(ref, self._catalog, self._schema).parts[:2])))

    def state(self, table: str) -> Sql:
        """Return the name of one of our own tables."""
        return self.table(TableRef((self._catalog, self.state_schema, table)))

    def checkpoints_name(self, stream: str) -> str:
        """Return the name, in our schema, of the table that holds a stream's checkpoint."""
        return f"checkpoints_{hashlib.sha256(stream.encode()).hexdigest()[:16]}"

    def checkpoints(self, stream: str) -> Sql:
        """Return a table of the stream's own: Delta aborts one of two that change the same file."""
        return self.state(self.checkpoints_name(stream))

    # --- types and values ---

    def column_type(self, column: Column) -> str:
        """Return the type that a column gets."""
        return types.column_type(column)

    def fit(self, current: str, arriving: str) -> Fit:
        """Say how an arriving type fits."""
        return types.fit(current, arriving)

    def staging(self, load: Load) -> Sql:
        """Return the load's staging table, or no rows of the same columns."""
        if load.staging_tables:
            return self.staging_as_one(load, self.state)
        nulls = ", ".join(f"CAST(NULL AS {type_}) AS {quoted(name)}" for name, type_ in self.staging_columns(load))
        return Sql(f"(SELECT {nulls} WHERE false)")

    def staging_columns(self, load: Load) -> list[tuple[str, str]]:
        """Return names and types of a staging table's columns: those of the files."""
        own = [(column.name, self.column_type(column)) for column in load.manifest.schema.columns]
        return [*own, *self.staged_extras(load)]

    def staged_value(self, column: Column, *, exact: bool) -> str:
        """Return the staged value in the column's own type."""
        own, type_ = f"_elt_r.{quoted(column.name)}", self.column_type(column)
        if column.format == "array":
            return types.array_json(own, column.source_type)
        if exact and pa.types.is_time(column.type):
            return f"coalesce({own}, {self.exact_text(column)})"
        if exact and type_ in types.MOMENTS:
            return f"coalesce({own}, {types.from_canonical(self.exact_text(column), type_)})"
        return own

    def staged_text(self, column: Column) -> str:
        """Return what was staged as text."""
        own = f"_elt_r.{quoted(column.name)}"
        is_binary = pa.types.is_binary(column.type)
        return f"concat({literal(chr(92))}, 'x', lower(hex({own})))" if is_binary else self.cast(own, self.text_type)

    def exact_text(self, column: Column) -> str:
        """Return an exceptional value as text."""
        exact = f"from_json(_elt_r.{quoted(EXACT)}, 'MAP<STRING, STRING>')"
        return f"try_element_at({exact}, {literal(column.name)})"

    def text_value(self, column: Column, expression: str) -> str:
        """Return the expression that reads PostgreSQL's canonical text."""
        text, type_ = f"CAST({expression} AS string)", self.column_type(column)
        if column.format == "array":
            return types.array_json(text, column.source_type)
        if type_ == "binary":
            return f"unhex(substring({text}, 3))"
        return types.from_canonical(text, type_) if type_ in types.MOMENTS else self.cast(text, type_)

    def count_if(self, condition: str) -> str:
        """Return the aggregate that counts the rows for which a condition is true."""
        return f"count_if({condition})"

    def try_cast(self, expression: str, type_: str) -> str:
        """Return a cast that gives NULL for what does not fit."""
        return f"try_cast({expression} AS {type_})"

    def json_text(self, document: str, name: str) -> str:
        """Return a member of a JSON document as text."""
        return f"get_json_object({document}, {literal(f'$.{name}')})"

    def _logged(self, receipts: str) -> str:
        """Return the query of the sync log: a receipt may have been added twice, at different times."""
        first = "ROW_NUMBER() OVER (PARTITION BY load_id ORDER BY committed_at) AS _elt_n"
        return super()._logged(f"(SELECT *, {first} FROM {receipts}) _elt_r WHERE _elt_n = 1")

    # --- DDL ---

    def create_table(
        self, ref: TableRef, columns: Sequence[tuple[str, str]], key: Sequence[str], options: Mapping[str, Any]
    ) -> Sql:
        """Return CREATE TABLE IF NOT EXISTS. There is no key: Unity Catalog's is a remark that nothing enforces."""
        del key
        lines = ", ".join(self.declared(name, type_) for name, type_ in columns)
        properties = {**_OURS, **{name: str(value) for name, value in options.get("properties", {}).items()}}
        pairs = ", ".join(f"{literal(name)} = {literal(value)}" for name, value in properties.items())
        clauses = "".join(f" {clause}" for clause in _clauses(options))
        return Sql(
            f"CREATE TABLE IF NOT EXISTS {self.table(ref)} ({lines}) USING DELTA{clauses} TBLPROPERTIES ({pairs})"
        )

    def create_schema(self, place: Sql) -> Sql:
        """Return CREATE SCHEMA IF NOT EXISTS."""
        return Sql(f"CREATE SCHEMA IF NOT EXISTS {place}")

    def add_column(self, ref: TableRef, name: str, type_: str) -> Sql:
        """Return ALTER TABLE ADD COLUMN."""
        return Sql(f"ALTER TABLE {self.table(ref)} ADD COLUMN {quoted(name)} {type_}")

    def enabling(self, ref: TableRef, ddl: Sequence[Sql]) -> tuple[Sql, ...]:
        """Return what an existing table needs first: Delta allows timestamp_ntz by itself only in a new one."""
        if not any(" ADD COLUMN " in sql and sql.endswith(f" {types.WITHOUT_ZONE}") for sql in ddl):
            return ()
        return (self.set_property(ref, "delta.feature.timestampNtz", "supported"),)

    def alter_type(self, ref: TableRef, name: str, current: str, type_: str) -> tuple[Sql, ...]:
        """Return what gives a column another type: in the metadata where Delta can, else by a successor."""
        alter = f"ALTER TABLE {self.table(ref)}"
        if types.widens_in_place(current, type_):
            return (Sql(f"{alter} ALTER COLUMN {quoted(name)} TYPE {type_}"),)
        new = quoted(NEW + name)
        return (
            Sql(f"{alter} ADD COLUMN {new} {type_}"),
            Sql(f"UPDATE {self.table(ref)} SET {new} = {self.cast(quoted(name), type_)}"),
            Sql(f"{alter} RENAME COLUMN {quoted(name)} TO {quoted(OLD + name)}"),
            *self.succeed(ref, name, type_),
        )

    def succeed(self, ref: TableRef, name: str, type_: str) -> tuple[Sql, ...]:
        """Return the rest of :meth:`alter_type` once the column has become its own predecessor.

        Rows that somebody wrote after the successor was filled, and before the renaming, get their value first.
        """
        table, new, value = self.table(ref), quoted(NEW + name), self.cast(quoted(OLD + name), type_)
        return (
            Sql(f"UPDATE {table} SET {new} = {value} WHERE {self.differ(new, value)}"),
            Sql(f"ALTER TABLE {table} RENAME COLUMN {new} TO {quoted(name)}"),
            self.drop_column(ref, OLD + name),
        )

    def drop_column(self, ref: TableRef, name: str) -> Sql:
        """Return ALTER TABLE DROP COLUMN, for columns of :meth:`alter_type`."""
        return Sql(f"ALTER TABLE {self.table(ref)} DROP COLUMN {quoted(name)}")

    def unfinished(self, ref: TableRef, columns: Mapping[str, str]) -> tuple[Sql, ...]:
        """Return what finishes, or undoes, the changes of type that a load left half done.

        :param columns: column -> type.
        """
        done: list[Sql] = []
        for name in (column.removeprefix(OLD) for column in columns if column.startswith(OLD)):
            whole = name in columns
            done += [self.drop_column(ref, OLD + name)] if whole else self.succeed(ref, name, columns[NEW + name])
        for name in (column.removeprefix(NEW) for column in columns if column.startswith(NEW)):
            if OLD + name not in columns:
                done.append(self.drop_column(ref, NEW + name))
        return tuple(done)

    def set_property(self, ref: TableRef, name: str, value: str) -> Sql:
        """Return ALTER TABLE SET TBLPROPERTIES."""
        return Sql(f"ALTER TABLE {self.table(ref)} SET TBLPROPERTIES ({literal(name)} = {literal(value)})")


def _clauses(options: Mapping[str, Any]) -> list[str]:
    clauses = []
    partition, cluster = options.get("partition_by"), options.get("cluster_by")
    if partition and cluster:
        raise ConfigurationError(
            "table_options: partition_by and cluster_by exclude each other.",
            hint="use cluster_by: liquid clustering, which Databricks recommends for new tables",
        )
    if partition:
        clauses.append(f"PARTITIONED BY ({_listed('partition_by', partition)})")
    if cluster == "auto":
        clauses.append("CLUSTER BY AUTO")
    elif cluster:
        clauses.append(f"CLUSTER BY ({_listed('cluster_by', cluster)})")
    if options.get("location"):
        clauses.append(f"LOCATION {literal(str(options['location']))}")
    return clauses


def _listed(option: str, columns: object) -> str:
    if not isinstance(columns, list | tuple) or not all(isinstance(column, str) for column in columns):
        raise ConfigurationError(
            f"table_options: {option}={columns!r} is no list of columns.", hint=f'write {option}: ["column", ...]'
        )
    return ", ".join(map(quoted, columns))


def refuse_options(options: Mapping[str, Any]) -> None:
    """Refuse options that no table can be created with, before anything moves.

    :raises ConfigurationError: names the option.
    """
    properties = options.get("properties", {})
    if not isinstance(properties, Mapping):
        raise ConfigurationError(
            f"table_options: properties={properties!r} is no mapping.",
            hint='write properties: {"delta.logRetentionDuration": "interval 30 days"}',
        )
    _clauses(options)
