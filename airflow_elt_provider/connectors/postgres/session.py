"""Sessions with pinned settings, and psycopg2's errors in our words."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from typing import Any, Final

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812 - a class in all but its name
from psycopg2.extensions import cursor as Cursor  # noqa: N812 - likewise
from psycopg2.extensions import make_dsn

from airflow_elt_provider.connectors.postgres.failures import connect_failure, statement_failure
from airflow_elt_provider.connectors.postgres.settings import PostgresSettings
from airflow_elt_provider.errors import EltError

PG_11, PG_12, PG_13, PG_14, PG_17 = 110_000, 120_000, 130_000, 140_000, 170_000
CANCEL_SECONDS: Final = 5.0
Observe = Callable[[str], None]
"""Called before each statement with its SQL, and with "" when it is done."""
_CANCEL: Final = """
SELECT pg_catalog.pg_cancel_backend(pid) FROM pg_catalog.pg_stat_activity
WHERE pid = ANY(%s) AND usename = current_user AND application_name = %s
"""

_PINNED: Final[tuple[tuple[int, str, str], ...]] = (
    (0, "client_encoding", "UTF8"),
    (0, "TimeZone", "UTC"),
    (0, "DateStyle", "ISO, YMD"),
    (0, "IntervalStyle", "postgres"),
    (0, "extra_float_digits", "3"),
    (0, "bytea_output", "hex"),
    (0, "standard_conforming_strings", "on"),
    (0, "quote_all_identifiers", "off"),
    (0, "row_security", "on"),
    (0, "idle_in_transaction_session_timeout", "0"),
    (
        PG_11,
        "jit",
        "off",
    ),  # our statements are long scans of simple expressions: compiling them costs more than it saves
    (PG_14, "idle_session_timeout", "0"),
    (PG_17, "transaction_timeout", "0"),
)
"""First server version, setting, value. A server's, database's or role's own defaults never decide how values read."""


def connect(settings: PostgresSettings, observe: Observe | None = None) -> Connection:
    """Open a session whose settings are pinned; outside of any transaction, autocommit off.

    :param observe: sees every statement of the session's cursors, in the thread that runs it.
    :raises ConfigurationError: for a wrong password, database, host or certificate.
    :raises TransientError: when the server refuses connections, is starting up or has none left.
    """
    keywords = settings.keywords()
    if settings.password:
        keywords["password"] = settings.password.reveal()
    try:
        connection = psycopg2.connect(make_dsn(**keywords), cursor_factory=_observed(observe) if observe else None)
    except psycopg2.Error as error:
        raise connect_failure(error, settings) from error
    try:
        with translate(f"opening a session on {settings}"):
            _pin(connection, settings)
    except BaseException:
        connection.close()
        raise
    return connection


def _observed(observe: Observe) -> type[Cursor]:
    """Return a kind of cursor whose statements are observed."""

    class ObservedCursor(Cursor):
        def execute(self, query: Any, vars: Any = None) -> None:  # noqa: A002 - psycopg2's name
            observe(query)
            super().execute(query, vars)
            observe("")

        def copy_expert(self, sql: Any, file: Any, size: int = 8192) -> None:
            observe(sql)
            super().copy_expert(sql, file, size)
            observe("")

    return ObservedCursor


def _pin(connection: Connection, settings: PostgresSettings) -> None:
    pairs = [(name, value) for first, name, value in _PINNED if connection.server_version >= first]
    pairs.append(("lock_timeout", f"{round(settings.lock_timeout * 1000)}ms"))
    pairs.append(("statement_timeout", f"{round(settings.statement_timeout * 1000)}ms"))
    connection.autocommit = True  # settings made inside a transaction would go with its rollback
    calls = ", ".join(["pg_catalog.set_config(%s, %s, false)"] * len(pairs))
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {calls}", [part for pair in pairs for part in pair])
    connection.set_client_encoding("UTF8")  # psycopg2 keeps its own idea of the encoding
    connection.autocommit = False


def cancel(settings: PostgresSettings, connections: Iterable[Connection]) -> None:
    """Ask the server to cancel what these connections run; safe from any thread, and when nothing runs.

    By a session of its own: psycopg2's ``connection.cancel()`` holds Python's global lock while it waits for the
    server, so that one silent server would stop the whole process. After some seconds it is given up.
    """
    pids = [connection.info.backend_pid for connection in connections if not connection.closed]
    if pids:
        thread = threading.Thread(target=_cancel, args=(settings, pids), name="elt-cancel", daemon=True)
        thread.start()
        thread.join(CANCEL_SECONDS)


def _cancel(settings: PostgresSettings, pids: list[int]) -> None:
    quick = replace(settings, connect_timeout=max(2, round(CANCEL_SECONDS)))
    with suppress(EltError, psycopg2.Error), closing(connect(quick)) as connection, connection.cursor() as cursor:
        cursor.execute(_CANCEL, (pids, settings.application_name))


@contextmanager
def translate(what: str, *, privilege: str = "SELECT") -> Iterator[None]:
    """Turn psycopg2's errors into ours.

    :param what: what is being done to what, as the beginning of a sentence: ``reading public.actor``.
    :param privilege: what to grant when the server denies permission on a table.
    :raises ConfigurationError: for what a retry cannot help.
    :raises DataError: for values that the server refuses.
    :raises TransientError: for broken connections, locks, deadlocks, shutdowns.
    """
    try:
        yield
    except psycopg2.Error as error:
        failure = statement_failure(error, what, privilege)
        if failure is None:
            raise
        raise failure from error
