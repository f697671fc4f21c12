"""Changes of one table as the log tells them, folded to one for each key; on disk where they are many."""

from __future__ import annotations

import gc
import struct
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from airflow_elt_provider.connectors.postgres.wal_messages import UNCHANGED, joined, pieces

GONE, NOW, MOVED, _EMPTIED = 0, 1, 2, 3
"""What became of a key: it is gone; its row is as told; likewise, but it had another key before; all are gone."""
HELD_BYTES: Final = 64 << 20
"""Changes beyond this go to disk."""
PARTITIONS: Final = 128
_COST: Final = 250
"""Bytes that Python needs for a change besides its own."""
_RECORD: Final = struct.Struct(">BqIII")


@contextmanager
def many_objects() -> Iterator[None]:
    """Make many small objects without cycles: Python's search for cycles would go through all of them again and again.

    100,000 changes took 1.5 s with it and 0.95 s without.
    """
    searching = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if searching:
            gc.enable()


class Change(NamedTuple):
    """The last that the log says of a key.

    :param at: time of the commit, microseconds of Unix.
    :param layout: number of the columns' layout.
    :param tuple: bytes in which the row's tuple stands, from ``start`` on; of no meaning for what is ``GONE``.
    """

    key: bytes
    what: int
    at: int
    layout: int
    tuple: bytes
    start: int


class Fold:
    """Takes the changes of a table in the order of the log and gives them folded, part by part.

    A row that comes without some large values takes them from an earlier change of the same key, where there is one.

    :param folder: an empty one, for what does not fit into memory.
    :param layouts: the names of the columns of each layout; grows while changes come.
    :param every: whether every version counts, not only the last of each key.
    """

    def __init__(self, folder: Path, layouts: list[tuple[str, ...]], *, every: bool = False) -> None:
        self._folder, self._layouts, self._every = folder, layouts, every
        self._last: dict[bytes, Change] = {}
        self._versions: list[Change] = []
        self._held = 0
        self._spilled = False
        self.changes = 0

    def add(self, change: Change) -> None:
        """Take the next change."""
        self.changes += 1
        self._take(change)
        self._held += len(change.tuple) + _COST
        if self._held > HELD_BYTES:
            self._spill()

    def empty(self, at: int) -> None:
        """Take note that the table was emptied: everything so far is void, or was the past."""
        if self._every:
            emptied = Change(b"", _EMPTIED, at, 0, b"", 0)
            self._take(emptied)
            if self._spilled:
                self._spill()
                for number in range(PARTITIONS):
                    self._append(number, _written(emptied))
            return
        self._last.clear()
        self._held, self._spilled, self.changes = 0, False, 0
        for number in range(PARTITIONS):
            self._file(number).unlink(missing_ok=True)

    def parts(self) -> Iterator[list[Change]]:
        """Give all changes, those of a key together in one part and in order. Only once."""
        if not self._spilled:
            yield self._taken()
            return
        self._spill()
        for number in range(PARTITIONS):
            for change in self._read(number):
                self._take(change)
            yield self._taken()

    # --- one part ---

    def _taken(self) -> list[Change]:
        found = self._versions if self._every else list(self._last.values())
        self._last, self._versions, self._held = {}, [], 0
        return found

    def _take(self, change: Change) -> None:
        if change.what == _EMPTIED:
            there = [known for known in self._last.values() if known.what != GONE]
            self._versions += [known._replace(what=GONE, at=change.at, tuple=b"", start=0) for known in there]
            self._last.clear()
            return
        before = self._last.get(change.key)
        if before is not None and change.what == NOW and before.what != GONE:
            change = self._completed(change, before)
        self._last[change.key] = change
        if self._every:
            self._versions.append(change)

    def _completed(self, change: Change, before: Change) -> Change:
        """Return the change with what it lacks taken from the one before."""
        mine = pieces(change.tuple, change.start)
        lacking = [at for at, piece in enumerate(mine) if piece[0] == UNCHANGED]
        if not lacking:
            return change
        earlier = dict(
            zip(self._layouts[before.layout], pieces(before.tuple, before.start), strict=True)
        )  # by name: the columns may be others by now
        names, unsent = self._layouts[change.layout], bytes([UNCHANGED])
        for at in lacking:
            mine[at] = earlier.get(names[at], unsent)
        still = any(piece[0] == UNCHANGED for piece in mine)
        return change._replace(what=before.what if still else NOW, tuple=joined(mine), start=0)

    # --- on disk ---

    def _spill(self) -> None:
        """Append what is held to the files of its partitions."""
        self._spilled = True
        texts: dict[int, list[bytes]] = {}
        for change in self._taken():
            texts.setdefault(zlib.crc32(change.key) % PARTITIONS, []).extend(_written(change))
        for number, found in texts.items():
            self._append(number, found)

    def _append(self, number: int, texts: Iterable[bytes]) -> None:
        with self._file(number).open("ab") as file:
            file.write(b"".join(texts))

    def _read(self, number: int) -> Iterator[Change]:
        path = self._file(number)
        data = path.read_bytes() if path.exists() else b""
        at = 0
        while at < len(data):
            what, moment, layout, key, body = _RECORD.unpack_from(data, at)
            start = at + _RECORD.size
            at = start + key + body
            yield Change(data[start : start + key], what, moment, layout, data[start + key : at], 0)
        path.unlink(missing_ok=True)

    def _file(self, number: int) -> Path:
        return self._folder / f"{number:03d}"


def _written(change: Change) -> tuple[bytes, bytes, bytes]:
    body = change.tuple[change.start :] if change.what in {NOW, MOVED} else b""
    head = _RECORD.pack(change.what, change.at, change.layout, len(change.key), len(body))
    return head, change.key, body
