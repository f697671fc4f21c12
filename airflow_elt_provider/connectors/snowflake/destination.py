"""Snowflake as a destination: COPY into a staging table, then one transaction with checkpoint and receipt."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final, TypeVar

from snowflake.connector.errors import Error as DriverError
from snowflake.connector.errors import ProgrammingError

from airflow_elt_provider.connectors.snowflake import catalog, doctor, locations, refusals, retyping, staging
from airflow_elt_provider.connectors.snowflake.comparing import SnowflakeWords
from airflow_elt_provider.connectors.snowflake.dialect import SnowflakeDialect
from airflow_elt_provider.connectors.snowflake.session import Observe, SnowflakeAccount, SnowflakeSession
from airflow_elt_provider.connectors.snowflake.settings import SnowflakeSettings
from airflow_elt_provider.connectors.snowflake.writes import SnowflakeWrites
from airflow_elt_provider.core.checkpoint import Checkpoint
from airflow_elt_provider.core.comparison import ComparedTable
from airflow_elt_provider.core.comparison_sql import sql_table
from airflow_elt_provider.core.dialect import Sql
from airflow_elt_provider.core.doctor import Finding, Inquiry
from airflow_elt_provider.core.drift import SchemaChange
from airflow_elt_provider.core.evolve import Evolution, evolve
from airflow_elt_provider.core.load import Load
from airflow_elt_provider.core.lost_commit import ask_again
from airflow_elt_provider.core.protocols import Capabilities, Commit, Stage
from airflow_elt_provider.core.publish import Publication
from airflow_elt_provider.core.receipt import Receipt
from airflow_elt_provider.core.schema import TableSchema
from airflow_elt_provider.core.staging_tables import drop_dead, unstaged
from airflow_elt_provider.core.state import read_checkpoint, read_receipt, read_receipts
from airflow_elt_provider.core.table_ref import TableRef
from airflow_elt_provider.errors import StaleLoadError, TransientError

log = logging.getLogger(__name__)

_ALREADY_THERE: Final = 2002
_ATTEMPTS: Final = 5
_T = TypeVar("_T")


class SnowflakeDestination:
    """Keeps targets, checkpoints and receipts in a Snowflake database; our own tables are in its schema ``_ELT``.

    :param observe: called before each statement with its SQL, and with "" when it is done.
    """

    capabilities: Final = Capabilities(
        Commit.TRANSACTION, frozenset({"file", "s3", "gs"}),
        frozenset({"cluster_by", "transient", "data_retention_days"}),
    )  # fmt: skip

    def __init__(self, settings: SnowflakeSettings, *, observe: Observe | None = None) -> None:
        self._settings = settings
        self._account = SnowflakeAccount(settings, observe)
        self._begun: set[str] = set()  # streams whose checkpoint, and so all our tables, are known to be there
        self.dialect = SnowflakeDialect(settings.database, settings.schema, exact=settings.identifiers == "exact")

    def __repr__(self) -> str:
        return f"SnowflakeDestination({str(self._settings)!r})"

    def diagnose(self, inquiry: Inquiry) -> Iterator[Finding]:
        """Check the login, the warehouse and the database."""
        del inquiry
        with self._account.session("examining the account") as session:
            yield from doctor.examine(session)

    # --- state ---

    def checkpoint(self, stream: str) -> Checkpoint | None:
        """Return the stream's checkpoint."""
        found = self._ask(
            f"reading the checkpoint of {stream}", lambda session: read_checkpoint(session, self.dialect, stream), None
        )
        if found:
            self._begun.add(stream)
        return found

    def receipt(self, load_id: str) -> Receipt | None:
        """Return the proof that a load was merged."""
        return self._ask(
            f"reading the receipt of load {load_id}", lambda session: read_receipt(session, self.dialect, load_id), None
        )

    def receipts(self, stream: str, run_key: str | None = None) -> Sequence[Receipt]:
        """Return the receipts of a stream, oldest first; of one run where ``run_key`` is given."""
        none: list[Receipt] = []
        return self._ask(
            f"reading the receipts of {stream}",
            lambda session: read_receipts(session, self.dialect, stream, run_key), none,
        )  # fmt: skip

    def forget(self, stream: str) -> bool:
        """Forget a stream's checkpoint; False when there was none."""
        sql = self.dialect.forget_checkpoint(stream)
        found = self._ask(f"forgetting the checkpoint of {stream}", lambda session: session.execute(sql, (stream,)), 0)
        return found > 0

    def _ask(self, what: str, question: Callable[[SnowflakeSession], _T], absent: _T) -> _T:
        """Ask our own tables; asking must not create any."""
        with self._account.session(what) as session:
            try:
                return question(session)
            except ProgrammingError as error:
                if catalog.missing(error):
                    return absent
                raise

    # --- prepare ---

    def prepare(self, load: Load) -> tuple[SchemaChange, ...]:
        """Create or widen the target as the drift policy says."""
        refusals.refuse_names(self.dialect, load)
        refusals.refuse_options(load)
        with self._account.session(f"preparing {load.target}", load.load_id) as session:
            return self._racing(lambda: self._prepare(session, load))

    def _prepare(self, session: SnowflakeSession, load: Load) -> tuple[SchemaChange, ...]:
        self._ensure_state(session, load.manifest.stream)
        found = catalog.describe(session, self.dialect, load)
        if found and found.replaced:
            retyping.finish(session, self.dialect, load, found.replaced)
            found = catalog.describe(session, self.dialect, load)
        evolution = evolve(self.dialect, load, found.table if found else None)
        if found:
            refusals.refuse_masked(load, evolution, found)
            retyping.refuse_clustered(session, self.dialect, load, refusals.copied(evolution))
        for sql in evolution.ddl:
            self._create(session, sql, self.dialect.schema_of(load.target))
        return evolution.changes

    def _ensure_state(self, session: SnowflakeSession, stream: str) -> None:
        # Asked first: even IF NOT EXISTS wants the privilege to create. The checkpoint is made last.
        if stream not in self._begun and not catalog.exists(session, self.dialect.checkpoints(stream)):
            self._create(session, self.dialect.receipts_table(), self.dialect.own_schema)
            session.execute(self.dialect.sync_log())
            session.execute(self.dialect.checkpoint_table(stream))

    def _create(self, session: SnowflakeSession, sql: Sql | str, schema: Sql) -> None:
        """Run DDL, and once more after making the schema where that is what is missing."""
        try:
            session.execute(sql)
        except ProgrammingError as error:
            if not catalog.missing(error):
                raise
            session.execute(self.dialect.create_schema(schema))
            session.execute(sql)

    def _racing(self, work: Callable[[], _T]) -> _T:
        """Do what creates things, and again when somebody created the same at the same time."""
        for _ in range(_ATTEMPTS - 1):
            try:
                return work()
            except ProgrammingError as error:
                if error.errno != _ALREADY_THERE:
                    raise
                log.info("somebody else was first (%s), looking again", " ".join(str(error).split()))
        return work()

    # --- looking ---

    def preview(self, load: Load) -> Evolution:
        """Return the DDL that a load needs, doing nothing."""
        refusals.refuse_names(self.dialect, load)
        refusals.refuse_options(load)
        with self._account.session(f"looking at {load.target}") as session:
            found = catalog.describe(session, self.dialect, load)
            return evolve(self.dialect, load, found.table if found else None)

    @contextmanager
    def compared(self, target: TableRef, schema: TableSchema) -> Iterator[ComparedTable]:
        """Open a target, to be compared with its source; each statement sees what is committed when it begins."""
        with self._account.session(f"comparing {target}") as session:
            found = catalog.describe_table(session, self.dialect, target, schema.names)
            table = found.table if found else None
            yield sql_table(SnowflakeWords(self.dialect), target, schema, table, session.query)

    # --- ingest ---

    def ingest(self, load: Load, stage: Stage) -> str:
        """Bring the files into a staging table, which gets its final name once it holds all rows."""
        refusals.refuse_names(self.dialect, load)
        drop_dead(partial(self._collect, sent=self._uses_put(stage)))
        name = staging.new_name(load)
        with self._account.session(f"staging load {load.load_id} for {load.target}", load.load_id) as session:
            schema = self.dialect.own_schema
            self._racing(lambda: self._create(session, staging.create(self.dialect, load, name), schema))
            if self._uses_put(stage):
                return self._through_snowflake(session, load, stage, name)
            files = load.manifest.files
            where = locations.location(session, self.dialect, self._settings, stage, files)
            return staging.fill(session, self.dialect, load, name, where)

    def _through_snowflake(self, session: SnowflakeSession, load: Load, stage: Stage, name: str) -> str:
        session.execute(locations.create_internal(self.dialect))
        where = locations.send(session, self.dialect, stage, load.manifest.files, name)
        final = staging.fill(session, self.dialect, load, name, where)
        session.query(locations.remove(self.dialect, name))
        return final

    def _uses_put(self, stage: Stage) -> bool:
        return stage.scheme == "file" or self._settings.internal_stage

    def staged(self, load_id: str) -> str | None:
        """Return the newest complete staging table of a load."""
        with self._account.session(f"looking for the staging table of load {load_id}") as session:
            names = self._staged(session, load_id)
            return names[-1] if names else None

    def _staged(self, session: SnowflakeSession, *load_ids: str) -> list[str]:
        tables = catalog.staging_tables(session, self.dialect, staging.COMPLETE)
        return [name for name in tables if any(staging.of_load(name, load_id) for load_id in load_ids)]

    def discard(self, load: Load) -> None:
        """Drop the load's staging tables: its receipt is there, no attempt needs them any more."""
        with self._account.session(f"dropping the staging tables of load {load.load_id}") as session:
            self._drop(session, self._staged(session, *load.staged_by))

    def collect_garbage(self, older_than: timedelta) -> Sequence[str]:
        """Drop staging tables of dead attempts, and the files that they sent, and return their names."""
        return self._collect(older_than, sent=True)

    def _collect(self, older_than: timedelta, *, sent: bool) -> list[str]:
        before = datetime.now(UTC) - older_than
        with self._account.session("dropping old staging tables") as session:
            tables = catalog.staging_tables(session, self.dialect)
            dead = [name for name in tables if catalog.made_at(name) < before]
            self._drop(session, dead)
            folders = catalog.sent_folders(session, locations.internal_stage(self.dialect)) if sent else []
            for folder in (each for each in folders if catalog.made_at(each) < before):
                session.query(locations.remove(self.dialect, folder))
                dead.append(folder)
        return dead

    def _drop(self, session: SnowflakeSession, names: Sequence[str]) -> None:
        for name in names:
            session.execute(staging.drop(self.dialect, name))

    # --- commit ---

    def commit(self, load: Load, stage: Stage, changes: Sequence[SchemaChange]) -> Receipt:
        """Publish rows, checkpoint and receipt: all or none.

        :raises StaleLoadError: when the checkpoint has moved.
        :raises UncertainCommitError: when the answer to COMMIT was lost and Snowflake cannot be asked.
        """
        del stage
        session = None
        try:
            with self._account.session(f"merging into {load.target}", load.load_id) as session:
                return self._publish(session, load, changes)
        except TransientError as error:
            if session is None or not session.committing:
                raise
            return ask_again(load, error, self.receipt)

    def _publish(self, session: SnowflakeSession, load: Load, changes: Sequence[SchemaChange]) -> Receipt:
        tables = self._staged(session, *load.staged_by) if load.manifest.rows else []
        if load.manifest.rows and not (load.staging_tables and set(load.staging_tables) <= set(tables)):
            return self._known(session, load)
        found = catalog.describe(session, self.dialect, load)
        types = found.table.columns if found else {}
        publication = Publication(session, self.dialect, load, types, changes, writes=SnowflakeWrites)
        session.begin()
        if load.manifest.base_version is None:  # such a load moves no checkpoint, and waits for those that do
            session.execute(self.dialect.lock_stream(load.manifest.stream), (load.manifest.stream,))
        try:
            receipt = publication.run()
        except StaleLoadError:
            session.rollback()
            known = read_receipt(session, self.dialect, load.load_id)
            if known is None:
                raise
            return known  # a twin merged this very load
        except ProgrammingError as error:
            if not (catalog.missing(error) and any(name in str(error) for name in load.staging_tables)):
                raise
            session.rollback()  # somebody dropped the staging table meanwhile
            return self._known(session, load)
        session.commit()
        try:
            self._drop(session, tables)
        except DriverError as error:  # merged all the same; a later load drops them
            log.info("staging tables of load %s stay: %s", load.load_id, " ".join(str(error).split()))
        return receipt

    def _known(self, session: SnowflakeSession, load: Load) -> Receipt:
        """Return the receipt of a load without a staging table. :raises DataError: when there is none either."""
        known = read_receipt(session, self.dialect, load.load_id)
        if known is None:
            raise unstaged(load)
        return known

    def cancel(self) -> None:
        """Cancel what runs on the server; safe from another thread."""
        self._account.cancel()
