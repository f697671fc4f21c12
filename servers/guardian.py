"""Run one server and end it when whoever started it is gone, however that happened.

The starter holds the only write end of this process's stdin.  Lines are signal numbers to pass on; end of
file means that the starter died (`kill -9`, out of memory, a lost terminal): the server then gets its stop
signal, after five seconds SIGKILL, and its directory is removed.

Why not `PR_SET_PDEATHSIG`: it is Linux only, it fires when the *thread* that started the server ends, a
change of user clears it, and it would leave the directory behind.  Being the server's parent, this process
can never signal a recycled process id.

Run as a script with `python -I -S`, so it imports nothing but the standard library.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import subprocess
import sys
import threading

GRACE_SECONDS = 5.0


class Guardian:
    """The server's parent: passes signals on and cleans up behind a starter that vanished."""

    def __init__(self, child: subprocess.Popen[bytes], stop_signal: int) -> None:
        """Guard `child`, which `stop_signal` asks to end."""
        self.child = child
        self.stop_signal = stop_signal
        self.orphaned = False

    def obey(self) -> None:
        """Pass on the signals that arrive on stdin until its end."""
        for line in sys.stdin:
            self._signal(int(line))
        self.orphaned = True
        self._signal(self.stop_signal)
        timer = threading.Timer(GRACE_SECONDS, self.child.kill)
        timer.daemon = True
        timer.start()

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.child.send_signal(number)


def main() -> int:
    """Start the server named on the command line and wait for its end."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--stop-signal", type=int, required=True)
    parser.add_argument("--remove", help="directory to remove when the starter is gone")
    parser.add_argument("--uid", type=int)
    parser.add_argument("--gid", type=int)
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()
    groups = None if options.uid is None else ()
    child = subprocess.Popen(
        options.command,
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
        user=options.uid,
        group=options.gid,
        extra_groups=groups,
    )
    print(child.pid, flush=True)
    guardian = Guardian(child, options.stop_signal)
    threading.Thread(target=guardian.obey, daemon=True).start()
    code = child.wait()
    if guardian.orphaned and options.remove:
        shutil.rmtree(options.remove, ignore_errors=True)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main())
