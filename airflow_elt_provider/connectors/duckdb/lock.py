"""The line in front of a DuckDB file: one holder at a time, among threads and processes of one machine."""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from airflow_elt_provider.errors import ConfigurationError, TransientError

log = logging.getLogger(__name__)

SAY_EVERY: Final = 10.0
"""Seconds between two lines in the log of one who waits."""
_POLL: Final = 0.05
_BUSY: Final = frozenset({errno.EACCES, errno.EAGAIN})


class Patience:
    """The time that one call may spend in line, for our own lock and for DuckDB's.

    :param what: what waits, for messages.
    :param timeout: seconds.
    :param stopped: ends the waiting when it is set.
    """

    def __init__(self, what: str, timeout: float, stopped: threading.Event) -> None:
        self._what, self._timeout, self._stopped = what, timeout, stopped
        self._began = self._said = time.monotonic()

    def wait(self, holder: str) -> None:
        """Wait a moment.

        :param holder: who holds what is waited for, for messages.
        :raises TransientError: when the time is over, or somebody cancelled.
        """
        now = time.monotonic()
        if now - self._began >= self._timeout:
            raise TransientError(
                f"{self._what}: waited {self._timeout:,.0f} s for the file; it is held by {holder}.",
                hint="let the task retry, end the holder, or raise lock_timeout in the connection's extra",
            )
        if now - self._said >= SAY_EVERY:
            self._said = now
            log.info("%s: waiting in line for %.0f s; the file is held by %s", self._what, now - self._began, holder)
        if self._stopped.wait(_POLL):
            raise TransientError(f"{self._what}: stopped while waiting in line.", hint="clear the task to run it again")


@contextmanager
def file_lock(database: Path, what: str, patience: Patience) -> Iterator[None]:
    """Hold the lock of a database file; the lock ends with the process, however it ends.

    :param what: what the holder does, for those who wait.
    :raises TransientError: when it could not be had in time; names the holder.
    :raises ConfigurationError: when the lock file cannot be written.
    """
    path = database.with_name(database.name + ".elt-lock")
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise ConfigurationError(
            f"The lock file {path} cannot be written: {error.strerror}.",
            hint="let the user of this process write to the database's folder",
        ) from error
    try:
        while not _try_lock(handle, path):
            patience.wait(_holder(path))
        _sign(handle, what)
        yield
        os.ftruncate(handle, 0)
    finally:
        os.close(handle)


def _try_lock(handle: int, path: Path) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _BUSY:
            return False
        raise ConfigurationError(
            f"The file system of {path} has no locks: {error.strerror}.",
            hint="put the database on a local disk, or on a network file system with flock",
        ) from error
    return True


def _sign(handle: int, what: str) -> None:
    about = {"pid": os.getpid(), "host": socket.gethostname(), "doing": what}
    with suppress(OSError):  # a full disk: those who wait do not learn who holds it, no more
        os.ftruncate(handle, 0)
        os.pwrite(handle, json.dumps(about).encode(), 0)


def _holder(path: Path) -> str:
    try:
        about = json.loads(path.read_bytes())
        return f"process {about['pid']} on {about['host']} ({about['doing']})"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
