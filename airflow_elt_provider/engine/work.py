"""Long work in a thread of its own, so that the main thread hears signals and can stop it."""

from __future__ import annotations

import contextvars
import logging
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import Final, Generic, TypeVar

from airflow_elt_provider.errors import TransientError

log = logging.getLogger(__name__)

_T = TypeVar("_T")
_REPEAT_SECONDS: Final = 0.5
_PATIENCE_SECONDS: Final = 20.0
"""How long cancelled work may take to end; Airflow kills a task that takes longer than 60 s."""


class Work(Generic[_T]):
    """One piece of work that can be stopped.

    psycopg2 and DuckDB do not return to Python while the server works, so a signal would not be heard before the
    statement is over. Here the main thread waits on a queue instead, which signal handlers may interrupt and write to.

    :param function: the work.
    :param cancel: stops what the work does on a server; may be called at any time, from any thread, many times.
    """

    def __init__(self, function: Callable[[], _T], cancel: Callable[[], None]) -> None:
        self._function, self._cancel = function, cancel
        self._events: SimpleQueue[str] = SimpleQueue()  # unlike Event and Lock, safe in a signal handler
        self._result: list[_T] = []
        self._error: BaseException | None = None

    def stop(self) -> None:
        """Ask the work to stop; safe in a signal handler."""
        self._events.put("stop")

    def run(self) -> _T:
        """Do the work and return its result.

        :raises TransientError: when it was stopped.
        """
        context = contextvars.copy_context()
        thread = threading.Thread(target=context.run, args=(self._do,), name="elt-work", daemon=True)
        thread.start()
        try:
            event = self._events.get()
        except BaseException:  # a timeout, or a signal handler that raises
            self._end(thread)
            raise
        if event == "stop":
            self._end(thread)
            raise TransientError("The task was told to stop.", hint="what was not committed was rolled back")
        thread.join()
        if self._error:
            raise self._error
        return self._result[0]

    def _do(self) -> None:
        try:
            self._result.append(self._function())
        except BaseException as error:  # noqa: BLE001 - it is raised again in the main thread
            self._error = error
        finally:
            self._events.put("done")

    def _end(self, thread: threading.Thread) -> None:
        log.warning("Stopping: cancelling what runs on the servers.")
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while thread.is_alive() and time.monotonic() < deadline:
            self._cancel_once()
            # The work may have been between two statements: cancel until it is over.
            thread.join(_REPEAT_SECONDS)
        if thread.is_alive():
            log.warning("The work has not ended after %.0f s; leaving it.", _PATIENCE_SECONDS)

    def _cancel_once(self) -> None:
        try:
            self._cancel()
        except Exception as error:  # noqa: BLE001 - the server may be away; the task ends all the same
            log.warning("Cancelling failed: %s", error)
