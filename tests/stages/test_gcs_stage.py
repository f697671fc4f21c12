"""The stage on Cloud Storage against faults: refusals, throttling, cut connections, and answers that were lost."""

from __future__ import annotations

import base64
import contextlib
import os
import re
import ssl
import subprocess
import sys
import threading
import time
from datetime import timedelta

import google_crc32c
import pytest
import requests
from google.auth.exceptions import DefaultCredentialsError
from google.oauth2 import service_account

from airflow_elt_provider.errors import ConfigurationError, DataError, TransientError
from airflow_elt_provider.stages.gcs import GcsStage
from airflow_elt_provider.stages.gcs_checksum import checksum_of
from airflow_elt_provider.stages.gcs_settings import GcsStageSettings
from servers.processes import ReservedPort
from tests.fakes.google import FakeGoogle
from tests.fakes.http_fake import Fault

CHUNK = 1 << 20
BIG = 12 << 20
"""Google's client sends up to 8 MiB in one request, and larger files in chunks."""
HASTY = GcsStageSettings(chunk_bytes=CHUNK, patience=0)
PATIENT = GcsStageSettings(chunk_bytes=CHUNK, patience=30)
KEY = "projects/p/locations/eu/keyRings/elt/cryptoKeys/stage"


def on(server, bucket, settings=HASTY, prefix="elt/prod"):
    return GcsStage(server.client, bucket, prefix, settings)


@pytest.fixture
def stage(gcs_server, gcs_bucket) -> GcsStage:
    return on(gcs_server, gcs_bucket)


@pytest.fixture
def patient(gcs_server, gcs_bucket) -> GcsStage:
    return on(gcs_server, gcs_bucket, PATIENT)


def put(stage, path, size=1000):
    with stage.workspace() as folder:
        (folder / "part").write_bytes(os.urandom(size))
        return stage.put(folder / "part", path)


def test_a_whole_bucket_is_a_stage(gcs_server, gcs_bucket):
    stage = on(gcs_server, gcs_bucket, prefix="")
    assert stage.root == f"gs://{gcs_bucket}"
    uri = put(stage, "a/b")
    assert uri == f"gs://{gcs_bucket}/a/b"
    assert [file.uri for file in stage.list()] == [uri] == [file.uri for file in stage.list("a")]
    with pytest.raises(ConfigurationError, match="is not on the stage"):
        stage.read(f"gs://{gcs_bucket}x/a/b")


def test_folders_made_by_consoles_are_not_files(stage, gcs_server, gcs_bucket):
    gcs_server.client().bucket(gcs_bucket).blob("elt/prod/folder/").upload_from_string(b"")
    assert not list(stage.list())


# --- conditional writes ---


@pytest.mark.parametrize("size", [1000, BIG])
def test_of_two_writers_at_once_one_wins(stage, gcs_server, gcs_bucket, size):
    barrier, outcomes = threading.Barrier(4), []

    def write(number):
        twin = on(gcs_server, gcs_bucket)
        with twin.workspace() as folder:
            (folder / "part").write_bytes(bytes([number]) * size)
            barrier.wait()
            try:
                twin.put(folder / "part", "part-0")
            except DataError:
                return
            outcomes.append(number)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(outcomes) == 1
    assert stage.read(f"{stage.root}/part-0") == bytes(outcomes) * size


def test_a_slow_upload_loses_against_one_that_began_later(stage, gcs_server, gcs_bucket):
    first_begun, second_done = threading.Event(), threading.Event()

    class Slow(requests.Session):
        def request(self, method, url, **options):
            if method == "PUT":
                first_begun.set()
                second_done.wait(30)
            return super().request(method, url, **options)

    slow = GcsStage(lambda: gcs_server.client(_http=Slow()), gcs_bucket, "elt/prod", HASTY)
    refused = []

    def upload():
        try:
            put(slow, "part-0", BIG)
        except DataError as error:
            refused.append(error)

    thread = threading.Thread(target=upload)
    thread.start()
    assert first_begun.wait(30)
    put(stage, "part-0", 10)
    second_done.set()
    thread.join()
    assert len(refused) == 1
    assert [file.bytes for file in stage.list()] == [10]


