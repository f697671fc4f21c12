"""Finding the keys in which two sides differ: bucket by bucket, and only where it is worth it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Final, NamedTuple, Self, TypeVar

from airflow_elt_provider.core.comparison import (
    MD5,
    NOTHING,
    Bucket,
    ComparedTable,
    Key,
    Question,
    Row,
    Sum,
    digits_of,
    ranges_of,
)
from airflow_elt_provider.core.schema import TableSchema

LEAF_ROWS: Final = 100_000
"""Rows of both sides that are held against each other one by one at a time."""
KNOWN_KEYS: Final = 100_000
"""Keys that are remembered; of more differences there is only the number."""
_T = TypeVar("_T")


# --- both sides ---


class _Side:
    """One side, opened, asked and closed in a thread of its own: some clients want that."""

    def __init__(self, opening: AbstractContextManager[ComparedTable]) -> None:
        self._opening = opening
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="elt-compare")

    def __enter__(self) -> Self:
        try:
            self.table = self._thread.submit(self._opening.__enter__).result()
        except BaseException:
            self._thread.shutdown(wait=False)
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self._thread.submit(self._opening.__exit__, None, None, None).result()
        self._thread.shutdown()

    def submit(self, ask: Callable[[ComparedTable], _T]) -> Callable[[], _T]:
        return self._thread.submit(ask, self.table).result


@dataclass(frozen=True)
class Sides:
    """Source and target, each under a snapshot."""

    _source: _Side
    _target: _Side

    @property
    def source(self) -> ComparedTable:
        """The source's side."""
        return self._source.table

    @property
    def target(self) -> ComparedTable:
        """The target's side."""
        return self._target.table

    def both(self, ask: Callable[[ComparedTable], _T]) -> tuple[_T, _T]:
        """Ask both at once."""
        source, target = self._source.submit(ask), self._target.submit(ask)
        return source(), target()


@contextmanager
def opened(
    source: AbstractContextManager[ComparedTable],
    target: Callable[[ComparedTable], AbstractContextManager[ComparedTable]],
) -> Iterator[Sides]:
    """Open both sides.

    :param target: opens the target, given the source's side.
    """
    with _Side(source) as first, _Side(target(first.table)) as second:
        yield Sides(first, second)


# --- what can be asked ---


@dataclass(frozen=True)
class Agreement:
    """What both sides can be asked.

    :param question: None where they can only count their rows.
    :param not_compared: column -> why.
    """

    question: Question | None
    not_compared: Mapping[str, str]
    schema: TableSchema
    notes: tuple[str, ...] = ()


def agree(sides: Sides, masked: Mapping[str, str]) -> Agreement:
    """Choose the columns that are compared, and how.

    :param masked: columns whose values are not the source's own, and what was done to them.
    """
    schema = sides.source.schema
    best: tuple[str, dict[str, str]] | None = None
    for tongue in (each for each in sides.source.tongues if each in sides.target.tongues):
        reasons = {name: masked.get(name) or _mismatch(sides, name, tongue) for name in schema.names}
        left_out = {name: reason for name, reason in reasons.items() if reason}
        if best is None or len(left_out) < len(best[1]):
            best = tongue, left_out
    if best is None:
        return Agreement(None, {name: masked.get(name, _ONLY_COUNTED) for name in schema.names}, schema)
    key = schema.primary_key
    notes: tuple[str, ...] = ()
    without = [name for name in key if name in masked or _mismatch(sides, name, MD5)]
    if without:
        notes = (f"column {without[0]!r} of the key cannot be compared: rows are, but nobody can say which",)
    if (not key or without) and best[0] != MD5:
        reasons = {name: masked.get(name) or _mismatch(sides, name, MD5) for name in schema.names}
        best = MD5, {name: reason for name, reason in reasons.items() if reason}
    columns = tuple(name for name in schema.names if name not in best[1])
    if not columns:
        return Agreement(None, best[1], schema, notes)
    told_by = () if without else key
    return Agreement(_question(sides, best[0], columns, told_by), best[1], schema, notes)


_ONLY_COUNTED: Final = "rows are only counted"


def _mismatch(sides: Sides, name: str, tongue: str) -> str:
    source, target = sides.source.form(name, tongue), sides.target.form(name, tongue)
    if not source.name:
        return f"source: {source.reason}"
    if not target.name:
        return f"target: {target.reason}"
    return "" if source.name == target.name else f"source: {source.reason}; target: {target.reason}"


