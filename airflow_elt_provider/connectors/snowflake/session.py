"""Sessions of a Snowflake account: logged in to once, used again, and cancelled from other threads."""

from __future__ import annotations

import base64
import json
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final

import snowflake.connector
from snowflake.connector import errors

from airflow_elt_provider.connectors.snowflake.failures import connect_failure, translate
from airflow_elt_provider.connectors.snowflake.settings import SnowflakeSettings
from airflow_elt_provider.core.dialect import Sql
from airflow_elt_provider.core.secret import Secret
from airflow_elt_provider.core.steps import Counts
from airflow_elt_provider.errors import TransientError

Observe = Callable[[str], None]
_FRESH_SECONDS: Final = 300.0
"""A session that has been idle for longer is left behind: its tokens may have ended."""
PROMPT_SECONDS: Final = 60.0
"""After this long a COMMIT may have come too late for its transaction, which Snowflake would not say."""
_PINNED: Final[dict[str, Any]] = {
    "TIMEZONE": "UTC",
    "QUOTED_IDENTIFIERS_IGNORE_CASE": False,
    "ABORT_DETACHED_QUERY": True,
    "ERROR_ON_NONDETERMINISTIC_MERGE": True,
    "TIMESTAMP_TYPE_MAPPING": "TIMESTAMP_NTZ",
    "DATE_INPUT_FORMAT": "AUTO",
    "TIME_INPUT_FORMAT": "AUTO",
    "TIMESTAMP_INPUT_FORMAT": "AUTO",
    "BINARY_INPUT_FORMAT": "HEX",
    "BINARY_OUTPUT_FORMAT": "HEX",
    "DATE_OUTPUT_FORMAT": "YYYY-MM-DD",
    "TIME_OUTPUT_FORMAT": "HH24:MI:SS.FF6",
    "TIMESTAMP_NTZ_OUTPUT_FORMAT": "YYYY-MM-DD HH24:MI:SS.FF6",
    "TIMESTAMP_LTZ_OUTPUT_FORMAT": "YYYY-MM-DD HH24:MI:SS.FF6TZH:TZM",
    "TIMESTAMP_TZ_OUTPUT_FORMAT": "YYYY-MM-DD HH24:MI:SS.FF6TZH:TZM",
}
"""What users, roles and accounts may have set otherwise must not decide how values read."""


@dataclass(eq=False)
class _Login:
    """A connection of Snowflake's driver.

    :ivar load_id: the load that its statements are tagged with.
    :ivar autocommit: whether a statement outside a transaction is one of its own.
    """

    connection: Any
    load_id: str = ""
    autocommit: bool = True
    used: float = field(default_factory=time.monotonic)

    @property
    def fresh(self) -> bool:
        return time.monotonic() - self.used < _FRESH_SECONDS

    def close(self) -> None:
        # Snowflake rolls back what was not committed. Where it cannot be told it notices by itself.
        with suppress(errors.Error, OSError):
            self.connection.close(retry=False)


