"""GuessSchemaOperator on a real S3 and a folder, and the call that a guess prints, pasted into a DAG."""

from __future__ import annotations

import datetime as dt
import gzip
import json
import re
import uuid
from decimal import Decimal

import pytest

from airflow_elt_provider.connectors.files.guessing import guess_path
from airflow_elt_provider.errors import DataError
from airflow_elt_provider.formats.guess_report import Call
from airflow_elt_provider.hooks.files import EltFilesHook
from airflow_elt_provider.operators.guess import GuessSchemaOperator
from airflow_elt_provider.stages.local import LocalStage
from servers.s3 import S3Server
from tests.airflow import in_process
from tests.airflow.in_process import environment

pytestmark = pytest.mark.lowest

GUESS = """
from airflow_elt_provider.operators.guess import GuessSchemaOperator
GuessSchemaOperator(task_id="guess", source_conn_id="files", path="PATH")
"""
ODD = {
    "semicolons, CP932, dates, a delimiter at the end, names twice": (
        "売上.csv",
        "番号;店舗;日付;店舗;金額;\r\n001;東京, 港区;2026/01/02;表示;1200;\r\n002;大阪;2026/01/13;;-;\r\n".encode(
            "cp932"
        ),
        [("001", "東京, 港区", dt.date(2026, 1, 2), "表示", 1200), ("002", "大阪", dt.date(2026, 1, 13), None, None)],
    ),
    "tabs, quotes, a preamble, times, packed": (
        "t.data",
        gzip.compress(
            b'a report\n\nid\tat\tnote\tamount\n1\t2026-01-02T03:04:05Z\t"a\tb\n""c"""\t1.50\n'
            b'2\t2026-01-02T03:04:06Z\t""\t2.25\n'
        ),
        [
            (1, dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC), 'a\tb\n"c"', Decimal("1.50")),
            (2, dt.datetime(2026, 1, 2, 3, 4, 6, tzinfo=dt.UTC), "", Decimal("2.25")),
        ],
    ),
    "no header, single quotes, comments": (
        "n.csv",
        b"# made by hand\n1|'a|b'|true\n# in between\n2|'it''s'|false\n",
        [(1, "a|b", True), (2, "it's", False)],
    ),
    "JSON lines": ("j.jsonl", b'{"id": 1, "code": "007"}\n{"id": 2, "code": null}\n', [(1, "007"), (2, None)]),
}


@pytest.mark.parametrize("what", ODD)
def test_the_printed_call_works_when_it_is_pasted(what, place, tmp_path):
    name, data, rows = ODD[what]
    (tmp_path / name).write_bytes(data)
    path = str(tmp_path / name)
    found = guess_path(path, LocalStage)
    assert found.check.misfits == 0, found.check
    call = Call(found.guess, path, "files", "lake", "raw.pasted")
    with environment(AIRFLOW_CONN_FILES="fs://"):
        result = in_process.run(call.python()).one()
    assert result["inserted"] == len(rows)
    columns = [one.name for one in found.guess.columns]
    quoted = ", ".join('"' + column.replace('"', '""') + '"' for column in columns)
    assert place.lake(f"SELECT {quoted} FROM raw.pasted ORDER BY 1") == rows


def test_the_key_that_is_suggested_can_be_taken(place, tmp_path):
    (tmp_path / "k.csv").write_text("id,name\n1,a\n2,b\n3,b\n")
    found = guess_path(f"{tmp_path}/k.csv", LocalStage)
    text = Call(found.guess, f"{tmp_path}/k.csv", "files", "lake", "raw.keyed").python()
    assert 'mode="replace"' in text
    (key,) = re.findall(r"# (primary_key=.*?, mode=\"merge\",)", text)
    with environment(AIRFLOW_CONN_FILES="fs://"):
        body = text.replace('    mode="replace",\n', f"    {key}\n")
        assert in_process.run(body).one()["inserted"] == 3
        assert in_process.run(body, date=in_process.DATE.replace(day=6)).one()["inserted"] == 0


def test_the_operator_gives_the_guess_as_json(tmp_path):
    (tmp_path / "a.csv").write_text("id,at\n1,2026/01/02\n2,2026/01/13\n")
    (tmp_path / "b.csv").write_text("id,on\n1,2026/01/02\n")
    with environment(AIRFLOW_CONN_FILES="fs://"):
        result = in_process.run(GUESS.replace("PATH", f"{tmp_path}/*.csv")).one()
    assert json.loads(json.dumps(result)) == result
    assert result["column_types"] == {"id": "bigint", "at": "date"}
    assert result["file_format"] == {"type": "csv", "delimiter": ",", "time_formats": {"at": "%Y/%m/%d"}}
    assert result["validation"]["share"] == 1.0
    assert [one["confidence"] > 0.5 for one in result["columns"]] == [True, True]
    assert re.search(r"b\.csv: lacks 'at' and has 'on'", result["other_headers"][0])
    assert result["operator"]["path"] == f"{tmp_path}/*.csv"


def test_misfits_fail_the_task_where_that_is_wanted(tmp_path):
    rows = [f"{n},{n}" for n in range(120_000)]
    rows[27_000] = "27000,x"  # where no sample looks
    (tmp_path / "a.csv").write_text("\n".join(["id,n", *rows]) + "\n")
    with environment(AIRFLOW_CONN_FILES="fs://"):
        operator = GuessSchemaOperator(task_id="g", source_conn_id="files", path=f"{tmp_path}/a.csv")
        assert operator.run_step({})["validation"]["misfits"] == 1
        operator = GuessSchemaOperator(
            task_id="g", source_conn_id="files", path=f"{tmp_path}/a.csv", fail_on_misfits=True
        )
        with pytest.raises(DataError, match="1 of 120,000 rows do not fit"):
            operator.run_step({})


def test_a_large_object_is_not_downloaded_for_a_guess():
    rows = "".join(f"{n},{n % 7}.50,name of {n}\n" for n in range(400_000)).encode()
    with S3Server() as s3:
        bucket = s3.create_bucket(f"elt-{uuid.uuid4().hex}")
        s3.client().put_object(Bucket=bucket, Key="d/a.csv", Body=b"id,amount,name\n" + rows)
        with environment(AIRFLOW_CONN_AWS_DEFAULT=s3.airflow_connection()):
            begin = len(s3.asked)
            found = guess_path(f"s3://{bucket}/d/*.csv", EltFilesHook("aws_default").get_stage, validate=False)
            ranges = [each.headers["range"] for each in s3.asked[begin:] if "range" in each.headers]
            whole = [each for each in s3.asked[begin:] if each.place.endswith("a.csv") and "range" not in each.headers]
            checked = guess_path(f"s3://{bucket}/d/*.csv", EltFilesHook("aws_default").get_stage)
    assert found.guess.column_types == {"id": "bigint", "amount": "decimal(18,2)"}
    spans = [tuple(map(int, re.findall(r"\d+", each))) for each in ranges]
    assert sum(end - start + 1 for start, end in spans) < 1 << 20 < len(rows)
    assert max(end for _, end in spans) > len(rows)
    assert not whole
    assert (checked.check.rows, checked.check.misfits) == (400_000, 0)
