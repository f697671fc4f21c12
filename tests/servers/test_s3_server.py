"""The throw-away S3 and the faults of its front, with boto3."""

from __future__ import annotations

import io
import json
import os
import socket
import threading
from typing import TYPE_CHECKING

import pytest
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    EndpointConnectionError,
    HTTPClientError,
    ResponseStreamingError,
)

from servers.s3 import S3Server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_s3 import S3Client

BUCKET = "stage"


@pytest.fixture(scope="module")
def s3_server() -> Iterator[S3Server]:
    """Run an S3 with a bucket."""
    with S3Server() as server:
        server.create_bucket(BUCKET)
        yield server


@pytest.fixture
def client(s3_server: S3Server) -> Iterator[S3Client]:
    """Lend a client, and take all faults away afterwards."""
    yield s3_server.client()
    s3_server.heal()


def code(error: ClientError) -> tuple[int, str]:
    """Return the status and code of an S3 error."""
    return error.response["ResponseMetadata"]["HTTPStatusCode"], error.response["Error"]["Code"]


def exists(client: S3Client, key: str) -> bool:
    """Whether an object exists."""
    return client.list_objects_v2(Bucket=BUCKET, Prefix=key)["KeyCount"] == 1


def test_objects(client: S3Client) -> None:
    client.put_object(Bucket=BUCKET, Key="a/ü +%.txt", Body=b"0123456789")
    assert client.get_object(Bucket=BUCKET, Key="a/ü +%.txt")["Body"].read() == b"0123456789"
    assert client.get_object(Bucket=BUCKET, Key="a/ü +%.txt", Range="bytes=2-4")["Body"].read() == b"234"
    assert client.head_object(Bucket=BUCKET, Key="a/ü +%.txt")["ContentLength"] == 10
    client.delete_object(Bucket=BUCKET, Key="a/ü +%.txt")
    assert not exists(client, "a/")


def test_an_empty_object(client: S3Client) -> None:
    client.put_object(Bucket=BUCKET, Key="empty", Body=b"")
    assert client.get_object(Bucket=BUCKET, Key="empty")["Body"].read() == b""


def test_multipart(client: S3Client) -> None:
    content = os.urandom(12 << 20)
    client.upload_fileobj(
        io.BytesIO(content),
        BUCKET,
        "big",
        Config=TransferConfig(multipart_threshold=5 << 20, multipart_chunksize=5 << 20),
    )
    read = io.BytesIO()
    client.download_fileobj(BUCKET, "big", read)
    assert read.getvalue() == content
    assert client.head_object(Bucket=BUCKET, Key="big")["ETag"].endswith('-3"')


def test_a_missing_key(client: S3Client) -> None:
    with pytest.raises(ClientError) as raised:
        client.get_object(Bucket=BUCKET, Key="missing")
    assert code(raised.value) == (404, "NoSuchKey")


def test_if_none_match_is_honoured(client: S3Client) -> None:
    client.put_object(Bucket=BUCKET, Key="once", Body=b"first", IfNoneMatch="*")
    with pytest.raises(ClientError) as raised:
        client.put_object(Bucket=BUCKET, Key="once", Body=b"second", IfNoneMatch="*")
    assert code(raised.value) == (412, "PreconditionFailed")
    assert client.get_object(Bucket=BUCKET, Key="once")["Body"].read() == b"first"


def test_of_twins_that_put_at_once_one_wins(s3_server: S3Server) -> None:
    client = s3_server.client()
    start = threading.Barrier(8)
    winners: list[int] = []

    def put(number: int) -> None:
        start.wait()
        try:
            client.put_object(Bucket=BUCKET, Key="race", Body=str(number).encode() * 100_000, IfNoneMatch="*")
        except ClientError:
            return
        winners.append(number)

    twins = [threading.Thread(target=put, args=(number,)) for number in range(8)]
    for twin in twins:
        twin.start()
    for twin in twins:
        twin.join()
    assert len(winners) == 1
    assert client.get_object(Bucket=BUCKET, Key="race")["Body"].read() == str(winners[0]).encode() * 100_000


