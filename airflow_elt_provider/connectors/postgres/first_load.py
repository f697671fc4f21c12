"""A large table's first load, range of keys by range of keys: each under a small snapshot of its own.

Every range brings the fingerprints of the very rows that it stages. Their sum is therefore the fingerprint of what is
staged, whatever moved meanwhile, and the next load finds every bucket in which the source differs from it.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Final

from airflow_elt_provider.connectors.postgres import snapshot
from airflow_elt_provider.connectors.postgres.catalog import query_rows
from airflow_elt_provider.connectors.postgres.fingerprint_comparison import Comparison, compare
from airflow_elt_provider.connectors.postgres.fingerprint_reading import Cancel, reading_of
from airflow_elt_provider.connectors.postgres.fingerprint_scan import estimated_rows, planned, table_bytes
from airflow_elt_provider.connectors.postgres.names import literal
from airflow_elt_provider.connectors.postgres.reading import Reading
from airflow_elt_provider.connectors.postgres.session import translate
from airflow_elt_provider.core.buckets import BucketKind
from airflow_elt_provider.core.capture import Fingerprint
from airflow_elt_provider.core.fingerprints import Fingerprints, State
from airflow_elt_provider.core.protocols import ChangeSet, Outcome, Portion
from airflow_elt_provider.errors import TransientError

_BY_KEY: Final = {"enable_sort": "off", "enable_seqscan": "off"}
_SCATTERED: Final = 16
"""Ranges, at most, of a key that is no whole number: its rows lie anywhere, and each range may read the whole table."""


@dataclass(frozen=True)
class PortionSizes:
    """When a first load goes range by range, and how large these are.

    :param rows: tables with fewer are read in one go, and no range has fewer.
    :param bytes: likewise, of the table as it is stored; ranges have about four times as many.
    """

    rows: int = 1_000_000
    bytes: int = 64 << 20


@dataclass(frozen=True)
class _Done:
    """What a range leaves for those behind it.

    :param to: the first key that is not in it, as texts; None for the last range.
    :param state: the fingerprints of its rows, base64.
    """

    to: list[str] | None
    xmin: int
    epoch: str
    state: str

    @classmethod
    def parse(cls, data: bytes) -> _Done:
        return cls(**json.loads(data))

    def fingerprints(self) -> Fingerprints:
        known = State.from_bytes(base64.b64decode(self.state))
        if known is None:
            raise TransientError("A range of the first load left a record that cannot be read.", hint="clear the task")
        return known.fingerprints


@dataclass(frozen=True)
class FirstLoad:
    """The ranges of one table, or of a part of it.

    :param step: rows of a range, about.
    :param low: the first key of all; None for the table's.
    :param high: the first key that is beyond all; None for none.
    """

    comparison: Comparison
    step: int
    cancel: Cancel
    low: list[str] | None = None
    high: list[str] | None = None

    @property
    def plan(self) -> str:
        """Identity of what is read: ranges of two plans are never mixed."""
        return identity(self.comparison)

    @contextmanager
    def open(self, done: Sequence[bytes]) -> Iterator[Portion]:
        """Open the range behind those that are done.

        :raises TransientError: when the table is no longer what the first range was read from.
        """
        moment = self.comparison.moment
        with translate(f"reading {moment.extraction.source}"), ExitStack() as stack:
            comparison = self._afresh()
            low = _Done.parse(done[-1]).to if done else self.low
            high = self._end(comparison, low)
            within = _between(comparison, low, high)
            scanned = comparison.scan(within).told_as(comparison.wanted)
            reading = Reading(
                moment.connection, comparison.moment.relation, moment.extraction, comparison.moment.selection,
                comparison.position, within,
            )  # fmt: skip
            share = f"{comparison.moment.where} AND {within}"
            stream = stack.enter_context(reading.stream(moment.connection, share, self.cancel))
            state = base64.b64encode(State(scanned.now).to_bytes()).decode()
            left = _Done(high, comparison.moment.xmin, str(comparison.moment.present.epoch), state)
            yield Portion([stream], json.dumps(asdict(left)).encode())

    def changes(self) -> ChangeSet:
        """Say what there is to read."""
        told = reading_of(self.comparison, "true").change_set([], "")
        return replace(told, complete=True, portions=self)

    def is_over(self, done: Sequence[bytes]) -> bool:
        """Whether no range is left."""
        return bool(done) and _Done.parse(done[-1]).to == self.high

    def outcome(self, done: Sequence[bytes]) -> Outcome:
        """Return where the stream stands once all ranges are merged."""
        ranges = [_Done.parse(data) for data in done]
        now = Fingerprints.none().plus(*(each.fingerprints() for each in ranges))
        # The first range's snapshot, to which all others are later; the smallest, should two twins have met.
        position = replace(self.comparison.position, snapshot=replace(
            self.comparison.snapshot(now.rows), xmin=min(each.xmin for each in ranges), epoch=ranges[0].epoch
        ))  # fmt: skip
        return Outcome(position, State(now, self.comparison.moment.facts).to_bytes(), now.rows)

    def _afresh(self) -> Comparison:
        """Begin a new transaction and see that it is about the same."""
        moment = self.comparison.moment
        with moment.connection.cursor() as cursor:
            cursor.execute("ROLLBACK")
        relation = snapshot.open_relation(moment.connection, moment.extraction)
        fresh = replace(
            compare(moment.connection, relation, moment.extraction, None, None), wanted=self.comparison.wanted
        )
        if identity(fresh) != self.plan:
            raise TransientError(
                f"{moment.extraction.source} was altered during its first load.", hint="the next try begins it anew"
            )
        return fresh

    def _end(self, comparison: Comparison, low: list[str] | None) -> list[str] | None:
        """Return the first key beyond the range; that of the whole where it is the last."""
        names = ", ".join(comparison.key.names)
        texts = ", ".join(f"{name}::pg_catalog.text" for name in comparison.key.names)
        sql = (
            f"SELECT {texts} FROM {comparison.moment.relation.from_item} WHERE {_between(comparison, low, self.high)} "
            f"ORDER BY {names} LIMIT 1 OFFSET {self.step}"
        )
        with planned(comparison.moment.connection, _BY_KEY):
            found = query_rows(comparison.moment.connection, sql)
        return list(found[0]) if found else self.high


def in_portions(comparison: Comparison, sizes: PortionSizes, cancel: Cancel) -> FirstLoad | None:
    """Return the ranges of a table that is to be read whole; None where it is better read in one go."""
    moment = comparison.moment
    capture, relation = moment.extraction.capture, moment.relation
    one_go = isinstance(capture, Fingerprint) and capture.consistent
    own_key = tuple(column.source.name for column in comparison.key.columns) in relation.keys
    if one_go or comparison.basis.state or relation.kind not in "rp" or not own_key or relation.inherited:
        return None
    if moment.extraction.max_quarantined_rows:
        return None  # the rows set aside are of one snapshot
    rows = estimated_rows(moment.connection, relation.from_item)
    size = table_bytes(moment.connection, moment.present.epoch.tables)
    if rows < sizes.rows or size < sizes.bytes:
        return None
    return FirstLoad(comparison, step_of(comparison, sizes, rows, size), cancel)


def step_of(comparison: Comparison, sizes: PortionSizes, rows: int, size: int) -> int:
    """Return how many rows a range should have, of a table of so many rows and bytes."""
    step = max(sizes.rows, rows * 4 * sizes.bytes // max(size, 1))
    if comparison.key.kind is not BucketKind.RANGE:
        step = max(step, rows // _SCATTERED)
    return step


def identity(comparison: Comparison) -> str:
    """Return what tells a table as it is from any other, and from itself once it was altered."""
    moment = comparison.moment
    epoch = replace(moment.present.epoch, boot="")
    known = (str(epoch), moment.by, comparison.position, comparison.key.kind, comparison.wanted, moment.facts)
    return repr((*known, moment.selection.schema.to_json()))


def _between(comparison: Comparison, low: list[str] | None, high: list[str] | None) -> str:
    names = ", ".join(comparison.key.names)
    bounds = [("<", high), (">=", low)]
    tests = [f"({names}) {sign} ({_constants(comparison, key)})" for sign, key in bounds if key is not None]
    return " AND ".join(tests) or "true"


def _constants(comparison: Comparison, key: Sequence[str]) -> str:
    types = [column.source.type.declared for column in comparison.key.columns]
    return ", ".join(f"{literal(text)}::{type_}" for text, type_ in zip(key, types, strict=True))
