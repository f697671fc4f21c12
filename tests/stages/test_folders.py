"""Folders of small files: on a disk, in S3, in Cloud Storage."""

from __future__ import annotations

import json
import os
import threading
from typing import TYPE_CHECKING, Any

import pytest

from airflow_elt_provider.cli import systems
from airflow_elt_provider.errors import ConfigurationError, TransientError
from airflow_elt_provider.stages import folder_gcs, folder_local, folder_rules, folder_s3
from airflow_elt_provider.stages.folder_gcs import GcsFolder
from airflow_elt_provider.stages.folder_local import LocalFolder
from airflow_elt_provider.stages.folder_s3 import S3Folder
from airflow_elt_provider.stages.gcs_settings import GcsStageSettings
from airflow_elt_provider.stages.s3_settings import S3StageSettings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

KEY = "arn:aws:kms:us-east-1:123456789012:key/elt"
HASTY = GcsStageSettings(patience=0)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


class World:
    """Makes folders beside each other in one place."""

    def __init__(self, make: Callable[[str], Any]) -> None:
        self.at = make


@pytest.fixture(params=["local", "s3", "gcs"])
def world(request: pytest.FixtureRequest) -> World:
    if request.param == "local":
        tmp_path = request.getfixturevalue("tmp_path")
        return World(lambda path: LocalFolder(tmp_path / path))
    if request.param == "s3":
        server, bucket = request.getfixturevalue("s3_server"), request.getfixturevalue("bucket")
        return World(lambda path: S3Folder(server.client, bucket, path))
    server, bucket = request.getfixturevalue("gcs_server"), request.getfixturevalue("gcs_bucket")
    return World(lambda path: GcsFolder(server.client, bucket, path, HASTY))


def test_files_are_written_replaced_read_and_removed(world):
    folder = world.at("a/b")
    assert folder.read() == {}
    assert folder.read_one("x.yaml") is None
    folder.write("x.yaml", b"1")
    folder.write("w s/sources/猫 #1%.yaml", "a: ü".encode())
    folder.write("x.yaml", b"22")
    folder.write("empty", b"")
    assert list(folder.read().items()) == [
        ("empty", b""), ("w s/sources/猫 #1%.yaml", "a: ü".encode()), ("x.yaml", b"22"),
    ]  # fmt: skip
    assert folder.read_one("x.yaml") == b"22"
    for _ in range(2):  # one that is gone is as good
        folder.remove("w s/sources/猫 #1%.yaml")
    assert list(folder.read()) == ["empty", "x.yaml"]


def test_a_folder_ends_at_its_name(world):
    world.at("a/bc").write("other.yaml", b"1")
    world.at("a").write("b.yaml", b"1")
    folder = world.at("a/b")
    folder.write("mine.yaml", b"1")
    assert list(folder.read()) == ["mine.yaml"]
    assert list(world.at("a").read()) == ["b.yaml", "b/mine.yaml", "bc/other.yaml"]


def test_hidden_files_are_left_out(world):
    folder = world.at("a")
    for path in (".git/config", "sub/.env", "sub/.d/x", "sub/y"):
        folder.write(path, b"1")
    assert list(folder.read()) == ["sub/y"]


@pytest.mark.parametrize("path", ["../x", "a/../x", "", "/x", "a//x"])
def test_no_path_leads_out(world, path):
    folder = world.at("a/b")
    for use in (lambda: folder.write(path, b""), lambda: folder.remove(path), lambda: folder.read_one(path)):
        with pytest.raises(ConfigurationError, match="not a path below"):
            use()


def test_a_large_file_is_refused_by_name(world, monkeypatch):
    for module in (folder_rules, folder_local, folder_s3, folder_gcs):
        monkeypatch.setattr(module, "MOST_BYTES", 10)
    folder = world.at("a")
    folder.write("fits", bytes(10))
    assert folder.read() == {"fits": bytes(10)}
    folder.write("dump.sql", bytes(11))
    with pytest.raises(ConfigurationError, match=r"a/dump\.sql has 11 bytes; .* may have 10.*hidden files are not"):
        folder.read()


