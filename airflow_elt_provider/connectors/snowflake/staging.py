"""Staging tables: one for each attempt, renamed once it is complete, so that nobody takes half of one."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from airflow_elt_provider.connectors.snowflake.dialect import SnowflakeDialect
from airflow_elt_provider.connectors.snowflake.locations import Location
from airflow_elt_provider.connectors.snowflake.session import SnowflakeSession
from airflow_elt_provider.core.load import Load
from airflow_elt_provider.errors import DataError

COMPLETE = "STAGING"
UNDER_WAY = "LOADING"
MOST_FILES = 1000
"""Files that one COPY takes by name."""


def new_name(load: Load) -> str:
    """Return the name of this attempt's staging table, without what it begins with."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S}_{load.load_id}_{load.nonce}".upper()


def of_load(name: str, load_id: str) -> bool:
    """Whether a staging table belongs to a load."""
    return f"_{load_id.upper()}_" in name


def create(dialect: SnowflakeDialect, load: Load, name: str) -> str:
    """Return what makes a staging table; Snowflake keeps no history of it."""
    columns = ", ".join(f"{dialect.quote(column)} {type_}" for column, type_ in dialect.staging_columns(load))
    table = dialect.state(f"{UNDER_WAY}_{name}")
    return f"CREATE TRANSIENT TABLE {table} ({columns}) DATA_RETENTION_TIME_IN_DAYS = 0"


def fill(session: SnowflakeSession, dialect: SnowflakeDialect, load: Load, name: str, where: Location) -> str:
    """Copy the files into a staging table and return its final name.

    :raises DataError: when the files have not as many rows as the manifest says.
    """
    rows = 0
    for statement, shown in copies(dialect, name, where):
        names, results = session.table(statement, shown=shown)
        if "rows_loaded" in names:
            rows += sum(int(result[names.index("rows_loaded")] or 0) for result in results)
    if rows != load.manifest.rows:
        raise DataError(
            f"The files of {load.manifest_ref.uri} have {rows:,} rows, the manifest lists {load.manifest.rows:,}.",
            hint="clear the load from its extract task on",
        )
    final = f"{COMPLETE}_{name}"
    session.execute(f"ALTER TABLE {dialect.state(f'{UNDER_WAY}_{name}')} RENAME TO {dialect.state(final)}")
    return final


def copies(dialect: SnowflakeDialect, name: str, where: Location) -> Iterator[tuple[str, ...]]:
    """Return the COPY statements, each with what may be shown of it.

    Keys stand behind the first eighty characters, which is what Snowflake's driver logs of a statement.
    """
    table, match = dialect.state(f"{UNDER_WAY}_{name}"), "CASE_SENSITIVE" if dialect.exact else "CASE_INSENSITIVE"
    keys, hidden = where.clause(dialect.literal), " CREDENTIALS = (***)" if where.credentials else ""
    for start in range(0, len(where.files), MOST_FILES):
        files = ", ".join(map(dialect.literal, where.files[start : start + MOST_FILES]))
        rest = (
            f" FILES = ({files}) FILE_FORMAT = (TYPE = PARQUET USE_VECTORIZED_SCANNER = TRUE BINARY_AS_TEXT = FALSE "
            f"USE_LOGICAL_TYPE = TRUE) MATCH_BY_COLUMN_NAME = {match} ON_ERROR = ABORT_STATEMENT"
        )
        yield tuple(f"COPY INTO {table} FROM {where.source}{between}{rest}" for between in (keys, hidden))


def drop(dialect: SnowflakeDialect, name: str) -> str:
    """Return what drops a staging table."""
    return f"DROP TABLE IF EXISTS {dialect.state(name)}"
