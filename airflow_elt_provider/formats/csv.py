"""CSV and its kin, as Arrow reads them, which forgives text after a closing quote."""

from __future__ import annotations

import csv
import io
import secrets
import zlib
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.csv as pacsv

from airflow_elt_provider.core.file_format import FileFormat
from airflow_elt_provider.core.quarantine import Quarantine
from airflow_elt_provider.errors import DataError
from airflow_elt_provider.formats.blocks import BLOCK_BYTES, BlockStream
from airflow_elt_provider.formats.charset import Marks, shown, spoken_charset
from airflow_elt_provider.formats.csv_quick import quick_types, quick_values
from airflow_elt_provider.formats.csv_sieve import CsvSieve, Ending, Lines
from airflow_elt_provider.formats.dialect import Dialect, TooLongError, without_lines
from airflow_elt_provider.formats.fields import Field, cut, implied_types, refuse_unknown_times, text_fields
from airflow_elt_provider.formats.sieve import Sieve
from airflow_elt_provider.formats.text_file import PIECE_BYTES, as_text, refuse_no_text, text_blocks, unreadable

if TYPE_CHECKING:
    from typing import TextIO

_TOO_LONG: Final = "straddling"
"""What Arrow says of a row that is longer than a block."""
_OTHERS: Final = (";", "\t", "|")
"""What separates fields elsewhere."""


