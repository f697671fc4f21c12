"""Fingerprint capture: one extract, from the comparison to what is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Final

import pyarrow as pa
from psycopg2.extensions import connection as Connection  # noqa: N812 - a class in all but its name

from airflow_elt_provider.connectors.postgres import capture_fingerprint as text
from airflow_elt_provider.connectors.postgres.decode import Decoder
from airflow_elt_provider.connectors.postgres.fingerprint_comparison import Comparison
from airflow_elt_provider.connectors.postgres.fingerprint_scan import Scanned, planned
from airflow_elt_provider.connectors.postgres.names import quoted
from airflow_elt_provider.connectors.postgres.reading import ROW_SECURITY, Reading, copied
from airflow_elt_provider.connectors.postgres.row_versions import has_aged, maybe_new
from airflow_elt_provider.core.buckets import BucketKind, Buckets
from airflow_elt_provider.core.fingerprints import md5_name, width_bits
from airflow_elt_provider.core.modes import DeleteMode
from airflow_elt_provider.core.protocols import ChangeSet, Outcome
from airflow_elt_provider.core.system_columns import OP
from airflow_elt_provider.core.types import wire_type

_BY_INDEX: Final = 0.15
"""Share of changed buckets up to which their rows are looked up in the key's index: a scan is faster beyond."""
_BY_BUCKET: Final = 0.5
"""Share of changed buckets beyond which all are read: telling a row's bucket would cost more than it saves."""
_PROBES: Final = 16
"""Rows of a scan that one look into an index costs."""

Cancel = Callable[[Connection], None]
Streams = Callable[[Reading], tuple[Sequence[Iterator[pa.RecordBatch]], str]]


@dataclass(frozen=True)
class Delta:
    """The buckets that changed, and how their rows are read.

    :param changed: all of them.
    :param thinned: those from which rows may have gone.
    """

    comparison: Comparison
    scanned: Scanned
    changed: list[int]
    thinned: list[int]

    @classmethod
    def of(cls, comparison: Comparison, scanned: Scanned) -> Delta:
        """Compare with the last load, whose buckets these have to be."""
        basis = comparison.basis
        assert basis.state  # noqa: S101 - else there is nothing to compare with
        before = basis.state.fingerprints
        changed = scanned.now.changed_since(before)
        if comparison.moment.extraction.deletes is DeleteMode.IGNORE:
            return cls(comparison, scanned, changed, [])
        # What is old now was there then: as many as then, and none is gone.
        were, are = before.rows_of(changed), scanned.old.rows_of(changed)
        thinned = [bucket for bucket in changed if were.get(bucket, 0) > are.get(bucket, 0)]
        return cls(comparison, scanned, changed, thinned)

    @property
    def buckets(self) -> Buckets:
        """How they are told."""
        return self.scanned.buckets

    def facts(self) -> dict[str, str]:
        """Say what is read: the predicate where it is a short one, and how many buckets."""
        snapshot = self.comparison.basis.snapshot
        rows = maybe_new(snapshot.xmin) if snapshot and self.comparison.basis.new else ""
        return {"rows": rows, "buckets": f"{len(self.changed):,} of {len(self.scanned.now):,} changed"}

    def _query(self, items: str, changed: list[int], condition: str, or_else: str = "") -> tuple[str, bool]:
        """Return the query for rows of changed buckets, and whether it goes by the index.

        :param or_else: a condition for rows that are wanted in any case.
        """
        moment, key = self.comparison.moment, self.comparison.key
        share = len(changed) / max(1, len(self.scanned.now))
        if self.buckets.kind is BucketKind.RANGE and self._indexed and share < _BY_INDEX:
            ranges = text.key_ranges(self.buckets, changed)
            tables = max(1, len(moment.present.epoch.tables))
            if len(ranges) * tables * _PROBES < self.scanned.now.rows:
                condition = f"{moment.where} AND {condition}"
                return text.by_ranges(key, ranges, items, moment.relation.from_item, condition), True
        if share <= _BY_BUCKET:
            inside = text.inside(key, self.buckets, changed, moment.connection.server_version)
            condition = f"{condition} AND {inside}"
        condition = f"({condition} OR {or_else})" if or_else else condition
        return f"SELECT {items} FROM {moment.relation.from_item} WHERE {moment.where} AND {condition}", False

    @property
    def _indexed(self) -> bool:
        relation, key = self.comparison.moment.relation, self.comparison.key
        own = tuple(column.source.name for column in key.columns) in relation.keys
        return relation.kind in "rp" and own and not relation.inherited and not self.scanned.keyless

    def rows(self, stack: ExitStack, reading: Reading, cancel: Cancel) -> Iterator[pa.RecordBatch]:
        """Give the rows of changed buckets that may be new, or all where that cannot be told; and those in none."""
        moment = self.comparison.moment
        keyless = f"{self.comparison.key.bucket(self.buckets)} IS NULL" if self.scanned.keyless else ""
        new = self.comparison.basis.new or "true"
        query = self._query(moment.selection.expressions, self.changed, new, keyless)
        decoder = Decoder.of(moment.selection, f"reading {moment.extraction.source}", reading.quarantine)
        return self._copied(stack, query, decoder, cancel)

    def keys(self, stack: ExitStack, cancel: Cancel) -> Iterator[pa.RecordBatch]:
        """Name the buckets from which rows may have gone, and the keys in them that :meth:`rows` does not give."""
        yield self._named()
        new = self.comparison.basis.new
        if not new:
            return
        moment, columns = self.comparison.moment, self.comparison.key.columns
        there = [f"{quoted(column.source.name)} IS NOT NULL" for column in columns if column.source.nullable]
        old = " AND ".join([f"NOT {new}", *there])
        query = self._query(", ".join(column.expression for column in columns), self.thinned, old)
        decoder = Decoder(columns, f"reading keys of {moment.extraction.source}")
        for batch in self._copied(stack, query, decoder, cancel):
            yield batch.append_column(OP, pa.array(["k"] * batch.num_rows, pa.string()))

    def _named(self) -> pa.RecordBatch:
        columns = {column.column.name: wire_type(column.column.type) for column in self.comparison.key.columns}
        thinned = self.thinned if self.buckets.kind is not BucketKind.ALL else [0]
        arrays = {name: pa.array([None] * len(thinned), type_) for name, type_ in columns.items()}
        marks = ["b"] * len(thinned)
        if self.buckets.kind is BucketKind.RANGE:
            (name,) = columns
            bits = width_bits(self.buckets)
            arrays[name] = pa.array([bucket << bits for bucket in thinned], columns[name])
        if self.buckets.kind is BucketKind.MD5:
            marks = [f"b{md5_name(bucket, self.buckets.size)}" for bucket in thinned]
        return pa.RecordBatch.from_pydict({**arrays, OP: pa.array(marks, pa.string())})

    def _copied(
        self, stack: ExitStack, query: tuple[str, bool], decoder: Decoder, cancel: Cancel
    ) -> Iterator[pa.RecordBatch]:
        moment, (rows, by_index) = self.comparison.moment, query
        settings = {"enable_seqscan": "off"} if by_index else {}
        batches = stack.enter_context(
            copied(moment.connection, rows, decoder, f"reading {moment.extraction.source}", cancel)
        )
        with planned(moment.connection, settings):
            yield from batches


