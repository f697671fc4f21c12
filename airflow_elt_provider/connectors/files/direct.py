"""Files that are left where they lie: whoever loads them reads them there, straight into the target's server."""

from __future__ import annotations

import csv
import io
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Protocol, Self, runtime_checkable

import pyarrow as pa

from airflow_elt_provider.connectors.files.listing import LocalCopy, changed
from airflow_elt_provider.connectors.files.selection import FileColumns, Selection
from airflow_elt_provider.core.file_format import FileFormat
from airflow_elt_provider.core.modes import WriteMode
from airflow_elt_provider.core.plan import Extraction
from airflow_elt_provider.core.protocols import ChangeSet, StoredFile
from airflow_elt_provider.core.staged_file import InPlace, Role, StagedFile
from airflow_elt_provider.core.types import JSON, UUID, parse_type
from airflow_elt_provider.errors import ConfigurationError
from airflow_elt_provider.formats.csv_watch import ByteStream, WatchedCsv

_HEAD_BYTES: Final = 64 << 10
_KEPT_BYTES: Final = 4 << 20
"""Up to this size, together, files are asked for once: what their headers were read from is what is loaded."""
_MOST_FILES: Final = 100
"""Each file is a COPY of its own: 3,000 small ones take 6.0 s, and 3.7 s when they are gathered into staged files."""
_OTHERS: Final = (";", "\t", "|")
_UTF_8: Final = frozenset({"utf8", "utf_8", "utf_8_sig", "ascii", "us_ascii"})
_KINDS: Final[tuple[Callable[[pa.DataType], bool], ...]] = (
    pa.types.is_string, pa.types.is_integer, pa.types.is_boolean, pa.types.is_floating, pa.types.is_decimal,
    pa.types.is_date, pa.types.is_time, pa.types.is_timestamp, JSON.equals, UUID.equals,
)  # fmt: skip


@runtime_checkable
class StreamsFiles(Protocol):
    """A store that lends a file's bytes as they arrive."""

    def stream(self, file: StoredFile) -> AbstractContextManager[ByteStream]:
        """Open a file as it was listed. :raises FileNotFoundError: when it is gone, or is another by now."""


@dataclass
class Direct:
    """CSV files as a server reads them itself, with nothing to be changed on the way.

    :param go_on: called with a file's URI, now and then; raises to stop.
    :param forms: of the files, by URI.
    """

    store: StreamsFiles
    files: Sequence[StoredFile]
    forms: Mapping[str, FileFormat]
    go_on: Callable[[str], None]
    headers: dict[str, tuple[str, ...]] = field(default_factory=dict)
    _kept: dict[StoredFile, bytes] = field(default_factory=dict, repr=False)

    @classmethod
    def look(
        cls, store: object, files: Sequence[StoredFile], extraction: Extraction, go_on: Callable[[str], None]
    ) -> Self | None:
        """Look at the header rows; None where any file has to be read by us.

        :raises TransientError: when a file is not as it was listed any more.
        """
        keyed = bool(extraction.primary_key) and extraction.mode is not WriteMode.APPEND
        if keyed and len(files) > 1:  # of one key in two files the later one may have to win
            return None
        if len(files) > _MOST_FILES:
            return None
        told = all(file.version for file in files)
        if not (files and told and extraction.in_place and isinstance(store, StreamsFiles) and _whole(extraction)):
            return None
        forms = {file.uri: form for file in files if (form := _plain(file.uri, extraction.file_format))}
        found = cls(store, files, forms, go_on)
        return found if len(forms) == len(files) and all(map(found._has_header, files)) else None

    @property
    def copies(self) -> list[LocalCopy]:
        """The files as if they were at hand; nobody reads them."""
        return [LocalCopy(file, Path(), (0, 0, 0, 0), lent=True) for file in self.files]

    @property
    def columns(self) -> list[FileColumns]:
        """What the files say of their columns."""
        return [FileColumns(uri, header) for uri, header in self.headers.items()]

    def offer(self, changes: ChangeSet, selection: Selection) -> ChangeSet:
        """Return the same changes with the files themselves in the place of their rows."""
        named = dict(zip(selection.names, selection.schema.names, strict=True))
        listed = [
            StagedFile(file.uri, "", 0, file.bytes, Role.EXTERNAL, in_place=self._in_place(file, named))
            for file in self.files
        ]
        return replace(changes, streams=[], in_place=listed, lend=self._lender(dict(selection.columns)))

    def _in_place(self, file: StoredFile, named: Mapping[str, str]) -> InPlace:
        form, columns = self.forms[file.uri], tuple(named[name] for name in self.headers[file.uri])
        return InPlace(file.version, columns, form.delimiter, form.compression)

    # --- reading ---

    def _has_header(self, file: StoredFile) -> bool:
        """Read the names of a file's columns; False for a header row that has to be looked at with more care."""
        self.go_on(file.uri)
        form = self.forms[file.uri]
        small = file.bytes + sum(map(len, self._kept.values())) <= _KEPT_BYTES
        with self._opened(file) as body:
            head = _all(body) if small else body.read(_HEAD_BYTES)
        if small:
            self._kept[file] = head
        self.headers[file.uri] = _names(_Unpacked(io.BytesIO(head), form.compression), form.delimiter)
        return bool(self.headers[file.uri])

    def _lender(self, kinds: Mapping[str, pa.DataType]) -> Callable[[StagedFile], AbstractContextManager[WatchedCsv]]:
        known = {file.uri: file for file in self.files}

        @contextmanager
        def lend(listed: StagedFile) -> Iterator[WatchedCsv]:
            file, form = known[listed.uri], self.forms[listed.uri]
            columns = {name: kinds[name] for name in self.headers[file.uri]}
            with self._opened(file) as body:
                text = _Unpacked(_Stoppable(body, file.uri, self.go_on), form.compression)
                yield WatchedCsv(file.uri, text, columns, form.delimiter)

        return lend

    @contextmanager
    def _opened(self, file: StoredFile) -> Iterator[ByteStream]:
        try:
            if file in self._kept:
                yield io.BytesIO(self._kept.pop(file))
            else:
                with self.store.stream(file) as body:
                    yield body
        except FileNotFoundError as error:
            raise changed(file.uri) from error


