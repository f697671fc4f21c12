"""Progress on a terminal: one line that is drawn again and again, with log lines passing above it.

A few lines of our own: Airflow depends on rich, but the command line has to work where only this package is installed.
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from typing import IO, Final

from airflow_elt_provider.engine.progress import Progress, heard_by

_CLEAR: Final = "\r\x1b[2K"
_FRAMES: Final = "|/-\\"
_EVERY: Final = 0.1
"""Seconds between two drawings."""
_UNITS: Final = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


def draws(stream: IO[str] | None, env: Mapping[str, str] = os.environ) -> bool:
    """Whether a line can be drawn again there: a terminal, and none that is dumb; None: it is closed."""
    return stream is not None and stream.isatty() and env.get("TERM", "dumb") != "dumb"


def colours(stream: IO[str] | None, env: Mapping[str, str] = os.environ) -> bool:
    """Whether colours are wanted there; see no-color.org."""
    return draws(stream, env) and not env.get("NO_COLOR")


_BAR: ContextVar[Bar | None] = ContextVar("elt_bar", default=None)


class Bar:
    """The line at the bottom of a terminal. Its methods may be called by several threads at once."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream, self._colours = stream, colours(stream)
        self._lock = threading.RLock()
        self._step: Progress | None = None
        self._over = threading.Event()
        self._frame = 0
        self._drawn = self._hidden = False

    def follow(self, step: Progress) -> None:
        """Show this step from now on. Cheap: it is drawn by a thread of its own."""
        self._step = step

    def say(self, line: str) -> None:
        """Write a line above the bar."""
        with self._lock:
            self._clear()
            self._stream.write(f"{line}\n")
            self._draw()

    @contextmanager
    def hidden(self) -> Iterator[None]:
        """Take it away while the block runs: somebody else writes to the terminal."""
        with self._lock:
            self._clear()
            self._stream.flush()
            self._hidden = True
        try:
            yield
        finally:
            self._hidden = False

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Draw it while the block runs, and take it away in the end."""
        painter = threading.Thread(target=self._paint, name="elt-bar", daemon=True)
        painter.start()
        try:
            with heard_by(self.follow):
                yield
        finally:
            self._over.set()
            painter.join()
            with self._lock:
                self._clear()
                self._stream.flush()

    def _paint(self) -> None:
        while not self._over.wait(_EVERY):
            with self._lock:
                self._frame += 1
                self._clear()
                self._draw()

    def _clear(self) -> None:
        if self._drawn:
            self._stream.write(_CLEAR)
            self._drawn = False

    def _draw(self) -> None:
        step = self._step
        if step is None or self._hidden or self._over.is_set():
            return
        width = shutil.get_terminal_size().columns - 1
        text = f"{_FRAMES[self._frame % len(_FRAMES)]} {line_of(step)}"[:width]
        self._stream.write(f"\x1b[36m{text}\x1b[0m" if self._colours else text)
        self._stream.flush()
        self._drawn = True


def line_of(step: Progress) -> str:
    """Return how far a step is: what it does, rows, bytes, rate and time."""
    minutes, seconds = divmod(int(step.seconds), 60)
    parts = [step.what, f"{minutes}:{seconds:02}"]
    if step.rows:
        parts[1:1] = [f"{step.rows:,} rows", size_of(step.bytes), f"{step.rows / max(step.seconds, 1e-3):,.0f} rows/s"]
    return "  ".join(parts)


def size_of(size: float) -> str:
    """Return a number of bytes for a person."""
    for unit, name in _UNITS:
        if size >= unit:
            return f"{size / unit:,.1f} {name}"
    return f"{size:.0f} B"


@contextmanager
def talking() -> Iterator[None]:
    """Have the terminal for oneself while the block runs: to write to it, or to ask."""
    bar = _BAR.get()
    with bar.hidden() if bar else nullcontext():
        yield


class _AboveTheBar(logging.Handler):
    def __init__(self, bar: Bar) -> None:
        super().__init__()
        self._bar = bar

    def emit(self, record: logging.LogRecord) -> None:
        self._bar.say(self.format(record))


@contextmanager
def reporting(*, quiet: bool) -> Iterator[None]:
    """Send the log to standard error, with a bar below it where that is a terminal; warnings only where ``quiet``."""
    bar = Bar(sys.stderr) if draws(sys.stderr) and not quiet else None
    handler = _AboveTheBar(bar) if bar else logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    root = logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.WARNING if quiet else logging.INFO)
    token = _BAR.set(bar)
    try:
        if bar:
            with bar.shown():
                yield
        else:
            yield
    finally:
        _BAR.reset(token)
        root.removeHandler(handler)
        root.setLevel(before)
