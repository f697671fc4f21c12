"""A throw-away MariaDB server.

>>> with MariaDbServer() as server:
...     name = server.create_database()
...     connection = server.connect(name)

It runs as any user (as root it drops to an unprivileged account), from Debian's package `mariadb-server-core`:
installed, or unpacked below `.cache/mariadb` (see `scripts/test-heavy`), without any system service.  Its directory
goes away with it, also when the process that started it is killed (see `guardian.py`).  Committed rows survive
`restart()`.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import tempfile
import time
from pathlib import Path
from signal import SIGKILL
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from servers.certificates import Authority
from servers.processes import LOOPBACK, Account, GuardedProcess, LentServer, ReservedPort, run_as

if TYPE_CHECKING:
    from collections.abc import Iterator

ENVIRONMENT_VARIABLE = "ELT_MARIADB"
UNPACKED = Path(__file__).parents[1] / ".cache" / "mariadb"
SETTINGS: dict[str, str | int] = {
    "bind-address": LOOPBACK,
    "innodb-flush-log-at-trx-commit": 0,  # the directory is thrown away
    "innodb-buffer-pool-size": "32M",
    "character-set-server": "utf8mb4",
    "skip-name-resolve": 1,
    "max-connections": 50,
    "server-id": 1,
}
START_SECONDS = 60.0
HOW_TO_GET_IT = "apt-get install mariadb-server-core mariadb-client-core, or run scripts/test-heavy"


def find_root() -> Path | None:
    """Return the folder below which `usr/sbin/mariadbd` lies: ELT_MARIADB, the machine's own, or the unpacked one."""
    chosen = os.environ.get(ENVIRONMENT_VARIABLE)
    places = [Path(chosen)] if chosen else [Path("/"), UNPACKED]
    return next((place for place in places if (place / "usr/sbin/mariadbd").exists()), None)


