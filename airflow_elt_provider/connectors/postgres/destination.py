"""PostgreSQL as a destination: COPY into a staging table, then one transaction with checkpoint and receipt."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Final

from psycopg2 import errors

from airflow_elt_provider.connectors.postgres import comparing, destination_doctor, doctor
from airflow_elt_provider.connectors.postgres import destination_catalog as catalog
from airflow_elt_provider.connectors.postgres import destination_staging as staging
from airflow_elt_provider.connectors.postgres.destination_session import PostgresServer, PostgresSession, racing
from airflow_elt_provider.connectors.postgres.dialect import PostgresDialect
from airflow_elt_provider.connectors.postgres.session import Observe
from airflow_elt_provider.connectors.postgres.settings import PostgresSettings
from airflow_elt_provider.connectors.postgres.snapshot import server_identity
from airflow_elt_provider.core.checkpoint import Checkpoint
from airflow_elt_provider.core.comparison import ComparedTable
from airflow_elt_provider.core.comparison_words import ComparisonWords
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
from airflow_elt_provider.errors import ConfigurationError, TransientError

log = logging.getLogger(__name__)

_CAPABILITIES: Final = Capabilities(Commit.TRANSACTION, frozenset({"file", "gs", "s3"}), in_place=True)
_PLANNER: Final = Sql(
    "SELECT pg_catalog.set_config('work_mem', '128MB', true), pg_catalog.set_config('random_page_cost', '1.1', true)"
)
"""Of the merge alone. With the default of 4, which stands for rotating disks, 10,000 changed rows read an index over a
million rows from end to end (0.9 s) instead of looking each row up (0.15 s)."""
_WRITE: Final = "SELECT, INSERT, UPDATE, DELETE"


class PostgresDestination:
    """Keeps targets, checkpoints and receipts in a PostgreSQL database; our own tables are in its schema ``_elt``.

    :param observe: called before each statement with its SQL, and with "" when it is done.
    """

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""
        return _CAPABILITIES

    def __init__(self, settings: PostgresSettings, *, observe: Observe | None = None) -> None:
        self._server = PostgresServer(settings, observe)

    def __repr__(self) -> str:
        return f"PostgresDestination({str(self._server.settings)!r})"

    def dialect(self, session: PostgresSession) -> PostgresDialect:
        """Return the dialect of the server."""
        return PostgresDialect(session.server_version)

    def diagnose(self, inquiry: Inquiry) -> Iterator[Finding]:
        """Check connection and privileges; changes nothing."""
        with self._server.session("examining the server") as session:
            yield from doctor.connected(session.connection, self._server.settings)
            yield from destination_doctor.writable(session, inquiry)

    def kept(self) -> AbstractContextManager[None]:
        """Within the block, use one connection for what is done in quick succession."""
        return self._server.kept()

    # --- state ---

    def checkpoint(self, stream: str) -> Checkpoint | None:
        """Return the stream's checkpoint."""
        with self._state(f"reading the checkpoint of {stream}") as session:
            return read_checkpoint(session, self.dialect(session), stream) if session else None

    def receipt(self, load_id: str) -> Receipt | None:
        """Return the proof that a load was merged."""
        with self._state(f"reading the receipt of load {load_id}") as session:
            return read_receipt(session, self.dialect(session), load_id) if session else None

    def receipts(self, stream: str, run_key: str | None = None) -> Sequence[Receipt]:
        """Return the receipts of a stream, oldest first; of one run where ``run_key`` is given."""
        with self._state(f"reading the receipts of {stream}") as session:
            return read_receipts(session, self.dialect(session), stream, run_key) if session else []

    def forget(self, stream: str) -> bool:
        """Forget a stream's checkpoint; False when there was none."""
        with self._state(f"forgetting the checkpoint of {stream}", _WRITE) as session:
            if session is None:
                return False
            found = session.execute(self.dialect(session).forget_checkpoint(stream), (stream,))
            session.commit()
            return found > 0

    # --- prepare ---

    def prepare(self, load: Load) -> tuple[SchemaChange, ...]:
        """Create or widen the target as the drift policy says."""
        catalog.refuse_long_columns(load)
        with self._server.session(f"preparing {load.target}", "CREATE") as session:
            return racing(session, lambda: self._prepare(session, load))

    def _prepare(self, session: PostgresSession, load: Load) -> tuple[SchemaChange, ...]:
        dialect = self.dialect(session)
        self._ensure_state(session, load.manifest.stream)
        place = catalog.find(session, load.target)
        load = _at(load, place)
        _refuse_itself(session, load)
        evolution = evolve(dialect, load, catalog.describe(session, place))
        if staging.adoptable(load, place):
            session.commit()
            return evolution.changes
        schema = place.ref.parts[0]
        if not place.oid and not catalog.has_schema(session, schema):
            session.execute(f"CREATE SCHEMA {dialect.quote(schema)}")
        try:
            self._evolve(session, load, place, evolution)
        except (errors.FeatureNotSupported, errors.WrongObjectType) as error:
            what = " ".join(str(error).split())
            raise ConfigurationError(
                f"{load.target} cannot be changed: {what}",
                hint="drop what stands in the way (a view?), or leave it: on_schema_drift={'widened': 'freeze'}",
            ) from error
        session.commit()
        return evolution.changes

    def _evolve(self, session: PostgresSession, load: Load, place: catalog.Place, evolution: Evolution) -> None:
        """Make or change the target."""
        del load, place
        for sql in evolution.ddl:
            session.execute(sql)

    def _ensure_state(self, session: PostgresSession, stream: str) -> None:
        """Make our own tables where they are missing, those of a stream too."""
        del stream
        # Asked first: even IF NOT EXISTS wants the privilege to create.
        if not catalog.has_whole_state(session):
            for sql in self.dialect(session).state_tables():
                session.execute(sql)

    # --- ingest ---

    def ingest(self, load: Load, stage: Stage) -> str:
        """Bring the files into a staging table: created, filled and registered in one transaction."""
        catalog.refuse_long_columns(load)
        drop_dead(self.collect_garbage)
        with self._server.session(f"staging load {load.load_id} for {load.target}", "CREATE") as session:
            racing(session, lambda: self._commit_state(session, load.manifest.stream))
            name = self._fill(session, load, stage)
            session.commit()
        return name

    def _fill(self, session: PostgresSession, load: Load, stage: Stage) -> str:
        return staging.fill(session, self.dialect(session), load, stage)

    def _commit_state(self, session: PostgresSession, stream: str) -> None:
        self._ensure_state(session, stream)
        session.commit()

    def staged(self, load_id: str) -> str | None:
        """Return the newest complete staging table of a load."""
        with self._state(f"looking for the staging table of load {load_id}") as session:
            names = staging.registered(session, self.dialect(session), load_id) if session else []
            return names[0] if names else None

    def discard(self, load: Load) -> None:
        """Drop the load's staging tables: its receipt is there, no attempt needs them any more."""
        with self._state(f"dropping the staging tables of load {load.load_id}", _WRITE) as session:
            if session:
                dialect = self.dialect(session)
                staging.drop(session, dialect, staging.of_load(session, dialect, load))
                session.commit()

    def collect_garbage(self, older_than: timedelta) -> Sequence[str]:
        """Drop staging tables of dead attempts and return their names."""
        with self._state("dropping old staging tables", _WRITE) as session:
            if session is None:
                return ()
            names = staging.older(session, self.dialect(session), older_than)
            staging.drop(session, self.dialect(session), names)
            session.commit()
        return names

    # --- commit ---

    def commit(self, load: Load, stage: Stage, changes: Sequence[SchemaChange]) -> Receipt:
        """Publish rows, checkpoint and receipt: all or none.

        :raises StaleLoadError: when the checkpoint has moved.
        :raises UncertainCommitError: when the answer to COMMIT was lost and the server cannot be asked.
        """
        del stage
        session = None
        try:
            with self._server.session(f"merging into {load.target}", _WRITE) as session:
                receipt = self._publish(session, load, changes)
                session.commit()
                return receipt
        except TransientError as error:
            if session is None or not session.committing:
                raise
            return ask_again(load, error, self.receipt)

    def _publish(self, session: PostgresSession, load: Load, changes: Sequence[SchemaChange]) -> Receipt:
        dialect = self.dialect(session)
        self.lock_stream(session, load.manifest.stream)
        place = catalog.find(session, load.target)
        if place.lockable:
            session.execute(f"LOCK TABLE {dialect.table(place.ref)} IN SHARE ROW EXCLUSIVE MODE")
        receipt = read_receipt(session, dialect, load.load_id)
        if receipt is None:
            self._refuse_unstaged(session, load)
            session.query(_PLANNER)
            if place.kind == "v":  # what hides rows below a view is not seen from outside
                session.execute("SET LOCAL row_security = off")
            receipt = self._publication(session, _at(load, place), place, changes).run()
        staging.drop(session, dialect, staging.of_load(session, dialect, load))
        return receipt

    def _publication(
        self, session: PostgresSession, load: Load, place: catalog.Place, changes: Sequence[SchemaChange]
    ) -> Publication:
        dialect = self.dialect(session)
        target = catalog.describe(session, place)
        if staging.adoptable(load, place):
            types = dict(dialect.staging_columns(load))
            return Publication(
                session, dialect, load, types, changes, adopt=lambda: staging.adopt(session, dialect, load)
            )
        return Publication(
            session, dialect, load, target.columns if target else {}, changes,
            exchangeable=catalog.exchangeable(session, place),
        )  # fmt: skip

    def lock_stream(self, session: PostgresSession, stream: str) -> None:
        """Let the merges of a stream pass one after the other."""
        number = int.from_bytes(hashlib.sha256(stream.encode()).digest()[:8], signed=True)
        session.query(f"SELECT pg_catalog.pg_advisory_xact_lock({number})")

    def _refuse_unstaged(self, session: PostgresSession, load: Load) -> None:
        wanted = set(load.staging_tables)
        if load.manifest.rows and not (wanted and wanted <= set(staging.of_load(session, self.dialect(session), load))):
            raise unstaged(load)

    def cancel(self) -> None:
        """Cancel what runs on the server; safe from another thread."""
        self._server.cancel()

    # --- looking ---

    def preview(self, load: Load) -> Evolution:
        """Return the DDL that a load needs, doing nothing."""
        catalog.refuse_long_columns(load)
        with self._server.session(f"looking at {load.target}") as session:
            place = catalog.find(session, load.target)
            return evolve(self.dialect(session), _at(load, place), catalog.describe(session, place))

    @contextmanager
    def compared(self, target: TableRef, schema: TableSchema) -> Iterator[ComparedTable]:
        """Open one snapshot of a target, to be compared with its source."""
        with self._server.session(f"comparing {target}") as session:
            self._hold_still(session)
            yield comparing.target_table(session, target, schema, self._words(session))

    def _hold_still(self, session: PostgresSession) -> None:
        """Let the session's transaction see one state of the database."""
        session.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")

    def _words(self, session: PostgresSession) -> ComparisonWords:
        """Return how this server is asked."""
        own = comparing.own_tongue(session.server_version, session.query)
        return comparing.PostgresWords(self.dialect(session), session.server_version, own)

    # --- inside ---

    @contextmanager
    def _state(self, what: str, privilege: str = "SELECT") -> Iterator[PostgresSession | None]:
        """Begin where our own tables are there; asking must not create any."""
        with self._server.session(what, privilege) as session:
            yield session if catalog.has_state(session) else None


def _refuse_itself(session: PostgresSession, load: Load) -> None:
    """Refuse to merge a table into itself."""
    itself = f"{server_identity(session.connection)}/{PostgresDialect().table(load.target)}"
    if load.manifest.next_position.source == itself:
        raise ConfigurationError(
            f"{load.target} is the very table that {load.manifest.source} was read from.",
            hint="choose another target_table, or another destination_conn_id",
        )


def _at(load: Load, place: catalog.Place) -> Load:
    """Return the load with its target's name in full."""
    return replace(load, merging=replace(load.merging, target=place.ref))