def _question(sides: Sides, tongue: str, columns: tuple[str, ...], key: tuple[str, ...]) -> Question:
    buckets = digits_of(key)
    if len(key) == 1 and all(side.form(key[0], MD5).whole for side in (sides.source, sides.target)):
        found = sides.both(lambda side: side.bounds(key[0]))
        bounds = [bound for each in found if each for bound in each]
        if bounds:
            buckets = ranges_of(key[0], min(bounds), max(bounds))
    return Question(tongue, columns, key, buckets)


# --- differences ---


class Gap(NamedTuple):
    """How one key differs: in so many rows. Of a real key at most one of them is 1."""

    missing: int = 0
    surplus: int = 0
    different: int = 0


@dataclass
class Differences:
    """The keys in which two sides differ.

    :param keys: the first of them; without a key the rows' hashes.
    """

    gaps: list[int] = field(default_factory=lambda: [0, 0, 0])
    keys: dict[Key, Gap] = field(default_factory=dict)

    @property
    def total(self) -> Gap:
        """How many rows are missing, surplus and different."""
        return Gap(*self.gaps)

    @property
    def all_known(self) -> bool:
        """Whether every key is remembered."""
        return len(self.keys) < KNOWN_KEYS

    def __bool__(self) -> bool:
        return any(self.gaps)

    def add(self, key: Key, gap: Gap) -> None:
        """Count a key."""
        self.gaps = [one + other for one, other in zip(self.gaps, gap, strict=True)]
        if self.all_known:
            self.keys[key] = gap

    def again(self, before: Differences) -> Differences:
        """Return those that were there before, too."""
        found = Differences()
        for key, gap in self.keys.items():
            if key in before.keys:
                found.add(key, gap)
        return found


@dataclass(frozen=True)
class Buckets:
    """What the first pass found.

    :param differing: bucket -> rows of both sides.
    :param folded: for each column how many values counted as NULL, at the source and in the target.
    """

    source_rows: int
    target_rows: int
    number: int
    differing: Mapping[Bucket, int]
    folded: tuple[tuple[int, int], ...]


def compare(sides: Sides, question: Question) -> Buckets:
    """Hold the sums of both sides' buckets against each other."""
    source, target = sides.both(lambda side: side.sums(question))
    together = {*source, *target}
    differing = {
        bucket: source.get(bucket, NOTHING).rows + target.get(bucket, NOTHING).rows
        for bucket in together
        if source.get(bucket, NOTHING)[:2] != target.get(bucket, NOTHING)[:2]
    }
    folded = tuple(zip(_folded(source, question), _folded(target, question), strict=True))
    rows = [sum(each.rows for each in side.values()) for side in (source, target)]
    return Buckets(rows[0], rows[1], len(together), differing, folded)


def _folded(sums: Mapping[Bucket, Sum], question: Question) -> list[int]:
    return [sum(each.folded[at] for each in sums.values() if each.folded) for at in range(len(question.columns))]


def drill(sides: Sides, question: Question, differing: Mapping[Bucket, int]) -> Differences:
    """Find the keys that differ in some buckets."""
    found = Differences()
    _drill(sides, question, differing, found)
    return found


def _drill(sides: Sides, question: Question, differing: Mapping[Bucket, int], found: Differences) -> None:
    small: dict[Bucket, int] = {}
    for bucket, rows in differing.items():
        finer = question.finer(bucket) if rows > LEAF_ROWS else None
        if finer:
            _drill(sides, finer, compare(sides, finer).differing, found)
        else:
            small[bucket] = rows
    for batch in _batches(small):
        source, target = sides.both(partial(_counted, question.of(batch)))
        for key, gap in _gaps(source, target, keyed=bool(question.key)):
            found.add(key, gap)


def _batches(buckets: Mapping[Bucket, int]) -> Iterator[list[Bucket]]:
    batch: list[Bucket] = []
    rows = 0
    for bucket in sorted(buckets):
        if batch and rows + buckets[bucket] > LEAF_ROWS:
            yield batch
            batch, rows = [], 0
        batch.append(bucket)
        rows += buckets[bucket]
    if batch:
        yield batch


def _counted(question: Question, side: ComparedTable) -> Counter[Row]:
    return Counter(side.rows(question))


def _gaps(source: Counter[Row], target: Counter[Row], *, keyed: bool) -> Iterator[tuple[Key, Gap]]:
    left: dict[Key, list[int]] = defaultdict(lambda: [0, 0])
    for at, rest in enumerate((source - target, target - source)):
        for row, times in rest.items():
            left[row.key if keyed else (row.hash,)][at] += times
    for key, (missing, surplus) in left.items():
        both = min(missing, surplus)
        yield key, Gap(missing - both, surplus - both, both)
