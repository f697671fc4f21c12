"""A real `airflow triggerer` with many triggers, on SQLite in a folder of its own."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, Final

from benchmarks.programs.remote_place import CONN_ID, Place
from servers.processes import GuardedProcess

MOST_SECONDS: Final = 600.0
STEADY_SECONDS: Final = 12.0


class Triggerer:
    """A triggerer that has nothing to do but what is written into its database."""

    def __init__(self, home: Path, template: Path, place: Place | None, select: int, capacity: int) -> None:
        self.home, self.probe, self.over = home, home / "probe.jsonl", home / "over"
        self.env = {
            **os.environ,
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(home),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__FERNET_KEY": "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
            "AIRFLOW__TRIGGERER__CAPACITY": str(capacity),
            "AIRFLOW__TRIGGERER__MAX_TRIGGER_TO_SELECT_PER_LOOP": str(select),
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            **({f"AIRFLOW_CONN_{CONN_ID.upper()}": json.dumps(place.connection())} if place else {}),
        }
        if not template.exists():
            self._airflow("db", "migrate")
            shutil.copy(home / "airflow.db", template)
        shutil.copy(template, home / "airflow.db")

    def _airflow(self, *words: str) -> None:
        command = [str(Path(sys.executable).with_name("airflow")), *words]
        done = subprocess.run(command, env=self.env, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"airflow {' '.join(words)} failed: {done.stderr[-2000:]}")

    def write(self, kind: str, watches: list[str]) -> None:
        """Write the rows."""
        command = [sys.executable, "-m", "benchmarks.programs.triggerer_rows", kind, str(self.probe), str(self.over)]
        done = subprocess.run(
            command, env=self.env, input="\n".join(watches), capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"the rows could not be written: {done.stderr[-3000:]}")

    def process(self, stack: ExitStack) -> None:
        """Start it."""
        log = stack.enter_context((self.home / "triggerer.log").open("ab"))
        command = [str(Path(sys.executable).with_name("airflow")), "triggerer", "--skip-serve-logs"]
        stack.callback(GuardedProcess(command, log=log, cwd=self.home, env=self.env).stop)

    def lines(self) -> list[dict[str, Any]]:
        """Return what the probe has said."""
        text = self.probe.read_text() if self.probe.exists() else ""
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def deferred(self) -> int:
        """Return how many task instances still wait, the probe's not counted."""
        with closing(sqlite3.connect(f"file:{self.home / 'airflow.db'}?mode=ro", uri=True, timeout=60)) as database:
            found = database.execute("SELECT count(*) FROM task_instance WHERE state = 'deferred'").fetchone()
            return int(found[0]) - 1

    def until(self, what: str, done: Any) -> float:
        """Wait, and return the seconds."""
        began = time.monotonic()
        while not done():
            if time.monotonic() - began > MOST_SECONDS:
                tail = (self.home / "triggerer.log").read_text()[-2000:]
                raise RuntimeError(f"after {MOST_SECONDS:.0f} s not {what}: {self.lines()[-1:]}\n{tail}")
            time.sleep(0.5)
        return time.monotonic() - began


def measure(kind: str, syncs: int, select: int, template: Path) -> dict[str, Any]:
    """Start all, let them wait for a while, and end them at one moment."""
    with ExitStack() as stack:
        place = None if kind == "nothing" else stack.enter_context(Place(kind, syncs, 0.2))
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="elt-triggerer-")))
        triggerer = Triggerer(home, template, place, select, syncs + 1)
        triggerer.write(kind, place.watches if place else ["{}"] * syncs)
        began = time.time()
        triggerer.process(stack)
        triggerer.until("alive", triggerer.lines)
        triggerer.until("all running", lambda: triggerer.lines()[-1]["running"] >= syncs)
        starting = triggerer.lines()
        time.sleep(STEADY_SECONDS)
        steady = triggerer.lines()[len(starting) + 3 :]
        if place:
            place.ask("end")
        triggerer.over.touch()
        ended = time.time()
        triggerer.until("all fired", lambda: triggerer.lines()[-1]["running"] == 0)
        fired = next(line["at"] for line in triggerer.lines() if line["at"] > ended and line["running"] == 0)
        resolved = triggerer.until("all stored", lambda: triggerer.deferred() == 0)
        stats = place.ask("stats") if place else {}
        lines = triggerer.lines()
        log = (home / "triggerer.log").read_text()
        written = len(list(home.glob("logs/**/*.log")))
    ending = [line for line in lines if line["at"] > ended]
    return {
        "seconds": starting[-1]["at"] - began, "peak_mib": starting[-1]["rss KiB"] / 1024, "syncs": syncs,
        "alive s": lines[0]["at"] - began, "KiB": starting[-1]["rss KiB"], "CPU s": starting[-1]["CPU s"],
        "lag ms": max(line["lag ms"] for line in lines), "gc ms": max(line["gc ms"] for line in lines),
        "work ms": max(line["work ms"] for line in lines),
        "lags ms": [max(line["lag ms"] for line in part) for part in (starting, steady, ending)],
        "works ms": [max(line["work ms"] for line in part) for part in (starting, steady, ending)],
        "steady CPU share": (steady[-1]["CPU s"] - steady[0]["CPU s"]) / (steady[-1]["at"] - steady[0]["at"]),
        "fired s": fired - ended, "resolved s": fired - ended + resolved, "server": stats,
        "log files": written, "blocked warnings": log.count("async thread was blocked"), "load": os.getloadavg()[0],
    }  # fmt: skip


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", help="nothing, or a remote")
    parser.add_argument("template", type=Path, help="an empty metadata database; made where there is none")
    parser.add_argument("--syncs", type=int, default=100)
    parser.add_argument("--select", type=int, default=1000, help="max_trigger_to_select_per_loop")
    asked = parser.parse_args()
    print(json.dumps(measure(asked.kind, asked.syncs, asked.select, asked.template)))


if __name__ == "__main__":
    main()
