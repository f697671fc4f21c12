"""SQLite as a destination: a staging table, then one transaction with checkpoint and receipt."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from airflow_elt_provider.core.checkpoint import Checkpoint
from airflow_elt_provider.core.comparison import ComparedTable
from airflow_elt_provider.core.comparison_sql import sql_table
from airflow_elt_provider.core.connection import ConnectionParts
from airflow_elt_provider.core.dialect import Sql
from airflow_elt_provider.core.drift import SchemaChange
from airflow_elt_provider.core.evolve import Evolution, TargetTable, evolve
from airflow_elt_provider.core.load import Load
from airflow_elt_provider.core.protocols import Capabilities, Commit, Stage
from airflow_elt_provider.core.publish import Publication
from airflow_elt_provider.core.receipt import Receipt
from airflow_elt_provider.core.schema import TableSchema
from airflow_elt_provider.core.state import read_checkpoint, read_receipt, read_receipts
from airflow_elt_provider.core.table_ref import TableRef
from airflow_elt_provider.errors import ConfigurationError, TransientError
from airflow_elt_provider.formats.parquet import fetched, read_batches
from elt_sqlite.comparing import SqliteWords
from elt_sqlite.dialect import SqliteDialect

DIALECT: Final = SqliteDialect()
_STAGING: Final = "_elt_staging_"
_BATCH: Final = 10_000


class SqliteSession:
    """An open connection; begins and commits when it is told to."""

    def __init__(self, connection: sqlite3.Connection, observe: Callable[[str], None]) -> None:
        self.connection = connection
        self._observe = observe

    def execute(self, sql: Sql, params: Sequence[Any] = ()) -> int:
        """Run a statement and return how many rows it changed."""
        self._observe(sql)
        changed = self.connection.execute(sql, params).rowcount
        self._observe("")
        return max(changed, 0)

    def query(self, sql: Sql, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run a query and return its rows."""
        return self.connection.execute(sql, params).fetchall()


