"""Rows of a block that cannot be decoded, set aside while the others go on."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import pyarrow as pa

from airflow_elt_provider.connectors.mysql.selection import SelectedColumn
from airflow_elt_provider.connectors.mysql.session import Row
from airflow_elt_provider.core.exact_values import Array, Split
from airflow_elt_provider.core.quarantine import Quarantine, RefusedRow, all_bad
from airflow_elt_provider.core.types import wire_type
from airflow_elt_provider.errors import DataError

Typed = Callable[[SelectedColumn, Array], Split]
"""Converts the bytes of one column."""


@dataclass(frozen=True)
class Sieve:
    """Keeps back what cannot be decoded.

    :param key: the key's columns, as named in the target.
    """

    columns: Sequence[SelectedColumn]
    quarantine: Quarantine
    key: Collection[str]

    def sift(self, block: list[Row], typed: Typed) -> list[Row]:
        """Return the rows that can be decoded.

        :raises QuarantineExceededError: when too many cannot.
        """
        bad: dict[int, SelectedColumn] = {}
        keyless: set[int] = set()
        for column, values in zip(self.columns, zip(*block, strict=True), strict=True):
            unfit = all_bad(len(block), _fitting(typed, column, values))
            bad = {**dict.fromkeys(unfit, column), **bad}
            if column.column.name in self.key:
                keyless |= set(unfit)
        rows = [self._refused(block[at], bad[at]) for at in sorted(bad)]
        keyed = [block[at] for at in sorted(bad) if at not in keyless]
        self.quarantine.refuse(rows, self._keys(keyed, typed))
        return [row for at, row in enumerate(block) if at not in bad]

    def _refused(self, row: Row, column: SelectedColumn) -> RefusedRow:
        kind = column.column.type
        reason = "is not UTF-8" if pa.types.is_string(kind) else f"does not fit {kind} exactly"
        texts = {
            each.source.name: None if value is None else value.decode("utf-8", "backslashreplace")
            for each, value in zip(self.columns, row, strict=True)
        }
        return RefusedRow(reason, column.source.name, self.quarantine.what, texts)

    def _keys(self, rows: list[Row], typed: Typed) -> pa.RecordBatch | None:
        """Return the keys of some rows."""
        if not (self.key and rows):
            return None
        pairs = [
            (column, values)
            for column, values in zip(self.columns, zip(*rows, strict=True), strict=True)
            if column.column.name in self.key
        ]
        arrays = [typed(column, pa.array(values, pa.binary())).typed for column, values in pairs]
        fields = [pa.field(column.column.name, wire_type(column.column.type)) for column, _ in pairs]
        return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))


def _fitting(typed: Typed, column: SelectedColumn, values: Sequence[bytes | None]) -> Callable[[int, int], bool]:
    def fits(low: int, high: int) -> bool:
        try:
            typed(column, pa.array(values[low:high], pa.binary()))
        except (DataError, pa.ArrowInvalid):
            return False
        return True

    return fits
