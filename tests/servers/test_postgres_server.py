"""The throw-away PostgreSQL: what it is, what survives its crash, and that nothing survives its starter."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import psycopg2
import psycopg2.extras
import pytest

from servers.postgres import PostgresServer
from servers.postgres_binaries import ENVIRONMENT_VARIABLE, find_binaries, readable_binaries
from servers.processes import Account, run_as

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psycopg2.extensions import connection as Connection  # noqa: N812

STARTER = """
import sys, time
from servers.postgres import PostgresServer
server = PostgresServer()
server.start()
print(server.pid, server.directory, flush=True)
time.sleep(60)
"""


def value(connection: Connection, query: str) -> object:
    """Return the one value of a query."""
    with connection.cursor() as cursor:
        cursor.execute(query)
        row = cursor.fetchone()
    assert row
    found: object = row[0]
    return found


def gone(pid: int, path: Path, seconds: float = 10.0) -> bool:
    """Whether the process and the path disappear in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not path.exists() and not Path(f"/proc/{pid}").exists():
            return True
        time.sleep(0.02)
    return False


@pytest.fixture
def own_server() -> Iterator[PostgresServer]:
    """Run a PostgreSQL that the test may break."""
    with PostgresServer({"work_mem": "5MB"}) as server:
        yield server


def test_settings(postgres_server: PostgresServer) -> None:
    session = postgres_server.connect()
    assert value(session, "SHOW wal_level") == "logical"
    assert value(session, "SHOW password_encryption") == "scram-sha-256"
    assert value(session, "SELECT current_user") == postgres_server.user
    session.close()


def test_wrong_password_is_refused(postgres_server: PostgresServer) -> None:
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        postgres_server.connect(password="wrong")


def test_logical_replication(postgres_server: PostgresServer, dbname: str) -> None:
    session = postgres_server.connect(dbname)
    session.autocommit = True
    with session.cursor() as cursor:
        cursor.execute("CREATE TABLE t (id int PRIMARY KEY); CREATE PUBLICATION p FOR TABLE t")
        cursor.execute("SELECT pg_create_logical_replication_slot('slot_of_servers_test', 'pgoutput', true)")
        cursor.execute("INSERT INTO t VALUES (1)")
        cursor.execute(
            "SELECT string_agg(chr(get_byte(data, 0)), '' ORDER BY lsn) "
            "FROM pg_logical_slot_get_binary_changes("
            "'slot_of_servers_test', NULL, NULL, 'proto_version', '1', 'publication_names', 'p')"
        )
        assert cursor.fetchone() == ("BRIC",)
    session.close()


def test_databases_are_copies_of_their_template(postgres_server: PostgresServer, dbname: str) -> None:
    session = postgres_server.connect(dbname)
    with session, session.cursor() as cursor:
        cursor.execute("CREATE TABLE t AS SELECT 42 AS answer")
    session.close()
    with postgres_server.database(template=dbname) as name:
        copy = postgres_server.connect(name)
        assert value(copy, "SELECT answer FROM t") == 42
        # still connected: the end of the block drops it all the same
    with pytest.raises(psycopg2.OperationalError, match="does not exist"):
        postgres_server.connect(name)


def test_database_names_are_quoted(postgres_server: PostgresServer) -> None:
    name = postgres_server.create_database('Odd "name" 表')
    session = postgres_server.connect(name)
    assert value(session, "SELECT current_database()") == name
    session.close()
    postgres_server.drop_database(name)


def test_airflow_connections(postgres_server: PostgresServer) -> None:
    described = json.loads(postgres_server.airflow_connection("postgres", sslmode="prefer"))
    assert described["conn_type"] == "postgres"
    assert described["extra"] == {"sslmode": "prefer"}
    uri = urlsplit(postgres_server.airflow_uri("postgres"))
    psycopg2.connect(
        host=uri.hostname,
        port=uri.port,
        user=uri.username,
        password=described["password"],
        dbname=described["schema"],
    ).close()


@pytest.mark.parametrize("crash", ["kill", "restart"])
def test_committed_rows_survive_a_crash_and_open_ones_do_not(own_server: PostgresServer, crash: str) -> None:
    before = own_server.connect()
    with before, before.cursor() as cursor:
        cursor.execute("CREATE TABLE t AS SELECT generate_series(1, 1000) AS id")
    with before.cursor() as cursor:
        cursor.execute("INSERT INTO t VALUES (0)")
    port = own_server.port
    if crash == "kill":
        own_server.kill()
        with pytest.raises(psycopg2.OperationalError, match="refused"):
            own_server.connect()
        own_server.start()
    else:
        own_server.restart()
    with pytest.raises(psycopg2.OperationalError):
        value(before, "SELECT 1")
    after = own_server.connect()
    assert own_server.port == port
    assert value(after, "SELECT count(*) FROM t") == 1000
    assert value(after, "SHOW work_mem") == "5MB"
    after.close()


def test_kill_ends_a_session_that_is_busy(own_server: PostgresServer) -> None:
    busy = psycopg2.connect(own_server.dsn(), async_=True)
    psycopg2.extras.wait_select(busy)
    busy.cursor().execute("SELECT count(*) FROM generate_series(1, 10000000000)")
    worker = busy.info.backend_pid
    own_server.kill()
    assert gone(worker, Path("/nowhere"))
    own_server.start()


def test_nothing_is_left_after_close() -> None:
    server = PostgresServer()
    with server:
        pid, directory = server.pid, server.directory
        assert directory
    assert gone(pid, directory)
    with server:
        server.connect().close()


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_nothing_is_left_when_the_starter_is_killed(how: signal.Signals) -> None:
    root = Path(__file__).parents[2]
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTER], stdout=subprocess.PIPE, text=True, cwd=root, start_new_session=True
    )
    assert starter.stdout
    pid, directory = starter.stdout.readline().split()
    os.killpg(starter.pid, how)  # the whole group, as a terminal or a CI runner does
    starter.wait()
    starter.stdout.close()
    assert gone(int(pid), Path(directory))


def test_a_wrong_setting_is_reported_with_the_servers_words() -> None:
    server = PostgresServer({"no_such_setting": 1})
    with pytest.raises(RuntimeError, match="no_such_setting"), server:
        pass
    assert server.directory is None


def test_the_environment_names_the_binaries(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, str(find_binaries()))
    assert find_binaries() == Path(os.environ[ENVIRONMENT_VARIABLE])
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, str(tmp_path))
    with pytest.raises(RuntimeError, match=ENVIRONMENT_VARIABLE):
        find_binaries()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the server under another account")
def test_unreadable_binaries_are_copied(tmp_path: Path) -> None:
    account = Account.unprivileged()
    assert account
    hidden = tmp_path / "hidden" / "site-packages"
    package = find_binaries().parents[1]
    hidden.mkdir(parents=True)
    (tmp_path / "hidden").chmod(0o700)
    (hidden / package.name).symlink_to(package)  # reached through a folder that only root may enter
    (hidden / f"{package.name}.libs").symlink_to(package.with_name(f"{package.name}.libs"))
    with PostgresServer() as reachable:
        assert reachable.directory
        binaries = hidden / package.name / "pginstall" / "bin"
        copy = readable_binaries(binaries, account, reachable.directory)
        assert copy.is_relative_to(reachable.directory)
        assert "PostgreSQL" in run_as(account, [copy / "psql", "--version"], cwd=reachable.directory)
    with PostgresServer(binaries=binaries) as server:
        server.connect().close()
