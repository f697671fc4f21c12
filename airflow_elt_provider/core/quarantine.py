"""Rows that cannot be taken, on their way from whoever finds them to a file beside the load."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import pyarrow as pa

from airflow_elt_provider.core.plan import Extraction
from airflow_elt_provider.errors import QuarantineExceededError

KEYLESS: Final = "of the key is NULL"
_SHOWN: Final = 3


@dataclass(frozen=True)
class RefusedRow:
    """A row that cannot be taken.

    :param reason: what is wrong with it. It holds no value of the row: some may have to be masked.
    :param column: the source's name of the column at fault; "" for the row as a whole.
    :param place: where the row stands, e.g. a file and its line; "" where there is no such thing.
    :param values: source column -> the value's text, of all columns that are read.
    :param text: the row as it stands, where it cannot be told into columns.
    """

    reason: str
    column: str = ""
    place: str = ""
    values: Mapping[str, str | None] = field(default_factory=dict)
    text: str = ""

    def __str__(self) -> str:
        where = f"{self.place}: " if self.place else ""
        return f"{where}column {self.column!r} {self.reason}" if self.column else f"{where}{self.reason}"


class Quarantine:
    """Gathers the refused rows of one extract; from several threads.

    :param what: begins the error for too many rows, e.g. the source's name.
    :param limit: how many rows may be set aside; with 0 whoever finds a bad row raises its own error.
    """

    def __init__(self, what: str, limit: int) -> None:
        self.what, self.limit = what, limit
        self.count = 0
        self.illegible = 0
        """how many of the rows cannot be told into columns, so that nobody knows their keys"""
        self._lock = threading.Lock()
        self._first: list[str] = []
        self._waiting: list[RefusedRow] = []
        self._keys: list[pa.RecordBatch] = []

    @classmethod
    def of(cls, extraction: Extraction) -> Quarantine:
        """Return what an extraction lets a source set aside."""
        return cls(extraction.source, extraction.max_quarantined_rows)

    @property
    def open(self) -> bool:
        """Whether any row may be set aside."""
        return self.limit > 0

    def refuse(self, rows: Sequence[RefusedRow], keys: pa.RecordBatch | None = None) -> None:
        """Set rows aside.

        :param keys: the keys of those rows that have one: the key's columns as named in the target, in wire types.
        :raises QuarantineExceededError: when there are more than the limit.
        """
        with self._lock:
            self.count += len(rows)
            self.illegible += sum(not row.values for row in rows)
            self._first += map(str, rows[: _SHOWN - len(self._first)] if len(self._first) < _SHOWN else ())
            self._waiting += rows
            if keys is not None and keys.num_rows:
                self._keys.append(keys)
            if self.count > self.limit:
                raise QuarantineExceededError(
                    f"{self.what}: more than max_quarantined_rows={self.limit} rows cannot be read: "
                    f"{'; '.join(self._first)}.",
                    hint="correct them at the source, or raise max_quarantined_rows",
                )

    def take(self) -> list[RefusedRow]:
        """Return the rows that nobody has taken yet."""
        with self._lock:
            rows, self._waiting = self._waiting, []
        return rows

    def take_keys(self) -> list[pa.RecordBatch]:
        """Return the keys that nobody has taken yet."""
        with self._lock:
            keys, self._keys = self._keys, []
        return keys


def all_bad(length: int, good: Callable[[int, int], bool]) -> list[int]:
    """Find all bad values by halving.

    :param good: whether all values from one place to before another are good.
    """
    found, spans = [], [(0, length)]
    while spans:
        low, high = spans.pop()
        if low == high or good(low, high):
            continue
        if high - low == 1:
            found.append(low)
        else:
            middle = (low + high) // 2
            spans += [(middle, high), (low, middle)]
    return found
