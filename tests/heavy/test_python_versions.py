"""The other Python versions that are supported: installed from the same constraints, and tried on the main job."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TRIED = ("tests/airflow/test_examples.py", "tests/contract/test_types.py", "tests/cli")
WITHOUT = "not databricks and not snowflake"  # whose emulators would want environments of their own in each copy


def interpreter(version: str) -> str | None:
    """Return a Python of that version, None where the machine has none."""
    uv = Path(sys.executable).with_name("uv")
    find = [uv, "python", "find", "--no-python-downloads", "--no-project", version]
    found = subprocess.run(find, capture_output=True, text=True, check=False).stdout.strip()
    by_pyenv = sorted((Path.home() / ".pyenv" / "versions").glob(f"{version}*/bin/python"))
    return found or (str(by_pyenv[-1]) if by_pyenv else None)


@pytest.mark.heavy
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("version", ["3.12", "3.13"])
def test_main_job_on_another_python(version: str, tmp_path: Path) -> None:
    """A fresh copy of the project sets itself up and passes."""
    python = interpreter(version)
    if python is None or f"{sys.version_info.major}.{sys.version_info.minor}" == version:
        pytest.skip(f"no further Python {version} on this machine")
    copy = tmp_path / "copy"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(copy)], check=True)
    subprocess.run(["scripts/setup"], cwd=copy, check=True, env=_clean(PYTHON=python), timeout=900)
    tried = [".venv/bin/python", "-m", "pytest", "-q", "-x", "-n", "2", "-k", WITHOUT, *TRIED]
    done = subprocess.run(tried, cwd=copy, env=_clean(), capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stdout[-4000:]


def _clean(**more: str) -> dict[str, str]:
    """Return this environment without what belongs to this run of pytest."""
    import os

    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "AIRFLOW", "VIRTUAL"))}
    return {**kept, **more}
