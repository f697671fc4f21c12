"""One try of a task, in a process that may be killed at any moment: starts a sync and waits for its end."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from airflow_elt_provider.remotes.flow import Flow, run
from airflow_elt_provider.remotes.model import Intents, Order, Phase, Remote
from airflow_elt_provider.remotes.patience import patiently, until_ended
from airflow_elt_provider.remotes.transports import RequestsTransport
from tests.remotes.systems import System


class IntentsFile:
    """Intents that outlive a process: written as a whole or not at all."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> str | None:
        return self._path.read_text() if self._path.exists() else None

    def write(self, mark: str) -> None:
        new = self._path.with_suffix(f".{os.getpid()}")
        new.write_text(mark)
        new.replace(self._path)


def whole_try(remote: Remote, order: Order, intents: Intents) -> Flow[bool]:
    """Start, or find what was started, and wait; whether it ended well."""
    while True:
        started = yield from patiently(lambda: remote.start(order, intents), 30.0, "chaos")
        seen = yield from until_ended(remote, started.watch, poll_interval=0.02, outage_tolerance=30.0)
        if started.ours:
            return seen.phase is Phase.SUCCEEDED


def try_once(system: type[System], url: str, order: Order, path: Path) -> None:
    """Be one try; the exit code is 0 for a sync that ended well."""
    settings = system.settings_at(url)
    remote = system.remote_of(settings)
    transport = RequestsTransport(settings)
    sys.exit(0 if run(whole_try(remote, order, IntentsFile(path)), transport) else 1)
