"""Blocks of CSV as Arrow batches: fast where every value is ordinary, exact where one is not."""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator, Sequence
from typing import Any, Final, cast

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from airflow_elt_provider.connectors.postgres.exact import can_fail, split
from airflow_elt_provider.connectors.postgres.selection import SelectedColumn, Selection
from airflow_elt_provider.connectors.postgres.sieve import Sieve
from airflow_elt_provider.core.exact_values import Array, Split, exact_json
from airflow_elt_provider.core.quarantine import Quarantine
from airflow_elt_provider.core.system_columns import EXACT
from airflow_elt_provider.core.types import wire_type
from airflow_elt_provider.errors import DataError

_UTF8: Final = re.compile(r"CSV column #(\d+): .*invalid UTF8")
_MANY: Final = 1 << 20
"""Room for pyarrow to look past the end of a block, so that it takes the block as one."""


class Decoder:
    """Turns the blocks of one stream into batches.

    A column in which an exceptional value turned up is read as text from then on: the next block would probably fail
    too.

    :param sieve: takes the rows that cannot be decoded.
    """

    def __init__(self, columns: Sequence[SelectedColumn], what: str, sieve: Sieve | None = None) -> None:
        self._columns, self._what = columns, what
        self._sieve = sieve if sieve and sieve.quarantine.open else None
        self._names = [column.column.name for column in columns]
        self._as_text = {at for at, column in enumerate(columns) if column.override is not None}
        self._doubtful = {at for at, column in enumerate(columns) if can_fail(column.column.type)} - self._as_text

    @classmethod
    def of(cls, selection: Selection, what: str, quarantine: Quarantine) -> Decoder:
        """Return what decodes a selection's rows, and sets aside what it cannot."""
        sieve = Sieve(selection.columns, what, quarantine.what, quarantine, selection.schema.primary_key)
        return cls(selection.columns, what, sieve)

    def batches(self, blocks: Iterator[bytes]) -> Iterator[pa.RecordBatch]:
        """Decode every block.

        :raises DataError: for a value that does not fit the type that ``column_types`` gives its column, and for text
            that is not UTF-8, unless the sieve takes the row.
        """
        for block in blocks:
            if self._sieve is None:
                yield from self._decode(block)
            else:
                yield from self._sifted(block, self._sieve)

    def _sifted(self, block: bytes, sieve: Sieve) -> list[pa.RecordBatch]:
        try:
            return list(self._decode(block))
        except (DataError, pa.ArrowInvalid):
            raw = self._read(block, set(), {name: pa.binary() for name in self._names})
            return [self._finish(sieve.sift(batch)) for batch in raw.combine_chunks().to_batches()]

    def _decode(self, block: bytes) -> Iterator[pa.RecordBatch]:
        try:
            table = self._read(block, self._as_text)
        except pa.ArrowInvalid as error:
            self._refuse_broken_text(error)
            table = self._read(block, self._as_text | self._doubtful)
        for batch in table.combine_chunks().to_batches():
            yield self._finish(batch)

    def _read(self, block: bytes, as_text: set[int], types: dict[str, pa.DataType] | None = None) -> pa.Table:
        types = types or {name: self._csv_type(at, as_text) for at, name in enumerate(self._names)}
        # One block, not several small ones: a row must not straddle two.
        # Without threads: beside a server that formats rows on one core, they cost more than they gain.
        read = csv.ReadOptions(column_names=self._names, block_size=len(block) + _MANY, use_threads=False)
        parse = csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False)
        convert = csv.ConvertOptions(
            column_types=types, null_values=[""], strings_can_be_null=True, quoted_strings_can_be_null=False,
            true_values=["t"], false_values=["f"],
        )  # fmt: skip
        return csv.read_csv(cast("Any", pa.BufferReader(block)), read, parse, convert)

    def _csv_type(self, at: int, as_text: set[int]) -> pa.DataType:
        kind = self._columns[at].column.type
        return pa.string() if at in as_text or pa.types.is_binary(kind) else wire_type(kind)

    def _finish(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        arrays, exact = [], {}
        for at, (column, array) in enumerate(zip(self._columns, batch.columns, strict=True)):
            found = self._typed(at, column, array)
            arrays.append(found.typed)
            if found.exact is not None:
                exact[column.column.name] = found.exact
                self._as_text.add(at)
        fields = [pa.field(column.column.name, wire_type(column.column.type)) for column in self._columns]
        if exact:
            arrays.append(exact_json(exact))
            fields.append(pa.field(EXACT, pa.string()))
        return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))

    def _typed(self, at: int, column: SelectedColumn, array: Array) -> Split:
        kind = column.column.type
        if pa.types.is_binary(kind):
            return Split(unhex(array))
        if at not in self._as_text and array.type.equals(wire_type(kind)):
            return Split(array)
        return split(array, column, self._what)

    def _refuse_broken_text(self, error: pa.ArrowInvalid) -> None:
        found = _UTF8.search(str(error))
        if found:
            raise DataError(
                f"{self._what}: column {self._names[int(found[1])]!r} holds text that is not UTF-8.",
                hint="correct it at the source, or leave the column out with exclude_columns",
            ) from error


def unhex(digits: Array) -> Array:
    """Decode an array of hexadecimal texts all at once."""
    _, offsets, data = digits.buffers()
    if data is None:
        return digits.cast(pa.binary())
    length = len(digits) + 1
    starts = pa.Array.from_buffers(pa.int32(), length, [None, offsets], offset=digits.offset)
    raw = pa.py_buffer(binascii.unhexlify(memoryview(data)[starts[0].as_py() : starts[-1].as_py()]))
    halved = pc.divide(pc.subtract(starts, starts[0]), pa.scalar(2, pa.int32()))
    valid: Array = pc.is_valid(digits)
    return pa.Array.from_buffers(pa.binary(), len(digits), [valid.buffers()[1], halved.buffers()[1], raw])
