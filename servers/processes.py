"""Start servers as guarded processes, on ports that nobody else can take meanwhile."""

from __future__ import annotations

import contextlib
import os
import pwd
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from signal import SIGKILL, SIGTERM, Signals
from typing import IO, TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LOOPBACK = "127.0.0.1"
GUARDIAN = Path(__file__).with_name("guardian.py")


class LentServer:
    """What is started for the length of a `with`, and gone after it, or when starting fails."""

    def start(self) -> None:
        """Start, and wait until it answers."""
        raise NotImplementedError

    def close(self) -> None:
        """Stop, and remove whatever was written; also what a start that failed has left."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        """Start."""
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        """Stop; what it held is gone."""
        self.close()


class ReservedPort:
    """A free loopback port, held so that no other process is given it while its server is down.

    A bound socket that never listens keeps the port; on Linux a server that sets SO_REUSEADDR (PostgreSQL,
    Python's own servers) may still listen on it, and until one does a connection is refused.  Elsewhere the
    port is only picked.
    """

    def __init__(self) -> None:
        """Pick a port and hold it."""
        self._socket = reusable_socket(0)
        self.number: int = self._socket.getsockname()[1]
        if sys.platform != "linux":
            self._socket.close()

    def release(self) -> None:
        """Let others have the port."""
        self._socket.close()


def reusable_socket(port: int) -> socket.socket:
    """Bind a loopback socket with SO_REUSEADDR, without listening."""
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind((LOOPBACK, port))
    return bound


@dataclass(frozen=True)
class Account:
    """The user and group that a server runs under."""

    uid: int
    gid: int

    @staticmethod
    def unprivileged() -> Account | None:
        """Name the account for a server that refuses to run as root; None when we are not root."""
        if os.geteuid() != 0:
            return None
        for name in ("postgres", "nobody"):
            with contextlib.suppress(KeyError):
                entry = pwd.getpwnam(name)
                return Account(entry.pw_uid, entry.pw_gid)
        raise RuntimeError("running as root, and no account 'postgres' or 'nobody' to run the server under")

    def own(self, path: Path) -> None:
        """Give `path` to this account."""
        os.chown(path, self.uid, self.gid)


def run_as(account: Account | None, command: Sequence[str | Path], cwd: Path) -> str:
    """Run `command` to its end under `account` and return its output."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
        user=account.uid if account else None,
        group=account.gid if account else None,
        extra_groups=() if account else None,
    )
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed with {done.returncode}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


class GuardedProcess:
    """A server process with a guardian (see `guardian.py`) that ends it when this process is gone.

    The guardian lives in its own session, so neither Ctrl-C nor a kill of the whole process group reaches the
    server before the guardian does its work.  A child forked from this process shares the guard: the server
    then lives until both are gone.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        log: IO[bytes],
        cwd: Path,
        stop_signal: Signals = SIGTERM,
        account: Account | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        """Start `command`; its output goes to `log`; `cwd` is removed if this process dies first.

        `env` is added to the environment.
        """
        options = [f"--stop-signal={int(stop_signal)}", f"--remove={cwd}"]
        if account:
            options += [f"--uid={account.uid}", f"--gid={account.gid}"]
        self._stop_signal = stop_signal
        self._guardian = subprocess.Popen(
            [sys.executable, "-I", "-S", str(GUARDIAN), *options, "--", *map(str, command)],
            cwd=cwd,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env={**os.environ, **(env or {})},
            start_new_session=True,
        )
        self.pid = self._child_pid(command)

    def _child_pid(self, command: Sequence[str | Path]) -> int:
        assert self._guardian.stdout
        answer = self._guardian.stdout.readline()
        if not answer:
            self._guardian.wait()
            raise RuntimeError(f"{command[0]} did not start: its log says why")
        return int(answer)

    @property
    def running(self) -> bool:
        """Whether the server still runs."""
        return self._guardian.poll() is None

    def signal(self, number: Signals) -> None:
        """Send a signal to the server."""
        assert self._guardian.stdin
        with contextlib.suppress(BrokenPipeError):
            self._guardian.stdin.write(f"{int(number)}\n".encode())
            self._guardian.stdin.flush()

    def stop(self, number: Signals | None = None, timeout: float = 20.0) -> None:
        """Signal the server and wait until it is gone; after `timeout` seconds it is killed."""
        if self.running:
            self.signal(number or self._stop_signal)
        try:
            self._guardian.wait(timeout)
        except subprocess.TimeoutExpired:
            self.signal(SIGKILL)
            self._guardian.wait(timeout)
        for pipe in (self._guardian.stdin, self._guardian.stdout):
            if pipe:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
