"""Files through Airflow's own connections: the operators on a real S3 and a real folder."""

from __future__ import annotations

import hashlib
import hmac
import json
import uuid

import pytest

from airflow_elt_provider.errors import ConfigurationError
from airflow_elt_provider.hooks.files import EltFilesHook
from airflow_elt_provider.hooks.systems import source_hook
from airflow_elt_provider.operators.sync import SyncTableOperator
from servers.s3 import S3Server
from tests.airflow import in_process
from tests.airflow.in_process import environment

pytestmark = pytest.mark.lowest

CSV = "order_id,user_id,book_name\nO-1,1,吾輩は猫である\nO-2,2,坊っちゃん\n"
COMMON = 'destination_conn_id="lake", primary_key=["order_id"], column_types={"user_id": "bigint"}'
SYNC = """
SyncTableOperator(task_id="orders", source_conn_id="aws_default", target_table="raw.orders", COMMON,
                  path="s3://BUCKET/original-data/{{ ds }}/*.csv")
""".replace("COMMON", COMMON)
STEPS = """
extract = ExtractOperator(task_id="extract", source_conn_id="aws_default", target_table="raw.orders", COMMON,
                          path="s3://BUCKET/original-data/*/*.csv")
stage = StageOperator(task_id="stage", manifest=extract.output, destination_conn_id="lake", target_table="raw.orders")
merge = MergeOperator(task_id="merge", staged=stage.output, destination_conn_id="lake")
""".replace("COMMON", COMMON)


@pytest.fixture(scope="module")
def s3():
    with S3Server() as server:
        yield server


@pytest.fixture
def bucket(s3, place):
    name = s3.create_bucket(f"elt-{uuid.uuid4().hex}")
    for day in (5, 6):
        body = CSV.replace("O-", f"{day}-").encode()
        s3.client().put_object(Bucket=name, Key=f"original-data/2026-01-{day:02}/a.csv", Body=body)
    with environment(AIRFLOW_CONN_AWS_DEFAULT=s3.airflow_connection(request_payer="requester")):
        yield name


def test_sync_reads_the_files_of_a_date(place, bucket, s3):
    begin = len(s3.asked)
    result = in_process.run(SYNC.replace("BUCKET", bucket)).one()
    assert (result["stream"], result["inserted"]) == ("aws_default.files->raw.orders", 2)
    assert {each.headers["x-amz-request-payer"] for each in s3.asked[begin:]} == {"requester"}
    result = in_process.run(SYNC.replace("BUCKET", bucket), date=in_process.DATE.replace(day=6)).one()
    assert result["inserted"] == 2
    rows = place.lake("SELECT * FROM raw.orders ORDER BY order_id")
    assert rows[0] == ("5-1", 1, "吾輩は猫である")
    assert len(rows) == 4


def test_three_steps(place, bucket):
    run = in_process.run(STEPS.replace("BUCKET", bucket))
    assert run.xcoms["extract"]["rows"] == run.xcoms["merge"]["inserted"] == 4


NEW = SYNC.replace("{{ ds }}", "**").replace("COMMON", COMMON).rstrip()[:-1] + ', capture="new_files")'


def test_new_files_by_name_and_by_settings(place, bucket, s3):
    assert in_process.run(NEW.replace("BUCKET", bucket)).one()["extracted"] == 4
    result = in_process.run(NEW.replace("BUCKET", bucket), date=in_process.DATE.replace(day=6)).one()
    assert (result["extracted"], result["checkpoint"]) == (0, "2 files")
    s3.client().put_object(Bucket=bucket, Key="original-data/2026-01-05/b.csv", Body=CSV.replace("O-", "b-"))
    body = NEW.replace("BUCKET", bucket).replace('"new_files"', '{"new_files": {"replaced": "fail"}}')
    assert in_process.run(body, date=in_process.DATE.replace(day=7)).one()["inserted"] == 2


NEW_STEPS = STEPS.replace('path="s3', 'capture="new_files", checkpoint=known.output, path="s3')
CHECKPOINT = """
known = CheckpointOperator(task_id="known", destination_conn_id="lake", target_table="raw.orders",
                           stream="aws_default.files->raw.orders")
"""


def test_new_files_in_steps_with_a_checkpoint_that_travels(place, bucket):
    body = CHECKPOINT + NEW_STEPS.replace('destination_conn_id="lake", primary_key', "primary_key", 1)
    for day, rows in ((5, 4), (6, 0)):
        run = in_process.run(body.replace("BUCKET", bucket), date=in_process.DATE.replace(day=day))
        assert run.xcoms["merge"]["inserted"] == rows, run.states


