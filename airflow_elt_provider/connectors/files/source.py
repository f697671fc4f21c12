"""Files as a source."""

from __future__ import annotations

import json
import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from typing import Any

import pyarrow as pa

from airflow_elt_provider.connectors.files.listing import Listing, LocalCopy
from airflow_elt_provider.connectors.files.pattern import FilePattern
from airflow_elt_provider.connectors.files.selection import Selection, refuse_other_header, select_columns
from airflow_elt_provider.connectors.files.settings import FilesSettings
from airflow_elt_provider.core.checkpoint import Position
from airflow_elt_provider.core.modes import WriteMode
from airflow_elt_provider.core.plan import Extraction
from airflow_elt_provider.core.protocols import ChangeSet, Memory, Stage
from airflow_elt_provider.core.quarantine import Quarantine
from airflow_elt_provider.core.table_ref import TableRef
from airflow_elt_provider.errors import ConfigurationError, TransientError
from airflow_elt_provider.formats.csv import CsvFile


class FilesSource:
    """Reads the CSV files of a bucket or a folder, all of them every time.

    :class:`airflow_elt_provider.core.protocols.Source` says what the methods promise.
    """

    def __init__(self, settings: FilesSettings) -> None:
        self._settings = settings
        self._cancelled = threading.Event()

    def __repr__(self) -> str:
        return f"FilesSource({self._settings.conn_id!r})"

    def changes(
        self,
        extraction: Extraction,
        since: Position | None,
        until: Position | None = None,
        memory: Memory | None = None,
    ) -> AbstractContextManager[ChangeSet]:
        """Give the rows of all files that match; they must stay as they are until the stream is drained.

        Everything is fetched, and every header looked at, before the first row is read.
        """
        del until, memory  # what is read does not depend on a position
        return self._changes(extraction, since)

    @contextmanager
    def _changes(self, extraction: Extraction, since: Position | None) -> Iterator[ChangeSet]:
        self._cancelled.clear()
        pattern = self._pattern(extraction)
        with ExitStack() as stack:
            with self._own_words():
                stage = self._settings.open_folder(pattern.root)
                listing = Listing.of(stage, pattern)
                copies = [self._fetched(stack, stage, listing, at) for at in range(len(listing.files))]
                listing.refuse_change()
            selection = _select(copies, extraction)
            position = Position(
                extraction.capture.name, f"files of {pattern.store}", selection.schema.primary_key, selection.names,
                appends=extraction.mode is WriteMode.APPEND,
            )  # fmt: skip
            if since:
                since.refuse_change(position, extraction.stream)
            quarantine = Quarantine.of(extraction)
            rows = stack.enter_context(closing(self._rows(copies, selection, extraction, quarantine)))
            yield ChangeSet(
                schema=selection.schema, streams=[rows], position=position, complete=True, cursor="", backfill={},
                interval=None, facts=_facts(listing), notes=[_note(listing)], quarantine=quarantine,
            )  # fmt: skip

    def tables(self, schema: str) -> Sequence[TableRef]:
        """Files are no tables. :raises ConfigurationError: always."""
        raise ConfigurationError(
            f"Connection {self._settings.conn_id!r} leads to files: there are no tables of schema {schema!r}.",
            hint="load the files of each table with a SyncTableOperator, path='...'",
        )

    def cancel(self) -> None:
        """Stop after the current batch, or file on its way."""
        self._cancelled.set()

    # --- inside ---

    def _pattern(self, extraction: Extraction) -> FilePattern:
        conn_id, scheme = self._settings.conn_id, self._settings.scheme
        if extraction.path is None:
            raise ConfigurationError(
                f"Connection {conn_id!r} leads to files, and {extraction.source} is none.",
                hint="say which ones: path='...' instead of source_table or query",
            )
        pattern = FilePattern.parse(extraction.path)
        if pattern.scheme != scheme:
            raise ConfigurationError(
                f"Connection {conn_id!r} leads to {scheme}:// files, and path={pattern.text!r} is elsewhere.",
                hint="use a connection of type aws for s3://, google_cloud_platform for gs:// and fs for folders",
            )
        return pattern

    @contextmanager
    def _own_words(self) -> Iterator[None]:
        """Let the errors of a store speak of this connection: the store knows itself as a stage."""
        try:
            yield
        except ConfigurationError as error:
            hint = error.hint.replace("the stage's connection", f"connection {self._settings.conn_id!r}")
            raise ConfigurationError(error.message, hint=hint) from error

    def _fetched(self, stack: ExitStack, stage: Stage, listing: Listing, at: int) -> LocalCopy:
        self._refuse_cancelled(listing.files[at].uri)
        return stack.enter_context(LocalCopy.lend(stage, listing.files[at]))

    def _rows(
        self, copies: Sequence[LocalCopy], selection: Selection, extraction: Extraction, quarantine: Quarantine
    ) -> Generator[pa.RecordBatch]:
        schema = selection.schema.wire_schema()
        key = () if extraction.mode is WriteMode.APPEND else extraction.primary_key or ()
        for copy in copies:
            file = CsvFile(copy.path, copy.file.uri, extraction.masked_columns)
            for batch in file.batches(selection.columns, schema, quarantine, key):
                self._refuse_cancelled(extraction.source)
                yield batch
            copy.refuse_change()

    def _refuse_cancelled(self, what: str) -> None:
        if self._cancelled.is_set():
            raise TransientError(f"Reading {what}: cancelled.", hint="clear the task to run it again")


def _csv(copy: LocalCopy) -> CsvFile:
    return CsvFile(copy.path, copy.file.uri)


def _select(copies: Sequence[LocalCopy], extraction: Extraction) -> Selection:
    """Hold all headers against the first one, and that against what is asked for."""
    first = copies[0]
    header = _csv(first).header()
    for copy in copies[1:]:
        refuse_other_header(_csv(copy).header(), copy.file.uri, header, first.file.uri)
    return select_columns(header, first.file.uri, extraction)


def _facts(listing: Listing) -> dict[str, str]:
    files: list[dict[str, Any]] = [
        {"uri": file.uri, "bytes": file.bytes, "modified": file.modified.isoformat()} for file in listing.files
    ]
    return {
        "kind": "CSV files", "source": listing.pattern.text, "files": json.dumps(files, ensure_ascii=False),
    }  # fmt: skip


def _note(listing: Listing) -> str:
    size = sum(file.bytes for file in listing.files)
    names = [file.uri.removeprefix(f"{listing.stage.root}/") for file in listing.files]
    shown = ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")  # noqa: PLR2004
    return f"{len(names)} files of {size} bytes below {listing.stage.root}: {shown}"