# --- the change set ---


def change_set(comparison: Comparison, stack: ExitStack, streams: Streams, cancel: Cancel) -> ChangeSet:
    """Read what changed; everything where nothing can be compared."""
    basis, reading = comparison.basis, reading_of(comparison, "true")
    scanned = comparison.scan()
    if basis.state is None or basis.buckets is None:
        found, note = streams(reading)
        return replace(
            reading.change_set(found, note), complete=True, outcome=lambda: comparison.outcome(scanned),
            source_rows=scanned.rows,
        )  # fmt: skip
    delta = Delta.of(comparison, scanned.told_as(basis.buckets))
    rows = scanned.rows
    if not (delta.changed or scanned.keyless):
        return replace(
            reading_of(comparison, None).change_set([], ""), complete=False, source_rows=rows,
            outcome=lambda: _unmoved(comparison, scanned),
        )  # fmt: skip
    thinned, told = bool(delta.thinned), reading.change_set([delta.rows(stack, reading, cancel)], "")
    return replace(
        told, complete=False, facts={**told.facts, **delta.facts()},
        keys=[delta.keys(stack, cancel)] if thinned else [], buckets=delta.buckets if thinned else None,
        outcome=lambda: comparison.outcome(scanned), source_rows=rows,
    )  # fmt: skip


def _unmoved(comparison: Comparison, scanned: Scanned) -> Outcome:
    """Return the last position where it still holds, else one with a snapshot and a state file of now."""
    since, basis, moment = comparison.since, comparison.basis, comparison.moment
    assert since and since.snapshot and basis.state  # noqa: PT018, S101 - compared with
    same = replace(comparison.position, snapshot=since.snapshot, masks=since.masks) == since
    same = same and basis.state.facts == moment.facts and basis.buckets == comparison.wanted
    if same and not has_aged(since.snapshot.xmin, moment.xmin):
        return Outcome(since)
    return comparison.outcome(scanned)


def reading_of(comparison: Comparison, predicate: str | None) -> Reading:
    """Return the reading of the rows that a predicate names, with everything there is to say about it."""
    moment, basis = comparison.moment, comparison.basis
    notes = (*moment.selection.notes, *basis.notes, *basis.additions.notes(moment.extraction.mode))
    if moment.relation.row_security:
        notes += (ROW_SECURITY,)
    if basis.reason:
        notes += (f"{basis.reason}: reading everything once",)
    return Reading(
        moment.connection, moment.relation, moment.extraction, moment.selection, comparison.position, predicate,
        None, basis.additions, notes,
    )  # fmt: skip
