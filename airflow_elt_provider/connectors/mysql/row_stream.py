"""Rows of an unbuffered query, some megabytes at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from typing import Final

from airflow_elt_provider.connectors.mysql.session import MySqlSession, Row, translate
from airflow_elt_provider.errors import TransientError

BLOCK_BYTES: Final = 2 << 20
"""Bytes of values that are decoded at once: smaller ones cost speed, larger ones memory."""
_FIRST_ROWS: Final = 64
_MOST_ROWS: Final = 16_384


class RowStream:
    """Runs statements one after the other, in the thread that drains it.

    :param what: what is being read, for errors.
    :param cancel: asks the server to stop what the session runs.
    """

    def __init__(
        self, session: MySqlSession, statements: list[str], what: str, cancel: Callable[[MySqlSession], None]
    ) -> None:
        self._session, self._statements, self._what, self._cancel = session, statements, what, cancel
        self._stopped = threading.Event()
        self._running = threading.Event()

    def blocks(self) -> Generator[list[Row]]:
        """Give every row.

        Whoever stops early closes the generator or calls :meth:`stop`.

        :raises EltError: when the server or the connection failed; what was given until then is not all.
        """
        for statement in self._statements:
            self._refuse_stopped()
            self._running.set()
            try:
                with translate(self._what), self._session.stream(statement) as cursor:
                    rows = _FIRST_ROWS
                    while block := cursor.fetchmany(rows):
                        yield block
                        self._refuse_stopped()
                        rows = _next_size(block)
            except GeneratorExit:
                self._cancel(self._session)
                raise
            finally:
                self._running.clear()

    def stop(self) -> None:
        """End the statement on the server; safe from any thread, and when nothing runs."""
        self._stopped.set()
        if self._running.is_set():
            self._cancel(self._session)
            self._session.interrupt()

    def _refuse_stopped(self) -> None:
        if self._stopped.is_set():
            raise TransientError(f"{self._what}: stopped before its end.", hint="clear the task to run it again")


def _next_size(block: list[Row]) -> int:
    """Return how many rows fill a block, if they go on as these were."""
    size = sum(len(value) for row in block for value in row if value is not None)
    fitting = BLOCK_BYTES * len(block) // max(1, size)
    return max(1, min(_MOST_ROWS, fitting, 4 * len(block)))
