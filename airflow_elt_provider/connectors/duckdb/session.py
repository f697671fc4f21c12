"""Connections to a DuckDB file: one at a time, opened for one call and closed after it."""

from __future__ import annotations

import contextlib
import math
import os
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import duckdb

from airflow_elt_provider.connectors.duckdb.lock import Patience, file_lock
from airflow_elt_provider.connectors.duckdb.settings import DuckdbSettings
from airflow_elt_provider.core.dialect import Sql
from airflow_elt_provider.errors import ConfigurationError, DataError, EltError, TransientError

Observe = Callable[[str], None]
_HELD: Final = re.compile(r"Conflicting lock is held in (.*?)\.?(?: See also|$)", re.DOTALL)
_OTHER_CONFIGURATION: Final = "different configuration than existing connections"
_HEADER: Final = slice(8, 12)
_MAGIC: Final = b"DUCK"


class DuckdbSession:
    """An open connection.

    :param observe: called before each statement with its SQL, and with "" when it is done.
    :ivar committing: whether a COMMIT was sent.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, observe: Observe) -> None:
        self._connection = connection
        self._observe = observe
        self.committing = False

    def execute(self, sql: Sql, params: Sequence[Any] = ()) -> int:
        """Run a statement and return how many rows it changed."""
        rows = self._run(sql, params)
        return int(rows[0][0]) if rows and rows[0] else 0

    def query(self, sql: Sql, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run a query and return its rows (few)."""
        return self._run(sql, params)

    def _run(self, sql: str, params: Sequence[Any]) -> list[tuple[Any, ...]]:
        self._observe(sql)
        rows = self._connection.execute(sql, list(params)).fetchall()
        self._observe("")
        return rows

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit what the block does, or roll it back when it raises."""
        self._run("BEGIN TRANSACTION", ())
        try:
            yield
        except BaseException:
            with contextlib.suppress(duckdb.Error):
                self._connection.execute("ROLLBACK")
            raise
        self.committing = True
        self._run("COMMIT", ())


class DuckdbFile:
    """The database file, and the line of those who want to work on it."""

    def __init__(self, settings: DuckdbSettings, observe: Observe | None) -> None:
        self._settings = settings
        self._observe = observe or _see_nothing
        self._mutex = threading.Lock()
        self._open: set[duckdb.DuckDBPyConnection] = set()
        self._waiting: set[threading.Event] = set()

    @property
    def path(self) -> Path:
        """The file."""
        return Path(self._settings.path)

    @property
    def exists(self) -> bool:
        """Whether there is such a file."""
        return self.path.exists()

    @contextmanager
    def session(self, what: str, most: float = math.inf) -> Iterator[DuckdbSession]:
        """Wait in line, open the file, and close it at the end.

        :param what: what is being done, for messages and for those who wait.
        :param most: seconds to wait, where ``lock_timeout`` is more.
        :raises ConfigurationError: when the file cannot be used at all.
        :raises TransientError: when it was not free in time.
        """
        self._refuse_unusable()
        stopped = threading.Event()
        with self._mutex:
            self._waiting.add(stopped)
        try:
            patience = Patience(f"{self.path}: {what}", min(most, self._settings.lock_timeout), stopped)
            with (
                file_lock(self.path, what, patience),
                self._connected(patience) as connection,
                translate(f"{self.path}: {what}"),
            ):
                yield DuckdbSession(connection, self._observe)
        finally:
            with self._mutex:
                self._waiting.discard(stopped)

    def cancel(self) -> None:
        """Interrupt what runs, and end what waits."""
        with self._mutex:
            for stopped in self._waiting:
                stopped.set()
            for connection in self._open:
                connection.interrupt()

    def _refuse_unusable(self) -> None:
        path = self.path
        if path.is_dir():
            raise ConfigurationError(f"{path} is a folder, not a DuckDB database.", hint="name a file in it")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("rb") as file:
                header = file.read(_HEADER.stop)
        except FileNotFoundError:
            return
        except OSError as error:
            raise ConfigurationError(
                f"{path} cannot be opened: {error.strerror}.", hint="correct the path, or its owner and mode"
            ) from error
        if header[_HEADER] != _MAGIC:
            raise ConfigurationError(f"{path} is not a DuckDB database.", hint="name another file, or remove it")
        if not os.access(path, os.W_OK):
            raise ConfigurationError(f"{path} is not writable.", hint="let the user of this process write to it")

    @contextmanager
    def _connected(self, patience: Patience) -> Iterator[duckdb.DuckDBPyConnection]:
        connection = self._connect(patience)
        try:
            with self._mutex:
                self._open.add(connection)
            self._pin(connection)
            yield connection
        finally:
            with self._mutex:
                self._open.discard(connection)
            connection.close()

    def _connect(self, patience: Patience) -> duckdb.DuckDBPyConnection:
        while True:
            try:
                if not self.exists:
                    _create(self.path)
                return duckdb.connect(str(self.path))
            except duckdb.Error as error:
                patience.wait(_holder(error, self.path))

    def _pin(self, connection: duckdb.DuckDBPyConnection) -> None:
        wanted: dict[str, str | int] = {
            "TimeZone": "UTC",
            "preserve_insertion_order": "false",  # memory, not order: a target is a set of rows
            "autoinstall_known_extensions": "false",  # nothing is downloaded at run time
            "memory_limit": self._settings.memory_limit,
            "threads": self._settings.threads,
            "temp_directory": self._settings.temp_directory,
        }
        for name, value in wanted.items():
            if value:
                try:
                    connection.execute(f"SET {name} = '{str(value).replace(chr(39), chr(39) * 2)}'")
                except duckdb.Error as error:
                    raise ConfigurationError(
                        f"DuckDB refuses {name}={value!r}: {_text(error)}", hint="correct the connection's extra"
                    ) from error


def _create(path: Path) -> None:
    """Make an empty database under another name first: a crash must not leave half a file under this one."""
    draft = path.with_name(path.name + ".elt-new")
    draft.unlink(missing_ok=True)
    duckdb.connect(str(draft)).close()
    try:
        path.hardlink_to(draft)
    except FileExistsError:
        pass
    except OSError:  # a file system without links; we hold the lock
        draft.replace(path)
    draft.unlink(missing_ok=True)


def _see_nothing(_: str) -> None:
    pass


def _text(error: duckdb.Error) -> str:
    return " ".join(str(error).split("\n\nLINE")[0].split())[:600]


def _holder(error: duckdb.Error, path: Path) -> str:
    """Return who has the file open. :raises ConfigurationError: when that is not why it cannot be opened."""
    text = str(error)
    found = _HELD.search(text)
    if found:
        return " ".join(found[1].split())
    if _OTHER_CONFIGURATION in text:
        return "another connection of this very process, opened with other settings"
    failure = _failure(error, f"Opening {path}")
    raise (
        failure
        if isinstance(failure, ConfigurationError)
        else ConfigurationError(f"{path} cannot be opened: {_text(error)}", hint="restore the file, or name another")
    ) from error


@contextmanager
def translate(what: str) -> Iterator[None]:
    """Turn DuckDB's errors into ours.

    :param what: what is being done, as the beginning of a sentence.
    """
    try:
        yield
    except duckdb.Error as error:
        failure = _failure(error, what)
        if failure is None:
            raise
        raise failure from error


def _failure(error: duckdb.Error, what: str) -> EltError | None:
    text = f"{what}: {_text(error)}"
    if isinstance(error, duckdb.InterruptException):
        return TransientError(f"{what}: stopped.", hint="clear the task to run it again")
    if re.search(r"No space left|Could not write|too large|disk (is )?full|quota", text, re.IGNORECASE):
        return ConfigurationError(text, hint="make room on the disk")
    for kinds, made, hint in _KINDS:
        if isinstance(error, kinds):
            return made(text, hint=hint)
    return None


_KINDS: Final[tuple[tuple[tuple[type[duckdb.Error], ...], type[EltError], str], ...]] = (
    ((duckdb.OutOfMemoryException,), ConfigurationError,
     "give DuckDB room: memory_limit and temp_directory in the connection's extra"),
    ((duckdb.ConversionException, duckdb.OutOfRangeException), DataError,
     "correct the value at the source, or take the column as text: column_types={'column': 'string'}"),
    ((duckdb.TransactionException,), TransientError, "somebody else may have written to the file; try again"),
    ((duckdb.ConstraintException,), DataError,
     "the rows break a constraint of the target: correct them, or drop the constraint"),
    # Before DuckDB 1.5 this one has no class of its own.
    (tuple(vars(duckdb)[name] for name in ("DependencyException",) if name in vars(duckdb)), ConfigurationError,
     "an index or a view stands in the way: drop it, or freeze this change in on_schema_drift"),
    ((duckdb.CatalogException, duckdb.BinderException, duckdb.ParserException), ConfigurationError,
     "check the names, and the SQL that was given (checks)"),
    ((duckdb.PermissionException, duckdb.IOException), ConfigurationError,
     "see that the disk has room and that the file is whole and writable"),
    ((duckdb.SerializationException, duckdb.FatalException), ConfigurationError,
     "the file is damaged, or of a newer DuckDB: restore it, or install the DuckDB that wrote it"),
)  # fmt: skip
