"""A sync in a process of its own that is killed with SIGKILL at the moment it was told.

Argument: a JSON object with the world's places, the parameters and the moment.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

from servers.postgres import PostgresServer
from tests.contract.at_work import DuckdbAtWork, PostgresAtWork
from tests.contract.faults import Fuse
from tests.contract.world import World


class DeadlyFuse(Fuse):
    """Kills the process instead of raising: no handler of ours or of a driver runs."""

    def tick(self, moment: str) -> None:
        """Pass one moment, or die."""
        try:
            super().tick(moment)
        except BaseException:
            os.kill(os.getpid(), signal.SIGKILL)


class ServerElsewhere(PostgresServer):
    """A server that another process runs."""

    def __init__(self, port: int, user: str, password: str) -> None:
        """Point to it."""
        super().__init__(user=user, password=password)
        self._there = port

    @property
    def port(self) -> int:
        """Its port."""
        return self._there


def main() -> None:
    """Run until the moment comes."""
    told = json.loads(sys.argv[1])
    server = ServerElsewhere(told["port"], told["user"], told["password"])
    kinds = {"postgres": lambda: PostgresAtWork(server, told["at"]), "duckdb": lambda: DuckdbAtWork(Path(told["at"]))}
    fuse = DeadlyFuse(told["moment"])
    world = World(server, told["dbname"], Path(told["folder"]), kinds[told["kind"]](), fuse=fuse)
    world.sync(run_id="killed", **told["parameters"])


if __name__ == "__main__":
    main()
