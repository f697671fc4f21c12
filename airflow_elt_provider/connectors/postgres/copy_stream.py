"""COPY ... TO STDOUT as blocks of whole CSV rows."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import threading
from collections.abc import Callable, Generator, Iterator
from typing import IO, Final

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812 - a class in all but its name

from airflow_elt_provider.connectors.postgres.session import CANCEL_SECONDS, translate
from airflow_elt_provider.errors import TransientError

BLOCK_BYTES: Final = 2 << 20
"""CSV bytes that are parsed at once: smaller ones cost speed, larger ones memory."""
_PIPE_BYTES: Final = 1 << 20
_SET_PIPE_SIZE: Final = getattr(fcntl, "F_SETPIPE_SZ", None)


class CopyStream:
    """Runs a COPY statement in a thread of its own and gives its rows as blocks.

    :param what: what is being read, for errors.
    :param cancel: asks the server to cancel what the connection runs.
    """

    def __init__(self, connection: Connection, statement: str, what: str, cancel: Callable[[Connection], None]) -> None:
        self._connection, self._statement, self._what, self._cancel = connection, statement, what, cancel
        self._error: BaseException | None = None
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def blocks(self) -> Generator[bytes]:
        """Give every row, some megabytes at a time; a block ends where a row ends.

        Whoever stops early closes the generator or calls :meth:`stop`.

        :raises EltError: when the server or the connection failed; what was given until then is not all.
        """
        reading, writing = os.pipe()
        with open(reading, "rb", buffering=0) as pipe:  # noqa: PTH123 - a descriptor, not a path
            with self._lock:
                self._refuse_stopped(writing)
                self._thread = threading.Thread(target=self._copy, args=(writing,), name="elt-copy", daemon=True)
                self._thread.start()
            _grow(reading)
            try:
                yield from whole_rows(pipe, self._finish)
            finally:
                if self._thread.is_alive():
                    self._interrupt()
                    pipe.close()  # the writer, if it waits for room in the pipe, now gets EPIPE
                    self._thread.join()

    def stop(self) -> None:
        """End the statement on the server and the thread; safe from any thread, and when nothing runs."""
        with self._lock:
            self._stopped.set()
            thread = self._thread
        if thread and thread.is_alive():
            self._interrupt()
            thread.join(CANCEL_SECONDS)

    # --- the thread ---

    def _copy(self, writing: int) -> None:
        try:
            with open(writing, "wb", buffering=_PIPE_BYTES) as sink, self._connection.cursor() as cursor:
                cursor.copy_expert(self._statement, sink)
        except BrokenPipeError as error:
            self._error = self._error or error
        except BaseException as error:  # noqa: BLE001 - it is raised again where the rows are read
            self._error = error

    # --- the reader ---

    def _refuse_stopped(self, writing: int) -> None:
        if self._stopped.is_set():
            os.close(writing)
            raise TransientError(f"{self._what}: stopped before it began.", hint="clear the task to run it again")

    def _finish(self) -> None:
        if self._thread:
            self._thread.join()
        if isinstance(self._error, BrokenPipeError) or (self._stopped.is_set() and self._error is None):
            raise TransientError(f"{self._what}: stopped before its end.", hint="clear the task to run it again")
        if self._error:
            with translate(self._what):
                raise self._error

    def _interrupt(self) -> None:
        """Cancel on the server, then take the socket away from a thread that waits for a silent server."""
        self._cancel(self._connection)
        with contextlib.suppress(OSError, psycopg2.Error):
            descriptor = os.dup(self._connection.fileno())
            with socket.socket(fileno=descriptor) as peer:
                peer.shutdown(socket.SHUT_RDWR)


def _grow(pipe: int) -> None:
    """Let the two threads run further apart; a system that refuses is slower, no more."""
    if _SET_PIPE_SIZE is not None:
        with contextlib.suppress(OSError):
            fcntl.fcntl(pipe, _SET_PIPE_SIZE, _PIPE_BYTES)


def whole_rows(pipe: IO[bytes], at_end: Callable[[], None]) -> Iterator[bytes]:
    """Cut a stream of CSV into blocks of whole rows. A row larger than a block makes its block as large as itself.

    :param at_end: called when the stream has ended, before its last block is given; raises when it ended too early.
    """
    held: list[bytes] = []
    size = quotes = 0
    while piece := pipe.read(_PIPE_BYTES):
        held.append(piece)
        size += len(piece)
        quotes += piece.count(b'"')
        end = last_row_end(piece, odd=bool(quotes % 2)) if size >= BLOCK_BYTES else 0
        if end:
            yield b"".join([*held[:-1], piece[:end]])
            held, quotes = [piece[end:]], piece.count(b'"', end)
            size = len(held[0])
    at_end()
    if size:
        yield b"".join(held)


def last_row_end(piece: bytes, *, odd: bool) -> int:
    """Return where the last whole row of a piece ends; 0 where none does.

    :param odd: whether the number of quotes up to the end of the piece, those before it included, is odd: the end
        then lies inside a quoted value, as does every newline with an odd number before it.
    """
    end = len(piece)
    while (newline := piece.rfind(b"\n", 0, end)) >= 0:
        odd ^= bool(piece.count(b'"', newline, end) % 2)
        if not odd:
            return newline + 1
        if end == len(piece):  # a doubled quote changes nothing for any newline: what is left are the values' own
            piece = piece.replace(b'""', b"..")
        # Inside a value: go to the quote that opens it, instead of trying every newline in between.
        end = piece.rfind(b'"', 0, newline)
        if end < 0:
            return 0
        odd = False
    return 0
