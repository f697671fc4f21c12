"""Rows of a block that cannot be decoded, set aside while the others go on."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import pyarrow as pa

from airflow_elt_provider.connectors.postgres.exact import split
from airflow_elt_provider.connectors.postgres.selection import SelectedColumn
from airflow_elt_provider.core.exact_values import Array
from airflow_elt_provider.core.quarantine import Quarantine, RefusedRow, all_bad
from airflow_elt_provider.core.types import wire_type
from airflow_elt_provider.errors import DataError

_NOT_UTF_8 = "is not UTF-8"


@dataclass(frozen=True)
class Sieve:
    """Keeps back what cannot be decoded.

    :param what: is being read, for errors.
    :param place: where the rows stand: the source's name.
    :param key: the key's columns, as named in the target.
    """

    columns: Sequence[SelectedColumn]
    what: str
    place: str
    quarantine: Quarantine
    key: Collection[str]

    def sift(self, raw: pa.RecordBatch) -> pa.RecordBatch:
        """Return the rows that can be decoded, as canonical texts, from a batch of their bytes.

        :raises QuarantineExceededError: when too many cannot.
        """
        arrays: list[Array] = []
        bad: dict[int, tuple[str, str]] = {}
        keyless: set[int] = set()
        for column, values in zip(self.columns, raw.columns, strict=True):
            texts, found = self._column(column, values.to_pylist())
            arrays.append(texts)
            bad |= {at: (column.source.name, reason) for at, reason in found.items() if at not in bad}
            if column.column.name in self.key:
                keyless |= set(found)
        texts = pa.RecordBatch.from_arrays(arrays, names=raw.schema.names)
        rows = [self._refused(raw, at, *bad[at]) for at in sorted(bad)]
        self.quarantine.refuse(rows, self._keys(texts, [at for at in sorted(bad) if at not in keyless]))
        return texts.filter(pa.array([at not in bad for at in range(raw.num_rows)]))

    def _column(self, column: SelectedColumn, values: list[bytes | None]) -> tuple[Array, dict[int, str]]:
        """Return a column's texts, NULL for bytes that are none, and which values are bad and why."""
        decoded, bad = list[str | None](), dict[int, str]()
        for at, value in enumerate(values):
            try:
                decoded.append(None if value is None else value.decode())
            except UnicodeDecodeError:
                decoded.append(None)
                bad[at] = _NOT_UTF_8
        texts = pa.array(decoded, pa.string())
        if not pa.types.is_binary(column.column.type):
            unfit = all_bad(len(texts), lambda low, high: self._fits(column, texts[low:high]))
            bad |= dict.fromkeys(unfit, f"does not fit {column.column.type} exactly")
        return texts, bad

    def _fits(self, column: SelectedColumn, texts: Array) -> bool:
        try:
            split(texts, column, self.what)
        except (DataError, pa.ArrowInvalid):
            return False
        return True

    def _refused(self, raw: pa.RecordBatch, at: int, column: str, reason: str) -> RefusedRow:
        values: list[bytes | None] = [array[at].as_py() for array in raw.columns]
        named = zip(self.columns, values, strict=True)
        texts = {
            each.source.name: None if value is None else value.decode("utf-8", "backslashreplace")
            for each, value in named
        }
        return RefusedRow(reason, column, self.place, texts)

    def _keys(self, texts: pa.RecordBatch, rows: Sequence[int]) -> pa.RecordBatch | None:
        """Return the keys of some rows."""
        key = [column for column in self.columns if column.column.name in self.key]
        if not (key and rows):
            return None
        taken = texts.take(pa.array(rows, pa.int64()))
        arrays = [split(taken.column(column.column.name), column, self.what).typed for column in key]
        fields = [pa.field(column.column.name, wire_type(column.column.type)) for column in key]
        return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))
