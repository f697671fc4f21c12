"""Databricks as a destination: COPY INTO a staging table, MERGE into Delta, and a checkpoint that is always right."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Final, TypeVar

from airflow_elt_provider.connectors.databricks import doctor, staging
from airflow_elt_provider.connectors.databricks.commit import Commit
from airflow_elt_provider.connectors.databricks.comparing import DatabricksWords
from airflow_elt_provider.connectors.databricks.dialect import OPTIONS, refuse_options
from airflow_elt_provider.connectors.databricks.line import Line, MovedError, TakeOver
from airflow_elt_provider.connectors.databricks.names import refuse_columns
from airflow_elt_provider.connectors.databricks.session import (
    DatabricksSession,
    MissingError,
    Observe,
    PresentError,
    Warehouse,
)
from airflow_elt_provider.connectors.databricks.settings import DatabricksSettings
from airflow_elt_provider.connectors.databricks.state import Pending, StreamState, create_statements
from airflow_elt_provider.connectors.databricks.writes import DatabricksWrites
from airflow_elt_provider.core import protocols
from airflow_elt_provider.core.checkpoint import Checkpoint
from airflow_elt_provider.core.comparison import ComparedTable
from airflow_elt_provider.core.comparison_sql import sql_table
from airflow_elt_provider.core.dialect import Sql
from airflow_elt_provider.core.doctor import Finding, Inquiry
from airflow_elt_provider.core.drift import SchemaChange
from airflow_elt_provider.core.evolve import Evolution, TargetTable, evolve
from airflow_elt_provider.core.load import Load, new_nonce
from airflow_elt_provider.core.protocols import Capabilities, Stage
from airflow_elt_provider.core.publish import Publication
from airflow_elt_provider.core.receipt import Receipt
from airflow_elt_provider.core.schema import TableSchema
from airflow_elt_provider.core.staging_tables import drop_dead, unstaged
from airflow_elt_provider.core.state import read_checkpoint
from airflow_elt_provider.core.table_ref import TableRef
from airflow_elt_provider.errors import TransientError
from airflow_elt_provider.formats.parquet import verify_listed

log = logging.getLogger(__name__)

_RACES: Final = 5
_WRITE: Final = "MODIFY"
_NOTHING: Final[Sequence[str]] = ()
_T = TypeVar("_T")


class DatabricksDestination:
    """Keeps targets in Delta tables; our own tables are in the schema ``_elt`` of the connection's catalog.

    :param observe: called before each statement with its SQL, and with "" when it is done.
    """

    capabilities: Final = Capabilities(protocols.Commit.TABLE_VERSION, frozenset({"s3", "gs", "file"}), OPTIONS)

    def __init__(self, settings: DatabricksSettings, *, observe: Observe | None = None) -> None:
        self._warehouse = Warehouse(settings, observe)

    def __repr__(self) -> str:
        return f"DatabricksDestination({str(self._warehouse.settings)!r})"

    def diagnose(self, inquiry: Inquiry) -> Iterator[Finding]:
        """Check that the SQL warehouse runs a statement."""
        del inquiry
        with self._warehouse.session("examining the warehouse") as session:
            yield from doctor.examine(session)

    # --- state ---

    def checkpoint(self, stream: str) -> Checkpoint | None:
        """Return the stream's checkpoint."""
        what = f"reading the checkpoint of {stream}"
        return self._ask(what, lambda session: read_checkpoint(session, session.dialect, stream), None)

    def receipt(self, load_id: str) -> Receipt | None:
        """Return the proof that a load was merged."""
        return self._ask(f"reading the receipt of load {load_id}", lambda session: _receipt(session, load_id), None)

    def receipts(self, stream: str, run_key: str | None = None) -> Sequence[Receipt]:
        """Return the receipts of a stream, oldest first; of one run where ``run_key`` is given."""
        what = f"reading the receipts of {stream}"
        return self._ask(what, lambda session: StreamState(session, stream).receipts(run_key), [])

    def forget(self, stream: str) -> bool:
        """Forget a stream's checkpoint; False when there was none."""
        for _ in range(_RACES):
            with suppress(MovedError):
                what = f"forgetting the checkpoint of {stream}"
                return self._ask(what, lambda session: self._forget(session, stream), False, _WRITE)  # noqa: FBT003
        return False

    def _forget(self, session: DatabricksSession, stream: str) -> bool:
        state = StreamState(session, stream)
        known = read_checkpoint(session, session.dialect, stream)
        if known is None or known.position is None:
            return False
        row = Line(self._warehouse, state).free()
        if row.receipt and not row.receipted:
            state.settle(row.receipt)
        nobody = Pending(load_id="", nonce=new_nonce(), run_key="", target=())
        row = TakeOver(self._warehouse, state).of(row, nobody)
        if not state.forget(row):
            raise MovedError
        return True

    # --- prepare ---

    def prepare(self, load: Load) -> tuple[SchemaChange, ...]:
        """Create or widen the target as the drift policy says."""
        refuse_columns(load.manifest.schema.names)
        refuse_options(load.merging.table_options)
        with self._warehouse.session(f"preparing {load.target}", "CREATE TABLE") as session:
            self._ensure_state(session, load)
            return self._racing(lambda: self._prepare(session, load))

    def _prepare(self, session: DatabricksSession, load: Load) -> tuple[SchemaChange, ...]:
        dialect = session.dialect
        target = _describe(session, load.target, load.manifest.schema)
        for sql in dialect.unfinished(load.target, target.columns if target else {}):
            session.execute(sql)
            target = None
        evolution = evolve(dialect, load, target or _describe(session, load.target, load.manifest.schema))
        for sql in (*dialect.enabling(load.target, evolution.ddl), *evolution.ddl):
            try:
                session.execute(sql)
            except MissingError:
                if target is not None:
                    raise
                session.execute(dialect.create_schema(dialect.place(load.target)))
                session.execute(sql)
        return evolution.changes

    def _ensure_state(self, session: DatabricksSession, load: Load) -> None:
        # Asked first: even IF NOT EXISTS wants the privilege to create.
        dialect, stream = session.dialect, load.manifest.stream
        wanted = ("receipts", "staging", "sync_log", dialect.checkpoints_name(stream))
        present = staging.tables(session, "|".join(wanted))
        for sql in create_statements(dialect, stream, present):
            try:
                session.execute(sql)
            except MissingError:
                session.execute(dialect.create_schema(dialect.place(TableRef((dialect.state_schema, "x")))))
                session.execute(sql)

    def _racing(self, work: Callable[[], _T]) -> _T:
        """Do what creates things, and again when somebody created the same at the same time."""
        for _ in range(_RACES - 1):
            try:
                return work()
            except PresentError as error:
                log.info("somebody else was first (%s), looking again", error)
        return work()

    # --- looking ---

    def preview(self, load: Load) -> Evolution:
        """Return the DDL that a load needs, doing nothing."""
        refuse_columns(load.manifest.schema.names)
        refuse_options(load.merging.table_options)
        with self._warehouse.session(f"looking at {load.target}") as session:
            return evolve(session.dialect, load, _describe(session, load.target, load.manifest.schema))

    @contextmanager
    def compared(self, target: TableRef, schema: TableSchema) -> Iterator[ComparedTable]:
        """Open a target, to be compared with its source; each statement sees what is committed when it begins."""
        with self._warehouse.session(f"comparing {target}") as session:
            found = _describe(session, target, schema)
            yield sql_table(DatabricksWords(session.dialect), target, schema, found, session.query)

    # --- ingest ---

    def ingest(self, load: Load, stage: Stage) -> str:
        """Bring the files into a staging table of this attempt."""
        refuse_columns(load.manifest.schema.names)
        verify_listed(stage, load.manifest)
        drop_dead(self.collect_garbage)
        with self._warehouse.session(f"staging load {load.load_id} for {load.target}", "CREATE TABLE") as session:
            session.dialect.table(load.target)  # refuses a name that there cannot be
            return staging.Staging(session, self._warehouse.settings, load, stage, self._ensure_state).fill()

    def staged(self, load_id: str) -> str | None:
        """Return the newest complete staging table of a load."""
        what = f"looking for the staging table of load {load_id}"
        names = self._ask(what, lambda session: staging.registered(session, load_id), _NOTHING)
        return names[0] if names else None

    def discard(self, load: Load) -> None:
        """Drop the load's staging tables: its receipt is there, no attempt needs them any more."""
        what = f"dropping the staging tables of load {load.load_id}"
        self._ask(what, lambda session: _drop(session, _registered(session, load)), _NOTHING, _WRITE)

    def collect_garbage(self, older_than: timedelta) -> Sequence[str]:
        """Drop staging tables of dead attempts and return their names."""
        what = "dropping old staging tables"
        names = self._ask(what, lambda session: _drop(session, staging.older(session, older_than)), _NOTHING, _WRITE)
        if not self._warehouse.settings.volume:
            return names
        volume = self._warehouse.settings.volume
        with self._warehouse.session(f"removing old files of {volume}", "WRITE VOLUME") as session:
            return (*names, *staging.remove_dead_uploads(session, volume, older_than))

    # --- commit ---

    def commit(self, load: Load, stage: Stage, changes: Sequence[SchemaChange]) -> Receipt:
        """Publish rows, checkpoint and receipt: all or none, one after the other; see :mod:`commit`.

        :raises StaleLoadError: when the checkpoint has moved.
        """
        del stage
        with self._warehouse.session(f"merging into {load.target}", _WRITE) as session:
            if load.manifest.rows and not load.staging_tables:
                raise unstaged(load)
            target = session.dialect.full_name(load.target)
            publication = lambda: _publication(session, load, changes)  # noqa: E731 - made anew at each attempt
            try:
                receipt = Commit(self._warehouse, session, load, target, publication).run()
            except MissingError as error:
                known = _receipt(session, load.load_id)  # a twin may have merged it and dropped the staging table
                if known:
                    return known
                if not set(load.staging_tables) <= set(_registered(session, load)):
                    raise unstaged(load) from error
                raise
            staging.drop(session, load.staging_tables)
        return receipt

    def cancel(self) -> None:
        """Cancel what runs on the server; safe from another thread."""
        self._warehouse.cancel()

    def close(self) -> None:
        """End the session on the warehouse; it is opened anew when it is needed."""
        self._warehouse.close()

    # --- inside ---

    def _ask(
        self, what: str, question: Callable[[DatabricksSession], _T], otherwise: _T, privilege: str = "SELECT"
    ) -> _T:
        """Return the answer, and otherwise where our own tables are not there: asking must not create any."""
        with self._warehouse.session(what, privilege) as session:
            try:
                return question(session)
            except MissingError:
                return otherwise


