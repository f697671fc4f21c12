"""Of rows with one key in several files, those of the newest file; in bounded memory."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from hashlib import blake2b
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, Self

import pyarrow as pa
import pyarrow.compute as pc

from airflow_elt_provider.core.schema import Column, TableSchema
from airflow_elt_provider.core.types import UUID

IN_MEMORY: Final = 500_000
"""So many keys are held in memory, of about 100 bytes each; with more of them all go to the disk."""
_PRAGMAS: Final = ("journal_mode=OFF", "synchronous=OFF", "locking_mode=EXCLUSIVE", "cache_size=-32768")
_TABLE: Final = "CREATE TABLE seen (key BLOB PRIMARY KEY, file INTEGER) WITHOUT ROWID"
_INSERT: Final = "INSERT OR IGNORE INTO seen VALUES (?, ?)"


class NewestRows:
    """Keeps rows whose key was in no file before; files come newest first.

    Keys are told apart by 128 bits of a hash. A key that comes twice in one file is left to whoever merges.

    :param schema: of the batches; its key tells rows apart, as a destination would: not by how a value is spelled.
    """

    def __init__(self, schema: TableSchema) -> None:
        self._key = tuple(schema.column(name) for name in schema.primary_key)
        self._file = 0
        self._seen: set[bytes] = set()
        self._mine: set[bytes] = set()
        self._disk: _Disk | None = None
        self.dropped = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._disk:
            self._disk.close()

    def next_file(self) -> None:
        """Go on with an older file."""
        self._file += 1
        self._seen |= self._mine
        self._mine = set()

    def sift(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return the rows whose key no newer file had."""
        keys = _digests(batch, self._key)
        fresh = self._disk.fresh(keys, self._file) if self._disk else self._fresh(keys)
        if all(fresh):
            return batch
        self.dropped += len(fresh) - sum(fresh)
        return batch.filter(pa.array(fresh))

    def _fresh(self, keys: Sequence[bytes]) -> list[bool]:
        fresh = [key not in self._seen for key in keys]
        self._mine.update(keys)
        if len(self._seen) + len(self._mine) > IN_MEMORY:
            self._disk = _Disk()
            self._disk.add(self._mine - self._seen, self._file)
            self._disk.add(self._seen, -1)
            self._seen, self._mine = set(), set()
        return fresh


class _Disk:
    """Keys in a file of the worker's temporary folder, each with the number of the newest file that has it."""

    def __init__(self) -> None:
        self._folder = TemporaryDirectory(prefix="elt-keys-")
        self._database = sqlite3.connect(
            Path(self._folder.name) / "keys", isolation_level=None, check_same_thread=False
        )
        for pragma in _PRAGMAS:
            self._database.execute(f"PRAGMA {pragma}").close()
        self._database.execute(_TABLE)

    def add(self, keys: set[bytes] | Sequence[bytes], file: int) -> int:
        """Remember keys that are not known yet, and return how many those are."""
        before = self._database.total_changes
        self._database.execute("BEGIN")
        self._database.executemany(_INSERT, [(key, file) for key in sorted(keys)])
        self._database.execute("COMMIT")
        return self._database.total_changes - before

    def fresh(self, keys: Sequence[bytes], file: int) -> list[bool]:
        """Say which keys no newer file had, and remember them."""
        if self.add(keys, file) == len(keys):
            return [True] * len(keys)
        with closing(self._database.cursor()) as cursor:
            return [cursor.execute("SELECT file FROM seen WHERE key = ?", (key,)).fetchone()[0] == file for key in keys]

    def close(self) -> None:
        """Remove the file."""
        self._database.close()
        self._folder.cleanup()


def _digests(batch: pa.RecordBatch, key: Sequence[Column]) -> list[bytes]:
    columns = [_as_compared(batch.column(column.name), column.type) for column in key]
    return [blake2b(repr(values).encode(errors="surrogatepass"), digest_size=16).digest()
            for values in zip(*columns, strict=True)]  # fmt: skip


def _as_compared(values: pa.Array[Any], kind: pa.DataType) -> list[Any]:
    """Return values of which two are equal where a destination would find them equal."""
    if UUID.equals(kind):
        values = pc.utf8_lower(values)
    found = values.to_pylist()
    return [None if value is None else value + 0.0 for value in found] if pa.types.is_floating(kind) else found
