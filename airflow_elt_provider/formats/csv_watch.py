"""CSV on its way to a server that reads it itself: looked at as it passes, so that both understand the same.

Servers read CSV nearly as Arrow does, and take more spellings of a value: ``1_000``, ``yesterday``, 1.005 for a
``decimal(9,2)``. Whatever is not the same rows and the same values for both is refused here; the loader then reads it
row by row.
"""

from __future__ import annotations

import re
import zlib
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Protocol

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from airflow_elt_provider.core.in_place import NotInPlaceError
from airflow_elt_provider.formats.text_values import typed

BLOCK_BYTES: Final = 2 << 20
"""What is parsed at once, and the most that one row may take; bounds the memory."""
QUOTE: Final = b'"'


class ByteStream(Protocol):
    """What a store lends."""

    def read(self, size: int) -> bytes:
        """Return the next bytes, not more than ``size``; b"" at the end."""


class WatchedCsv:
    """A CSV file in UTF-8 with a header row, passed on as it is.

    :param body: its bytes.
    :param columns: all columns of the header row in their order, with their types.
    """

    def __init__(self, name: str, body: ByteStream, columns: Mapping[str, pa.DataType], delimiter: str = ",") -> None:
        self._name, self._columns, self._delimiter = name, columns, delimiter
        self._tee = _Tee(body, _QuoteRule(delimiter.encode()))
        self.rows = 0

    def pieces(self) -> Iterator[bytes]:
        """See :class:`~airflow_elt_provider.core.in_place.LentFile`."""
        try:
            yield from self._pieces()
        except (pa.ArrowException, zlib.error, EOFError, OSError) as error:
            if isinstance(error, OSError) and error.errno:  # the disk's, or the store's
                raise
            raise NotInPlaceError(f"{self._name}: {error}") from error

    def _pieces(self) -> Iterator[bytes]:
        if first := self._tee.look_ahead():
            yield first  # the server reads it while we do
        read: Any = pacsv.open_csv  # its stubs know no streams of Python's
        for batch in read(self._tee, *_options(list(self._columns), self._delimiter)):
            for texts, kind in zip(batch.columns, self._columns.values(), strict=True):
                _refuse_unalike(texts.cast(pa.string()), kind)
            self.rows += batch.num_rows
            yield from self._tee.taken()
        yield from self._tee.taken()


def _refuse_unalike(texts: pa.Array[Any], kind: pa.DataType) -> None:
    values = typed(texts, kind)
    if pa.types.is_floating(kind) and pc.any(pc.is_nan(values)).as_py():
        raise pa.ArrowInvalid("NaN may have a sign")


class _Tee:
    """Gives Arrow the bytes and keeps a copy for whoever comes after."""

    closed = False

    def __init__(self, body: ByteStream, rule: _QuoteRule) -> None:
        self._body, self._rule = body, rule
        self._seen: deque[bytes] = deque()
        self._ahead = b""

    def look_ahead(self) -> bytes:
        """Return the first block, which Arrow is still to be given."""
        self._ahead = self._next(BLOCK_BYTES)
        return self._ahead

    def read(self, size: int) -> bytes:
        if self._ahead:
            data, self._ahead = self._ahead[:size], self._ahead[size:]
            return data
        data = self._next(size)
        if data:
            self._seen.append(data)
        return data

    def _next(self, size: int) -> bytes:
        data = self._body.read(size)
        while len(data) < size and (more := self._body.read(size - len(data))):
            data += more
        self._rule.follow(data)
        return data

    def taken(self) -> Iterator[bytes]:
        while self._seen:
            yield self._seen.popleft()

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        """Whoever lent the body closes it."""


class _QuoteRule:
    """Refuses quotes that are not around a whole field, or doubled in such a one: readers differ about them."""

    def __init__(self, delimiter: bytes) -> None:
        end = b"[" + re.escape(delimiter) + rb"\r\n]"
        self._fields = re.compile(
            rb'[^"]*+(?:(?<=' + end + rb')"[^"]*+(?:""[^"]*+)*+"(?=' + end + rb')[^"]*+)*+'
        )  # fmt: skip
        self._left = b"\n"  # an end is before the first field, too

    def follow(self, data: bytes) -> None:
        """Look at what comes next; b"" says that nothing does."""
        if data and QUOTE not in data and QUOTE not in self._left:
            self._left = data[-1:]
            return
        text = self._left + (data or b"\n")
        found = self._fields.match(text)
        end = found.end() if found else 0
        # What is left begins with the quote of a field that may not be whole yet, and with the sign before it.
        self._left = text[max(end - 1, 0) :]
        if end < len(text) and (not data or len(self._left) > BLOCK_BYTES):
            raise pa.ArrowInvalid("a quote is not where one belongs")


def _options(names: Sequence[str], delimiter: str) -> tuple[Any, ...]:
    return (
        pacsv.ReadOptions(use_threads=False, block_size=BLOCK_BYTES),
        pacsv.ParseOptions(delimiter=delimiter, newlines_in_values=True, ignore_empty_lines=len(names) > 1),
        pacsv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.binary()), include_columns=list(names), null_values=[""],
            strings_can_be_null=True, quoted_strings_can_be_null=False, check_utf8=False,
        ),
    )  # fmt: skip
