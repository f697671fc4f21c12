"""Proof that a target equals its source: count and content, down to the keys that differ."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Final

from airflow_elt_provider.core.comparison import ComparableDestination, ComparableSource, Question, exceptions, rule_of
from airflow_elt_provider.core.plan import Extraction
from airflow_elt_provider.core.protocols import Destination, Source
from airflow_elt_provider.core.table_ref import TableRef
from airflow_elt_provider.core.text_table import text_table
from airflow_elt_provider.engine.drilling import (
    Agreement,
    Buckets,
    Differences,
    Gap,
    Sides,
    agree,
    compare,
    drill,
    opened,
)
from airflow_elt_provider.engine.progress import Progress
from airflow_elt_provider.engine.read_comparison import read_table
from airflow_elt_provider.errors import ConfigurationError, DataError, TransientError

log = logging.getLogger(__name__)

RETRIED_KEYS: Final = 10_000
"""More differing keys than these are no rows that moved during the comparison: nobody asks twice for them."""
_NAMED: Final = 5
"""Keys that the message of a failure names."""


@dataclass(frozen=True)
class KeyReport:
    """One key that differs.

    :param key: column -> canonical text.
    :param difference: ``missing`` (in the target), ``surplus`` or ``different``.
    :param columns: the columns whose values differ.
    :param values: column -> the beginnings of the source's and the target's value, where they were asked for.
    """

    key: dict[str, str | None]
    difference: str
    columns: tuple[str, ...] = ()
    values: dict[str, tuple[str | None, str | None]] = field(default_factory=dict)

    def __str__(self) -> str:
        return ", ".join(f"{name}={'NULL' if text is None else text}" for name, text in self.key.items())

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object for XCom."""
        shown = {"values": {name: list(pair) for name, pair in self.values.items()}} if self.values else {}
        return {"key": self.key, "difference": self.difference, "columns": list(self.columns), **shown}


@dataclass(frozen=True)
class Reconciliation:
    """What a comparison found.

    :param not_compared: column, or what of it, -> why.
    :param compared: the columns that were.
    :param buckets: number of buckets; 0 where rows were only counted.
    :param differing_buckets: those of them that differed at first.
    """

    source: str
    target: str
    source_rows: int
    target_rows: int
    total: Gap
    keys: tuple[KeyReport, ...]
    not_compared: dict[str, str]
    compared: tuple[str, ...]
    buckets: int
    differing_buckets: int
    notes: tuple[str, ...]
    seconds: float

    @property
    def differences(self) -> int:
        """Rows that are missing, surplus or different."""
        return sum(self.total)

    def to_json(self) -> dict[str, Any]:
        """Return the result of the operators' documentation."""
        return {
            "equal": not self.differences, "source_rows": self.source_rows, "target_rows": self.target_rows,
            **self.total._asdict(), "keys": [key.to_json() for key in self.keys],
            "not_compared": [{"column": name, "reason": reason} for name, reason in self.not_compared.items()],
            "buckets": self.buckets, "differing_buckets": self.differing_buckets, "seconds": self.seconds,
        }  # fmt: skip

    def refuse_beyond(self, max_differences: int) -> None:
        """Refuse more differences than that.

        :raises DataError: names the first keys.
        """
        if self.differences <= max_differences:
            return
        named = "; ".join(f"{key} ({key.difference})" for key in self.keys[:_NAMED])
        missing, surplus, different = self.total
        raise DataError(
            f"{self.target} differs from {self.source} in {self.differences:,} rows ({missing:,} missing, "
            f"{surplus:,} surplus, {different:,} different; {max_differences:,} allowed)"
            + (f": {named}{' ...' if self.differences > _NAMED else ''}" if named else "") + ".",
            hint="sync once more where the source moved on; else run once with full_refresh=True, and see who else "
            "writes to the target",
        )  # fmt: skip

    def __str__(self) -> str:
        """Everything as a table for the log."""
        verdict = "equal" if not self.differences else f"{self.differences:,} differences"
        parts = [f"{self.source} and {self.target}: {verdict}, {self.seconds:.2f} s", self._counts()]
        if self.keys:
            parts.append(self._keys())
        if self.not_compared:
            rows = list(self.not_compared.items())
            parts.append(text_table(["not compared", "why"], rows))
        return "\n\n".join([*parts, *self.notes])

    def _counts(self) -> str:
        missing, surplus, different = self.total
        how = f"{len(self.compared)} columns compared" if self.compared else "rows only counted"
        return text_table(
            ["", "rows", "missing", "surplus", "different", "buckets", "differing", "content"],
            [
                ["source", self.source_rows, None, None, None, self.buckets, None, how],
                ["target", self.target_rows, missing, surplus, different, None, self.differing_buckets, ""],
            ],
        )

    def _keys(self) -> str:
        if any(key.values for key in self.keys):
            rows = [
                [key, key.difference, column, *(_shown(text) for text in key.values.get(column, ("", "")))]
                for key in self.keys for column in (key.columns or ("",))
            ]  # fmt: skip
            return text_table(["key", "difference", "column", "source", "target"], rows)
        return text_table(
            ["key", "difference", "columns"], [[key, key.difference, ", ".join(key.columns)] for key in self.keys]
        )


def _shown(text: str | None) -> str:
    return "NULL" if text is None else text


