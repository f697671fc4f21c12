"""What the server's catalog says of a table or a query."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from airflow_elt_provider.connectors.mysql.names import quoted
from airflow_elt_provider.connectors.mysql.session import MySqlSession
from airflow_elt_provider.connectors.mysql.types import MySqlType, answered

SNAPSHOT_ENGINES: Final = frozenset({"InnoDB", "ROCKSDB", "TokuDB"})


@dataclass(frozen=True)
class SourceColumn:
    """A column as it is at the source.

    :param number: its place in the table; 0 for a query's.
    """

    name: str
    type: MySqlType
    nullable: bool = True
    number: int = 0


@dataclass(frozen=True)
class Relation:
    """A table, view or query that can be read.

    :param kind: ``table``, ``view`` or ``query``.
    :param from_item: what stands in FROM; columns are never qualified.
    :param identity: server, database and name, for the checkpoint.
    :param keys: column sets that the source keeps unique and not NULL, the primary key first.
    :param unique: column sets that are unique where they are not NULL.
    :param engine: of a table, the storage engine.
    """

    kind: str
    from_item: str
    identity: str
    columns: tuple[SourceColumn, ...]
    keys: tuple[tuple[str, ...], ...] = ()
    unique: frozenset[tuple[str, ...]] = frozenset()
    engine: str = ""

    @property
    def unsteady(self) -> bool:
        """Whether the table's engine keeps no snapshots."""
        return self.kind == "table" and self.engine not in SNAPSHOT_ENGINES

    def column(self, name: str) -> SourceColumn | None:
        """Return the column of that name."""
        return next((column for column in self.columns if column.name == name), None)


# --- tables ---

_TABLE: Final = """
SELECT TABLE_SCHEMA, TABLE_NAME, TABLE_TYPE, ENGINE FROM information_schema.TABLES
WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s
"""
_COLUMNS: Final = """
SELECT COLUMN_NAME, DATA_TYPE, COLUMN_TYPE, NUMERIC_PRECISION, NUMERIC_SCALE, IS_NULLABLE, ORDINAL_POSITION,
       CHARACTER_SET_NAME
FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s ORDER BY ORDINAL_POSITION
"""
_INDEXES: Final = """
SELECT INDEX_NAME, COLUMN_NAME, SUB_PART FROM information_schema.STATISTICS
WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s AND NON_UNIQUE = 0
ORDER BY INDEX_NAME <> 'PRIMARY', INDEX_NAME, SEQ_IN_INDEX
"""
_JSON_CHECKS: Final = """
SELECT CHECK_CLAUSE FROM information_schema.CHECK_CONSTRAINTS WHERE CONSTRAINT_SCHEMA = %s AND TABLE_NAME = %s
"""


def read_table(session: MySqlSession, schema: str, table: str, server: str) -> Relation | None:
    """Describe a table or view; None where there is none of exactly that name.

    :param server: identity of the server.
    """
    found = _exact(session.rows(_TABLE, (schema, table)), schema, table)
    if found is None:
        return None
    schema, table, type_, engine = (part or "" for part in found)
    columns = _columns(session, schema, table)
    unique = _unique(session, schema, table)
    not_null = {column.name for column in columns if not column.nullable}
    keys = tuple(names for names in unique if set(names) <= not_null)
    kind = "view" if "VIEW" in type_ else "table"
    return Relation(
        kind, quoted(schema, table), f"{server}/{quoted(schema, table)}", columns, keys, frozenset(unique), engine
    )


def _exact(rows: list[tuple[str | None, ...]], schema: str, table: str) -> tuple[str | None, ...] | None:
    """Choose among names that the catalog's collation holds for the same."""
    exact = next((row for row in rows if row[:2] == (schema, table)), None)
    return exact or (rows[0] if len(rows) == 1 and (rows[0][1] or "").lower() == table.lower() else None)


def _columns(session: MySqlSession, schema: str, table: str) -> tuple[SourceColumn, ...]:
    documents: set[str] = set()
    if session.mariadb:  # which keeps JSON as text with a check
        documents = {clause or "" for (clause,) in session.rows(_JSON_CHECKS, (schema, table))}
    found = []
    for name, data, declared, precision, scale, nullable, number, charset in session.rows(_COLUMNS, (schema, table)):
        is_json = f"json_valid({quoted(name or '')})" in documents
        kind = _type(data or "", declared or "", (precision, scale), charset, is_json=is_json)
        found.append(SourceColumn(name or "", kind, nullable == "YES", int(number or 0)))
    return tuple(found)


def _type(
    data: str, declared: str, digits: tuple[str | None, str | None], charset: str | None, *, is_json: bool
) -> MySqlType:
    name = "json" if is_json and charset else data.lower()
    unsigned = "unsigned" in declared.lower().split() or "zerofill" in declared.lower().split()
    return MySqlType(name, declared, unsigned, (int(digits[0] or 0), int(digits[1] or 0)))


def _unique(session: MySqlSession, schema: str, table: str) -> list[tuple[str, ...]]:
    indexes: dict[str, list[str | None]] = {}
    for index, column, part in session.rows(_INDEXES, (schema, table)):
        # A part of a value, or an expression (no column), says nothing of the values.
        indexes.setdefault(index or "", []).append(column if part is None else None)
    whole = [tuple(name for name in names if name) for names in indexes.values() if all(names)]
    first = whole[:1] if "PRIMARY" in indexes else []
    return first + sorted(whole[len(first) :], key=len)


# --- queries ---


def read_query(session: MySqlSession, query: str, server: str) -> Relation:
    """Describe what a query returns.

    Its text is no part of the identity: it is often a template, and then another one in every run.

    Two columns of one name are an error of the server's.
    """
    text = query.strip().rstrip(";").rstrip()
    from_item = f"(\n{text}\n) AS q"  # on lines of its own, so that it may end in a comment
    fields = session.fields(f"SELECT * FROM {from_item} LIMIT 0")
    columns = tuple(
        SourceColumn(_name(field.name), answered(
            field.type_code, field.length, field.scale, field.flags, field.charsetnr))
        for field in fields
    )  # fmt: skip
    return Relation("query", from_item, f"{server}/query", columns)


def _name(name: str | bytes) -> str:
    return name.decode() if isinstance(name, bytes) else name
