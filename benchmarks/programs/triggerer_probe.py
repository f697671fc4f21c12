"""Triggers for a real triggerer: one that says how the event loop fares, and one that only sleeps."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from benchmarks.programs.event_loop import Heartbeat, lags, peak_kib, resident_kib
from benchmarks.programs.own_process import cpu_seconds


class SleepingTrigger(BaseTrigger):
    """Does nothing until a file is there: what Airflow itself costs."""

    running = 0
    over: asyncio.Event | None = None

    def __init__(self, path: str, number: int) -> None:
        super().__init__()
        self.path, self.number = path, number

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return f"{__name__}.SleepingTrigger", {"path": self.path, "number": self.number}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        own = type(self)
        if own.over is None:
            own.over = asyncio.Event()
            self.looking = asyncio.create_task(_look(self.path, own.over))
        own.running += 1
        try:
            await own.over.wait()
        finally:
            own.running -= 1
        yield TriggerEvent({"status": "ended", "number": self.number})


class ProbeTrigger(BaseTrigger):
    """Writes a line each second, for ever."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return f"{__name__}.ProbeTrigger", {"path": self.path}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        beat = Heartbeat()
        with Path(self.path).open("w") as file:  # noqa: ASYNC230 - it is short
            while True:
                await asyncio.sleep(1.0)
                delay = beat.reset()
                line = {
                    "at": time.time(), "running": _running(), "rss KiB": resident_kib(), "peak KiB": peak_kib(),
                    "CPU s": cpu_seconds(), "blocked s": delay.blocked, **lags(delay),
                }  # fmt: skip
                file.write(json.dumps(line) + "\n")
                file.flush()
        yield TriggerEvent({})


def _running() -> int:
    from airflow_elt_provider.triggers._pollers import _LOOPS

    pollers = _LOOPS.get(asyncio.get_running_loop())
    return SleepingTrigger.running + sum(one.waiting for one in (pollers.by_server if pollers else {}).values())


async def _look(path: str, over: asyncio.Event) -> None:
    while not Path(path).exists():  # noqa: ASYNC110, ASYNC240 - another process makes it
        await asyncio.sleep(0.1)
    over.set()