@dataclass(frozen=True)
class Reconcile:
    """One comparison of a source with a target.

    :param max_keys: how many keys are named.
    :param show_values: whether the report may show what differs, and not only where.
    :param retry_differing: how often keys that differ are asked for again, each time under new snapshots: what a sync
        was just bringing up to date is no difference.
    :param retry_pause: seconds before each of these times.
    """

    extraction: Extraction
    target: TableRef
    source: Source
    destination: Destination
    max_keys: int = 100
    show_values: bool = False
    retry_differing: int = 1
    retry_pause: float = 2.0
    _stopped: threading.Event = field(default_factory=threading.Event, repr=False, compare=False)

    def execute(self) -> Reconciliation:
        """Compare.

        :raises ConfigurationError: when one of the tables is not there, or a side cannot be compared.
        """
        if not isinstance(self.destination, ComparableDestination):
            raise ConfigurationError(
                f"{type(self.destination).__name__} has no method 'compared', without which nobody can reconcile it.",
                hint="see 'Your own destination' in the documentation",
            )
        started = Progress("reconcile")
        with self._sides() as sides:
            agreed = agree(sides, self._masked(sides))
            if agreed.question is None:
                return self._counted(sides, agreed, started)
            first = compare(sides, agreed.question)
            found = drill(sides, agreed.question, first.differing)
            again = bool(found) and self.retry_differing > 0 and len(found.keys) <= RETRIED_KEYS
            keys = () if again else self._explained(sides, agreed.question, found)
        if again:
            found, keys = self._asked_again(agreed.question, first, found)
        return self._result(agreed, first, found, keys, started)

    def cancel(self) -> None:
        """Stop what runs on either server; safe from another thread."""
        self._stopped.set()
        self.source.cancel()
        self.destination.cancel()

    # --- inside ---

    def _sides(self) -> AbstractContextManager[Sides]:
        source, destination = self.source, self.destination
        assert isinstance(destination, ComparableDestination)  # noqa: S101 - see execute
        return opened(
            source.compared(self.extraction) if isinstance(source, ComparableSource)
            else read_table(source, self.extraction),
            lambda side: destination.compared(self.target, side.schema),
        )  # fmt: skip

    def _masked(self, sides: Sides) -> dict[str, str]:
        extraction, names = self.extraction, sides.source.schema.names
        done = {
            **dict.fromkeys(extraction.hash_columns, "hashed"),
            **dict.fromkeys(extraction.redact_columns, "redacted"),
        }
        masked = {extraction.target_name(column): how for column, how in done.items()}
        return {name: f"{how}: the target does not hold the source's values" for name, how in masked.items()
                if name in names}  # fmt: skip

    def _asked_again(
        self, question: Question, first: Buckets, found: Differences
    ) -> tuple[Differences, tuple[KeyReport, ...]]:
        keys: tuple[KeyReport, ...] = ()
        for attempt in range(1, self.retry_differing + 1):
            log.info("%s: %s rows differ; asking again in %g s", self.target, f"{sum(found.total):,}", self.retry_pause)
            if self._stopped.wait(self.retry_pause):
                raise TransientError("The comparison was told to stop.", hint="run it again")
            with self._sides() as sides:
                still = compare(sides, question.of(first.differing)).differing
                found = drill(sides, question, still).again(found)
                if not found or attempt == self.retry_differing:
                    keys = self._explained(sides, question, found)
            if not found:
                break
        return found, keys

    def _explained(self, sides: Sides, question: Question, found: Differences) -> tuple[KeyReport, ...]:
        if not question.key:
            return ()
        shown = sorted(found.keys.items(), key=lambda item: [(text is None, len(text or ""), text) for text in item[0]])
        chosen = shown[: self.max_keys]
        changed = [key for key, gap in chosen if gap.different]
        asked = Question(question.tongue, question.columns, question.key, question.buckets)
        one, other = (
            sides.both(lambda side: side.values(asked, changed, show=self.show_values)) if changed else ({}, {})
        )
        reports = []
        for key, gap in chosen:
            named = dict(zip(question.key, key, strict=True))
            mine, theirs = one.get(key, ()), other.get(key, ())
            pairs = [
                (name, mine_, theirs_)
                for name, mine_, theirs_ in zip(question.columns, mine, theirs, strict=False)
                if mine_.hash != theirs_.hash
            ]
            values = {name: (mine_.text, theirs_.text) for name, mine_, theirs_ in pairs} if self.show_values else {}
            kind = next(name for name, rows in zip(Gap._fields, gap, strict=True) if rows)
            reports.append(KeyReport(named, kind, tuple(name for name, *_ in pairs), values))
        return tuple(reports)

    def _counted(self, sides: Sides, agreed: Agreement, started: Progress) -> Reconciliation:
        source, target = sides.both(lambda side: side.count())
        total = Gap(max(source - target, 0), max(target - source, 0), 0)
        return Reconciliation(
            self.extraction.source, str(self.target), source, target, total, (), dict(agreed.not_compared), (), 0, 0,
            (*sides.source.notes, *agreed.notes), round(started.seconds, 3),
        )  # fmt: skip

    def _result(
        self, agreed: Agreement, first: Buckets, found: Differences, keys: Sequence[KeyReport], started: Progress
    ) -> Reconciliation:
        question = agreed.question
        columns = question.columns if question else ()
        not_compared = {**agreed.not_compared, **_exceptional(agreed, first)}
        return Reconciliation(
            self.extraction.source, str(self.target), first.source_rows, first.target_rows, found.total, tuple(keys),
            not_compared, columns, first.number, len(first.differing), agreed.notes, round(started.seconds, 3),
        )  # fmt: skip


def _exceptional(agreed: Agreement, first: Buckets) -> dict[str, str]:
    """Name the values that counted as NULL, column by column."""
    found: dict[str, str] = {}
    for name, (source, target) in zip(agreed.question.columns if agreed.question else (), first.folded, strict=True):
        rule = rule_of(agreed.schema.column(name))
        if (source or target) and rule:
            found[f"{name} (some values)"] = (
                f"{source:,} of the source and {target:,} of the target are {exceptions(rule)}"
            )
    return found
