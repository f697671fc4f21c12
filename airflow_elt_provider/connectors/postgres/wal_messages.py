"""What the output plugin ``pgoutput`` (protocol 1) says, byte by byte. Nothing here talks to a server.

A tuple is a count of columns (2 bytes) and, for each, ``n`` (NULL), ``u`` (a large value that did not change) or ``t``
with a length (4 bytes) and the type's own text.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

TEXT, NULL, UNCHANGED = ord("t"), ord("n"), ord("u")
_EPOCH_MICROSECONDS: Final = 946_684_800_000_000
"""2000-01-01, from which PostgreSQL counts, in microseconds of Unix."""
_BEGIN: Final = struct.Struct(">QqI")
_UNSIGNED: Final = struct.Struct(">I")
_COLUMN: Final = struct.Struct(">II")
_HEADER: Final = struct.Struct(">H")
_VALUE: Final = struct.Struct(">BI")
"""Kind and length of a value, in one call: this is where the time goes (0.25 us a value)."""
_FIRST: Final = (0,)
_PADDING: Final = bytes(4)
"""So that a NULL at the very end can be read with a length too."""


def lsn_number(text: str) -> int:
    """Read a position in the log as PostgreSQL writes it.

    >>> lsn_number("16/B374D848")
    97500059720
    """
    high, low = text.split("/")
    return int(high, 16) << 32 | int(low, 16)


def lsn_text(number: int) -> str:
    """Write a position in the log as PostgreSQL does.

    >>> lsn_text(97500059720)
    '16/B374D848'
    """
    return f"{number >> 32:X}/{number & 0xFFFFFFFF:X}"


@dataclass(frozen=True)
class Begin:
    """The head of a transaction; transactions come whole, in the order of their commits.

    :param lsn: where the commit record begins: what a slot's position is compared with.
    :param at: time of the commit, microseconds of Unix.
    """

    lsn: int
    at: int


@dataclass(frozen=True)
class LogRelation:
    """A table as it was when the changes that follow were written.

    :param identity: ``relreplident``: ``d`` the primary key, ``i`` an index, ``f`` the whole row, ``n`` nothing.
    """

    oid: int
    identity: str
    columns: tuple[str, ...]


def read_begin(message: bytes, at: int) -> Begin:
    """Read a message ``B`` whose kind stands at ``at``."""
    lsn, moment, _ = _BEGIN.unpack_from(message, at + 1)
    return Begin(lsn, moment + _EPOCH_MICROSECONDS)


def read_relation(message: bytes, at: int) -> LogRelation:
    """Read a message ``R`` whose kind stands at ``at``."""
    oid = _UNSIGNED.unpack_from(message, at + 1)[0]
    at = message.index(0, at + 5) + 1  # the schema
    at = message.index(0, at) + 1  # the table
    identity, count = chr(message[at]), _HEADER.unpack_from(message, at + 1)[0]
    at += 3
    names = []
    for _ in range(count):
        end = message.index(0, at + 1)  # after a byte of flags
        names.append(message[at + 1 : end].decode())
        at = end + 1 + _COLUMN.size
    return LogRelation(oid, identity, tuple(names))


def read_truncate(message: bytes, at: int) -> tuple[int, ...]:
    """Return the object ids of the tables that a message ``T``, whose kind stands at ``at``, empties."""
    count = _UNSIGNED.unpack_from(message, at + 1)[0]
    return tuple(_UNSIGNED.unpack_from(message, at + 6 + 4 * each)[0] for each in range(count))


def tuple_end(message: bytes, at: int) -> int:
    """Return where the tuple that begins at ``at`` ends."""
    count = message[at] << 8 | message[at + 1]
    at += 2
    for _ in range(count):
        at += 5 + _UNSIGNED.unpack_from(message, at + 1)[0] if message[at] == TEXT else 1
    return at


def pieces(message: bytes, at: int) -> list[bytes]:
    """Return the columns of the tuple that begins at ``at`` as they stand there, kind and length included."""
    count = message[at] << 8 | message[at + 1]
    at += 2
    found = []
    for _ in range(count):
        end = at + 5 + _UNSIGNED.unpack_from(message, at + 1)[0] if message[at] == TEXT else at + 1
        found.append(message[at:end])
        at = end
    return found


def joined(columns: list[bytes]) -> bytes:
    """Put a tuple together again."""
    return _HEADER.pack(len(columns)) + b"".join(columns)


def key_pieces(message: bytes, at: int, positions: tuple[int, ...]) -> bytes | None:
    """Return some columns of the tuple that begins at ``at``, as they stand there, one behind the other.

    As every value stands behind its length, two keys are equal where these bytes are. None when a column is NULL or was
    not sent.

    :param positions: ascending.
    """
    at += 2
    if positions == _FIRST and message[at] == TEXT:  # what most keys are
        return message[at : at + 5 + _UNSIGNED.unpack_from(message, at + 1)[0]]
    found, column = [], 0
    for position in positions:
        while column < position:
            at += 5 + _UNSIGNED.unpack_from(message, at + 1)[0] if message[at] == TEXT else 1
            column += 1
        if message[at] != TEXT:
            return None
        end = at + 5 + _UNSIGNED.unpack_from(message, at + 1)[0]
        found.append(message[at:end])
        at, column = end, column + 1
    return found[0] if len(found) == 1 else b"".join(found)


def key_values(key: bytes) -> list[bytes]:
    """Take what :func:`key_pieces` returned apart."""
    at, found = 0, []
    while at < len(key):
        end = at + 5 + _UNSIGNED.unpack_from(key, at + 1)[0]
        found.append(key[at + 5 : end])
        at = end
    return found


def values(message: bytes, at: int) -> tuple[list[bytes | None], tuple[int, ...]]:
    """Return the values of the tuple that begins at ``at``, and the positions of those that were not sent."""
    message += _PADDING
    count = message[at] << 8 | message[at + 1]
    at += 2
    found: list[bytes | None] = []
    lacking: tuple[int, ...] = ()
    add, unpack = found.append, _VALUE.unpack_from
    for _ in range(count):
        kind, length = unpack(message, at)
        if kind == TEXT:
            start = at + 5
            at = start + length
            add(message[start:at])
            continue
        if kind == UNCHANGED:
            lacking = (*lacking, len(found))
        add(None)
        at += 1
    return found, lacking
