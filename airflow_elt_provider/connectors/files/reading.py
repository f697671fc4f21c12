"""The rows of files, one file after the other."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Final

import pyarrow as pa

from airflow_elt_provider.connectors.files.listing import Listing, LocalCopy
from airflow_elt_provider.connectors.files.newest import NewestRows
from airflow_elt_provider.connectors.files.selection import FileColumns, Selection
from airflow_elt_provider.core.modes import WriteMode
from airflow_elt_provider.core.plan import Extraction
from airflow_elt_provider.core.protocols import StoredFile
from airflow_elt_provider.core.quarantine import Quarantine
from airflow_elt_provider.formats.table_file import table_file

log = logging.getLogger(__name__)
_SHOWN: Final = 10
_TOLD: Final = 1000


@dataclass(frozen=True)
class Reading:
    """What is read of which files.

    :param columns: what each file says of its columns.
    :param go_on: called with every batch, and what it is of; raises to stop.
    :param newest: whether the files come newest first, and of rows with one key those of the newest file are wanted.
    """

    extraction: Extraction
    copies: Sequence[LocalCopy]
    columns: Sequence[FileColumns]
    selection: Selection
    go_on: Callable[[str], None]
    newest: bool = False
    quarantine: Quarantine = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "quarantine", Quarantine.of(self.extraction))

    def rows(self) -> Generator[pa.RecordBatch]:
        """Give the rows; a file that lacks a column gives NULLs."""
        with ExitStack() as stack:
            sieve = None
            if self.newest and len(self.copies) > 1:
                sieve = stack.enter_context(NewestRows(self.selection.schema))
            for copy, columns in zip(self.copies, self.columns, strict=True):
                for batch in self._of_file(copy, columns):
                    yield sieve.sift(batch) if sieve else batch
                copy.refuse_change()
                copy.done()
                if sieve:
                    sieve.next_file()
            if sieve and sieve.dropped:
                log.info("%s: extract: %s rows left out: newer files have their keys", self.extraction.stream,
                         f"{sieve.dropped:,}")  # fmt: skip

    def _of_file(self, copy: LocalCopy, columns: FileColumns) -> Generator[pa.RecordBatch]:
        extraction, part = self.extraction, self.selection.within(columns.header)
        wanted = self.selection.schema.wire_schema()
        key = () if extraction.mode is WriteMode.APPEND else extraction.primary_key or ()
        file = table_file(copy.path, copy.file.uri, extraction.file_format, extraction.masked_columns)
        for batch in file.batches(part.columns, part.schema.wire_schema(), self.quarantine, key):
            self.go_on(extraction.source)
            yield batch if part == self.selection else _padded(batch, wanted)

    def notes(self) -> list[str]:
        """Return sentences about files that lack a column."""
        lacking = [
            (columns.uri, [name for name in self.selection.names if name not in columns.header])
            for columns in self.columns
        ]
        told = [f"{uri} lacks {', '.join(map(repr, names))}: NULL in its rows" for uri, names in lacking if names]
        return told[:_SHOWN] + ([f"{len(told) - _SHOWN} more files lack a column"] if len(told) > _SHOWN else [])


def _padded(batch: pa.RecordBatch, wanted: pa.Schema) -> pa.RecordBatch:
    arrays = [
        batch.column(name) if name in batch.schema.names else pa.nulls(batch.num_rows, wanted.field(name).type)
        for name in wanted.names
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=wanted)


def facts(listing: Listing, files: Sequence[StoredFile]) -> dict[str, str]:
    """Return what the manifest says of the files: all of them, up to a number."""
    told: list[dict[str, Any]] = [
        {"uri": file.uri, "bytes": file.bytes, "modified": file.modified.isoformat(), "version": file.version}
        for file in files[:_TOLD]
    ]
    found = {"kind": "files", "source": listing.pattern.text, "files": json.dumps(told, ensure_ascii=False)}
    if not files:
        found["rows"] = "none"
    return {**found, "more_files": str(len(files) - _TOLD)} if len(files) > _TOLD else found


def note(listing: Listing, files: Sequence[StoredFile]) -> str:
    """Return the sentence about what is read."""
    size = sum(file.bytes for file in files)
    root = listing.store.root
    names = [file.uri.removeprefix(f"{root}/") for file in files[:_SHOWN]]
    shown = ", ".join(names) + (f" and {len(files) - _SHOWN} more" if len(files) > _SHOWN else "")
    return f"{len(files)} files of {size} bytes below {root}: {shown}"
