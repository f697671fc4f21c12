"""PostgreSQL as a source."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial

import pyarrow as pa
from psycopg2.extensions import connection as Connection  # noqa: N812 - a class in all but its name

from airflow_elt_provider.connectors.postgres import comparing, doctor, measuring, partitions, session, snapshot
from airflow_elt_provider.connectors.postgres.capture_wal import LogCapture
from airflow_elt_provider.connectors.postgres.catalog import Relation, query_rows
from airflow_elt_provider.connectors.postgres.fingerprint_comparison import Comparison, compare
from airflow_elt_provider.connectors.postgres.fingerprint_reading import change_set
from airflow_elt_provider.connectors.postgres.first_load import FirstLoad, PortionSizes, in_portions
from airflow_elt_provider.connectors.postgres.names import meant
from airflow_elt_provider.connectors.postgres.reading import Reading
from airflow_elt_provider.connectors.postgres.settings import PostgresSettings
from airflow_elt_provider.connectors.postgres.xmin_reading import xmin_reading
from airflow_elt_provider.core.capture import Fingerprint, Wal, Xmin
from airflow_elt_provider.core.checkpoint import Position
from airflow_elt_provider.core.comparison import ComparedTable
from airflow_elt_provider.core.doctor import Finding, Inquiry
from airflow_elt_provider.core.partition import Partition
from airflow_elt_provider.core.plan import Extraction
from airflow_elt_provider.core.preview import Measured
from airflow_elt_provider.core.protocols import ChangeSet, Memory
from airflow_elt_provider.core.table_ref import TableRef
from airflow_elt_provider.errors import ConfigurationError, TransientError

_TABLES = """
SELECT c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relkind IN ('r', 'p', 'm') AND NOT c.relispartition ORDER BY c.relname
"""
_SCHEMAS = "SELECT nspname FROM pg_catalog.pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'"


class PostgresSource:
    """Reads tables, views and queries of one database, each under one snapshot.

    :class:`airflow_elt_provider.core.protocols.Source` says what the methods promise.

    :param portions: when and how the first load of ``fingerprint`` goes portion by portion.
    :param observe: called before each statement with its SQL, and with "" when it is done.
    """

    def __init__(
        self,
        settings: PostgresSettings,
        portions: PortionSizes = PortionSizes(),  # noqa: B008
        *,
        observe: session.Observe | None = None,
    ) -> None:
        self._settings, self._portions, self._observe = settings, portions, observe
        self._live: set[Connection] = set()
        self._lock = threading.Lock()
        self._cancelled = threading.Event()

    def changes(
        self,
        extraction: Extraction,
        since: Position | None,
        until: Position | None = None,
        memory: Memory | None = None,
    ) -> AbstractContextManager[ChangeSet]:
        """Open one snapshot and give what changed after ``since``, up to ``until`` where given.

        The streams are to be drained before the context ends: it closes the connections and stops what still runs.
        """
        if isinstance(extraction.capture, Wal):
            return self._followed(extraction, since)
        if isinstance(extraction.capture, Fingerprint):
            return self._compared(extraction, since, memory)
        return self._changes(extraction, since, until)

    @contextmanager
    def _changes(self, extraction: Extraction, since: Position | None, until: Position | None) -> Iterator[ChangeSet]:
        with self._opened(extraction) as (stack, connection, relation):
            with session.translate(f"reading {extraction.source}"):
                if isinstance(extraction.capture, Xmin):
                    reading: Reading = xmin_reading(connection, relation, extraction, since)
                else:
                    reading = Reading.plan(connection, relation, extraction, since, until)
                streams, note = self._streams(stack, reading)
            yield reading.change_set(streams, note)

    @contextmanager
    def _compared(self, extraction: Extraction, since: Position | None, memory: Memory | None) -> Iterator[ChangeSet]:
        with self._opened(extraction) as (stack, connection, relation):
            with session.translate(f"comparing {extraction.source}"):
                comparison = compare(connection, relation, extraction, since, memory)
                first = self._first(comparison)
                streams = partial(self._streams, stack)
                changes = first.changes() if first else change_set(comparison, stack, streams, self._cancel_one)
            yield changes

    def _first(self, comparison: Comparison) -> FirstLoad | None:
        partition = comparison.moment.extraction.partition
        if partition:
            return partitions.reading(comparison, partition, self._portions, self._cancel_one)
        return in_portions(comparison, self._portions, self._cancel_one)

    @contextmanager
    def _opened(self, extraction: Extraction) -> Iterator[tuple[ExitStack, Connection, Relation]]:
        self._cancelled.clear()
        with ExitStack() as stack:
            connection = stack.enter_context(self._session())
            yield stack, connection, snapshot.open_relation(connection, extraction)

    def _streams(self, stack: ExitStack, reading: Reading) -> tuple[Sequence[Iterator[pa.RecordBatch]], str]:
        """Open the streams of a reading, each on a connection of its own, and return them with a note."""
        shares, note = reading.shares()
        connections = [reading.connection]
        if len(shares) > 1:
            name = snapshot.export(reading.connection)
            connections += [stack.enter_context(self._joined(name, reading.extraction)) for _ in shares[1:]]
        self._refuse_cancelled(reading.extraction)
        streams = [
            stack.enter_context(reading.stream(connection, share, self._cancel_one))
            for connection, share in zip(connections, shares, strict=False)
        ]
        return streams, note

    @contextmanager
    def log_changes(self, asked: Sequence[tuple[Extraction, Position | None]]) -> Iterator[Sequence[ChangeSet]]:
        """Read one slot's log once for several tables, each since its own position; drain them in order.

        :raises ConfigurationError: for a server, role, table or publication with which the log cannot be read.
        """
        self._cancelled.clear()
        with LogCapture(self._settings, self._session, self._cancel_one).changes(asked) as found:
            self._refuse_cancelled(asked[0][0])
            yield found

    @contextmanager
    def _followed(self, extraction: Extraction, since: Position | None) -> Iterator[ChangeSet]:
        with self.log_changes([(extraction, since)]) as found:
            yield found[0]

    @contextmanager
    def compared(self, extraction: Extraction) -> Iterator[ComparedTable]:
        """Open one snapshot of what an extraction reads, to be compared with a target.

        :raises ConfigurationError: for a missing table, column or privilege.
        """
        self._cancelled.clear()
        with self._session() as connection:
            yield comparing.source_table(connection, extraction)

    def divide(self, extraction: Extraction, into: int) -> Sequence[Partition]:
        """Divide a table's keys into ranges of about as many rows each.

        :raises ConfigurationError: for a table whose keys cannot be divided.
        """
        with self._opened(extraction) as (_, connection, relation), session.translate(f"dividing {extraction.source}"):
            return partitions.divide(compare(connection, relation, extraction, None, None), into)

    def measure(self, extraction: Extraction, predicate: str) -> Measured:
        """Say how many rows and bytes a predicate would have an extract read."""
        with self._session() as connection:
            return measuring.measure(connection, extraction, predicate)

    def diagnose(self, inquiry: Inquiry) -> Iterator[Finding]:
        """Check connection, tables and captures; locks and changes nothing."""
        with self._session() as connection:
            yield from doctor.readable(connection, self._settings, inquiry)

    def tables(self, schema: str) -> Sequence[TableRef]:
        """List the tables (partitions apart) and materialized views of a schema, by name.

        :raises ConfigurationError: when there is no such schema.
        """
        with self._session() as connection, session.translate(f"listing the tables of schema {schema!r}"):
            found = query_rows(connection, _TABLES, (schema,))
            if not found:
                schemas = [row[0] for row in query_rows(connection, _SCHEMAS)]
                if schema not in schemas:
                    raise ConfigurationError(f"There is no schema {schema!r}.", hint=meant(schema, schemas))
        return [TableRef((schema, name)) for (name,) in found]

    def cancel(self) -> None:
        """Stop what runs on the server; safe to call from another thread, and when nothing runs."""
        self._cancelled.set()
        with self._lock:
            live = list(self._live)
        session.cancel(self._settings, live)

    def _cancel_one(self, connection: Connection) -> None:
        session.cancel(self._settings, [connection])

    def close(self) -> None:
        """Close what a context that was never left still holds open."""
        with self._lock:
            live, self._live = list(self._live), set()
        for connection in live:
            connection.close()

    @contextmanager
    def _session(self, settings: PostgresSettings | None = None) -> Iterator[Connection]:
        connection = session.connect(settings or self._settings, self._observe)
        with self._lock:
            self._live.add(connection)
        try:
            yield connection
        finally:
            with self._lock:
                self._live.discard(connection)
            connection.close()

    @contextmanager
    def _joined(self, name: str, extraction: Extraction) -> Iterator[Connection]:
        with self._session() as connection:
            snapshot.join(connection, name, extraction)
            yield connection

    def _refuse_cancelled(self, extraction: Extraction) -> None:
        if self._cancelled.is_set():
            raise TransientError(f"Reading {extraction.source}: cancelled.", hint="clear the task to run it again")
