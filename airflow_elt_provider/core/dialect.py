"""SQL as pure text. A dialect is data and small rules on a class; connectors override what differs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum
from typing import ClassVar, NewType

from airflow_elt_provider.core.load import Load
from airflow_elt_provider.core.schema import Column
from airflow_elt_provider.core.table_ref import TableRef

Sql = NewType("Sql", str)
"""SQL text that a dialect made: identifiers quoted, values bound."""


class Fit(Enum):
    """How an arriving type relates to a column's type."""

    SAME = "same"
    FITS = "fits"
    """the column holds every value of the arriving type"""
    WIDENS = "widens"
    """the arriving type holds every value of the column's"""
    CONFLICTS = "conflicts"


class Dialect:
    """The SQL that all transactional destinations share; standard SQL that PostgreSQL 11 and DuckDB both speak."""

    placeholder: ClassVar[str] = "?"
    text_type: ClassVar[str] = "text"
    now: ClassVar[str] = "now()"
    state_schema: ClassVar[str] = "_elt"

    # --- names ---

    def quote(self, name: str) -> str:
        """Return an identifier, quoted."""
        return '"' + name.replace('"', '""') + '"'

    def table(self, ref: TableRef) -> Sql:
        """Return a table's name, quoted."""
        return Sql(".".join(self.quote(part) for part in ref.parts))

    def state(self, table: str) -> Sql:
        """Return the name of one of our own tables: ``checkpoints`` or ``receipts``."""
        return self.table(TableRef((self.state_schema, table)))

    def columns(self, names: Iterable[str], prefix: str = "") -> str:
        """Return a list of column names, each with a prefix such as ``s.``."""
        return ", ".join(prefix + self.quote(name) for name in names)

    # --- what each system says in its own way ---

    def column_type(self, column: Column) -> str:
        """Return the type that a new column of the target gets, spelled as the catalog spells it."""
        raise NotImplementedError

    def fit(self, current: str, arriving: str) -> Fit:
        """Say how an arriving type fits a column of the current type (both spelled as the catalog spells them)."""
        raise NotImplementedError

    def staging(self, load: Load) -> Sql:
        """Return a FROM item with the staged rows as they were ingested."""
        raise NotImplementedError

    def staged_value(self, column: Column, *, exact: bool) -> str:
        """Return the expression over the staging row ``r`` that gives the column in its own type.

        :param exact: whether the staging rows have the column of exceptional values.
        """
        raise NotImplementedError

    def exact_text(self, column: Column) -> str:
        """Return the expression over ``r`` for a column's exceptional value as text, or NULL."""
        raise NotImplementedError

    def comparable(self, expression: str, type_: str) -> str:
        """Return an expression that is equal exactly when two values are the same."""
        del type_
        return expression

    def text_value(self, column: Column, expression: str) -> str:
        """Return the expression that reads a value's canonical text as a new column of the target would hold it."""
        return self.cast(expression, self.column_type(column))

    def ordered(self, expression: str, type_: str) -> str:
        """Return an expression that sorts as sources do: text by its bytes."""
        del type_
        return expression

    def cast(self, expression: str, type_: str) -> str:
        """Return a cast."""
        return f"CAST({expression} AS {type_})"

    def try_cast(self, expression: str, type_: str) -> str:
        """Return a cast that gives NULL for what does not fit, where the system has one."""
        return self.cast(expression, type_)

    # --- DDL ---

    def create_table(self, ref: TableRef, columns: Sequence[tuple[str, str]], key: Sequence[str]) -> Sql:
        """Return CREATE TABLE IF NOT EXISTS."""
        lines = [f"{self.quote(name)} {type_}" for name, type_ in columns]
        if key:
            lines.append(f"PRIMARY KEY ({self.columns(key)})")
        return Sql(f"CREATE TABLE IF NOT EXISTS {self.table(ref)} ({', '.join(lines)})")

    def add_column(self, ref: TableRef, name: str, type_: str) -> Sql:
        """Return ALTER TABLE ADD COLUMN."""
        return Sql(f"ALTER TABLE {self.table(ref)} ADD COLUMN IF NOT EXISTS {self.quote(name)} {type_}")

    def alter_type(self, ref: TableRef, name: str, type_: str) -> Sql:
        """Return ALTER COLUMN TYPE, with the conversion where the system needs it spelled out."""
        column = self.quote(name)
        return Sql(f"ALTER TABLE {self.table(ref)} ALTER COLUMN {column} TYPE {type_} USING {self.cast(column, type_)}")

    def state_tables(self) -> tuple[Sql, ...]:
        """Return the DDL of our own tables."""
        text, stamp = self.text_type, "timestamp with time zone"
        checkpoints = (
            f"stream {text} PRIMARY KEY, version bigint NOT NULL, load_id {text} NOT NULL, "
            f"position {text} NOT NULL, updated_at {stamp} NOT NULL"
        )
        receipts = (
            f"load_id {text} PRIMARY KEY, run_key {text} NOT NULL, stream {text} NOT NULL, version bigint, "
            f"extracted bigint, inserted bigint, updated bigint, deleted bigint, receipt {text} NOT NULL, "
            f"committed_at {stamp} NOT NULL"
        )
        return (
            Sql(f"CREATE SCHEMA IF NOT EXISTS {self.quote(self.state_schema)}"),
            Sql(f"CREATE TABLE IF NOT EXISTS {self.state('checkpoints')} ({checkpoints})"),
            Sql(f"CREATE TABLE IF NOT EXISTS {self.state('receipts')} ({receipts})"),
        )

    # --- state ---

    def select_checkpoint(self) -> Sql:
        """Checkpoint of a stream (bound)."""
        at = self.placeholder
        return Sql(f"SELECT stream, version, load_id, position FROM {self.state('checkpoints')} WHERE stream = {at}")

    def select_receipt(self) -> Sql:
        """Receipt of a load (bound)."""
        return Sql(f"SELECT receipt FROM {self.state('receipts')} WHERE load_id = {self.placeholder}")

    def select_receipts(self, *, of_run: bool) -> Sql:
        """Receipts of a stream (bound), of one run (bound) where asked, oldest first."""
        run = f" AND run_key = {self.placeholder}" if of_run else ""
        at = f"stream = {self.placeholder}{run}"
        return Sql(f"SELECT receipt FROM {self.state('receipts')} WHERE {at} ORDER BY committed_at, version")

    def insert_checkpoint(self) -> Sql:
        """First checkpoint of a stream: stream, version, load id, position bound."""
        at = ", ".join([self.placeholder] * 4)
        return Sql(
            f"INSERT INTO {self.state('checkpoints')} (stream, version, load_id, position, updated_at) "
            f"VALUES ({at}, {self.now}) ON CONFLICT (stream) DO NOTHING"
        )

    def move_checkpoint(self) -> Sql:
        """Compare-and-set: new version, load id, position, then stream and expected version bound."""
        p = self.placeholder
        return Sql(
            f"UPDATE {self.state('checkpoints')} SET version = {p}, load_id = {p}, position = {p}, "
            f"updated_at = {self.now} WHERE stream = {p} AND version = {p}"
        )

    def forget_checkpoint(self) -> Sql:
        """Take the position out of a stream's checkpoint (bound), and make every load from before stale."""
        return Sql(
            f"UPDATE {self.state('checkpoints')} SET version = version + 1, position = 'null', "
            f"updated_at = {self.now} WHERE stream = {self.placeholder} AND position <> 'null'"
        )

    def insert_receipt(self) -> Sql:
        """Receipt: load id, run key, stream, version, four counts and the JSON bound."""
        at = ", ".join([self.placeholder] * 9)
        return Sql(
            f"INSERT INTO {self.state('receipts')} (load_id, run_key, stream, version, extracted, inserted, updated, "
            f"deleted, receipt, committed_at) VALUES ({at}, {self.now})"
        )
