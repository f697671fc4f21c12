"""A sync in a process of its own that is killed with SIGKILL at the moment it was told.

Argument: a JSON object with the world's places, the parameters and the moment.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

from tests.contract.at_work import reopened
from tests.contract.faults import Fuse
from tests.contract.postgres_at_work import ServerElsewhere
from tests.contract.world import World


class DeadlyFuse(Fuse):
    """Kills the process instead of raising: no handler of ours or of a driver runs."""

    def tick(self, moment: str) -> None:
        """Pass one moment, or die."""
        try:
            super().tick(moment)
        except BaseException:
            os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    """Run until the moment comes."""
    told = json.loads(sys.argv[1])
    server = ServerElsewhere(told["port"], told["user"], told["password"])
    fuse = DeadlyFuse(told["moment"])
    world = World(server, told["dbname"], Path(told["folder"]), reopened(told["destination"]), fuse=fuse)
    world.sync(run_id="killed", **told["parameters"])


if __name__ == "__main__":
    main()
