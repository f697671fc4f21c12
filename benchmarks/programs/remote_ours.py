"""Thousands of our RemoteSyncTrigger in one event loop, driven as the triggerer does: one task each."""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from benchmarks.programs.event_loop import Heartbeat, forget_peak, lags, log_as_triggerer, peak_kib, resident_kib
from benchmarks.programs.own_process import cpu_seconds, peak_mib
from benchmarks.programs.remote_place import CONN_ID, Place

WARM: Final = 50


@dataclass
class Look:
    """One round."""

    watches: int
    began: float
    ended: float = 0.0
    requests: int = 0
    failed: bool = False


@dataclass
class Looks:
    """All rounds of a poller; counted from outside, the poller is as it is."""

    poller: Any
    done: list[Look] = field(default_factory=list)
    now: Look | None = None

    def __post_init__(self) -> None:
        look, send = self.poller.remote.look, self.poller.transport.send

        def counted_look(watches: Sequence[Any]) -> Any:
            self.now = one = Look(len(watches), time.perf_counter())
            try:
                return (yield from look(watches))
            except Exception:
                one.failed = True
                raise
            finally:
                one.ended, self.now = time.perf_counter(), None
                self.done.append(one)

        async def counted_send(request: Any) -> Any:
            if self.now:
                self.now.requests += 1
            return await send(request)

        self.poller.remote.look, self.poller.transport.send = counted_look, counted_send

    async def full(self, watches: int, count: int) -> list[Look]:
        """Wait until so many rounds about all of them are over."""
        while len(found := [one for one in self.done if one.watches >= watches]) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        return found


async def _driven(conn_id: str, watch: str, interval: float, heard: Counter[str]) -> None:
    from airflow_elt_provider.triggers.remote import RemoteSyncTrigger

    trigger = RemoteSyncTrigger(conn_id, json.loads(watch), poll_interval=interval)
    async for event in trigger.run():
        payload: Any = event.payload
        heard[(payload.get("sighting") or {}).get("phase") or payload["status"]] += 1


async def _all(watches: Sequence[str], interval: float, heard: Counter[str]) -> list[asyncio.Task[None]]:
    tasks = []
    for watch in watches:
        tasks.append(asyncio.create_task(_driven(CONN_ID, watch, interval, heard)))
        await asyncio.sleep(0)  # as the triggerer does
    return tasks


async def measure(place: Place, interval: float, rounds: int, lives: float) -> dict[str, Any]:
    """Wait for all, let them end at one moment, and say how it went."""
    from airflow_elt_provider.triggers._pollers import poller_of

    looks = Looks(await poller_of(CONN_ID))
    heard: Counter[str] = Counter()
    warm = await _all(place.watches[:WARM], interval, heard)
    await looks.full(1, 2)
    for task in warm:
        task.cancel()
    await asyncio.wait(warm)
    looks.done.clear()
    gc.collect()
    forget_peak()
    before, cpu, beat = resident_kib(), cpu_seconds(), Heartbeat()
    began = time.perf_counter()
    tasks = await _all(place.watches, interval, heard)
    steady = await looks.full(place.syncs, 1)
    starting, steady_from = beat.reset(), cpu_seconds()
    steady = (await looks.full(place.syncs, 1 + rounds))[1:] if rounds else steady
    await asyncio.sleep(max(0.0, lives - (time.perf_counter() - began)))
    await looks.full(place.syncs, len(await looks.full(place.syncs, 1)) + (lives > 0))
    held, waiting, waiting_cpu = resident_kib() - before, beat.reset(), cpu_seconds() - steady_from
    known, asked = len(looks.done), place.ask
    await asyncio.to_thread(asked, "end")
    ended = time.perf_counter()
    await asyncio.wait(tasks)
    resolved, resolving = time.perf_counter() - ended, beat.reset()
    await beat.end()
    last = looks.done[known:]
    most = max((one.requests for one in looks.done), default=0)
    delay = starting.and_then(waiting).and_then(resolving)
    return {
        "seconds": sum(one.ended - one.began for one in last), "peak_mib": peak_mib(),
        "syncs": place.syncs, "heard": heard, "failed polls": sum(one.failed for one in looks.done),
        "round s": max(one.ended - one.began for one in steady), "requests": steady[-1].requests, "most": most,
        "rounds": len(last), "resolved s": resolved,
        **lags(delay), "blocked ms/sync": delay.blocked / place.syncs * 1e3,
        "works ms": [one.work * 1e3 for one in (starting, waiting, resolving)],
        "KiB held": held / place.syncs, "KiB/sync": (peak_kib() - before) / place.syncs,
        "CPU s": cpu_seconds() - cpu, "waiting CPU s": waiting_cpu, "load": os.getloadavg()[0],
        "looks": [(one.watches, round(one.ended - one.began, 3), one.requests) for one in looks.done],
        "server": place.ask("stats"),
    }  # fmt: skip


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind")
    parser.add_argument("--syncs", type=int, default=100)
    parser.add_argument("--latency", type=float, default=0.2)
    parser.add_argument("--interval", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=2, help="rounds in which nothing ends")
    parser.add_argument("--lives", type=float, default=0.0, help="seconds to wait at least")
    asked = parser.parse_args()
    with Place(asked.kind, asked.syncs, asked.latency) as place:
        place.publish()
        log_as_triggerer()
        print(json.dumps(asyncio.run(measure(place, asked.interval, asked.rounds, asked.lives))))


if __name__ == "__main__":
    main()
