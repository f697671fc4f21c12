"""Sessions with pinned settings, values as bytes, and PyMySQL's errors in our words."""

from __future__ import annotations

import os
import socket
import ssl
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from typing import Any, Final

import pymysql
from pymysql import converters, cursors

from airflow_elt_provider.connectors.mysql.failures import connect_failure, statement_failure
from airflow_elt_provider.connectors.mysql.settings import MySqlSettings
from airflow_elt_provider.errors import ConfigurationError, EltError

CANCEL_SECONDS: Final = 5.0
_KEEPALIVES: Final = (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4))
"""A peer that vanished is noticed after two minutes, and firewalls see the connection alive during long queries."""
_WEEK: Final = 604_800
_UNLIMITED: Final = (1 << 64) - 1
_PINNED: Final = (
    ("time_zone", "'+00:00'"), ("sql_mode", "''"), ("sql_select_limit", str(_UNLIMITED)), ("sql_big_selects", "1"),
    ("net_write_timeout", "3600"), ("net_read_timeout", "3600"), ("wait_timeout", str(_WEEK)),
)  # fmt: skip
"""A server's or user's own defaults never decide how values read, nor how long a slow stage may take."""
_OF_MARIADB: Final = (("idle_transaction_timeout", "0"), ("idle_readonly_transaction_timeout", "0"))
_ISOLATION: Final = "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ"
_ENCODERS: Final = {kind: way for kind, way in converters.conversions.items() if isinstance(kind, type)}
"""How bound values are written; without the other half of PyMySQL's conversions every value stays bytes."""

Row = tuple[Any, ...]
"""Bytes, and None for NULL."""


class MySqlSession:
    """One connection; not to be used by two threads at once, but for :meth:`interrupt`."""

    def __init__(self, settings: MySqlSettings, connection: Any, peer: socket.socket) -> None:
        self.settings = settings
        self._connection, self._peer = connection, peer
        self.thread_id: int = connection.thread_id()
        self.version: str = connection.get_server_info()

    @property
    def mariadb(self) -> bool:
        """Whether the server is MariaDB."""
        return "mariadb" in self.version.lower()

    @property
    def server(self) -> str:
        """Name and version, for people."""
        return f"{'MariaDB' if self.mariadb else 'MySQL'} {self.version.removeprefix('5.5.5-')}"

    def run(self, sql: str) -> None:
        """Run a statement without an answer."""
        with self._connection.cursor() as cursor:
            cursor.execute(sql)

    def rows(self, sql: str, values: Sequence[object] | None = None) -> list[tuple[str | None, ...]]:
        """Run a query whose answer is small, and return it as texts."""
        with self._connection.cursor() as cursor:
            cursor.execute(sql, values)  # values=None leaves percent signs in the text alone
            return [tuple(None if item is None else item.decode() for item in row) for row in cursor.fetchall()]

    def one(self, sql: str, values: Sequence[object] | None = None) -> tuple[str | None, ...]:
        """Return the only row of a query's answer."""
        return self.rows(sql, values)[0]

    def fields(self, sql: str) -> list[Any]:
        """Return PyMySQL's description of a query's columns, flags and character set included."""
        with self._connection.cursor() as cursor:
            cursor.execute(sql)
            return list(cursor._result.fields)  # noqa: SLF001 - cursor.description lacks flags and character set

    @contextmanager
    def stream(self, sql: str) -> Iterator[Any]:
        """Run a query whose answer may be large: the cursor fetches from the socket, and holds nothing."""
        cursor = self._connection.cursor(cursors.SSCursor)
        try:
            cursor.execute(sql)
            yield cursor
        except BaseException:
            self.close()
            _abandon(cursor)
            raise
        cursor.close()

    def interrupt(self) -> None:
        """Take the socket away from a thread that waits for the server; safe from any thread."""
        _shut(self._peer)

    def close(self) -> None:
        """Close the connection; what it runs on the server ends when the server next writes to it."""
        with suppress(Exception):
            self._connection.close()
        self._peer.close()


def _abandon(cursor: Any) -> None:
    """Let go of a cursor whose connection is closed: PyMySQL would read on, to the end of its answer."""
    if cursor._result is not None:  # noqa: SLF001 - there is no public way
        cursor._result.unbuffered_active = False  # noqa: SLF001
    with suppress(Exception):
        cursor.close()


def connect(settings: MySqlSettings) -> MySqlSession:
    """Open a session whose settings are pinned, autocommit on.

    :raises ConfigurationError: for a wrong password, database, host or certificate.
    :raises TransientError: when the server refuses connections, is starting up or has none left.
    """
    try:
        session = _connect(settings)
    except (pymysql.MySQLError, OSError, RuntimeError) as error:
        raise connect_failure(error, settings) from error
    try:
        with translate(f"opening a session on {settings}"):
            _pin(session)
    except BaseException:
        session.close()
        raise
    return session


