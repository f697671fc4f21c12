"""Files as a source."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import replace

import pyarrow as pa

from airflow_elt_provider.connectors.files import doctor
from airflow_elt_provider.connectors.files.direct import Direct
from airflow_elt_provider.connectors.files.listing import Listing, LocalCopy, fetched
from airflow_elt_provider.connectors.files.new_files import NewFilesPlan
from airflow_elt_provider.connectors.files.pattern import FilePattern
from airflow_elt_provider.connectors.files.reading import Reading, facts, note
from airflow_elt_provider.connectors.files.selection import (
    FileColumns,
    Selection,
    all_columns,
    remembered_columns,
    same_columns,
)
from airflow_elt_provider.connectors.files.settings import FilesSettings, FileStore
from airflow_elt_provider.core.capture import NewFiles
from airflow_elt_provider.core.checkpoint import Position
from airflow_elt_provider.core.doctor import Finding, Inquiry
from airflow_elt_provider.core.modes import WriteMode
from airflow_elt_provider.core.plan import Extraction
from airflow_elt_provider.core.protocols import ChangeSet, Memory, StoredFile
from airflow_elt_provider.core.table_ref import TableRef
from airflow_elt_provider.core.types import type_name
from airflow_elt_provider.errors import ConfigurationError, TransientError
from airflow_elt_provider.formats.table_file import table_file


class FilesSource:
    """Reads the files of a bucket or a folder: all of them every time, or those that are new.

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
        """Give the rows of the files that match; they must stay as they are until the stream is drained.

        Everything is fetched, and every header looked at, before the first row is read.
        """
        self._cancelled.clear()
        if isinstance(extraction.capture, NewFiles):
            return self._new(extraction, extraction.capture, since, until, memory or Memory())
        return self._all(extraction, since)

    def diagnose(self, inquiry: Inquiry) -> Iterator[Finding]:
        """Check that the files can be listed and read."""
        if not inquiry.paths:
            yield doctor.nothing_named()
        for path in inquiry.paths:
            pattern = self._pattern(Extraction(stream="doctor", path=path))
            with self._own_words():
                yield from doctor.examine(Listing(self._open(pattern), pattern))

    def tables(self, schema: str) -> Sequence[TableRef]:
        """Files are no tables. :raises ConfigurationError: always."""
        raise ConfigurationError(
            f"Connection {self._settings.conn_id!r} leads to files: there are no tables of schema {schema!r}.",
            hint="load the files of each table with a SyncTableOperator, path='...'",
        )

    def cancel(self) -> None:
        """Stop after the current batch, or file on its way."""
        self._cancelled.set()

    # --- captures ---

    @contextmanager
    def _all(self, extraction: Extraction, since: Position | None) -> Iterator[ChangeSet]:
        pattern = self._pattern(extraction)
        if since:
            since.refuse_change(_position(extraction, pattern), extraction.stream)
        with self._own_words():
            listing = Listing(self._open(pattern), pattern)
            files = sorted(listing.files(), key=lambda file: file.uri)
        if not files:
            raise _no_file(pattern)
        with self._read(extraction, listing, files) as (copies, columns, direct):
            selection = same_columns(columns, extraction)
            reading = Reading(extraction, copies, columns, selection, self._go_on)
            with closing(reading.rows()) as rows:
                found = _change_set(reading, listing, [rows], _position(extraction, pattern, selection), complete=True)
                yield direct.offer(found, selection) if direct else found

    @contextmanager
    def _new(
        self, extraction: Extraction, capture: NewFiles, since: Position | None, until: Position | None, memory: Memory
    ) -> Iterator[ChangeSet]:
        pattern = self._pattern(extraction)
        if since:
            since.refuse_change(_position(extraction, pattern), extraction.stream)
        plan = NewFilesPlan.of(extraction, capture, since, until, memory)
        with self._own_words():
            listing = Listing(self._open(pattern), pattern)
            files = plan.files(listing)
        if not files and extraction.full_refresh:
            raise _no_file(pattern)
        with self._read(extraction, listing, files) as (copies, columns, direct):
            known = until or since
            selection = (
                all_columns(columns, extraction, known.columns if known else ()) if files
                else remembered_columns(known, extraction)
            )  # fmt: skip
            reading = Reading(extraction, copies, columns, selection, self._go_on, newest=plan.newest_wins)
            position = plan.position(_position(extraction, pattern, selection, since))
            with closing(reading.rows()) as rows:
                changes = _change_set(reading, listing, [rows] if files else [], position, complete=False)
                notes = [*plan.notes(), *changes.notes]
                found = replace(changes, notes=notes, outcome=lambda: plan.outcome(position))
                yield direct.offer(found, selection) if direct else found

    # --- inside ---

    @contextmanager
    def _read(
        self, extraction: Extraction, listing: Listing, files: Sequence[StoredFile]
    ) -> Iterator[tuple[list[LocalCopy], list[FileColumns], Direct | None]]:
        """Fetch files and look at their headers; only at those where the files may stay where they are."""
        for file in files:
            listing.refuse_unknown(file, extraction.file_format)
        with ExitStack() as stack:
            with self._own_words():
                direct = Direct.look(listing.store, files, extraction, self._go_on)
                if direct:
                    yield direct.copies, direct.columns, direct
                    return
                copies = stack.enter_context(fetched(listing.store, files, self._go_on))
            yield copies, [_columns(copy, extraction) for copy in copies], None

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

    def _open(self, pattern: FilePattern) -> FileStore:
        store = self._settings.open_folder(pattern.root)
        if not isinstance(store, FileStore):
            raise ConfigurationError(
                f"Connection {self._settings.conn_id!r} leads to a store that files are not read from.",
                hint=f"its class lacks a method of FileStore: {type(store).__name__}",
            )
        return store

    @contextmanager
    def _own_words(self) -> Iterator[None]:
        """Let the errors of a store speak of this connection: the store knows itself as a stage."""
        try:
            yield
        except ConfigurationError as error:
            hint = error.hint.replace("the stage's connection", f"connection {self._settings.conn_id!r}")
            raise ConfigurationError(error.message, hint=hint) from error

    def _go_on(self, what: str) -> None:
        if self._cancelled.is_set():
            raise TransientError(f"Reading {what}: cancelled.", hint="clear the task to run it again")


