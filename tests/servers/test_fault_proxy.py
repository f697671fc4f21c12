"""The fault proxies, between psycopg2 and a real PostgreSQL."""

from __future__ import annotations

import socket
import threading
import time
from typing import TYPE_CHECKING

import psycopg2
import pytest

from servers.fault_proxy import FaultProxy
from servers.postgres_proxy import FrontendMessages, PostgresFaultProxy
from servers.tls import SSL_REQUEST

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psycopg2.extensions import connection as Connection  # noqa: N812

    from servers.fault_proxy import Cut
    from servers.postgres import PostgresServer
    from servers.postgres_proxy import When

TWO_MEGABYTES = "SELECT repeat('x', 1000) FROM generate_series(1, 2000)"


@pytest.fixture
def proxy(postgres_server: PostgresServer) -> Iterator[PostgresFaultProxy]:
    """Stand between the tests and PostgreSQL."""
    with PostgresFaultProxy(postgres_server.port) as proxy:
        yield proxy


def seconds(connection: Connection, query: str = "SELECT 1") -> float:
    """Return how long a query takes."""
    start = time.monotonic()
    with connection.cursor() as cursor:
        cursor.execute(query)
        cursor.fetchall()
    return time.monotonic() - start


def count(server: PostgresServer, dbname: str) -> int:
    """Return how many rows are committed in `t`."""
    session = server.connect(dbname)
    with session.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM t")
        row = cursor.fetchone()
    session.close()
    assert row
    found: int = row[0]
    return found


def test_everything_passes_and_is_counted(postgres_server: PostgresServer, proxy: PostgresFaultProxy) -> None:
    session = postgres_server.connect(port=proxy.port)
    seconds(session, TWO_MEGABYTES)
    session.close()
    assert proxy.counts.connections == 1
    assert proxy.counts.down > 2_000_000
    assert 0 < proxy.counts.up < 1000


def test_latency(postgres_server: PostgresServer, proxy: PostgresFaultProxy) -> None:
    session = postgres_server.connect(port=proxy.port)
    session.autocommit = True
    proxy.up.latency = proxy.down.latency = 0.05
    assert seconds(session) >= 0.1
    proxy.heal()
    assert seconds(session) < 0.1


def test_bandwidth(postgres_server: PostgresServer, proxy: PostgresFaultProxy) -> None:
    session = postgres_server.connect(port=proxy.port)
    proxy.down.bandwidth = 10e6
    assert seconds(session, TWO_MEGABYTES) >= 0.2


@pytest.mark.parametrize("how", ["rst", "fin"])
def test_an_answer_cut_in_the_middle(postgres_server: PostgresServer, proxy: PostgresFaultProxy, how: Cut) -> None:
    session = postgres_server.connect(port=proxy.port)
    proxy.down.cut_after, proxy.down.cut_how = 100_000, how
    with pytest.raises(psycopg2.OperationalError):
        seconds(session, TWO_MEGABYTES)
    assert proxy.counts.cuts == 1
    assert proxy.counts.down == 100_000


def test_rst_and_fin_are_what_they_say(postgres_server: PostgresServer) -> None:
    with FaultProxy(postgres_server.port) as proxy:
        proxy.up.cut_after = 4
        with socket.create_connection(("127.0.0.1", proxy.port)) as client:
            client.sendall(SSL_REQUEST)
            with pytest.raises(ConnectionResetError):
                client.recv(1)
        proxy.up.cut_how = "fin"
        with socket.create_connection(("127.0.0.1", proxy.port)) as client:
            client.sendall(SSL_REQUEST)
            assert client.recv(1) == b""


def test_a_hang_lasts_until_the_connection_is_dropped(postgres_server: PostgresServer) -> None:
    with (
        FaultProxy(postgres_server.port) as proxy,
        socket.create_connection(("127.0.0.1", proxy.port)) as client,
    ):
        proxy.up.cut_after, proxy.up.cut_how = 4, "hang"
        client.sendall(SSL_REQUEST)
        client.settimeout(0.2)
        with pytest.raises(TimeoutError):
            client.recv(1)
        proxy.drop_all()
        with pytest.raises(ConnectionResetError):
            client.recv(1)


def test_what_is_not_postgresql_is_disconnected(proxy: PostgresFaultProxy) -> None:
    with socket.create_connection(("127.0.0.1", proxy.port)) as client:
        client.sendall(bytes(8))
        assert client.recv(1) == b""


def test_black_hole(postgres_server: PostgresServer, proxy: PostgresFaultProxy) -> None:
    session = postgres_server.connect(port=proxy.port)
    proxy.down.black_hole = True
    with pytest.raises(psycopg2.OperationalError, match="timeout"):
        postgres_server.connect(port=proxy.port, connect_timeout=2)
    proxy.down.black_hole = False
    seconds(session)


def test_refuse(postgres_server: PostgresServer, proxy: PostgresFaultProxy) -> None:
    session = postgres_server.connect(port=proxy.port)
    for _ in range(3):
        proxy.refuse()
        with pytest.raises(psycopg2.OperationalError, match="Connection refused"):
            postgres_server.connect(port=proxy.port)
        seconds(session)
        proxy.heal()
        postgres_server.connect(port=proxy.port).close()


def test_drop_all(postgres_server: PostgresServer, proxy: PostgresFaultProxy) -> None:
    session = postgres_server.connect(port=proxy.port)
    proxy.drop_all()
    with pytest.raises(psycopg2.OperationalError):
        seconds(session)
    postgres_server.connect(port=proxy.port).close()


