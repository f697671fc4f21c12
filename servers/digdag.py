"""A throw-away Digdag server: the real one, from its executable jar, with a database in memory.

>>> if reason := unavailable():
...     pytest.skip(reason)
>>> with DigdagServer(user="user", password="password") as server:
...     requests.get(f"{server.url}/api/attempts", auth=server.auth, timeout=10)

No package registry holds the whole server: its jar is downloaded by hand from the project's releases, to
`.cache/digdag/digdag.jar` or wherever ELT_DIGDAG_JAR says.  Digdag supports Java 8 and 11.  Newer ones are let
in by opening java.lang to its dependency injection.
"""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
import time
from base64 import b64encode
from pathlib import Path
from typing import Final

import requests

from servers.processes import LOOPBACK, GuardedProcess, LentServer, ReservedPort

JAR: Final = Path(__file__).parents[1] / ".cache" / "digdag" / "digdag.jar"
OPENED: Final = {"JDK_JAVA_OPTIONS": "--add-opens=java.base/java.lang=ALL-UNNAMED"}  # Java 8 does not read it
START_SECONDS: Final = 90.0


def jar() -> Path:
    """Return where Digdag's jar is, or would be."""
    return Path(os.environ.get("ELT_DIGDAG_JAR") or JAR)


def java() -> str | None:
    """Return the Java to run it with, None where there is none."""
    home = os.environ.get("JAVA_HOME")
    return shutil.which("java", path=f"{home}/bin") if home else shutil.which("java")


def unavailable() -> str | None:
    """Return why there can be no Digdag server here; None where there can."""
    if not jar().is_file():
        return f"no Digdag server on this machine: put the executable jar of a release at {jar()}"
    if java() is None:
        return "no Java on this machine, which the Digdag server needs"
    return None


class DigdagServer(LentServer):
    """One Digdag server that runs its tasks itself; nothing of it outlives it."""

    def __init__(self, user: str | None = None, password: str = "") -> None:
        """Describe a server; with a user it asks for Basic credentials, except at /api/version."""
        self.auth = None if user is None else (user, password)
        self._directory: Path | None = None
        self._port = ReservedPort()
        self._process: GuardedProcess | None = None

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://{LOOPBACK}:{self._port.number}"

    def start(self) -> None:
        """Start it and wait until it answers."""
        program = java()
        if program is None or unavailable():
            raise RuntimeError(str(unavailable()))
        self._directory = Path(tempfile.mkdtemp(prefix="elt-digdag-"))
        command: list[str | Path] = [
            program, f"-Djava.io.tmpdir={self._directory}", "-jar", jar().resolve(), "server", "--memory",
            "--bind", LOOPBACK, "--port", str(self._port.number), "--config", self._settings(self._directory),
            "--task-log", self._directory / "task-log", "--max-task-threads", "4", "--disable-scheduler",
        ]  # fmt: skip
        with (self._directory / "log").open("ab") as log:
            self._process = GuardedProcess(command, log=log, cwd=self._directory, env=OPENED)
        self._wait(self._process)

    def close(self) -> None:
        """Stop it and remove what it wrote."""
        if self._process:
            self._process.stop()
            self._process = None
        if self._directory:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None
        self._port.release()

    def log(self) -> str:
        """Return what the server wrote to its log."""
        return (self._directory / "log").read_text(errors="replace") if self._directory else ""

    # --- inside ---

    def _settings(self, directory: Path) -> Path:
        """Write its settings, instead of those in the home folder."""
        settings = {"digdag.secret-encryption-key": b64encode(secrets.token_bytes(16)).decode()}
        if self.auth:
            settings["server.authenticator.basic.username"], settings["server.authenticator.basic.password"] = self.auth
        file = directory / "server.properties"
        file.touch(mode=0o600)
        file.write_text("".join(f"{name} = {value}\n" for name, value in settings.items()))
        return file

    def _wait(self, process: GuardedProcess) -> None:
        deadline = time.monotonic() + START_SECONDS
        while process.running and time.monotonic() < deadline:
            try:
                if requests.get(f"{self.url}/api/version", timeout=5).ok:
                    return
            except requests.ConnectionError:
                pass
            time.sleep(0.1)
        process.stop()
        raise RuntimeError(f"Digdag did not start:\n{self.log()}")
