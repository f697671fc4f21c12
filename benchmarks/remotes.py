"""Ten thousand syncs in flight in one event loop, beside the stock triggers and beside bare HTTP."""

from __future__ import annotations

import math
import os
import statistics
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Final

from benchmarks.bench import Bench
from benchmarks.measuring import Contestant, Measured, Role, Run
from benchmarks.programs.remote_place import TOKEN_SECONDS
from benchmarks.report import Report, Target

SYNCS: Final = 10_000
LATENCY: Final = 0.2
MOST_REQUESTS: Final = 100
MOST_AT_ONCE: Final = 64
MOST_LAG_MS: Final = 50
MOST_KIB: Final = 5
MOST_ROUNDS: Final = 2
KINDS: Final = {
    "airbyte": "Airbyte, public API",
    "fivetran": "Fivetran",
    "digdag": "Digdag",
    "airbyte_040": "Airbyte 0.40, one by one",
}
GUARDED: Final = {"airbyte_iap": "Airbyte behind IAP", "airbyte_040_iap": "Airbyte 0.40 behind IAP"}
ONE_BY_ONE: Final = {"airbyte_040", "airbyte_040_iap"}
PEERS: Final = {"airbyte_keyed": "AirbyteSyncTrigger", "fivetran": "FivetranTrigger"}
PEER_SYNCS: Final = (1, 10, 100)
PEER_INTERVALS: Final = {"airbyte_keyed": 60, "fivetran": 15}
"""Seconds: what AirbyteTriggerSyncOperator and FivetranOperator wait between two looks unless told otherwise."""
OUR_INTERVAL: Final = 10
"""That of RemoteSyncTrigger."""
COLUMNS: Final = (
    "syncs", "requests", "most", "rounds", "resolved s", "lag ms", "work ms", "gc ms", "KiB/sync", "CPU s",
    "blocked ms/sync", "calls/h/sync",
)  # fmt: skip


def run(bench: Bench) -> Report:
    """Measure."""
    syncs = min(SYNCS, bench.rows)
    ours = [_ours(bench, kind, syncs) for kind in KINDS]
    guarded = [_guarded(bench, kind, syncs) for kind in GUARDED]
    limits = [
        Contestant(_limit(kind), Role.LIMIT, lambda k=kind: bench.run("remote_bare", k, "--syncs", str(syncs)),
                   _rounds(kind))
        for kind in KINDS
    ]  # fmt: skip
    peers = [_peer(bench, kind, count) for kind in PEERS for count in PEER_SYNCS if count <= syncs]
    measured = bench.take_turns([*ours, *limits, *guarded, *peers], 0, 3)
    targets = [target for kind in KINDS for target in _targets(kind, measured[KINDS[kind]], syncs)]
    targets += [target for kind in GUARDED for target in _token_targets(kind, measured[GUARDED[kind]])]
    notes = [*_legend(), *_ratios(measured)]
    return Report(
        "remotes", f"{syncs:,} syncs in one event loop", measured, targets=targets, notes=notes, columns=COLUMNS
    )


def _legend() -> list[str]:
    load = f"{os.getloadavg()[0]:.1f}"
    return [
        f"each server is a process here, in Python too, and answers after {LATENCY * 1000:.0f} ms; load {load}.",
        "seconds: one look at everything, first request to last answer: ours when all had ended, the peers' first one.",
        "most: requests of any round, the first ones included. rounds, resolved s: after all ended at one moment.",
        "lag ms: how late the loop was, less the time in which its thread was ready and had no processor.",
        "work ms: the same without garbage collection, which grows with all that the process holds; gc ms: that part.",
    ]


def _rounds(kind: str) -> int:
    return 1 if kind in ONE_BY_ONE else 3


def _limit(kind: str) -> str:
    return f"bare aiohttp: {KINDS[kind]}"


def _ours(bench: Bench, kind: str, syncs: int) -> Contestant:
    rounds = "1" if kind in ONE_BY_ONE else "2"

    def once() -> Run:
        return _called(bench.run("remote_ours", kind, "--syncs", str(syncs), "--rounds", rounds), OUR_INTERVAL)

    return Contestant(KINDS[kind], Role.OURS, once, _rounds(kind))


def _guarded(bench: Bench, kind: str, syncs: int) -> Contestant:
    lives = str(TOKEN_SECONDS[kind] * 4)
    words = ("--syncs", str(syncs), "--rounds", "1", "--lives", lives, "--interval", "1")
    return Contestant(GUARDED[kind], Role.OURS, lambda: bench.run("remote_ours", kind, *words), 1)


