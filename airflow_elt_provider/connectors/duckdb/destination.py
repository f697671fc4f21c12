"""DuckDB as a destination: merge reads the staged files in place, in one transaction with checkpoint and receipt."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Final

from airflow_elt_provider.connectors.duckdb import doctor
from airflow_elt_provider.connectors.duckdb.comparing import DuckdbWords
from airflow_elt_provider.connectors.duckdb.dialect import DuckdbDialect
from airflow_elt_provider.connectors.duckdb.session import DuckdbFile, DuckdbSession, Observe
from airflow_elt_provider.connectors.duckdb.settings import DuckdbSettings
from airflow_elt_provider.core.checkpoint import Checkpoint
from airflow_elt_provider.core.comparison import ComparedTable
from airflow_elt_provider.core.comparison_sql import no_target, sql_table
from airflow_elt_provider.core.dialect import Sql
from airflow_elt_provider.core.doctor import Finding, Inquiry
from airflow_elt_provider.core.drift import SchemaChange
from airflow_elt_provider.core.evolve import Evolution, TargetTable, evolve
from airflow_elt_provider.core.load import Load
from airflow_elt_provider.core.protocols import Capabilities, Commit, Stage
from airflow_elt_provider.core.publish import Publication
from airflow_elt_provider.core.receipt import Receipt
from airflow_elt_provider.core.schema import TableSchema
from airflow_elt_provider.core.state import read_checkpoint, read_receipt, read_receipts
from airflow_elt_provider.core.table_ref import TableRef
from airflow_elt_provider.errors import ConfigurationError, EltError
from airflow_elt_provider.formats.parquet import all_fetched, verify_listed

_COLUMNS: Final = Sql(
    "SELECT column_name, data_type FROM duckdb_columns() "
    "WHERE lower(database_name) = lower(?) AND lower(schema_name) = lower(?) AND lower(table_name) = lower(?) "
    "ORDER BY column_index"
)
_HAS_STATE: Final = Sql(  # they are made in one transaction
    "SELECT count(*) > 0 FROM duckdb_tables() "
    "WHERE database_name = current_database() AND schema_name = '_elt' AND table_name = 'receipts'"
)


class DuckdbDestination:
    """Keeps targets, checkpoints and receipts in a DuckDB file.

    The file has one writer: every method waits in line for it, opens it, and closes it again. Names are matched as
    DuckDB matches them, whatever their case.

    :param observe: called before each statement with its SQL, and with "" when it is done.
    """

    capabilities: Final = Capabilities(Commit.TRANSACTION, frozenset({"file", "gs", "s3"}))

    def __init__(self, settings: DuckdbSettings, *, observe: Observe | None = None) -> None:
        self._file = DuckdbFile(settings, observe)

    def __repr__(self) -> str:
        return f"DuckdbDestination({str(self._file.path)!r})"

    def diagnose(self, inquiry: Inquiry) -> Iterator[Finding]:
        """Check folder and file."""
        del inquiry  # who may write to the file may write to every table
        yield from doctor.examine(self._file.path, lambda: self._file.session("examining the file", doctor.PATIENCE))

    # --- state ---

    def checkpoint(self, stream: str) -> Checkpoint | None:
        """Return the stream's checkpoint."""
        with self._state(f"reading the checkpoint of {stream}") as session:
            return read_checkpoint(session, _dialect(session), stream) if session else None

    def receipt(self, load_id: str) -> Receipt | None:
        """Return the proof that a load was merged."""
        with self._state(f"reading the receipt of load {load_id}") as session:
            return read_receipt(session, _dialect(session), load_id) if session else None

    def receipts(self, stream: str, run_key: str | None = None) -> Sequence[Receipt]:
        """Return the receipts of a stream, oldest first; of one run where ``run_key`` is given."""
        with self._state(f"reading the receipts of {stream}") as session:
            return read_receipts(session, _dialect(session), stream, run_key) if session else []

    def forget(self, stream: str) -> bool:
        """Forget a stream's checkpoint; False when there was none."""
        with self._state(f"forgetting the checkpoint of {stream}") as session:
            if session is None:
                return False
            with session.transaction():
                return session.execute(_dialect(session).forget_checkpoint(stream), (stream,)) > 0

    # --- the three steps ---

    def prepare(self, load: Load) -> tuple[SchemaChange, ...]:
        """Create or widen the target as the drift policy says."""
        _refuse_twins(load.manifest.schema)
        with self._file.session(f"preparing {load.target}") as session:
            dialect = _dialect(session)
            evolution = evolve(dialect, load, _describe(session, dialect, load.target, load.manifest.schema))
            _, schema, _ = dialect.parts(load.target)
            with session.transaction():
                for sql in (*dialect.state_tables(), dialect.create_schema(schema), *evolution.ddl):
                    session.execute(sql)
        return evolution.changes

    def ingest(self, load: Load, stage: Stage) -> str:
        """See that merge will find the files as they were written; nothing is copied."""
        verify_listed(stage, load.manifest)
        return ""

    def staged(self, load_id: str) -> str | None:
        """There are no staging tables."""
        del load_id
        return None

    def commit(self, load: Load, stage: Stage, changes: Sequence[SchemaChange]) -> Receipt:
        """Publish rows, checkpoint and receipt: all or none.

        :raises StaleLoadError: when the checkpoint has moved.
        """
        _refuse_twins(load.manifest.schema)
        # Files are fetched before the line is joined: nobody waits for somebody's download.
        with all_fetched(stage, load.manifest) as paths:
            session = None
            try:
                with self._file.session(f"merging into {load.target}") as session, session.transaction():
                    return self._publish(session, load, [str(path) for path in paths], changes)
            except EltError:
                # A COMMIT that failed may have reached the disk all the same; the receipt knows.
                known = self.receipt(load.load_id) if session and session.committing else None
                if known is None:
                    raise
                return known

    def _publish(
        self, session: DuckdbSession, load: Load, paths: Sequence[str], changes: Sequence[SchemaChange]
    ) -> Receipt:
        dialect = _dialect(session, paths)
        target = _describe(session, dialect, load.target, load.manifest.schema)
        return Publication(session, dialect, load, target.columns if target else {}, changes).run()

    def discard(self, load: Load) -> None:
        """There are no staging tables."""

    def collect_garbage(self, older_than: timedelta) -> Sequence[str]:
        """There are no staging tables."""
        del older_than
        return ()

    def cancel(self) -> None:
        """Interrupt what runs, and end what waits in line; safe from another thread."""
        self._file.cancel()

    # --- looking ---

    def preview(self, load: Load) -> Evolution:
        """Return the DDL that a load needs, doing nothing."""
        _refuse_twins(load.manifest.schema)
        if not self._file.exists:
            return evolve(DuckdbDialect(self._file.path.stem), load, None)
        with self._file.session(f"looking at {load.target}") as session:
            dialect = _dialect(session)
            return evolve(dialect, load, _describe(session, dialect, load.target, load.manifest.schema))

    @contextmanager
    def compared(self, target: TableRef, schema: TableSchema) -> Iterator[ComparedTable]:
        """Open one snapshot of a target, to be compared with its source."""
        if not self._file.exists:
            raise no_target(target)
        with self._file.session(f"comparing {target}") as session, session.transaction():
            dialect = _dialect(session)
            found = _describe(session, dialect, target, schema)
            yield sql_table(DuckdbWords(dialect), target, schema, found, session.query)

    # --- inside ---

    @contextmanager
    def _state(self, what: str) -> Iterator[DuckdbSession | None]:
        """Open the file where there is one with our tables in it; asking must not create any."""
        if not self._file.exists:
            yield None
            return
        with self._file.session(what) as session:
            yield session if session.query(_HAS_STATE)[0][0] else None


def _dialect(session: DuckdbSession, paths: Sequence[str] = ()) -> DuckdbDialect:
    return DuckdbDialect(str(session.query(Sql("SELECT current_database()"))[0][0]), paths)


def _describe(
    session: DuckdbSession, dialect: DuckdbDialect, target: TableRef, schema: TableSchema
) -> TargetTable | None:
    """Return the target with its columns spelled as the load spells them; None while there is none."""
    rows = session.query(_COLUMNS, dialect.parts(target))
    spelled = {name.lower(): name for name in schema.names}
    return TargetTable({spelled.get(name.lower(), name): type_ for name, type_ in rows}) if rows else None


def _refuse_twins(schema: TableSchema) -> None:
    seen: dict[str, str] = {}
    for name in schema.names:
        other = seen.setdefault(name.lower(), name)
        if other != name:
            raise ConfigurationError(
                f"Columns {other!r} and {name!r} have one name in DuckDB, where case does not count.",
                hint=f"rename one of them: rename={{{name!r}: '...'}}",
            )