def test_a_server_that_is_away(proxy: PostgresFaultProxy, postgres_server: PostgresServer) -> None:
    proxy.upstream = ("127.0.0.1", 1)
    with pytest.raises(psycopg2.OperationalError):
        postgres_server.connect(port=proxy.port)
    assert proxy.counts.refused == 1


@pytest.mark.parametrize("how", ["rst", "fin"])
@pytest.mark.parametrize(("when", "committed"), [("before", 0), ("after", 1)])
def test_a_lost_commit(
    postgres_server: PostgresServer,
    dbname: str,
    proxy: PostgresFaultProxy,
    when: When,
    committed: int,
    how: Cut,
) -> None:
    session = postgres_server.connect(dbname, port=proxy.port)
    with session, session.cursor() as cursor:
        cursor.execute("CREATE TABLE t (word text)")
    cut = proxy.cut_on_query(b"^COMMIT", when, how=how)
    with session.cursor() as cursor:
        cursor.execute("INSERT INTO t VALUES ('not the COMMIT yet')")
    with pytest.raises(psycopg2.OperationalError):
        session.commit()
    assert cut.done.wait(5)
    assert cut.statement == b"COMMIT"
    assert count(postgres_server, dbname) == committed


def test_an_answer_that_never_comes(postgres_server: PostgresServer, dbname: str, proxy: PostgresFaultProxy) -> None:
    session = postgres_server.connect(dbname, port=proxy.port)
    session.autocommit = True
    cut = proxy.cut_on_query(b"CREATE", "after", how="hang")
    session.close()
    session = psycopg2.connect(postgres_server.dsn(dbname, port=proxy.port), async_=True)
    while session.poll() != psycopg2.extensions.POLL_OK:
        time.sleep(0.01)
    session.cursor().execute("CREATE TABLE t ()")
    assert cut.done.wait(5)
    assert session.poll() == psycopg2.extensions.POLL_READ
    assert count(postgres_server, dbname) == 0


def test_a_cut_happens_once_after_those_it_skips(postgres_server: PostgresServer, proxy: PostgresFaultProxy) -> None:
    cut = proxy.cut_on_query(b"select", "before", skip=2)
    session = postgres_server.connect(port=proxy.port)
    seconds(session)
    seconds(session)
    assert not cut.done.is_set()
    with pytest.raises(psycopg2.OperationalError):
        seconds(session, "SELECT 3")
    assert cut.statement == b"SELECT 3"
    seconds(postgres_server.connect(port=proxy.port))
    assert proxy.statements == [b"BEGIN", b"SELECT 1", b"SELECT 1", b"SELECT 3", b"BEGIN", b"SELECT 1"]


def test_a_large_copy_passes_unharmed(postgres_server: PostgresServer, dbname: str, proxy: PostgresFaultProxy) -> None:
    session = postgres_server.connect(dbname, port=proxy.port)
    with session, session.cursor() as cursor:
        cursor.execute("CREATE TABLE t (id int, word text)")
        cursor.execute("INSERT INTO t SELECT n, md5(n::text) FROM generate_series(1, 100000) n")
    writer = postgres_server.connect(dbname, port=proxy.port)
    read_end, write_end = socket.socketpair()
    with read_end.makefile("rb") as source, write_end.makefile("wb") as target:

        def copy_out() -> None:
            with session.cursor() as cursor:
                cursor.copy_expert("COPY t TO STDOUT", target)
            target.close()
            write_end.close()

        thread = threading.Thread(target=copy_out)
        thread.start()
        with writer, writer.cursor() as cursor:
            cursor.copy_expert("COPY t FROM STDIN", source)
        thread.join()
    read_end.close()
    assert count(postgres_server, dbname) == 200_000


def message(kind: bytes, *fields: bytes) -> bytes:
    """Build a frontend message."""
    body = b"".join(fields)
    return kind + (len(body) + 4).to_bytes(4) + body


@pytest.mark.parametrize("piece", [1, 7, 10_000])
def test_prepared_statements_are_known_when_they_run(piece: int) -> None:
    stream = (
        SSL_REQUEST
        + message(b"", bytes.fromhex("00030000"), b"user\0elt\0\0")
        + message(b"P", b"s1\0", b"INSERT INTO t VALUES ($1)\0", bytes(2))
        + message(b"P", b"\0", b"COMMIT\0", bytes(2))
        + message(b"B", b"\0", b"s1\0", bytes(6))
        + message(b"E", b"\0", bytes(4))
        + message(b"B", b"\0", b"\0", bytes(6))
        + message(b"E", b"\0", bytes(4))
        + message(b"Q", b"SELECT 1\0")
    )
    messages = FrontendMessages()
    seen = [found for start in range(0, len(stream), piece) for found in messages.feed(stream[start : start + piece])]
    assert b"".join(whole for whole, _ in seen) == stream
    assert [statement for _, statement in seen if statement] == [
        b"INSERT INTO t VALUES ($1)",
        b"COMMIT",
        b"SELECT 1",
    ]


def test_an_extended_query_is_cut(postgres_server: PostgresServer, proxy: PostgresFaultProxy) -> None:
    session = postgres_server.connect(port=proxy.port)
    with session.cursor() as cursor:
        cursor.execute("PREPARE one AS SELECT 1")
        proxy.cut_on_query(rb"EXECUTE\s+one", "before")
        with pytest.raises(psycopg2.OperationalError):
            cursor.execute("EXECUTE one")
