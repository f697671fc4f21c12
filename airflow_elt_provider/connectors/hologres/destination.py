"""Hologres as a destination: COPY into a staging table, then one DML transaction, or guarded statements without one."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

import psycopg2
from psycopg2 import errors

from airflow_elt_provider.connectors.hologres import doctor
from airflow_elt_provider.connectors.hologres.comparing import HologresWords
from airflow_elt_provider.connectors.hologres.dialect import RECEIPTS, STAGING, SYNC_LOG, HologresDialect
from airflow_elt_provider.connectors.hologres.guarded import GuardedMerge, roll_forward
from airflow_elt_provider.connectors.hologres.options import KNOWN
from airflow_elt_provider.connectors.hologres.publish import HologresPublication
from airflow_elt_provider.connectors.hologres.session import HologresServer, HologresSession
from airflow_elt_provider.connectors.hologres.settings import HologresSettings
from airflow_elt_provider.connectors.postgres import destination_catalog as catalog
from airflow_elt_provider.connectors.postgres import destination_staging as staging
from airflow_elt_provider.connectors.postgres.destination import PostgresDestination
from airflow_elt_provider.connectors.postgres.destination_session import PostgresSession
from airflow_elt_provider.connectors.postgres.dialect import PG_11
from airflow_elt_provider.connectors.postgres.session import Observe
from airflow_elt_provider.core.checkpoint import Checkpoint
from airflow_elt_provider.core.comparison_words import ComparisonWords
from airflow_elt_provider.core.dialect import Sql
from airflow_elt_provider.core.doctor import Finding, Inquiry
from airflow_elt_provider.core.drift import SchemaChange
from airflow_elt_provider.core.evolve import Evolution, own_columns, target_key
from airflow_elt_provider.core.load import Load
from airflow_elt_provider.core.protocols import Capabilities, Commit, Stage
from airflow_elt_provider.core.receipt import Receipt
from airflow_elt_provider.core.state import read_checkpoint, read_receipt
from airflow_elt_provider.core.system_columns import SEQ
from airflow_elt_provider.errors import ConfigurationError, DataError, StaleLoadError

log = logging.getLogger(__name__)

_WRITE: Final = "SELECT, INSERT, UPDATE, DELETE"
_REMEDY: Final = (
    "use an instance of version 2.0 or later with elt_transactions='auto' (or 'on') in the connection's extra"
)
_AT: Final = HologresDialect.placeholder
_OURS: Final = Sql(f"""
SELECT c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = {_AT} AND c.relname IN ({_AT}, {_AT}, {_AT}, {_AT})""")


class HologresDestination(PostgresDestination):
    """Keeps targets, checkpoints and receipts in a Hologres database; our own tables are in its schema ``_elt``.

    :param observe: called before each statement with its SQL, and with "" when it is done.
    """

    def __init__(self, settings: HologresSettings, *, observe: Observe | None = None) -> None:
        super().__init__(settings, observe=observe)
        self._server: HologresServer = HologresServer(settings, observe)

    def __repr__(self) -> str:
        return f"HologresDestination({str(self._server.settings)!r})"

    @property
    def capabilities(self) -> Capabilities:
        """What it can do; asks the instance, once, where the connection does not say."""
        commit = Commit.TRANSACTION if self._server.has_transactions() else Commit.GUARDED
        # Its COPY reads CSV, but is not known to have FORCE_NULL: a quoted empty field of a number is an error without.
        return replace(super().capabilities, commit=commit, table_options=KNOWN, remedy=_REMEDY, in_place=False)

    def dialect(self, session: PostgresSession) -> HologresDialect:
        """Return the dialect of the instance."""
        guarded = not self._server.transactional(session)
        return HologresDialect(self._server.version(session), self._server.holo.timestamptz, guarded=guarded)

    def diagnose(self, inquiry: Inquiry) -> Iterator[Finding]:
        """Check that the instance lets us in, and how it commits."""
        del inquiry
        yield from doctor.examine(self._server)

    # --- state ---

    def checkpoint(self, stream: str) -> Checkpoint | None:
        """Return the stream's checkpoint."""
        with self._server.session(f"reading the checkpoint of {stream}") as session:
            dialect = self.dialect(session)
            if dialect.checkpoint_table(stream) not in self._ours(session, stream):
                return None
            if dialect.guarded:
                roll_forward(session, dialect, stream)
            return read_checkpoint(session, dialect, stream)

    def forget(self, stream: str) -> bool:
        """Forget a stream's checkpoint; False when there was none."""
        with self._server.session(f"forgetting the checkpoint of {stream}", _WRITE) as session:
            dialect = self.dialect(session)
            if dialect.checkpoint_table(stream) not in self._ours(session, stream):
                return False
            return session.execute(dialect.forget_checkpoint(stream), (stream,)) > 0

    def _ours(self, session: PostgresSession, stream: str) -> set[str]:
        """Return which of our own tables are there."""
        dialect = self.dialect(session)
        names = (dialect.state_schema, RECEIPTS, STAGING, SYNC_LOG, dialect.checkpoint_table(stream))
        return {name for (name,) in session.query(_OURS, names)}

    @contextmanager
    def _state(self, what: str, privilege: str = "SELECT") -> Iterator[PostgresSession | None]:
        with self._server.session(what, privilege) as session:
            yield session if {RECEIPTS, STAGING} <= self._ours(session, "") else None

    # --- prepare ---

    def _ensure_state(self, session: PostgresSession, stream: str) -> None:
        dialect = self.dialect(session)
        checkpoint = dialect.checkpoint_table(stream)
        ddl = {**self._shared(dialect), checkpoint: dialect.create_checkpoint(stream)}
        self._create(session, ddl, self._ours(session, stream))
        session.execute(dialect.seed_checkpoint(stream), (stream,))

    def _commit_state(self, session: PostgresSession, stream: str) -> None:
        dialect = self.dialect(session)
        self._create(session, self._shared(dialect), self._ours(session, stream))

    def _shared(self, dialect: HologresDialect) -> dict[str, tuple[Sql, ...]]:
        """Return the DDL of what all streams share."""
        return {
            RECEIPTS: dialect.create_receipts(), STAGING: dialect.create_register(), SYNC_LOG: (dialect.sync_log(),),
        }  # fmt: skip

    def _create(self, session: PostgresSession, ddl: dict[str, tuple[Sql, ...]], there: set[str]) -> None:
        missing = [name for name in ddl if name not in there]
        if missing and not catalog.has_schema(session, HologresDialect.state_schema):
            session.execute(f"CREATE SCHEMA IF NOT EXISTS {self.dialect(session).quote(HologresDialect.state_schema)}")
        for name in missing:
            _hologres(session).define(*ddl[name])

    def _evolve(self, session: PostgresSession, load: Load, place: catalog.Place, evolution: Evolution) -> None:
        dialect, holo = self.dialect(session), _hologres(session)
        dialect.refuse_impossible(load, evolution.changes)
        if place.oid:
            _refuse_kind(place)
            for sql in evolution.ddl:
                holo.define(sql)
            self._add_seq(holo, load, place)
            return
        schema = load.manifest.schema
        columns = [(column.name, dialect.column_type(column)) for column in schema.columns] + own_columns(dialect, load)
        key = target_key(load)
        options = load.merging.table_options
        holo.define(*evolution.ddl, *dialect.table_properties(load.target, columns, key, options))

    def _add_seq(self, session: HologresSession, load: Load, place: catalog.Place) -> None:
        dialect = self.dialect(session)
        target = catalog.describe(session, place) if dialect.guarded else None
        if target and SEQ not in target.columns:
            session.define(dialect.add_column(load.target, SEQ, "bigint"))

    # --- ingest ---

    def _fill(self, session: PostgresSession, load: Load, stage: Stage) -> str:
        # Registered first, so that a table of a dead attempt is found; filled only when it has its rows.
        dialect = self.dialect(session)
        name = f"{datetime.now(UTC):%Y%m%dT%H%M%S}_{load.load_id}_{load.nonce}"
        session.execute(dialect.register_staging(), (name, load.load_id, -1))
        session.execute(dialect.create_staging(load, name))
        rows = staging.copy(session, dialect, load, name, stage)
        session.execute(dialect.complete_staging(), (rows, name))
        return name

    # --- looking ---

    def _hold_still(self, session: PostgresSession) -> None:
        """Hologres has no transaction modes: each statement sees what is committed when it begins."""

    def _words(self, session: PostgresSession) -> ComparisonWords:
        return HologresWords(self.dialect(session), PG_11)

    # --- commit ---

    def _publish(self, session: PostgresSession, load: Load, changes: Sequence[SchemaChange]) -> Receipt:
        dialect = self.dialect(session)
        receipt = read_receipt(session, dialect, load.load_id)
        if receipt is None:
            try:
                self._refuse_unstaged(session, load)
            except DataError:
                receipt = read_receipt(session, dialect, load.load_id)  # a twin may have merged it meanwhile
                if receipt is None:
                    raise
                return receipt
            receipt = self._merge(_hologres(session), load, changes)
        try:
            staging.drop(session, dialect, staging.of_load(session, dialect, load))
        except psycopg2.Error as error:  # the load is merged; a later one drops what is left
            log.info("%s: its staging table stays: %s", load.manifest.stream, " ".join(str(error).split()))
        return receipt

    def _merge(self, session: HologresSession, load: Load, changes: Sequence[SchemaChange]) -> Receipt:
        dialect, place = self.dialect(session), catalog.find(session, load.target)
        load = replace(load, merging=replace(load.merging, target=place.ref))
        target = catalog.describe(session, place)
        columns, key = (target.columns, target.key) if target else ({}, ())
        if dialect.guarded:
            patience = self._server.settings.lock_timeout
            return GuardedMerge(session, dialect, load, columns, key, changes, patience).run()
        publication = HologresPublication(
            session, dialect, load, columns, changes, exchangeable=True, target_key=key
        )  # fmt: skip
        try:
            with session.transaction():
                return publication.run()
        except (StaleLoadError, errors.UniqueViolation):
            known = read_receipt(session, dialect, load.load_id)  # a twin of this task was first
            if known:
                return known
            raise


def _hologres(session: PostgresSession) -> HologresSession:
    assert isinstance(session, HologresSession)  # noqa: S101 - what our server opens
    return session


def _refuse_kind(place: catalog.Place) -> None:
    if place.kind != "r":
        raise ConfigurationError(
            f"{place.ref} is not an ordinary table (relkind {place.kind!r}).",
            hint="name a table; of a partitioned one, a partition",
        )
