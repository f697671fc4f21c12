"""TLS in front of PostgreSQL, judged by libpq."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg2
import pytest

from servers.certificates import Authority
from servers.tls import TlsFront

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from servers.postgres import PostgresServer

    Options = dict[str, str | int | Path]

DATABASE = "postgres"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Make a certificate authority."""
    return Authority.create(tmp_path)


@pytest.fixture
def front(postgres_server: PostgresServer, authority: Authority) -> Iterator[TlsFront]:
    """Stand before PostgreSQL with a certificate for localhost."""
    with TlsFront(postgres_server.port, authority.issue("server", ["localhost", "127.0.0.1"])) as front:
        yield front


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_verify_full(postgres_server: PostgresServer, front: TlsFront, authority: Authority, host: str) -> None:
    session = postgres_server.connect(
        host=host, port=front.port, sslmode="verify-full", sslrootcert=authority.certificate
    )
    assert session.info.ssl_in_use
    with session.cursor() as cursor:
        cursor.execute("SELECT repeat('x', 1000) FROM generate_series(1, 5000)")
        assert len(cursor.fetchall()) == 5000
    session.close()


def test_wrong_authority(postgres_server: PostgresServer, front: TlsFront, tmp_path: Path) -> None:
    other = Authority.create(tmp_path, "Other CA")
    with pytest.raises(psycopg2.OperationalError, match="certificate verify failed"):
        postgres_server.connect(host="localhost", port=front.port, sslmode="verify-full", sslrootcert=other.certificate)


def test_wrong_host(postgres_server: PostgresServer, front: TlsFront, authority: Authority) -> None:
    wrong: Options = {
        "host": "db.example.com",
        "hostaddr": "127.0.0.1",
        "port": front.port,
        "sslrootcert": authority.certificate,
    }
    with pytest.raises(psycopg2.OperationalError, match="does not match host name"):
        postgres_server.connect(DATABASE, sslmode="verify-full", **wrong)
    postgres_server.connect(DATABASE, sslmode="verify-ca", **wrong).close()


def test_plain_connections_are_refused(postgres_server: PostgresServer, front: TlsFront) -> None:
    with pytest.raises(psycopg2.OperationalError):
        postgres_server.connect(host="localhost", port=front.port, sslmode="disable")


def test_client_certificates(postgres_server: PostgresServer, authority: Authority) -> None:
    server, client = authority.issue("server", ["localhost"]), authority.issue("elt")
    with TlsFront(postgres_server.port, server, clients=authority) as front:
        where: Options = {
            "host": "localhost",
            "port": front.port,
            "sslmode": "verify-full",
            "sslrootcert": authority.certificate,
        }
        postgres_server.connect(DATABASE, **where, sslcert=client.certificate, sslkey=client.key).close()
        with pytest.raises(psycopg2.OperationalError):
            postgres_server.connect(DATABASE, **where)


def test_the_wheel_has_no_tls_of_its_own(postgres_server: PostgresServer) -> None:
    with pytest.raises(psycopg2.OperationalError, match="does not support SSL"):
        postgres_server.connect(sslmode="require")
