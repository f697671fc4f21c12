"""A throw-away PostgreSQL server.

>>> with PostgresServer() as server:
...     name = server.create_database()
...     connection = psycopg2.connect(server.dsn(name))

It runs as any user (as root it drops to an unprivileged account), with `wal_level=logical` and a random SCRAM
password, in a temporary directory that goes away with it, also when the process that started it is killed
(see `guardian.py`).  Committed rows survive `kill()` and `restart()`: only the machine's own power cut is not
provided for (`fsync=off`).
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import psycopg2
from psycopg2.extensions import make_dsn, quote_ident

from servers.postgres_binaries import find_binaries, make_directory, readable_binaries
from servers.processes import LOOPBACK, Account, GuardedProcess, LentServer, ReservedPort, run_as

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psycopg2.extensions import connection as Connection  # noqa: N812 - a class in all but its name

SETTINGS: dict[str, str | int] = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    # The directory is thrown away; but synchronous_commit stays on, or a crash would lose committed rows.
    "fsync": "off",
    "full_page_writes": "off",
    "wal_level": "logical",
    "timezone": "UTC",
    "dynamic_shared_memory_type": "mmap",  # containers give /dev/shm 64 MB, too little for parallel queries
    "log_min_messages": "warning",
}
START_SECONDS = 30.0
CRASH_LEFTOVERS = "pre-existing shared memory block"


class PostgresServer(LentServer):
    """One PostgreSQL cluster on a free loopback port."""

    def __init__(
        self,
        settings: dict[str, str | int] | None = None,
        *,
        binaries: Path | None = None,
        user: str = "elt",
        password: str = "",
    ) -> None:
        """Describe a server; `settings` are postgresql.conf's, `binaries` a folder with its programs."""
        self.settings = {**SETTINGS, **(settings or {})}
        self.binaries = binaries
        self.user = user
        self.password = password or secrets.token_hex(12)
        self.directory: Path | None = None
        self._programs: Path | None = None
        self._account: Account | None = None
        self._port: ReservedPort | None = None
        self._process: GuardedProcess | None = None

    @property
    def host(self) -> str:
        """The address it listens on."""
        return LOOPBACK

    @property
    def port(self) -> int:
        """Its port, the same over restarts."""
        if self._port is None:
            raise RuntimeError("the server was never started")
        return self._port.number

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        if self._process is None:
            raise RuntimeError("the server is not running")
        return self._process.pid

    # --- life ---

    def start(self) -> None:
        """Start the server, on first use after creating its cluster, and wait until it takes queries."""
        if self.directory is None:
            self._create_cluster()
        deadline = time.monotonic() + START_SECONDS
        while not self._try_start(deadline):
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop the server as `pg_ctl stop -m immediate` does; `start()` recovers from its log.

        A fast stop would wait for every logical replication client to confirm the last record, and hang when
        that client is the test itself.
        """
        self._end(signal.SIGQUIT)

    def kill(self) -> None:
        """Kill the server and all its sessions with SIGKILL, as a crash of its machine would."""
        sessions = _children(self.pid)
        self._end(signal.SIGKILL)
        for session in sessions:
            with contextlib.suppress(ProcessLookupError):
                os.kill(session, signal.SIGKILL)

    def restart(self) -> None:
        """Stop the server and start it again on the same port; sessions are lost, committed rows are not."""
        self.stop()
        self.start()

    def close(self) -> None:
        """Stop the server and remove its directory."""
        self.stop()
        if self.directory:
            shutil.rmtree(self.directory, ignore_errors=True)
            self.directory = None
        if self._port:
            self._port.release()
            self._port = None

    def log(self) -> str:
        """Return what the server wrote to its log."""
        return (self.directory / "log").read_text(errors="replace") if self.directory else ""

    # --- how to reach it ---

    def dsn(self, dbname: str = "postgres", **options: str | int | Path) -> str:
        """Return libpq's connection string; `options` are libpq's own and win (a proxy's `port=`)."""
        own = {
            "host": self.host,
            "port": self.port,
            "user": self.user,
            "password": self.password,
            "dbname": dbname,
        }
        return make_dsn(**{key: str(value) for key, value in {**own, **options}.items()})

    def connect(self, dbname: str = "postgres", **options: str | int | Path) -> Connection:
        """Open a connection with psycopg2."""
        return psycopg2.connect(self.dsn(dbname, **options))

    def airflow_uri(self, dbname: str = "postgres") -> str:
        """Return the value of an AIRFLOW_CONN_* variable as a URI."""
        login = f"{quote(self.user)}:{quote(self.password)}"
        return f"postgres://{login}@{self.host}:{self.port}/{quote(dbname, safe='')}"

    def airflow_connection(self, dbname: str = "postgres", **extra: object) -> str:
        """Return the value of an AIRFLOW_CONN_* variable as JSON, with `extra` (sslmode, options ...)."""
        own = {
            "host": self.host,
            "port": self.port,
            "login": self.user,
            "password": self.password,
            "schema": dbname,
        }
        return json.dumps({"conn_type": "postgres", **own, "extra": extra})

    # --- databases ---

    def create_database(self, name: str | None = None, *, template: str = "template1") -> str:
        """Create a database as a copy of `template`, to which nobody may be connected; return its name."""
        name = name or f"db_{secrets.token_hex(6)}"
        self._execute("CREATE DATABASE {} TEMPLATE {}", name, template)
        return name

    def drop_database(self, name: str) -> None:
        """Drop a database together with the sessions on it."""
        self._execute("DROP DATABASE {} WITH (FORCE)", name)

    @contextlib.contextmanager
    def database(self, *, template: str = "template1") -> Iterator[str]:
        """Lend a database of one's own: its name, until the end of the block."""
        name = self.create_database(template=template)
        try:
            yield name
        finally:
            self.drop_database(name)

    def _execute(self, statement: str, *names: str) -> None:
        session = self.connect()
        try:
            session.autocommit = True
            with session.cursor() as cursor:
                cursor.execute(statement.format(*(quote_ident(name, cursor) for name in names)))
        finally:
            session.close()

    # --- inside ---

    def _create_cluster(self) -> None:
        self._account = Account.unprivileged()
        self._port = ReservedPort()
        self.directory = make_directory(self._account)
        self._programs = readable_binaries(self.binaries or find_binaries(), self._account, self.directory)
        self._initdb(self._programs, self.directory)

    def _initdb(self, binaries: Path, directory: Path) -> None:
        secret = directory / "password"
        secret.touch(mode=0o600)
        secret.write_text(self.password)
        if self._account:
            self._account.own(secret)
        options: list[str | Path] = [
            "-U",
            self.user,
            "-A",
            "scram-sha-256",
            "--pwfile",
            secret,
            "-E",
            "UTF8",
            "--locale=C",
            "--no-sync",
        ]
        run_as(self._account, [binaries / "initdb", "-D", directory / "data", *options], cwd=directory)
        secret.unlink()

    def _try_start(self, deadline: float) -> bool:
        """Start the server once; False when sessions of a crash are not gone yet: try again."""
        assert self._programs
        assert self.directory
        command: list[str | Path] = [self._programs / "postgres", "-D", self.directory / "data"]
        for name, value in {**self.settings, "port": self.port}.items():
            command += ["-c", f"{name}={value}"]
        logged = len(self.log()) if (self.directory / "log").exists() else 0
        with (self.directory / "log").open("ab") as log:
            self._process = GuardedProcess(
                command, log=log, cwd=self.directory, stop_signal=signal.SIGQUIT, account=self._account
            )
        while self._process.running and time.monotonic() < deadline:
            if self._answers():
                return True
            time.sleep(0.01)
        self.stop()
        said = self.log()[logged:]
        if CRASH_LEFTOVERS in said and time.monotonic() < deadline:
            return False
        raise RuntimeError(f"PostgreSQL did not start:\n{said}")

    def _answers(self) -> bool:
        try:
            self.connect(connect_timeout=5).close()
        except psycopg2.OperationalError:
            return False
        return True

    def _end(self, number: signal.Signals) -> None:
        if self._process:
            self._process.stop(number)
            self._process = None


def _children(pid: int) -> list[int]:
    try:
        listed = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:  # not Linux: sessions notice the loss of the server by themselves, soon
        return []
    return [int(child) for child in listed.split()]
