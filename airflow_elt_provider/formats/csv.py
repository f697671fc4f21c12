"""CSV: RFC 4180 in UTF-8, with a header row; as Arrow reads it, which forgives text after a closing quote."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import pyarrow as pa
import pyarrow.csv as pacsv

from airflow_elt_provider.core.quarantine import Quarantine
from airflow_elt_provider.errors import DataError
from airflow_elt_provider.formats.csv_sieve import Lines, Sieve, is_text, records, spoken
from airflow_elt_provider.formats.text_values import first_bad, typed

if TYPE_CHECKING:
    from typing import TextIO

BLOCK_BYTES: Final = 2 << 20
"""What is parsed at once, and the most that one row may take; bounds the reader's memory."""
_SHOWN: Final = 100
_IN_UTF_8: Final = "write the file in UTF-8: this version reads no other charset"
_TOO_LONG: Final = "straddling"
"""What Arrow says of a row that is longer than a block."""
_OTHERS: Final = (";", "\t", "|")
"""What separates fields elsewhere."""


@dataclass(frozen=True)
class CsvFile:
    """A file to read.

    An empty field is NULL; a quoted one (``""``) is the empty text, and NULL for every other type. Fields are quoted
    with ``"``, doubled inside; quoted ones may hold commas and line breaks.

    :param name: what errors call it.
    :param hidden: columns whose values no error may show.
    """

    path: Path
    name: str
    hidden: Collection[str] = ()

    def header(self) -> tuple[str, ...]:
        """Return the names of the columns.

        :raises DataError: when there is no header row, or one that cannot be meant.
        """
        with self._errors(), closing(self._text(errors="surrogateescape")) as text:
            # Not more than a row may have: a quote that is never closed would make one row of a whole file.
            start = io.StringIO(text.read(BLOCK_BYTES + 1), newline="")
            at, names = next(((line, row) for line, row in records(start) if row), (1, []))
            if start.tell() > BLOCK_BYTES:
                raise pa.ArrowInvalid(_TOO_LONG)
            ",".join(names).encode()
        for bad, what, hint in _problems(names, at):
            if bad:
                raise DataError(f"{self.name}: {what}.", hint=hint)
        return tuple(names)

    def types(self) -> Mapping[str, pa.DataType]:
        """CSV has no types."""
        return {}

    def batches(
        self,
        columns: Sequence[tuple[str, pa.DataType]],
        schema: pa.Schema,
        quarantine: Quarantine | None = None,
        key: Collection[str] = (),
    ) -> Iterator[pa.RecordBatch]:
        """Give the rows.

        :param columns: names in the header, and types.
        :param schema: of the batches, in the same order.
        :param quarantine: where rows go that cannot be read.
        :param key: names in the header of columns without which a row is set aside as well.
        :raises DataError: for a row or a value that cannot be read and may not be set aside; names its line.
        """
        names, bad = self.header(), _BadRows()
        sieve = None
        if quarantine and quarantine.open:
            sieve = Sieve(self.name, Lines(self._text), columns, schema, quarantine, key)
        read: Any = pacsv.open_csv  # its stubs know no streams of Python's
        done = 1  # the header
        with self._errors(bad), closing(self._bytes()) as source:
            for batch in read(source, *_options(names, columns, sieve.skip if sieve else bad)):
                if sieve:
                    yield sieve.sift(batch)
                    continue
                arrays = [
                    self._values(array, name, kind, done)
                    for array, (name, kind) in zip(batch.columns, columns, strict=True)
                ]
                done += batch.num_rows
                yield pa.RecordBatch.from_arrays(arrays, schema=schema)
            if sieve:
                sieve.finish()
            if source.quotes % 2:
                self._refuse_open_quote()

    # --- refusals ---

    def _values(self, raw: pa.Array[Any], name: str, kind: pa.DataType, done: int) -> pa.Array[Any]:
        """Return a column's values.

        :raises DataError: names line, column and value.
        """
        try:
            texts = raw.cast(pa.string())
        except pa.ArrowInvalid:
            at = next(at for at, value in enumerate(raw.to_pylist()) if not is_text(value))
            raise DataError(
                f"{self.name}, line {self._line(done + at + 1)}: "
                f"column {name!r} is not UTF-8{'' if name in self.hidden else f': {_cut(raw[at].as_py())}'}.",
                hint=_IN_UTF_8,
            ) from None
        try:
            return typed(texts, kind)
        except pa.ArrowInvalid:
            at = first_bad(texts, kind)
        raise DataError(
            f"{self.name}, line {self._line(done + at + 1)}: column {name!r} has {_cut(texts[at].as_py())}, "
            f"which is no {spoken(kind)}.",
            hint=f"correct the file, or read the column as text: column_types={{{name!r}: 'text'}}",
        )

    @contextmanager
    def _errors(self, bad: _BadRows | None = None) -> Iterator[None]:
        try:
            yield
        except UnicodeEncodeError as error:
            raise DataError(f"The header row of {self.name} is not UTF-8.", hint=_IN_UTF_8) from error
        except (pa.ArrowInvalid, csv.Error, zlib.error, EOFError, OSError) as error:
            if isinstance(error, OSError) and error.errno:  # the disk's, not the file's
                raise
            raise self._unreadable(error, bad.first if bad else None) from error

    def _unreadable(self, error: Exception, row: Any) -> DataError:
        if row is not None:
            line = f", line {self._line(row.number)}" if row.number else ""
            shown = "" if self.hidden else f": {_cut(row.text)}"
            return DataError(
                f"{self.name}{line}: {row.actual_columns} fields instead of {row.expected_columns}{shown}.",
                hint="correct the file: quote fields that hold commas, quotes or line breaks",
            )
        if _TOO_LONG in str(error):
            return DataError(
                f"{self.name}: a row is longer than {BLOCK_BYTES >> 20} MiB, or a quote is never closed.",
                hint="correct the file",
            )
        return DataError(f"{self.name} cannot be read: {error}.", hint="see whether it was written to its end")

    def _refuse_open_quote(self) -> None:
        """Refuse a file that ends inside of quotes; an odd number of quotes alone may be right: ``5" pipe``.

        :raises DataError: names the line where the field's row begins.
        """
        with closing(self._text()) as text:
            line = 1
            try:
                for line, _ in records(text, strict=True):  # noqa: B007 - the last one that could be read
                    pass
            except csv.Error as error:
                raise DataError(
                    f"{self.name}: the quotes do not match, at or after line {line}: {error}.",
                    hint="correct the file: it may have been cut off",
                ) from error

    def _line(self, number: int) -> int:
        """Return the line where a row begins; rows are counted from 1, the header is one."""
        return Lines(self._text).line(number)

    # --- bytes ---

    @property
    def _zipped(self) -> bool:
        return self.name.lower().endswith(".gz")

    def _text(self, errors: str = "replace") -> TextIO:
        file: Any = gzip.open(self.path) if self._zipped else self.path.open("rb")  # noqa: SIM115 - closed with the text
        return io.TextIOWrapper(file, encoding="utf-8-sig", errors=errors, newline="")

    def _bytes(self) -> _CountingReader:
        whole: Any = {"compression": "gzip" if self._zipped else None}
        return _CountingReader(pa.input_stream(str(self.path), **whole))


