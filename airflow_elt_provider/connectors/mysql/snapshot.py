"""The one transaction in which everything is read: snapshot, then the table's lock, then the catalog."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import pymysql

from airflow_elt_provider.connectors.mysql.catalog import Relation, read_query, read_table
from airflow_elt_provider.connectors.mysql.failures import NO_TABLE, TABLE_CHANGED, number_of
from airflow_elt_provider.connectors.mysql.names import meant, quoted
from airflow_elt_provider.connectors.mysql.session import MySqlSession, translate
from airflow_elt_provider.core.plan import Extraction
from airflow_elt_provider.core.table_ref import TableRef
from airflow_elt_provider.errors import ConfigurationError

_BEGIN: Final = "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY"
_CLOCK: Final = """
SELECT UTC_TIMESTAMP(6), LEAST(UTC_TIMESTAMP(6), COALESCE(
    CONVERT_TZ(UTC_TIMESTAMP(6), '+00:00', @@GLOBAL.time_zone), UTC_TIMESTAMP(6)))
"""
_READABLE: Final = """
SELECT CONCAT(TABLE_SCHEMA, '.', TABLE_NAME) FROM information_schema.TABLES
WHERE TABLE_SCHEMA NOT IN ('mysql', 'information_schema', 'performance_schema', 'sys') LIMIT 5000
"""
_IDENTITIES: Final = "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('server_uuid', 'server_uid', 'hostname', 'port')"
_ATTEMPTS: Final = 3


@dataclass(frozen=True)
class Clock:
    """The time just before the snapshot, by the server's clock.

    :param utc: in UTC.
    :param behind: in UTC or in the server's own zone, whichever is behind: what a column without a zone holds may be
        either, and no row of the near future is to be taken for late.
    """

    utc: str
    behind: str


def open_relation(session: MySqlSession, extraction: Extraction) -> tuple[Relation, Clock]:
    """Begin the transaction and describe what is to be read.

    The first look at the table locks it as any reader locks it (only DDL waits), so that the catalog and the rows
    agree. A table that was altered between snapshot and lock gives an error, and all of it is done again.

    :raises ConfigurationError: for what is not there, or may not be read.
    """
    with translate(f"opening {extraction.source}"):
        server = server_identity(session)
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return _open(session, extraction, server)
            except pymysql.MySQLError as error:
                if number_of(error) != TABLE_CHANGED or attempt == _ATTEMPTS:
                    raise
                session.run("ROLLBACK")
    raise AssertionError


def _open(session: MySqlSession, extraction: Extraction, server: str) -> tuple[Relation, Clock]:
    utc, behind = (part or "" for part in session.one(_CLOCK))
    session.run(_BEGIN)
    clock = Clock(utc, behind)
    if extraction.query is not None:
        database = session.one("SELECT DATABASE()")[0] or ""
        return read_query(session, extraction.query, f"{server}/{quoted(database)}"), clock
    table = extraction.table or TableRef(())
    schema, name = _local(session, table)
    _lock(session, table, schema, name)
    relation = read_table(session, schema, name, server)
    if relation is None:
        raise no_such_table(session, table, schema)
    return relation, clock


def server_identity(session: MySqlSession) -> str:
    """Return the server's own id, the connection's where that gives one."""
    if session.settings.identity:
        return session.settings.identity
    known = {name: value for name, value in session.rows(_IDENTITIES) if value}
    return known.get("server_uuid") or known.get("server_uid") or f"{known.get('hostname')}:{known.get('port')}"


def _local(session: MySqlSession, table: TableRef) -> tuple[str, str]:
    """Return database and table."""
    if len(table.parts) > 2:  # noqa: PLR2004 - database and table
        raise ConfigurationError(f"{table} has too many parts for MySQL.", hint="write database.table")
    if len(table.parts) == 2:  # noqa: PLR2004
        return table.parts[0], table.parts[1]
    database = session.one("SELECT DATABASE()")[0]
    if not database:
        raise ConfigurationError(
            f"{table} names no database, nor does the connection.",
            hint="write database.table, or set the connection's schema field",
        )
    return database, table.name


def _lock(session: MySqlSession, table: TableRef, schema: str, name: str) -> None:
    try:
        session.rows(f"SELECT 1 FROM {quoted(schema, name)} LIMIT 1")
    except pymysql.MySQLError as error:
        if number_of(error) not in NO_TABLE:
            raise
        raise no_such_table(session, table, schema) from error


def no_such_table(session: MySqlSession, table: TableRef, schema: str) -> ConfigurationError:
    """Name the tables that may have been meant."""
    known = [row[0] or "" for row in session.rows(_READABLE)]
    return ConfigurationError(f"There is no table {table}.", hint=meant(f"{schema}.{table.name}", known))
