"""What a person watching the task log sees of long work."""

from __future__ import annotations

import logging
import threading
import time
from typing import Final

log = logging.getLogger(__name__)
EVERY_SECONDS: Final = 5.0


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

    def add(self, rows: int, size: int) -> None:
        """Count some work done."""
        with self._lock:
            self.rows += rows
            self.bytes += size
            now = time.monotonic()
            if now - self._said >= EVERY_SECONDS:
                self._said = now
                log.info("%s: %s so far", self.what, self)

    @property
    def seconds(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._started

    def __str__(self) -> str:
        rate = self.rows / self.seconds if self.seconds else 0
        return f"{self.rows:,} rows, {self.bytes / 1e6:,.1f} MB, {rate:,.0f} rows/s"
