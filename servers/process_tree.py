"""A process with all that it started: to look at, and to lose at once, as a machine is lost."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

import psutil

LISTENING = "0A"


def family(pid: int) -> list[psutil.Process]:
    """Return a process and its offspring, the oldest first; nothing when it is gone."""
    with contextlib.suppress(psutil.NoSuchProcess):
        ancestor = psutil.Process(pid)
        return [ancestor, *ancestor.children(recursive=True)]
    return []


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process and its offspring have used, with those of it that ended."""
    total = 0.0
    for one in family(pid):
        with contextlib.suppress(psutil.NoSuchProcess):
            used = one.cpu_times()
            total += used.user + used.system + used.children_user + used.children_system
    return total


def kill_family(pid: int) -> int:
    """Kill a process and its offspring with SIGKILL; return how many.

    All are stopped first, so that none can note the loss of another, or start one more.
    """
    known: dict[int, psutil.Process] = {}
    while more := [one for one in family(pid) if one.pid not in known]:
        for one in more:
            known[one.pid] = one
            with contextlib.suppress(psutil.NoSuchProcess):
                one.suspend()
    for one in known.values():
        with contextlib.suppress(psutil.NoSuchProcess):
            one.kill()
    return len(known)


def listening(pid: int) -> set[int]:
    """Return the TCP ports on which a process or its offspring listens, in whichever network it lives."""
    ports: set[int] = set()
    for one in family(pid):
        folder = Path(f"/proc/{one.pid}")
        with contextlib.suppress(OSError):
            sockets = {found[1] for link in (folder / "fd").iterdir() if (found := _socket(link))}
            ports |= {port for port, inode in listeners(one.pid).items() if inode in sockets}
    return ports


def listeners(pid: int) -> dict[int, str]:
    """Return the ports on which anybody listens in a process's network, with the sockets' inodes."""
    found: dict[int, str] = {}
    for name in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:]:
            _, local, _, state, _, _, _, _, _, inode, *_ = line.split()
            if state == LISTENING:
                found[int(local.rpartition(":")[2], 16)] = inode
    return found


def _socket(link: Path) -> re.Match[str] | None:
    with contextlib.suppress(OSError):  # closed meanwhile
        return re.fullmatch(r"socket:\[(\d+)\]", str(link.readlink()))
    return None
