"""MySQL and MariaDB as a source."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

from airflow_elt_provider.connectors.mysql import doctor, session, snapshot
from airflow_elt_provider.connectors.mysql.names import meant
from airflow_elt_provider.connectors.mysql.reading import Reading
from airflow_elt_provider.connectors.mysql.session import MySqlSession
from airflow_elt_provider.connectors.mysql.settings import MySqlSettings
from airflow_elt_provider.core.checkpoint import Position
from airflow_elt_provider.core.doctor import Finding, Inquiry
from airflow_elt_provider.core.plan import Extraction
from airflow_elt_provider.core.protocols import ChangeSet, Memory
from airflow_elt_provider.core.table_ref import TableRef
from airflow_elt_provider.errors import ConfigurationError, TransientError

_TABLES = """
SELECT TABLE_NAME FROM information_schema.TABLES
WHERE TABLE_SCHEMA = %s AND TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED') ORDER BY TABLE_NAME
"""
_SCHEMAS = """
SELECT SCHEMA_NAME FROM information_schema.SCHEMATA
WHERE SCHEMA_NAME NOT IN ('mysql', 'information_schema', 'performance_schema', 'sys')
"""


class MySqlSource:
    """Reads tables, views and queries of one server, each under one snapshot.

    :class:`airflow_elt_provider.core.protocols.Source` says what the methods promise.
    """

    def __init__(self, settings: MySqlSettings) -> None:
        self._settings = settings
        self._live: set[MySqlSession] = set()
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

        The streams are to be drained before the context ends: it closes the connection and stops what still runs.
        """
        return self._changes(extraction, since, until, memory)

    @contextmanager
    def _changes(
        self, extraction: Extraction, since: Position | None, until: Position | None, memory: Memory | None
    ) -> Iterator[ChangeSet]:
        self._cancelled.clear()
        with self._session() as opened:
            found = snapshot.open_relation(opened, extraction)
            with session.translate(f"reading {extraction.source}"):
                reading = Reading.plan(opened, found, extraction, since, until, memory, self._cancel_one)
            if self._cancelled.is_set():
                raise TransientError(f"Reading {extraction.source}: cancelled.", hint="clear the task to run it again")
            with reading.stream(self._cancel_one) as batches:
                yield reading.change_set([batches] if reading.predicates else [])

    def diagnose(self, inquiry: Inquiry) -> Iterator[Finding]:
        """Check connection, tables and captures; changes nothing."""
        return doctor.readable(self._session, inquiry)

    def tables(self, schema: str) -> Sequence[TableRef]:
        """List the tables of a database, by name.

        :raises ConfigurationError: when there is no such database.
        """
        with self._session() as opened, session.translate(f"listing the tables of database {schema!r}"):
            found = [name or "" for (name,) in opened.rows(_TABLES, (schema,))]
            if not found:
                schemas = [name or "" for (name,) in opened.rows(_SCHEMAS)]
                if schema not in schemas:
                    raise ConfigurationError(f"There is no database {schema!r}.", hint=meant(schema, schemas))
        return [TableRef((schema, name)) for name in found]

    def cancel(self) -> None:
        """Stop what runs on the server; safe to call from another thread, and when nothing runs."""
        self._cancelled.set()
        with self._lock:
            live = list(self._live)
        session.kill(self._settings, [opened.thread_id for opened in live])

    def _cancel_one(self, opened: MySqlSession) -> None:
        session.kill(self._settings, [opened.thread_id])

    def close(self) -> None:
        """Close what a context that was never left still holds open."""
        with self._lock:
            live, self._live = list(self._live), set()
        for opened in live:
            opened.close()

    @contextmanager
    def _session(self) -> Iterator[MySqlSession]:
        opened = session.connect(self._settings)
        with self._lock:
            self._live.add(opened)
        try:
            yield opened
        finally:
            with self._lock:
                self._live.discard(opened)
            opened.close()
