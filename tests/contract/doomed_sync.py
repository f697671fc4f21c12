"""Syncs, and single steps of them, in processes of their own that are killed with SIGKILL at the moment they are told.

As a program it forks one such process for each line of JSON that it reads, and answers with a line that says how it
ended. It has imported everything, and has neither threads nor connections of ours: a process costs
milliseconds.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NoReturn, Self

from airflow_elt_provider.core.load import StagingRef
from airflow_elt_provider.core.manifest import ManifestRef
from airflow_elt_provider.engine.extract import Extract
from airflow_elt_provider.engine.merge import merge_load, stage_load
from airflow_elt_provider.engine.start import StreamState
from tests.contract.at_work import reopened
from tests.contract.faults import Fuse, PowerCutError
from tests.contract.postgres_at_work import ServerElsewhere
from tests.contract.world import World

if TYPE_CHECKING:
    from airflow_elt_provider.engine.sync import Sync

ROOT = Path(__file__).parents[2]
STEPS = ("extract", "stage", "merge")
_SECONDS = 60
_FORKS_WELL = "jemalloc_bg_thd"
"""The thread of a library that sees to it by itself."""


@dataclass
class DeadlyFuse(Fuse):
    """Kills the process instead of raising: no handler of ours or of a driver runs.

    :param delay: seconds between the moment and death: what the moment announces has begun by then.
    :param will: takes the name of the moment.
    """

    delay: float = 0.0
    will: int = -1

    def tick(self, moment: str) -> None:
        """Pass one moment, or die."""
        try:
            super().tick(moment)
        except PowerCutError as cut:
            os.write(self.will, json.dumps({"moment": str(cut)}).encode())
            if self.delay:
                threading.Timer(self.delay, os.kill, (os.getpid(), signal.SIGKILL)).start()
            else:
                os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class End:
    """How a process ended.

    :param moment: at which it was to die; "" where that never came.
    :param given: what the step hands to the next one, where it survived.
    """

    killed: bool
    moment: str = ""
    given: Any = None


@dataclass
class DoomedProcesses:
    """The program below, and what may be asked of it."""

    _server: subprocess.Popen[str] | None = None
    _errors: IO[bytes] = field(default_factory=tempfile.TemporaryFile)

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "tests.contract.doomed_sync"]
        self._server = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, text=True,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        )  # fmt: skip
        return self

    def __exit__(self, *error: object) -> None:
        assert self._server
        self._server.communicate()
        self._errors.close()

    def run(
        self, world: World, moment: int, parameters: dict[str, Any], *, step: str = "sync", given: Any = None,
        delay: float = 0.0,
    ) -> End:  # fmt: skip
        """Run a sync or a step in a process that dies at that moment, unless it is over by then."""
        told = {
            "port": world.server.port, "user": world.server.user, "password": world.server.password,
            "dbname": world.dbname, "folder": str(world.folder), "destination": world.destination.recipe(),
            "table": world.table, "target": world.target, "observe_source": world.observe_source,
            "moment": moment, "parameters": parameters, "step": step, "given": given, "delay": delay,
        }  # fmt: skip
        assert self._server
        assert self._server.stdin
        assert self._server.stdout
        print(json.dumps(told), file=self._server.stdin, flush=True)
        answer = json.loads(self._server.stdout.readline() or "{}")
        killed = answer.get("status") == -signal.SIGKILL
        if not killed and answer.get("status") != 0:
            self._errors.seek(0)
            raise AssertionError(f"{answer}\n{self._errors.read().decode()[-5000:]}")
        return End(killed, answer.get("moment", ""), answer.get("given"))


def take_step(job: Sync, step: str, given: Any) -> Any:
    """Do a step as its operator does, and return what is handed to the next one, as JSON."""
    if step == "sync":
        return job.execute().to_json()
    if step == "extract":
        state = StreamState.read(job.destination, job.extraction, job.run)
        return Extract(job.extraction, job.run, job.source, job.stage, state, job.keys).execute().to_json()
    if step == "stage":
        ref = ManifestRef.from_json(given)
        return stage_load(ref, job.merging.target, job.destination, job.stage).to_json()
    return merge_load(StagingRef.from_json(given), job.merging, job.destination, job.stage).to_json()


# --- the program ---


def live(told: dict[str, Any], will: int) -> NoReturn:
    """Run until the moment comes."""
    signal.alarm(_SECONDS)
    try:
        server = ServerElsewhere(told["port"], told["user"], told["password"])
        fuse = DeadlyFuse(told["moment"], delay=told["delay"], will=will)
        world = World(
            server, told["dbname"], Path(told["folder"]), reopened(told["destination"]), told["table"],
            told["target"], fuse, observe_source=told["observe_source"],
        )  # fmt: skip
        parameters = {"run_id": "killed", **told["parameters"]}
        given = take_step(world.job(**parameters), told["step"], told["given"])
        os.write(will, b"\n" + json.dumps({"given": given}).encode())
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    os._exit(0)


def main() -> None:
    """Serve until there is nothing more to read."""
    threads = [(task / "comm").read_text().strip() for task in Path("/proc/self/task").iterdir()]
    assert len(threads) - threads.count(_FORKS_WELL) == 1, f"a process with threads must not be forked: {threads}"
    for line in sys.stdin:
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            os.close(reading)
            live(json.loads(line), writing)
        os.close(writing)
        with os.fdopen(reading) as pipe:
            answer: dict[str, Any] = {}
            for part in pipe.read().splitlines():
                answer |= json.loads(part or "{}")
        _, status = os.waitpid(child, 0)
        print(json.dumps({**answer, "status": os.waitstatus_to_exitcode(status)}), flush=True)


if __name__ == "__main__":
    main()
