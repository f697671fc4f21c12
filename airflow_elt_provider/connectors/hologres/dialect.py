"""Hologres' SQL: PostgreSQL 11's without MERGE, advisory locks, temporary tables and most of ALTER TABLE."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

from airflow_elt_provider.connectors.hologres import types
from airflow_elt_provider.connectors.hologres.options import Layout
from airflow_elt_provider.connectors.hologres.settings import Timestamps
from airflow_elt_provider.connectors.postgres.destination_types import Declared
from airflow_elt_provider.connectors.postgres.dialect import NO_DAY, PG_11, PostgresDialect
from airflow_elt_provider.connectors.postgres.names import literal
from airflow_elt_provider.core.dialect import Fit, Sql
from airflow_elt_provider.core.drift import DriftAction, DriftClass, SchemaChange
from airflow_elt_provider.core.load import Load
from airflow_elt_provider.core.schema import Column
from airflow_elt_provider.core.system_columns import SEQ
from airflow_elt_provider.core.table_ref import TableRef
from airflow_elt_provider.errors import ConfigurationError

Version = tuple[int, ...]
RECEIPTS: Final = "receipts"
STAGING: Final = "staging"
SYNC_LOG: Final = "sync_log"
_SINCE_ALTER_TYPE: Final[Version] = (3, 0)
_FINITE: Final = frozenset({"numeric", "date", types.TIMESTAMP, types.TIMESTAMPTZ})
"""Types whose NaN and infinity PostgreSQL has, and Hologres' documentation does not."""
_ENDLESS: Final = "('NaN', 'Infinity', '-Infinity', 'infinity', '-infinity')"


