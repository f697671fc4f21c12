"""Staging tables: made, filled and registered in one transaction, so that a dead attempt leaves nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import chain

import pyarrow as pa
from psycopg2 import errors

from airflow_elt_provider.connectors.postgres import destination_catalog as catalog
from airflow_elt_provider.connectors.postgres import direct_copy
from airflow_elt_provider.connectors.postgres.copy_feed import BATCH_ROWS, CopyFeed, rendered
from airflow_elt_provider.connectors.postgres.destination_session import PostgresSession
from airflow_elt_provider.connectors.postgres.dialect import PostgresDialect, may_become_target
from airflow_elt_provider.core.load import Load
from airflow_elt_provider.core.modes import WriteMode
from airflow_elt_provider.core.protocols import Stage
from airflow_elt_provider.core.publish import BrokenKeyError
from airflow_elt_provider.core.table_ref import TableRef
from airflow_elt_provider.errors import DataError, TransientError
from airflow_elt_provider.formats.parquet import fetched, read_batches


def choose_name(session: PostgresSession, load: Load) -> str:
    """Return the name of this attempt's staging table.

    Where there is no target yet, it lies in the target's schema, so that merge only needs to rename it; ``_elt.`` is
    left out of the others' names. Never longer than 63 bytes.
    """
    name = f"{datetime.now(UTC):%Y%m%dT%H%M%S}_{load.load_id}_{load.nonce}"
    place = catalog.find(session, load.target)
    schema = place.ref.parts[0]
    plain = not load.manifest.extra_columns and load.mode is not WriteMode.HISTORY
    if place.oid or not plain or not catalog.has_schema(session, schema):
        return name
    return str(TableRef((schema, f"_elt_{name}")))


def fill(session: PostgresSession, dialect: PostgresDialect, load: Load, stage: Stage) -> str:
    """Make a staging table of the load's files and return its name; the caller commits.

    :raises DataError: when the files have not as many rows as the manifest says.
    """
    name = choose_name(session, load)
    session.execute(dialect.create_staging(load, name))
    in_place = bool(load.manifest.external)
    rows = direct_copy.copy(session, dialect, load, name) if in_place else copy(session, dialect, load, name, stage)
    if load.manifest.has_ops:
        session.execute(dialect.analyze_staging(name))
    session.execute(dialect.register_staging(), (name, load.load_id, rows))
    return name


def copy(session: PostgresSession, dialect: PostgresDialect, load: Load, name: str, stage: Stage) -> int:
    """Copy the load's files into a staging table and return how many rows they have.

    :raises DataError: when the files have not as many rows as the manifest says.
    """
    columns = [column for column, _ in dialect.staging_columns(load)]
    rows = session.copy_in(dialect.copy_staging(load, name), CopyFeed(rendered(_batches(load, stage), columns)))
    if rows != load.manifest.rows:
        raise DataError(
            f"The files of {load.manifest_ref.uri} have {rows:,} rows, the manifest lists {load.manifest.rows:,}.",
            hint="clear the load from its extract task on",
        )
    return rows


def _batches(load: Load, stage: Stage) -> Iterator[pa.RecordBatch]:
    def of_file(number: int) -> Iterator[pa.RecordBatch]:
        with fetched(stage, load.manifest.files[number]) as path:
            yield from read_batches(path, BATCH_ROWS)

    return chain.from_iterable(map(of_file, range(len(load.manifest.files))))


def registered(session: PostgresSession, dialect: PostgresDialect, load_id: str) -> list[str]:
    """Return the staging tables of a load, newest first."""
    return [name for (name,) in session.query(dialect.select_staging(), (load_id,))]


def of_load(session: PostgresSession, dialect: PostgresDialect, load: Load) -> list[str]:
    """Return the staging tables of all loads that a load is made of."""
    return [name for load_id in load.staged_by for name in registered(session, dialect, load_id)]


def older(session: PostgresSession, dialect: PostgresDialect, age: timedelta) -> list[str]:
    """Return the staging tables of all loads that are older than ``age``."""
    return [name for (name,) in session.query(dialect.select_old_staging(), (age.total_seconds(),))]


def adoptable(load: Load, place: catalog.Place) -> bool:
    """Whether there is no target yet, and the staging table lies where it belongs, with no row too many."""
    return (
        may_become_target(load.staging)
        and not load.may_lose_rows
        and TableRef.parse(load.staging).parts[:-1] == place.ref.parts[:-1]
        and not place.oid
    )


def adopt(session: PostgresSession, dialect: PostgresDialect, load: Load) -> None:
    """Make the staging table the target.

    :raises TransientError: when somebody else made the target at the same moment.
    :raises BrokenKeyError: when the key cannot be built; the staging table is what it was then.
    """
    session.execute("SAVEPOINT elt_adopt")
    try:
        session.execute(dialect.rename_staging(load))
    except (errors.DuplicateTable, errors.DuplicateObject, errors.UniqueViolation) as error:
        raise TransientError(
            f"{load.target} was created by somebody else at the same moment; nothing was merged.", hint="try again"
        ) from error
    try:
        for sql in dialect.complete_target(load):
            session.execute(sql)
    except (errors.UniqueViolation, errors.NotNullViolation) as error:
        session.execute("ROLLBACK TO SAVEPOINT elt_adopt")
        raise BrokenKeyError(
            f"{load.target}: {' '.join(str(error).split())}; nothing was merged.",
            hint="correct the rows at the source, and clear the load from its extract task on",
        ) from error
    session.execute(dialect.unregister_staging(), (load.staging,))


def drop(session: PostgresSession, dialect: PostgresDialect, names: Sequence[str]) -> None:
    """Drop staging tables."""
    for name in names:
        session.execute(dialect.drop_staging(name))
        session.execute(dialect.unregister_staging(), (name,))
