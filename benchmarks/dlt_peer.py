"""dlt (dltHub), in an environment of its own that is made when it is first needed."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Final

from benchmarks.bench import FOLDER, SOURCE, Bench, run_program
from benchmarks.measuring import Run, Skipped
from benchmarks.report import progress

REQUIREMENTS: Final = Path(__file__).with_name("requirements-dlt.txt")
PROGRAM: Final = Path(__file__).parent / "programs" / "dlt_process.py"
ENVIRONMENT: Final = FOLDER / "dlt"
QUIET: Final = {"RUNTIME__DLTHUB_TELEMETRY": "false", "RUNTIME__LOG_LEVEL": "ERROR"}
BACKENDS: Final = ("connectorx", "pyarrow")
NOTE: Final = (
    "dlt stages Parquet for every destination (ADBC into PostgreSQL), reads 100,000 rows at a time, and is timed\n"
    "  without its imports; its pyarrow backend, a minute per run, runs one round."
)


def dlt(bench: Bench, to: str, target: str | Path, folder: Path, backend: str, *words: str) -> Run:
    """Run a pipeline of ``public.events``. :raises Skipped: when dlt cannot be installed here."""
    command = [
        str(_python()), str(PROGRAM), "--source", bench.uri(SOURCE), "--to", to, "--target", str(target),
        "--folder", str(folder), "--backend", backend, *words,
    ]  # fmt: skip
    return run_program(command, QUIET)


def notes(bench: Bench) -> list[str]:
    """Return what a reader should know of dlt's figures."""
    return [NOTE] if bench.peers else []


def version() -> str:
    """Return dlt's pinned version."""
    pins = dict(line.split("==") for line in REQUIREMENTS.read_text().splitlines() if "==" in line)
    return pins["dlt"]


@cache
def _python() -> Path:
    """Return the interpreter of dlt's environment."""
    python = ENVIRONMENT / "bin" / "python"
    stamp = ENVIRONMENT / ".installed"
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
    if not (stamp.exists() and stamp.read_text() == wanted):
        progress(f"installing dlt {version()} into {ENVIRONMENT}")
        shutil.rmtree(ENVIRONMENT, ignore_errors=True)
        _install(python)
        stamp.write_text(wanted)
    return python


def _install(python: Path) -> None:
    """Install with uv, or with pip, which knows more of a machine's own settings."""
    beside = Path(sys.executable).with_name("uv")
    uv = str(beside) if beside.exists() else "uv"
    if _went_well([uv, "venv", "--quiet", "--python", sys.executable, str(ENVIRONMENT)]) and _went_well(
        [uv, "pip", "install", "--quiet", "--python", str(python), "-r", str(REQUIREMENTS)]
    ):
        return
    made = _went_well([sys.executable, "-m", "venv", "--clear", str(ENVIRONMENT)])
    if not (made and _went_well([str(python), "-m", "pip", "install", "--quiet", "-r", str(REQUIREMENTS)])):
        raise Skipped(f"neither uv nor pip could install {REQUIREMENTS.name}: no comparison with dlt")


def _went_well(command: list[str]) -> bool:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return False
    if done.returncode:
        progress(f"{' '.join(command[:3])}: {done.stderr.strip()[-300:]}")
    return done.returncode == 0