def test_many_files_at_once(world):
    folder = world.at("many")
    for number in range(40):
        folder.write(f"{number:02}", str(number).encode())
    assert list(folder.read().items()) == [(f"{number:02}", str(number).encode()) for number in range(40)]


# --- disk ---


def test_a_reader_sees_the_old_or_the_new(tmp_path):
    folder, both, seen, over = LocalFolder(tmp_path / "f"), {b"o" * 100_000, b"n" * 100_000}, set(), threading.Event()
    folder.write("x", b"o" * 100_000)

    def read():
        while not over.is_set():
            seen.add(folder.read()["x"])

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(40):
        folder.write("x", b"on"[number % 2 : number % 2 + 1] * 100_000)
    over.set()
    reader.join()
    assert seen <= both
    assert names(tmp_path / "f") == ["x"]


def test_what_could_not_be_written_leaves_the_old_file_and_nothing_else(tmp_path):
    folder = LocalFolder(tmp_path / "f")
    folder.write("sub/x", b"1")
    with pytest.raises(ConfigurationError, match="is in the way"):
        folder.write("sub/x/y", b"2")
    (tmp_path / "f/sub/d").mkdir()
    with pytest.raises(ConfigurationError, match="it is a folder, not a file"):
        folder.write("sub/d", b"2")
    assert names(tmp_path / "f/sub") == ["d", "x"]
    assert folder.read() == {"sub/x": b"1"}


def test_empty_folders_go_with_their_last_file(tmp_path):
    folder = LocalFolder(f"file://{tmp_path}/f")
    for path in ("a/b/c/x", "a/y"):
        folder.write(path, b"1")
    folder.remove("a/b/c/x")
    assert names(tmp_path / "f/a") == ["y"]
    folder.remove("a/y")
    assert names(tmp_path / "f") == []
    folder.remove("never/was")


def test_links_within_the_folder_are_followed(tmp_path):
    """As Kubernetes mounts a ConfigMap."""
    (tmp_path / "f/..2026/sub").mkdir(parents=True)
    (tmp_path / "f/..2026/sub/x").write_bytes(b"1")
    (tmp_path / "f/..data").symlink_to("..2026")
    (tmp_path / "f/sub").symlink_to("..data/sub")
    (tmp_path / "f/y").symlink_to("..data/sub/x")
    (tmp_path / "g").symlink_to("f")
    for root in ("f", "g"):
        folder = LocalFolder(tmp_path / root)
        assert folder.read() == {"sub/x": b"1", "y": b"1"}
        assert folder.read_one("y") == b"1"


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("../secret", "out of the folder"),
        ("../elsewhere", "out of the folder"),
        ("gone", "nothing"),
        (".", "circle"),
        ("link", "circle|nothing"),
    ],
)
def test_other_links_are_refused(tmp_path, target, words):
    (tmp_path / "secret").write_text("s3cret")
    (tmp_path / "elsewhere").mkdir()
    folder = LocalFolder(tmp_path / "f")
    folder.write("x", b"1")
    (tmp_path / "f/link").symlink_to(target)
    with pytest.raises(ConfigurationError, match=rf"link.*{words}"):
        folder.read()


