"""SQL as pure text. A dialect is data and small rules on a class; connectors override what differs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from enum import Enum
from typing import Any, ClassVar, NewType

from airflow_elt_provider.core.load import Load, Piece
from airflow_elt_provider.core.schema import VERSION_START, Column
from airflow_elt_provider.core.sync_log_sql import logged
from airflow_elt_provider.core.system_columns import VALID_FROM
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
    """The SQL that all transactional destinations share; standard SQL that PostgreSQL 11 and DuckDB both speak.

    :cvar seeded: whether a stream has a checkpoint of version 0 before its first load: where each stream's checkpoint
        is a table of its own, which is made with that row in it.
    """

    placeholder: ClassVar[str] = "?"
    text_type: ClassVar[str] = "text"
    timestamp_type: ClassVar[str] = "timestamp with time zone"
    seeded: ClassVar[bool] = False
    now: ClassVar[str] = "now()"
    state_schema: ClassVar[str] = "_elt"
    whole_type: ClassVar[str] = "bigint"
    double_type: ClassVar[str] = "double precision"

    # --- names ---

    def staged_extras(self, load: Load) -> list[tuple[str, str]]:
        """Return names and types of what a load's staged rows have besides the table's columns."""
        return [(column.name, self.column_type(column)) for column in load.manifest.extra_columns]

    def quote(self, name: str) -> str:
        """Return an identifier, quoted."""
        return '"' + name.replace('"', '""') + '"'

    def table(self, ref: TableRef) -> Sql:
        """Return a table's name, quoted."""
        return Sql(".".join(self.quote(part) for part in ref.parts))

    def state(self, table: str) -> Sql:
        """Return the name of one of our own tables: ``checkpoints`` or ``receipts``."""
        return self.table(TableRef((self.state_schema, table)))

    def checkpoints(self, stream: str) -> Sql:
        """Return the name of the table that holds a stream's checkpoint.

        One for all streams where an UPDATE locks its row; a system that locks the whole table, or aborts one of two
        transactions that write to it, gives each stream its own.
        """
        del stream
        return self.state("checkpoints")

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

    def staging_as_one(self, load: Load, name: Callable[[str], str]) -> Sql:
        """Return a load's staging tables as one FROM item.

        :param name: quotes the name of a staging table.
        """
        if not load.pieces:
            return Sql(name(load.staging))
        own, extras = self.columns(load.manifest.schema.names), self.staged_extras(load)
        rows = [
            f"SELECT {', '.join((own, *(self._extra(*extra, piece) for extra in extras)))} FROM {name(piece.table)}"
            for piece in load.pieces
        ]
        return Sql(f"({' UNION ALL '.join(rows)})")

    def _extra(self, column: str, type_: str, piece: Piece) -> str:
        own = self.quote(column)
        return own if column in piece.extra else f"{self.cast('NULL', type_)} AS {own}"

    def staged_value(self, column: Column, *, exact: bool) -> str:
        """Return the expression over the staging row ``r`` that gives the column in its own type.

        :param exact: whether the staging rows have the column of exceptional values.
        """
        raise NotImplementedError

    def staged_text(self, column: Column) -> str:
        """Return the expression over ``r`` for what was staged as text; bytes as PostgreSQL writes them, in hex."""
        return self.cast(f"_elt_r.{self.quote(column.name)}", self.text_type)

    def exact_text(self, column: Column) -> str:
        """Return the expression over ``r`` for a column's exceptional value as text, or NULL."""
        raise NotImplementedError

    def parses(self, column: Column) -> bool:
        """Whether staged texts of the column are read as values of another kind, which may have no equal for some."""
        del column
        return False

    def comparable(self, expression: str, type_: str) -> str:
        """Return an expression that is equal exactly when two values are the same."""
        del type_
        return expression

    def instant(self, moment: datetime) -> str:
        """Return a moment as a value of ``_elt_valid_from``."""
        return self.cast(f"'{moment.astimezone(UTC).isoformat(' ', 'microseconds')}'", self.column_type(VERSION_START))

    def moment(self, column: Column, expression: str) -> str:
        """Return a date's or timestamp's value as one of ``_elt_valid_from``; in UTC, as the session is."""
        type_ = self.column_type(VERSION_START)
        return expression if self.column_type(column) == type_ else self.cast(expression, type_)

    def text_value(self, column: Column, expression: str) -> str:
        """Return the expression that reads a value's canonical text as a new column of the target would hold it."""
        return self.cast(expression, self.column_type(column))

    def ordered(self, expression: str, type_: str) -> str:
        """Return an expression that sorts as sources do: text by its bytes."""
        del type_
        return expression

    def count_if(self, condition: str) -> str:
        """Return the aggregate that counts the rows for which a condition is true."""
        return f"count(*) FILTER (WHERE {condition})"

    def differ(self, one: str, other: str) -> str:
        """Return the condition that two values are not the same; NULL is the same as NULL."""
        return f"{one} IS DISTINCT FROM {other}"

    def cast(self, expression: str, type_: str) -> str:
        """Return a cast."""
        return f"CAST({expression} AS {type_})"

    def try_cast(self, expression: str, type_: str) -> str:
        """Return a cast that gives NULL for what does not fit, where the system has one."""
        return self.cast(expression, type_)

    # --- buckets of keys ---

    def modulo(self, expression: str, divisor: int) -> str:
        """Return the remainder of a whole number, with the number's sign."""
        return f"({expression} % {divisor})"

    def key_text(self, expression: str, type_: str) -> str:
        """Return a text, whole number or uuid as text."""
        return expression if type_ == self.text_type else self.cast(expression, self.text_type)

    def md5(self, expression: str) -> str:
        """Return the MD5 of a text's UTF-8 bytes, in 32 lower-case hex digits."""
        return f"md5({expression})"

    # --- DDL ---

    def create_table(
        self, ref: TableRef, columns: Sequence[tuple[str, str]], key: Sequence[str], options: Mapping[str, Any]
    ) -> Sql:
        """Return CREATE TABLE IF NOT EXISTS.

        :param columns: names and types.
        :param options: what the user gave as ``table_options``; the destination has refused what it does not know.
        """
        del options
        lines = [self.declared(name, type_) for name, type_ in columns]
        if key:
            lines.append(f"PRIMARY KEY ({self.columns(key)})")
        return Sql(f"CREATE TABLE IF NOT EXISTS {self.table(ref)} ({', '.join(lines)})")

    def declared(self, name: str, type_: str) -> str:
        """Return a column as CREATE TABLE has it."""
        return f"{self.quote(name)} {type_}{' NOT NULL' if name == VALID_FROM else ''}"

    def add_column(self, ref: TableRef, name: str, type_: str) -> Sql:
        """Return ALTER TABLE ADD COLUMN."""
        return Sql(f"ALTER TABLE {self.table(ref)} ADD COLUMN IF NOT EXISTS {self.quote(name)} {type_}")

    def alter_type(self, ref: TableRef, name: str, current: str, type_: str) -> tuple[Sql, ...]:
        """Return what gives a column another type and keeps its values, with the conversion where it must be spelled.

        More than one statement where the system cannot do it in one: then a load that died between them is followed
        by one that finishes the work.
        """
        del current
        column = self.quote(name)
        conversion = f"TYPE {type_} USING {self.cast(column, type_)}"
        return (Sql(f"ALTER TABLE {self.table(ref)} ALTER COLUMN {column} {conversion}"),)

    def state_tables(self) -> tuple[Sql, ...]:
        """Return the DDL of our own tables."""
        text, stamp = self.text_type, self.timestamp_type
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
            self.sync_log(),
        )

    def sync_log(self) -> Sql:
        """Return the DDL of the sync log: the receipts, with names for people. So a load is in it once it is merged."""
        return Sql(f"CREATE VIEW IF NOT EXISTS {self.state('sync_log')} AS {self._logged(self.state('receipts'))}")

    def _logged(self, receipts: str) -> str:
        """Return the query that reads the sync log off the receipts."""
        return logged(self, receipts)

    def iso_instant(self, expression: str) -> str:
        """Return the instant that a text of ISO 8601 with time zone names, as :attr:`now` gives it."""
        return self.cast(expression, self.timestamp_type)

    def json_text(self, document: str, name: str) -> str:
        """Return a member of a JSON document, which is text, as text: NULL for null, JSON for a list."""
        return f"(CAST({document} AS json) ->> '{name}')"

    # --- state ---

    def select_checkpoint(self, stream: str) -> Sql:
        """Checkpoint of a stream (bound)."""
        table, at = self.checkpoints(stream), self.placeholder
        return Sql(f"SELECT stream, version, load_id, position FROM {table} WHERE stream = {at}")

    def select_receipt(self) -> Sql:
        """Receipt of a load (bound) and its counts."""
        return Sql(f"SELECT {_RECEIPT} FROM {self.state('receipts')} WHERE load_id = {self.placeholder}")

    def select_receipts(self, *, of_run: bool) -> Sql:
        """Receipts of a stream (bound) and their counts, of one run (bound) where asked, oldest first."""
        run = f" AND run_key = {self.placeholder}" if of_run else ""
        at = f"stream = {self.placeholder}{run}"
        return Sql(f"SELECT {_RECEIPT} FROM {self.state('receipts')} WHERE {at} ORDER BY committed_at, version")

    def insert_checkpoint(self, stream: str) -> Sql:
        """First checkpoint of a stream that is not seeded: stream, version, load id, position bound."""
        at = ", ".join([self.placeholder] * 4)
        return Sql(
            f"INSERT INTO {self.checkpoints(stream)} (stream, version, load_id, position, updated_at) "
            f"VALUES ({at}, {self.now}) ON CONFLICT (stream) DO NOTHING"
        )

    def move_checkpoint(self, stream: str) -> Sql:
        """Compare-and-set: new version, load id, position, then stream and expected version bound."""
        p = self.placeholder
        return Sql(
            f"UPDATE {self.checkpoints(stream)} SET version = {p}, load_id = {p}, position = {p}, "
            f"updated_at = {self.now} WHERE stream = {p} AND version = {p}"
        )

    def forget_checkpoint(self, stream: str) -> Sql:
        """Take the position out of a stream's checkpoint (bound), and make every load from before stale."""
        return Sql(
            f"UPDATE {self.checkpoints(stream)} SET version = version + 1, position = 'null', "
            f"updated_at = {self.now} WHERE stream = {self.placeholder} AND position <> 'null'"
        )

    def insert_receipt(self) -> Sql:
        """Receipt: load id, run key, stream, version, four counts and the JSON bound."""
        at = ", ".join([self.placeholder] * 9)
        return Sql(
            f"INSERT INTO {self.state('receipts')} (load_id, run_key, stream, version, extracted, inserted, updated, "
            f"deleted, receipt, committed_at) VALUES ({at}, {self.now})"
        )


_RECEIPT = "receipt, inserted, updated, deleted"
