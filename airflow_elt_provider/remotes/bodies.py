"""Bodies of answers, gathered as they come: no longer, and no more of them, than a client can bear."""

from __future__ import annotations

import time
import zlib
from typing import Final

from airflow_elt_provider.errors import AnswerLostError

MOST_BYTES: Final = 64 << 20
CODING: Final = "gzip"
"""The compression to ask for: what is unpacked here, step by step, cannot fill the memory."""
_PLAIN: Final = {"", "identity"}
_PACKED: Final = {"gzip", "x-gzip", "deflate"}
_GZIP_OR_ZLIB: Final = 32 + zlib.MAX_WBITS
_STEP: Final = 1 << 20


class Body:
    """Takes a body piece by piece.

    :param what: whose, for messages.
    :param coding: the header ``Content-Encoding``.
    :param seconds: in which it has to be there, from now on.
    :raises AnswerLostError: here and in all methods, for a body that is none: the server may have done its work.
    """

    def __init__(self, what: str, coding: str, seconds: float) -> None:
        coding = coding.strip().lower()
        if coding not in _PLAIN | _PACKED:
            raise AnswerLostError(f"{what}: the answer is coded as {coding[:40]!r}, which was not asked for.")
        self._what, self._seconds, self._until = what, seconds, time.monotonic() + seconds
        self._pieces: list[bytes] = []
        self._size = 0
        self._unpacker = zlib.decompressobj(_GZIP_OR_ZLIB) if coding in _PACKED else None
        self._begun = False

    def add(self, data: bytes) -> None:
        """Take the next piece."""
        if time.monotonic() > self._until:
            raise too_slow(self._what, self._seconds)
        self._begun = self._begun or bool(data)
        if self._unpacker is None:
            return self._keep(data)
        try:
            while data:
                if self._unpacker.eof:  # a gzip file may have several members
                    self._unpacker = zlib.decompressobj(_GZIP_OR_ZLIB)
                self._keep(self._unpacker.decompress(data, _STEP))
                data = self._unpacker.unconsumed_tail or self._unpacker.unused_data
        except zlib.error:
            raise AnswerLostError(f"{self._what}: the answer cannot be unpacked.") from None
        return None

    def whole(self) -> bytes:
        """Return all of it; nothing more comes."""
        if self._unpacker is not None and self._begun:
            self._keep(self._unpacker.flush())
            if not self._unpacker.eof:
                raise AnswerLostError(f"{self._what}: the answer broke off.")
        return b"".join(self._pieces)

    def _keep(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size > MOST_BYTES:
            raise AnswerLostError(f"{self._what}: the answer is too large: more than {MOST_BYTES >> 20} MiB.")
        self._pieces.append(piece)


def too_slow(what: str, seconds: float) -> AnswerLostError:
    """Return the error for an answer that comes, but never ends."""
    return AnswerLostError(f"{what}: the answer is too slow: it is not whole after {seconds:g} s.")