class SqliteDestination:
    """Keeps targets, checkpoints and receipts in a SQLite file.

    :param observe: called before each statement with its SQL, and with "" when it is done.
    """

    capabilities: Final = Capabilities(Commit.TRANSACTION, frozenset({"file", "gs", "s3"}))

    def __init__(self, path: str, *, observe: Callable[[str], None] = lambda _: None) -> None:
        self._path, self._observe = path, observe

    # --- state ---

    def checkpoint(self, stream: str) -> Checkpoint | None:
        """Return the stream's checkpoint."""
        with self._transaction() as session:
            return read_checkpoint(session, DIALECT, stream)

    def receipt(self, load_id: str) -> Receipt | None:
        """Return the proof that a load was merged."""
        with self._transaction() as session:
            return read_receipt(session, DIALECT, load_id)

    def receipts(self, stream: str, run_key: str | None = None) -> Sequence[Receipt]:
        """Return the receipts of a stream, oldest first."""
        with self._transaction() as session:
            return read_receipts(session, DIALECT, stream, run_key)

    def forget(self, stream: str) -> bool:
        """Forget a stream's checkpoint."""
        with self._transaction() as session:
            return session.execute(DIALECT.forget_checkpoint(stream), (stream,)) > 0

    # --- prepare, ingest, commit ---

    def prepare(self, load: Load) -> tuple[SchemaChange, ...]:
        """Create or extend the target as the drift policy says."""
        _refuse_twins(load)
        with self._transaction() as session:
            evolution = evolve(DIALECT, load, _describe(session, load.target))
            for sql in evolution.ddl:
                session.execute(sql)
        return evolution.changes

    def ingest(self, load: Load, stage: Stage) -> str:
        """Copy the manifest's files into this attempt's own table; all of it, or nothing."""
        name = f"{_STAGING}{datetime.now(UTC):%Y%m%dT%H%M%S}_{load.load_id}_{load.nonce}"
        columns = load.manifest.schema.wire_schema(load.manifest.extra_columns).names
        with self._transaction() as session:
            session.execute(Sql(f"CREATE TABLE {DIALECT.quote(name)} ({DIALECT.columns(columns)})"))
            insert = f"INSERT INTO {DIALECT.quote(name)} VALUES ({', '.join('?' * len(columns))})"  # noqa: S608
            for file in load.manifest.files:
                with fetched(stage, file) as path:
                    for batch in read_batches(path, _BATCH):
                        session.connection.executemany(insert, _rows(batch, columns))
        return name

    def staged(self, load_id: str) -> str | None:
        """Return the newest staging table of a load."""
        return max(self._staging(f"%_{load_id}_%"), default=None)

    def commit(self, load: Load, stage: Stage, changes: Sequence[SchemaChange]) -> Receipt:
        """Publish rows, checkpoint and receipt: all or none."""
        del stage
        with self._transaction() as session:
            target = _describe(session, load.target)
            receipt = Publication(session, DIALECT, load, target.columns if target else {}, changes).run()
            _drop(session, self._of(load, session))
            return receipt

    def discard(self, load: Load) -> None:
        """Drop the load's staging tables."""
        with self._transaction() as session:
            _drop(session, self._of(load, session))

    def collect_garbage(self, older_than: timedelta) -> Sequence[str]:
        """Drop staging tables of dead attempts; their names say how old they are."""
        before = f"{_STAGING}{datetime.now(UTC) - older_than:%Y%m%dT%H%M%S}"
        with self._transaction() as session:
            old = [name for name in self._staging("%", session) if name < before]
            _drop(session, old)
        return old

    def cancel(self) -> None:
        """Nothing runs elsewhere."""

    # --- looking: for `elt plan` and `elt reconcile` ---

    def preview(self, load: Load) -> Evolution:
        """Return the DDL that a load needs, doing nothing."""
        with self._reading() as session:
            return evolve(DIALECT, load, _describe(session, load.target))

    @contextmanager
    def compared(self, target: TableRef, schema: TableSchema) -> Iterator[ComparedTable]:
        """Open a target, to be compared with its source."""
        with self._reading() as session:
            session.query(Sql("BEGIN"))
            found = _describe(session, target)
            yield sql_table(SqliteWords(DIALECT), target, schema, found, session.query)

    # --- inside ---

    @contextmanager
    def _reading(self) -> Iterator[SqliteSession]:
        """Open the file to read; one that is not there reads like an empty one."""
        name = f"file:{self._path}?mode=ro" if Path(self._path).exists() else ":memory:"
        with closing(sqlite3.connect(name, uri=True, timeout=60.0, isolation_level=None)) as connection:
            connection.create_function("md5", 1, _md5, deterministic=True)
            yield SqliteSession(connection, self._observe)

    @contextmanager
    def _transaction(self) -> Iterator[SqliteSession]:
        """Wait for the one writer's place, commit what the block does, or roll it back."""
        with closing(sqlite3.connect(self._path, timeout=60.0, isolation_level=None)) as connection:
            connection.create_function("md5", 1, _md5, deterministic=True)
            session = SqliteSession(connection, self._observe)
            try:
                session.execute(Sql("BEGIN IMMEDIATE"))
                for sql in DIALECT.state_tables():
                    connection.execute(sql)
                yield session
                session.execute(Sql("COMMIT"))
            except sqlite3.OperationalError as error:
                raise TransientError(f"SQLite at {self._path}: {error}.", hint="try again") from error

    def _of(self, load: Load, session: SqliteSession) -> list[str]:
        """Return the staging tables of a load: more than one where several tasks staged it."""
        return [name for load_id in load.staged_by for name in self._staging(f"%_{load_id}_%", session)]

    def _staging(self, pattern: str, session: SqliteSession | None = None) -> list[str]:
        find = Sql("SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE ? ORDER BY name")
        if session:
            return [name for (name,) in session.query(find, (f"{_STAGING}{pattern}",))]
        with self._transaction() as own:
            return self._staging(pattern, own)


def file_of(connection: ConnectionParts) -> str:
    """Return the file that a connection names, for the command line."""
    return connection.host or f"/{connection.schema}"


def _md5(text: str | None) -> str | None:
    return None if text is None else hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def _drop(session: SqliteSession, names: Sequence[str]) -> None:
    for name in names:
        session.execute(Sql(f"DROP TABLE IF EXISTS {DIALECT.quote(name)}"))


def _describe(session: SqliteSession, target: TableRef) -> TargetTable | None:
    rows = session.query(Sql("SELECT name, type FROM pragma_table_info(?)"), (str(target),))
    return TargetTable(dict(rows)) if rows else None


def _refuse_twins(load: Load) -> None:
    names = [name.lower() for name in load.manifest.schema.names]
    for name in load.manifest.schema.names:
        if names.count(name.lower()) > 1:
            raise ConfigurationError(
                f"Column {name!r} has a twin in SQLite, where case does not count.", hint="rename one of them"
            )


def _rows(batch: pa.RecordBatch, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    """Give rows of what SQLite can hold: numbers, bytes, and text for all else."""
    values = [_held(batch.column(name)) if name in batch.schema.names else [None] * len(batch) for name in columns]
    return zip(*values, strict=True)


def _held(column: pa.Array) -> list[Any]:
    kind = column.type
    if pa.types.is_decimal(kind):
        return [value if value is None else format(value, "f") for value in column.to_pylist()]
    return (pc.cast(column, pa.string()) if pa.types.is_temporal(kind) else column).to_pylist()