class SnowflakeSession:
    """A session; every statement is its own transaction until :meth:`begin`.

    :param observe: called before each statement with its SQL, and with "" when it is done.
    :ivar committing: whether a COMMIT was sent and not answered.
    """

    def __init__(self, login: _Login, observe: Observe) -> None:
        self._login = login
        self._observe = observe
        self._begun = False
        self._transaction: object = None
        self.committing = False

    @property
    def in_transaction(self) -> bool:
        """Whether :meth:`begin` has not been answered by :meth:`commit` or :meth:`rollback`."""
        return self._begun

    def execute(self, sql: Sql | str, params: Sequence[Any] = ()) -> int:
        """Run a statement and return how many rows it changed."""
        named, rows = self.table(sql, params)
        return int(rows[0][0]) if rows and named and named[0].startswith("number of rows") else 0

    def query(self, sql: Sql | str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run a query and return its rows (few)."""
        return self.table(sql, params)[1]

    def merge(self, sql: Sql, params: Sequence[Any] = ()) -> Counts:
        """Run a MERGE and return how many rows it inserted, updated and deleted."""
        names, rows = self.table(sql, params)
        counts = dict(zip(names, rows[0], strict=True))
        return Counts(*(int(counts.get(f"number of rows {kind}", 0)) for kind in Counts._fields))

    def table(
        self, sql: Sql | str, params: Sequence[Any] = (), *, shown: str = ""
    ) -> tuple[list[str], list[tuple[Any, ...]]]:
        """Run a statement and return the names of its columns, in lower case, and its rows.

        :param shown: what observers see of it, where it holds a secret.
        """
        self._observe(shown or sql)
        with self._login.connection.cursor() as cursor:
            cursor.execute(sql, tuple(params) or None)
            names = [column.name.lower() for column in cursor.description or ()]
            rows = cursor.fetchall()
        self._observe("")
        return names, rows

    def begin(self) -> None:
        """Begin a transaction.

        Snowflake may end it unasked. What comes after that must not commit by itself, so autocommit is off until
        :meth:`commit` or :meth:`rollback` was answered and the session is lent again.
        """
        self.autocommit(on=False)
        self._begun = True
        self.execute("BEGIN TRANSACTION")
        self._transaction = self._current()

    def commit(self) -> None:
        """End the transaction; what came before counts from now on.

        :raises TransientError: when it is not the one that was begun, and nothing counts; or, while ``committing``,
            when so much time went by that nobody knows.
        """
        found, asked = self._current(), time.time()
        if found is None or found != self._transaction:
            self.rollback()
            raise TransientError(
                f"Snowflake ended transaction {self._transaction} before its COMMIT (now it is {found}): it was idle "
                "for minutes and others waited for its locks, or somebody aborted it.",
                hint="nothing was merged; try again, and see why the worker paused",
            )
        self.committing = True
        self.execute("COMMIT")
        if time.time() - asked > PROMPT_SECONDS:  # COMMIT of a transaction that is gone is answered like any other
            raise TransientError(
                f"COMMIT of transaction {self._transaction} took so long that Snowflake may have ended it before.",
                hint="try again; the receipt tells whether it was merged",
            )
        self.committing = self._begun = False

    def rollback(self) -> None:
        """End the transaction; nothing of it counts."""
        self.execute("ROLLBACK")
        self._begun = False

    def autocommit(self, *, on: bool) -> None:
        """Turn autocommit on or off; never within a transaction, which would commit it."""
        if self._login.autocommit is not on:
            self.execute(f"ALTER SESSION SET AUTOCOMMIT = {str(on).upper()}")
            self._login.autocommit = on

    def _current(self) -> object:
        return self.query("SELECT CURRENT_TRANSACTION()")[0][0]


class SnowflakeAccount:
    """Opens sessions, and cancels what runs in them. Logging in takes a second, so sessions are used again.

    :param observe: see :class:`SnowflakeSession`.
    """

    def __init__(self, settings: SnowflakeSettings, observe: Observe | None) -> None:
        self.settings = settings
        self._observe = observe or _see_nothing
        self._mutex = threading.Lock()
        self._open: set[_Login] = set()
        self._idle: list[_Login] = []
        weakref.finalize(self, _close_all, self._idle)

    @contextmanager
    def session(self, what: str, load_id: str = "") -> Iterator[SnowflakeSession]:
        """Lend a session; what the block did not commit is rolled back.

        :param what: what is being done, for messages.
        :param load_id: what the statements are tagged with.
        """
        login = self._borrow()
        with self._mutex:
            self._open.add(login)
        session = SnowflakeSession(login, self._observe)
        done = False
        try:
            with translate(what, self.settings):
                session.autocommit(on=True)
                self._tag(session, login, load_id)
                yield session
            done = not session.in_transaction
        finally:
            with self._mutex:
                self._open.discard(login)
            if done:
                self._give_back(login)
            else:
                login.close()

    def cancel(self) -> None:
        """Cancel the statements that run; safe from another thread."""
        with self._mutex:
            running = [login.connection.session_id for login in self._open]
        for number in running:
            with self._connected() as connection, connection.cursor() as cursor:
                cursor.execute(f"SELECT SYSTEM$CANCEL_ALL_QUERIES({int(number)})")

    # --- inside ---

    def _tag(self, session: SnowflakeSession, login: _Login, load_id: str) -> None:
        if load_id and load_id != login.load_id:
            tag = _tag_text(self.settings, load_id).replace("\\", "\\\\").replace("'", "''")
            session.execute(f"ALTER SESSION SET QUERY_TAG = '{tag}'")
            login.load_id = load_id

    def _borrow(self) -> _Login:
        while True:
            with self._mutex:
                login = self._idle.pop() if self._idle else None
            if login is None:
                return _Login(_connect(self.settings))
            if login.fresh:
                return login
            login.close()

    def _give_back(self, login: _Login) -> None:
        login.used = time.monotonic()
        with self._mutex:
            self._idle.append(login)

    @contextmanager
    def _connected(self) -> Iterator[Any]:
        login = _Login(_connect(self.settings))
        try:
            yield login.connection
        finally:
            login.close()


def _connect(settings: SnowflakeSettings) -> Any:
    secrets = settings.credentials()
    try:
        return snowflake.connector.connect(
            account=settings.account, database=settings.database, schema=settings.schema,
            login_timeout=int(settings.login_timeout), network_timeout=int(settings.network_timeout),
            paramstyle="qmark", autocommit=True, session_parameters=_parameters(settings), **_driver(settings, secrets),
        )  # fmt: skip
    except (errors.Error, OSError, ValueError, TypeError) as error:
        raise connect_failure(error, settings, secrets) from error


def _driver(settings: SnowflakeSettings, secrets: dict[str, Secret] | Any) -> dict[str, Any]:
    revealed: dict[str, Any] = {name: secret.reveal() for name, secret in secrets.items()}
    if "private_key" in revealed:
        revealed["private_key"] = base64.b64decode(revealed["private_key"])
    user = {"user": settings.user} if settings.user else {}
    return {"application": "airflow_elt_provider", **settings.login, **user, **revealed}


def _parameters(settings: SnowflakeSettings) -> dict[str, Any]:
    own: dict[str, Any] = {"LOCK_TIMEOUT": int(settings.lock_timeout)}
    if settings.query_tag:
        own["QUERY_TAG"] = _tag_text(settings, "")
    if settings.statement_timeout:
        own["STATEMENT_TIMEOUT_IN_SECONDS"] = int(settings.statement_timeout)
    return {**settings.session_parameters, **_PINNED, **own}


def _tag_text(settings: SnowflakeSettings, load_id: str) -> str:
    tag = {**settings.query_tag, **({"load": load_id} if load_id else {})}
    return json.dumps(tag, ensure_ascii=False)[:2000] if tag else ""


def _close_all(idle: list[_Login]) -> None:
    for login in idle:
        login.close()


def _see_nothing(_: str) -> None:
    pass
