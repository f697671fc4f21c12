"""A throw-away BigQuery: the emulator local-bigquery, in an environment of its own.

>>> if reason := unavailable():
...     pytest.skip(reason)
>>> with BigQueryServer() as server:
...     server.create_dataset("sales")
...     server.query("CREATE TABLE sales.t AS SELECT 1 AS id")
...     server.query("SELECT id FROM sales.t")  # [{"id": "1"}]

It speaks GoogleSQL on DuckDB and needs Python 3.12 or newer (3.13 is what it declares).  `maximum_bytes_billed`
is accepted and not enforced; there is no authentication.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import requests

from servers.processes import LOOPBACK, GuardedProcess, ReservedPort

if TYPE_CHECKING:
    from collections.abc import Iterator

REQUIREMENTS: Final = Path(__file__).with_name("requirements-bigquery.txt")
LAUNCH: Final = Path(__file__).with_name("bigquery_launch.py")
ENVIRONMENT: Final = Path(__file__).parents[1] / ".cache" / "bigquery-venv"
PYTHONS: Final = ("3.13", ">=3.12")  # the emulator declares 3.13 alone, and runs on 3.12 too
START_SECONDS: Final = 60.0
QUERY_SECONDS: Final = 60.0


class BigQueryServer:
    """One local-bigquery with an empty project."""

    def __init__(self, project: str = "elt", *, buckets: Path | None = None) -> None:
        """Describe a server; `buckets` is a folder whose subfolders it reads as gs:// buckets."""
        self.project = project
        self.buckets = buckets
        self._directory: Path | None = None
        self._ports = [ReservedPort(), ReservedPort()]
        self._process: GuardedProcess | None = None

    @property
    def url(self) -> str:
        """Where its REST API is."""
        return f"http://{LOOPBACK}:{self._ports[0].number}"

    @property
    def rest(self) -> str:
        """The root of its project's resources."""
        return f"{self.url}/bigquery/v2/projects/{self.project}"

    def env(self) -> dict[str, str]:
        """Return the variables that send Google's client to it."""
        return {"BIGQUERY_EMULATOR_HOST": self.url}

    def __enter__(self) -> Self:
        """Start the server."""
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        """Stop the server; its tables are gone."""
        self.close()

    def start(self) -> None:
        """Make its environment where that is not there yet, start it, and wait until it answers."""
        python = prepare()
        self._directory = Path(tempfile.mkdtemp(prefix="elt-bigquery-"))
        http, grpc = (str(port.number) for port in self._ports)
        command: list[str | Path] = [
            python, LAUNCH, "--host", LOOPBACK, "--port", http, "--grpc-port", grpc,
            "--project", self.project, "--data-dir", self._directory / "data",
        ]  # fmt: skip
        env = {"HOME": str(_home(self._directory)), "NO_PROXY": LOOPBACK}
        if self.buckets:
            env["GCS_LOCAL_ROOT"] = str(self.buckets)
        with (self._directory / "log").open("ab") as log:
            self._process = GuardedProcess(command, log=log, cwd=self._directory, env=env)
        self._wait(self._process)

    def close(self) -> None:
        """Stop it and remove what it wrote."""
        if self._process:
            self._process.stop()
            self._process = None
        if self._directory:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None
        for port in self._ports:
            port.release()

    def log(self) -> str:
        """Return what the server wrote to its log."""
        return (self._directory / "log").read_text(errors="replace") if self._directory else ""

    # --- use ---

    def create_dataset(self, name: str) -> str:
        """Create a dataset and return its name."""
        wanted = {"datasetReference": {"projectId": self.project, "datasetId": name}}
        requests.post(f"{self.rest}/datasets", json=wanted, timeout=QUERY_SECONDS).raise_for_status()
        return name

    def query(self, sql: str) -> list[dict[str, Any]]:
        """Run a statement and return its rows, values as the REST API gives them: text or None.

        :raises RuntimeError: with BigQuery's message, when the statement fails.
        """
        wanted = {"query": sql, "useLegacySql": False, "timeoutMs": int(QUERY_SECONDS * 1000)}
        answer = requests.post(f"{self.rest}/queries", json=wanted, timeout=QUERY_SECONDS + 5)
        said = answer.json()
        if not answer.ok:
            raise RuntimeError(said["error"]["message"])
        if not said["jobComplete"]:
            raise RuntimeError(f"still running after {QUERY_SECONDS:.0f} s: {sql}")
        names = [field["name"] for field in said.get("schema", {}).get("fields", [])]
        rows = said.get("rows", [])
        if len(rows) < int(said.get("totalRows") or 0):
            raise RuntimeError(f"more rows than one page holds ({said['totalRows']}): {sql}")
        return [dict(zip(names, (cell["v"] for cell in row["f"]), strict=True)) for row in rows]

    # --- inside ---

    def _wait(self, process: GuardedProcess) -> None:
        deadline = time.monotonic() + START_SECONDS
        while process.running and time.monotonic() < deadline:
            try:
                if requests.get(f"{self.rest}/datasets", timeout=5).ok:
                    return
            except requests.ConnectionError:
                pass
            time.sleep(0.05)
        process.stop()
        raise RuntimeError(f"local-bigquery did not start:\n{self.log()}")


