"""Transactions on the target's server, each on a connection of its own."""

from __future__ import annotations

import logging
import select
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, TypeVar

import psycopg2
from psycopg2 import errors
from psycopg2.extensions import ISOLATION_LEVEL_READ_COMMITTED
from psycopg2.extensions import connection as Connection  # noqa: N812 - a class in all but its name

from airflow_elt_provider.connectors.postgres.copy_feed import CopyFeed
from airflow_elt_provider.connectors.postgres.dialect import PostgresDialect
from airflow_elt_provider.connectors.postgres.session import Observe, cancel, connect, translate
from airflow_elt_provider.connectors.postgres.settings import PostgresSettings
from airflow_elt_provider.core.dialect import Sql

log = logging.getLogger(__name__)

_COPY_BYTES = 1 << 20
_FRESH = 5.0
"""Seconds for which a connection waits for the next session: firewalls and poolers cut what is idle for long."""
_RACES: Final = (
    errors.UniqueViolation, errors.DuplicateTable, errors.DuplicateSchema, errors.DuplicateColumn,
    errors.DuplicateObject,  # the row type of a table that somebody creates at the same moment
)  # fmt: skip
_ATTEMPTS: Final = 5
_T = TypeVar("_T")


class PostgresSession:
    """A connection in a READ COMMITTED transaction.

    :param observe: called before each statement with its SQL, and with "" when it is done.
    :ivar committing: whether a COMMIT was sent.
    """

    def __init__(self, connection: Connection, observe: Observe) -> None:
        self._connection = connection
        self._observe = observe
        self.committing = False

    @property
    def connection(self) -> Connection:
        """The connection itself."""
        return self._connection

    @property
    def server_version(self) -> int:
        """The server's version as a number, e.g. 180001."""
        return self._connection.server_version

    def execute(self, sql: Sql | str, params: Sequence[Any] = ()) -> int:
        """Run a statement and return how many rows it changed."""
        with self._connection.cursor() as cursor:
            self._run(cursor, sql, params)
            return max(cursor.rowcount, 0)

    def query(self, sql: Sql | str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run a query and return its rows (few)."""
        with self._connection.cursor() as cursor:
            self._run(cursor, sql, params)
            return cursor.fetchall()

    def copy_in(self, sql: Sql, feed: CopyFeed) -> int:
        """Run ``COPY ... FROM STDIN`` and return how many rows arrived.

        What went wrong while the feed was made is raised as it is.
        """
        self._observe(sql)
        with self._connection.cursor() as cursor, feed:
            try:
                cursor.copy_expert(sql, feed, _COPY_BYTES)
            except psycopg2.Error:
                if feed.error:
                    raise feed.error from None
                raise
            rows = cursor.rowcount
        self._observe("")
        return rows

    def commit(self) -> None:
        """End the transaction; what came before counts from now on."""
        self._observe("COMMIT")
        self.committing = True
        self._connection.commit()
        self.committing = False
        self._observe("")

    def rollback(self) -> None:
        """End the transaction; nothing of it counts."""
        self._connection.rollback()

    def _run(self, cursor: Any, sql: str, params: Sequence[Any]) -> None:
        self._observe(sql)
        if params:
            cursor.execute(sql.replace("%", "%%").replace(PostgresDialect.placeholder, "%s"), params)
        else:
            cursor.execute(sql)
        self._observe("")


class PostgresServer:
    """Opens sessions, and cancels what runs in them.

    :param observe: see :class:`PostgresSession`.
    """

    def __init__(self, settings: PostgresSettings, observe: Observe | None) -> None:
        self.settings = settings
        self._observe = observe or _see_nothing
        self._mutex = threading.Lock()
        self._open: set[Connection] = set()
        self._spare: list[tuple[Connection, float]] | None = None

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Within the block, let a session have the connection of one that ended well a moment ago."""
        if self._spare is not None:
            yield
            return
        self._spare = []
        try:
            yield
        finally:
            with self._mutex:
                spare, self._spare = self._spare, None
            for connection, _ in spare:
                connection.close()

    @contextmanager
    def session(self, what: str, privilege: str = "SELECT") -> Iterator[PostgresSession]:
        """Open a connection and begin; what the block did not commit is rolled back.

        :param what: what is being done, for messages.
        :param privilege: what to grant when the server denies permission on a table.
        """
        connection = self._taken() or connect(self.settings)
        ended = False
        try:
            with self._mutex:
                self._open.add(connection)
            with translate(what, privilege=privilege):
                yield self._begin(connection)
            ended = self._spare is not None and _cleared(connection)
        finally:
            with self._mutex:
                self._open.discard(connection)
                if ended and self._spare is not None:
                    self._spare.append((connection, time.monotonic()))
                else:
                    connection.close()

    def _taken(self) -> Connection | None:
        """Return a spare connection that is as good as new; what is not is closed."""
        while True:
            with self._mutex:
                if not self._spare:
                    return None
                connection, since = self._spare.pop()
            # A server that says something unasked says goodbye.
            if time.monotonic() - since < _FRESH and not select.select([connection], [], [], 0)[0]:
                return connection
            connection.close()

    def _begin(self, connection: Connection) -> PostgresSession:
        connection.set_session(isolation_level=ISOLATION_LEVEL_READ_COMMITTED)
        return PostgresSession(connection, self._observe)

    def cancel(self) -> None:
        """Cancel the statements that run; safe from another thread."""
        with self._mutex:
            connections = list(self._open)
        cancel(self.settings, connections)


def _cleared(connection: Connection) -> bool:
    """End whatever transaction there is; False when the connection is lost."""
    try:
        connection.rollback()
    except psycopg2.Error:
        return False
    return not connection.closed


def _see_nothing(_: str) -> None:
    pass


def racing(session: PostgresSession, work: Callable[[], _T]) -> _T:
    """Do what creates things, and again when somebody created the same at the same time."""
    for _ in range(_ATTEMPTS - 1):
        try:
            return work()
        except _RACES as error:
            log.info("somebody else was first (%s), looking again", " ".join(str(error).split()))
            session.rollback()
    return work()
