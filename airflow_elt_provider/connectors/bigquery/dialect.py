"""GoogleSQL, as far as it differs from the standard."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

from airflow_elt_provider.connectors.bigquery import types
from airflow_elt_provider.connectors.bigquery.names import literal, quoted
from airflow_elt_provider.connectors.bigquery.options import TableOptions
from airflow_elt_provider.core.dialect import Dialect, Fit, Sql
from airflow_elt_provider.core.load import Load
from airflow_elt_provider.core.schema import Column
from airflow_elt_provider.core.system_columns import EXACT
from airflow_elt_provider.core.table_ref import TableRef
from airflow_elt_provider.errors import ConfigurationError

_KEY_TYPES: Final = frozenset({"BIGNUMERIC", "BOOL", "DATE", "DATETIME", "INT64", "NUMERIC", "STRING", "TIMESTAMP"})
_MAX_KEY: Final = 16
_PARTS: Final = 3
_LOWEST_INT64: Final = -(2**63)
NEW: Final = "_elt_new_"
OLD: Final = "_elt_old_"
"""Prefixes of columns that are there only while a column changes its type."""


class BigQueryDialect(Dialect):
    """Writes GoogleSQL.

    Each stream's checkpoint is a table of its own: of two transactions that update one table, BigQuery aborts one.

    :param project: of names that give none.
    :param dataset: of targets that give none.
    :param json: type of JSON columns; see the settings.
    :param fixed: columns that cannot change their type: the target is partitioned or clustered by them.
    :param key: the target's primary key, which is taken off while a column of it changes its type.
    :param filtered: name and type of the column by whose partitions every statement on the target has to choose.
    """

    # Not a character of any SQL: "?" may stand in a name or in a user's check.
    placeholder: ClassVar[str] = "\0"
    text_type: ClassVar[str] = types.TEXT
    timestamp_type: ClassVar[str] = "TIMESTAMP"
    now: ClassVar[str] = "CURRENT_TIMESTAMP()"
    whole_type: ClassVar[str] = "INT64"
    double_type: ClassVar[str] = "FLOAT64"
    seeded: ClassVar[bool] = True

    def __init__(
        self, project: str, dataset: str = "", state_dataset: str = "_elt", *, json: str = "json",
        fixed: Sequence[str] = (), key: Sequence[str] = (), filtered: tuple[str, str] | None = None,
    ) -> None:  # fmt: skip
        self._project, self._dataset, self._state_dataset = project, dataset, state_dataset
        self._json = json
        self._fixed = frozenset(name.casefold() for name in fixed)
        self._key = tuple(key)
        self._filtered = filtered

    # --- names ---

    def quote(self, name: str) -> str:
        """Return an identifier in backticks."""
        return quoted(name)

    def parts(self, ref: TableRef) -> tuple[str, str, str]:
        """Return project, dataset and table.

        :raises ConfigurationError: when the dataset is missing, or there are more parts.
        """
        found = ref.parts
        if len(found) == 1 and self._dataset:
            found = (self._dataset, *found)
        if len(found) == _PARTS - 1:
            found = (self._project, *found)
        if len(found) != _PARTS:
            raise ConfigurationError(
                f"{ref} is no table of BigQuery.",
                hint="write dataset.table or project.dataset.table, or set elt_dataset in the connection's extra",
            )
        project, dataset, table = found
        return project, dataset, table

    def table(self, ref: TableRef) -> Sql:
        """Return a table's name, quoted and qualified in full."""
        return super().table(TableRef(self.parts(ref)))

    def state(self, table: str) -> Sql:
        """Return the name of one of our own tables."""
        return self.table(self.state_ref(table))

    def state_ref(self, table: str) -> TableRef:
        """Return one of our own tables."""
        return TableRef((self._project, self._state_dataset, table))

    def checkpoints(self, stream: str) -> Sql:
        """Return the name of the table that holds a stream's checkpoint."""
        return self.state(checkpoints_table(stream))

    # --- types ---

    def column_type(self, column: Column) -> str:
        """Return the type that a column gets."""
        return types.column_type(column, self._json)

    def fit(self, current: str, arriving: str) -> Fit:
        """Say how an arriving type fits."""
        return types.fit(current, arriving)

    def comparable(self, expression: str, type_: str) -> str:
        """Return what is equal exactly when two values are the same: GoogleSQL compares no JSON."""
        return f"TO_JSON_STRING({expression})" if type_ == "JSON" else expression

    def count_if(self, condition: str) -> str:
        """Return the aggregate that counts the rows for which a condition is true."""
        return f"COUNTIF({condition})"

    def cast(self, expression: str, type_: str) -> str:
        """Return a cast; the type's parameters count when a column is written, not here."""
        return f"CAST({expression} AS {types.type_name(type_)})"

    def text_value(self, column: Column, expression: str) -> str:
        """Return the expression that reads PostgreSQL's canonical text."""
        if column.format == "array":
            expression = types.array_json(expression, column.source_type)
        return types.from_text(expression, self.column_type(column))

    def modulo(self, expression: str, divisor: int) -> str:
        """Return the remainder of a whole number, with the number's sign."""
        return f"MOD({expression}, {divisor})"

    def md5(self, expression: str) -> str:
        """Return the MD5 of a text's UTF-8 bytes, in hex digits."""
        return f"TO_HEX(MD5({expression}))"

    # --- staged rows ---

    def staging(self, load: Load) -> Sql:
        """Return the load's staging table, or no rows of the same columns."""
        if load.staging_tables:
            return self.staging_as_one(load, self.state)
        nulls = (
            f"CAST(NULL AS {types.type_name(types.wire_type(column.type))}) AS {self.quote(column.name)}"
            for column in (*load.manifest.schema.columns, *load.manifest.extra_columns)
        )
        return Sql(f"(SELECT {', '.join(nulls)} LIMIT 0)")

    def staged_value(self, column: Column, *, exact: bool) -> str:
        """Return the staged value in the column's own type.

        BigQuery has none of the exceptional values: infinite or far dates, 24:00:00, NUMERIC without a number.
        """
        del exact
        own, type_ = f"_elt_r.{self.quote(column.name)}", self.column_type(column)
        if column.format == "array":
            own = types.array_json(own, column.source_type)
        return types.from_text(own, type_) if type_ == "JSON" else own

    def staged_text(self, column: Column) -> str:
        """Return what was staged as text."""
        return types.as_text(f"_elt_r.{quoted(column.name)}", types.wire_type(column.type))

    def exact_text(self, column: Column) -> str:
        """Return an exceptional value as text."""
        path = literal(f'$."{column.name}"')
        return f"JSON_VALUE(_elt_r.{self.quote(EXACT)}, {path})"

    def parses(self, column: Column) -> bool:
        """Whether the column is JSON, which cannot hold every number that JSON text can."""
        return self.column_type(column) == "JSON"

    def everywhere(self, alias: str = "") -> str:
        """Return the condition on the target's partitions that is true of every row; "" where it needs none.

        :param alias: of the target, with its dot.
        """
        if not self._filtered:
            return ""
        name, type_ = self._filtered
        column = f"{alias}{self.quote(name)}"
        lowest = _LOWEST_INT64 if type_ == "INT64" else f"{type_} '0001-01-01'"
        return f"({column} >= {lowest} OR {column} IS NULL)"

    # --- DDL ---

    def create_table(
        self, ref: TableRef, columns: Sequence[tuple[str, str]], key: Sequence[str], options: Mapping[str, Any]
    ) -> Sql:
        """Return CREATE TABLE with its partitioning and clustering; the key is declared, BigQuery enforces none.

        :raises ConfigurationError: for an option that cannot be meant.
        """
        kinds = dict(columns)
        lines = [self.declared(name, type_) for name, type_ in columns]
        if key and len(key) <= _MAX_KEY and all(types.type_name(kinds[name]) in _KEY_TYPES for name in key):
            lines.append(f"PRIMARY KEY ({self.columns(key)}) NOT ENFORCED")
        clauses = TableOptions.parse(options, kinds, str(ref)).sql
        return Sql(f"CREATE TABLE IF NOT EXISTS {self.table(ref)} ({', '.join(lines)}){clauses}")

    def add_columns(self, ref: TableRef, statements: Sequence[Sql]) -> tuple[Sql, ...]:
        """Return the statements with all that add a column in one: BigQuery takes few changes of a table in 10 s."""
        start = f"ALTER TABLE {self.table(ref)} "
        added = [sql for sql in statements if sql.startswith(f"{start}ADD COLUMN ")]
        others = tuple(sql for sql in statements if sql not in added)
        if not added:
            return others
        return (Sql(start + ", ".join(sql.removeprefix(start) for sql in added)), *others)

    def finish(self, ref: TableRef, leftovers: Mapping[str, str], columns: Mapping[str, str]) -> tuple[Sql, ...]:
        """Return what finishes changes of type that died on their way; see :meth:`alter_type`.

        :param leftovers: the columns they left, and their types.
        :param columns: the others.
        """
        whole = {name: type_ for name, type_ in columns.items() if _beside(OLD, name) in leftovers}
        repairs = [self._repair(ref, name, leftovers[_beside(OLD, name)], type_) for name, type_ in whole.items()]
        drops = [Sql(f"ALTER TABLE {self.table(ref)} DROP COLUMN IF EXISTS {self.quote(name)}") for name in leftovers]
        return (*repairs, *drops)

    def _repair(self, ref: TableRef, name: str, before: str, type_: str) -> Sql:
        """Return what gives rows that somebody wrote between the first UPDATE and the renaming their value."""
        also = f" AND {self.everywhere()}" if self._filtered else ""
        column, value = self.quote(name), types.converted(self.quote(_beside(OLD, name)), before, type_)
        return Sql(f"UPDATE {self.table(ref)} SET {column} = {value} WHERE {column} IS DISTINCT FROM {value}{also}")

    def alter_type(self, ref: TableRef, name: str, current: str, type_: str) -> tuple[Sql, ...]:
        """Return what gives a column another type.

        Where BigQuery cannot do it: a new column is filled and takes the old one's name. A load that dies before the
        names change leaves a new column that the next one fills again, one that dies after it leaves an old column
        with which :meth:`finish` deals.

        :raises ConfigurationError: for a column that the table is partitioned or clustered by.
        """
        table = self.table(ref)
        if types.alterable(current, type_):
            return (Sql(f"ALTER TABLE {table} ALTER COLUMN {self.quote(name)} SET DATA TYPE {type_}"),)
        if name.casefold() in self._fixed:
            raise ConfigurationError(
                f"{ref} is partitioned or clustered by {name!r}, which is {current} and would have to become {type_}: "
                "BigQuery cannot change such a column.",
                hint="load into a new table, or leave it: on_schema_drift={'narrowed': 'freeze'}",
            )
        column, new, old = (self.quote(text) for text in (name, _beside(NEW, name), _beside(OLD, name)))
        value = types.converted(column, current, type_)
        key = name in self._key
        return tuple(Sql(text) for text in (
            f"ALTER TABLE {table} ADD COLUMN IF NOT EXISTS {new} {type_}",
            f"UPDATE {table} SET {new} = {value} WHERE {self.everywhere() or 'TRUE'}",
            *([f"ALTER TABLE {table} DROP PRIMARY KEY IF EXISTS"] if key else []),
            f"ALTER TABLE {table} RENAME COLUMN {column} TO {old}, RENAME COLUMN {new} TO {column}",
            self._repair(ref, name, current, type_),
            *([f"ALTER TABLE {table} ADD PRIMARY KEY ({self.columns(self._key)}) NOT ENFORCED"] if key else []),
            f"ALTER TABLE {table} DROP COLUMN IF EXISTS {old}",
        ))  # fmt: skip

    # --- state ---

    def create_state(self) -> tuple[Sql, ...]:
        """Return what makes the receipts and the sync log, in a dataset that is there."""
        receipts = (
            "load_id STRING NOT NULL, run_key STRING NOT NULL, stream STRING NOT NULL, version INT64, "
            "extracted INT64, inserted INT64, updated INT64, deleted INT64, receipt STRING NOT NULL, "
            "committed_at TIMESTAMP NOT NULL"
        )
        create = Sql(f"CREATE TABLE IF NOT EXISTS {self.state('receipts')} ({receipts}) CLUSTER BY load_id")
        return create, self.sync_log()

    def json_text(self, document: str, name: str) -> str:
        """Return a member of a JSON document as text; of lists, JSON_VALUE makes NULL."""
        path = literal(f"$.{name}")
        return f"COALESCE(JSON_VALUE({document}, {path}), NULLIF(JSON_QUERY({document}, {path}), 'null'))"

    def create_checkpoint(self, stream: str) -> Sql:
        """Return what makes a stream's checkpoint with its seed in it, in one."""
        return Sql(
            f"CREATE TABLE IF NOT EXISTS {self.checkpoints(stream)} AS SELECT {literal(stream)} AS stream, "
            f"0 AS version, '' AS load_id, 'null' AS position, {self.now} AS updated_at"
        )

    def lock_stream(self, stream: str) -> Sql:
        """Return the statement by which a load that leaves the checkpoint alone excludes others of its stream."""
        return Sql(f"UPDATE {self.checkpoints(stream)} SET updated_at = {self.now} WHERE TRUE")


def checkpoints_table(stream: str) -> str:
    """Return the name of the table that holds a stream's checkpoint."""
    return f"checkpoints_{hashlib.sha256(stream.encode()).hexdigest()[:16]}"


def _beside(prefix: str, name: str) -> str:
    digest = hashlib.sha256(name.encode()).hexdigest()[:16]
    return f"{prefix}{name}" if len(prefix) + len(name) <= 300 else f"{prefix}{digest}"  # noqa: PLR2004
