"""What a person reads, and what a program reads."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmarks.measuring import Measured


@dataclass(frozen=True)
class Target:
    """What was promised, and what came out.

    :param reached: None where it could not be measured.
    """

    promise: str
    found: str
    reached: bool | None


@dataclass(frozen=True)
class Report:
    """The outcome of one benchmark.

    :param rows: rows that every contestant moves; 0 where that is not the point.
    :param limit: name of the contestant that all are compared with; "" for none.
    """

    name: str
    title: str
    measured: Mapping[str, Measured]
    rows: int = 0
    limit: str = ""
    targets: Sequence[Target] = ()
    notes: Sequence[str] = ()
    columns: Sequence[str] = field(default=())

    def to_json(self) -> dict[str, Any]:
        """Return everything, runs included."""
        return {
            "title": self.title, "rows": self.rows, "limit": self.limit, "notes": list(self.notes),
            "targets": [vars(target) for target in self.targets],
            "contestants": {name: _to_json(one, self._limit) for name, one in self.measured.items()},
        }  # fmt: skip

    @property
    def _limit(self) -> Measured | None:
        limit = self.measured.get(self.limit)
        return limit if limit and limit.runs else None

    def __str__(self) -> str:
        lines = [f"\n\033[1m{self.name}: {self.title}\033[0m", _aligned(self._table())]
        lines += [f"  of limit: rows/s over those of {self.limit}"] if self._limit else []
        lines += [f"  SKIPPED {one.name}: {one.skipped}" for one in self.measured.values() if one.skipped]
        lines += [f"  {_mark(target)} {target.promise}: {target.found}" for target in self.targets]
        return "\n".join([*lines, *(f"  {note}" for note in self.notes)])

    def _table(self) -> list[list[str]]:
        shown = [one for one in self.measured.values() if one.runs]
        with_peak = any(one.peak_mib for one in shown)
        head = ["", "seconds", "(min-max)"]
        head += ["rows/s"] if self.rows else []
        head += ["of limit"] if self._limit else []
        head += ["peak MiB"] if with_peak else []
        head += list(self.columns)
        return [head, *(self._line(one, with_peak=with_peak) for one in shown)]

    def _line(self, one: Measured, *, with_peak: bool) -> list[str]:
        digits = 2 if one.seconds >= 1 else 3
        low, high = one.spread
        cells = [
            f"{one.contestant.role:5} {one.name}",
            f"{one.seconds:.{digits}f}",
            f"({low:.{digits}f}-{high:.{digits}f})",
        ]
        cells += [f"{self.rows / one.seconds:,.0f}"] if self.rows else []
        if self._limit:
            ratio = one.times_as_fast_as(self._limit)
            cells += [f"{ratio:.2f}" if ratio is not None else "-"]
        cells += [f"{one.peak_mib:,.0f}" if one.peak_mib else "-"] if with_peak else []
        return cells + [_detail(one, column) for column in self.columns]


def write(reports: Sequence[Report], path: Path) -> None:
    """Write all outcomes as JSON; those of benchmarks that did not run this time stay."""
    path.parent.mkdir(parents=True, exist_ok=True)
    known = json.loads(path.read_text()) if path.exists() else {}
    for report in reports:
        known[report.name] = {
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": machine(),
            **report.to_json(),
        }
    path.write_text(json.dumps(known, indent=2) + "\n")


def machine() -> str:
    """Describe the machine in a few words."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    system = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
    return f"{os.cpu_count()} CPUs, {memory:.0f} GiB, {system}"


def progress(text: str) -> None:
    """Tell whoever waits what happened."""
    print(f"  {text}", file=sys.stderr, flush=True)


def _to_json(one: Measured, limit: Measured | None) -> dict[str, Any]:
    if not one.runs:
        return {"role": one.contestant.role, "skipped": one.skipped}
    ratio = one.times_as_fast_as(limit) if limit else None
    return {
        "role": one.contestant.role, "seconds": one.seconds, "peak_mib": one.peak_mib, "of_limit": ratio,
        "runs": [vars(run) for run in one.runs],
    }  # fmt: skip


def _detail(one: Measured, name: str) -> str:
    if name not in one.runs[0].details:
        return "-"
    return f"{one.detail(name):,.2f}"


def _mark(target: Target) -> str:
    return {True: "reached", False: "MISSED ", None: "unknown"}[target.reached]


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  "
        + "  ".join(
            [line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))]
        )
        for line in rows
    )
