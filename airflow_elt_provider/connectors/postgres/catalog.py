"""What the server's catalog says of a table or a query."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from psycopg2.extensions import connection as Connection  # noqa: N812 - a class in all but its name

from airflow_elt_provider.connectors.postgres.names import quoted
from airflow_elt_provider.connectors.postgres.session import PG_11
from airflow_elt_provider.connectors.postgres.types import PgType
from airflow_elt_provider.errors import ConfigurationError

KINDS: Final = {
    "r": "table", "p": "partitioned table", "v": "view", "m": "materialized view", "f": "foreign table", "q": "query",
}  # fmt: skip
PG_18: Final = 180_000


@dataclass(frozen=True)
class SourceColumn:
    """A column as it is at the source.

    :param number: ``attnum``; 0 for a query's.
    :param missing: text of the value that rows have which were written before the column was added (PostgreSQL 11+).
    """

    name: str
    type: PgType
    nullable: bool = True
    number: int = 0
    missing: str | None = None


@dataclass(frozen=True)
class Relation:
    """A table, view or query that can be read.

    :param kind: ``relkind``, or ``q`` for a query.
    :param from_item: what stands in FROM; columns are never qualified.
    :param identity: server, database and name, for the checkpoint.
    :param last_column: the highest column number that the table ever gave; 0 for a query.
    :param keys: column sets that the source keeps unique and not NULL, the primary key first.
    :param unique: column sets that are unique where they are not NULL.
    :param inherited: whether a plain table has children, whose rows no key of the parent guards.
    :param row_security: whether policies hide rows from this user.
    """

    kind: str
    from_item: str
    identity: str
    columns: tuple[SourceColumn, ...]
    last_column: int = 0
    keys: tuple[tuple[str, ...], ...] = ()
    unique: frozenset[tuple[str, ...]] = frozenset()
    oid: int = 0
    inherited: bool = False
    row_security: bool = False

    @property
    def has_xmin(self) -> bool:
        """Whether rows say which transaction wrote them, and where they lie."""
        return self.kind in "rpm"

    def column(self, name: str) -> SourceColumn | None:
        """Return the column of that name."""
        return next((column for column in self.columns if column.name == name), None)


def query_rows(connection: Connection, sql: str, values: Sequence[object] | None = None) -> list[tuple[Any, ...]]:
    """Run a query whose answer is small."""
    with connection.cursor() as cursor:
        cursor.execute(sql, values)  # values=None leaves percent signs in the text alone
        return cursor.fetchall()


# --- tables ---

_RELATION: Final = """
SELECT c.oid::int8, n.nspname, c.relname, c.relkind, c.relnatts, pg_catalog.row_security_active(c.oid),
       c.relkind = 'r' AND EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE i.inhparent = c.oid)
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = pg_catalog.to_regclass(%s)
"""
_COLUMNS: Final = """
SELECT a.attname, a.attnum, a.atttypid::int8, a.atttypmod, a.attnotnull{valid}, {missing}
FROM pg_catalog.pg_attribute a
WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
"""
_MISSING: Final = """CASE WHEN a.atthasmissing AND a.atttypid NOT IN ('money'::regtype, 'money[]'::regtype)
    THEN (a.attmissingval::text::text[])[1] END"""
_VALID: Final = """ AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint k WHERE k.conrelid = a.attrelid
    AND k.contype = 'n' AND NOT k.convalidated AND k.conkey[1] = a.attnum)"""
_INDEXES: Final = """
SELECT i.indisprimary, i.indimmediate, array(
    SELECT a.attname::text FROM pg_catalog.unnest(i.indkey::int2[]) WITH ORDINALITY k(attnum, position)
    JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
    WHERE k.position <= i.{columns} ORDER BY k.position)
