"""The throw-away Cloud Storage and what its front adds, with Google's client and with plain HTTP."""

from __future__ import annotations

import io
import json
import os
import threading
from typing import TYPE_CHECKING

import pytest
import requests
from google.api_core.exceptions import Forbidden, NotFound, PreconditionFailed

from servers.gcs import GcsServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.cloud.storage import Bucket

CHUNK = 1 << 18


@pytest.fixture(scope="module")
def gcs() -> Iterator[GcsServer]:
    with GcsServer() as server:
        server.create_bucket("stage")
        yield server


@pytest.fixture
def bucket(gcs: GcsServer) -> Iterator[Bucket]:
    yield gcs.client().bucket("stage")
    gcs.heal()


def begin(gcs: GcsServer, name: str, **query: str) -> str:
    """Begin an upload in chunks and return where they go."""
    answer = requests.post(
        f"{gcs.url}/upload/storage/v1/b/stage/o",
        params={"uploadType": "resumable", **query},
        json={"name": name},
        timeout=10,
    )
    answer.raise_for_status()
    return answer.headers["Location"]


def chunk(where: str, data: bytes, span: str) -> requests.Response:
    headers = {"Content-Range": f"bytes {span}"}
    return requests.put(where, data=data, headers=headers, timeout=10, allow_redirects=False)


def test_objects_are_files(gcs: GcsServer, bucket: Bucket) -> None:
    for data in (b"", b"0123456789", b"\r\n--\r\n", os.urandom(100_000)):
        bucket.blob("a/ü +%20.txt").upload_from_string(data)
        assert bucket.blob("a/ü +%20.txt").download_as_bytes() == data
        assert (gcs.folder / "stage" / "a" / "ü +%20.txt").read_bytes() == data


def test_a_second_creation_is_refused(bucket: Bucket) -> None:
    bucket.blob("once").upload_from_string(b"1", if_generation_match=0)
    for data in (b"2", os.urandom(9 << 20)):
        with pytest.raises(PreconditionFailed, match="conditionNotMet"):
            bucket.blob("once", chunk_size=CHUNK).upload_from_file(
                io.BytesIO(data), size=len(data), if_generation_match=0
            )
    assert bucket.blob("once").download_as_bytes() == b"1"


def test_other_generations_are_compared_too(bucket: Bucket) -> None:
    blob = bucket.blob("generations")
    blob.upload_from_string(b"1", if_generation_match=0)
    first = blob.generation
    blob.upload_from_string(b"2", if_generation_match=first)
    with pytest.raises(PreconditionFailed):
        blob.upload_from_string(b"3", if_generation_match=first)
    with pytest.raises(PreconditionFailed):
        bucket.blob("generations").delete(if_generation_match=first)
    assert bucket.blob("generations").download_as_bytes() == b"2"


def test_of_writers_at_once_one_wins(gcs: GcsServer) -> None:
    barrier, won = threading.Barrier(8), []

    def write(number: int) -> None:
        blob = gcs.client().bucket("stage").blob("race")
        barrier.wait()
        try:
            blob.upload_from_string(bytes([number]) * 100_000, if_generation_match=0)
        except PreconditionFailed:
            return
        won.append(number)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert gcs.client().bucket("stage").blob("race").download_as_bytes() == bytes(won) * 100_000


def test_an_upload_in_chunks_meets_its_condition_at_its_end(gcs: GcsServer, bucket: Bucket) -> None:
    where = begin(gcs, "late", ifGenerationMatch="0")
    assert chunk(where, bytes(CHUNK), f"0-{CHUNK - 1}/{CHUNK + 1}").status_code == 308
    bucket.blob("late").upload_from_string(b"in between")
    refused = chunk(where, b"x", f"{CHUNK}-{CHUNK}/{CHUNK + 1}")
    assert refused.status_code == 412
    assert refused.json()["error"]["errors"][0]["reason"] == "conditionNotMet"
    assert bucket.blob("late").download_as_bytes() == b"in between"