class HologresDialect(PostgresDialect):
    """Writes Hologres' SQL.

    :param version: of the instance.
    :param guarded: whether merges run without transactions; each row of a target then knows who wrote it last.
    """

    seeded: ClassVar[bool] = True

    def __init__(self, version: Version, timestamps: Timestamps, *, guarded: bool = False) -> None:
        super().__init__(PG_11)
        self.version, self.guarded = version, guarded
        self._moment = types.TIMESTAMP if timestamps is Timestamps.EXACT else types.TIMESTAMPTZ

    # --- types ---

    def column_type(self, column: Column) -> str:
        """Return the type that a column gets."""
        return types.column_type(column, self._moment)

    def fit(self, current: str, arriving: str) -> Fit:
        """Say how an arriving type fits."""
        return types.fit(current, arriving)

    def comparable(self, expression: str, type_: str) -> str:
        """Return what is equal exactly when two values are the same."""
        return types.comparable(expression, type_)

    def ordered(self, expression: str, type_: str) -> str:
        """Return the expression: Hologres sorts text by its bytes."""
        del type_
        return expression

    def staged_value(self, column: Column, *, exact: bool) -> str:
        """Return the staged value; NULL for what Hologres has no value for."""
        type_ = self.column_type(column)
        if not exact or Declared.parse(type_).base not in _FINITE:
            return super().staged_value(column, exact=exact)
        text = self.exact_text(column)
        held = f"CASE WHEN {text} IN {_ENDLESS} OR {text} ~ '{NO_DAY}' THEN NULL ELSE {text} END"
        return f"coalesce(_elt_r.{self.quote(column.name)}, {self.cast(held, type_)})"

    def refuse_impossible(self, load: Load, changes: Sequence[SchemaChange]) -> None:
        """Refuse changes of types that Hologres cannot make to a table.

        :raises ConfigurationError: names the column, both types and the ways out.
        """
        for change in changes:
            if change.done is not DriftAction.EVOLVE or change.drift not in {DriftClass.WIDENED, DriftClass.NARROWED}:
                continue
            to = types.TEXT if change.drift is DriftClass.NARROWED else change.after
            if self.version >= _SINCE_ALTER_TYPE and types.changeable(change.before, to):
                continue
            raise ConfigurationError(
                f"{load.target}: column {change.column!r} is {change.before} and would have to become {to}, a change "
                f"that Hologres {'.'.join(map(str, self.version))} cannot make to a table; nothing was merged.",
                hint=_ways_out(change),
            )

    # --- DDL ---

    def create_table(
        self, ref: TableRef, columns: Sequence[tuple[str, str]], key: Sequence[str], options: Mapping[str, Any]
    ) -> Sql:
        """Return CREATE TABLE; its properties are :meth:`table_properties`."""
        typed = keyed(columns, key)
        filled = Layout(str(ref), typed, key, options).not_null()
        lines = [f"{self.quote(name)} {type_}{' NOT NULL' * (name in filled)}" for name, type_ in typed]
        if self.guarded:
            lines.append(f"{self.quote(SEQ)} bigint")
        if key:
            lines.append(f"PRIMARY KEY ({self.columns(key)})")
        return Sql(f"CREATE TABLE {self.table(ref)} ({', '.join(lines)})")

    def table_properties(
        self, ref: TableRef, columns: Sequence[tuple[str, str]], key: Sequence[str], options: Mapping[str, Any]
    ) -> tuple[Sql, ...]:
        """Return the calls that set a new table's properties, in the transaction that creates it.

        :raises ConfigurationError: for options that Hologres would not take.
        """
        properties = Layout(str(ref), keyed(columns, key), key, options).properties()
        return tuple(self._property(ref, name, value) for name, value in properties)

    def _property(self, ref: TableRef, name: str, value: str) -> Sql:
        return Sql(f"CALL set_table_property({literal(self.table(ref))}, {literal(name)}, {literal(value)})")

    def add_column(self, ref: TableRef, name: str, type_: str) -> Sql:
        """Return ALTER TABLE ADD COLUMN, which has no IF NOT EXISTS."""
        return Sql(f"ALTER TABLE {self.table(ref)} ADD COLUMN {self.quote(name)} {type_}")

    def alter_type(self, ref: TableRef, name: str, current: str, type_: str) -> tuple[Sql, ...]:
        """Return ALTER COLUMN TYPE, which has no USING."""
        del current
        return (Sql(f"ALTER TABLE {self.table(ref)} ALTER COLUMN {self.quote(name)} TYPE {type_}"),)

    def create_staging(self, load: Load, name: str) -> Sql:
        """Return the DDL of a staging table: an ordinary one."""
        columns = ", ".join(f"{self.quote(column)} {type_}" for column, type_ in self.staging_columns(load))
        return Sql(f"CREATE TABLE {self.staging_table(name)} ({columns})")

    def copy_staging(self, load: Load, name: str) -> Sql:
        """Return the COPY that fills a staging table."""
        columns = self.columns(column for column, _ in self.staging_columns(load))
        return Sql(f"COPY {self.staging_table(name)} ({columns}) FROM STDIN")

    # --- our own tables: rows that are looked up by their key, so they are stored by row ---

    def checkpoint_table(self, stream: str) -> str:
        """Return the name of the table of a stream's checkpoint: a DML transaction locks whole tables."""
        return f"checkpoints_{hashlib.sha256(stream.encode()).hexdigest()[:16]}"

    def checkpoints(self, stream: str) -> Sql:
        """Return that name in full, quoted."""
        return self.state(self.checkpoint_table(stream))

    def create_checkpoint(self, stream: str) -> tuple[Sql, ...]:
        """Return the DDL of the table of a stream's checkpoint; the last columns are the lease of guarded merges."""
        table = self.checkpoint_table(stream)
        return self._own_table(
            table, "stream text, version bigint NOT NULL, load_id text NOT NULL, position text NOT NULL, "
            f"updated_at {self.timestamp_type} NOT NULL, token bigint, holder text, "
            f"held_until {self.timestamp_type}, planned text", "stream",
        )  # fmt: skip

    def seed_checkpoint(self, stream: str) -> Sql:
        """First row of that table: stream bound."""
        return Sql(
            f"INSERT INTO {self.checkpoints(stream)} (stream, version, load_id, position, updated_at) "
            f"VALUES ({self.placeholder}, 0, '', 'null', {self.now}) ON CONFLICT (stream) DO NOTHING"
        )

    def take_lease(self, stream: str, *, at_version: bool) -> Sql:
        """Take the lease, and a number higher than all before.

        Bound: load id, seconds, stream, load id, the number whose holder is known to be done (or -1), and the version
        that the checkpoint must have where asked.
        """
        p = self.placeholder
        version = f" AND version = {p}" if at_version else ""
        free = f"coalesce(holder, '') IN ('', {p}) OR held_until < {self.now} OR token = {p}"
        return Sql(
            f"UPDATE {self.checkpoints(stream)} SET token = coalesce(token, 0) + 1, holder = {p}, "
            f"held_until = {self.now} + {p} * interval '1 second' WHERE stream = {p} AND ({free}){version}"
        )

    def select_lease(self, stream: str) -> Sql:
        """Version, number, holder and plan of a stream (bound)."""
        return Sql(
            f"SELECT version, coalesce(token, 0), coalesce(holder, ''), coalesce(planned, '') "
            f"FROM {self.checkpoints(stream)} WHERE stream = {self.placeholder}"
        )

    def renew_lease(self, stream: str) -> Sql:
        """Keep the lease and note what is about to be done: seconds, the plan, stream and number bound."""
        p = self.placeholder
        return Sql(
            f"UPDATE {self.checkpoints(stream)} SET held_until = {self.now} + {p} * interval '1 second', "
            f"planned = {p} WHERE stream = {p} AND token = {p}"
        )

    def end_lease(self, stream: str) -> Sql:
        """Give the lease up: stream and number bound."""
        p = self.placeholder
        return Sql(
            f"UPDATE {self.checkpoints(stream)} SET holder = '', planned = '' WHERE stream = {p} AND token = {p}"
        )

    def move_guarded(self, stream: str) -> Sql:
        """Move the checkpoint and give the lease up: new version, load id, position, stream, old version, number."""
        p = self.placeholder
        return Sql(
            f"UPDATE {self.checkpoints(stream)} SET version = {p}, load_id = {p}, position = {p}, "
            f"updated_at = {self.now}, holder = '', planned = '' WHERE stream = {p} AND version = {p} AND token = {p}"
        )

    def create_receipts(self) -> tuple[Sql, ...]:
        """Return the DDL of the receipts."""
        return self._own_table(
            RECEIPTS, "load_id text, run_key text NOT NULL, stream text NOT NULL, version bigint, extracted bigint, "
            "inserted bigint, updated bigint, deleted bigint, receipt text NOT NULL, "
            f"committed_at {self.timestamp_type} NOT NULL", "load_id",
        )  # fmt: skip

    def create_register(self) -> tuple[Sql, ...]:
        """Return the DDL of the register of staging tables."""
        return self._own_table(
            STAGING, f"staging_table text, load_id text NOT NULL, rows bigint NOT NULL, "
            f"created_at {self.timestamp_type} NOT NULL", "staging_table",
        )  # fmt: skip

    def _own_table(self, table: str, columns: str, key: str) -> tuple[Sql, ...]:
        ref = TableRef((self.state_schema, table))
        create = Sql(f"CREATE TABLE {self.table(ref)} ({columns}, PRIMARY KEY ({key}))")
        return create, self._property(ref, "orientation", "row")

    def complete_staging(self) -> Sql:
        """A staging table is filled: rows and name bound. It was registered with -1 rows."""
        at = self.placeholder
        return Sql(f"UPDATE {self.state(STAGING)} SET rows = {at} WHERE staging_table = {at}")

    def select_staging(self) -> Sql:
        """Filled staging tables of a load (bound), newest first."""
        return Sql(
            f"SELECT staging_table FROM {self.state(STAGING)} WHERE load_id = {self.placeholder} AND rows >= 0 "
            "ORDER BY created_at DESC, staging_table DESC"
        )


def keyed(columns: Sequence[tuple[str, str]], key: Sequence[str]) -> list[tuple[str, str]]:
    """Return the columns with types that a primary key may have, where they belong to it."""
    return [(name, types.key_type(type_) if name in key else type_) for name, type_ in columns]


def _ways_out(change: SchemaChange) -> str:
    if {change.before, change.after} == {types.TIMESTAMP, types.TIMESTAMPTZ}:
        return (
            "moments in time become timestamp in UTC, as Hologres' timestamptz keeps milliseconds only; to load into a "
            "timestamptz, set 'timestamptz': 'milliseconds' in the connection's extra"
        )
    return (
        "drop the target and load it anew with full_refresh=True; or keep the column as it is: "
        f"on_schema_drift={{{change.drift.value!r}: 'freeze'}}; or load into a column of another name: rename={{...}}"
    )