class MariaDbServer(LentServer):
    """One MariaDB on a free loopback port, with TLS unless told otherwise."""

    def __init__(
        self, settings: dict[str, str | int] | None = None, *, root: Path | None = None, tls: bool = True
    ) -> None:
        """Describe a server; `settings` are my.cnf's, `root` a folder with its programs."""
        self.tls = tls
        self.settings = {**SETTINGS, **(settings or {})}
        self.user = "elt"
        self.password = secrets.token_hex(12)
        self._root = root
        self._directory: Path | None = None
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
    def authority(self) -> Path:
        """The certificate that clients trust; the server's own is for 127.0.0.1 and localhost."""
        return self._place() / "tls" / "test-ca.pem"

    # --- life ---

    def start(self) -> None:
        """Start the server, on first use after creating its data, and wait until it takes queries."""
        if self._directory is None:
            self._create()
        directory = self._place()
        command: list[str | Path] = [self._program("usr/sbin/mariadbd"), "--no-defaults", *self._everywhere()]
        command += [f"--port={self.port}", f"--socket={directory}/socket", f"--pid-file={directory}/pid"]
        command += [f"--init-file={directory}/init.sql", *self._tls()]
        command += [f"--{name}={value}" for name, value in self.settings.items()]
        with (directory / "log").open("ab") as log:
            env = {"LD_LIBRARY_PATH": self._libraries()} if self._libraries() else {}
            self._process = GuardedProcess(command, log=log, cwd=directory, account=self._account, env=env)
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if not self._process.running or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"MariaDB did not start:\n{self.log()[-2000:]}")
            time.sleep(0.02)

    def stop(self) -> None:
        """Stop the server as its service would."""
        if self._process:
            self._process.stop()
            self._process = None

    def kill(self) -> None:
        """Kill the server with SIGKILL, as a crash of its machine would."""
        if self._process:
            self._process.stop(SIGKILL)
            self._process = None

    def restart(self) -> None:
        """Stop the server and start it again on the same port; sessions are lost, committed rows are not."""
        self.stop()
        self.start()

    def close(self) -> None:
        """Stop the server and remove its directory."""
        self.stop()
        if self._directory:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None
        if self._port:
            self._port.release()
            self._port = None

    def log(self) -> str:
        """Return what the server wrote to its log."""
        return (self._directory / "log").read_text(errors="replace") if self._directory else ""

    # --- how to reach it ---

    def parts(self, database: str = "") -> dict[str, Any]:
        """Return the fields of an Airflow connection."""
        own = {"host": self.host, "port": self.port, "login": self.user, "password": self.password}
        return {**own, "schema": database}

    def connect(self, database: str | None = None, **options: Any) -> Any:
        """Open a connection with PyMySQL, autocommit on; `options` are PyMySQL's own and win."""
        import pymysql

        own = {"host": self.host, "port": self.port, "user": self.user, "password": self.password}
        return pymysql.connect(**{**own, "database": database, "autocommit": True, "charset": "utf8mb4", **options})

    def airflow_uri(self, database: str) -> str:
        """Return the value of an AIRFLOW_CONN_* variable as a URI."""
        return f"mysql://{quote(self.user)}:{quote(self.password)}@{self.host}:{self.port}/{quote(database, safe='')}"

    def airflow_connection(self, database: str, **extra: object) -> str:
        """Return the value of an AIRFLOW_CONN_* variable as JSON, with `extra` (ssl, read_timeout ...)."""
        return json.dumps({"conn_type": "mysql", **self.parts(database), "extra": extra})

    # --- databases ---

    def create_database(self, name: str | None = None) -> str:
        """Create a database and return its name."""
        name = name or f"db_{secrets.token_hex(6)}"
        self.execute(f"CREATE DATABASE `{name}`")
        return name

    @contextlib.contextmanager
    def database(self) -> Iterator[str]:
        """Lend a database of one's own: its name, until the end of the block."""
        name = self.create_database()
        try:
            yield name
        finally:
            self.execute(f"DROP DATABASE `{name}`")

    def execute(self, *statements: str) -> None:
        """Run statements as the server's administrator."""
        with contextlib.closing(self.connect()) as session, session.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    # --- inside ---

    def _place(self) -> Path:
        if self._directory is None:
            raise RuntimeError("the server was never started")
        return self._directory

    def _create(self) -> None:
        root = self._root or find_root()
        if root is None:
            raise RuntimeError(f"no MariaDB found: {HOW_TO_GET_IT}")
        self._root = root
        self._account = Account.unprivileged()
        self._port = ReservedPort()
        self._directory = Path(tempfile.mkdtemp(prefix="elt-mariadb-", dir=_open_place()))
        folders = [self._directory, self._directory / "tls"]
        folders[1].mkdir()
        certificate = Authority.create(folders[1]).issue("server", ["127.0.0.1", "localhost"])
        self._write("init.sql", self._init_sql())
        for path in [*folders, *folders[1].iterdir(), certificate.key, self._directory / "init.sql"]:
            if self._account:
                self._account.own(path)
        run_as(self._account, self._install(root), cwd=self._directory)

    def _install(self, root: Path) -> list[str | Path]:
        options = ["--no-defaults", f"--basedir={root / 'usr'}", f"--datadir={self._place()}/data"]
        options += ["--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve"]
        return ["env", f"LD_LIBRARY_PATH={self._libraries()}", self._program("usr/bin/mariadb-install-db"), *options]

    def _init_sql(self) -> str:
        user = f"'{self.user}'@'%'"
        return (
            f"CREATE USER IF NOT EXISTS {user} IDENTIFIED BY '{self.password}';\n"
            f"GRANT ALL PRIVILEGES ON *.* TO {user} WITH GRANT OPTION;\n"
        )

    def _write(self, name: str, text: str) -> None:
        path = self._place() / name
        path.touch(mode=0o600)
        path.write_text(text)

    def _program(self, path: str) -> Path:
        assert self._root
        return self._root / path

    def _libraries(self) -> str:
        """Where an unpacked server finds the libraries that came with it; "" for one that is installed."""
        assert self._root
        unpacked = self._root != Path("/")
        return ":".join(map(str, self._root.glob("usr/lib/*-linux-gnu"))) if unpacked else ""

    def _everywhere(self) -> list[str]:
        """Where the server finds its own files, below whichever root."""
        assert self._root
        share = self._root / "usr/share/mysql"
        own = [f"--basedir={self._root / 'usr'}", f"--datadir={self._place()}/data"]
        return [*own, f"--lc-messages-dir={share}", f"--character-sets-dir={share / 'charsets'}"]

    def _tls(self) -> list[str]:
        if not self.tls:
            return ["--skip-ssl"]
        tls = self._place() / "tls"
        files = {"ssl-ca": "test-ca.pem", "ssl-cert": "test-ca-server.pem", "ssl-key": "test-ca-server.key"}
        return [f"--{option}={tls / name}" for option, name in files.items()]

    def _answers(self) -> bool:
        import pymysql

        try:
            self.connect(connect_timeout=5).close()
        except pymysql.MySQLError:
            return False
        return True


def _open_place() -> str:
    """Return a temporary folder that an unprivileged account reaches."""
    place = Path(tempfile.gettempdir())
    reachable = all(folder.stat().st_mode & 0o001 for folder in (place, *place.resolve().parents))
    return str(place) if reachable or os.geteuid() != 0 else "/var/tmp"