def test_a_chunk_may_come_again(gcs: GcsServer, bucket: Bucket) -> None:
    data = os.urandom(2 * CHUNK + 5)
    where, total = begin(gcs, "again"), len(data)
    assert "Range" not in chunk(where, b"", f"*/{total}").headers
    for _ in range(2):
        answer = chunk(where, data[:CHUNK], f"0-{CHUNK - 1}/{total}")
        assert (answer.status_code, answer.headers["Range"]) == (308, f"bytes=0-{CHUNK - 1}")
    overlapping = chunk(where, data[: 2 * CHUNK], f"0-{2 * CHUNK - 1}/{total}")
    assert overlapping.headers["Range"] == f"bytes=0-{2 * CHUNK - 1}"
    assert chunk(where, b"x", f"{2 * CHUNK + 1}-{2 * CHUNK + 1}/{total}").status_code == 400, "a gap"
    ends = [chunk(where, data[2 * CHUNK :], f"{2 * CHUNK}-{total - 1}/{total}") for _ in range(2)]
    assert [end.status_code for end in ends] == [200, 200]
    assert chunk(where, b"", f"*/{total}").json() == ends[0].json(), "a finished upload tells its end again"
    assert bucket.blob("again").download_as_bytes() == data


def test_an_upload_that_nobody_began(gcs: GcsServer) -> None:
    assert chunk(f"{gcs.url}/upload/storage/v1/b/stage/o?upload_id=x", b"", "*/1").status_code == 404


def test_an_empty_upload_in_chunks(gcs: GcsServer, bucket: Bucket) -> None:
    assert chunk(begin(gcs, "empty"), b"", "*/0").status_code == 200
    assert bucket.blob("empty").download_as_bytes() == b""


def test_what_is_missing_is_told_apart(gcs: GcsServer, bucket: Bucket) -> None:
    with pytest.raises(NotFound, match="No such object: stage/nothing"):
        bucket.blob("nothing").reload()
    for call in (lambda nobody: nobody.blob("x").reload(), lambda nobody: list(nobody.list_blobs())):
        with pytest.raises(NotFound, match="The specified bucket does not exist"):
            call(gcs.client().bucket("nobody"))
    client = gcs.client()
    with pytest.raises(NotFound, match="The specified bucket does not exist"), client.batch():
        client.bucket("nobody").blob('with "quotes"').delete()
    with pytest.raises(NotFound, match="No such object: stage/nothing"), client.batch():
        client.bucket("stage").blob("nothing").delete()


def test_faults(gcs: GcsServer, bucket: Bucket) -> None:
    fault = gcs.refuse("insert", "/stage/faulty$", status=403, code="forbidden", message="Not you", skip=1)
    bucket.blob("faultless").upload_from_string(b"x", retry=None)
    bucket.blob("faulty").upload_from_string(b"x", retry=None)
    with pytest.raises(Forbidden, match="Not you"):
        bucket.blob("faulty").upload_from_string(b"x", retry=None)
    gcs.cut("insert", "cut-", when="before")
    gcs.cut("insert", "cut-", when="after")
    for _ in range(2):
        with pytest.raises(requests.ConnectionError):
            bucket.blob("cut-off").upload_from_string(b"x", retry=None)
    assert bucket.blob("cut-off").exists(), "the second one arrived"
    assert fault.hits == 1


def test_what_was_asked_is_told(gcs: GcsServer, bucket: Bucket) -> None:
    begin_with = len(gcs.asked)
    blob = bucket.blob("told", kms_key_name="projects/p/locations/l/keyRings/r/cryptoKeys/k")
    blob.upload_from_string(b"x", if_generation_match=0)
    blob.download_as_bytes()
    bucket.blob("told").reload()
    list(bucket.list_blobs(prefix="to"))
    blob.delete()
    asked = [each for each in gcs.asked[begin_with:] if each.operation != "bucket"]  # the client's own curiosity
    assert [each.operation for each in asked] == ["insert", "download", "get", "list", "delete"]
    assert asked[0].place == "/stage/told"
    assert asked[0].query["kmsKeyName"].endswith("cryptoKeys/k")
    assert json.loads(gcs.airflow_connection())["conn_type"] == "google_cloud_platform"


def test_it_is_gone_after_close() -> None:
    with GcsServer() as server:
        url, folder = server.url, server.folder
        server.create_bucket("x")
    assert not folder.exists()
    with pytest.raises(requests.ConnectionError):
        requests.get(url, timeout=5)
