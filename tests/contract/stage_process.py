"""A worker process of the contract suite: `python -m tests.contract.stage_process WHAT PATH FILE RECIPE...`.

Says "ready", waits for a line, does it, and prints the outcome.
"""

from __future__ import annotations

import itertools
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_elt_provider.errors import DataError
from tests.contract.stages_at_work import open_stage

if TYPE_CHECKING:
    from airflow_elt_provider.core.protocols import Stage


def put_if_absent(stage: Stage, path: str, file: Path) -> bool:
    return stage.put_if_absent(path, file.read_bytes())


def put(stage: Stage, path: str, file: Path) -> bool:
    with stage.workspace() as folder:
        part = Path(shutil.copy(file, folder / "part"))
        try:
            stage.put(part, path)
        except DataError:
            return False
        return True


def storm(stage: Stage, path: str, file: Path) -> bool:
    """Put one file after the other, in both ways, until killed."""
    for number in itertools.count():
        way = put if number % 2 else put_if_absent
        way(stage, f"{path}/part-{number}", file)
    return True


if __name__ == "__main__":
    what, path, file, *recipe = sys.argv[1:]
    stage = open_stage(*recipe)
    stage.exists(f"{stage.root}/warm-up")
    print("ready", flush=True)
    sys.stdin.readline()
    print(
        {"put": put, "put_if_absent": put_if_absent, "storm": storm}[what](stage, path, Path(file)),
        flush=True,
    )
