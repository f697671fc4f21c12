"""The one transaction in which everything is read: lock first, then the snapshot, then the catalog."""

from __future__ import annotations

from typing import Final

import psycopg2.errors
from psycopg2.extensions import connection as Connection  # noqa: N812 - a class in all but its name

from airflow_elt_provider.connectors.postgres.catalog import KINDS, Relation, query_rows, read_query, read_table
from airflow_elt_provider.connectors.postgres.names import literal, meant, quoted
from airflow_elt_provider.connectors.postgres.session import translate
from airflow_elt_provider.core.modes import DeleteMode, WriteMode
from airflow_elt_provider.core.plan import Extraction
from airflow_elt_provider.core.table_ref import TableRef
from airflow_elt_provider.errors import ConfigurationError

BEGIN: Final = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
_READABLE: Final = """
SELECT n.nspname || '.' || c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname !~ '^(pg_|information_schema$)' LIMIT 5000
"""
_SYSTEM: Final = "pg_catalog.pg_control_system()"


def open_relation(connection: Connection, extraction: Extraction) -> Relation:
    """Begin the transaction and describe what is to be read.

    The table is locked (as any reader locks it: only DDL waits) before the first SELECT, so that the snapshot, the
    catalog and the rows agree. What cannot be locked, a materialized view, a foreign table or a query, is read without.

    :raises ConfigurationError: for what is not there, or may not be read.
    """
    connection.autocommit = True  # we say BEGIN ourselves: psycopg2's comes with the first statement, without READ ONLY
    with translate(f"opening {extraction.source}"):
        _see_all_or_fail(connection, extraction)
        server = server_identity(connection)
        if extraction.query is not None:
            run(connection, BEGIN)
            return read_query(connection, extraction.query, server)
        table = extraction.table or TableRef(())
        name = local_name(connection, table)
        _lock(connection, table, name)
        relation = read_table(connection, name, server)
    if relation is None:
        raise no_such_table(connection, table)
    if relation.kind not in KINDS:
        raise ConfigurationError(f"{table} is neither a table nor a view.", hint="name a table, a view, or give query=")
    return relation


def export(connection: Connection) -> str:
    """Return the name under which other sessions find this transaction's snapshot."""
    return str(query_rows(connection, "SELECT pg_catalog.pg_export_snapshot()")[0][0])


def join(connection: Connection, snapshot: str, extraction: Extraction | None = None) -> None:
    """Begin a transaction that sees what the exporting one sees."""
    connection.autocommit = True
    if extraction:
        _see_all_or_fail(connection, extraction)
    run(connection, BEGIN)
    run(connection, f"SET TRANSACTION SNAPSHOT {literal(snapshot)}")


def _see_all_or_fail(connection: Connection, extraction: Extraction) -> None:
    """Have the server refuse to hide rows by row security, where an absent row counts as one that is gone.

    Only the server knows: a policy may ask other tables, and a view may read tables that have policies.
    """
    exchanges = extraction.interval is not None and extraction.mode is WriteMode.APPEND
    gone = extraction.deletes is not DeleteMode.IGNORE or extraction.mode is WriteMode.REPLACE or exchanges
    run(connection, f"SET row_security = {'off' if gone else 'on'}")


def run(connection: Connection, sql: str) -> None:
    """Run a statement whose answer does not matter."""
    with connection.cursor() as cursor:
        cursor.execute(sql)


def server_identity(connection: Connection) -> str:
    """Return the identity of cluster and database; of the database alone where the role may not ask for more."""
    allowed = (
        f"SELECT COALESCE(has_function_privilege(to_regprocedure('{_SYSTEM}'), 'EXECUTE'), false), current_database()"
    )
    may_ask, database = query_rows(connection, allowed)[0]
    system = query_rows(connection, f"SELECT system_identifier FROM {_SYSTEM}")[0][0] if may_ask else ""
    return f"{system}/{database}"


def local_name(connection: Connection, table: TableRef) -> str:
    """Return the quoted name of a table, which may begin with the database, as the server takes it.

    :raises ConfigurationError: for a table of another database.
    """
    if len(table.parts) <= 2:  # noqa: PLR2004 - schema and table
        return quoted(*table.parts)
    database = query_rows(connection, "SELECT current_database()")[0][0]
    if len(table.parts) > 3 or table.parts[0] != database:  # noqa: PLR2004 - database, schema and table
        raise ConfigurationError(
            f"{table} is not in database {database!r}, to which the connection leads.",
            hint="write schema.table, and choose the database in the connection",
        )
    return quoted(*table.parts[1:])


def _lock(connection: Connection, table: TableRef, name: str) -> None:
    run(connection, BEGIN)
    try:
        run(connection, f"LOCK TABLE {name} IN ACCESS SHARE MODE")
    except psycopg2.errors.WrongObjectType:
        run(connection, "ROLLBACK")
        run(connection, BEGIN)
    except (psycopg2.errors.UndefinedTable, psycopg2.errors.InvalidSchemaName) as error:
        run(connection, "ROLLBACK")
        raise no_such_table(connection, table) from error


def no_such_table(connection: Connection, table: TableRef) -> ConfigurationError:
    """Name the tables that may have been meant."""
    wanted = ".".join(table.parts[-2:] if len(table.parts) > 1 else ("public", *table.parts))
    known = [row[0] for row in query_rows(connection, _READABLE)]
    return ConfigurationError(f"There is no table {table}.", hint=meant(wanted, known))