def test_a_put_whose_answer_is_lost_is_found(stage, gcs_server):
    gcs_server.cut("insert", "manifest-0", when="after")
    assert stage.put_if_absent("manifest-0", b"mine")


def test_a_client_that_repeats_a_lost_put_still_wins(patient, gcs_server):
    lost = gcs_server.cut("insert", "manifest-0", when="after")
    assert patient.put_if_absent("manifest-0", b"mine")
    assert lost.hits == 1
    assert not patient.put_if_absent("manifest-0", b"another")
    assert patient.read(f"{patient.root}/manifest-0") == b"mine"


def test_a_lost_put_that_another_one_won_has_lost(stage, gcs_server):
    assert stage.put_if_absent("manifest-0", b"first")
    gcs_server.cut("insert", "manifest-0", when="before")
    assert not stage.put_if_absent("manifest-0", b"second")


def test_a_put_that_never_arrived_is_transient(stage, gcs_server):
    gcs_server.cut("insert", "manifest-0", when="before")
    with pytest.raises(TransientError, match="manifest-0"):
        stage.put_if_absent("manifest-0", b"mine")
    assert not stage.exists(f"{stage.root}/manifest-0")


def test_nobody_knows_after_a_lost_put_and_a_lost_look(stage, gcs_server):
    gcs_server.cut("insert", "manifest-0", when="after")
    gcs_server.refuse("get", "manifest-0", status=403, code="forbidden")
    with pytest.raises(TransientError):
        stage.put_if_absent("manifest-0", b"mine")


def test_a_condition_that_fails_for_an_object_that_is_gone_is_tried_again(stage, gcs_server):
    gone = gcs_server.refuse("insert", "manifest-0", status=412, code="conditionNotMet", times=2)
    assert stage.put_if_absent("manifest-0", b"mine")
    assert gone.hits == 2


def test_a_condition_that_fails_without_end_is_transient(stage, gcs_server):
    gcs_server.refuse("insert", "manifest-0", status=412, code="conditionNotMet", times=99)
    with pytest.raises(TransientError, match="by others"):
        stage.put_if_absent("manifest-0", b"mine")


def test_a_stranger_s_object_is_not_ours(stage, gcs_server, gcs_bucket):
    gcs_server.client().bucket(gcs_bucket).blob("elt/prod/manifest-0").upload_from_string(b"")
    assert not stage.put_if_absent("manifest-0", b"mine")
    for size in (10, BIG):
        with pytest.raises(DataError, match="exists already"):
            put(stage, "manifest-0", size)