def _columns(copy: LocalCopy, extraction: Extraction) -> FileColumns:
    file = table_file(copy.path, copy.file.uri, extraction.file_format, extraction.masked_columns)
    return FileColumns(copy.file.uri, file.header(), file.types())


def _position(
    extraction: Extraction, pattern: FilePattern, selection: Selection | None = None, since: Position | None = None
) -> Position:
    """Return the position; columns that only earlier files had are remembered."""
    types = dict(zip(since.columns, since.shape, strict=False)) if since else {}
    if selection:
        types |= {name: type_name(kind) for name, kind in selection.columns}
    return Position(
        extraction.capture.name, f"files of {pattern.store}",
        tuple(extraction.target_name(name) for name in extraction.primary_key or ()), tuple(types),
        appends=extraction.mode is WriteMode.APPEND,
        shape=tuple(types.values()) if isinstance(extraction.capture, NewFiles) else (),
    )  # fmt: skip


def _change_set(
    reading: Reading, listing: Listing, streams: Sequence[Iterator[pa.RecordBatch]], position: Position, *,
    complete: bool,
) -> ChangeSet:  # fmt: skip
    files = [copy.file for copy in reading.copies]
    return ChangeSet(
        schema=reading.selection.schema, streams=streams, position=position, complete=complete, cursor="", backfill={},
        interval=None, facts=facts(listing, files), quarantine=reading.quarantine,
        notes=[note(listing, files), *listing.notes(), *reading.notes()],
    )  # fmt: skip


def _no_file(pattern: FilePattern) -> ConfigurationError:
    return ConfigurationError(
        f"No file matches path={pattern.text!r}.",
        hint="correct it, or wait for the files with a sensor; names are exact, capitals included, and * does not "
        "cross a slash (** does); with capture='new_files' a run without files does nothing",
    )