def _receipt(session: DatabricksSession, load_id: str) -> Receipt | None:
    """Return a load's receipt; it may be with its stream's checkpoint still, and not among the others."""
    receipts, register = session.dialect.state("receipts"), session.dialect.state("staging")
    rows = session.query(
        f"SELECT receipt, inserted, updated, deleted, 0 FROM {receipts} WHERE load_id = ? "
        f"UNION ALL SELECT stream, 0, 0, 0, 1 FROM {register} WHERE load_id = ? ORDER BY 5 LIMIT 1",
        (load_id, load_id),
    )
    for text, inserted, updated, deleted, registered in rows:
        if not registered:
            counts = {"inserted": int(inserted), "updated": int(updated), "deleted": int(deleted)}
            return Receipt.from_json({**json.loads(text), **counts})
        last = StreamState(session, text).last()
        return last if last and last.load_id == load_id else None
    return None


def _drop(session: DatabricksSession, names: Sequence[str]) -> Sequence[str]:
    staging.drop(session, names)
    return names


def _registered(session: DatabricksSession, load: Load) -> list[str]:
    """Return the complete staging tables of all loads that a load is made of."""
    return [name for load_id in load.staged_by for name in staging.registered(session, load_id)]


def _publication(session: DatabricksSession, load: Load, changes: Sequence[SchemaChange]) -> Publication:
    target = _describe(session, load.target, load.manifest.schema)
    if target is None:
        raise TransientError(
            f"{load.target} was dropped while load {load.load_id} was being merged; nothing was merged.",
            hint="let the task retry",
        )
    return Publication(session, session.dialect, load, target.columns, changes, writes=DatabricksWrites)


def _describe(session: DatabricksSession, target: TableRef, schema: TableSchema) -> TargetTable | None:
    """Return a target with its columns spelled as the schema spells them; None while there is none."""
    try:
        rows = session.query(Sql(f"DESCRIBE TABLE {session.dialect.table(target)}"))
    except MissingError:
        return None
    spelled = {name.lower(): name for name in schema.names}
    columns: dict[str, str] = {}
    for name, type_, *_ in rows:
        if not name or name.startswith("#"):  # what follows says how the table is partitioned
            break
        columns[spelled.get(name.lower(), name)] = type_.lower()
    return TargetTable(columns)
