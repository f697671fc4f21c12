"""A conversation with a remote that a person watches and may stop."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any

from airflow_elt_provider.cli.terminal import draws
from airflow_elt_provider.engine.progress import EVERY_SECONDS, Progress
from airflow_elt_provider.remotes.config_as_code.folders import Folder
from airflow_elt_provider.remotes.config_as_code.opening import Driver
from airflow_elt_provider.remotes.flow import Flow

log = logging.getLogger(__name__)


class StoppedError(Exception):
    """The command was told to stop."""


class Talk:
    """Drives flows, says how far they are, and ends them when the command is told to stop.

    Reading ends at once. When changes are being made, only between two of them.

    :param driver: drives a flow to its end.
    :param what: begins what is said.
    """

    def __init__(self, driver: Driver, what: str) -> None:
        self._driver = driver
        self._lock = threading.Lock()
        self._told_to_stop = self._changing = False
        self._progress = Progress(what)
        self._said = time.monotonic()
        self._written = 0
        logging.getLogger("httpx").setLevel(logging.WARNING)  # it says every single request

    def __call__(self, flow: Flow[Any]) -> Any:
        return self._driver(flow)

    def cancel(self) -> None:
        """Let it end soon."""
        with self._lock:
            self._told_to_stop = True
            if not self._changing:
                self._driver.stop()

    def stop_here(self) -> None:
        """End where nothing is half done. :raises StoppedError: when the command was told to stop."""
        if self._told_to_stop:
            raise StoppedError

    def tell(self, what: str, done: int, total: int) -> None:
        """Say that so many of all are read: below the log on a terminal, else every few seconds in the log."""
        self._say(f"{what}: {done:,} of {total:,}")

    def tell_change(self, what: str, done: int, total: int) -> None:
        """Say that so many changes are made; from the first one on the work ends between two of them."""
        with self._lock:
            self.stop_here()
            self._changing = True
        self._say(f"{what}: {done:,} of {total:,}")

    def tell_written(self) -> None:
        """Say that one more file is written."""
        self.stop_here()
        self._written += 1
        self._say(f"files: {self._written:,} written")

    def _say(self, line: str) -> None:
        self._progress.what = line
        now = time.monotonic()
        if now - self._said >= EVERY_SECONDS and not draws(sys.stderr):
            self._said = now
            log.info("%s", line)


class WatchedFolder:
    """A folder that says how much was written to it; the command may be stopped before each file."""

    def __init__(self, folder: Folder, talk: Talk) -> None:
        self._folder, self._talk = folder, talk

    @property
    def uri(self) -> str:
        return self._folder.uri

    def read(self) -> Mapping[str, bytes]:
        return self._folder.read()

    def read_one(self, path: str) -> bytes | None:
        return self._folder.read_one(path)

    def write(self, path: str, content: bytes) -> None:
        self._talk.tell_written()
        self._folder.write(path, content)

    def remove(self, path: str) -> None:
        self._talk.stop_here()
        self._folder.remove(path)
