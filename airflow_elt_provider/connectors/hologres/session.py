"""Sessions on a Hologres instance, where BEGIN means something only after it was asked for."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final

import psycopg2
from psycopg2 import errors
from psycopg2.extensions import connection as Connection  # noqa: N812 - a class in all but its name

from airflow_elt_provider.connectors.hologres.dialect import Version
from airflow_elt_provider.connectors.hologres.failures import explained
from airflow_elt_provider.connectors.hologres.settings import HologresSettings, Transactions
from airflow_elt_provider.connectors.postgres.destination_session import PostgresServer, PostgresSession
from airflow_elt_provider.connectors.postgres.session import Observe, cancel
from airflow_elt_provider.core.dialect import Sql
from airflow_elt_provider.errors import ConfigurationError, TransientError

ENABLE: Final = "SET hg_experimental_enable_transaction = on"
SINCE_TRANSACTIONS: Final[Version] = (2, 0)
_NO_LIMIT: Final = "SET statement_timeout = 0"
_VERSION: Final = "SELECT hg_version()"
_NUMBER: Final = re.compile(r"Hologres\s+V?(\d+(?:\.\d+)*)", re.IGNORECASE)


class HologresSession(PostgresSession):
    """A connection on which each statement counts at once, except within :meth:`transaction`.

    :ivar in_transaction: whether a DML transaction is open.
    """

    def __init__(self, connection: Connection, observe: Observe, settings: HologresSettings) -> None:
        super().__init__(connection, observe)
        connection.autocommit = True
        self._settings = settings
        self._stopped = threading.Event()
        self.in_transaction = False

    def commit(self) -> None:
        """Do nothing: what was done counts already."""

    def rollback(self) -> None:
        """Do nothing: there is nothing to undo."""

    def define(self, *statements: Sql) -> None:
        """Run DDL; several statements are one transaction, which must have nothing else in it."""
        if len(statements) == 1:
            self.execute(statements[0])
            return
        self.execute("BEGIN")
        try:
            for sql in statements:
                self.execute(sql)
        except Exception:
            self._undo()
            raise
        self.execute("COMMIT")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Run DML, all or none; every table that is written to or read in it is locked until its end."""
        self.in_transaction = True  # before anything is sent: see HologresServer.cancel()
        try:
            self.execute(ENABLE)
            if self._settings.statement_timeout:
                # A statement that is cancelled in a transaction leaves its tables locked: a known fault of Hologres.
                self.execute(_NO_LIMIT)
            self.execute("BEGIN")
            yield
            self.refuse_if_stopped()
        except Exception:
            self._undo()
            raise
        self._observe("COMMIT")
        self.committing = True
        with self._connection.cursor() as cursor:
            cursor.execute("COMMIT")
        self.committing = self.in_transaction = False
        self._observe("")

    def stop(self) -> None:
        """Refuse the next statement of a transaction; safe from another thread."""
        self._stopped.set()

    def refuse_if_stopped(self) -> None:
        """Raise where :meth:`stop` was called."""
        if self.in_transaction and self._stopped.is_set():
            raise TransientError("The merge was stopped before its COMMIT; nothing was merged.", hint="run it again")

    def _run(self, cursor: Any, sql: str, params: Sequence[Any]) -> None:
        self.refuse_if_stopped()
        super()._run(cursor, sql, params)

    def _undo(self) -> None:
        self.in_transaction = False
        with suppress(psycopg2.Error), self._connection.cursor() as cursor:  # what went wrong before is what counts
            cursor.execute("ROLLBACK")


class HologresServer(PostgresServer):
    """Opens sessions, and stops what runs in them."""

    def __init__(self, settings: HologresSettings, observe: Observe | None) -> None:
        super().__init__(settings, observe)
        self.holo = settings
        self._sessions: dict[Connection, HologresSession] = {}
        self._version: Version | None = None

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Keep none: a session sets what the next one may not want."""
        yield

    @contextmanager
    def session(self, what: str, privilege: str = "SELECT") -> Iterator[HologresSession]:
        """Open a connection; see the class of the session."""
        with explained(what), super().session(what, privilege) as session:
            assert isinstance(session, HologresSession)  # noqa: S101 - what _begin returns
            try:
                yield session
            finally:
                self._sessions.pop(session.connection, None)

    def _begin(self, connection: Connection) -> HologresSession:
        session = HologresSession(connection, self._observe, self.holo)
        self._sessions[connection] = session
        return session

    def version(self, session: PostgresSession) -> Version:
        """Return the instance's version; it is asked for once.

        :raises ConfigurationError: when this is no Hologres.
        """
        if self._version is None:
            try:
                text = str(session.query(_VERSION)[0][0])
            except errors.UndefinedFunction as error:
                raise ConfigurationError(
                    f"{self.settings} is not Hologres: it has no function hg_version().",
                    hint="use a connection of type postgres for PostgreSQL",
                ) from error
            found = _NUMBER.search(text)
            if not found:
                raise ConfigurationError(f"hg_version() of {self.settings} says {text[:100]!r}.", hint="report this")
            self._version = tuple(int(part) for part in found[1].split("."))
        return self._version

    def has_transactions(self) -> bool:
        """Whether merges run in DML transactions; opens a session where the version is not known yet."""
        if self._version:
            return self._transactional(self._version)
        with self.session("asking Hologres for its version") as session:
            return self.transactional(session)

    def transactional(self, session: PostgresSession) -> bool:
        """Whether merges run in DML transactions.

        :raises ConfigurationError: when they are asked for, and the instance has none.
        """
        return self._transactional(self.version(session))

    def _transactional(self, version: Version) -> bool:
        asked = self.holo.elt_transactions
        if asked is Transactions.ON and version < SINCE_TRANSACTIONS:
            raise ConfigurationError(
                f"Hologres {'.'.join(map(str, version))} at {self.settings} has no DML transactions, and the "
                "connection's extra says elt_transactions='on'.",
                hint="upgrade the instance to 2.0 or later, or set elt_transactions to 'auto'",
            )
        return asked is not Transactions.OFF and version >= SINCE_TRANSACTIONS

    def cancel(self) -> None:
        """Cancel the statements that run; a transaction is ended after its statement instead."""
        with self._mutex:
            connections = list(self._open)
        outside = []
        for connection in connections:
            session = self._sessions.get(connection)
            if session:
                session.stop()  # first: a transaction that begins from now on is refused, so no cancel reaches into it
            if not (session and session.in_transaction):
                outside.append(connection)
        cancel(self.settings, outside)
