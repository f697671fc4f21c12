"""The tables of a slot as the catalog describes them, under a lock that keeps it true while the log is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import psycopg2.errors
from psycopg2.extensions import connection as Connection  # noqa: N812 - a class in all but its name

from airflow_elt_provider.connectors.postgres import snapshot
from airflow_elt_provider.connectors.postgres.additions import Additions, find_additions
from airflow_elt_provider.connectors.postgres.catalog import Relation, read_table
from airflow_elt_provider.connectors.postgres.epoch import Epoch, read_epoch
from airflow_elt_provider.connectors.postgres.row_versions import snapshot_xmin
from airflow_elt_provider.connectors.postgres.selection import Selection, select_columns
from airflow_elt_provider.connectors.postgres.session import translate
from airflow_elt_provider.connectors.postgres.wal_rewrites import Storage, read_storage
from airflow_elt_provider.core.checkpoint import Position
from airflow_elt_provider.core.plan import Extraction
from airflow_elt_provider.core.table_ref import TableRef
from airflow_elt_provider.errors import ConfigurationError


@dataclass(frozen=True)
class FoundTable:
    """What the catalog says, under a lock that keeps it true while the log is read.

    :param xmin: 64-bit; what older transactions wrote was in sight before the end of the log was looked up.
    """

    extraction: Extraction
    since: Position | None
    relation: Relation
    selection: Selection
    epoch: Epoch
    xmin: int
    additions: Additions
    storage: Storage

    @property
    def key(self) -> tuple[str, ...]:
        """The key's names at the source."""
        return self.selection.source_key


def open_tables(connection: Connection, asked: Sequence[tuple[Extraction, Position | None]]) -> list[FoundTable]:
    """Lock the tables as any reader does and describe them, in one transaction.

    :raises ConfigurationError: for what is not there, is no table, or may not be read.
    """
    connection.autocommit = True
    server = snapshot.server_identity(connection)
    tables = [_table(extraction) for extraction, _ in asked]
    names = [snapshot.local_name(connection, table) for table in tables]
    snapshot.run(connection, snapshot.BEGIN)
    for table, name in zip(tables, names, strict=True):
        _lock(connection, table, name)
    found = []
    for (extraction, since), name in zip(asked, names, strict=True):
        with translate(f"opening {extraction.source}"):
            found.append(_describe(connection, extraction, since, name, server))
    return found


def _table(extraction: Extraction) -> TableRef:
    if extraction.table is None:
        raise ConfigurationError(f"{extraction.source} is no table.", hint="name a table with source_table")
    return extraction.table


def _lock(connection: Connection, table: TableRef, name: str) -> None:
    with translate(f"opening {table}"):
        try:
            snapshot.run(connection, f"LOCK TABLE {name} IN ACCESS SHARE MODE")
        except (psycopg2.errors.UndefinedTable, psycopg2.errors.InvalidSchemaName) as error:
            snapshot.run(connection, "ROLLBACK")
            raise snapshot.no_such_table(connection, table) from error
        except psycopg2.errors.WrongObjectType as error:
            hint = "use capture='fingerprint' or 'full'"
            raise ConfigurationError(f"{table} is no table, and only tables have a log.", hint=hint) from error


def _describe(
    connection: Connection, extraction: Extraction, since: Position | None, name: str, server: str
) -> FoundTable:
    relation = read_table(connection, name, server)
    if relation is None:
        raise snapshot.no_such_table(connection, _table(extraction))
    selection = select_columns(relation, extraction)
    additions = Additions()
    if since:
        # Rows with another value than the default were written since, and stand in the log: no need to look for them,
        # which is how a stream that appends asks.
        additions = find_additions(connection, relation, selection, replace(since, appends=True), "true")
    epoch = read_epoch(connection, relation).epoch
    storage = read_storage(connection, relation, since)
    return FoundTable(extraction, since, relation, selection, epoch, snapshot_xmin(connection), additions, storage)
