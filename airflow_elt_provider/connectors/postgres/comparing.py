"""PostgreSQL on either side of a comparison."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Final

import pyarrow as pa
from psycopg2.extensions import connection as Connection  # noqa: N812 - a class in all but its name

from airflow_elt_provider.connectors.postgres import destination_catalog as catalog
from airflow_elt_provider.connectors.postgres import destination_types as types
from airflow_elt_provider.connectors.postgres import snapshot
from airflow_elt_provider.connectors.postgres.destination_session import PostgresSession
from airflow_elt_provider.connectors.postgres.destination_types import Declared
from airflow_elt_provider.connectors.postgres.dialect import PostgresDialect
from airflow_elt_provider.connectors.postgres.names import quoted
from airflow_elt_provider.connectors.postgres.selection import SelectedColumn, select_columns
from airflow_elt_provider.connectors.postgres.session import PG_11, PG_13, translate
from airflow_elt_provider.core.comparison import MD5, ComparedTable, Form, Rule, rule_of
from airflow_elt_provider.core.comparison_sql import SqlTable, sql_table
from airflow_elt_provider.core.comparison_words import NO_NUMBERS, ComparedColumn, ComparisonWords
from airflow_elt_provider.core.dialect import Sql
from airflow_elt_provider.core.plan import Extraction
from airflow_elt_provider.core.schema import Column, TableSchema
from airflow_elt_provider.core.table_ref import TableRef

_PROBE: Final = "SELECT pg_catalog.hashtextextended('elt: ü', 0)"
_TEXT: Final = "text"
_NUMERIC: Final = "numeric"
_INTEGERS: Final = frozenset({"smallint", "integer", "bigint"})
_TEXTS: Final = frozenset({_TEXT, "character varying", "name"})
_PLAIN: Final = {
    Rule.INTEGER: _INTEGERS | {_TEXT, "oid"}, Rule.UUID: frozenset({"uuid", _TEXT}), Rule.DATE: frozenset({"date"}),
    Rule.TIME: frozenset({"time without time zone"}), Rule.BINARY: frozenset({"bytea"}),
    Rule.TIMESTAMP: frozenset({"timestamp without time zone", "timestamp with time zone"}),
    Rule.FLOAT: frozenset({"real", "double precision"}), Rule.BOOLEAN: frozenset({"boolean"}),
    Rule.DECIMAL: _INTEGERS | {_NUMERIC, _TEXT},
}  # fmt: skip
_FLOAT: Final = (
    "CASE WHEN {x} = 0 THEN '0' WHEN {x} = 'NaN' THEN 'nan' WHEN {x} = 'Infinity' THEN 'inf' "
    "WHEN {x} = '-Infinity' THEN '-inf' ELSE ltrim(to_char({x}::double precision, '9.99999999999999EEEE')) END"
)


class PostgresWords(ComparisonWords):
    """What a comparison says to PostgreSQL.

    :param own: name of the tongue that only servers of this major version and architecture speak: PostgreSQL's own
        hash of a row's own text, three times as fast as MD5. "" for a server that has none.
    """

    # Else the planner takes every bucket for a group of one row, and sorts a million of them to the disk. The quotes
    # matter: only of a constant it sees in time that it is no limit, and lets several processes scan.
    fence: ClassVar[str] = " OFFSET '0'"

    def __init__(self, dialect: PostgresDialect, server_version: int, own: str = "") -> None:
        super().__init__(dialect)
        self._version, self._own = server_version, own

    @property
    def tongues(self) -> tuple[str, ...]:
        """Ways of hashing rows."""
        return (self._own, MD5) if self._own else (MD5,)

    # --- canonical texts ---

    def follows(self, rule: Rule, type_: str) -> bool:
        """Whether values of a type can be written as a rule says."""
        declared = Declared.parse(type_)
        return rule is Rule.TEXT or (not declared.array and declared.base in _PLAIN[rule])

    def written(self, x: str, type_: str, rule: Rule) -> str:  # noqa: PLR0911 - one for each rule
        """Return the canonical text of a value."""
        declared = Declared.parse(type_)
        match rule:
            case Rule.TEXT:
                return f"{x}::text" if declared.base in _TEXTS and not declared.array else _output(x)
            case Rule.BOOLEAN:
                return self.truth(x)
            case Rule.DECIMAL if declared.base not in _INTEGERS:
                return self.without_zeros(f"{x}::text")
            case Rule.FLOAT:
                return _FLOAT.format(x=x)
            case Rule.BINARY:
                return f"encode({x}, 'hex')"
            case Rule.TIMESTAMP if declared.base.endswith("with time zone"):
                return f"({x} AT TIME ZONE 'UTC')::text"
        return f"{x}::text"

    def exceptional(self, column: ComparedColumn) -> str | None:
        """Return the condition that a value has no equal in other systems."""
        x, declared = f"({column.expression})", Declared.parse(column.type)
        match column.rule:
            case Rule.DECIMAL if declared.base == _TEXT:
                return f"{x} IN {NO_NUMBERS}"
            case Rule.DECIMAL if declared.base == _NUMERIC:
                # Only one without limits can be infinite, and only since PostgreSQL 14.
                return f"{x} = 'NaN'" if declared.mods else f"{x}::text IN {NO_NUMBERS}"
            case Rule.DATE:
                return f"({x} < '0001-01-01' OR {x} > '9999-12-31')"
            case Rule.TIMESTAMP:
                return f"({x} < '0001-01-01' OR {x} >= '10000-01-01')"
            case Rule.TIME:
                return f"{x} = '24:00:00'"
        return None

    # --- PostgreSQL's own hash ---

    def form(self, column: ComparedColumn, tongue: str) -> Form:
        """Say how a column would be written: in its own tongue as every type is, or as the rule says."""
        if tongue == MD5:
            return super().form(column, tongue)
        kind = self._kind(column.type)
        return Form(kind, f"its type here is {column.type}")

    def _kind(self, type_: str) -> str:
        """Return the kind of a type: types of one kind write the same value alike."""
        held = types.column_type(Column("", pa.string(), format="text", source_type=type_), self._version)
        declared = Declared.parse(held)
        if declared.array:
            return held
        if declared.base in _INTEGERS:
            return "integer"
        return _TEXT if declared.base in {*_TEXTS, "character", "bpchar"} else declared.base

    def _own_value(self, column: ComparedColumn) -> str:
        if self._kind(column.type) != _NUMERIC:
            return column.expression
        if self._version >= PG_13:
            return f"trim_scale({column.expression})"
        return self.without_zeros(f"({column.expression})::text")

    def value(self, column: ComparedColumn, tongue: str) -> str:
        """Return a value as a text without NULL."""
        if tongue == MD5:
            return super().value(column, tongue)
        return f"coalesce('=' || {self.shown(column, tongue)}, '~')"

    def shown(self, column: ComparedColumn, tongue: str) -> str:
        """Return a value as a person would like to see it, or NULL."""
        return super().shown(column, tongue) if tongue == MD5 else _output(self._own_value(column))

    def row_hash(self, columns: Sequence[ComparedColumn], tongue: str) -> str:
        """Return the hash of a row."""
        if tongue == MD5:
            return super().row_hash(columns, tongue)
        return f"hashtextextended(ROW({', '.join(map(self._own_value, columns))})::text, 0)"

    def sums(self, hash_: str, tongue: str) -> list[str]:
        """Return the aggregates over rows' hashes."""
        return super().sums(hash_, tongue) if tongue == MD5 else [f"sum({hash_})"]

    def hash_text(self, hash_: str, tongue: str) -> str:
        """Return a row's hash as text."""
        return hash_ if tongue == MD5 else f"({hash_})::text"

    # --- PostgreSQL's functions ---

    def number(self, digits: str) -> str:
        """Return eight hex digits as a number."""
        return f"('x' || {digits})::bit(32)::bigint"

    def lowest(self, key: str, size: int) -> str:
        """Return the lowest key of a range."""
        return f"(({key})::bigint & {-size})"


