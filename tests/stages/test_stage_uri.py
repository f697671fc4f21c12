"""URIs of stages."""

from __future__ import annotations

import pytest

from airflow_elt_provider.errors import ConfigurationError
from airflow_elt_provider.stages.uri import StageUri, parse_stage_uri


@pytest.mark.parametrize(
    ("text", "uri", "back"),
    [
        ("s3://company-elt/prod", StageUri("s3", "company-elt", "prod"), "s3://company-elt/prod"),
        ("s3://company-elt", StageUri("s3", "company-elt", ""), "s3://company-elt"),
        ("s3://company-elt//", StageUri("s3", "company-elt", ""), "s3://company-elt"),
        ("s3://b.c/a b/映画/", StageUri("s3", "b.c", "a b/映画"), "s3://b.c/a b/映画"),
        ("s3://bucket/a%20b?c#d", StageUri("s3", "bucket", "a%20b?c#d"), "s3://bucket/a%20b?c#d"),
        ("gs://bucket/x", StageUri("gs", "bucket", "x"), "gs://bucket/x"),
        ("file:///mnt/a%20b", StageUri("file", "", "/mnt/a b"), "file:///mnt/a%20b"),
        ("file://localhost/mnt/elt/", StageUri("file", "", "/mnt/elt"), "file:///mnt/elt"),
        ("/mnt/a%20b", StageUri("file", "", "/mnt/a%20b"), "file:///mnt/a%2520b"),
    ],
)
def test_stage_uris(text, uri, back):
    assert parse_stage_uri(text) == uri
    assert str(uri) == back
    assert parse_stage_uri(back) == uri


@pytest.mark.parametrize(
    "text",
    [
        "",
        "stage",
        "s3://",
        "s3:///x",
        "s3://b",
        "s3://bucket/../x",
        "s3://bucket/a//b",
        "s3a://bucket/x",
        "http://bucket/x",
        "S3://bucket",
    ],
)
def test_what_is_no_stage(text):
    with pytest.raises(ConfigurationError) as raised:
        parse_stage_uri(text)
    assert repr(text) in str(raised.value) or repr(text.partition("bucket/")[2]) in str(raised.value)
    assert raised.value.hint