def test_nothing_is_written_or_read_through_a_link_that_leads_out(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/x").write_text("s3cret")
    (tmp_path / "f").mkdir()
    (tmp_path / "f/sub").symlink_to("../elsewhere")
    folder = LocalFolder(tmp_path / "f")
    for use in (folder.read_one, folder.remove, lambda path: folder.write(path, b"1")):
        with pytest.raises(ConfigurationError, match="leads out of the folder"):
            use("sub/x")
    assert (tmp_path / "elsewhere/x").read_text() == "s3cret"


def test_only_regular_files_are_read(tmp_path):
    folder = LocalFolder(tmp_path)
    os.mkfifo(tmp_path / "pipe")  # opened, it would block
    folder.write("x", b"1")
    assert folder.read() == {"x": b"1"}
    assert folder.read_one("pipe") is None


# --- buckets ---


def test_s3_takes_the_settings_of_the_connection(s3_server, bucket):
    settings = S3StageSettings(sse="aws:kms", kms_key_id=KEY)
    folder, begin = S3Folder(s3_server.client, bucket, "a", settings), len(s3_server.asked)
    for content in (b"1", b"2"):
        folder.write("x", content)
    sent = [asked.headers for asked in s3_server.asked[begin:] if asked.operation == "PUT"]
    assert [headers["x-amz-server-side-encryption-aws-kms-key-id"] for headers in sent] == [KEY] * 2
    assert not any("if-none-match" in headers for headers in sent)


def test_s3_in_pages(s3_server, bucket):
    client = s3_server.client()
    paginator = client.get_paginator
    client.get_paginator = lambda name: _Pages(paginator(name))
    folder = S3Folder(lambda: client, bucket, "a")
    for name in "abcde":
        folder.write(name, b"1")
    begin = len(s3_server.asked)
    assert list(folder.read()) == list("abcde")
    assert sum("list-type" in asked.query for asked in s3_server.asked[begin:]) == 3


class _Pages:
    def __init__(self, paginator: Any) -> None:
        self._paginator = paginator

    def paginate(self, **words: Any) -> Any:
        return self._paginator.paginate(**words, PaginationConfig={"PageSize": 2})


def test_s3_refusals_name_the_permission(s3_server, bucket):
    folder = S3Folder(s3_server.client, bucket, "a")
    folder.write("x", b"1")
    s3_server.refuse("DELETE", "x", status=403, code="AccessDenied")
    with pytest.raises(ConfigurationError, match=r"allow s3:DeleteObject on arn:aws:s3:::elt-\w+/a/x"):
        folder.remove("x")
    s3_server.refuse("GET", "x", status=503, code="SlowDown", times=9)
    with pytest.raises(TransientError, match="a/x"):
        folder.read()
    with pytest.raises(ConfigurationError, match="bucket does not exist"):
        S3Folder(s3_server.client, "no-such-bucket-here").read()


def test_gcs_refusals_name_the_permission(gcs_server, gcs_bucket):
    folder = GcsFolder(gcs_server.client, gcs_bucket, "a", HASTY)
    folder.write("x", b"1")
    said = "elt@x does not have storage.objects.delete access to the Google Cloud Storage object."
    gcs_server.refuse("insert", "x", status=403, message=said)
    with pytest.raises(ConfigurationError, match=r"grant storage\.objects\.delete on the bucket"):
        folder.write("x", b"2")
    assert folder.read() == {"x": b"1"}
    with pytest.raises(ConfigurationError, match="bucket does not exist"):
        GcsFolder(gcs_server.client, "no-such-bucket-here", settings=HASTY).read()


# --- the command line's ---


def test_the_command_line_opens_each(tmp_path, s3_server, bucket, gcs_server, gcs_bucket, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, value in gcs_server.env().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AIRFLOW_CONN_AWS", s3_server.airflow_connection())
    monkeypatch.setenv("AIRFLOW_CONN_GCP", json.dumps({"conn_type": "google_cloud_platform"}))
    for uri, conn_id in (("sub/../config", None), (f"s3://{bucket}/c", "aws"), (f"gs://{gcs_bucket}/c", "gcp")):
        folder = systems.folder(uri, conn_id)
        folder.write("x", b"1")
        folder.write("x", b"2")
        assert folder.read() == {"x": b"2"}
    assert (tmp_path / "config/x").read_bytes() == b"2"
    with pytest.raises(ConfigurationError, match="ftp"):
        systems.folder("ftp://host/x", None)
