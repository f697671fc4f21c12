"""A session on a SQL warehouse: statements, one after the other, each observed, tagged and cancellable."""

from __future__ import annotations

import contextlib
import json
import logging
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from databricks import sql as databricks_sql
from databricks.sql import exc
from urllib3.exceptions import HTTPError

from airflow_elt_provider.connectors.databricks import failures
from airflow_elt_provider.connectors.databricks.dialect import DatabricksDialect
from airflow_elt_provider.connectors.databricks.names import literal
from airflow_elt_provider.connectors.databricks.settings import DatabricksSettings
from airflow_elt_provider.core.dialect import Sql
from airflow_elt_provider.core.secret import Secret
from airflow_elt_provider.core.steps import Counts
from airflow_elt_provider.errors import ConfigurationError, TransientError

log = logging.getLogger(__name__)

Observe = Callable[[str], None]
AGENT: Final = "airflow-elt-provider"
_WRITES: Final = ("COPY ", "DELETE ", "INSERT ", "MERGE ", "UPDATE ")
_ATTEMPTS: Final = 8
_PAUSE: Final = 0.25
"""Seconds before a statement that lost against somebody else's commit is sent again; doubled each time."""


class MissingError(Exception):
    """A table or schema is not there (or not for us)."""


class PresentError(Exception):
    """What was to be created is there already."""


class Warehouse:
    """Opens a session when it is first needed, and keeps it: a session has no transaction that could stay open.

    :param observe: called before each statement with its SQL, and with "" when it is done.
    """

    def __init__(self, settings: DatabricksSettings, observe: Observe | None) -> None:
        self.settings = settings
        self._observe = observe or _see_nothing
        self._mutex = threading.Lock()
        self._connection: Any = None
        self._dialect: DatabricksDialect | None = None
        self._running: set[Any] = set()
        self.cancelled = threading.Event()

    @contextmanager
    def session(self, what: str, privilege: str = "SELECT") -> Iterator[DatabricksSession]:
        """Lend the session.

        :param what: what is being done, for messages.
        :param privilege: what to grant when the warehouse does not say what is missing.
        """
        connection = self._connected()
        assert self._dialect  # noqa: S101 - set with the connection
        with self._translated(what, privilege):
            yield DatabricksSession(self, connection, self._dialect)

    def cancel(self) -> None:
        """Cancel the statements that run; safe from another thread."""
        self.cancelled.set()
        with self._mutex:
            running = list(self._running)
        for cursor in running:
            with contextlib.suppress(exc.Error, HTTPError):
                cursor.cancel()

    def close(self) -> None:
        """End the session; the next statement opens another."""
        with self._mutex:
            connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(exc.Error, HTTPError):
                connection.close()

    @contextmanager
    def cursor(self, connection: Any, text: str) -> Iterator[Any]:
        """Lend a cursor that :meth:`cancel` knows of."""
        self._observe(text)
        cursor = connection.cursor()
        with self._mutex:
            self._running.add(cursor)
        try:
            yield cursor
        finally:
            with self._mutex:
                self._running.discard(cursor)
            with contextlib.suppress(exc.Error, HTTPError):
                cursor.close()
        self._observe("")

    # --- inside ---

    def _connected(self) -> Any:
        with self._mutex:
            if self._connection is None or not self._connection.open:
                self._connection = self._connect()
            return self._connection

    def _connect(self) -> Any:
        settings = self.settings
        options: dict[str, Any] = {"enable_telemetry": False, "user_agent_entry": AGENT, **settings.options}
        try:
            connection = databricks_sql.connect(
                server_hostname=settings.host, http_path=settings.http_path,
                credentials_provider=_Credentials(settings.token), catalog=settings.catalog or None,
                schema=settings.schema or None, **options,
            )  # fmt: skip
            with connection.cursor() as cursor:
                cursor.execute("SET TIME ZONE 'UTC'")
                if self._dialect is None:
                    self._dialect = DatabricksDialect(*_namespace(cursor, settings))
        except (exc.Error, HTTPError) as error:
            raise failures.connect_failure(error, settings) from error
        return connection

    @contextmanager
    def _translated(self, what: str, privilege: str) -> Iterator[None]:
        try:
            yield
        except MissingError as error:
            raise ConfigurationError(
                f"{what[:1].upper()}{what[1:]}: {error}",
                hint="check the name; GRANT USE CATALOG and USE SCHEMA on what it lies in, and SELECT on it",
            ) from error
        except PresentError as error:
            raise TransientError(
                f"{what[:1].upper()}{what[1:]}: {error}", hint="somebody else was first: try again"
            ) from error
        except (exc.Error, HTTPError) as error:
            if self.cancelled.is_set():
                raise TransientError(f"{what}: stopped.", hint="clear the task to run it again") from error
            failure = failures.statement_failure(error, what, privilege)
            if failure is None:
                raise
            raise failure from error


