"""What keeps a worker out (address, TLS, keys) is said in a sentence, with the remedy: S3, PostgreSQL, Hologres."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time

import psycopg2
import pytest

from airflow_elt_provider.connectors.hologres.destination import HologresDestination
from airflow_elt_provider.connectors.hologres.settings import of_connection as hologres_of
from airflow_elt_provider.connectors.postgres.destination import PostgresDestination
from airflow_elt_provider.connectors.postgres.settings import of_connection
from airflow_elt_provider.core.connection import ConnectionParts
from airflow_elt_provider.errors import ConfigurationError, TransientError
from servers.certificates import Authority
from servers.hologres import HologresServer
from servers.tls import TlsFront

NAMED = "User: arn:aws:iam::123456789012:user/elt is not authorized to perform: "
DENIALS = {
    "by a policy of the bucket": (
        403, "AccessDenied", (f'{NAMED}s3:GetObject on resource: "arn:aws:s3:::b/a.csv" with an explicit deny in a '
        "resource-based policy"), "a statement of the resource-based policy denies it", "aws:SourceVpce"),
    "by the policy of an endpoint": (
        403, "AccessDenied", f"{NAMED}s3:GetObject with an explicit deny in a VPC endpoint policy",
        "a statement of the VPC endpoint policy denies it", "aws:SourceIp"),
    "without a word": (403, "AccessDenied", "Access Denied", "allow s3:GetObject on", "aws:SecureTransport"),
    "the key": (
        403, "AccessDenied", (f"{NAMED}kms:Decrypt on resource: arn:aws:kms:us-east-1:123456789012:key/1 because no "
        "resource-based policy allows the kms:Decrypt action"), "allow kms:Decrypt on the key", "the key's own"),
    "the key of another region": (
        403, "AccessDenied", ("The ciphertext refers to a customer master key that does not exist, does not exist in "
        "this region, or you are not allowed to access."), "allow kms:Decrypt on the key", "enabled"),
    "a key that is off": (
        400, "KMS.DisabledException", "arn:aws:kms:us-east-1:123456789012:key/1 is disabled.",
        "allow kms:Decrypt on the key", "enabled"),
    "plain HTTP": (
        400, "InvalidArgument", ("Requests specifying Server Side Encryption with AWS KMS managed keys must be made "
        "over a secure connection."), "endpoint_url that begins with https://", "connection 'aws_default'"),
}  # fmt: skip


@pytest.mark.parametrize("what", DENIALS)
def test_s3_denies(bucket, what):
    status, code, message, *words = DENIALS[what]
    bucket.write("a.csv", "id\n1\n")
    fault = bucket.server.refuse("GET", r"a\.csv$", status=status, code=code)
    fault.message = message
    with pytest.raises(ConfigurationError) as caught:
        bucket.sync(primary_key=["id"])
    assert message in caught.value.message
    assert all(word in caught.value.hint for word in words)


def refused(destination, kind, *words):
    with pytest.raises(kind) as caught:
        destination.checkpoint("s")
    assert all(word in f"{caught.value}" for word in words), str(caught.value)


@pytest.fixture
def place(postgres_server):
    """A database, and a function that opens it by PostgreSQL's or Hologres' destination, over other fields."""
    with postgres_server.database() as name, HologresServer(postgres_server) as hologres:
        own = json.loads(postgres_server.airflow_connection(name))

        def opened(kind, **fields):
            extra = {"sslmode": fields.pop("sslmode")} if "sslmode" in fields else {}
            port = {"host": hologres.host, "port": hologres.port} if kind == "hologres" else {}
            given = {**own, **port, **fields, "conn_type": kind, "extra": {**(own.get("extra") or {}), **extra}}
            parts = ConnectionParts.parse("warehouse", json.dumps(given))
            if kind == "hologres":
                return HologresDestination(hologres_of(parts))
            return PostgresDestination(of_connection(parts))

        yield name, opened


@contextlib.contextmanager
def rule(server, name, text):
    """Put a line for one database before the others of pg_hba.conf."""
    file = server.directory / "data" / "pg_hba.conf"
    before = file.read_text()
    file.write_text(f"{text.format(name)}\n{before}")
    try:
        _reloaded(server, name, lets_in=False)
        yield
    finally:
        file.write_text(before)
        _reloaded(server, name, lets_in=True)


def _reloaded(server, name, *, lets_in):
    os.kill(server.pid, signal.SIGHUP)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            server.connect(name).close()
            found = True
        except psycopg2.OperationalError:
            found = False
        if found is lets_in:
            return
        time.sleep(0.02)
    raise AssertionError("pg_hba.conf was not read again")


RULES = [
    ("host {} all all reject", "pg_hba.conf rejects connection for host", "sslmode=require"),
    ("hostssl {0} all all scram-sha-256\nhost {0} all all reject", "pg_hba.conf", "sslmode=require"),
]


@pytest.mark.parametrize(("text", "said", "remedy"), RULES)
def test_an_address_that_the_server_does_not_let_in(postgres_server, place, text, said, remedy):
    name, opened = place
    with rule(postgres_server, name, text):
        refused(opened("postgres"), ConfigurationError, said, "this worker's address", remedy, "allowed in its pg_hba")
        refused(opened("hologres"), ConfigurationError, "Hologres", "IP whitelist", "VPC endpoint")
    opened("postgres").checkpoint("s")


def test_tls_where_there_is_none(place):
    _, opened = place
    refused(opened("postgres", sslmode="require"), ConfigurationError, "does not support SSL", "speaks no TLS at this")
    refused(opened("hologres", sslmode="require"), ConfigurationError, "does not support SSL", "switch TLS on")


def test_no_tls_where_there_must_be(postgres_server, place, tmp_path):
    _, opened = place
    authority = Authority.create(tmp_path)
    with TlsFront(postgres_server.port, authority.issue("server", ["localhost"])) as front:
        at = {"host": "localhost", "port": front.port}
        refused(
            opened("postgres", **at, sslmode="disable"), TransientError, "allow-list of addresses", "sslmode=require"
        )
        refused(opened("postgres", **at, sslmode="verify-full"), ConfigurationError, "root", "sslrootcert")
        opened("postgres", **at, sslmode="require").checkpoint("s")