def test_a_folder_of_this_worker(place):
    (place.folder / "in").mkdir()
    (place.folder / "in" / "a.csv").write_text(CSV)
    with environment(AIRFLOW_CONN_SHARE=json.dumps({"conn_type": "fs"})):
        body = f'SyncTableOperator(task_id="t", source_conn_id="share", path="{place.folder}/in/*.csv", {COMMON}, '
        assert in_process.run(f'{body}target_table="raw.orders")').one()["inserted"] == 2


def test_a_bad_file_fails_without_a_retry(place, bucket, s3):
    s3.client().put_object(Bucket=bucket, Key="original-data/2026-01-05/b.csv", Body=CSV.replace(",2,", ",two,"))
    run = in_process.run(SYNC.replace("BUCKET", bucket), default_args={"retries": 3})
    assert (run.states["orders"], run.tries["orders"]) == ("failed", 1)


def test_lineage_names_the_folder(bucket):
    assert EltFilesHook("aws_default").lineage_name(f"s3://{bucket}/original-data/*/a.csv") == (
        f"s3://{bucket}", "original-data",
    )  # fmt: skip
    assert EltFilesHook("share").lineage_name("/data/in/*.csv") == ("file", "/data/in")


def test_tables_are_not_read_from_files_nor_files_from_tables(place, bucket):
    with pytest.raises(ConfigurationError, match="it leads to tables, and path names files") as caught:
        source_hook("rds", f"s3://{bucket}/*.csv")
    assert "aws, fs, google_cloud_platform" in caught.value.hint
    with pytest.raises(ConfigurationError, match="no destination"):
        EltFilesHook("aws_default").get_destination()
    with pytest.raises(ConfigurationError, match="does not lead to files"):
        EltFilesHook("rds").get_source()


@pytest.mark.parametrize(
    "parameters",
    [{"path": "original-data/*.csv"}, {"path": "/a/../x.csv"}, {"path": "s3://b/*.csv", "cursor_column": "x"},
     {"path": "s3://b/*.csv", "source_table": "t"}, {"path": "s3://b/*.csv", "parallelism": 4}],
)  # fmt: skip
def test_a_dag_file_with_a_mistake_does_not_import(parameters):
    with pytest.raises(ConfigurationError):
        SyncTableOperator(
            task_id="t", source_conn_id="aws_default", destination_conn_id="lake", target_table="t", **parameters
        )


def test_a_path_that_renders_to_nothing(place, bucket):
    run = in_process.run(SYNC.replace("s3://BUCKET/original-data/{{ ds }}/*.csv", "{{ none }}"))
    assert run.states["orders"] == "failed"


def test_an_unknown_payer_is_refused(s3, place):
    with (
        environment(AIRFLOW_CONN_PAYS=s3.airflow_connection(request_payer="somebody")),
        pytest.raises(ConfigurationError, match="request_payer='somebody'"),
    ):
        EltFilesHook("pays").get_stage("s3://stage/elt")


MASKED = """
extract = ExtractOperator(task_id="extract", source_conn_id="share", target_table="raw.orders", path="FOLDER/in/*.csv",
                          primary_key=["order_id"], column_types={"user_id": "bigint"}, max_quarantined_rows=1,
                          hash_columns={"book_name": "privacy"}, redact_columns=["user_name"])
stage = StageOperator(task_id="stage", manifest=extract.output, destination_conn_id="lake", target_table="raw.orders")
merge = MergeOperator(task_id="merge", staged=stage.output, destination_conn_id="lake")
"""


def test_hashed_with_a_connection_s_password(place, caplog):
    (place.folder / "in").mkdir()
    (place.folder / "in" / "a.csv").write_text("order_id,user_id,book_name,user_name\nO-1,1,secret,ada\nO-2,x,y,z\n")
    key = json.dumps({"conn_type": "generic", "password": "correct horse battery staple"})
    with environment(AIRFLOW_CONN_SHARE=json.dumps({"conn_type": "fs"}), AIRFLOW_CONN_PRIVACY=key):
        run = in_process.run(MASKED.replace("FOLDER", str(place.folder)))
    assert run.xcoms["merge"]["quarantined"] == 1
    hashed = hmac.new(b"correct horse battery staple", b"secret", hashlib.sha256).hexdigest()
    assert place.lake("SELECT * FROM raw.orders") == [("O-1", 1, hashed, "***")]
    assert "secret" not in caplog.text
