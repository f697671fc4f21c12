"""Export a remote's configuration: by us, by bare requests of the same kind and number, or one object at a time."""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp
import requests

from airflow_elt_provider.core.connection import ConnectionParts
from airflow_elt_provider.core.secret import Secret
from airflow_elt_provider.remotes.airbyte import Airbyte
from airflow_elt_provider.remotes.config_as_code.opening import config_server, driver
from airflow_elt_provider.remotes.config_as_code.work import ConfigWork
from airflow_elt_provider.remotes.fivetran import Fivetran
from airflow_elt_provider.remotes.flow import Answer, Request
from airflow_elt_provider.remotes.opening import open_session
from airflow_elt_provider.remotes.settings import RemoteSettings, parse_settings
from airflow_elt_provider.remotes.transports import HttpxTransport
from airflow_elt_provider.stages.folder_local import LocalFolder
from benchmarks.programs.own_process import cpu_seconds, peak_mib

AT_ONCE: Final = 8
"""Requests that we have under way at most."""
SERVERS: Final = {
    "airbyte_040": ("tests.fakes.airbyte", "--no-public", "--config", "0.40"),
    "fivetran": ("tests.fakes.fivetran",),
}


@contextmanager
def served(kind: str, connections: int, latency: float) -> Iterator[str]:
    """Run the fake server in a process of its own; lend its address."""
    module, *words = SERVERS[kind]
    process = subprocess.Popen(
        [sys.executable, "-m", module, *words, "--connections", str(connections), "--latency", str(latency)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdin
    assert process.stdout
    try:
        yield str(json.loads(process.stdout.readline())["url"])
    finally:
        process.stdin.close()
        process.wait()


def settings_at(kind: str, url: str) -> RemoteSettings:
    """Return the settings of a connection to that address."""
    if kind == "fivetran":
        parts = ConnectionParts("bench", "eltfivetran", host=url, login="key", password=Secret("secret"))
        return parse_settings(parts, default_auth="basic")
    return parse_settings(ConnectionParts("bench", "eltairbyte", host=url))


def exported(kind: str, url: str, folder: Path) -> float:
    """Export into a folder; return the seconds."""
    settings = settings_at(kind, url)
    session = open_session(settings)
    remote = Airbyte(session) if kind == "airbyte_040" else Fivetran(session)
    began = time.perf_counter()
    ConfigWork(config_server(remote), driver(settings), url, LocalFolder(folder)).export(schemas="none")
    return time.perf_counter() - began


def recorded(kind: str, url: str, folder: Path) -> list[Request]:
    """Export, and return what was asked."""
    asked: list[Request] = []
    send = HttpxTransport.send

    async def noted(self: HttpxTransport, request: Request) -> Answer:
        asked.append(request)
        return await send(self, request)

    HttpxTransport.send = noted  # type: ignore[method-assign]
    exported(kind, url, folder)
    HttpxTransport.send = send  # type: ignore[method-assign]
    return asked


def replayed(url: str, asked: Sequence[Request]) -> float:
    """Ask the same again, as many at once, and do nothing with the answers."""

    async def all_of_them() -> float:
        places = asyncio.Semaphore(AT_ONCE)

        async def one(session: aiohttp.ClientSession, request: Request) -> None:
            async with places, session.request(
                request.method, request.path, params=list(request.query), data=request.payload(),
                headers={"Content-Type": "application/json", **request.headers},
            ) as answer:  # fmt: skip
                await answer.read()

        async with aiohttp.ClientSession(url) as session:
            began = time.perf_counter()
            await asyncio.gather(*(one(session, request) for request in asked))
            return time.perf_counter() - began

    return asyncio.run(all_of_them())


def one_by_one(url: str, asked: Sequence[Request]) -> float:
    """Ask the same again, one after the other over one connection, as octavia and most scripts do."""
    with requests.Session() as session:
        began = time.perf_counter()
        for request in asked:
            session.request(
                request.method, url + request.path, params=list(request.query), data=request.payload(),
                headers={"Content-Type": "application/json", **request.headers}, timeout=60,
            )  # fmt: skip
        return time.perf_counter() - began


ROLES: Final[dict[str, Callable[[str, Sequence[Request]], float]]] = {"bare": replayed, "serial": one_by_one}


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=SERVERS)
    parser.add_argument("role", choices=("ours", "again", *ROLES))
    parser.add_argument("--connections", type=int, default=500)
    parser.add_argument("--latency", type=float, default=0.05)
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="elt-bench-"))
    with served(given.kind, given.connections, given.latency) as url:
        cpu, details = cpu_seconds(), dict[str, Any]()
        if given.role in ROLES:
            asked = recorded(given.kind, url, folder)
            cpu, details["requests"] = cpu_seconds(), len(asked)
            seconds = ROLES[given.role](url, asked)
        else:
            if given.role == "again":
                exported(given.kind, url, folder)
                cpu = cpu_seconds()
            seconds = exported(given.kind, url, folder)
            details["files"] = sum(1 for path in folder.rglob("*") if path.is_file())
        details["CPU s"] = cpu_seconds() - cpu
    shutil.rmtree(folder)
    print(json.dumps({"seconds": seconds, "peak_mib": peak_mib(), **details}))


if __name__ == "__main__":
    main()