def _connect(settings: MySqlSettings) -> MySqlSession:
    if settings.ssl_mode != "PREFERRED":
        context = None if settings.ssl_mode == "DISABLED" else _context(settings)
        return _open(settings, context)
    try:
        return _open(settings, _context(settings))
    except pymysql.err.OperationalError as error:
        if error.args[:1] != (_NO_SSL,):
            raise
    return _open(settings, None)  # the server has no TLS


_NO_SSL: Final = 2026


def _open(settings: MySqlSettings, context: ssl.SSLContext | None) -> MySqlSession:
    sock = _dial(settings)
    peer = socket.socket(fileno=os.dup(sock.fileno()))
    try:
        connection = pymysql.Connection(
            user=settings.user, password=settings.password.reveal().encode() if settings.password else b"",
            host=settings.host, port=settings.port, unix_socket=settings.unix_socket or None,
            database=settings.database or None, charset="utf8mb4", use_unicode=False, conv=_ENCODERS, autocommit=True,
            read_timeout=settings.read_timeout or None, program_name=settings.application_name,
            ssl=context, ssl_disabled=context is None, defer_connect=True,
        )  # fmt: skip
        timer = threading.Timer(settings.connect_timeout, _shut, (peer,))
        timer.daemon = True
        timer.start()
        try:
            connection.connect(sock)
        finally:
            timer.cancel()
        if context is not None and settings.ssl_mode != "PREFERRED":
            _refuse_plain(sock)
    except BaseException:
        sock.close()
        peer.close()
        raise
    return MySqlSession(settings, connection, peer)


def _refuse_plain(sock: socket.socket) -> None:
    """Refuse a connection that older versions of PyMySQL left unencrypted because the server has no TLS.

    A socket that was wrapped in TLS has given its descriptor away.
    """
    if sock.fileno() != -1:
        raise ssl.SSLError(_NO_SSL, "the server offers no TLS")


def _shut(peer: socket.socket) -> None:
    with suppress(OSError):
        peer.shutdown(socket.SHUT_RDWR)


def _dial(settings: MySqlSettings) -> socket.socket:
    if settings.unix_socket:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.connect(settings.unix_socket)
        return sock
    sock = socket.create_connection((settings.host, settings.port), settings.connect_timeout)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, seconds in _KEEPALIVES:
        if hasattr(socket, name):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), seconds)
    return sock


def _context(settings: MySqlSettings) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=settings.ssl_ca or None, capath=settings.ssl_capath or None)
        if settings.ssl_cert:
            context.load_cert_chain(settings.ssl_cert, settings.ssl_key or None)
        if settings.ssl_cipher:
            context.set_ciphers(settings.ssl_cipher)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise ConfigurationError(
            f"The TLS settings of the MySQL connection {settings} cannot be used: {error}.",
            hint="check ssl_ca, ssl_capath, ssl_cert, ssl_key and ssl_cipher",
        ) from error
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # the certificates that MySQL makes for itself are not strict
    context.check_hostname = settings.ssl_mode == "VERIFY_IDENTITY"
    if settings.ssl_mode in {"PREFERRED", "REQUIRED"}:
        context.verify_mode = ssl.CERT_NONE
    return context


def _pin(session: MySqlSession) -> None:
    settings = session.settings
    pairs = [*_PINNED, ("lock_wait_timeout", str(max(1, round(settings.lock_timeout))))]
    if session.mariadb:
        pairs += [*_OF_MARIADB, ("max_statement_time", f"{settings.statement_timeout:.3f}")]
    else:
        pairs.append(("max_execution_time", str(round(settings.statement_timeout * 1000))))
    session.run("SET " + ", ".join(f"SESSION {name} = {value}" for name, value in pairs))
    session.run(_ISOLATION)


def kill(settings: MySqlSettings, thread_ids: Sequence[int]) -> None:
    """Ask the server to stop what these sessions run; safe from any thread, and when nothing runs.

    By a session of its own. After some seconds it is given up.
    """
    if thread_ids:
        thread = threading.Thread(target=_kill, args=(settings, thread_ids), name="elt-cancel", daemon=True)
        thread.start()
        thread.join(CANCEL_SECONDS)


def _kill(settings: MySqlSettings, thread_ids: Sequence[int]) -> None:
    quick = replace(settings, connect_timeout=CANCEL_SECONDS, read_timeout=CANCEL_SECONDS)
    with suppress(EltError), closing(connect(quick)) as session:
        for thread_id in thread_ids:
            with suppress(pymysql.MySQLError):
                session.run(f"KILL QUERY {thread_id:d}")


@contextmanager
def translate(what: str) -> Iterator[None]:
    """Turn PyMySQL's errors into ours.

    :param what: what is being done to what, as the beginning of a sentence: ``reading shop.actor``.
    :raises ConfigurationError: for what a retry cannot help.
    :raises DataError: for values that the server refuses.
    :raises TransientError: for broken connections, locks, deadlocks, shutdowns.
    """
    try:
        yield
    except (pymysql.MySQLError, OSError) as error:
        failure = statement_failure(error, what)
        if failure is None:
            raise
        raise failure from error
