"""How late an event loop is, and what memory its process holds."""

from __future__ import annotations

import asyncio
import gc
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.programs.own_process import peak_mib

EVERY: Final = 0.005
_PAGE_KIB: Final = os.sysconf("SC_PAGE_SIZE") / 1024


@dataclass(frozen=True)
class Delay:
    """How late a loop was, in seconds.

    :param worst: the largest delay by the clock.
    :param own: the largest without the time in which this thread was ready and had no processor: that is the machine's.
    :param work: the largest of those without the interpreter's garbage collection, which grows with the whole process.
    :param collection: the longest garbage collection.
    :param blocked: the sum of the delays without the machine's part.
    """

    worst: float = 0.0
    own: float = 0.0
    work: float = 0.0
    collection: float = 0.0
    blocked: float = 0.0

    def and_then(self, other: Delay) -> Delay:
        """Return what holds for both times together."""
        return Delay(
            max(self.worst, other.worst), max(self.own, other.own), max(self.work, other.work),
            max(self.collection, other.collection), self.blocked + other.blocked,
        )  # fmt: skip


class Heartbeat:
    """Sleeps for 5 ms again and again in an event loop, and notes by how much too long."""

    def __init__(self) -> None:
        self._delay = Delay()
        self._file = _open_schedstat()
        self._collected, self._collecting_since = 0.0, 0.0
        gc.callbacks.append(self._collecting)
        self._task = asyncio.create_task(self._beat())

    def reset(self) -> Delay:
        """Return the delays until now, and begin anew."""
        found, self._delay = self._delay, Delay()
        return found

    async def end(self) -> None:
        """Stop."""
        gc.callbacks.remove(self._collecting)
        self._task.cancel()
        await asyncio.wait([self._task])
        if self._file is not None:
            os.close(self._file)

    async def _beat(self) -> None:
        while True:
            began, waited, collected = time.perf_counter(), self._waited(), self._collected
            await asyncio.sleep(EVERY)
            late = max(0.0, time.perf_counter() - began - EVERY)
            own = max(0.0, late - (self._waited() - waited))
            collection = self._collected - collected
            self._delay = self._delay.and_then(Delay(late, own, max(0.0, own - collection), collection, own))

    def _collecting(self, phase: str, _about: object) -> None:
        if phase == "start":
            self._collecting_since = time.thread_time()
        else:
            self._collected += time.thread_time() - self._collecting_since

    def _waited(self) -> float:
        """Return for how long this thread was ready to run and did not."""
        return 0.0 if self._file is None else int(os.pread(self._file, 100, 0).split()[1]) / 1e9


def _open_schedstat() -> int | None:
    try:
        return os.open("/proc/thread-self/schedstat", os.O_RDONLY)
    except OSError:
        return None


def lags(delay: Delay) -> dict[str, float]:
    """Return the delays as the report names them, in milliseconds."""
    return {
        "lag ms": delay.own * 1e3, "work ms": delay.work * 1e3, "gc ms": delay.collection * 1e3,
        "clock lag ms": delay.worst * 1e3,
    }  # fmt: skip


def resident_kib() -> float:
    """Return the memory that this process holds now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_KIB


def forget_peak() -> None:
    """Let the peak begin anew, where the kernel allows it."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_kib() -> float:
    """Return the most memory held since :func:`forget_peak`."""
    return peak_mib() * 1024


def log_as_triggerer() -> None:
    """Log as the triggerer's process does, lines of JSON for its supervisor; here nobody reads them."""
    from airflow.sdk.log import configure_logging, reset_logging

    output = Path(os.devnull).open("wb", buffering=0)  # noqa: SIM115 - for as long as this process lives
    reset_logging()
    configure_logging(json_output=True, output=output, sending_to_supervisor=True)
