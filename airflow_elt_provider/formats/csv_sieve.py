"""Rows of a CSV file that cannot be read, found again with their lines."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa

from airflow_elt_provider.core.quarantine import RefusedRow
from airflow_elt_provider.formats.charset import shown
from airflow_elt_provider.formats.sieve import Sieve, Stray

if TYPE_CHECKING:
    from typing import TextIO

Records = Callable[["TextIO"], Iterator[tuple[int, list[str]]]]


class Lines:
    """Finds the lines where rows begin, in one pass: rows have to be asked for in ascending order.

    Rows are counted from 1, the header is one; an empty line is none, but where there is one column only.

    :param records: tells text into rows.
    :param skipped: lines before the text.
    """

    def __init__(self, open_text: Callable[[], TextIO], records: Records, skipped: int = 0) -> None:
        self._open, self._records, self._skipped = open_text, records, skipped
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
            for line, row in self._records(text):
                if row or single is True:
                    single = len(row) == 1 if single is None else single
                    yield line + self._skipped


@dataclass
class Ending:
    """Sees the row that is put after the last one, and the first with too many or too few fields.

    :param text: of that row. Where nobody sees it, a quote that is never closed has swallowed it.
    """

    text: str
    seen: bool = False
    first: Any = None

    def __call__(self, row: Any) -> Literal["error", "skip"]:
        if row.text == self.text:
            self.seen = True
            return "skip"
        self.first = self.first or row
        return "error"


def _without_ending(before: Callable[[Any], Any]) -> Callable[[Any], None]:
    """Keep quiet of one thing that cannot be raised."""

    def hook(unraisable: Any) -> None:
        # Arrow cannot hand over a row that is not UTF-8, says so on standard error, and fails: as it would have.
        if not (isinstance(unraisable.object, Ending) and unraisable.exc_type is UnicodeDecodeError):
            before(unraisable)

    return hook


sys.unraisablehook = _without_ending(sys.unraisablehook)


class CsvSieve:
    """Counts the rows of a file, those with too many or too few fields included.

    :param ending: of the file.
    :param told: how many rows there are before the first batch; the header is one.
    """

    def __init__(self, sieve: Sieve, lines: Lines, ending: Ending, told: int) -> None:
        self._sieve, self._lines, self._ending = sieve, lines, ending
        self._told = told  # well-formed rows so far
        self._malformed: list[Any] = []
        self._passed = 0
        self._placed = 0

    def note(self, row: Any) -> Literal["error", "skip"]:
        """Take note of a row with too many or too few fields, as Arrow reports it, a block ahead perhaps."""
        quarantine = self._sieve.quarantine
        if row.text == self._ending.text or not (quarantine and quarantine.open):
            return self._ending(row)
        if len(self._malformed) <= quarantine.limit:  # one more is already too many
            self._malformed.append(row)
        return "skip"

    def sift(self, raw: pa.RecordBatch) -> pa.RecordBatch:
        """Return the rows that can be read, from a batch of bytes; see :meth:`Sieve.sift`."""
        batch = self._sieve.sift(raw, self._place, self._strays(raw.num_rows))
        self._told += raw.num_rows
        return batch

    def finish(self) -> None:
        """Set aside what is malformed at the end of the file."""
        rows = [self._of_malformed(row) for row in self._malformed[self._placed :]]
        self._placed = len(self._malformed)
        if rows and self._sieve.quarantine:
            self._sieve.quarantine.refuse(rows)

    def _place(self, at: int) -> str:
        return f"line {self._lines.line(self._number(self._told + at + 1))}"

    def _strays(self, rows: int) -> list[Stray]:
        """Return the malformed rows before the last one of a batch."""
        found: list[Stray] = []
        while self._placed < len(self._malformed):
            row = self._malformed[self._placed]
            before = row.number - 1 - self._placed - self._told  # well-formed ones of the batch
            if before >= rows:
                break
            found.append((before, partial(self._of_malformed, row)))
            self._placed += 1
        return found

    def _number(self, told: int) -> int:
        """Return the number in the file of the nth well-formed row."""
        while self._passed < len(self._malformed) and self._malformed[self._passed].number <= told + self._passed:
            self._passed += 1
        return told + self._passed

    def _of_malformed(self, row: Any) -> RefusedRow:
        place = f"{self._sieve.name}, line {self._lines.line(row.number)}"
        return RefusedRow(
            f"{row.actual_columns} fields instead of {row.expected_columns}",
            place=place,
            text=shown(row.text.encode()) or "",
        )
