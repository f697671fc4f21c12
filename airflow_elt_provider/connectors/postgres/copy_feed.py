"""Staged Parquet files as the text that ``COPY ... FROM STDIN`` reads.

COPY's own text format, not CSV: the server reads it in two thirds of the time.
"""

from __future__ import annotations

import binascii
import queue
import threading
from collections.abc import Iterator
from typing import Any, Final, Self

import pyarrow as pa
import pyarrow.compute as pc

BATCH_ROWS: Final = 32_768
_AHEAD: Final = 3
"""Batches that are ready before the server takes them: the two work at the same time, in bounded memory."""
_TIMEOUT: Final = 0.2
_ESCAPES: Final = ((b"\\", r"\\"), (b"\t", r"\t"), (b"\n", r"\n"), (b"\r", r"\r"))
"""Backslashes first."""
_HEX: Final = r"\\x"
"""What bytea's text begins with, its backslash escaped."""


class CopyFeed:
    """A file to read for psycopg2's ``copy_expert``: its pieces are made in a thread of their own.

    When that fails, reading raises, and psycopg2 makes the server give the COPY up: it never ends early.

    :param pieces: what there is to read.
    :ivar error: what made reading fail: psycopg2 itself only tells the server.
    """

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._ready: queue.Queue[bytes | BaseException] = queue.Queue(_AHEAD)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._make, name="elt-copy", daemon=True)
        self._ended = False
        self.error: BaseException | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stopped.set()
        self._thread.join()

    def read(self, _size: int = -1) -> bytes:
        """Return the next piece, b"" at the end."""
        if self._ended:
            return b""
        piece = self._ready.get()
        if isinstance(piece, BaseException):
            self.error = piece
            raise piece
        self._ended = not piece
        return piece

    def readline(self, _size: int = -1) -> bytes:
        """Nobody calls this; psycopg2 takes only objects that have it."""
        raise NotImplementedError

    def _make(self) -> None:
        try:
            for piece in self._pieces:
                if not self._offer(piece):
                    return
            self._offer(b"")
        except BaseException as error:  # noqa: BLE001 - it is raised again where the pieces are read
            self._offer(error)

    def _offer(self, piece: bytes | BaseException) -> bool:
        while not self._stopped.is_set():
            try:
                self._ready.put(piece, timeout=_TIMEOUT)
            except queue.Full:
                continue
            return True
        return False


def rendered(batches: Iterator[pa.RecordBatch], columns: list[str]) -> Iterator[bytes]:
    """Render batches in COPY's text format.

    :param columns: in the order of the COPY; one that a batch lacks is NULL.
    """
    for batch in batches:
        if batch.num_rows:
            yield as_text(batch, columns)


def as_text(batch: pa.RecordBatch, columns: list[str]) -> bytes:
    """Render a batch in COPY's text format; a column that it lacks is NULL."""
    printed: list[Any] = [_printed(batch, name) for name in columns]
    rows: Any = pc.binary_join_element_wise(*printed, "\t", null_handling="replace", null_replacement="\\N")
    lines: Any = pc.binary_join_element_wise(rows, "", "\n")
    _, offsets, data = lines.buffers()
    starts = pa.Array.from_buffers(pa.int32(), len(lines) + 1, [None, offsets], offset=lines.offset)
    return memoryview(data)[starts[0].as_py() : starts[-1].as_py()].tobytes()


def _printed(batch: pa.RecordBatch, name: str) -> pa.Array[Any]:
    at = batch.schema.get_field_index(name)
    if at < 0:
        return pa.nulls(batch.num_rows, pa.string())
    array: Any = batch.column(at)
    if pa.types.is_binary(array.type):
        return hexed(array)
    if pa.types.is_timestamp(array.type) and array.type.tz:
        # Printing with a time zone takes thirty times as long; the session's is UTC.
        array = array.view(pa.int64()).view(pa.timestamp("us"))
    return escaped(array) if pa.types.is_string(array.type) else array.cast(pa.string())


def escaped(texts: pa.Array[Any]) -> pa.Array[Any]:
    """Escape what means something to COPY."""
    data = texts.buffers()[2]
    held = bytes(data) if data is not None else b""  # looking once at all the bytes is much faster than at each value
    for character, escape in _ESCAPES:
        if character in held:
            texts = pc.replace_substring(texts, character.decode(), escape)
    return texts


def hexed(data: pa.Array[Any]) -> pa.Array[Any]:
    r"""Write an array of bytes as ``\\x...``, all at once."""
    _, offsets, values = data.buffers()
    length = len(data) + 1
    starts = pa.Array.from_buffers(pa.int32(), length, [None, offsets], offset=data.offset)
    first, last = starts[0].as_py(), starts[-1].as_py()
    digits = binascii.hexlify(memoryview(values)[first:last] if values is not None else b"")
    wide = pc.multiply(pc.subtract(starts.cast(pa.int64()), first), 2)
    valid = pc.is_valid(data).buffers()[1] if data.null_count else None
    buffers = [valid, wide.buffers()[1], pa.py_buffer(digits)]
    texts: Any = pa.Array.from_buffers(pa.large_string(), len(data), buffers).cast(pa.string())
    joined: pa.Array[Any] = pc.binary_join_element_wise(_HEX, texts, "")
    return joined
