"""A network of its own, from which only chosen ports of this machine are reached, and which nobody reaches.

>>> with PrivateNetwork(doors=[api_port, source.port]) as network:
...     worker = GuardedProcess(network.command(["airflow", "edge", "worker"], environment), log=log, cwd=folder)

It is a Linux network namespace with nothing in it but its own loopback.  A door is a port of that loopback, whose
connections are carried through a Unix socket to the same port of this machine; every other port and address is
unreachable from inside, whoever knows it, and nothing outside can connect to what listens inside.  Needs the right
to make namespaces: root's, or that of a system that lets every user make them.
"""

from __future__ import annotations

import asyncio
import ctypes
import fcntl
import json
import os
import shutil
import socket
import struct
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from typing import Self

    Opened = tuple[asyncio.StreamReader, asyncio.StreamWriter]
    Serving = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

LOOPBACK = "127.0.0.1"
CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
GET_FLAGS, SET_FLAGS, IFF_UP = 0x8913, 0x8914, 0x1
CHUNK = 1 << 16
READY = "ready"
START_SECONDS = 20.0


class PrivateNetwork:
    """The outer side of the doors, and the way in.

    `doors` are the ports of this machine's loopback that are reached from inside.
    """

    def __init__(self, doors: Sequence[int]) -> None:
        """Describe a network; nothing runs yet."""
        self.doors = tuple(doors)
        self.folder = Path(tempfile.mkdtemp(prefix="elt-net-"))
        self._commands = 0
        self._process: Any = None
        self._listeners: list[asyncio.Server] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="private network", daemon=True)

    def __enter__(self) -> Self:
        """Make the network and open its doors.

        :raises RuntimeError: where this system lets us make none.
        """
        from servers.processes import GuardedProcess

        self._thread.start()
        for port in self.doors:
            serve = _carry_to(lambda port=port: asyncio.open_connection(LOOPBACK, port))
            self._listeners.append(self._await(asyncio.start_unix_server(serve, self.folder / str(port))))
        command = [sys.executable, __file__, "be", str(self.folder), *map(str, self.doors)]
        with (self.folder / "log").open("ab") as log:
            self._process = GuardedProcess(command, log=log, cwd=self.folder)
        deadline = time.monotonic() + START_SECONDS
        while not (self.folder / READY).exists():
            if not self._process.running or time.monotonic() > deadline:
                said = (self.folder / "log").read_text()
                self.__exit__()
                raise RuntimeError(f"no network of its own: {said[-500:]}")
            time.sleep(0.01)
        return self

    def __exit__(self, *error: object) -> None:
        """Close the doors."""
        if self._process:
            self._process.stop()
        self._await(_close(self._listeners))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def command(self, words: Sequence[str | Path], env: Mapping[str, str]) -> list[str]:
        """Return the command that runs another one inside, with this environment and nothing of ours."""
        self._commands += 1
        file = self.folder / f"{self._commands}.json"
        file.touch(mode=0o600)
        file.write_text(json.dumps({"words": [*map(str, words)], "env": dict(env)}))
        return [sys.executable, __file__, "enter", str(self._process.pid), str(file)]

    def _await(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()


def _carry_to(connect: Callable[[], Awaitable[Opened]]) -> Serving:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            upstream, downstream = await connect()
        except OSError:
            writer.close()
            return
        await asyncio.gather(_pump(reader, downstream), _pump(upstream, writer))

    return serve


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
    except (OSError, asyncio.CancelledError):
        pass
    finally:
        writer.close()


async def _close(listeners: Sequence[asyncio.Server]) -> None:
    for listener in listeners:
        listener.close()
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


# --- inside ---


def _be(folder: Path, *ports: str) -> None:
    """Be the network: make it, open the inner side of its doors, and stay."""
    user, group = os.getuid(), os.getgid()
    _leave_network(as_root=user == 0)
    if user != 0:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        flags = struct.unpack("16sH", fcntl.ioctl(control, GET_FLAGS, struct.pack("16sH", b"lo", 0)))[1]
        fcntl.ioctl(control, SET_FLAGS, struct.pack("16sH", b"lo", flags | IFF_UP))
    asyncio.run(_open(folder, [int(port) for port in ports]))


async def _open(folder: Path, ports: Sequence[int]) -> None:
    for port in ports:
        serve = _carry_to(lambda port=port: asyncio.open_unix_connection(folder / str(port)))
        await asyncio.start_server(serve, LOOPBACK, port)
    (folder / READY).touch()
    await asyncio.Event().wait()


def _leave_network(*, as_root: bool) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET | (0 if as_root else CLONE_NEWUSER)):
        raise OSError(ctypes.get_errno(), "this system lets us make no network namespace")


def _enter(pid: str, file: str) -> None:
    """Go into the network and become the command."""
    libc = ctypes.CDLL(None, use_errno=True)
    kinds = (("net", CLONE_NEWNET),) if os.getuid() == 0 else (("user", CLONE_NEWUSER), ("net", CLONE_NEWNET))
    for kind, number in kinds:
        with Path(f"/proc/{pid}/ns/{kind}").open() as namespace:
            if libc.setns(namespace.fileno(), number):
                raise OSError(ctypes.get_errno(), f"cannot enter {namespace.name}")
    description = json.loads(Path(file).read_text())
    os.execvpe(description["words"][0], description["words"], description["env"])


if __name__ == "__main__":
    if sys.argv[1] == "be":
        _be(Path(sys.argv[2]), *sys.argv[3:])
    else:
        _enter(*sys.argv[2:])