class _CountingReader(io.RawIOBase):
    """A stream that counts the quotes in it, and ends its last line: Arrow wants that of a header."""

    def __init__(self, source: pa.NativeFile) -> None:
        super().__init__()
        self._source = source
        self._last = b"\n"
        self.quotes = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:  # Arrow always says how much
        data: bytes = self._source.read(size)
        while len(data) < size and (more := self._source.read(size - len(data))):
            data += more
        self._last = data[-1:] or self._last
        if len(data) < size and self._last not in b"\r\n":
            data += b"\n"
            self._last = b"\n"
        self.quotes += data.count(b'"')
        return data

    def close(self) -> None:
        self._source.close()
        super().close()


@dataclass
class _BadRows:
    """Remembers the first row with too many or too few fields."""

    first: Any = None

    def __call__(self, row: Any) -> Literal["error"]:
        self.first = self.first or row
        return "error"


def _options(
    names: Sequence[str], columns: Sequence[tuple[str, pa.DataType]], bad: Callable[[Any], Literal["error", "skip"]]
) -> tuple[pacsv.ReadOptions, pacsv.ParseOptions, pacsv.ConvertOptions]:
    wanted = [name for name, _ in columns]
    return (
        # In one thread: only then rows are numbered.
        pacsv.ReadOptions(use_threads=False, block_size=BLOCK_BYTES),
        # An empty line is nothing, except where there is one column only: there it is a NULL.
        pacsv.ParseOptions(
            newlines_in_values=True, ignore_empty_lines=len(names) > 1, invalid_row_handler=bad,
        ),
        # Bytes, so that what is no UTF-8 is found by us, with its line.
        pacsv.ConvertOptions(
            column_types=dict.fromkeys(wanted, pa.binary()), include_columns=wanted, null_values=[""],
            strings_can_be_null=True, quoted_strings_can_be_null=False, check_utf8=False,
        ),
    )  # fmt: skip


def _problems(names: Sequence[str], at: int) -> list[tuple[bool, str, str]]:
    shown = ", ".join(map(repr, names))
    twice = sorted({name for name in names if names.count(name) > 1})
    other = len(names) == 1 and any(sign in names[0] for sign in _OTHERS)
    return [
        (not names, "it is empty, without even a header row", "write the names of the columns into the first row"),
        (other, f"its header row is one column, {shown}", "separate fields by commas: this version knows nothing else"),
        # Where there is one column only, Arrow would take the empty line for the header.
        (len(names) == 1 and at > 1, f"its header row {shown} comes after an empty line", "begin with the header row"),
        ("" in names, f"a column of its header row has no name: {shown}", "name every column"),
        (bool(twice), f"its header row names {', '.join(map(repr, twice))} twice", "give columns different names"),
    ]


def _cut(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
