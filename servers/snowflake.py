"""A throw-away Snowflake: the emulator fakesnow, in an environment of its own, by http and by https.

>>> with SnowflakeServer(s3=s3) as server:
...     with server.connect(server.create_database()) as connection:
...         connection.cursor().execute("SELECT 1").fetchall()

It speaks Snowflake's SQL and protocol on DuckDB; `snowflake_cursor.py` says what is put right.  What stays
different: names match whatever their case, privileges and logins are not checked, a transaction writes to one database
only, there is no time travel, and VARIANT keeps a JSON text as it is.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from servers.certificates import Authority
from servers.environments import Environment
from servers.processes import LOOPBACK, GuardedProcess, LentServer, ReservedPort

if TYPE_CHECKING:
    from collections.abc import Iterator

    from servers.s3 import S3Server

ROOT: Final = Path(__file__).parents[1]
ENVIRONMENT: Final = Environment("snowflake")
START_SECONDS: Final = 60.0


class SnowflakeServer(LentServer):
    """One fakesnow."""

    def __init__(self, s3: S3Server | None = None) -> None:
        """Describe a server; `s3` is where it finds s3://."""
        self._s3 = s3
        self._directory: Path | None = None
        self._http, self._https = ReservedPort(), ReservedPort()
        self._process: GuardedProcess | None = None

    @property
    def port(self) -> int:
        """Where it answers http."""
        return self._http.number

    @property
    def tls_port(self) -> int:
        """Where it answers https, which is all that Airflow's hook speaks."""
        return self._https.number

    @property
    def ca_bundle(self) -> Path:
        """The authority that signed its certificate; set REQUESTS_CA_BUNDLE to it."""
        assert self._directory
        return self._directory / "test-ca.pem"

    def start(self) -> None:
        """Make its environment where that is not there yet, start it, and wait until it answers."""
        python = ENVIRONMENT.prepare()
        self._directory = Path(tempfile.mkdtemp(prefix="elt-snowflake-"))
        signed = Authority.create(self._directory).issue("server", [LOOPBACK, "localhost"])
        command: list[str | Path] = [
            python, "-m", "servers.snowflake_launch", "--http", str(self.port), "--https", str(self.tls_port),
            "--certificate", signed.certificate, "--key", signed.key,
        ]  # fmt: skip
        if self._s3:
            command += ["--s3", self._s3.endpoint_url, self._s3.access_key, self._s3.secret_key]
        env = {"PYTHONPATH": str(ROOT), "TMPDIR": str(self._directory), "NO_PROXY": LOOPBACK}
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
        for port in (self._http, self._https):
            port.release()

    def log(self) -> str:
        """Return what the server wrote to its log."""
        return (self._directory / "log").read_text(errors="replace") if self._directory else ""

    # --- use ---

    @contextmanager
    def connect(self, database: str | None = None, **options: Any) -> Iterator[Any]:
        """Lend a connection of Snowflake's own driver."""
        import snowflake.connector

        own = {
            "account": "test", "user": "tester", "password": "any", "host": LOOPBACK, "port": self.port,
            "protocol": "http", "network_timeout": 20, "login_timeout": 20,
        }  # fmt: skip
        connection = snowflake.connector.connect(**own, database=database, **options)
        try:
            yield connection
        finally:
            connection.close()

    def create_database(self) -> str:
        """Create an empty database and return its name; it lives as long as the server."""
        name = f"T_{uuid4().hex[:12].upper()}"
        with self.connect() as connection:
            connection.cursor().execute(f"CREATE DATABASE {name}")
        return name

    def airflow_connection(self, database: str, **extra: object) -> str:
        """Return the value of an AIRFLOW_CONN_* variable as JSON; `extra` adds to its own."""
        own = {
            "account": "test", "host": LOOPBACK, "port": self.tls_port, "database": database, "warehouse": "TEST",
            "role": "TEST",
        }  # fmt: skip
        return json.dumps({"conn_type": "snowflake", "login": "tester", "password": "any", "extra": {**own, **extra}})

    # --- inside ---

    def _wait(self, process: GuardedProcess) -> None:
        deadline = time.monotonic() + START_SECONDS
        while process.running and time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(f"http://{LOOPBACK}:{self.port}/", timeout=1):
                    return
            except urllib.error.HTTPError:
                return  # it answers, if only that there is no such page
            except OSError:
                time.sleep(0.05)
        process.stop()
        raise RuntimeError(f"fakesnow did not start:\n{self.log()}")


def prepare() -> Path:
    """Return the Python of the emulator's environment, which is made where it is missing or out of date."""
    return ENVIRONMENT.prepare()


def unavailable() -> str | None:
    """Return why there can be no Snowflake here; None where there can."""
    return ENVIRONMENT.unavailable()
