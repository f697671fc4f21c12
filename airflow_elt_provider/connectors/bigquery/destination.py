"""BigQuery as a destination: load jobs into a staging table, then one script with checkpoint and receipt."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Final, TypeVar

from airflow_elt_provider.connectors.bigquery import catalog, doctor, names, options
from airflow_elt_provider.connectors.bigquery.comparing import BigQueryWords
from airflow_elt_provider.connectors.bigquery.dialect import BigQueryDialect, checkpoints_table
from airflow_elt_provider.connectors.bigquery.failures import MissingError
from airflow_elt_provider.connectors.bigquery.jobs import BigQueryJobs, BigQuerySession, Observe
from airflow_elt_provider.connectors.bigquery.merge import Merge, refuse_unstaged
from airflow_elt_provider.connectors.bigquery.script import Script, creating_schema
from airflow_elt_provider.connectors.bigquery.settings import BigQuerySettings
from airflow_elt_provider.connectors.bigquery.staging import Staging
from airflow_elt_provider.core.checkpoint import Checkpoint
from airflow_elt_provider.core.comparison import ComparedTable
from airflow_elt_provider.core.comparison_sql import sql_table
from airflow_elt_provider.core.doctor import Finding, Inquiry
from airflow_elt_provider.core.drift import SchemaChange
from airflow_elt_provider.core.evolve import Evolution, evolve
from airflow_elt_provider.core.load import Load
from airflow_elt_provider.core.protocols import Capabilities, Commit, Stage
from airflow_elt_provider.core.receipt import Receipt
from airflow_elt_provider.core.schema import TableSchema
from airflow_elt_provider.core.state import read_checkpoint, read_receipt, read_receipts
from airflow_elt_provider.core.table_ref import TableRef
from airflow_elt_provider.errors import EltError
from airflow_elt_provider.formats.parquet import verify_listed

log = logging.getLogger(__name__)

_T = TypeVar("_T")


class BigQueryDestination:
    """Keeps targets, checkpoints and receipts in BigQuery; our own tables are in a dataset ``_elt``, which is hidden.

    :param observe: called before each job and each change of a table, and with "" when it is done.
    """

    capabilities: Final = Capabilities(Commit.TRANSACTION, frozenset({"gs"}), options.NAMES)
    settings_type: Final = BigQuerySettings

    def __init__(self, settings: BigQuerySettings, *, observe: Observe | None = None) -> None:
        self._settings = settings
        self._jobs = BigQueryJobs(settings, observe)
        self._dialect = self._dialect_of(None)
        self._staging = Staging(self._jobs, self._dialect)

    def __repr__(self) -> str:
        return f"BigQueryDestination({str(self._settings)!r})"

    def _dialect_of(self, target: catalog.Target | None) -> BigQueryDialect:
        of = self._settings
        if target is None:
            return BigQueryDialect(of.project, of.dataset, of.state_dataset, json=of.json)
        return BigQueryDialect(
            of.project, of.dataset, of.state_dataset, json=of.json, fixed=target.fixed, key=target.table.key,
            filtered=target.filtered,
        )  # fmt: skip

    def diagnose(self, inquiry: Inquiry) -> Iterator[Finding]:
        """Check that jobs run, and look for the datasets."""
        yield from doctor.examine(self._jobs, self._settings, inquiry)

    # --- state ---

    def checkpoint(self, stream: str) -> Checkpoint | None:
        """Return the stream's checkpoint."""
        session = self._session(f"Reading the checkpoint of {stream}")
        return self._known(lambda: read_checkpoint(session, self._dialect, stream), None)

    def receipt(self, load_id: str) -> Receipt | None:
        """Return the proof that a load was merged."""
        session = self._session(f"Reading the receipt of load {load_id}")
        return self._known(lambda: read_receipt(session, self._dialect, load_id), None)

    def receipts(self, stream: str, run_key: str | None = None) -> Sequence[Receipt]:
        """Return the receipts of a stream, oldest first; of one run where ``run_key`` is given."""
        session = self._session(f"Reading the receipts of {stream}")
        return self._known(lambda: read_receipts(session, self._dialect, stream, run_key), [])

    def forget(self, stream: str) -> bool:
        """Forget a stream's checkpoint; False when there was none."""
        session = self._session(f"Forgetting the checkpoint of {stream}")

        def forgotten() -> int:
            return self._jobs.racing(lambda: session.execute(self._dialect.forget_checkpoint(stream), (stream,)))

        return self._known(forgotten, 0) > 0

    def _session(self, what: str) -> BigQuerySession:
        return BigQuerySession(self._jobs, what)

    def _known(self, ask: Callable[[], _T], nothing: _T) -> _T:
        """Ask our own tables; asking must not create any."""
        try:
            return ask()
        except MissingError:
            return nothing

    # --- prepare ---

    def prepare(self, load: Load) -> tuple[SchemaChange, ...]:
        """Create or widen the target as the drift policy says."""
        names.refuse_table(load.target)
        names.refuse_columns(load.manifest.schema.names, load.manifest.source)
        self._ensure_state(load)
        return self._jobs.racing(lambda: self._prepare(load))

    def _prepare(self, load: Load) -> tuple[SchemaChange, ...]:
        target = catalog.describe(self._jobs, self._dialect, load.target, load.manifest.schema)
        dialect = self._dialect_of(target)
        evolution = evolve(dialect, load, target.table if target else None)
        ddl = list(dialect.add_columns(load.target, evolution.ddl))
        if target:
            ddl += dialect.finish(load.target, target.leftovers, target.table.columns)
        if not target and self._location_of(load.target) is None:
            ddl = [creating_schema(dialect, load.target, self._jobs.location), *ddl]
        if ddl:
            self._jobs.execute(f"Preparing {load.target}", Script.of(ddl).sql)
        return evolution.changes

    def _ensure_state(self, load: Load) -> None:
        # Asked first: IF NOT EXISTS wants the privilege to create all the same. The checkpoint is made last.
        stream, state = load.manifest.stream, self._dialect.state_ref
        what = f"Making the tables of stream {stream}"
        found = self._jobs.table(what, state(checkpoints_table(stream)).parts)
        if found is not None:
            self._jobs.location = found.location or ""
            return
        statements = [*self._dialect.create_state(), self._dialect.create_checkpoint(stream)]
        location = self._location_of(state(""))
        if location is None:
            location = self._location_of(load.target) or self._settings.location
            statements = [creating_schema(self._dialect, state("receipts"), location), *statements]
        self._jobs.location = location
        self._jobs.racing(lambda: self._jobs.execute(what, Script.of(statements).sql))

    def _location_of(self, table: TableRef) -> str | None:
        project, dataset, _ = self._dialect.parts(table)
        return catalog.location_of(self._jobs, project, dataset)

    # --- looking ---

    def preview(self, load: Load) -> Evolution:
        """Return the DDL that a load needs, doing nothing."""
        names.refuse_table(load.target)
        names.refuse_columns(load.manifest.schema.names, load.manifest.source)
        target = catalog.describe(self._jobs, self._dialect, load.target, load.manifest.schema)
        return evolve(self._dialect_of(target), load, target.table if target else None)

    @contextmanager
    def compared(self, target: TableRef, schema: TableSchema) -> Iterator[ComparedTable]:
        """Open a target, to be compared with its source; each statement sees what is committed when it begins."""
        found = catalog.describe(self._jobs, self._dialect, target, schema)
        dialect, session = self._dialect_of(found), self._session(f"Comparing {target}")
        everywhere = dialect.everywhere()
        yield sql_table(
            BigQueryWords(dialect), target, schema, found.table if found else None, session.query,
            (everywhere,) if everywhere else (),
        )  # fmt: skip

    # --- ingest ---

    def ingest(self, load: Load, stage: Stage) -> str:
        """Bring the files into a staging table."""
        names.refuse_columns(load.manifest.schema.names, load.manifest.source)
        names.refuse_table(load.target)
        verify_listed(stage, load.manifest)
        self._ensure_state(load)
        self._jobs.stopped.clear()
        return self._staging.fill(load)

    def staged(self, load_id: str) -> str | None:
        """Return the newest complete staging table of a load."""
        return self._staging.complete(load_id)

    def discard(self, load: Load) -> None:
        """Drop this attempt's staging table."""
        if load.staging_tables:
            self._staging.drop(list(load.staging_tables))

    def collect_garbage(self, older_than: timedelta) -> Sequence[str]:
        """Drop staging tables of dead attempts and return their names; BigQuery itself drops them after a day."""
        found = self._staging.older(older_than)
        self._staging.drop(found)
        return found

    # --- commit ---

    def commit(self, load: Load, stage: Stage, changes: Sequence[SchemaChange]) -> Receipt:
        """Publish rows, checkpoint and receipt: all or none.

        :raises StaleLoadError: when the checkpoint has moved.
        :raises UncertainCommitError: when the script was sent and nobody can be asked what became of it.
        """
        del stage
        refuse_unstaged(load)
        self._jobs.stopped.clear()
        self._ensure_state(load)
        receipt = Merge(self._jobs, self._dialect_of, load, changes, lambda: self.receipt(load.load_id)).run()
        try:
            self.discard(load)
        except EltError as error:  # the merge is done; BigQuery drops the table tomorrow
            log.info("%s stays: %s", ", ".join(load.staging_tables), error.message)
        return receipt

    # --- inside ---

    def cancel(self) -> None:
        """Cancel the jobs that run; safe from another thread."""
        self._jobs.cancel()
