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

import platform
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import requests

from servers.environments import Environment
from servers.processes import LOOPBACK, GuardedProcess, LentServer, ReservedPort

LAUNCH: Final = Path(__file__).with_name("bigquery_launch.py")
ENVIRONMENT: Final = Environment("bigquery", pythons=("3.13", ">=3.12"))  # it declares 3.13, and runs on 3.12
START_SECONDS: Final = 60.0
QUERY_SECONDS: Final = 60.0


class BigQueryServer(LentServer):
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
            except requests.RequestException:
                pass
            time.sleep(0.05)
        process.stop()
        raise RuntimeError(f"local-bigquery did not start:\n{self.log()}")


# --- its environment ---


def unavailable() -> str | None:
    """Return why there can be no BigQuery server here; None where there can."""
    return ENVIRONMENT.unavailable()


def prepare() -> Path:
    """Return the Python of the emulator's environment, which is made where it is missing or out of date."""
    return ENVIRONMENT.prepare()


def _home(directory: Path) -> Path:
    """Make a home folder in which DuckDB finds the extensions that wheels brought, so that it fetches none."""
    home = directory / "home"
    system = {"linux": "linux", "darwin": "osx"}[sys.platform]
    machine = {"x86_64": "amd64", "aarch64": "arm64", "arm64": "arm64"}[platform.machine()]
    for file in ENVIRONMENT.folder.glob("lib/*/site-packages/duckdb_extension_*/extensions/v*/*.duckdb_extension"):
        folder = home / ".duckdb" / "extensions" / file.parent.name / f"{system}_{machine}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / file.name).symlink_to(file)
    return home
