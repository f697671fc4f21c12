"""Five hundred connections exported to files, beside bare requests and beside asking for one object at a time."""

from __future__ import annotations

import statistics
from typing import Final

from benchmarks.bench import Bench
from benchmarks.measuring import Contestant, Measured, Role
from benchmarks.programs.remote_config_export import AT_ONCE
from benchmarks.report import Report

CONNECTIONS: Final = 500
LATENCY: Final = 0.05
KINDS: Final = {"airbyte_040": "Airbyte 0.40", "fivetran": "Fivetran"}
ROLES: Final = {
    "ours": ("export", Role.OURS),
    "again": ("export again", Role.OURS),
    "bare": (f"the same requests, bare, {AT_ONCE} at once", Role.LIMIT),
    "serial": ("the same requests, one by one", Role.PEER),
}
COLUMNS: Final = ("requests", "files", "CPU s")


def run(bench: Bench) -> Report:
    """Measure."""
    contestants = [_contestant(bench, kind, role) for kind in KINDS for role in ROLES]
    measured = bench.take_turns(contestants, 0, 3)
    notes = [
        f"{CONNECTIONS} connections, each with its own source and destination, without schemas.",
        f"The server is a process here, in Python too, and answers after {LATENCY * 1000:.0f} ms.",
        "export again: nothing has changed, no file is written.",
        *(_ratios(measured, kind) for kind in KINDS),
    ]
    title = f"{CONNECTIONS} connections to files"
    return Report("remote_config", title, measured, targets=[], notes=notes, columns=COLUMNS)


def _contestant(bench: Bench, kind: str, role: str) -> Contestant:
    words = (kind, role, "--connections", str(CONNECTIONS), "--latency", str(LATENCY))
    return Contestant(_name(kind, role), ROLES[role][1], lambda: bench.run("remote_config_export", *words))


def _name(kind: str, role: str) -> str:
    return f"{KINDS[kind]}: {ROLES[role][0]}"


def _ratios(measured: dict[str, Measured], kind: str) -> str:
    def ratio(role: str) -> str:
        pairs = zip(measured[_name(kind, "ours")].runs, measured[_name(kind, role)].runs, strict=False)
        return f"{statistics.median(other.seconds / own.seconds for own, other in pairs):.2f} of {ROLES[role][0]}"

    return f"{KINDS[kind]}, speed of an export: {ratio('bare')}; {ratio('serial')}."