@pytest.mark.parametrize(("status", "name"), [(403, "AccessDenied"), (503, "SlowDown")])
def test_refusals(s3_server: S3Server, client: S3Client, status: int, name: str) -> None:
    fault = s3_server.refuse("PUT", rf"{name}/.*\.parquet$", status=status, code=name, skip=1)
    client.put_object(Bucket=BUCKET, Key=f"{name}/1.parquet", Body=b"x")
    client.put_object(Bucket=BUCKET, Key=f"{name}/1.json", Body=b"x")
    with pytest.raises(ClientError) as raised:
        client.put_object(Bucket=BUCKET, Key=f"{name}/2.parquet", Body=b"x")
    assert code(raised.value) == (status, name)
    assert fault.hits == 1
    assert not exists(client, f"{name}/2.parquet")
    client.put_object(Bucket=BUCKET, Key=f"{name}/2.parquet", Body=b"x")


def test_a_refused_head(s3_server: S3Server, client: S3Client) -> None:
    s3_server.refuse("HEAD", "secret", status=403, code="AccessDenied")
    with pytest.raises(ClientError) as raised:
        client.head_object(Bucket=BUCKET, Key="secret")
    assert code(raised.value)[0] == 403


@pytest.mark.parametrize(("when", "stored"), [("before", False), ("after", True)])
def test_a_lost_put(s3_server: S3Server, client: S3Client, when: str, stored: bool) -> None:
    key = f"lost-{when}"
    s3_server.cut("PUT", key, when="after" if stored else "before")
    with pytest.raises(HTTPClientError):
        client.put_object(Bucket=BUCKET, Key=key, Body=b"x")
    assert exists(client, key) == stored


def test_an_answer_cut_in_the_middle(s3_server: S3Server, client: S3Client) -> None:
    client.put_object(Bucket=BUCKET, Key="half", Body=bytes(1 << 20))
    s3_server.cut("GET", "/half$", when="body")
    with pytest.raises((ResponseStreamingError, ConnectionClosedError)):
        client.get_object(Bucket=BUCKET, Key="half")["Body"].read()
    assert len(client.get_object(Bucket=BUCKET, Key="half")["Body"].read()) == 1 << 20


def test_boto3_retries_what_it_should(s3_server: S3Server) -> None:
    fault = s3_server.refuse("PUT", "patient", status=503, code="SlowDown", times=2)
    patient = Config(retries={"total_max_attempts": 5, "mode": "standard"}, s3={"addressing_style": "path"})
    s3_server.client(config=patient).put_object(Bucket=BUCKET, Key="patient", Body=b"x")
    assert fault.hits == 2


def test_requests_are_noted(s3_server: S3Server, client: S3Client) -> None:
    before = len(s3_server.requests)
    client.put_object(Bucket=BUCKET, Key="noted key", Body=b"x")
    client.get_object(Bucket=BUCKET, Key="noted key")
    assert s3_server.requests[before:] == [("PUT", "/stage/noted key"), ("GET", "/stage/noted key")]


def test_airflow_connection(s3_server: S3Server) -> None:
    described = json.loads(s3_server.airflow_connection(role_arn="arn:aws:iam::123456789012:role/r"))
    assert described["conn_type"] == "aws"
    assert described["extra"]["endpoint_url"] == s3_server.endpoint_url
    assert described["extra"]["role_arn"]


def test_it_is_gone_after_close() -> None:
    with S3Server() as server:
        client = server.client()
        client.list_buckets()
    with pytest.raises((EndpointConnectionError, ConnectionClosedError)):
        client.list_buckets()


def test_half_a_request_stores_nothing(s3_server: S3Server, client: S3Client) -> None:
    port = int(s3_server.endpoint_url.rsplit(":", 1)[1])
    with socket.create_connection(("127.0.0.1", port)) as connection:
        head = f"PUT /{BUCKET}/half-sent HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n"
        connection.sendall(head.encode() + b"ten bytes.")
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(100) == b""
    assert not exists(client, "half-sent")
