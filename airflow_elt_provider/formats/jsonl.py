"""JSON lines: an object on each line, every value as it is written."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from airflow_elt_provider.core.file_format import FileFormat
from airflow_elt_provider.core.quarantine import Quarantine, RefusedRow
from airflow_elt_provider.core.types import JSON
from airflow_elt_provider.errors import DataError
from airflow_elt_provider.formats.charset import shown, spoken_charset
from airflow_elt_provider.formats.fields import cut, implied_types, refuse_unknown_times, text_fields
from airflow_elt_provider.formats.json_object import NoObjectError, read_object, refuse_no_lines
from airflow_elt_provider.formats.sieve import Sieve, Stray
from airflow_elt_provider.formats.text_file import as_text, refuse_no_text, text_blocks, unreadable

LINE_BYTES: Final = 16 << 20
"""The longest line that is read."""
HEAD_LINES: Final = 10_000
"""Lines whose keys are the columns, unless ``columns`` names them, within the first :data:`HEAD_TEXT` bytes."""
HEAD_TEXT: Final = 2 << 20
_BATCH_BYTES: Final = 2 << 20
_BATCH_ROWS: Final = 10_000
_NAME_THEM: Final = "name the keys that are to be read: file_format={'type': 'jsonl', 'columns': [...]}"
_Row = dict[str, str | None]


@dataclass
class _Batch:
    """Rows that are told into keys, the lines where they stand, and the lines between them that are none."""

    rows: list[_Row] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    strays: list[Stray] = field(default_factory=list)
    size: int = 0


@dataclass(frozen=True)
class JsonLines:
    """A file to read.

    A key that is missing, and ``null``, are NULL. Numbers, ``true`` and ``false``, objects and lists are the text that
    stands in the file. Keys are the columns: those that ``form`` names, or those of the first lines; then a line
    further down with another key is refused, lest its value be lost.
    :class:`~airflow_elt_provider.formats.table_file.TableFile` says what the methods promise.

    :param name: what errors call it, and what tells the compression where ``form`` leaves it open.
    :param hidden: columns whose values no error may show.
    """

    path: Path
    name: str
    hidden: Collection[str] = ()
    form: FileFormat = FileFormat("jsonl")  # noqa: RUF009 - a frozen value

    def header(self) -> tuple[str, ...]:
        """Return the names of the columns, in the order in which they are met.

        :raises DataError: when it is no text with a JSON object on each line, or has no keys.
        :raises ConfigurationError: for a time format of a key that is not there.
        """
        refuse_unknown_times(self._form.time_formats, self._columns, self.name)
        return self._columns

    @cached_property
    def _columns(self) -> tuple[str, ...]:
        with self._errors():
            refuse_no_text(self.path, self.name, self._form)
            names = dict.fromkeys(self._form.columns) or self._met()
        if not names:
            raise DataError(f"{self.name} has no objects with keys in its first lines.", hint=_NAME_THEM)
        return tuple(names)

    def types(self) -> Mapping[str, pa.DataType]:
        """JSON has no types of ours; keys with a time format have one."""
        return implied_types(self._form.time_formats)

    def batches(
        self,
        columns: Sequence[tuple[str, pa.DataType]],
        schema: pa.Schema,
        quarantine: Quarantine | None = None,
        key: Collection[str] = (),
    ) -> Iterator[pa.RecordBatch]:
        """Give the rows."""
        known = {*self.header(), *(name for name, _ in columns)}
        fields = text_fields(columns, self._form.time_formats, f"{self._charset}, or half of a surrogate pair")
        sieve = Sieve(self.name, fields, schema, quarantine, key, self.hidden)
        with self._errors():
            for batch in self._told(sieve, None if self._form.columns else known):
                raw = pa.RecordBatch.from_arrays(
                    [_column(batch.rows, name) for name, _ in columns], names=[name for name, _ in columns]
                )
                yield sieve.sift(raw, lambda at: f"line {batch.lines[at]}", batch.strays)  # noqa: B023

    # --- inside ---

    def _told(self, sieve: Sieve, known: AbstractSet[str] | None) -> Iterator[_Batch]:
        batch = _Batch()
        raw = frozenset(field.name for field in sieve.fields if field.type.equals(JSON))
        for number, line in self._lines():
            batch.size += len(line)
            try:
                row = _known(read_object(line, raw), known)
            except NoObjectError as error:
                batch.strays.append((len(batch.rows), partial(self._stray, number, line, error)))
                if not sieve.open:
                    raise self._refusal(number, line, error) from error
            else:
                batch.rows.append(row)
                batch.lines.append(number)
            if batch.size >= _BATCH_BYTES or len(batch.lines) + len(batch.strays) >= _BATCH_ROWS:
                yield batch
                batch = _Batch()
        yield batch

    def _stray(self, number: int, line: str, error: NoObjectError) -> RefusedRow:
        return RefusedRow(error.reason, place=f"{self.name}, line {number}", text=_shown(line))

    def _refusal(self, number: int, line: str, error: NoObjectError) -> DataError:
        text = "" if self.hidden else f": {cut(_shown(line))}"
        return DataError(f"{self.name}, line {number}: {error.reason}{text}.", hint=error.hint)

    def _met(self) -> dict[str, None]:
        """Return the keys of the first lines."""
        names: dict[str, None] = {}
        size = 0
        for count, (_, line) in enumerate(self._lines()):
            size += len(line)
            if count >= HEAD_LINES or (size > HEAD_TEXT and count):
                break
            if not count and line.lstrip().startswith("["):
                refuse_no_lines(self.name, line)
            try:
                names |= dict.fromkeys(read_object(line))
            except NoObjectError:
                if not count:
                    refuse_no_lines(self.name, line)
        return names

    def _lines(self) -> Iterator[tuple[int, str]]:
        """Give the lines that are not empty, with their numbers. :raises DataError: for one that is too long."""
        with closing(as_text(text_blocks(self.path, self._form), errors="surrogateescape", newline="\n")) as text:
            number = 0
            while line := text.readline(LINE_BYTES):
                number += 1
                if len(line) >= LINE_BYTES:
                    raise DataError(
                        f"{self.name}, line {number}: it is longer than {LINE_BYTES >> 20} MiB.",
                        hint="write one object on each line",
                    )
                if number > self._form.skip_lines and line.strip():
                    yield number, line.rstrip("\r\n")

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (pa.ArrowInvalid, zlib.error, EOFError, OSError) as error:
            if isinstance(error, OSError) and error.errno:  # the disk's, not the file's
                raise
            raise unreadable(self.name, error) from error

    @cached_property
    def _form(self) -> FileFormat:
        return self.form.of(self.name)

    @property
    def _charset(self) -> str:
        return spoken_charset(self._form.charset)


def _known(row: _Row, known: AbstractSet[str] | None) -> _Row:
    """Return a row whose keys are all columns. :raises NoObjectError: names one that is none."""
    if known is not None and not row.keys() <= known:
        others = [name for name in row if name not in known]
        raise NoObjectError(f"has the key {others[0]!r}, which none of the file's first lines has", _NAME_THEM)
    return row


def _column(rows: Sequence[_Row], name: str) -> pa.Array[Any]:
    """Return a key's values as bytes."""
    texts = [row.get(name) for row in rows]
    try:
        return pa.array(texts, pa.string()).cast(pa.binary())
    except (UnicodeEncodeError, pa.ArrowInvalid):
        return pa.array([None if text is None else _bytes(text) for text in texts], pa.binary())


def _bytes(text: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def _shown(line: str) -> str:
    return shown(_bytes(line)) or ""
