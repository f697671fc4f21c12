"""The same syncs in a real `airflow triggerer`, beside as many triggers that only sleep: what Airflow itself costs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from typing import Final

from benchmarks.bench import FOLDER, Bench
from benchmarks.measuring import Contestant, Measured, Role, Run
from benchmarks.report import Report

SYNCS: Final = (1_000, 10_000)
ONE: Final = "a trigger that sleeps, 1"
SELECT: Final = 1_000
DEFAULT_SELECT: Final = 50
COLUMNS: Final = ("syncs", "KiB/sync", "CPU s", "lag ms", "work ms", "gc ms", "fired s", "resolved s", "log files")


def run(bench: Bench) -> Report:
    """Measure."""
    sizes = sorted({min(size, bench.rows) for size in SYNCS})
    contestants = [Contestant(ONE, Role.LIMIT, lambda: _run(bench, "nothing", 1, SELECT))]
    for syncs in sizes:
        contestants += [
            Contestant(_name("nothing", syncs), Role.LIMIT, lambda n=syncs: _run(bench, "nothing", n, SELECT)),
            Contestant(_name("airbyte", syncs), Role.OURS, lambda n=syncs: _run(bench, "airbyte", n, SELECT)),
        ]
    name = f"{_name('airbyte', sizes[0])}, {DEFAULT_SELECT} at a time"
    contestants.append(Contestant(name, Role.OURS, lambda: _run(bench, "airbyte", sizes[0], DEFAULT_SELECT)))
    measured = _less_the_empty(bench.take_turns(contestants, 0, 1))
    return Report(
        "triggerer", "a real triggerer on SQLite", measured, notes=[*_legend(), *_ratios(measured, sizes)],
        columns=COLUMNS,
    )  # fmt: skip


def _legend() -> Sequence[str]:
    return [
        f"load {os.getloadavg()[0]:.1f}. seconds: until all run, less those of a triggerer with one that sleeps.",
        f"[triggerer] capacity raised, max_trigger_to_select_per_loop {SELECT} (Airflow's default: {DEFAULT_SELECT}).",
        "KiB/sync, CPU s: of the process in which triggers run, until all do, less those of a triggerer with one.",
        "fired s: until the last one fired, after all ended at one moment; resolved s: until Airflow had stored it.",
    ]


def _name(kind: str, syncs: int) -> str:
    return f"{'a trigger that sleeps' if kind == 'nothing' else 'RemoteSyncTrigger, Airbyte'}, {syncs:,}"


def _run(bench: Bench, kind: str, syncs: int, select: int) -> Run:
    words = ("--syncs", str(syncs), "--select", str(select))
    return bench.run("triggerer_process", kind, FOLDER / f"airflow-{version('apache-airflow-core')}.db", *words)


def _less_the_empty(measured: dict[str, Measured]) -> dict[str, Measured]:
    empty = measured[ONE].runs[0]
    for one in measured.values():
        one.runs = [run if one.name == ONE else _less(run, empty) for run in one.runs]
    return measured


def _less(run: Run, empty: Run) -> Run:
    details = {
        **run.details,
        "KiB/sync": (run.details["KiB"] - empty.details["KiB"]) / run.details["syncs"],
        "CPU s": run.details["CPU s"] - empty.details["CPU s"],
    }
    return replace(run, seconds=run.seconds - empty.seconds, details=details)


def _ratios(measured: dict[str, Measured], sizes: Sequence[int]) -> list[str]:
    lines = []
    for syncs in sizes:
        sleeping, ours = (measured[_name(kind, syncs)].runs[0] for kind in ("nothing", "airbyte"))
        parts = [
            f"{ours.details[what] / sleeping.details[what]:.2f} times the {name}"
            for what, name in (("KiB/sync", "memory"), ("CPU s", "CPU"), ("resolved s", "time to store the end"))
            if sleeping.details[what] > 0
        ]
        lines.append(f"{syncs:,} of ours over as many that sleep: {', '.join(parts)}.")
    return lines
