r"""A throw-away Databricks SQL warehouse, in an environment of its own.

>>> with DatabricksServer(s3=s3) as server:
...     with server.connect(server.create_warehouse()) as connection:
...         connection.cursor().execute("SELECT 1").fetchall()

The connector's own generated Thrift service over HTTPS, SQL by Sail, real Delta tables.  COPY INTO, ALTER TABLE and
DESCRIBE are our code over delta-rs, so a green test proves our reading of the documentation (see
`databricks_delta.py`).  What stays different: every warehouse has a catalog `main` of its own; privileges are not
checked (inject the refusal); statements that write to one table wait for each other where Databricks lets them run at
once and refuses the later one (inject that, too); a statement that runs cannot be interrupted.
"""

from __future__ import annotations

import http.client
import json
import shutil
import ssl
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from servers.certificates import Authority
from servers.environments import Environment
from servers.processes import LOOPBACK, GuardedProcess, LentServer, ReservedPort

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from servers.s3 import S3Server

ROOT: Final = Path(__file__).parents[1]
ENVIRONMENT: Final = Environment("databricks")
START_SECONDS: Final = 60.0
CATALOG: Final = "main"
STACK: Final = 256 << 20
"""Bytes of a thread's stack: Sail goes down one level for each of the conditions of a table with many columns."""


class DatabricksServer(LentServer):
    """One process with any number of warehouses."""

    def __init__(self, s3: S3Server | None = None, *, folders: Mapping[str, Path] | None = None) -> None:
        """Describe a server.

        `s3` is where it finds s3://; `folders` maps the beginning of a path, such as "gs://", to the folder that it
        finds there. What is put on volumes is its own.
        """
        self.token = f"dapi{uuid4().hex}"
        self._s3, self._folders = s3, dict(folders or {})
        self._directory: Path | None = None
        self._port = ReservedPort()
        self._process: GuardedProcess | None = None

    @property
    def host(self) -> str:
        """Its name, as its certificate has it."""
        return "localhost"

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._port.number

    @property
    def ca_file(self) -> Path:
        """The authority that signed its certificate."""
        assert self._directory
        return self._directory / "test-ca.pem"

    def start(self) -> None:
        """Make its environment where that is not there yet, start it, and wait until it answers."""
        python = ENVIRONMENT.prepare()
        self._directory = Path(tempfile.mkdtemp(prefix="elt-databricks-"))
        signed = Authority.create(self._directory).issue("server", [self.host, LOOPBACK])
        command: list[str | Path] = [
            python, "-m", "servers.databricks_launch", "--port", str(self.port),
            "--certificate", signed.certificate, "--key", signed.key, "--folder", self._directory / "warehouses",
        ]  # fmt: skip
        folders = {**self._folders, "/Volumes/": self.volumes}
        told = {
            "token": self.token, "folders": {prefix: str(folder) for prefix, folder in folders.items()},
            "s3": _s3_keys(self._s3) if self._s3 else {},
        }  # fmt: skip
        catalog = f'[{{name="{CATALOG}", type="memory", initial_database=["default"], initial_database_comment=""}}]'
        env = {
            "PYTHONPATH": str(ROOT), "ELT_DATABRICKS": json.dumps(told), "NO_PROXY": LOOPBACK,
            "SAIL_CATALOG__LIST": catalog, "SAIL_CATALOG__DEFAULT_CATALOG": CATALOG, "RUST_LOG": "error",
            "RUST_MIN_STACK": str(STACK), "SAIL_RUNTIME__STACK_SIZE": str(STACK),
        }  # fmt: skip
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
        self._port.release()

    def log(self) -> str:
        """Return what the server wrote to its log."""
        return (self._directory / "log").read_text(errors="replace") if self._directory else ""

    # --- use ---

    def create_warehouse(self) -> str:
        """Return the HTTP path of a warehouse with a catalog of its own, and nothing in it."""
        return f"/sql/1.0/warehouses/{uuid4().hex[:16]}"

    @property
    def volumes(self) -> Path:
        """Where the files are that were put on volumes."""
        assert self._directory
        return self._directory / "volumes"

    @property
    def options(self) -> dict[str, Any]:
        """What `databricks.sql.connect` has to be told besides host, path and token."""
        return {
            "_port": self.port, "_tls_trusted_ca_file": str(self.ca_file), "enable_telemetry": False,
            "_retry_delay_min": 0.1, "_retry_delay_max": 5.0, "_retry_stop_after_attempts_count": 3,
            "_retry_stop_after_attempts_duration": 20.0,
        }  # fmt: skip

    @contextmanager
    def connect(self, http_path: str, **options: Any) -> Iterator[Any]:
        """Lend a connection of Databricks's own connector."""
        from databricks import sql

        connection = sql.connect(self.host, http_path, self.token, **self.options, **options)
        try:
            yield connection
        finally:
            connection.close()

    def airflow_connection(self, http_path: str, **extra: object) -> str:
        """Return the value of an AIRFLOW_CONN_* variable as JSON."""
        own = {"http_path": http_path, **self.options}
        return json.dumps({
            "conn_type": "databricks", "host": self.host, "password": self.token, "extra": {**own, **extra},
        })  # fmt: skip

    # --- faults ---

    def inject(self, *faults: Mapping[str, object]) -> None:
        """Let these happen from now on and no others; see `databricks_wire.Fault`. Without any, all is well again."""
        self._ask("POST", "/faults", json.dumps(faults))

    def statements(self) -> list[str]:
        """Return every statement since the start."""
        told: list[str] = json.loads(self._ask("GET", "/statements"))
        return told

    # --- inside ---

    def _ask(self, method: str, path: str, body: str | None = None) -> bytes:
        context = ssl.create_default_context(cafile=str(self.ca_file))
        connection = http.client.HTTPSConnection(self.host, self.port, context=context, timeout=10)
        try:
            connection.request(method, path, body, {"Authorization": f"Bearer {self.token}"})
            answer = connection.getresponse()
            told = answer.read()
        finally:
            connection.close()
        if answer.status != http.client.OK:
            raise RuntimeError(f"{method} {path}: HTTP {answer.status}")
        return told

    def _wait(self, process: GuardedProcess) -> None:
        deadline = time.monotonic() + START_SECONDS
        while process.running and time.monotonic() < deadline:
            try:
                self.statements()
            except OSError:
                time.sleep(0.05)
            else:
                return
        process.stop()
        raise RuntimeError(f"the stand-in for Databricks did not start:\n{self.log()}")


def _s3_keys(s3: S3Server) -> dict[str, str]:
    endpoint = s3.endpoint_url.removeprefix("http://")
    return {"endpoint": endpoint, "access_key": s3.access_key, "secret_key": s3.secret_key}
