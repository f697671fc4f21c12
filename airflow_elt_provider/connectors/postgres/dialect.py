"""PostgreSQL's SQL, as far as it differs from the standard. Everything runs on PostgreSQL 11."""

from __future__ import annotations

from typing import ClassVar, Final

import pyarrow as pa

from airflow_elt_provider.connectors.postgres import destination_types as types
from airflow_elt_provider.connectors.postgres.names import literal
from airflow_elt_provider.core.dialect import Dialect, Fit, Sql
from airflow_elt_provider.core.evolve import own_columns
from airflow_elt_provider.core.load import Load
from airflow_elt_provider.core.modes import WriteMode
from airflow_elt_provider.core.schema import Column
from airflow_elt_provider.core.system_columns import EXACT, LOAD_ID
from airflow_elt_provider.core.table_ref import TableRef

PG_11: Final = 110_000
_PG_16: Final = 160_000
_INTEGERS: Final = frozenset({"smallint", "integer", "bigint"})
NO_DAY: Final = "^(0000-|[0-9]{4}-(00-|[0-9]{2}-00|02-(29|3)|(04|06|09|11)-31))[^B]*$"
"""Exceptional dates that no calendar has (MySQL keeps them): pattern of their text. BC ones are PostgreSQL's own."""


def may_become_target(staging: str) -> bool:
    """Whether a staging table lies in the target's schema, so that merge may rename it instead of copying its rows."""
    return bool(staging) and len(TableRef.parse(staging).parts) > 1