def _output(x: str) -> str:
    """Return what the type's output function writes, as COPY does; a cast would take blanks from a ``char(4)``."""
    return f"CASE WHEN {x} IS NOT NULL THEN concat({x}) END"


def own_tongue(version: int, query: Callable[[str], list[tuple[Any, ...]]]) -> str:
    """Return the name of the server's own tongue; "" where it has none."""
    return f"postgres-{version // 10_000}-{query(_PROBE)[0][0]}" if version >= PG_11 else ""


# --- sides ---


def source_table(connection: Connection, extraction: Extraction) -> SqlTable:
    """Open what an extraction reads, in a transaction of its own."""
    relation = snapshot.open_relation(connection, extraction)
    version = connection.server_version
    with translate(f"comparing {extraction.source}"):
        selection = select_columns(relation, extraction)
        own = own_tongue(version, lambda sql: catalog_rows(connection, Sql(sql), ()))
    where = (f"(\n{extraction.where}\n)",) if extraction.where else ()

    def query(sql: Sql, params: Sequence[Any]) -> list[tuple[Any, ...]]:
        with translate(f"comparing {extraction.source}"):
            return catalog_rows(connection, sql, params)

    return SqlTable(
        PostgresWords(PostgresDialect(version), version, own), relation.from_item, where, selection.schema,
        {column.column.name: _compared(column, version) for column in selection.columns}, query, selection.notes,
    )  # fmt: skip


def catalog_rows(connection: Connection, sql: Sql, params: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Run a query whose bound values stand at our own placeholder."""
    with connection.cursor() as cursor:
        if params:
            cursor.execute(sql.replace("%", "%%").replace(PostgresDialect.placeholder, "%s"), params)
        else:
            cursor.execute(sql)
        return cursor.fetchall()


def _compared(column: SelectedColumn, version: int) -> ComparedColumn:
    own, rule = quoted(column.source.name), rule_of(column.column)
    kind = column.source.type
    if column.override is None:
        if kind.name == "money":
            return ComparedColumn(f"{own}::pg_catalog.numeric", _NUMERIC, rule)
        if kind.element == "money":
            return ComparedColumn(f"{own}::pg_catalog.numeric[]", f"{_NUMERIC}[]", rule)
        return ComparedColumn(own, kind.declared, rule)
    type_ = types.column_type(column.column, version)
    written = f"({column.expression})"
    if type_ == _TEXT:
        return ComparedColumn(_output(written), type_, rule)
    return ComparedColumn(f"decode({written}, 'hex')" if type_ == "bytea" else f"{written}::{type_}", type_, rule)


def target_table(
    session: PostgresSession, target: TableRef, schema: TableSchema, words: ComparisonWords
) -> ComparedTable:
    """Open a target, in the session's transaction.

    :raises ConfigurationError: when there is none.
    """
    place = catalog.find(session, target)
    return sql_table(words, place.ref, schema, catalog.describe(session, place), session.query)
