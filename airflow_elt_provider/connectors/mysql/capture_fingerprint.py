"""Fingerprint capture: hashes of the content of buckets of keys, compared with those of the last load."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from airflow_elt_provider.connectors.mysql.catalog import Relation
from airflow_elt_provider.connectors.mysql.key_buckets import KeyBuckets
from airflow_elt_provider.connectors.mysql.row_hash import RULES, row_hash
from airflow_elt_provider.connectors.mysql.row_stream import RowStream
from airflow_elt_provider.connectors.mysql.selection import Selection
from airflow_elt_provider.connectors.mysql.session import MySqlSession, Row
from airflow_elt_provider.core.buckets import BucketKind, Buckets
from airflow_elt_provider.core.capture import Fingerprint
from airflow_elt_provider.core.checkpoint import SnapshotPosition
from airflow_elt_provider.core.exact_values import pc
from airflow_elt_provider.core.fingerprints import (
    Fingerprints,
    State,
    comparable,
    md5_digits,
    narrower,
    width_bits,
)


@dataclass(frozen=True)
class FingerprintReading:
    """What one extract reads.

    :param predicates: which rows, a statement each.
    :param complete: whether that is the whole table.
    :param keys: names of the changed buckets.
    :param buckets: how those are told; None where there are none.
    :param state: what the next extract compares with; None where that stays what it was.
    """

    predicates: tuple[str, ...]
    position: SnapshotPosition
    state: bytes | None
    complete: bool = False
    keys: Sequence[Iterator[pa.RecordBatch]] = ()
    buckets: Buckets | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class FingerprintReader:
    """Compares a table with the fingerprints of the last load.

    :param where: the user's own predicate, in parentheses, or ``true``.
    :param masked: source columns whose values the target does not have.
    :param cancel: asks the server to stop what the session runs.
    """

    session: MySqlSession
    relation: Relation
    selection: Selection
    capture: Fingerprint
    where: str
    masked: tuple[str, ...]
    cancel: Callable[[MySqlSession], None]

    def read(self, since: SnapshotPosition | None, state: bytes | None) -> FingerprintReading:
        """Compare, and say which buckets changed; everything where there is nothing to compare with."""
        key = KeyBuckets.of(self.selection, self.masked)
        before = State.from_bytes(state) if since and state and since.epoch == self.epoch else None
        known = since.buckets if since and before else None
        told = key.sized(self.capture.bucket_rows, self._digits(key, known))
        if known is None or before is None or not comparable(told, known):
            fingerprints = self._fingerprints(key, told)
            note = "nothing to compare with: reading the whole table" if since else ""
            return self._everything(fingerprints, told, note)
        return self._compare(key, told, known, before.fingerprints, since)

    @property
    def epoch(self) -> str:
        """Identity of what is hashed, and how: fingerprints of another one cannot be compared."""
        columns = [(column.source.name, column.source.type.declared) for column in self.selection.columns]
        said = json.dumps([RULES, columns, list(self.selection.schema.primary_key), self.where])
        return hashlib.sha256(said.encode()).hexdigest()[:32]

    def _digits(self, key: KeyBuckets, known: Buckets | None) -> int:
        if key.kind is not BucketKind.MD5:
            return 0
        rows = int(self.session.one(f"SELECT COUNT(*) {self._from}")[0] or 0)
        before = known.size if known and known.kind is BucketKind.MD5 else 0
        return md5_digits(rows, self.capture.bucket_rows, before)

    def _everything(self, now: Fingerprints, told: Buckets, note: str) -> FingerprintReading:
        notes = (note,) if note else ()
        position, state = self._standing(now, told)
        return FingerprintReading(("true",), position, state, complete=True, notes=notes)

    def _standing(self, now: Fingerprints, told: Buckets) -> tuple[SnapshotPosition, bytes]:
        position = SnapshotPosition(self.epoch, by="content", buckets=told, rows=now.rows)
        return position, State(now).to_bytes()

    def _compare(
        self, key: KeyBuckets, told: Buckets, known: Buckets, before: Fingerprints, since: SnapshotPosition | None
    ) -> FingerprintReading:
        fine = narrower(told, known)
        now = self._fingerprints(key, fine)
        shown = max(told, known, key=width_bits)  # changes are told in the wider of the two
        mine, theirs = (
            found.folded(width_bits(shown) - width_bits(own)) for found, own in ((now, fine), (before, known))
        )
        changed = mine.changed_since(theirs)
        if not changed and told == known and since:
            return FingerprintReading((), since, None)
        position, state = self._standing(now.folded(width_bits(told) - width_bits(fine)), told)
        plain = FingerprintReading((), position, state, notes=(f"{len(changed)} of {len(mine)} buckets changed",))
        if len(changed) * 2 > max(len(mine), len(theirs)):  # one scan is less work than many ranges
            return replace(plain, predicates=("true",), complete=True)
        if not changed:
            return plain
        predicates = tuple(key.predicates(changed, shown))
        return replace(plain, predicates=predicates, keys=(key.named(changed, shown),), buckets=shown)

    def _fingerprints(self, key: KeyBuckets, told: Buckets) -> Fingerprints:
        columns = [column.source for column in self.selection.columns]
        counted = f"{key.number(told)} AS `_elt_b`, COUNT(*), SUM({row_hash(columns)})"
        sql = f"SELECT {counted} {self._from} GROUP BY `_elt_b`"
        stream = RowStream(self.session, [sql], f"comparing {self.relation.identity}", self.cancel)
        return Fingerprints.none().plus(*map(_counted, stream.blocks()))

    @property
    def _from(self) -> str:
        return f"FROM {self.relation.from_item} WHERE {self.where}"


def _counted(block: list[Row]) -> Fingerprints:
    numbers, rows, hashes = (pc.cast(pa.array(column, pa.binary()), pa.string()) for column in zip(*block, strict=True))
    return Fingerprints.of(numbers, rows, pc.cast(hashes, pa.decimal128(38, 0)))
