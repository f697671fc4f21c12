"""What is looked at of a file to guess how it is written: its head, its tail, and places in between."""

from __future__ import annotations

import bz2
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import pyarrow as pa

from airflow_elt_provider.errors import DataError

HEAD_BYTES: Final = 256 << 10
PIECE_BYTES: Final = 32 << 10
MIDDLE_PIECES: Final = 6
"""How many places between head and tail are looked at; evenly spread."""
PACKED_BYTES: Final = 8 << 20
"""How much of a compressed file is fetched at most: what lies behind cannot be reached without all before it."""
UNPACKED_BYTES: Final = 64 << 20
PACKED_SECONDS: Final = 0.5
_MAGIC: Final = ((b"\x1f\x8b", "gzip"), (b"\x28\xb5\x2f\xfd", "zstd"), (b"BZh", "bz2"))
_STEP: Final = 64 << 10


class Ranges(Protocol):
    """A file of which parts can be read."""

    @property
    def size(self) -> int:
        """Bytes."""

    def read(self, start: int, length: int) -> bytes:
        """Return the bytes from a place on; fewer at the end."""


@dataclass(frozen=True)
class Piece:
    """Bytes that follow each other.

    :param start: where they stand in the (unpacked) file.
    :param last: whether the file ends with them.
    """

    data: bytes
    start: int = 0
    last: bool = False


@dataclass(frozen=True)
class Sample:
    """Pieces of a file, the first of which is its beginning.

    :param compression: ``gzip``, ``zstd``, ``bz2`` or ``none``, by what the file begins with and not by its name.
    :param size: bytes of the file as it lies there.
    :param whole: whether the pieces are all of it.
    """

    pieces: Sequence[Piece]
    compression: str = "none"
    size: int = 0
    whole: bool = False

    @classmethod
    def of_bytes(cls, data: bytes) -> Sample:
        """Return the sample of a file that is at hand."""
        return take_sample(_Whole(data))

    @property
    def head(self) -> bytes:
        """How the file begins."""
        return self.pieces[0].data


@dataclass(frozen=True)
class _Whole:
    data: bytes

    @property
    def size(self) -> int:
        return len(self.data)

    def read(self, start: int, length: int) -> bytes:
        return self.data[start : start + length]


def take_sample(file: Ranges) -> Sample:
    """Read head, middle and tail; of a compressed file its head, as far as the budget of time and bytes goes.

    :raises DataError: for a compressed file that cannot be unpacked.
    """
    head = file.read(0, HEAD_BYTES)
    compression = next((name for magic, name in _MAGIC if head.startswith(magic)), "none")
    if compression != "none":
        return _of_packed(file, compression)
    if file.size <= HEAD_BYTES + PIECE_BYTES * (MIDDLE_PIECES + 1):
        rest = file.read(HEAD_BYTES, file.size - HEAD_BYTES) if file.size > HEAD_BYTES else b""
        return Sample([Piece(head + rest, last=True)], size=file.size, whole=True)
    gap = (file.size - HEAD_BYTES - PIECE_BYTES) // (MIDDLE_PIECES + 1)
    # Even places, for characters of two bytes; UTF-32 is aligned by fours.
    starts = [(HEAD_BYTES + gap * number) & ~3 for number in range(1, MIDDLE_PIECES + 1)]
    tail = (file.size - PIECE_BYTES) & ~3
    pieces = [Piece(head), *(Piece(file.read(start, PIECE_BYTES), start) for start in starts)]
    return Sample([*pieces, Piece(file.read(tail, file.size - tail), tail, last=True)], size=file.size)


def _of_packed(file: Ranges, compression: str) -> Sample:
    unpack = _unpacker(compression)
    done, data, until = 0, bytearray(), time.monotonic() + PACKED_SECONDS
    while done < min(file.size, PACKED_BYTES) and len(data) < UNPACKED_BYTES:
        packed = file.read(done, _STEP)
        done += len(packed)
        try:
            data += unpack(packed)
        except (zlib.error, OSError, EOFError, pa.ArrowInvalid) as error:
            raise DataError(
                f"The file begins like {compression}, and cannot be unpacked ({error}).",
                hint="see whether it was written to its end, and by what",
            ) from error
        if not packed or (len(data) > HEAD_BYTES and time.monotonic() > until):
            break
    return _thinned(bytes(data), compression, file.size, whole=done >= file.size)


def _thinned(data: bytes, compression: str, size: int, *, whole: bool) -> Sample:
    """Take head, middle and tail of what was unpacked."""
    thin = take_sample(_Plain(data))
    pieces = [Piece(piece.data, piece.start, piece.last and whole) for piece in thin.pieces]
    return Sample(pieces, compression, size, whole=thin.whole and whole)


class _Plain(_Whole):
    """Bytes that are not looked into once more: a gzip file in a gzip file is bytes to us."""

    def read(self, start: int, length: int) -> bytes:
        data = super().read(start, length)
        return data if start or not data.startswith(tuple(magic for magic, _ in _MAGIC)) else b"\0" + data


def _unpacker(compression: str) -> Callable[[bytes], bytes]:
    if compression == "gzip":
        return _Members(lambda: zlib.decompressobj(31)).unpack
    if compression == "bz2":
        return _Members(bz2.BZ2Decompressor).unpack
    return _Zstd().unpack


class _Members:
    """Unpacks files that were put one after the other, as gzip and bzip2 allow."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make, self._now = make, make()

    def unpack(self, data: bytes) -> bytes:
        whole = b""
        while data:
            if self._now.eof:
                self._now = self._make()
            whole += self._now.decompress(data)
            data = self._now.unused_data if self._now.eof else b""
        return whole


class _Zstd:
    """Unpacks zstd by Arrow, which wants a file: what there is so far is unpacked anew, so in growing steps."""

    def __init__(self) -> None:
        self._packed, self._given, self._next = b"", 0, 0

    def unpack(self, data: bytes) -> bytes:
        self._packed += data
        if data and len(self._packed) < self._next and len(data) == _STEP:
            return b""
        self._next = 2 * len(self._packed)
        stream = pa.CompressedInputStream(pa.BufferReader(self._packed), "zstd")
        stream.read(self._given)
        found = b""
        try:
            while len(found) < UNPACKED_BYTES and (piece := stream.read(1 << 20)):
                found += piece
        except OSError:  # cut off: that is what a sample is
            pass
        self._given += len(found)
        return found
