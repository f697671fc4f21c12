"""Rows that are set aside: into a file beside the load, and out of the way of everything else."""

from __future__ import annotations

import hashlib
import json
import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import date, datetime, time
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from airflow_elt_provider.core.buckets import BucketKind, Buckets
from airflow_elt_provider.core.load import new_nonce
from airflow_elt_provider.core.masking import Masks
from airflow_elt_provider.core.modes import DeleteMode, WriteMode
from airflow_elt_provider.core.plan import Extraction
from airflow_elt_provider.core.protocols import ChangeSet, Stage
from airflow_elt_provider.core.quarantine import KEYLESS, Quarantine, RefusedRow
from airflow_elt_provider.core.staged_file import Role, StagedFile
from airflow_elt_provider.core.system_columns import OP
from airflow_elt_provider.engine.masking import mask_batch, masked
from airflow_elt_provider.errors import QuarantineExceededError

log = logging.getLogger(__name__)

SCHEMA: Final = pa.schema([("reason", pa.string()), ("column", pa.string()), ("place", pa.string()),
                           ("row", pa.string())])  # fmt: skip
"""Of a quarantine file. ``row`` is JSON: an object of source column -> text, or the row's text where it has no columns;
NULL where such a text may hold what has to be masked."""
_NAME: Final = "quarantine-00000.parquet"


