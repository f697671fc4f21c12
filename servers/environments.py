"""Environments of emulators, which need other packages or another Python than this project.

>>> environment = Environment("bigquery", pythons=("3.13", ">=3.12"))
>>> if reason := environment.unavailable():
...     pytest.skip(reason)
>>> environment.prepare()  # .cache/bigquery-venv/bin/python, made where it is missing or out of date

What belongs into one stands in `servers/requirements-<name>.txt`: pinned lines `name==version`, every package of
it, since dependencies are not resolved.  It is installed by uv, or by pip where uv refuses.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

CACHE: Final = Path(__file__).parents[1] / ".cache"


@dataclass(frozen=True)
class Environment:
    """One virtual environment.

    `pythons` are the versions it may have, the best first: "3.13" is any 3.13, ">=3.12" that or a newer one.
    Without them it has the Python that runs this.
    """

    name: str
    requirements: Path | None = None
    pythons: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        """Where it is."""
        return CACHE / f"{self.name}-venv"

    @property
    def python(self) -> Path:
        """Its Python; there once the environment is prepared."""
        return self.folder / "bin" / "python"

    def unavailable(self) -> str | None:
        """Return why there can be none here; None where there can."""
        if self._up_to_date() or self.interpreter():
            return None
        return f"no Python {' or '.join(self.pythons)} on this machine, which the environment {self.name!r} needs"

    def interpreter(self) -> str | None:
        """Return the Python to make it from, None where the machine has none."""
        return _interpreter(self.pythons) if self.pythons else sys.executable

    def prepare(self) -> Path:
        """Return its Python, after making it where it is missing or out of date."""
        if self._up_to_date():
            return self.python
        with self._alone():
            if not self._up_to_date():
                base = self.interpreter()
                if base is None:
                    raise RuntimeError(str(self.unavailable()))
                shutil.rmtree(self.folder, ignore_errors=True)
                self._install(base)
                self._stamp.write_text(self._wanted())
        return self.python

    # --- inside ---

    @property
    def _file(self) -> Path:
        return self.requirements or Path(__file__).with_name(f"requirements-{self.name}.txt")

    @property
    def _stamp(self) -> Path:
        return self.folder / ".installed"

    def _wanted(self) -> str:
        return hashlib.sha256(self._file.read_bytes()).hexdigest()

    def _up_to_date(self) -> bool:
        return self.python.exists() and self._stamp.exists() and self._stamp.read_text() == self._wanted()

    def _install(self, base: str) -> None:
        """Install with uv, or with pip, which can be told to ignore that another Python is declared."""
        if problem := _problem([_uv(), "venv", "--quiet", "--python", base, str(self.folder)], {}):
            raise RuntimeError(f"no environment {self.name!r}: {problem}")
        what = ["--quiet", "--no-deps", "-r", str(self._file)]
        by_uv = _problem([_uv(), "pip", "install", "--python", str(self.python), *what], _like_pip())
        if not by_uv:
            return
        pip = [sys.executable, "-m", "pip", "--python", str(self.python), "install", "--ignore-requires-python", *what]
        if by_pip := _problem(pip, {}):
            raise RuntimeError(f"{self._file.name} cannot be installed: {by_uv}\n{by_pip}")

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other processes from making it at the same time."""
        self.folder.parent.mkdir(exist_ok=True)
        with self.folder.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


@cache
def _interpreter(pythons: tuple[str, ...]) -> str | None:
    for wanted in pythons:
        find = [_uv(), "python", "find", "--no-python-downloads", "--no-project", wanted]
        found = _output(find) or _by_pyenv(wanted)
        if found:
            return found
    return None


def _uv() -> str:
    beside = Path(sys.executable).with_name("uv")
    return str(beside) if beside.exists() else "uv"


def _by_pyenv(wanted: str) -> str | None:
    """Return pyenv's newest Python of that version: its shims, which uv finds, run only the chosen one."""
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    fitting: dict[tuple[int, ...], str] = {}
    for python in root.glob("versions/3.*/bin/python"):
        version = _numbers(python.parts[-3])
        if version >= _numbers(wanted[2:]) if wanted.startswith(">=") else version[:2] == _numbers(wanted):
            fitting[version] = str(python)
    return fitting[max(fitting)] if fitting else None


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(word) for word in version.split(".") if word.isdecimal())


def _like_pip() -> dict[str, str]:
    """Return pip's settings under the names that uv reads."""
    pairs = {"INDEX_URL": "DEFAULT_INDEX", "EXTRA_INDEX_URL": "INDEX", "FIND_LINKS": "FIND_LINKS"}
    settings = {f"UV_{uv}": os.environ[f"PIP_{pip}"] for pip, uv in pairs.items() if os.environ.get(f"PIP_{pip}")}
    if os.environ.get("PIP_CERT"):
        settings["SSL_CERT_FILE"] = os.environ["PIP_CERT"]
    return {name: value for name, value in settings.items() if name not in os.environ}


def _output(command: list[str]) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    except FileNotFoundError:
        return ""


def _problem(command: list[str], env: dict[str, str]) -> str:
    """Run a command; return what went wrong, nothing when it went well."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **env})
    except FileNotFoundError as error:
        return str(error)
    return (done.stderr.strip() or f"exit status {done.returncode}")[-2000:] if done.returncode else ""
