"""The bytes of a file as blocks: unpacked, and whole or not at all."""

from __future__ import annotations

import bz2
import io
import threading
import zlib
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any, Final, Protocol

import pyarrow as pa

BLOCK_BYTES: Final = 2 << 20
"""What is in memory at once of a file, and the most that one row of a CSV file may take."""
_PACKED_BYTES: Final = 256 << 10


class _Unpacker(Protocol):
    """What zlib's and bz2's decompressors have in common."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


def _gzip() -> _Unpacker:
    return zlib.decompressobj(zlib.MAX_WBITS | 16)


_UNPACKERS: Final[dict[str, Callable[[], _Unpacker]]] = {"gzip": _gzip, "bz2": bz2.BZ2Decompressor}


def file_blocks(path: Path, compression: str) -> Generator[bytes]:
    """Give the unpacked bytes of a file.

    :param compression: ``none``, ``gzip``, ``zstd`` or ``bz2``; several archives may follow each other in one file.
    :raises EOFError: when a packed file ends before its time.
    :raises OSError: when the disk fails, or for what is not packed like that; so is ``zlib.error``.
    """
    if compression == "zstd":
        yield from _zstd(path)
        return
    with path.open("rb") as file:
        if compression in _UNPACKERS:
            yield from _unpacked(file, _UNPACKERS[compression])
            return
        while block := file.read(BLOCK_BYTES):
            yield block


def _unpacked(file: Any, new: Callable[[], _Unpacker]) -> Iterator[bytes]:
    unpacker: _Unpacker | None = None
    ended, data = False, b""
    while data := data or file.read(_PACKED_BYTES):
        if unpacker is None:
            data = data.lstrip(b"\0") if ended else data  # some tools pad
            if not data:
                continue
            unpacker = new()
        yield from _pieces(unpacker, data)
        data = b""
        if unpacker.eof:
            data, unpacker, ended = unpacker.unused_data, None, True
    if unpacker is not None or not ended:
        raise EOFError("the end of what is compressed is missing")


def _pieces(unpacker: _Unpacker, data: bytes) -> Iterator[bytes]:
    """Give what some packed bytes hold, in blocks of bounded size."""
    while True:
        block = unpacker.decompress(data, BLOCK_BYTES)
        if block:
            yield block
        data = getattr(unpacker, "unconsumed_tail", b"")
        if unpacker.eof or (not data and len(block) < BLOCK_BYTES):
            return


def _zstd(path: Path) -> Iterator[bytes]:
    empty = True
    with pa.input_stream(str(path), compression="zstd") as stream:
        while block := stream.read(BLOCK_BYTES):
            empty = False
            yield block
    if empty and not path.stat().st_size:
        raise EOFError("the end of what is compressed is missing")


class BlockStream(io.RawIOBase):
    """Blocks as a stream to read from; gives as much as is asked for, except at the end.

    Arrow reads ahead in a thread of its own: a stream may be closed while it is being read. And its CSV reader drops a
    line feed at the beginning of a block when the block before ended in a carriage return, inside of quotes, too: no
    block ends in one.

    :param blocks: closed with the stream.
    :param end: given the last byte, what is told besides after it.
    :param watch: is shown whatever is read.
    """

    def __init__(
        self, blocks: Generator[bytes], end: Callable[[bytes], bytes] | None = None,
        watch: Callable[[bytes], None] | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self._blocks, self._end, self._watch = blocks, end, watch
        self._left = b""
        self._last = b""
        self._lock = threading.Lock()

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        with self._lock:
            return b"" if self.closed else self._read(size)

    def _read(self, size: int) -> bytes:
        parts, have = [self._left], len(self._left)
        while have < size or size < 0:
            block = next(self._blocks, None)
            if block is None:
                parts.append(self._ending())
                break
            self._last = block[-1:] or self._last
            parts.append(block)
            have += len(block)
        data = parts[-1] if not any(parts[:-1]) else b"".join(parts)
        if size < 0:
            size = len(data)
        if size > 1 and data[size - 1 : size] == b"\r":
            size -= 1
        data, self._left = data[:size], data[size:]
        if self._watch:
            self._watch(data)
        return data

    def readinto(self, buffer: Any) -> int:
        data = self.read(min(len(buffer), BLOCK_BYTES))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        with self._lock:
            self._blocks.close()
            super().close()

    def _ending(self) -> bytes:
        end, self._end = self._end, None
        return end(self._last) if end else b""
