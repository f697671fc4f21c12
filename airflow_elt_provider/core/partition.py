"""A table too large for one task, in ranges of its keys."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from airflow_elt_provider.core.buckets import Buckets
from airflow_elt_provider.core.capture import Fingerprint
from airflow_elt_provider.errors import ConfigurationError

if TYPE_CHECKING:
    from airflow_elt_provider.core.plan import Extraction

Key = tuple[str, ...]
"""A key, each column's value as the source's canonical text."""


@dataclass(frozen=True)
class Partition:
    """A half-open range of keys, ``low`` inclusive, in the order of the key's own types: no key is in two of them.

    :param number: from 1 on.
    :param of: how many there are.
    :param low: the first key that may be in it; None for the first range.
    :param high: the first key that is not; None for the last range.
    :param table: identity of what was divided: of another table, or of one that was altered since, the ranges say
        nothing.
    :param division: the same for all ranges of one division, and different for others.
    :param buckets: how fingerprints are told in all ranges.
    """

    number: int
    of: int
    low: Key | None
    high: Key | None
    table: str
    division: str
    buckets: Buckets

    def __str__(self) -> str:
        return f"{self.number} of {self.of}"

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object that :meth:`from_json` reads; it may travel by XCom."""
        low, high = (None if key is None else list(key) for key in (self.low, self.high))
        return {**asdict(self), "low": low, "high": high, "buckets": self.buckets.to_json()}

    @classmethod
    def from_json(cls, value: Any) -> Partition:
        """Read what :meth:`to_json` wrote.

        :raises ConfigurationError: for anything else.
        """
        try:
            low, high = (None if value[name] is None else tuple(map(str, value[name])) for name in ("low", "high"))
            return cls(**{**value, "low": low, "high": high, "buckets": Buckets.from_json(value["buckets"])})
        except (KeyError, TypeError, ValueError):
            kind = sorted(value) if isinstance(value, Mapping) else type(value).__name__
            raise ConfigurationError(
                f"partition={kind} is no range of keys.", hint="pass what a PlanPartitionsOperator returned"
            ) from None


def divided(table: str, bounds: Sequence[Key], buckets: Buckets) -> tuple[Partition, ...]:
    """Return the ranges between bounds.

    :param table: see :class:`Partition`.
    :param bounds: ascending keys, no two the same.
    """
    division = hashlib.sha256(repr((table, list(bounds))).encode()).hexdigest()[:16]
    ends = [None, *bounds, None]
    return tuple(
        Partition(number, len(bounds) + 1, ends[number - 1], ends[number], table, division, buckets)
        for number in range(1, len(ends))
    )


def refuse_unfit(extraction: Extraction, partitions: int) -> None:
    """Refuse to divide what cannot be read range by range.

    :raises ConfigurationError: names the parameter.
    """
    capture = extraction.capture
    masked = sorted(set(extraction.masked_columns) & set(extraction.primary_key or ()))
    rules = [
        (partitions < 1, f"partitions={partitions} is no number of ranges.", "give 1 or more"),
        (not isinstance(capture, Fingerprint),
         f"partitions needs capture='fingerprint', not {capture.name!r}: nothing else finds what moved between them.",
         "use capture='fingerprint', or parallelism to read several ranges in one task"),
        (isinstance(capture, Fingerprint) and capture.consistent,
         "Fingerprint(consistent=True) wants one snapshot, and each partition has its own.",
         "leave consistent or partitions out"),
        (extraction.max_quarantined_rows > 0,
         "partitions does not go with max_quarantined_rows: rows set aside are those of one snapshot.",
         "leave one of them out"),
        (bool(masked), f"the bounds of partitions are keys, and column {', '.join(masked)} of the key is masked.",
         "leave partitions out"),
    ]  # fmt: skip
    for rule, message, hint in rules:
        if rule:
            raise ConfigurationError(f"{extraction.stream}: {message}", hint=hint)


@runtime_checkable
class DividingSource(Protocol):
    """A source that can divide a table among several tasks."""

    def divide(self, extraction: Extraction, into: int) -> Sequence[Partition]:
        """Divide the table's keys into ranges of about as many rows each; fewer where there are not as many rows.

        :raises ConfigurationError: for a table whose keys cannot be divided.
        """
