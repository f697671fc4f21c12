"""What a person watching the task log sees of long work."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final, TypeAlias

log = logging.getLogger(__name__)
EVERY_SECONDS: Final = 5.0

Listener: TypeAlias = "Callable[[Progress], None]"
"""Called when a step begins and whenever it has done some work; from any thread, so it should only take a look."""
_LISTENER: ContextVar[Listener | None] = ContextVar("elt_progress_listener", default=None)


@contextmanager
def heard_by(listener: Listener) -> Iterator[None]:
    """Let somebody follow the steps that begin in this context: a terminal, who then says it instead of the log."""
    token = _LISTENER.set(listener)
    try:
        yield
    finally:
        _LISTENER.reset(token)


class Progress:
    """Counts rows and bytes from several threads, and logs them every few seconds.

    :param what: begins each line, e.g. the stream's name and the step.
    """

    def __init__(self, what: str) -> None:
        self.what = what
        self.rows = 0
        self.bytes = 0
        self._started = self._said = time.monotonic()
        self._lock = threading.Lock()
        self._listener = _LISTENER.get()
        if self._listener:
            self._listener(self)

    def add(self, rows: int, size: int) -> None:
        """Count some work done."""
        with self._lock:
            self.rows += rows
            self.bytes += size
            now = time.monotonic()
            if self._listener:
                self._listener(self)
            elif now - self._said >= EVERY_SECONDS:
                self._said = now
                log.info("%s: %s so far", self.what, self)

    @property
    def seconds(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._started

    def __str__(self) -> str:
        rate = self.rows / self.seconds if self.seconds else 0
        return f"{self.rows:,} rows, {self.bytes / 1e6:,.1f} MB, {rate:,.0f} rows/s"
