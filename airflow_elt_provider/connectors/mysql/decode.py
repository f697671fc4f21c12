"""Rows of bytes as Arrow batches: fast where every value is ordinary, exact where one is not."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import date
from typing import Any, Final

import pyarrow as pa

from airflow_elt_provider.connectors.mysql.selection import SelectedColumn, Selection
from airflow_elt_provider.connectors.mysql.session import Row
from airflow_elt_provider.connectors.mysql.sieve import Sieve
from airflow_elt_provider.core.exact_values import Array, Split, TextColumn, exact_json, pc
from airflow_elt_provider.core.quarantine import Quarantine
from airflow_elt_provider.core.system_columns import EXACT
from airflow_elt_provider.core.types import JSON, wire_type
from airflow_elt_provider.errors import DataError

_NO_DATE: Final = r"^0000-|-00"
_DAY: Final = len("2024-01-01")
_ASK: Final = "correct it at the source, or leave the column out with exclude_columns"


class Decoder:
    """Turns the rows of one stream into batches.

    :param sieve: takes the rows that cannot be decoded.
    """

    def __init__(self, columns: Sequence[SelectedColumn], what: str, sieve: Sieve | None = None) -> None:
        self._columns, self._what, self._sieve = columns, what, sieve

    @classmethod
    def of(cls, selection: Selection, what: str, quarantine: Quarantine) -> Decoder:
        """Return what decodes a selection's rows, and sets aside what it cannot."""
        sieve = Sieve(selection.columns, quarantine, selection.schema.primary_key) if quarantine.open else None
        return cls(selection.columns, what, sieve)

    def batches(self, blocks: Iterator[list[Row]]) -> Iterator[pa.RecordBatch]:
        """Decode every block.

        :raises DataError: for a value that does not fit the type that ``column_types`` gives its column, and for text
            that is not UTF-8, unless the sieve takes the row.
        """
        for block in blocks:
            yield self._decode(block) if self._sieve is None else self._sifted(block, self._sieve)

    def _sifted(self, block: list[Row], sieve: Sieve) -> pa.RecordBatch:
        try:
            return self._decode(block)
        except (DataError, pa.ArrowInvalid):
            return self._decode(sieve.sift(block, self._typed))

    def _decode(self, block: list[Row]) -> pa.RecordBatch:
        arrays, exact = [], {}
        by_column = zip(*block, strict=True) if block else [()] * len(self._columns)
        for column, values in zip(self._columns, by_column, strict=True):
            found = self._typed(column, pa.array(values, pa.binary()))
            arrays.append(found.typed)
            if found.exact is not None:
                exact[column.column.name] = found.exact
        fields = [pa.field(column.column.name, wire_type(column.column.type)) for column in self._columns]
        if exact:
            arrays.append(exact_json(exact))
            fields.append(pa.field(EXACT, pa.string()))
        return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))

    def _typed(self, column: SelectedColumn, data: Array) -> Split:
        kind = column.column.type
        if pa.types.is_binary(kind):
            return Split(data)
        texts = self._texts(column, data)
        if column.override is not None:
            return self._overridden(column, texts)
        if kind.equals(wire_type(kind)) and not pa.types.is_string(kind):
            return self._plain(column, texts)
        return Split(texts)

    def _texts(self, column: SelectedColumn, data: Array) -> Array:
        try:
            return pc.cast(data, pa.string())
        except pa.ArrowInvalid as error:
            raise DataError(
                f"{self._what}: column {column.source.name!r} holds text that is not UTF-8.", hint=_ASK
            ) from error

    def _plain(self, column: SelectedColumn, texts: Array) -> Split:
        """Convert to the type that the server's own type has."""
        kind = column.column.type
        if not (pa.types.is_date(kind) or pa.types.is_timestamp(kind)):
            return Split(self._as(column, kind).convert(texts) if pa.types.is_boolean(kind) else pc.cast(texts, kind))
        naive = pa.timestamp("us") if pa.types.is_timestamp(kind) else kind
        found = self._as(column, naive).split(texts, no_dates(texts))
        return Split(found.typed.view(kind), found.exact) if naive != kind else found

    def _overridden(self, column: SelectedColumn, texts: Array) -> Split:
        """Convert to the type that the user chose."""
        kind, own = column.column.type, column.own_type
        if pa.types.is_float32(own):  # the server wrote the digits of a double
            texts = pc.cast(pc.cast(pc.cast(texts, pa.float64()), own), pa.string())
        if kind.equals(JSON):
            self._refuse_no_json(column, texts)
        if not (pa.types.is_date(kind) or pa.types.is_timestamp(kind)):
            return self._as(column, kind).split(texts, None)
        if pa.types.is_timestamp(kind) and kind.tz:
            found = self._as(column, pa.timestamp("us")).split(texts, no_dates(texts))
            return Split(found.typed.view(kind), found.exact)
        return self._as(column, kind).split(texts, no_dates(texts))

    def _as(self, column: SelectedColumn, kind: pa.DataType) -> TextColumn:
        return TextColumn(column.source.name, kind, column.own_type, self._what)

    def _refuse_no_json(self, column: SelectedColumn, texts: Array) -> None:
        for text in texts.to_pylist():
            try:
                json.loads(text or "null")
            except (ValueError, RecursionError) as error:
                shown = f"{text[:60]!r}"
                raise DataError(
                    f"{self._what}: column {column.source.name!r} holds {shown}, which is no JSON.",
                    hint="correct it at the source, or leave the column its own type",
                ) from error


def no_dates(texts: Array) -> Array | None:
    """Say which texts are of days that no calendar has: with a zero in them, or (rarely) 31 February.

    None where all are ordinary.
    """
    days = pc.utf8_slice_codeunits(texts, 0, _DAY)
    if not pc.any(pc.match_substring_regex(days, _NO_DATE), min_count=0).as_py() and _all_dates(days):
        return None
    known: Any = pc.dictionary_encode(days)
    odd = pa.array([text is not None and not _is_day(text) for text in known.dictionary.to_pylist()])
    return pc.fill_null(pc.take(odd, known.indices), pa.scalar(value=False))


def _all_dates(days: Array) -> bool:
    try:
        pc.cast(days, pa.date32())
    except pa.ArrowInvalid:
        return False
    return True


def _is_day(text: str) -> bool:
    try:
        return len(text) == _DAY and date.fromisoformat(text).year > 0
    except ValueError:
        # A year of five digits, or words, are for the conversion to refuse.
        return not (len(text) == _DAY and text[4:8:3] == "--")