@pytest.mark.parametrize(("size", "operation", "skip"), [(1000, "insert", 0), (BIG, "chunk", BIG // CHUNK - 1)])
def test_put_finds_itself_after_a_lost_answer(stage, gcs_server, size, operation, skip):
    lost = gcs_server.cut(operation, "part-0", when="after", skip=skip)
    uri = put(stage, "part-0", size)
    assert lost.hits == 1
    assert [(file.uri, file.bytes) for file in stage.list()] == [(uri, size)]


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_large_upload_goes_on_after_a_cut(patient, gcs_server, when):
    cut = gcs_server.cut("chunk", "part-0", when=when, skip=5)
    data = os.urandom(BIG)
    with patient.workspace() as folder:
        (folder / "part").write_bytes(data)
        uri = patient.put(folder / "part", "part-0")
    assert cut.hits == 1
    assert patient.read(uri) == data
    chunks = [asked for asked in gcs_server.asked if asked.operation == "chunk" and asked.place.endswith("part-0")]
    assert len(chunks) >= BIG // CHUNK


def test_a_failed_upload_leaves_nothing(stage, gcs_server):
    gcs_server.refuse("chunk", "part-0", status=403, code="forbidden", skip=1, message="no")
    with pytest.raises(ConfigurationError, match=r"grant storage\.objects\.create on the bucket elt-"):
        put(stage, "part-0", 3 * BIG)
    assert not list(stage.list())


@pytest.mark.parametrize("size", [1000, BIG])
def test_google_compares_the_checksum_before_there_is_an_object(stage, monkeypatch, size):
    wrong = base64.b64encode(google_crc32c.Checksum(b"something else").digest()).decode()
    monkeypatch.setattr("airflow_elt_provider.stages.gcs.checksum_of", lambda _: wrong)
    with pytest.raises(Exception, match="CRC32C"):
        put(stage, "part-0", size)
    assert not list(stage.list())


def test_checksums_are_written_as_google_does(tmp_path):
    (tmp_path / "x").write_bytes(b"123456789")
    assert base64.b64decode(checksum_of(tmp_path / "x")).hex() == "e3069283"  # RFC 3720's check value


def test_the_client_is_made_once_and_late(gcs_server, gcs_bucket):
    made = []

    def factory():
        made.append(1)
        return gcs_server.client()

    stage = GcsStage(factory, gcs_bucket)
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
        "insert": lambda: stage.put_if_absent("new", b""),
        "start": lambda: put(stage, "new", BIG),
        "chunk": lambda: put(stage, "new", BIG),
        "download": lambda: stage.read(uri),
        "get": lambda: stage.exists(uri),
        "list": lambda: list(stage.list()),
        "batch": lambda: stage.delete([uri]),
    }


DENIED = "elt@p.iam.gserviceaccount.com does not have {0} access to the Google Cloud Storage object. Permission '{0}'"


@pytest.mark.parametrize(
    ("operation", "permission", "role"),
    [
        ("insert", "storage.objects.create", "roles/storage.objectCreator"),
        ("start", "storage.objects.create", "roles/storage.objectCreator"),
        ("chunk", "storage.objects.create", "roles/storage.objectCreator"),
        ("download", "storage.objects.get", "roles/storage.objectViewer"),
        ("get", "storage.objects.get", "roles/storage.objectViewer"),
        ("list", "storage.objects.list", "roles/storage.objectViewer"),
        ("batch", "storage.objects.delete", "roles/storage.objectUser"),
    ],
)
@pytest.mark.parametrize("message", [DENIED, "Access denied."])
def test_denied_calls_name_permission_bucket_and_role(
    stage, gcs_server, gcs_bucket, operation, permission, role, message
):
    gcs_server.refuse(operation, "", status=403, code="forbidden", message=message.format(permission))
    with pytest.raises(ConfigurationError) as refused:
        calls(stage)[operation]()
    assert f"grant {permission} on the bucket {gcs_bucket} to" in refused.value.hint
    assert role in refused.value.hint
    assert ("storage.objects.list" in refused.value.hint) == (permission in {GET, LIST})


GET, LIST = "storage.objects.get", "storage.objects.list"
PAYER = "The account does not have serviceusage.services.use access to the Google Cloud project."


@pytest.mark.parametrize(
    ("status", "reason", "message", "error", "words"),
    [
        (401, "authError", "Invalid Credentials", ConfigurationError, "no Google credentials"),
        (404, "notFound", "Not Found", TransientError, "forgotten the upload"),
        (403, "forbidden", PAYER, ConfigurationError, "serviceusage.services.use"),
        (400, "required", "Bucket is a requester pays bucket but no user project", ConfigurationError, "user_project"),
        (403, "forbidden", "Permission denied on Cloud KMS key.", ConfigurationError, "cryptoKeyEncrypterDecrypter"),
        (400, "invalid", "Cloud KMS key is not in a location", ConfigurationError, "bucket's location"),
        (403, "accountDisabled", "The billing account is disabled", ConfigurationError, "enable billing"),
        (403, "vpcServiceControls", "prohibited by organization's policy", ConfigurationError, "perimeter"),
        (412, "conditionNotMet", "violates constraint constraints/gcp.x", ConfigurationError, "organization policy"),
        (403, "retentionPolicyNotMet", "is under its retention policy", ConfigurationError, "bucket without one"),
        (429, "rateLimitExceeded", "Too fast", TransientError, "429 Too fast."),
        (403, "rateLimitExceeded", "Too fast", TransientError, "Too fast"),
        (408, "timeout", "late", TransientError, "late"),
        (410, "gone", "The upload is gone", TransientError, "gone"),
        (500, "backendError", "Backend Error", TransientError, "Backend Error"),
        (503, "backendError", "Service Unavailable", TransientError, "Service Unavailable"),
    ],
)
def test_refusals(stage, gcs_server, status, reason, message, error, words):
    gcs_server.refuse("insert", "new", status=status, code=reason, message=message, times=9)
    with pytest.raises(error, match=re.escape(words)):
        stage.put_if_absent("new", b"")


@pytest.mark.parametrize("operation", ["insert", "start", "chunk", "download", "get", "list", "batch"])
def test_cut_connections_are_transient(stage, gcs_server, gcs_bucket, operation):
    gcs_server.cut(operation, "", when="before", times=9)
    with pytest.raises(TransientError, match=gcs_bucket):
        calls(stage)[operation]()


@pytest.mark.parametrize("operation", ["insert", "start", "chunk", "download", "get", "list", "batch"])
def test_google_s_client_outlives_faults_of_the_moment(patient, gcs_server, operation):
    if operation in {"download", "get"}:
        patient.put_if_absent("file", b"")
    fault = gcs_server.refuse(operation, "", status=503, code="backendError")
    calls(patient)[operation]()
    assert fault.hits == 1


def test_patience_ends(gcs_server, gcs_bucket):
    stage = on(gcs_server, gcs_bucket, GcsStageSettings(patience=2))
    gcs_server.refuse("list", "", status=503, code="backendError", message="Busy", times=99)
    began = time.monotonic()
    with pytest.raises(TransientError, match="503 Busy"):
        list(stage.list())
    assert time.monotonic() - began < 10


def test_an_answer_cut_in_the_middle_is_transient(stage, gcs_server):
    uri = put(stage, "part", 1 << 20)
    gcs_server.cut("download", "part", when="body", times=99)
    with pytest.raises(TransientError):
        stage.read(uri)
    with pytest.raises(TransientError), stage.fetch(uri):
        pass


def test_a_fetch_goes_on_after_a_cut(patient, gcs_server):
    uri = put(patient, "part", 1 << 20)
    gcs_server.cut("download", "part", when="body")
    with patient.fetch(uri) as path:
        assert path.stat().st_size == 1 << 20


@pytest.mark.parametrize("way", ["read", "fetch"])
def test_a_damaged_object_is_not_handed_out(stage, gcs_server, gcs_bucket, way):
    uri = put(stage, "part", 1000)
    file = gcs_server.folder / gcs_bucket / "elt" / "prod" / "part"
    file.write_bytes(b"x" + file.read_bytes()[1:])
    with pytest.raises(TransientError, match="checksum"):
        stage.read(uri) if way == "read" else stage.fetch(uri).__enter__()


def test_a_missing_bucket(gcs_server):
    stage = on(gcs_server, "no-such-bucket-here")
    for call in calls(stage).values():
        with pytest.raises(ConfigurationError, match="bucket does not exist"):
            call()


def test_no_server(gcs_server):
    port = ReservedPort()
    client = gcs_server.client(client_options={"api_endpoint": f"http://127.0.0.1:{port.number}"})
    with pytest.raises(TransientError, match="connection to Cloud Storage failed"):
        GcsStage(lambda: client, "bucket", "", HASTY).put_if_absent("x", b"")
    port.release()


def test_a_certificate_that_nobody_signed(gcs_server):
    class Refusing(requests.Session):
        def request(self, *_, **__):
            raise requests.exceptions.SSLError(ssl.SSLCertVerificationError("certificate verify failed"))

    stage = GcsStage(lambda: gcs_server.client(_http=Refusing()), "bucket", "", HASTY)
    with pytest.raises(ConfigurationError, match="REQUESTS_CA_BUNDLE"):
        stage.put_if_absent("x", b"")


def test_no_credentials():
    def nobody():
        raise DefaultCredentialsError("Your default credentials were not found.")

    with pytest.raises(ConfigurationError, match="no Google credentials"):
        GcsStage(nobody, "bucket").put_if_absent("x", b"")


def test_credentials_that_google_does_not_know(gcs_server, gcs_bucket, tmp_path):
    with FakeGoogle() as google:
        path = google.service_account("elt@proj.iam.gserviceaccount.com", tmp_path / "key.json")
        scopes = ["https://www.googleapis.com/auth/devstorage.read_write"]
        key = service_account.Credentials.from_service_account_file(path, scopes=scopes)
        stage = GcsStage(lambda: gcs_server.client(credentials=key), gcs_bucket, "", HASTY)
        gcs_server.refuse("insert", "x", status=401, code="authError", message="Invalid Credentials", times=9)
        with pytest.raises(ConfigurationError, match=r"Invalid Credentials.*account to impersonate"):
            stage.put_if_absent("x", b"")
        assert gcs_server.asked[-1].headers["authorization"].removeprefix("Bearer ") in google._access
        google.inject(busy := Fault("POST", "/token", status=503, body={"error": "internal_failure"}, times=None))
        key.token = None
        with pytest.raises(TransientError, match="issued no token"):
            stage.put_if_absent("x", b"")
        assert busy.hits
        google.heal()
        google.keys.clear()
        with pytest.raises(ConfigurationError, match=r"issued no token .*account not found.*key is not deleted"):
            stage.put_if_absent("x", b"")
    with pytest.raises(TransientError, match="issued no token"):
        stage.put_if_absent("x", b"")


def test_an_unknown_refusal_is_nobody_s_guess(stage, gcs_server):
    gcs_server.refuse("insert", "new", status=418, code="teapot", message="Teapot")
    with pytest.raises(Exception, match="Teapot") as raised:
        stage.put_if_absent("new", b"")
    assert type(raised.value).__module__.startswith("google.")


# --- deletes ---


def test_keys_that_are_not_deleted_are_told(stage, gcs_server, gcs_bucket):
    uris = [put(stage, f"part-{number:03}", 1) for number in range(150)]
    gcs_server.refuse("batch", "", status=503, code="backendError", message="Busy")
    with pytest.raises(TransientError, match="Busy"):
        stage.delete(uris)
    begin = len(gcs_server.asked)
    stage.delete([*uris, f"{stage.root}/never-there"])
    assert [each.operation for each in gcs_server.asked[begin:]] == ["batch", "batch"], "Google takes 100 at once"
    assert not list(stage.list())


# What the emulator never does: an answer in which one object is refused.
ANSWERS = """--b\r
Content-Type: application/http\r
\r
HTTP/1.1 404 Not Found\r
Content-Type: application/json\r
\r
{"error": {"code": 404, "message": "No such object: bucket/elt/0", "errors": [{"reason": "notFound"}]}}\r
--b\r
Content-Type: application/http\r
\r
HTTP/1.1 403 Forbidden\r
Content-Type: application/json\r
\r
{"error": {"code": 403, "message": "Permission 'storage.objects.delete' denied", "errors": [{"reason": "x"}]}}\r
--b\r
Content-Type: application/http\r
\r
HTTP/1.1 503 Service Unavailable\r
Content-Type: application/json\r
\r
{"error": {"code": 503, "message": "Busy", "errors": [{"reason": "backendError"}]}}\r
--b--"""


def test_of_refused_deletes_the_first_is_raised_and_all_are_counted(gcs_server):
    class Answering(requests.Session):
        def request(self, *_, **__):
            answer = requests.Response()
            answer.status_code, answer._content = 200, ANSWERS.encode()
            answer.headers["Content-Type"] = "multipart/mixed; boundary=b"
            return answer

    stage = GcsStage(lambda: gcs_server.client(_http=Answering()), "bucket", "elt", HASTY)
    with pytest.raises(ConfigurationError, match=r"storage\.objects\.delete on the bucket bucket") as raised:
        stage.delete([f"gs://bucket/elt/{number}" for number in range(3)])
    assert raised.value.__notes__ == ["2 objects could not be deleted"]


# --- settings ---


@pytest.mark.parametrize(("size", "operation"), [(10, "insert"), (BIG, "start")])
def test_key_and_payer_are_told_to_google(gcs_server, gcs_bucket, size, operation):
    settings = GcsStageSettings(kms_key_name=KEY, user_project="payer", chunk_bytes=CHUNK, patience=0)
    stage = on(gcs_server, gcs_bucket, settings, "")
    uri = put(stage, "part", size)
    stage.put_if_absent("manifest", b"x")
    stage.read(uri)
    stage.exists(uri)
    list(stage.list())
    asked = [each for each in gcs_server.asked if each.place.startswith(f"/{gcs_bucket}/")]
    writes = [each for each in asked if each.operation == operation]
    assert writes
    assert all(each.query["kmsKeyName"] == KEY for each in writes)
    assert all(each.query["ifGenerationMatch"] == "0" for each in writes)
    ours = [each for each in asked if each.operation in {"insert", "start", "download", "get", "list"}]
    assert all(each.query["userProject"] == "payer" for each in ours)


@pytest.mark.parametrize("name", ["stage", "keyRings/elt/cryptoKeys/stage", f"{KEY}/cryptoKeyVersions/1"])
def test_a_key_needs_its_full_name(name):
    with pytest.raises(ConfigurationError, match="projects/PROJECT/locations/LOCATION"):
        GcsStageSettings(kms_key_name=name)


@pytest.mark.parametrize("size", [0, 1000, -1 << 18])
def test_chunks_have_google_s_sizes(size):
    with pytest.raises(ConfigurationError, match="256 KiB"):
        GcsStageSettings(chunk_bytes=size)


def test_work_folders_lie_where_they_are_told_and_go(gcs_server, gcs_bucket, tmp_path):
    stage = on(gcs_server, gcs_bucket, GcsStageSettings(folder=tmp_path))
    with stage.workspace() as folder:
        assert folder.parent == tmp_path
    uri = put(stage, "part")
    with stage.fetch(uri) as path:
        assert tmp_path in path.parents
    with pytest.raises(FileNotFoundError), stage.fetch(f"{uri}x"):
        pass
    assert not list(tmp_path.iterdir())
    (tmp_path / ".elt-dead").mkdir()
    os.utime(tmp_path / ".elt-dead", (0, 0))
    assert stage.collect_garbage(timedelta(days=1)) == (str(tmp_path / ".elt-dead"),)


def test_importing_the_stage_imports_nothing_of_google():
    heavy = "{'google.auth', 'google.cloud.storage', 'requests'}"
    code = f"import sys, airflow_elt_provider.stages.gcs; assert not {heavy} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_nothing_is_asked_but_what_the_stage_needs(gcs_server, gcs_bucket):
    """Google's client would look at the bucket itself, which takes `storage.buckets.get`."""
    begin = len(gcs_server.asked)
    for call in calls(on(gcs_server, gcs_bucket)).values():
        with contextlib.suppress(FileNotFoundError, DataError):
            call()
    time.sleep(0.2)
    asked = {each.operation for each in gcs_server.asked[begin:]}
    assert asked == {"insert", "start", "chunk", "download", "get", "list", "batch"}
