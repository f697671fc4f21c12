"""What is special about SQLite's SQL. Everything else is written by the package."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, ClassVar

import pyarrow as pa

from airflow_elt_provider.core.dialect import Dialect, Fit, Sql
from airflow_elt_provider.core.system_columns import EXACT
from airflow_elt_provider.errors import ConfigurationError

if TYPE_CHECKING:
    from airflow_elt_provider.core.load import Load
    from airflow_elt_provider.core.schema import Column
    from airflow_elt_provider.core.table_ref import TableRef


class SqliteDialect(Dialect):
    """Writes SQLite's SQL; 3.39 or newer."""

    text_type: ClassVar[str] = "TEXT"
    timestamp_type: ClassVar[str] = "TEXT"
    double_type: ClassVar[str] = "REAL"
    now: ClassVar[str] = "strftime('%Y-%m-%d %H:%M:%f', 'now')"

    # --- names: SQLite has no schemas ---

    def table(self, ref: TableRef) -> Sql:
        """Return the name of a table; what stands before the last dot is part of it."""
        return Sql(self.quote(str(ref)))

    def state_tables(self) -> tuple[Sql, ...]:
        """Return the DDL of our own tables."""
        return super().state_tables()[1:]

    def json_text(self, document: str, name: str) -> str:
        """Return a member of a JSON document as text."""
        return f"json_extract({document}, '$.{name}')"

    def iso_instant(self, expression: str) -> str:
        """Return an instant as `now` gives it."""
        return f"strftime('%Y-%m-%d %H:%M:%f', {expression})"

    # --- types ---

    def column_type(self, column: Column) -> str:
        """Return a type whose affinity keeps every value as it is: decimals and times are text.

        Times have a name of their own: other than a decimal's, their text sorts as they do.
        """
        if pa.types.is_integer(column.type) or pa.types.is_boolean(column.type):
            return "INTEGER"
        if pa.types.is_floating(column.type):
            return "REAL"
        if pa.types.is_temporal(column.type):
            return "TIME_TEXT"
        return "BLOB" if pa.types.is_binary(column.type) else self.text_type

    def fit(self, current: str, arriving: str) -> Fit:
        """Say how a type fits: text holds everything."""
        if current == arriving:
            return Fit.SAME
        return Fit.FITS if current == self.text_type else Fit.CONFLICTS

    def alter_type(self, ref: TableRef, name: str, current: str, type_: str) -> tuple[Sql, ...]:
        """SQLite cannot. :raises ConfigurationError: always."""
        raise ConfigurationError(
            f"{ref}: SQLite cannot make {type_} of the {current} column {name!r}.",
            hint="load into a new table, or leave the column: on_schema_drift={'narrowed': 'freeze'}",
        )

    def add_column(self, ref: TableRef, name: str, type_: str) -> Sql:
        """Return ALTER TABLE ADD COLUMN."""
        return Sql(f"ALTER TABLE {self.table(ref)} ADD COLUMN {self.quote(name)} {type_}")

    # --- staged rows ---

    def staging(self, load: Load) -> Sql:
        """Return the staging table, or several as one, or no rows of the same columns."""
        if load.staging_tables:
            return self.staging_as_one(load, self.quote)
        names = ", ".join(f"NULL AS {self.quote(name)}" for name in load.manifest.schema.names)
        return Sql(f"(SELECT {names} WHERE false)")

    def staged_value(self, column: Column, *, exact: bool) -> str:
        """Return the staged value; what Arrow had no value for (infinity, BC) is there as text."""
        own = f"_elt_r.{self.quote(column.name)}"
        is_text = self.column_type(column).endswith("TEXT")
        return f"coalesce({own}, {self.exact_text(column)})" if exact and is_text else own

    # --- moments, as text of one form, so that they sort ---

    def instant(self, moment: datetime) -> str:
        """Return a moment as the files' timestamps become text."""
        return f"'{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}Z'"

    def moment(self, column: Column, expression: str) -> str:
        """Return a date or a timestamp as a moment in UTC."""
        if pa.types.is_date(column.type):
            return f"{expression} || ' 00:00:00.000000Z'"
        return expression if column.type.tz else f"{expression} || 'Z'"

    def exact_text(self, column: Column) -> str:
        """Return an exceptional value as text."""
        path = '$."' + column.name + '"'
        return f"json_extract(_elt_r.{self.quote(EXACT)}, '{path.replace(chr(39), chr(39) * 2)}')"
