"""Snowflake's SQL, as far as it differs from the standard."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from string import ascii_lowercase, ascii_uppercase
from typing import Any, ClassVar, Final

from airflow_elt_provider.connectors.snowflake import types
from airflow_elt_provider.connectors.snowflake.arrays import array_json
from airflow_elt_provider.core.dialect import Dialect, Fit, Sql
from airflow_elt_provider.core.load import Load
from airflow_elt_provider.core.schema import Column
from airflow_elt_provider.core.system_columns import EXACT
from airflow_elt_provider.core.table_ref import TableRef
from airflow_elt_provider.core.types import wire_type
from airflow_elt_provider.errors import ConfigurationError

RETYPED: Final = "_elt_new_"
REPLACED: Final = "_elt_old_"
"""Beginnings of the names of the two columns that a change of type needs for a while."""
_FOLD: Final = str.maketrans(ascii_lowercase, ascii_uppercase)
_DOCUMENTS: Final = ("PARSE_JSON(", "TRY_PARSE_JSON(")
"""How expressions begin that give a VARIANT with JSON in it."""
_TRANSPARENT: Final = frozenset({"DATE", "TIME(9)", "TIMESTAMP_NTZ(9)"})


class SnowflakeDialect(Dialect):
    """Writes Snowflake's SQL.

    Every name is written in double quotes. By default it is folded to upper case first, letters of ASCII only, as
    Snowflake folds what users write without quotes: so a column ``id`` is ``ID``, and users type it as they like.

    Targets have no primary key: Snowflake would not enforce it.

    :param database: where our own tables lie, and targets that name no database.
    :param schema: of targets that name none.
    :param exact: whether names are written as they are.
    """

    placeholder: ClassVar[str] = "?"
    text_type: ClassVar[str] = types.TEXT
    timestamp_type: ClassVar[str] = types.TIMESTAMP_TZ
    seeded: ClassVar[bool] = True
    now: ClassVar[str] = "CURRENT_TIMESTAMP()"
    state_schema: ClassVar[str] = "_ELT"
    whole_type: ClassVar[str] = "NUMBER(19,0)"
    double_type: ClassVar[str] = "FLOAT"

    def __init__(self, database: str, schema: str = "PUBLIC", *, exact: bool = False) -> None:
        self._database, self._schema, self.exact = database, schema, exact

    # --- names ---

    def fold(self, name: str) -> str:
        """Return a name as the catalog has it."""
        return name if self.exact else name.translate(_FOLD)

    def quote(self, name: str) -> str:
        """Return an identifier, folded and quoted."""
        return super().quote(self.fold(name))

    def parts(self, ref: TableRef) -> tuple[str, str, str]:
        """Return database, schema and table.

        :raises ConfigurationError: when the name has more parts than that.
        """
        match ref.parts:
            case (name,):
                return self._database, self._schema, name
            case (schema, name):
                return self._database, schema, name
            case (database, schema, name):
                return database, schema, name
        raise ConfigurationError(f"{ref} is no table of Snowflake.", hint="write database.schema.table, or less")

    def table(self, ref: TableRef) -> Sql:
        """Return a table's name, quoted and in full."""
        return super().table(TableRef(self.parts(ref)))

    def schema_of(self, ref: TableRef) -> Sql:
        """Return the name of a table's schema, quoted and in full."""
        return Sql(".".join(self.quote(part) for part in self.parts(ref)[:2]))

    @property
    def own_schema(self) -> Sql:
        """The name of our own schema."""
        return Sql(f'{self.quote(self._database)}."{self.state_schema}"')

    def state(self, table: str) -> Sql:
        """Return the name of one of our own tables, which are in upper case whatever is done to others."""
        return Sql(f'{self.own_schema}."{table.upper()}"')

    def checkpoints(self, stream: str) -> Sql:
        """Return the table of a stream's checkpoint, one for each: an UPDATE locks a whole table."""
        return self.state(f"checkpoints_{hashlib.sha256(stream.encode()).hexdigest()[:16]}")

    def literal(self, value: str) -> str:
        """Return a string constant."""
        return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"

    # --- values ---

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
        nulls = (f"CAST(NULL AS {type_}) AS {self.quote(name)}" for name, type_ in self.staging_columns(load))
        return Sql(f"(SELECT {', '.join(nulls)} WHERE FALSE)")

    def staging_columns(self, load: Load) -> list[tuple[str, str]]:
        """Return names and types of the columns of a staging table: as the files have them."""
        columns = [(c.name, self.column_type(Column(c.name, wire_type(c.type)))) for c in load.manifest.schema.columns]
        return [*columns, *self.staged_extras(load)]

    def staged_value(self, column: Column, *, exact: bool) -> str:
        """Return the staged value in the column's own type; Snowflake has none of the exceptional values."""
        del exact
        own = f"_elt_r.{self.quote(column.name)}"
        if column.format == "array":
            own = array_json(own, column.source_type, self.literal)
        return f"PARSE_JSON({own}, 'd')" if self.column_type(column) == types.VARIANT else own

    def staged_text(self, column: Column) -> str:
        """Return what was staged as text."""
        own, binary = f"_elt_r.{self.quote(column.name)}", self.column_type(column) == "BINARY"
        return f"{self.literal(chr(92) + 'x')} || LOWER(HEX_ENCODE({own}))" if binary else super().staged_text(column)

    def exact_text(self, column: Column) -> str:
        """Return an exceptional value as text."""
        value = f"GET(PARSE_JSON(_elt_r.{self.quote(EXACT)}), {self.literal(column.name)})"
        return self.cast(value, self.text_type)

    def comparable(self, expression: str, type_: str) -> str:
        """Return what can be compared: VARIANT only by its text, in which keys are sorted."""
        return f"TO_JSON({expression})" if type_ == types.VARIANT else expression

    def text_value(self, column: Column, expression: str) -> str:
        """Return the expression that reads PostgreSQL's canonical text; NULL for what Snowflake has no value for."""
        type_ = self.column_type(column)
        if column.format == "array":
            expression = array_json(expression, column.source_type, self.literal)
        match type_:
            case types.VARIANT:
                return f"PARSE_JSON({expression}, 'd')"
            case "BINARY":
                pattern = self.literal(r"^\\x")
                return f"TO_BINARY(REGEXP_REPLACE({expression}, {pattern}, ''), 'HEX')"
            case types.TIMESTAMP_TZ:
                return f"TRY_CAST({self._with_minutes(expression)} AS {type_})"
        return f"TRY_CAST({expression} AS {type_})" if type_ in _TRANSPARENT else self.cast(expression, type_)

    def cast(self, expression: str, type_: str) -> str:
        """Return a cast; a bound instant gets the minutes of its offset, without which it is not understood.

        JSON becomes its own text: a cast would make the same of ``"5"`` and ``5``, and NULL of ``null``.
        """
        if type_.startswith(types.TEXT) and expression.startswith(_DOCUMENTS):
            expression = self.comparable(expression, types.VARIANT)
        if expression == self.placeholder and type_.startswith(("TIMESTAMP_TZ", "TIMESTAMP_LTZ")):
            expression = self._with_minutes(expression)
        return super().cast(expression, type_)

    def _with_minutes(self, text: str) -> str:
        pattern, replacement = self.literal(r"(:[0-9.]+[+-][0-9][0-9])$"), self.literal(r"\1:00")
        return f"REGEXP_REPLACE({text}, {pattern}, {replacement})"

    def try_cast(self, expression: str, type_: str) -> str:
        """Return a cast that gives NULL for what does not fit; Snowflake's takes text alone."""
        text = self.cast(expression, self.text_type)
        if type_ == types.VARIANT:
            return f"TRY_PARSE_JSON({text}, 'd')"
        return f"TRY_TO_BINARY({text}, 'HEX')" if type_ == "BINARY" else f"TRY_CAST({text} AS {type_})"

    def count_if(self, condition: str) -> str:
        """Return the aggregate that counts rows."""
        return f"COUNT_IF({condition})"

    # --- DDL ---

    def create_table(
        self, ref: TableRef, columns: Sequence[tuple[str, str]], key: Sequence[str], options: Mapping[str, Any]
    ) -> Sql:
        """Return CREATE TABLE without a key; see the class."""
        del key
        transient = "TRANSIENT " if options.get("transient") else ""
        lines = ", ".join(self.declared(name, type_) for name, type_ in columns)
        cluster, days = options.get("cluster_by"), options.get("data_retention_days")
        return Sql(
            f"CREATE {transient}TABLE IF NOT EXISTS {self.table(ref)} ({lines})"
            + (f" CLUSTER BY ({self.columns([cluster] if isinstance(cluster, str) else cluster)})" if cluster else "")
            + (f" DATA_RETENTION_TIME_IN_DAYS = {int(days)}" if days is not None else "")
        )

    def create_schema(self, schema: Sql) -> Sql:
        """Return CREATE SCHEMA IF NOT EXISTS for a quoted name."""
        return Sql(f"CREATE SCHEMA IF NOT EXISTS {schema}")

    def alter_type(self, ref: TableRef, name: str, current: str, type_: str) -> tuple[Sql, ...]:
        """Return what changes a column's type.

        Snowflake itself only lets texts and numbers grow. For anything else a second column is filled, and takes the
        first one's name in one request: see :meth:`unfinished` for what a load does that finds this half done.
        """
        table, column = self.table(ref), self.quote(name)
        if types.grows_in_place(current, type_):
            return (Sql(f"ALTER TABLE {table} ALTER COLUMN {column} SET DATA TYPE {type_}"),)
        new, old = self.quote(RETYPED + name), self.quote(REPLACED + name)
        renamed = ((column, old), (new, column))
        swap = " ".join(f"ALTER TABLE {table} RENAME COLUMN {one} TO {other};" for one, other in renamed)
        return (
            Sql(f"ALTER TABLE {table} DROP COLUMN IF EXISTS {new}"),
            Sql(f"ALTER TABLE {table} ADD COLUMN {new} {type_}"),
            Sql(f"UPDATE {table} SET {new} = {self.cast(self.comparable(column, current), type_)}"),
            Sql(f"EXECUTE IMMEDIATE {self.literal(f'BEGIN {swap} END')}"),
            *self.unfinished(ref, name, current, type_),
        )

    def unfinished(self, ref: TableRef, name: str, current: str, type_: str) -> tuple[Sql, ...]:
        """Return what ends a change of type from where the replaced column is still there.

        :param type_: of the column itself; "" where it is not there: the change begins anew from what it replaced.
        """
        table, column, old = self.table(ref), self.quote(name), self.quote(REPLACED + name)
        if not type_:
            return (Sql(f"ALTER TABLE {table} RENAME COLUMN {old} TO {column}"),)
        value = self.cast(self.comparable(old, current), type_)
        return (
            # Rows that somebody else committed between the first UPDATE and the renames.
            Sql(f"UPDATE {table} SET {column} = {value} WHERE {column} IS NULL AND {old} IS NOT NULL"),
            Sql(f"ALTER TABLE {table} DROP COLUMN IF EXISTS {old}"),
        )

    # --- state ---

    def receipts_table(self) -> Sql:
        """Return the DDL of the receipts."""
        text, number = self.text_type, "NUMBER(19,0)"
        columns = (
            f"load_id {text}, run_key {text}, stream {text}, version {number}, extracted {number}, inserted {number}, "
            f"updated {number}, deleted {number}, receipt {text}, committed_at {self.timestamp_type}"
        )
        return Sql(f"CREATE TABLE IF NOT EXISTS {self.state('receipts')} ({columns})")

    def json_text(self, document: str, name: str) -> str:
        """Return a member of a JSON document as text."""
        return self.cast(f"GET(PARSE_JSON({document}), {self.literal(name)})", self.text_type)

    def checkpoint_table(self, stream: str) -> Sql:
        """Return what makes a stream's checkpoint, with its row in it: one statement, one transaction."""
        values = (
            ("stream", self.literal(stream), self.text_type), ("version", "0", "NUMBER(19,0)"),
            ("load_id", "''", self.text_type), ("position", "'null'", self.text_type),
            ("updated_at", self.now, self.timestamp_type),
        )  # fmt: skip
        items = ", ".join(f"CAST({value} AS {type_}) AS {name}" for name, value, type_ in values)
        return Sql(f"CREATE TABLE IF NOT EXISTS {self.checkpoints(stream)} AS SELECT {items}")

    def lock_stream(self, stream: str) -> Sql:
        """Return an UPDATE that changes nothing and makes other loads of the stream (bound) wait."""
        return Sql(f"UPDATE {self.checkpoints(stream)} SET stream = stream WHERE stream = {self.placeholder}")