# --- its environment ---


def unavailable() -> str | None:
    """Return why there can be no BigQuery server here; None where there can."""
    if _up_to_date() or interpreter():
        return None
    return "no Python 3.12 or newer on this machine, which the BigQuery emulator needs"


@cache
def interpreter() -> str | None:
    """Return a Python for the emulator, None where the machine has none."""
    for wanted in PYTHONS:
        find = [_uv(), "python", "find", "--no-python-downloads", "--no-project", wanted]
        found = _output(find) or _by_pyenv(wanted)
        if found:
            return found
    return None


def prepare() -> Path:
    """Return the Python of the emulator's environment, which is made where it is missing or out of date."""
    python = ENVIRONMENT / "bin" / "python"
    if _up_to_date():
        return python
    with _alone():
        if not _up_to_date():
            base = interpreter()
            if base is None:
                raise RuntimeError(str(unavailable()))
            shutil.rmtree(ENVIRONMENT, ignore_errors=True)
            _install(base, python)
            (ENVIRONMENT / ".installed").write_text(_wanted())
    return python


def _install(base: str, python: Path) -> None:
    """Install with uv, or with pip, which can be told to ignore that another Python is declared."""
    if problem := _problem([_uv(), "venv", "--quiet", "--python", base, str(ENVIRONMENT)], {}):
        raise RuntimeError(f"no environment for the BigQuery emulator: {problem}")
    what = ["--quiet", "--no-deps", "-r", str(REQUIREMENTS)]
    by_uv = _problem([_uv(), "pip", "install", "--python", str(python), *what], _like_pip())
    if not by_uv:
        return
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--ignore-requires-python", *what]
    if by_pip := _problem(pip, {}):
        raise RuntimeError(f"the BigQuery emulator cannot be installed: {by_uv}\n{by_pip}")


def _home(directory: Path) -> Path:
    """Make a home folder in which DuckDB finds the extensions that wheels brought, so that it fetches none."""
    home = directory / "home"
    system = {"linux": "linux", "darwin": "osx"}[sys.platform]
    machine = {"x86_64": "amd64", "aarch64": "arm64", "arm64": "arm64"}[platform.machine()]
    for file in ENVIRONMENT.glob("lib/*/site-packages/duckdb_extension_*/extensions/v*/*.duckdb_extension"):
        folder = home / ".duckdb" / "extensions" / file.parent.name / f"{system}_{machine}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / file.name).symlink_to(file)
    return home


def _wanted() -> str:
    return hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()


def _up_to_date() -> bool:
    stamp = ENVIRONMENT / ".installed"
    return (ENVIRONMENT / "bin" / "python").exists() and stamp.exists() and stamp.read_text() == _wanted()


@contextmanager
def _alone() -> Iterator[None]:
    """Keep other processes from making the environment at the same time."""
    ENVIRONMENT.parent.mkdir(exist_ok=True)
    with ENVIRONMENT.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _uv() -> str:
    beside = Path(sys.executable).with_name("uv")
    return str(beside) if beside.exists() else "uv"


def _by_pyenv(wanted: str) -> str | None:
    """Return pyenv's newest Python of that version: its shims, which uv finds, run only the chosen one."""
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    fitting: dict[tuple[int, ...], str] = {}
    for python in root.glob("versions/3.*/bin/python"):
        words = python.parts[-3].split(".")
        version = tuple(int(word) for word in words if word.isdecimal())
        if version >= (3, 12) if wanted.startswith(">=") else python.parts[-3].startswith(f"{wanted}."):
            fitting[version] = str(python)
    return fitting[max(fitting)] if fitting else None


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