FROM pg_catalog.pg_index i
WHERE i.indrelid = %s AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
ORDER BY i.indisprimary DESC, i.{columns}, i.indexrelid
"""


def read_table(connection: Connection, name: str, server: str) -> Relation | None:
    """Describe a table, view, materialized or foreign table; None where there is none.

    :param name: the quoted name, qualified or to be found through ``search_path``.
    :param server: identity of server and database.
    """
    found = query_rows(connection, _RELATION, (name,))
    if not found:
        return None
    oid, schema, table, kind, last_column, row_security, inherited = found[0]
    columns = _columns(connection, oid)
    keys, unique = _keys(connection, oid, {column.name for column in columns if not column.nullable})
    return Relation(
        kind, quoted(schema, table), f"{server}/{quoted(schema, table)}", columns, last_column, keys, unique, oid,
        inherited, row_security,
    )  # fmt: skip


def _columns(connection: Connection, oid: int) -> tuple[SourceColumn, ...]:
    version = connection.server_version
    sql = _COLUMNS.format(missing=_MISSING if version >= PG_11 else "NULL", valid=_VALID if version >= PG_18 else "")
    rows = query_rows(connection, sql, (oid,))
    types = read_types(connection, [(row[2], row[3]) for row in rows])
    return tuple(
        SourceColumn(name, types[type_, typmod], not not_null, number, missing)
        for name, number, type_, typmod, not_null, missing in rows
    )


def _keys(
    connection: Connection, oid: int, not_null: set[str]
) -> tuple[tuple[tuple[str, ...], ...], frozenset[tuple[str, ...]]]:
    columns = "indnkeyatts" if connection.server_version >= PG_11 else "indnatts"
    indexes = [(primary, immediate, tuple(names)) for primary, immediate, names in query_rows(
        connection, _INDEXES.format(columns=columns), (oid,))]  # fmt: skip
    # A primary key may be deferrable: what a snapshot sees is committed, and so kept to it.
    keys = tuple(names for primary, immediate, names in indexes if primary or (immediate and set(names) <= not_null))
    return keys, frozenset(names for _, _, names in indexes)


# --- queries ---


def read_query(connection: Connection, query: str, server: str) -> Relation:
    """Describe what a query returns.

    Its text is no part of the identity: it is often a template, and then another one in every run.

    :raises ConfigurationError: when two of its columns have one name.
    """
    text = query.strip().rstrip(";").rstrip()
    from_item = f"(\n{text}\n) AS q"  # on lines of its own, so that it may end in a comment
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {from_item} LIMIT 0")
        description = cursor.description or ()
    names = [column.name for column in description]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigurationError(
            f"The query returns two columns named {twice[0]!r}.",
            hint="give each column a name of its own: SELECT ... AS ...",
        )
    wanted = [(column.type_code, _typmod(column)) for column in description]
    types = read_types(connection, wanted)
    columns = tuple(SourceColumn(name, types[key]) for name, key in zip(names, wanted, strict=True))
    return Relation("q", from_item, f"{server}/query", columns)


def _typmod(column: Any) -> int:
    """Put the type's modifier together again from what psycopg2 made of it."""
    if column.precision is not None and column.scale is not None and column.precision < 0xFFFF:  # noqa: PLR2004
        return int((column.precision << 16) | (column.scale & 0xFFFF)) + 4
    if column.type_code in _LENGTH_TYPES and (column.internal_size or -1) > 0:
        return int(column.internal_size) + 4
    return -1


_LENGTH_TYPES: Final = frozenset({1042, 1043})
"""bpchar and varchar."""

# --- types ---

_TYPES: Final = """
SELECT m.oid, m.typmod, t.typtype, t.typbasetype::int8, t.typtypmod, n.nspname = 'pg_catalog', t.typname, e.typname,
       t.typoutput = 'pg_catalog.array_out'::regproc, pg_catalog.format_type(t.oid, m.typmod)
FROM unnest(%s::int8[], %s::int4[]) m(oid, typmod)
JOIN pg_catalog.pg_type t ON t.oid = m.oid::oid
JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
LEFT JOIN pg_catalog.pg_type e ON e.oid = t.typelem
"""


def read_types(connection: Connection, wanted: Iterable[tuple[int, int]]) -> Mapping[tuple[int, int], PgType]:
    """Describe types, given as oid and modifier; a domain as the type below it."""
    asked = sorted(set(wanted))
    if not asked:
        return {}
    rows = query_rows(connection, _TYPES, ([oid for oid, _ in asked], [typmod for _, typmod in asked]))
    known: dict[tuple[int, int], PgType] = {}
    domains: dict[tuple[int, int], tuple[int, int]] = {}
    for oid, typmod, category, base, base_typmod, builtin, name, element, is_array, declared in rows:
        if category == "d":
            domains[oid, typmod] = (base, base_typmod)
        else:
            known[oid, typmod] = PgType(name if builtin else "", typmod, declared, element if is_array else None)
    below = read_types(connection, domains.values())
    return known | {domain: below[base] for domain, base in domains.items()}