class PostgresDialect(Dialect):
    """Writes PostgreSQL's SQL.

    :param server_version: of the target's server, as ``server_version_num`` gives it.
    """

    # No identifier or literal of PostgreSQL can hold this character, whereas "100%s" is a fine name for a column.
    placeholder: ClassVar[str] = "\0"

    def __init__(self, server_version: int = PG_11) -> None:
        self._server_version = server_version

    def column_type(self, column: Column) -> str:
        """Return the type that a column gets."""
        return types.column_type(column, self._server_version)

    def fit(self, current: str, arriving: str) -> Fit:
        """Say how an arriving type fits."""
        return types.fit(current, arriving)

    def comparable(self, expression: str, type_: str) -> str:
        """Return what is equal exactly when two values are the same."""
        return types.comparable(expression, type_)

    def ordered(self, expression: str, type_: str) -> str:
        """Return an expression that sorts as sources do: text by its bytes, whatever the database's collation."""
        return f'{expression} COLLATE "C"' if types.is_collated(type_) else expression

    def md5(self, expression: str) -> str:
        """Return the MD5 of a text's UTF-8 bytes; PostgreSQL alone would take those of the database's encoding."""
        return f"md5(convert_to({expression}, 'UTF8'))"

    def try_cast(self, expression: str, type_: str) -> str:
        """Return a cast that gives NULL for what does not fit; before PostgreSQL 16 it fails instead.

        Whole numbers are what their value says: ``5.00`` and ``true`` have no text that an integer's could be.
        """
        if self._server_version < _PG_16:
            return self.cast(expression, type_)
        text = self.cast(expression, self.text_type)
        if type_ in _INTEGERS:
            whole = f"regexp_replace({text}, '[.]0+$', '')"
            text = f"CASE {text} WHEN 'true' THEN '1' WHEN 'false' THEN '0' ELSE {whole} END"
        valid = f"pg_catalog.pg_input_is_valid({text}, {literal(type_)})"
        return f"CASE WHEN {valid} THEN {self.cast(text, type_)} END"

    # --- staging ---

    def staging(self, load: Load) -> Sql:
        """Return the load's staging table, or no rows of the same columns."""
        if load.staging_tables:
            return self.staging_as_one(load, self.staging_table)
        columns = load.manifest.schema.columns
        nulls = ", ".join(f"NULL::{self.column_type(column)} AS {self.quote(column.name)}" for column in columns)
        return Sql(f"(SELECT {nulls} WHERE false)")

    def staging_table(self, name: str) -> Sql:
        """Return a staging table's name, quoted; one without a schema lies in our own."""
        ref = TableRef.parse(name)
        return self.table(ref if len(ref.parts) > 1 else TableRef((self.state_schema, name)))

    def staging_columns(self, load: Load) -> list[tuple[str, str]]:
        """Return names and types of a staging table's columns."""
        own = [(column.name, self.column_type(column)) for column in load.manifest.schema.columns]
        return [*own, *self.staged_extras(load)]

    def create_staging(self, load: Load, name: str) -> Sql:
        """Return the DDL of a staging table.

        In our own schema it is unlogged: after a crash of the server the load is staged again.
        """
        unlogged = "" if may_become_target(name) else " UNLOGGED"
        columns = ", ".join(f"{self.quote(column)} {type_}" for column, type_ in self.staging_columns(load))
        return Sql(f"CREATE{unlogged} TABLE {self.staging_table(name)} ({columns})")

    def rename_staging(self, load: Load) -> Sql:
        """Return the DDL that gives a staging table in the target's schema the target's name."""
        return Sql(f"ALTER TABLE {self.staging_table(load.staging)} RENAME TO {self.quote(load.target.name)}")

    def complete_target(self, load: Load) -> tuple[Sql, ...]:
        """Return the DDL that gives a renamed staging table what a target has besides."""
        alter = f"ALTER TABLE {self.table(load.target)}"
        ddl: list[str] = []
        for name, type_ in own_columns(self, load):
            column = self.quote(name)
            value = f" DEFAULT {literal(load.load_id)}" if name == LOAD_ID else ""
            ddl.append(f"{alter} ADD COLUMN {column} {type_}{value}")
            ddl.append(f"{alter} ALTER COLUMN {column} DROP DEFAULT")
        key = load.manifest.schema.primary_key
        if key and load.mode is not WriteMode.APPEND:
            ddl.append(f"{alter} ADD PRIMARY KEY ({self.columns(key)})")
        return tuple(Sql(sql) for sql in ddl)

    def copy_staging(self, load: Load, name: str) -> Sql:
        """Return the COPY that fills a staging table."""
        columns = self.columns(column for column, _ in self.staging_columns(load))
        return Sql(f"COPY {self.staging_table(name)} ({columns}) FROM STDIN (FREEZE)")

    def analyze_staging(self, name: str) -> Sql:
        """Return ANALYZE: of a condition on ``_elt_op`` the planner would expect next to no rows, and nest loops."""
        return Sql(f"ANALYZE {self.staging_table(name)}")

    def drop_staging(self, name: str) -> Sql:
        """Return DROP TABLE IF EXISTS."""
        return Sql(f"DROP TABLE IF EXISTS {self.staging_table(name)}")

    def staged_value(self, column: Column, *, exact: bool) -> str:
        """Return the staged value; staging tables are typed as the target would be."""
        own, type_ = f"_elt_r.{self.quote(column.name)}", self.column_type(column)
        if not exact or column.format or type_ == self.text_type:
            return own
        text = self.exact_text(column)
        if pa.types.is_date(column.type) or pa.types.is_timestamp(column.type):
            text = f"CASE WHEN {text} !~ '{NO_DAY}' THEN {text} END"
        return f"coalesce({own}, {self.cast(text, type_)})"

    def exact_text(self, column: Column) -> str:
        """Return an exceptional value as text."""
        return f"(_elt_r.{self.quote(EXACT)}::pg_catalog.json ->> {literal(column.name)})"

    # --- state ---

    def state_tables(self) -> tuple[Sql, ...]:
        """Return the DDL of our own tables."""
        staging = (
            f"CREATE TABLE IF NOT EXISTS {self.state('staging')} (staging_table text PRIMARY KEY, "
            "load_id text NOT NULL, rows bigint NOT NULL, created_at timestamp with time zone NOT NULL)"
        )
        return (*super().state_tables(), Sql(staging))

    def sync_log(self) -> Sql:
        """Return the DDL of the sync log; views have no IF NOT EXISTS."""
        return Sql(f"CREATE OR REPLACE VIEW {self.state('sync_log')} AS {self._logged(self.state('receipts'))}")

    def register_staging(self) -> Sql:
        """Registration of a staging table: name, load id and rows bound."""
        at = ", ".join([self.placeholder] * 3)
        return Sql(
            f"INSERT INTO {self.state('staging')} (staging_table, load_id, rows, created_at) VALUES ({at}, now())"
        )

    def unregister_staging(self) -> Sql:
        """Take a staging table (bound) out of the register."""
        return Sql(f"DELETE FROM {self.state('staging')} WHERE staging_table = {self.placeholder}")

    def select_staging(self) -> Sql:
        """Staging tables of a load (bound), newest first, with their rows."""
        return Sql(
            f"SELECT staging_table FROM {self.state('staging')} WHERE load_id = {self.placeholder} "
            "ORDER BY created_at DESC, staging_table DESC"
        )

    def select_old_staging(self) -> Sql:
        """Staging tables older than so many seconds (bound)."""
        age = f"{self.placeholder} * interval '1 second'"
        return Sql(f"SELECT staging_table FROM {self.state('staging')} WHERE created_at < now() - {age} ORDER BY 1")