def _peer(bench: Bench, kind: str, count: int) -> Contestant:
    interval = str(max(5.0, 0.4 * count))  # longer than a round of calls that block takes, else they never let go

    def once() -> Run:
        run = bench.run("remote_peer", kind, "--syncs", str(count), "--interval", interval)
        return _called(run, PEER_INTERVALS[kind])

    return Contestant(f"{PEERS[kind]}, {count} syncs", Role.PEER, once)


def _called(run: Run, interval: float) -> Run:
    """Add the calls that one sync costs in an hour, at the interval that the operator has by itself."""
    details = run.details
    every = max(interval, details.get("round s", 0.0) * 2)  # we are at it no more than half of the time
    calls = details["requests"] * 3600 / every / details["syncs"]
    return replace(run, details={**details, "calls/h/sync": calls})


def _targets(kind: str, ours: Measured, syncs: int) -> list[Target]:
    name = KINDS[kind]
    if kind in ONE_BY_ONE:
        at_once = max(run.details["server"]["most_in_flight"] for run in ours.runs)
        requests = Target(f"{name}: at most {MOST_AT_ONCE} in flight", f"{at_once}", at_once <= MOST_AT_ONCE)
    else:
        most = max(run.details["most"] for run in ours.runs)
        requests = Target(f"{name}: at most {MOST_REQUESTS} requests a round", f"{most}", most <= MOST_REQUESTS)
    succeeded = min(run.details["heard"].get("succeeded", 0) for run in ours.runs)
    rounds = ours.detail("rounds")
    return [
        requests,
        _below(f"{name}: event-loop lag below {MOST_LAG_MS} ms", ours.detail("lag ms"), MOST_LAG_MS, "ms"),
        _below(f"{name}: the same without garbage collection", ours.detail("work ms"), MOST_LAG_MS, "ms"),
        _below(f"{name}: below {MOST_KIB} KiB a sync", ours.detail("KiB/sync"), MOST_KIB, "KiB"),
        Target(f"{name}: all resolved within {MOST_ROUNDS} rounds", f"{succeeded:,} in {rounds:.0f}",
               succeeded == syncs and rounds <= MOST_ROUNDS),
    ]  # fmt: skip


def _below(promise: str, found: float, most: float, unit: str) -> Target:
    return Target(promise, f"{found:.1f} {unit}", found < most)


def _token_targets(kind: str, ours: Measured) -> list[Target]:
    details, name, seconds = ours.runs[0].details, GUARDED[kind], TOKEN_SECONDS[kind]
    server = details["server"]
    mints = {"IAP": server["iap_mints"], "application": server["application_mints"]}
    # A token is replaced at 80 % of its life; what it lives is shown in whole seconds.
    least = math.floor(0.8 * (seconds - 1))
    doubled = {name: sum(later - at < least for at, later in pairwise(times)) for name, times in mints.items()}
    found = ", ".join(f"{name} {len(times)}, {doubled[name]} too many" for name, times in mints.items())
    refused = sum(count for status, count in server["iap_answers"].items() if status != "200") + server["refused"]
    return [
        Target(f"{name}: one mint per audience and life of {seconds:.0f} s", found, not any(doubled.values())),
        Target(f"{name}: no failed poll", f"{details['failed polls']} failed, {refused} requests refused",
               not details["failed polls"]),
    ]  # fmt: skip


def _ratios(measured: dict[str, Measured]) -> Sequence[str]:
    lines = []
    for kind, name in KINDS.items():
        ratio = measured[name].times_as_fast_as(measured[_limit(kind)])
        if ratio is not None:
            lines.append(f"{name}: {ratio:.2f} times as fast as bare aiohttp that asks for the same.")
    for kind, peer in PEERS.items():
        own = measured[KINDS[kind.removesuffix("_keyed")]]
        for count in PEER_SYNCS:
            other = measured.get(f"{peer}, {count} syncs")
            if other is None or not other.runs:
                continue
            pairs = list(zip(own.runs, other.runs, strict=False))
            calls, blocked = (
                statistics.median(theirs.details[what] / mine.details[what] for mine, theirs in pairs)
                for what in ("calls/h/sync", "blocked ms/sync")
            )
            lines.append(
                f"{other.name}: {calls:,.0f} times our calls a sync and hour; a sync blocks the loop "
                f"{blocked:,.0f} times as long as one of our {own.runs[0].details['syncs']:,}."
            )
    return lines
