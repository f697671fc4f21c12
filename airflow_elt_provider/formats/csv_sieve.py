"""Rows of a CSV file that cannot be read, set aside with their lines while the others go on."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

import pyarrow as pa

from airflow_elt_provider.core.quarantine import KEYLESS, Quarantine, RefusedRow, all_bad
from airflow_elt_provider.formats.text_values import all_good, taken, typed

if TYPE_CHECKING:
    from typing import TextIO

_NOT_UTF_8: Final = "is not UTF-8"


class Lines:
    """Finds the lines where rows begin, in one pass: rows have to be asked for in ascending order.

    Rows are counted from 1, the header is one; an empty line is none, but where there is one column only.
    """

    def __init__(self, open_text: Callable[[], TextIO]) -> None:
        self._open = open_text
        self._rows: Iterator[int] | None = None
        self._at = 0
        self._line = 0

    def line(self, number: int) -> int:
        """Return the line of a row; 0 where there is no such row."""
        self._rows = self._rows or self._starts()
        while self._at < number:
            self._at, self._line = self._at + 1, next(self._rows, 0)
        return self._line

    def _starts(self) -> Iterator[int]:
        with self._open() as text:
            single: bool | None = None
            for line, row in records(text):
                if row or single is True:
                    single = len(row) == 1 if single is None else single
                    yield line


class Sieve:
    """Keeps back the rows that cannot be read.

    :param name: of the file.
    :param columns: names in the header, and types.
    :param schema: of the batches, in the same order.
    :param key: names in the header of columns that must have a value.
    """

    def __init__(
        self, name: str, lines: Lines, columns: Sequence[tuple[str, pa.DataType]], schema: pa.Schema,
        quarantine: Quarantine, key: Collection[str] = (),
    ) -> None:  # fmt: skip
        self._name, self._lines, self._quarantine = name, lines, quarantine
        self._columns, self._schema, self._key = columns, schema, key
        self._told = 1  # well-formed rows so far; the header is one
        self._malformed: list[Any] = []
        self._passed = 0
        self._placed = 0

    def skip(self, row: Any) -> Literal["skip"]:
        """Take note of a row with too many or too few fields, as Arrow reports it, a block ahead perhaps."""
        if len(self._malformed) <= self._quarantine.limit:  # one more is already too many
            self._malformed.append(row)
        return "skip"

    def sift(self, raw: pa.RecordBatch) -> pa.RecordBatch:
        """Return the rows that can be read, from a batch of bytes.

        :raises QuarantineExceededError: when too many cannot.
        """
        arrays = self._typed(raw)
        bad: dict[int, tuple[str, str]] = {}
        keys = None
        if arrays is None:
            bad, keyless = self._reasons(raw)
            good = pa.array([at not in bad for at in range(raw.num_rows)])
            arrays = self._typed(raw.filter(good))
            keys = self._keys(raw, [at for at in sorted(bad) if at not in keyless])
        self._refuse(self._numbered(raw, bad), keys)
        self._told += raw.num_rows
        assert arrays is not None  # noqa: S101 - whatever was wrong is out
        return pa.RecordBatch.from_arrays(arrays, schema=self._schema)

    def finish(self) -> None:
        """Set aside what is malformed at the end of the file."""
        self._refuse([(row.number, self._of_malformed(row)) for row in self._malformed[self._placed :]])
        self._placed = len(self._malformed)

    # --- what is wrong ---

    def _typed(self, raw: pa.RecordBatch) -> list[pa.Array[Any]] | None:
        """Return the columns' values; None where any row cannot be read."""
        try:
            arrays = [typed(array.cast(pa.string()), kind) for array, (_, kind) in self._pairs(raw)]
        except pa.ArrowInvalid:
            return None
        named = zip(arrays, self._columns, strict=True)
        return None if any(array.null_count for array, (name, _) in named if name in self._key) else arrays

    def _pairs(self, raw: pa.RecordBatch) -> Iterator[tuple[pa.Array[Any], tuple[str, pa.DataType]]]:
        return zip(raw.columns, self._columns, strict=True)

    def _reasons(self, raw: pa.RecordBatch) -> tuple[dict[int, tuple[str, str]], set[int]]:
        """Return row -> column and reason, and the rows whose key cannot be told."""
        bad: dict[int, tuple[str, str]] = {}
        keyless: set[int] = set()
        for array, (name, kind) in self._pairs(raw):
            values = array.to_pylist()
            found = dict.fromkeys((at for at, value in enumerate(values) if not is_text(value)), _NOT_UTF_8)
            whole = pa.array([None if at in found else value for at, value in enumerate(values)], pa.binary())
            texts = whole.cast(pa.string())
            unfit = all_bad(len(texts), lambda low, high: all_good(taken(texts, low, high), kind))  # noqa: B023
            found |= dict.fromkeys(unfit, f"is no {spoken(kind)}")
            if name in self._key:
                empty = (None,) if pa.types.is_string(kind) else (None, b"")
                found |= {at: KEYLESS for at, value in enumerate(values) if value in empty and at not in found}
                keyless |= set(found)
            bad |= {at: (name, reason) for at, reason in found.items() if at not in bad}
        return bad, keyless

    # --- rows and keys ---

    def _numbered(self, raw: pa.RecordBatch, bad: dict[int, tuple[str, str]]) -> list[tuple[int, RefusedRow]]:
        """Return the bad rows up to the end of a batch, with their numbers."""
        found = []
        for at in sorted(bad):
            number = self._number(self._told + at + 1)
            values = {name: _shown(array[at].as_py()) for array, (name, _) in self._pairs(raw)}
            column, reason = bad[at]
            found.append((number, RefusedRow(reason, column, "", values)))
        last = self._number(self._told + raw.num_rows)
        while self._placed < len(self._malformed) and self._malformed[self._placed].number <= last:
            row = self._malformed[self._placed]
            found.append((row.number, self._of_malformed(row)))
            self._placed += 1
        return sorted(found, key=lambda each: each[0])

    def _number(self, told: int) -> int:
        """Return the number in the file of the nth well-formed row."""
        while self._passed < len(self._malformed) and self._malformed[self._passed].number <= told + self._passed:
            self._passed += 1
        return told + self._passed

    @staticmethod
    def _of_malformed(row: Any) -> RefusedRow:
        return RefusedRow(f"{row.actual_columns} fields instead of {row.expected_columns}", text=row.text)

    def _refuse(self, rows: Sequence[tuple[int, RefusedRow]], keys: pa.RecordBatch | None = None) -> None:
        if rows:
            self._quarantine.refuse(
                [
                    RefusedRow(row.reason, row.column, f"{self._name}, line {self._lines.line(number)}", row.values,
                               row.text)
                    for number, row in rows
                ], keys,
            )  # fmt: skip

    def _keys(self, raw: pa.RecordBatch, rows: Sequence[int]) -> pa.RecordBatch | None:
        """Return the keys of some rows."""
        if not (rows and self._key):
            return None
        taken = raw.take(pa.array(rows, pa.int64()))
        fields, arrays = [], []
        for at, (array, (name, kind)) in enumerate(self._pairs(taken)):
            if name in self._key:
                fields.append(self._schema.field(at))
                arrays.append(typed(array.cast(pa.string()), kind))
        return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))


def records(text: TextIO, *, strict: bool = False) -> Iterator[tuple[int, list[str]]]:
    """Give each row with the line where it begins; an empty line is a row without fields."""
    csv.field_size_limit(sys.maxsize)
    reader = csv.reader(text, strict=strict)
    line = 1
    for row in reader:
        yield line, row
        line = reader.line_num + 1


def is_text(value: bytes | None) -> bool:
    """Whether bytes are UTF-8."""
    try:
        (value or b"").decode()
    except UnicodeDecodeError:
        return False
    return True


def spoken(kind: pa.DataType) -> str:
    """Return how a person calls a type."""
    return {"extension<arrow.json>": "json", "extension<arrow.uuid>": "uuid"}.get(str(kind), str(kind))


def _shown(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", "backslashreplace")