def _whole(extraction: Extraction) -> bool:
    """Whether all columns are wanted, as they are."""
    types = map(parse_type, extraction.column_types.values())
    left_out = extraction.columns is not None or extraction.exclude_columns
    by_us = extraction.masked_columns or extraction.max_quarantined_rows or left_out
    return not by_us and all(any(fits(kind) for fits in _KINDS) for kind in types)


def _plain(uri: str, wanted: FileFormat) -> FileFormat | None:
    """Return the format of a file that a server reads as we do; None for any other."""
    try:
        form = wanted.of(uri)
    except ConfigurationError:
        return None
    known = FileFormat(type="csv", compression=form.compression, charset=form.charset, delimiter=form.delimiter)
    utf_8 = form.charset.lower().replace("-", "_") in _UTF_8
    readable = form == known and utf_8 and form.compression in {"none", "gzip"} and form.delimiter.isascii()
    return form if readable else None


@dataclass
class _Stoppable:
    """A body that ends with an error once somebody said stop."""

    body: ByteStream
    uri: str
    go_on: Callable[[str], None]

    def read(self, size: int) -> bytes:
        self.go_on(self.uri)
        return self.body.read(size)


class _Unpacked:
    """A body's text; a gzip file may have several members."""

    def __init__(self, body: ByteStream, compression: str) -> None:
        self._body = body
        self._unpacker: Any = _gzip() if compression == "gzip" else None
        self._packed = b""

    def read(self, size: int) -> bytes:
        """Return the next bytes, not more than ``size``; b"" at the end.

        :raises EOFError: when the file was cut off.
        """
        if self._unpacker is None:
            return self._body.read(size)
        while True:
            self._packed = self._packed or self._body.read(size)
            if not self._packed:
                if not self._unpacker.eof:
                    raise EOFError("the compressed file ends in the middle")
                return b""
            if self._unpacker.eof:
                self._unpacker = _gzip()
            data: bytes = self._unpacker.decompress(self._packed, size)
            self._packed = self._unpacker.unconsumed_tail or self._unpacker.unused_data
            if data:
                return data


def _gzip() -> Any:
    return zlib.decompressobj(zlib.MAX_WBITS | 16)


def _all(body: ByteStream) -> bytes:
    return b"".join(iter(lambda: body.read(_KEPT_BYTES), b""))


def _names(body: ByteStream, delimiter: str) -> tuple[str, ...]:
    """Return the header row of a text; () unless it is the first line, plain and whole."""
    try:
        head = body.read(_HEAD_BYTES)
        text = head[: head.rfind(b"\n") + 1].decode("utf-8-sig")
        names = tuple(next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True), ()))
    except (ValueError, csv.Error, zlib.error, EOFError):
        return ()
    alone = len(names) == 1 and any(sign in names[0] for sign in _OTHERS)  # another delimiter, most likely
    return () if alone or "" in names or len(set(names)) < len(names) else names
