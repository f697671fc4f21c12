"""Contestants take turns, so that what else the machine does meets all of them alike."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from benchmarks.report import progress

ROUNDS: Final = 3


class Role(StrEnum):
    """What a contestant is there for."""

    OURS = "ours"
    LIMIT = "limit"
    PEER = "peer"


@dataclass(frozen=True)
class Run:
    """One measured run.

    :param peak_mib: the largest resident memory of the client's process.
    """

    seconds: float
    peak_mib: float | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Contestant:
    """Something that is measured.

    :param rounds: at most so many rounds, for what takes minutes.
    """

    name: str
    role: Role
    run: Callable[[], Run]
    rounds: int = 1_000


class Skipped(Exception):  # noqa: N818 - not an error of ours
    """A contestant cannot run here; the message says why."""


@dataclass
class Measured:
    """All runs of one contestant."""

    contestant: Contestant
    runs: list[Run] = field(default_factory=list)
    skipped: str = ""

    @property
    def name(self) -> str:
        """The contestant's name."""
        return self.contestant.name

    @property
    def seconds(self) -> float:
        """The median."""
        return statistics.median(run.seconds for run in self.runs)

    @property
    def spread(self) -> tuple[float, float]:
        """Fastest and slowest."""
        seconds = [run.seconds for run in self.runs]
        return min(seconds), max(seconds)

    @property
    def peak_mib(self) -> float | None:
        """The largest of all runs."""
        return max((run.peak_mib for run in self.runs if run.peak_mib is not None), default=None)

    def detail(self, name: str) -> float:
        """The median of a detail."""
        return float(statistics.median(run.details[name] for run in self.runs))

    def times_as_fast_as(self, other: Measured) -> float | None:
        """Median over the rounds of how many times as fast as ``other`` it was in the same round."""
        pairs = list(zip(self.runs, other.runs, strict=False))
        return statistics.median(theirs.seconds / mine.seconds for mine, theirs in pairs) if pairs else None


def take_turns(contestants: Sequence[Contestant], rounds: int = ROUNDS) -> dict[str, Measured]:
    """Run everybody once per round, each round beginning with another one."""
    results = {contestant.name: Measured(contestant) for contestant in contestants}
    for number in range(rounds):
        first = number % len(contestants)
        for contestant in [*contestants[first:], *contestants[:first]]:
            measured = results[contestant.name]
            if measured.skipped or len(measured.runs) >= contestant.rounds:
                continue
            _take_turn(measured, number + 1)
    return results


def _take_turn(measured: Measured, number: int) -> None:
    try:
        run = measured.contestant.run()
    except (Skipped, RuntimeError) as error:
        if not isinstance(error, Skipped) and measured.contestant.role is not Role.PEER:
            raise
        measured.skipped = str(error)  # a peer that fails is reported, it does not end the comparison
        progress(f"SKIPPED {measured.name}: {error}")
        return
    measured.runs.append(run)
    progress(f"round {number}: {measured.name}: {run.seconds:.3f} s")