class DatabricksSession:
    """Runs statements. There is no transaction: each commits by itself.

    :ivar dialect: knows where names without a catalog lead.
    """

    def __init__(self, warehouse: Warehouse, connection: Any, dialect: DatabricksDialect) -> None:
        self._warehouse = warehouse
        self._connection = connection
        self.dialect = dialect
        self._tag = _tag(warehouse.settings.tags)

    def execute(self, sql: Sql | str, params: Sequence[Any] = ()) -> int:
        """Run a statement and return how many rows it changed."""
        answer = self._run(sql, params)
        return int(answer.get("num_affected_rows") or 0)

    def merge(self, sql: Sql, params: Sequence[Any] = ()) -> Counts:
        """Run a MERGE and return how many rows it inserted, updated and deleted."""
        answer = self._run(sql, params)
        return Counts(*(int(answer.get(f"num_{what}_rows") or 0) for what in ("inserted", "updated", "deleted")))

    def commit(self, sql: Sql, params: Sequence[Any]) -> int:
        """Run the statement that makes a load count, and return how many rows it changed."""
        return int(self._run(sql, params, observed="COMMIT").get("num_affected_rows") or 0)

    def copy_into(self, sql: str, keys: Mapping[str, Secret]) -> int:
        """Run COPY INTO and return the rows. Nobody is shown the keys that take the place of ``{name}`` in it."""
        text = sql
        for name, key in keys.items():
            text = text.replace(f"{{{name}}}", literal(key.reveal()))
        with _unseen(keys):
            return int(self._run(text, (), observed=sql).get("num_inserted_rows") or 0)

    def upload(self, local: Path, path: str) -> None:
        """Put a file on a volume."""
        self._connection.staging_allowed_local_path = str(local.parent)
        self._rows(f"PUT {literal(str(local))} INTO {literal(path)} OVERWRITE", (), f"PUT {path}")

    def remove(self, path: str) -> None:
        """Remove a file from a volume."""
        self._rows(f"REMOVE {literal(path)}", (), f"REMOVE {path}")

    def files(self, folder: str) -> list[tuple[str, str]]:
        """Return paths and names of what is in a folder of a volume."""
        try:
            return [(row[0], row[1]) for row in self._rows(f"LIST {literal(folder)}", (), f"LIST {folder}")]
        except exc.Error as error:
            if failures.error_class(error) == "PATH_NOT_FOUND":
                return []
            raise

    def query(self, sql: Sql | str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run a query and return its rows (few)."""
        return [tuple(row) for row in self._rows(sql, params, sql)]

    def _run(self, sql: str, params: Sequence[Any], observed: str = "") -> dict[str, Any]:
        for attempt in range(_ATTEMPTS):
            try:
                rows = self._rows(sql, params, observed or sql)
            except exc.Error as error:
                # Every statement of ours may be repeated, and this one changed nothing.
                if attempt == _ATTEMPTS - 1 or not failures.is_conflict(error) or self._warehouse.cancelled.is_set():
                    raise
                pause = _PAUSE * 2**attempt * (0.5 + random.random())  # noqa: S311 - so that two do not keep meeting
                log.info("somebody else's commit was first (%s); again in %.1f s", failures.error_class(error), pause)
                time.sleep(pause)
            else:
                return _answer(rows, sql)
        raise AssertionError

    def _rows(self, sql: str, params: Sequence[Any], observed: str) -> list[Any]:
        try:
            with self._warehouse.cursor(self._connection, observed) as cursor:
                cursor.execute(self._tag + sql, list(params) or None)
                _refuse_cancelled(cursor)
                moved = sql.startswith(("PUT ", "REMOVE "))  # the driver has read their only row
                rows: list[Any] = [] if moved else cursor.fetchall()
        except exc.Error as error:
            if failures.error_class(error) in failures.MISSING:
                raise MissingError(str(error)) from error
            if failures.error_class(error) in failures.EXISTS:
                raise PresentError(str(error)) from error
            raise
        return rows


def _answer(rows: Sequence[Any], sql: str) -> dict[str, Any]:
    """Return what a statement says of itself. One that changes rows and says nothing was not carried out."""
    if rows:
        answer: dict[str, Any] = rows[0].asDict()
        return answer
    if sql.startswith(_WRITES):
        raise _cancelled()
    return {}


def _refuse_cancelled(cursor: Any) -> None:
    # The driver takes a statement that somebody cancelled for one that has no rows.
    state = getattr(cursor.active_result_set, "status", None)
    if "CANCEL" in str(getattr(state, "name", "")):
        raise _cancelled()


def _cancelled() -> TransientError:
    return TransientError("The statement was cancelled on the warehouse.", hint="clear the task to run it again")


@contextmanager
def _unseen(keys: Mapping[str, Secret]) -> Iterator[None]:
    """Keep keys out of the driver's log, and out of an error that quotes its statement."""
    known = logging.root.manager.loggerDict if keys else {}
    talking = [logging.getLogger(name) for name in known if name.startswith("databricks")]
    talking = [logger for logger in talking if not logger.disabled]
    for logger in talking:
        logger.disabled = True
    try:
        yield
    except (exc.Error, MissingError) as error:
        text = str(error)
        for key in keys.values():
            text = text.replace(key.reveal(), "***")
        if text == str(error):
            raise
        if isinstance(error, MissingError):
            raise MissingError(text) from None
        raise exc.ServerOperationError(text) from None  # type: ignore[no-untyped-call]
    finally:
        for logger in talking:
            logger.disabled = False


class _Credentials:
    """Gives each request the token of the moment."""

    def __init__(self, token: Secret) -> None:
        self._token = token

    def auth_type(self) -> str:
        return "token"

    def __call__(self) -> Callable[[], dict[str, str]]:
        return lambda: {"Authorization": f"Bearer {self._token.reveal()}"}


def _namespace(cursor: Any, settings: DatabricksSettings) -> tuple[str, str]:
    if settings.catalog and settings.schema:
        return settings.catalog, settings.schema
    cursor.execute("SELECT current_catalog(), current_schema()")
    catalog, schema = cursor.fetchone()
    return settings.catalog or catalog, settings.schema or schema


def _tag(tags: dict[str, str] | Any) -> str:
    text = json.dumps(dict(tags)).replace("*/", "* /").replace("/*", "/ *")  # comments nest
    return f"/* {text} */ " if tags else ""


def _see_nothing(_: str) -> None:
    pass
