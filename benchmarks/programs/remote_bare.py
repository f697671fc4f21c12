"""The limit: what our poller asks for in one round about everything, by bare aiohttp, with nobody waiting for it."""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp

from benchmarks.programs.event_loop import Heartbeat, lags
from benchmarks.programs.own_process import cpu_seconds, peak_mib
from benchmarks.programs.remote_place import Place

PAGES_AT_ONCE, MOST_AT_ONCE, PAGE = 8, 64, 100
Asked = Callable[[aiohttp.ClientSession, list[dict[str, str]]], Awaitable[int]]


async def _at_once(session: aiohttp.ClientSession, requests: list[tuple[str, str, dict[str, Any]]], most: int) -> int:
    places = asyncio.Semaphore(most)

    async def one(method: str, path: str, words: dict[str, Any]) -> None:
        async with places, session.request(method, path, **words) as answer:
            await answer.json()

    return len(await asyncio.gather(*(one(*request) for request in requests)))


async def _airbyte(session: aiohttp.ClientSession, watches: list[dict[str, str]]) -> int:
    query = {"updatedAtStart": "2000-01-01T00:00:00Z", "jobType": "sync", "orderBy": "updatedAt|ASC", "limit": PAGE}
    pages = [{"params": {**query, "offset": offset}} for offset in range(0, len(watches), PAGE)]
    return await _at_once(session, [("GET", "/api/public/v1/jobs", words) for words in pages], PAGES_AT_ONCE)


async def _airbyte_040(session: aiohttp.ClientSession, watches: list[dict[str, str]]) -> int:
    bodies = [{"json": {"id": int(watch["job_id"])}} for watch in watches]
    return await _at_once(session, [("POST", "/api/v1/jobs/get_light", words) for words in bodies], MOST_AT_ONCE)


async def _fivetran(session: aiohttp.ClientSession, _watches: list[dict[str, str]]) -> int:
    cursor, pages = "", 0
    while not pages or cursor:
        query = {"limit": 1000, **({"cursor": cursor} if cursor else {})}
        async with session.get("/v1/connections", params=query) as answer:
            cursor = (await answer.json())["data"].get("next_cursor") or ""
        pages += 1
    return pages


async def _digdag(session: aiohttp.ClientSession, watches: list[dict[str, str]]) -> int:
    tops = sorted((int(watch["job_id"]) for watch in watches), reverse=True)[::PAGE]
    query = {"include_retried": "true", "page_size": PAGE}
    pages = [{"params": {**query, "last_id": top + 1}} for top in tops]
    return await _at_once(session, [("GET", "/api/attempts", words) for words in pages], PAGES_AT_ONCE)


KINDS: dict[str, Asked] = {
    "airbyte": _airbyte, "airbyte_040": _airbyte_040, "fivetran": _fivetran, "digdag": _digdag,
}  # fmt: skip


async def measure(place: Place) -> dict[str, Any]:
    """Ask for everything once."""
    watches = [json.loads(watch) for watch in place.watches]
    headers = {"Authorization": aiohttp.encode_basic_auth("key", "secret")}
    async with aiohttp.ClientSession(place.url, headers=headers, connector=aiohttp.TCPConnector(limit=0)) as session:
        beat, cpu, began = Heartbeat(), cpu_seconds(), time.perf_counter()
        requests = await KINDS[place.kind](session, watches)
        seconds = time.perf_counter() - began
        delay = beat.reset()
        await beat.end()
    return {
        "seconds": seconds, "peak_mib": peak_mib(), "syncs": place.syncs, "requests": requests, **lags(delay),
        "CPU s": cpu_seconds() - cpu,
    }  # fmt: skip


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--syncs", type=int, default=100)
    parser.add_argument("--latency", type=float, default=0.2)
    asked = parser.parse_args()
    with Place(asked.kind, asked.syncs, asked.latency) as place:
        print(json.dumps(asyncio.run(measure(place))))


if __name__ == "__main__":
    main()
