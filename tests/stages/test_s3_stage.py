"""The S3 stage against faults: refusals, throttling, cut connections, and answers that were lost."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from botocore.config import Config

from airflow_elt_provider.errors import ConfigurationError, DataError, TransientError
from airflow_elt_provider.stages.s3 import S3Stage
from airflow_elt_provider.stages.s3_settings import S3StageSettings

PART = 5 << 20
LOAD = f"rds.actor-{'0' * 12}/{'a' * 32}"


@pytest.fixture
def stage(s3_server, bucket) -> S3Stage:
    return S3Stage(s3_server.client, bucket, "elt/prod", S3StageSettings(part_bytes=PART))


def put(stage, path, size=1000):
    with stage.workspace() as folder:
        (folder / "part").write_bytes(os.urandom(size))
        return stage.put(folder / "part", path)


def test_a_whole_bucket_is_a_stage(s3_server, bucket):
    stage = S3Stage(s3_server.client, bucket)
    assert stage.root == f"s3://{bucket}"
    uri = put(stage, "a/b")
    assert uri == f"s3://{bucket}/a/b"
    assert [file.uri for file in stage.list()] == [uri] == [file.uri for file in stage.list("a")]
    assert stage.exists(uri)
    with pytest.raises(ConfigurationError, match="is not on the stage"):
        stage.read(f"s3://{bucket}x/a/b")


def test_folders_made_by_consoles_are_not_files(stage, s3_server, bucket):
    s3_server.client().put_object(Bucket=bucket, Key="elt/prod/folder/")
    assert not list(stage.list())


# --- conditional writes ---


def test_a_client_that_repeats_a_lost_put_still_wins(s3_server, bucket):
    patient = Config(retries={"total_max_attempts": 3, "mode": "standard"}, s3={"addressing_style": "path"})
    stage = S3Stage(lambda: s3_server.client(config=patient), bucket)
    lost = s3_server.cut("PUT", "manifest-0", when="after")
    assert stage.put_if_absent("manifest-0", b"mine")
    assert lost.hits == 1
    assert not stage.put_if_absent("manifest-0", b"another")
    assert stage.read(f"{stage.root}/manifest-0") == b"mine"


def test_a_put_whose_answer_is_lost_is_found(stage, s3_server):
    s3_server.cut("PUT", "manifest-0", when="after")
    assert stage.put_if_absent("manifest-0", b"mine")


def test_a_lost_put_that_another_one_won_has_lost(stage, s3_server):
    assert stage.put_if_absent("manifest-0", b"first")
    s3_server.cut("PUT", "manifest-0", when="before")
    assert not stage.put_if_absent("manifest-0", b"second")


def test_a_put_that_never_arrived_is_transient(stage, s3_server):
    s3_server.cut("PUT", "manifest-0", when="before")
    with pytest.raises(TransientError, match=r"manifest-0"):
        stage.put_if_absent("manifest-0", b"mine")
    assert not stage.exists(f"{stage.root}/manifest-0")


def test_nobody_knows_after_a_lost_put_and_a_lost_look(stage, s3_server):
    s3_server.cut("PUT", "manifest-0", when="after")
    s3_server.cut("HEAD", "manifest-0", when="before")
    with pytest.raises(TransientError):
        stage.put_if_absent("manifest-0", b"mine")


def test_a_conflict_with_a_write_under_way_is_tried_again(stage, s3_server):
    conflict = s3_server.refuse("PUT", "manifest-0", status=409, code="ConditionalRequestConflict", times=2)
    assert stage.put_if_absent("manifest-0", b"mine")
    assert conflict.hits == 2


def test_a_conflict_without_end_is_transient(stage, s3_server):
    s3_server.refuse("PUT", "manifest-0", status=409, code="ConditionalRequestConflict", times=99)
    with pytest.raises(TransientError, match="by others"):
        stage.put_if_absent("manifest-0", b"mine")


def test_a_stranger_s_object_is_not_ours(stage, s3_server, bucket):
    s3_server.client().put_object(Bucket=bucket, Key="elt/prod/manifest-0", Body=b"")
    assert not stage.put_if_absent("manifest-0", b"mine")
    with pytest.raises(DataError, match="exists already"):
        put(stage, "manifest-0")


@pytest.mark.parametrize("size", [1000, 3 * PART])
def test_put_finds_itself_after_a_lost_answer(stage, s3_server, bucket, size):
    lost = s3_server.cut("PUT" if size < PART else "POST", "part-0", when="after", skip=0 if size < PART else 1)
    uri = put(stage, "part-0", size)
    assert lost.hits == 1
    assert [(file.uri, file.bytes) for file in stage.list()] == [(uri, size)]


def test_a_failed_upload_leaves_nothing(stage, s3_server, bucket):
    s3_server.refuse("PUT", "part-0", status=403, code="AccessDenied", skip=1)
    with pytest.raises(
        ConfigurationError, match=r"UploadPart.*allow s3:PutObject on arn:aws:s3:::elt-\w+/elt/prod/part-0"
    ):
        put(stage, "part-0", 3 * PART)
    assert not list(stage.list())
    assert "Uploads" not in s3_server.client().list_multipart_uploads(Bucket=bucket)


def test_the_client_is_made_once_and_late(s3_server, bucket):
    made = []

    def factory():
        made.append(1)
        return s3_server.client()

    stage = S3Stage(factory, bucket)
    assert not made
    threads = [threading.Thread(target=stage.put_if_absent, args=(str(number), b"")) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1


# --- refusals ---


def calls(stage):
    uri = f"{stage.root}/file"
    return {
        "PUT": lambda: stage.put_if_absent("new", b""),
        "GET": lambda: stage.read(uri),
        "HEAD": lambda: stage.exists(uri),
        "LIST": lambda: list(stage.list()),
        "POST": lambda: stage.delete([uri]),
    }


@pytest.mark.parametrize(
    ("method", "path", "action"),
    [
        ("PUT", "new", r"s3:PutObject on arn:aws:s3:::elt-\w+/elt/prod/new "),
        (
            "GET",
            "file",
            r"s3:GetObject on arn:aws:s3:::elt-\w+/elt/prod/file .* s3:ListBucket on arn:aws:s3:::elt-\w+,",
        ),
        ("HEAD", "file", r"s3:GetObject on arn:aws:s3:::elt-\w+/elt/prod/file "),
        ("LIST", "", r"s3:ListBucket on arn:aws:s3:::elt-\w+ "),
        ("POST", "", r"s3:DeleteObject on arn:aws:s3:::elt-\w+/elt/prod/file "),
    ],
)
def test_denied_calls_name_action_and_resource(stage, s3_server, bucket, method, path, action):
    s3_server.refuse("GET" if method == "LIST" else method, f"/{bucket}.*{path}", status=403, code="AccessDenied")
    with pytest.raises(ConfigurationError, match=action):
        calls(stage)[method]()


@pytest.mark.parametrize(
    ("status", "code", "error", "words"),
    [
        (403, "InvalidAccessKeyId", ConfigurationError, "login"),
        (403, "SignatureDoesNotMatch", ConfigurationError, "password"),
        (400, "ExpiredToken", ConfigurationError, "role to assume"),
        (403, "RequestTimeTooSkewed", ConfigurationError, "clock"),
        (301, "PermanentRedirect", ConfigurationError, "region"),
        (400, "KMS.DisabledException", ConfigurationError, "kms:GenerateDataKey and kms:Decrypt"),
        (400, "KMS.NotFoundException", ConfigurationError, "key exists"),
        (501, "NotImplemented", ConfigurationError, "If-None-Match"),
        (503, "SlowDown", TransientError, "SlowDown"),
        (500, "InternalError", TransientError, "InternalError"),
        (503, "ServiceUnavailable", TransientError, "ServiceUnavailable"),
        (400, "RequestTimeout", TransientError, "RequestTimeout"),
    ],
)
def test_refusals(stage, s3_server, bucket, status, code, error, words):
    s3_server.refuse("PUT", "new", status=status, code=code, times=9)  # boto3 itself follows redirects
    with pytest.raises(error, match=re.escape(words)):
        stage.put_if_absent("new", b"")


@pytest.mark.parametrize("method", ["PUT", "GET", "HEAD", "LIST", "POST"])
def test_cut_connections_are_transient(stage, s3_server, bucket, method):
    s3_server.cut("GET" if method == "LIST" else method, bucket, when="before", times=9)
    with pytest.raises(TransientError, match=bucket):
        calls(stage)[method]()


def test_an_answer_cut_in_the_middle_is_transient(stage, s3_server):
    uri = put(stage, "part", 1 << 20)
    s3_server.cut("GET", "part", when="body", times=99)
    with pytest.raises(TransientError):
        stage.read(uri)
    with pytest.raises(TransientError), stage.fetch(uri):
        pass


def test_a_fetch_goes_on_after_a_cut(stage, s3_server):
    uri = put(stage, "part", 1 << 20)
    s3_server.cut("GET", "part", when="body")
    with stage.fetch(uri) as path:
        assert path.stat().st_size == 1 << 20


def test_a_missing_bucket(s3_server):
    stage = S3Stage(s3_server.client, "no-such-bucket-here", "x")
    for call in ("PUT", "GET", "LIST", "POST"):
        with pytest.raises(ConfigurationError, match="bucket does not exist"):
            calls(stage)[call]()


def test_no_credentials(s3_server, bucket, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    stage = S3Stage(lambda: s3_server.client(aws_access_key_id=None, aws_secret_access_key=None), bucket)
    with pytest.raises(ConfigurationError, match="no AWS credentials"):
        stage.put_if_absent("x", b"")


def test_an_unknown_refusal_is_nobody_s_guess(stage, s3_server):
    s3_server.refuse("PUT", "new", status=418, code="Teapot")
    with pytest.raises(Exception, match="Teapot") as raised:
        stage.put_if_absent("new", b"")
    assert type(raised.value).__name__ == "ClientError"


# --- settings ---


@pytest.mark.parametrize("size", [10, 2 * PART])
def test_encryption_and_checksums_are_asked_for(s3_server, bucket, size):
    settings = S3StageSettings(sse="aws:kms", kms_key_id="alias/elt", part_bytes=PART)
    stage = S3Stage(s3_server.client, bucket, "", settings)
    put(stage, "part", size)
    stage.put_if_absent("manifest", b"x")
    for key in ("part", "manifest"):
        head = s3_server.client().head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
        assert head["ServerSideEncryption"] == "aws:kms"
        assert "alias/elt" in head["SSEKMSKeyId"]
    assert head["ChecksumCRC32"]


def test_a_key_without_kms_is_refused():
    with pytest.raises(ConfigurationError, match="sse='aws:kms'"):
        S3StageSettings(kms_key_id="alias/elt")


def test_work_folders_lie_where_they_are_told_and_go(s3_server, bucket, tmp_path):
    stage = S3Stage(s3_server.client, bucket, "", S3StageSettings(folder=tmp_path))
    with stage.workspace() as folder:
        assert folder.parent == tmp_path
    uri = put(stage, "part")
    with stage.fetch(uri) as path:
        assert tmp_path in path.parents
    with pytest.raises(FileNotFoundError), stage.fetch(f"{uri}x"):
        pass
    assert not list(tmp_path.iterdir())


# --- garbage ---


def test_unfinished_uploads_of_loads_are_aborted(stage, s3_server, bucket):
    client = s3_server.client()
    for key in (f"elt/prod/{LOAD}/0123abcd/part-0", "elt/prod/customer/file", f"elt/{LOAD}/0123abcd/part-0"):
        client.create_multipart_upload(Bucket=bucket, Key=key)
    assert stage.collect_garbage(timedelta(days=30_000)) == ()  # the emulator says that all began in 2010
    aborted = stage.collect_garbage(timedelta(days=1))
    assert aborted == (f"s3://{bucket}/elt/prod/{LOAD}/0123abcd/part-0 (unfinished upload)",)
    left = client.list_multipart_uploads(Bucket=bucket)["Uploads"]
    assert {upload["Key"] for upload in left} == {f"elt/{LOAD}/0123abcd/part-0", "elt/prod/customer/file"}


def test_who_may_not_abort_can_leave_it(s3_server, bucket):
    s3_server.refuse("GET", f"/{bucket}", status=403, code="AccessDenied", times=9)
    with pytest.raises(ConfigurationError, match="s3:ListBucketMultipartUploads on arn:aws:s3:::elt-"):
        S3Stage(s3_server.client, bucket).collect_garbage(timedelta(days=1))
    settings = S3StageSettings(abort_uploads=False)
    assert S3Stage(s3_server.client, bucket, "", settings).collect_garbage(timedelta(days=1)) == ()


class _RefusesKeys(BaseHTTPRequestHandler):
    """Answers DeleteObjects with an error for some keys, which the emulator never does."""

    codes = ("AccessDenied",)

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        errors = "".join(
            f"<Error><Key>elt/{code}</Key><Code>{code}</Code><Message>no</Message></Error>" for code in self.codes
        )
        body = f"<DeleteResult>{errors}</DeleteResult>".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.mark.parametrize(
    ("codes", "error"),
    [
        (("NoSuchKey",), None),
        (("AccessDenied", "InternalError"), ConfigurationError),
        (("InternalError",), TransientError),
    ],
)
def test_keys_that_are_not_deleted_are_told(s3_server, codes, error):
    handler = type("Handler", (_RefusesKeys,), {"codes": codes})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        endpoint = f"http://127.0.0.1:{server.server_address[1]}"
        stage = S3Stage(lambda: s3_server.client(endpoint_url=endpoint), "bucket", "elt")
        uris = [f"s3://bucket/elt/{code}" for code in codes]
        if error is None:
            stage.delete(uris)
        else:
            with pytest.raises(error, match=codes[0]) as raised:
                stage.delete(uris)
            assert f"{len(codes)} objects" in raised.value.__notes__[0]
        server.shutdown()


def test_importing_the_stage_imports_no_boto():
    code = "import sys, airflow_elt_provider.stages.s3; assert not {'boto3', 'botocore'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
