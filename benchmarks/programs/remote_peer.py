"""The stock triggers, unmodified, in one event loop: one round while the syncs run, and one in which all have ended."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import time
import warnings
from collections import Counter
from typing import Any

from benchmarks.programs.event_loop import Heartbeat, forget_peak, lags, log_as_triggerer, peak_kib, resident_kib
from benchmarks.programs.own_process import cpu_seconds, peak_mib
from benchmarks.programs.remote_place import CONN_ID, Place


def _airbyte(place: Place, watch: dict[str, str], interval: float) -> Any:
    from airflow.providers.airbyte.triggers.airbyte import AirbyteSyncTrigger

    del place
    return AirbyteSyncTrigger(int(watch["job_id"]), CONN_ID, end_time=time.time() + 3600, poll_interval=interval)


def _fivetran(place: Place, watch: dict[str, str], interval: float) -> Any:
    import pendulum
    from fivetran_provider_async.hooks import FivetranHook
    from fivetran_provider_async.triggers import FivetranTrigger

    FivetranHook.api_protocol, FivetranHook.api_host = "http", place.url.removeprefix("http://")
    before = pendulum.parse(json.loads(watch["mark"])[0])
    return FivetranTrigger("task", watch["remote_id"], CONN_ID, before, poke_interval=interval)  # type: ignore[arg-type]


def _connection(place: Place) -> dict[str, Any]:
    if place.kind == "fivetran":
        return {"conn_type": "Fivetran", "login": "key", "password": "secret"}
    host, extra = f"{place.url}/api/public/v1/", {"timeout": 120}
    return {"conn_type": "airbyte", "host": host, "login": "client", "password": "secret", "extra": extra}


async def _driven(trigger: Any, heard: Counter[str]) -> None:
    async for event in trigger.run():
        heard[event.payload["status"]] += 1
        if event.payload["status"] != "success":
            heard[str(event.payload["message"])[:200]] += 1


async def measure(place: Place, interval: float) -> dict[str, Any]:
    """Let each ask once, end all, and let each ask once more."""
    make = {"airbyte_keyed": _airbyte, "fivetran": _fivetran}[place.kind]
    make(place, json.loads(place.watches[0]), interval)  # what is imported is imported
    heard: Counter[str] = Counter()
    forget_peak()
    before, cpu, beat, began = resident_kib(), cpu_seconds(), Heartbeat(), time.perf_counter()
    tasks = []
    for watch in place.watches:
        tasks.append(asyncio.create_task(_driven(make(place, json.loads(watch), interval), heard)))
        await asyncio.sleep(0)
    while await asyncio.to_thread(_asked, place) < place.syncs and not all(task.done() for task in tasks):  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    await asyncio.sleep(0.3)  # the last answer is under way
    first, first_cpu = beat.reset(), cpu_seconds() - cpu
    seconds = time.perf_counter() - began - 0.3
    await asyncio.to_thread(place.ask, "end")
    ended = time.perf_counter()
    await asyncio.wait(tasks)
    resolved, second = time.perf_counter() - ended, beat.reset()
    await beat.end()
    stats = place.ask("stats")
    return {
        "seconds": seconds, "peak_mib": peak_mib(), "syncs": place.syncs, "heard": heard, "resolved s": resolved,
        "requests": place.syncs, "in all": stats["requests"], **lags(first.and_then(second)),
        "blocked ms/sync": first.blocked / place.syncs * 1e3,
        "blocked later ms/sync": second.blocked / place.syncs * 1e3,
        "KiB/sync": (peak_kib() - before) / place.syncs, "CPU s": cpu_seconds() - cpu, "first CPU s": first_cpu,
        "load": os.getloadavg()[0],
    }  # fmt: skip


def _asked(place: Place) -> int:
    found = place.ask("stats")
    return int(found["requests"]) - len(found.get("application_mints", ()))


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=("airbyte_keyed", "fivetran"))
    parser.add_argument("--syncs", type=int, default=10)
    parser.add_argument("--latency", type=float, default=0.2)
    parser.add_argument("--interval", type=float, default=5.0)
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    with Place(asked.kind, asked.syncs, asked.latency) as place:
        os.environ[f"AIRFLOW_CONN_{CONN_ID.upper()}"] = json.dumps(_connection(place))
        log_as_triggerer()
        print(json.dumps(asyncio.run(measure(place, asked.interval))))


if __name__ == "__main__":
    main()
