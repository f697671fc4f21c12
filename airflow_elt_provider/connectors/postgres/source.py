"""PostgreSQL as a source."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager

from psycopg2.extensions import connection as Connection  # noqa: N812 - a class in all but its name

from airflow_elt_provider.connectors.postgres import session, snapshot
from airflow_elt_provider.connectors.postgres.catalog import query_rows
from airflow_elt_provider.connectors.postgres.names import meant
from airflow_elt_provider.connectors.postgres.reading import Reading
from airflow_elt_provider.connectors.postgres.settings import PostgresSettings
from airflow_elt_provider.core.checkpoint import Position
from airflow_elt_provider.core.plan import Extraction
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
    """

    def __init__(self, settings: PostgresSettings) -> None:
        self._settings = settings
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
        del memory
        return self._changes(extraction, since, until)

    @contextmanager
    def _changes(self, extraction: Extraction, since: Position | None, until: Position | None) -> Iterator[ChangeSet]:
        self._cancelled.clear()
        with ExitStack() as stack:
            connection = stack.enter_context(self._session())
            relation = snapshot.open_relation(connection, extraction)
            with session.translate(f"reading {extraction.source}"):
                reading = Reading.plan(connection, relation, extraction, since, until)
                shares, note = reading.shares()
                connections = [connection]
                if len(shares) > 1:
                    name = snapshot.export(connection)
                    connections += [stack.enter_context(self._joined(name)) for _ in shares[1:]]
                self._refuse_cancelled(extraction)
            streams = [
                stack.enter_context(reading.stream(connection, share, self._cancel_one))
                for connection, share in zip(connections, shares, strict=False)
            ]
            yield reading.change_set(streams, note)

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
    def _session(self) -> Iterator[Connection]:
        connection = session.connect(self._settings)
        with self._lock:
            self._live.add(connection)
        try:
            yield connection
        finally:
            with self._lock:
                self._live.discard(connection)
            connection.close()

    @contextmanager
    def _joined(self, name: str) -> Iterator[Connection]:
        with self._session() as connection:
            snapshot.join(connection, name)
            yield connection

    def _refuse_cancelled(self, extraction: Extraction) -> None:
        if self._cancelled.is_set():
            raise TransientError(f"Reading {extraction.source}: cancelled.", hint="clear the task to run it again")
