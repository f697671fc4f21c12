"""Some of a file's bytes, from every kind of stage."""

from __future__ import annotations

import pytest

from airflow_elt_provider.stages.gcs import GcsStage
from airflow_elt_provider.stages.local import LocalStage
from airflow_elt_provider.stages.s3 import S3Stage

DATA = bytes(range(256)) * 40


@pytest.fixture(params=["local", "s3", "gcs"])
def stage(request, tmp_path):
    if request.param == "local":
        return LocalStage(tmp_path)
    if request.param == "s3":
        server, bucket = request.getfixturevalue("s3_server"), request.getfixturevalue("bucket")
        return S3Stage(server.client, bucket, "in")
    server, bucket = request.getfixturevalue("gcs_server"), request.getfixturevalue("gcs_bucket")
    return GcsStage(server.client, bucket, "in")


def test_ranges(stage):
    assert stage.put_if_absent("d/a b.csv", DATA)
    (file,) = stage.list()
    assert stage.read_range(file, 0, 10) == DATA[:10]
    assert stage.read_range(file, 100, 1000) == DATA[100:1100]
    assert stage.read_range(file, len(DATA) - 5, 1000) == DATA[-5:]
    assert stage.read_range(file, len(DATA), 10) == b""
    stage.delete([file.uri])
    with pytest.raises(FileNotFoundError):
        stage.read_range(file, 0, 10)


def test_ranges_are_of_the_version_that_was_listed(s3_server, bucket):
    stage = S3Stage(s3_server.client, bucket, "in")
    assert stage.put_if_absent("a.csv", DATA)
    (file,) = stage.list()
    for other in (DATA[::-1], DATA[:10]):
        s3_server.client().put_object(Bucket=bucket, Key="in/a.csv", Body=other)
        with pytest.raises(FileNotFoundError, match=r"a\.csv"):
            stage.read_range(file, 100, 50)
