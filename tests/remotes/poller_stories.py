"""A story told to a poller: `told(system, story)` runs it against the system's server."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

from airflow_elt_provider.remotes.flow import arun
from airflow_elt_provider.remotes.model import Sighting, Watch
from airflow_elt_provider.remotes.poller import Listener, Poller
from airflow_elt_provider.remotes.transports import HttpxTransport
from tests.remotes.systems import Kept, System

_NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def told(system: System, story: Callable[[Poller], Awaitable[Any]]) -> Any:
    """Run a story with a poller of the system's server and return what it returns."""

    async def run() -> Any:
        transport = HttpxTransport(system.settings, _NO_TLS)
        try:
            return await asyncio.wait_for(story(Poller(system.remote(), transport)), 60)
        finally:
            await transport.aclose()

    return asyncio.run(run())


def waiting(
    poller: Poller, watch: Watch, *, interval: float = 0.05, tolerance: float = 60.0, listener: Listener | None = None
) -> asyncio.Task[Sighting]:
    """Begin to wait."""
    return asyncio.create_task(
        poller.wait(watch, poll_interval=interval, outage_tolerance=tolerance, listener=listener)
    )


async def begun(system: System, poller: Poller, count: int = 1) -> list[Watch]:
    """Start syncs by our own way; their watches."""
    found = []
    for number in range(count):
        order = system.order(system.target(), f"run {number}")
        found.append((await arun(poller.remote.start(order, Kept()), poller.transport)).watch)
    return found


async def until(condition: Callable[[], Any]) -> None:
    """Wait for a condition."""
    while not condition():  # noqa: ASYNC110 - what changes is in another thread
        await asyncio.sleep(0.01)


def looks(system: System) -> int:
    """Count the requests so far that start nothing."""
    return len([seen for seen in list(system.server.requests) if seen.method == "GET"])