@dataclass(frozen=True)
class CsvFile:
    """A file to read.

    An empty field is NULL; a quoted one (``""``) is the empty text, and NULL for every other type. Fields are quoted
    with ``"``, doubled inside; quoted ones may hold commas and line breaks. ``form`` has it otherwise.
    :class:`~airflow_elt_provider.formats.table_file.TableFile` says what the methods promise.

    :param name: what errors call it, and what tells compression and delimiter where ``form`` leaves them open.
    :param hidden: columns whose values no error may show.
    """

    path: Path
    name: str
    hidden: Collection[str] = ()
    form: FileFormat = FileFormat("csv")  # noqa: RUF009 - a frozen value

    def header(self) -> tuple[str, ...]:
        """Return the names of the columns.

        :raises DataError: when there is no header row, or one that cannot be meant.
        :raises ConfigurationError: for a time format of a column that is not there.
        """
        names = self._columns
        refuse_unknown_times(self._form.time_formats, names, self.name)
        return names

    @cached_property
    def _columns(self) -> tuple[str, ...]:
        with self._errors():
            refuse_no_text(self.path, self.name, self._form)
            if not self._form.header:
                return self._form.columns
            with closing(self._text(errors="surrogateescape")) as text:
                # Not more than a row may have: a quote that is never closed would make one row of a whole file.
                start = io.StringIO(text.read(BLOCK_BYTES + 1), newline="")
                at, names = next(((line, row) for line, row in self._records(start) if row), (1, []))
                if not self._dialect.odd and start.tell() > BLOCK_BYTES:
                    raise TooLongError
                ",".join(names).encode()
        for bad, what, hint in _problems(names, at, self._form.delimiter):
            if bad:
                raise DataError(f"{self.name}: {what}.", hint=hint)
        return tuple(names)

    def types(self) -> Mapping[str, pa.DataType]:
        """CSV has no types; columns with a time format have one."""
        return implied_types(self._form.time_formats)

    def batches(
        self,
        columns: Sequence[tuple[str, pa.DataType]],
        schema: pa.Schema,
        quarantine: Quarantine | None = None,
        key: Collection[str] = (),
    ) -> Iterator[pa.RecordBatch]:
        """Give the rows."""
        self.header()
        fields = text_fields(columns, self._form.time_formats, self._charset)
        sieve = Sieve(self.name, fields, schema, quarantine, key, self.hidden, _charset_hint(self._charset))
        done = 0
        with closing(self._quick(sieve)) as quick:
            while (batch := next(quick)) is not None and batch is not True:
                done += batch.num_rows
                yield batch
        if batch is None:
            yield from self._careful(sieve, done)

    # --- reading ---

    def _quick(self, sieve: Sieve) -> Generator[Any]:
        """Give batches while all is well, as fast as Arrow can; then True at the end, or None where something is not.

        What is wrong the careful way finds out, from there on.
        """
        ending = Ending(self._end)
        with self._errors(), closing(self._stream()) as source:
            batches = self._open(source, sieve.fields, ending, quick_types(sieve.fields, self._form.time_formats))
            while True:
                try:
                    batch = next(batches)
                    arrays = quick_values(batch, sieve.fields)
                    if sieve.open and sieve.keyless(arrays):
                        break
                except StopIteration:
                    yield True if ending.seen else None
                    return
                except pa.ArrowInvalid:
                    break
                yield pa.RecordBatch.from_arrays(arrays, schema=sieve.schema)
        yield None

    def _careful(self, sieve: Sieve, done: int) -> Iterator[pa.RecordBatch]:
        """Give batches from a row on, value by value where one of them cannot be read."""
        ending, header, marks = Ending(self._end), int(self._form.header), Marks()
        columns = [(field.name, field.type) for field in sieve.fields]
        sieve = replace(sieve, fields=text_fields(columns, self._form.time_formats, self._charset, marks))
        rows = CsvSieve(sieve, self._lines(), ending, header + done)
        kinds = dict.fromkeys([name for name, _ in columns], pa.binary())
        with self._errors(ending), closing(self._stream(marks, marked=True)) as source:
            for batch in self._open(source, sieve.fields, rows.note, kinds):
                passed = min(done, batch.num_rows)
                done -= passed
                if passed < batch.num_rows:
                    yield rows.sift(batch.slice(passed) if passed else batch)
            if not ending.seen:
                raise self._open_quote()
            rows.finish()

    def _open(
        self, source: io.RawIOBase, fields: Sequence[Field], bad: Any, kinds: Mapping[str, pa.DataType]
    ) -> Iterator[pa.RecordBatch]:
        form, odd = self._form, self._dialect.odd
        names = self._columns
        read: Any = pacsv.open_csv  # its stubs know no streams of Python's
        signs: dict[str, Any] = {}
        if not odd:
            signs = {"delimiter": form.delimiter, "quote_char": form.quote or False,
                     "escape_char": self._dialect.escape or False}  # fmt: skip
        yield from read(
            source,
            # In one thread: only then rows are numbered.
            pacsv.ReadOptions(
                use_threads=False, block_size=BLOCK_BYTES, column_names=None if form.header else list(names)
            ),
            # An empty line is nothing, except where there is one column only: there it is a NULL.
            pacsv.ParseOptions(
                newlines_in_values=True, ignore_empty_lines=len(names) > 1, invalid_row_handler=bad, **signs
            ),
            pacsv.ConvertOptions(
                column_types=dict(kinds), include_columns=[field.name for field in fields],
                null_values=[""] if odd else list(form.null_values), strings_can_be_null=True,
                quoted_strings_can_be_null=form.quoted_nulls and not odd, check_utf8=True,
            ),
        )  # fmt: skip

    # --- refusals ---

    @contextmanager
    def _errors(self, bad: Ending | None = None) -> Iterator[None]:
        try:
            yield
        except UnicodeEncodeError as error:
            hint = _charset_hint(self._charset)
            raise DataError(f"The header row of {self.name} is not {self._charset}.", hint=hint) from error
        except (pa.ArrowInvalid, pa.ArrowKeyError, csv.Error, zlib.error, EOFError, OSError, TooLongError) as error:
            if isinstance(error, OSError) and error.errno:  # the disk's, not the file's
                raise
            raise self._unreadable(error, bad.first if bad else None) from error

    def _unreadable(self, error: Exception, row: Any) -> DataError:
        if row is not None and self._mark in row.text:
            return self._open_quote()
        if row is not None:
            line = f", line {self._lines().line(row.number)}" if row.number else ""
            text = "" if self.hidden else f": {cut(shown(row.text.encode()))}"
            return DataError(
                f"{self.name}{line}: {row.actual_columns} fields instead of {row.expected_columns}{text}.",
                hint="correct the file: quote fields that hold delimiters, quotes or line breaks",
            )
        if isinstance(error, TooLongError) or _TOO_LONG in str(error):
            return DataError(
                f"{self.name}: a row is longer than {BLOCK_BYTES >> 20} MiB, or a quote is never closed.",
                hint="correct the file",
            )
        return unreadable(self.name, error)

    def _open_quote(self) -> DataError:
        """Return the error of a file that ends inside of quotes: names the line where that row begins."""
        line = 1
        with closing(self._text()) as text:
            for line, _ in self._records(text):  # noqa: B007 - the last one
                pass
        return DataError(
            f"{self.name}: the quotes do not match, at or after line {line + self._form.skip_lines}.",
            hint="correct the file: it may have been cut off",
        )

    # --- bytes ---

    @cached_property
    def _form(self) -> FileFormat:
        return self.form.of(self.name)

    @cached_property
    def _dialect(self) -> Dialect:
        return Dialect(self._form)

    @cached_property
    def _mark(self) -> str:
        """What no file holds: it stands behind the last row, and shows that no quote is open there."""
        return f"\x1a{secrets.token_hex(8)}\x1a"

    @property
    def _end(self) -> str:
        """A row with one field too many."""
        return self._mark + (self._form.delimiter if not self._dialect.odd else ",") * len(self._columns)

    @property
    def _charset(self) -> str:
        return spoken_charset(self._form.charset)

    def _records(self, text: TextIO) -> Iterator[tuple[int, list[str]]]:
        return self._dialect.records(text, BLOCK_BYTES)

    def _lines(self) -> Lines:
        return Lines(self._text, self._records, self._form.skip_lines)

    def _blocks(self, *, marked: bool = False) -> Generator[bytes]:
        text = text_blocks(self.path, self._form, marked=marked)
        return without_lines(text, self._form.skip_lines) if self._form.skip_lines else text

    def _text(self, errors: str = "replace", *, marked: bool = False) -> TextIO:
        return as_text(self._blocks(marked=marked), errors=errors, newline="")

    def _stream(self, watch: Callable[[bytes], None] | None = None, *, marked: bool = False) -> BlockStream:
        """Return what Arrow reads."""
        found = self._straight(marked=marked) if self._dialect.odd else self._blocks(marked=marked)
        return BlockStream(found, partial(_ended, self._end), watch)

    def _straight(self, *, marked: bool) -> Generator[bytes]:
        with closing(self._text(errors="surrogateescape", marked=marked)) as text:
            rows: list[str] = []
            size = 0
            for row in self._dialect.straight(text, len(self._columns), BLOCK_BYTES):
                rows.append(row)
                size += len(row)
                if size > PIECE_BYTES:
                    yield "".join(rows).encode("utf-8", "surrogateescape")
                    rows, size = [], 0
            yield "".join(rows).encode("utf-8", "surrogateescape")


def _ended(end: str, last: bytes) -> bytes:
    return (b"" if last in {b"", b"\r", b"\n"} else b"\n") + end.encode() + b"\n"


def _charset_hint(charset: str) -> str:
    return f"write the file in {charset}, or say what it is: file_format={{'charset': 'cp932'}}, for instance"


def _problems(names: Sequence[str], at: int, delimiter: str) -> list[tuple[bool, str, str]]:
    shown = ", ".join(map(repr, names))
    twice = sorted({name for name in names if names.count(name) > 1})
    other = next((sign for sign in _OTHERS if len(names) == 1 and delimiter == "," and sign in names[0]), "")
    return [
        (not names, "it is empty, without even a header row", "write the names of the columns into the first row"),
        (bool(other), f"its header row is one column, {shown}",
         f"separate fields by commas, or say what does: file_format={{'delimiter': {other!r}}}"),
        # Where there is one column only, Arrow would take the empty line for the header.
        (len(names) == 1 and at > 1, f"its header row {shown} comes after an empty line", "begin with the header row"),
        ("" in names, f"a column of its header row has no name: {shown}", "name every column"),
        (bool(twice), f"its header row names {', '.join(map(repr, twice))} twice", "give columns different names"),
    ]  # fmt: skip
