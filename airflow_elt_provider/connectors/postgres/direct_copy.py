"""The bytes of a customer's CSV files straight into ``COPY ... FROM STDIN``."""

from __future__ import annotations

import psycopg2

from airflow_elt_provider.connectors.postgres.copy_feed import CopyFeed
from airflow_elt_provider.connectors.postgres.destination_session import PostgresSession
from airflow_elt_provider.connectors.postgres.dialect import PostgresDialect
from airflow_elt_provider.connectors.postgres.names import literal
from airflow_elt_provider.core.dialect import Sql
from airflow_elt_provider.core.in_place import NotInPlaceError
from airflow_elt_provider.core.load import Load
from airflow_elt_provider.core.staged_file import InPlace, StagedFile


def copy(session: PostgresSession, dialect: PostgresDialect, load: Load, name: str) -> int:
    """Copy a load's external files into a staging table and return how many rows they have.

    :raises NotInPlaceError: when the server refuses a row, or does not read the same rows as we do.
    :raises TransientError: when a file is not as it was listed any more.
    """
    return sum(_copy(session, dialect, load, name, file) for file in load.manifest.external)


def _copy(session: PostgresSession, dialect: PostgresDialect, load: Load, name: str, file: StagedFile) -> int:
    if load.lend is None or file.in_place is None:
        raise TypeError(f"nobody lends {file.uri}")
    with load.lend(file) as lent:
        try:
            rows = session.copy_in(statement(dialect, load, name, file.in_place), CopyFeed(lent.pieces()))
        except psycopg2.DataError as error:
            said = "; ".join(filter(None, (error.diag.message_primary, error.diag.context)))
            raise NotInPlaceError(f"{file.uri}: the server says: {' '.join(said.split())}") from error
        if rows != lent.rows:
            raise NotInPlaceError(f"{file.uri}: the server reads {rows:,} rows, we {lent.rows:,}")
    return rows


def statement(dialect: PostgresDialect, load: Load, name: str, file: InPlace) -> Sql:
    """Return the COPY of one file.

    An empty field is NULL; a quoted one is the empty text, and NULL where that is no value of the type.
    """
    kinds = dict(dialect.staging_columns(load))
    typed = [column for column in file.columns if kinds[column] != dialect.text_type]
    nulls = f", FORCE_NULL ({dialect.columns(typed)})" if typed else ""
    return Sql(
        f"COPY {dialect.staging_table(name)} ({dialect.columns(file.columns)}) FROM STDIN (FORMAT csv, HEADER, FREEZE, "
        f"ENCODING 'UTF8', DELIMITER {literal(file.delimiter)}, NULL ''{nulls})"
    )