class SetAside:
    """What one extract sets aside.

    :param folder: of the attempt, on the stage.
    :param stack: ends with the extract, and with it the file in the making.
    """

    def __init__(
        self, stage: Stage, folder: str, extraction: Extraction, masks: Masks, changes: ChangeSet, stack: ExitStack
    ) -> None:
        self._stage, self._folder, self._extraction, self._masks = stage, folder, extraction, masks
        self._source = changes
        self._quarantine = changes.quarantine or Quarantine.of(extraction)
        self._stack = stack
        self._path: Path | None = None
        self._writer: pq.ParquetWriter | None = None
        self._keys = 0
        self._lock = threading.Lock()

    # --- what passes through ---

    @property
    def changes(self) -> ChangeSet:
        """The source's changes, without rows that have no key, masked, and with the keys of the rows set aside."""
        changes = self._source
        if self._quarantine.open:
            sifted = [self._sifted(stream) for stream in changes.streams]
            changes = replace(changes, streams=[self._flushing(stream) for stream in sifted])
        changes = masked(changes, self._masks)
        if self._guards_keys:
            changes = replace(changes, keys=[*changes.keys, self._present()])
        return changes

    @property
    def _guards_keys(self) -> bool:
        """Whether rows that are not staged would be taken for deleted ones."""
        told = self._source.complete or self._source.buckets is not None
        return self._quarantine.open and told and self._extraction.deletes is not DeleteMode.IGNORE

    def _sifted(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Set aside rows that have no key, where nobody else does."""
        schema = self._source.schema
        if schema.key_enforced or not schema.primary_key or self._extraction.mode is WriteMode.APPEND:
            yield from batches
            return
        for batch in batches:
            yield self._with_key(batch, schema.primary_key)

    def _with_key(self, batch: pa.RecordBatch, key: Sequence[str]) -> pa.RecordBatch:
        if not any(batch.column(name).null_count for name in key):
            return batch
        lacking: Any = pa.array([False] * batch.num_rows)
        for name in key:
            lacking = pc.or_(lacking, pc.is_null(batch.column(name)))
        rows = batch.filter(lacking).select(list(self._source.schema.names)).to_pylist()
        self._quarantine.refuse([self._keyless(row, key) for row in rows])
        return batch.filter(pc.invert(lacking))

    def _keyless(self, row: Mapping[str, Any], key: Sequence[str]) -> RefusedRow:
        names = {target: source for source, target in self._extraction.rename.items()}
        column = next(name for name in key if row[name] is None)
        values = {names.get(name, name): text_of(value) for name, value in row.items()}
        return RefusedRow(KEYLESS, names.get(column, column), self._extraction.source, values)

    def _flushing(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield batch
            self._flush()

    def _present(self) -> Iterator[pa.RecordBatch]:
        """Give the keys of the rows set aside: they are there, so their rows in the target stay."""
        for batch in self._quarantine.take_keys():
            named = mask_batch(batch, self._masks)
            self._keys += named.num_rows
            yield named.append_column(OP, pa.array(["k"] * named.num_rows, pa.string()))

    # --- the file ---

    def _flush(self) -> None:
        with self._lock:
            rows = self._quarantine.take()
            if rows:
                self._write(rows)

    def _write(self, rows: Sequence[RefusedRow]) -> None:
        if self._writer is None:
            self._path = self._stack.enter_context(self._stage.workspace()) / _NAME
            self._writer = self._stack.enter_context(pq.ParquetWriter(self._path, SCHEMA, compression="zstd"))
        self._writer.write_batch(_batch(rows, self._row))

    def _row(self, row: RefusedRow) -> str | None:
        if not row.values:
            return None if self._masks else json.dumps(row.text, ensure_ascii=False)
        return _json({name: self._masks.text(name, value) for name, value in row.values.items()})

    def finish(self) -> tuple[StagedFile, ...]:
        """Put the file on the stage, once everything was drained; () where no row was set aside."""
        self._flush()
        if self._writer is None or self._path is None:
            return ()
        self._writer.close()
        data = self._path.read_bytes()
        uri = self._stage.put(self._path, f"{self._folder}/{_NAME}")
        count = self._quarantine.count
        log.warning("%s: extract: %s rows set aside -> %s", self._extraction.stream, f"{count:,}", uri)
        digest = hashlib.sha256(data).hexdigest()
        return (StagedFile(uri, digest, count, len(data), Role.QUARANTINE),)

    def exceeded(self, error: QuarantineExceededError) -> QuarantineExceededError:
        """Put what was set aside on the stage, and return the error that names the file."""
        files = self.finish()
        return QuarantineExceededError(error.message, hint=f"{error.hint}; see {files[0].uri}") if files else error

    def settled(self) -> tuple[bool, Buckets | None]:
        """Return whether the load is the whole table, and its buckets, now that it is known what is missing."""
        complete, buckets = self._source.complete, self._source.buckets
        if not self._guards_keys or not complete:
            return complete, buckets
        if self._quarantine.illegible:
            log.warning("%s: extract: nothing is deleted this time: some rows set aside could be any",
                        self._extraction.stream)  # fmt: skip
            return False, None
        # All keys that are there are staged, but not all rows: what is neither is gone.
        return (False, Buckets(BucketKind.ALL, ())) if self._keys else (complete, buckets)


class SetAsideByMerge:
    """Puts the rows that one merge cannot take on the stage, in a file of their own beside the load's.

    Their values come from the stage, and are masked where they have to be. A merge that is tried again finds the same
    rows, and does not write them twice.

    :param folder: of the load, on the stage.
    """

    def __init__(self, stage: Stage, folder: str, stream: str) -> None:
        self._stage, self._folder, self._stream = stage, folder, stream
        self._written: tuple[Sequence[RefusedRow], str] = ((), "")

    def __call__(self, rows: Sequence[RefusedRow]) -> str:
        """Write the rows and return the file's URI."""
        if rows != self._written[0]:
            self._written = (rows, self._put(rows))
        return self._written[1]

    def _put(self, rows: Sequence[RefusedRow]) -> str:
        with self._stage.workspace() as folder:
            path = folder / _NAME
            pq.write_table(
                pa.Table.from_batches([_batch(rows, lambda row: _json(row.values))]), path, compression="zstd"
            )
            uri = self._stage.put(path, f"{self._folder}/{new_nonce()}/{_NAME}")
        log.warning("%s: merge: %s rows set aside -> %s", self._stream, f"{len(rows):,}", uri)
        return uri


def _batch(rows: Sequence[RefusedRow], text: Callable[[RefusedRow], str | None]) -> pa.RecordBatch:
    columns = zip(*((row.reason, row.column, row.place, text(row)) for row in rows), strict=True)
    return pa.RecordBatch.from_arrays([pa.array(each, pa.string()) for each in columns], schema=SCHEMA)


def _json(values: Mapping[str, str | None]) -> str:
    return json.dumps(values, ensure_ascii=False)


def text_of(value: Any) -> str | None:
    """Return a value's text for a quarantine file."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, bool):
        return str(value).lower()
    return value.isoformat() if isinstance(value, date | datetime | time) else str(value)
