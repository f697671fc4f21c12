"""Rows that cannot be read are set aside, or refused; the others go on."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NoReturn

import pyarrow as pa

from airflow_elt_provider.core.quarantine import KEYLESS, Quarantine, RefusedRow, all_bad
from airflow_elt_provider.errors import DataError
from airflow_elt_provider.formats.fields import Field, cut, spoken
from airflow_elt_provider.formats.text_values import taken

Place = Callable[[int], str]
"""Where a row of a batch stands, e.g. ``line 7``; is asked for in ascending order."""
Stray = tuple[int, Callable[[], RefusedRow]]
"""A row that is no part of a batch: before which of the batch's rows it stands, and what is told of it."""


@dataclass(frozen=True)
class Sieve:
    """Keeps back the rows that cannot be read.

    :param name: of the file.
    :param fields: the columns that are read, in the order of the schema.
    :param schema: of the batches.
    :param quarantine: where rows go that cannot be read; where it is not open the first one is an error.
    :param key: names in the file of columns that must have a value, where rows may be set aside.
    :param hidden: columns whose values no error may show.
    :param hint: how to mend a value that cannot be looked at.
    """

    name: str
    fields: Sequence[Field]
    schema: pa.Schema
    quarantine: Quarantine | None = None
    key: Collection[str] = ()
    hidden: Collection[str] = ()
    hint: str = "correct the file"

    @property
    def open(self) -> bool:
        """Whether any row may be set aside."""
        return self.quarantine is not None and self.quarantine.open

    def sift(self, raw: pa.RecordBatch, place: Place, strays: Sequence[Stray] = ()) -> pa.RecordBatch:
        """Return the rows that can be read.

        :param raw: what stands in the file, one column for each field.
        :param strays: rows between them that have no columns.
        :raises QuarantineExceededError: when too many cannot.
        :raises DataError: when one cannot, and may not be set aside; names its place.
        """
        arrays = self.values(raw)
        bad: dict[int, tuple[str, str]] = {}
        keys = None
        if arrays is None:
            if not self.open:
                self._fail(raw, place)
            bad, keyless = self._reasons(raw)
            arrays = self.values(raw.filter(pa.array([at not in bad for at in range(raw.num_rows)])))
            keys = self._keys(raw, [at for at in sorted(bad) if at not in keyless])
        self._refuse(raw, bad, place, strays, keys)
        assert arrays is not None  # noqa: S101 - whatever was wrong is out
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)

    def values(self, raw: pa.RecordBatch) -> list[pa.Array[Any]] | None:
        """Return the columns' values; None where any row cannot be read."""
        try:
            arrays = [field.read(array) for array, field in self._pairs(raw)]
        except pa.ArrowInvalid:
            return None
        return None if self.open and self.keyless(arrays) else arrays

    def keyless(self, arrays: Sequence[pa.Array[Any]]) -> bool:
        """Whether a column of the key is NULL anywhere."""
        named = zip(arrays, self.fields, strict=True)
        return any(array.null_count for array, field in named if field.name in self.key)

    # --- what is wrong ---

    def _refuse(
        self, raw: pa.RecordBatch, bad: dict[int, tuple[str, str]], place: Place, strays: Sequence[Stray],
        keys: pa.RecordBatch | None,
    ) -> None:  # fmt: skip
        if not self.quarantine or not (bad or strays):
            return
        rows = [((at, 0), told) for at, told in strays]
        rows += [((at, 1), partial(self._refused, raw, at, bad[at], place)) for at in bad]
        self.quarantine.refuse([told() for _, told in sorted(rows, key=lambda each: each[0])], keys)

    def _pairs(self, raw: pa.RecordBatch) -> Iterator[tuple[pa.Array[Any], Field]]:
        return zip(raw.columns, self.fields, strict=True)

    def _reasons(self, raw: pa.RecordBatch) -> tuple[dict[int, tuple[str, str]], set[int]]:
        """Return row -> column and reason, and the rows whose key cannot be told."""
        bad: dict[int, tuple[str, str]] = {}
        keyless: set[int] = set()
        for array, field in self._pairs(raw):
            found = self._unfit(array, field)
            if field.name in self.key:
                read = array if not found else array.filter(pa.array([at not in found for at in range(len(array))]))
                values = iter(field.read(read).is_null().to_pylist())
                found |= {at: KEYLESS for at in range(len(array)) if at not in found and next(values)}
                keyless |= set(found)
            bad |= {at: (field.name, reason) for at, reason in found.items() if at not in bad}
        return bad, keyless

    @staticmethod
    def _unfit(array: pa.Array[Any], field: Field) -> dict[int, str]:
        """Return row -> what is wrong with its value."""
        if field.good(array):
            return {}
        found = dict.fromkeys(_illegible(array, field), field.illegible)
        if found:
            legible = [None if at in found else value for at, value in enumerate(array.to_pylist())]
            array = pa.array(legible, array.type)
        unfit = all_bad(len(array), lambda low, high: field.good(taken(array, low, high)))
        return found | dict.fromkeys(unfit, f"is no {spoken(field.type)}")

    def _refused(self, raw: pa.RecordBatch, at: int, why: tuple[str, str], place: Place) -> RefusedRow:
        values = {field.name: field.show(array[at]) for array, field in self._pairs(raw)}
        return RefusedRow(why[1], why[0], f"{self.name}, {place(at)}", values)

    def _keys(self, raw: pa.RecordBatch, rows: Sequence[int]) -> pa.RecordBatch | None:
        """Return the keys of some rows."""
        if not (rows and self.key):
            return None
        some = raw.take(pa.array(rows, pa.int64()))
        found = [
            (at, field.read(array)) for at, (array, field) in enumerate(self._pairs(some)) if field.name in self.key
        ]
        schema = pa.schema([self.schema.field(at) for at, _ in found])
        return pa.RecordBatch.from_arrays([values for _, values in found], schema=schema)

    def _fail(self, raw: pa.RecordBatch, place: Place) -> NoReturn:
        """Refuse the first value of the first column that cannot be read.

        :raises DataError: names its place, and the value where it may be seen.
        """
        array, field = next((array, field) for array, field in self._pairs(raw) if not field.good(array))
        at, hidden = _first_bad(array, field), field.name in self.hidden
        if field.legible and not field.legible(array[at].as_py()):
            raise DataError(
                f"{self.name}, {place(at)}: column {field.name!r} {field.illegible}"
                f"{'' if hidden else f': {cut(field.show(array[at]))}'}.",
                hint=self.hint,
            )
        value = "a value" if hidden else cut(field.show(array[at]))
        raise DataError(
            f"{self.name}, {place(at)}: column {field.name!r} has {value}, which is no {spoken(field.type)}.",
            hint=f"correct the file, or read the column as text: column_types={{{field.name!r}: 'text'}}",
        )


def _first_bad(array: pa.Array[Any], field: Field) -> int:
    """Return where the first value is that cannot be read; there must be one."""
    low, high = 0, len(array)  # the first is at low or after it, and before high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if field.good(taken(array, low, middle)) else (low, middle)
    return low


def _illegible(array: pa.Array[Any], field: Field) -> Iterator[int]:
    """Give the rows whose value cannot be looked at."""
    if field.legible:
        for at, value in enumerate(array.to_pylist()):
            if not field.legible(value):
                yield at
