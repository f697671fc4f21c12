"""``elt guess`` as a user types it."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import uuid
from dataclasses import dataclass
from pathlib import Path

import pytest

from airflow_elt_provider.cli import main
from servers.s3 import S3Server

ELT = Path(sys.executable).with_name("elt")


@dataclass
class Done:
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def elt(capsys):
    def run(*words):
        code = main(["guess", *map(str, words)])
        said = capsys.readouterr()
        return Done(code, said.out, said.err)

    return run


@pytest.fixture
def orders(tmp_path):
    (tmp_path / "orders.csv").write_text("id;品名;価格\n1;りんご, 青;1.50\n2;みかん;\n3;もも;2.25\n")
    return tmp_path


def test_a_path_beside_the_shell_gives_tables_a_call_and_a_verdict(orders):
    done = subprocess.run([ELT, "guess", "orders.csv"], cwd=orders, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "3 fields in 100% of the rows" in done.stdout
    assert "validation: all of 3 rows fit" in done.stdout
    start = done.stdout.index("SyncTableOperator(")
    call = ast.parse(done.stdout[start : done.stdout.index("\n)\n", start) + 2]).body[0].value
    given = {each.arg: ast.literal_eval(each.value) for each in call.keywords}
    assert given == {
        "task_id": "orders", "source_conn_id": "files", "path": f"{orders}/orders.csv",
        "file_format": {"type": "csv", "delimiter": ";"}, "column_types": {"id": "bigint", "価格": "decimal(18,2)"},
        "destination_conn_id": "warehouse", "target_table": "raw.orders", "mode": "replace",
    }  # fmt: skip
    assert '# primary_key=["id"]' in done.stdout


def test_yaml_and_json(orders, elt):
    yaml = pytest.importorskip("yaml")
    done = elt("--yaml", "--no-validate", "--target-table", "mart.orders", f"{orders}/orders.csv")
    text = done.stdout[done.stdout.index("task_id:") :]
    given = yaml.safe_load(text)
    assert (given["target_table"], given["column_types"]) == ("mart.orders", {"id": "bigint", "価格": "decimal(18,2)"})
    assert "validation" not in done.stdout
    document = json.loads(elt("--json", f"{orders}/orders.csv").stdout)
    assert document["operator"] == {**given, "target_table": "raw.orders"}
    assert document["validation"]["rows"] == 3
    assert document["format"]["delimiter"] == {"value": ";", "confidence": 0.99, "why": "3 fields in 100% of the rows"}


def test_what_does_not_fit_is_data(tmp_path, elt):
    rows = [f"{n},{n}" for n in range(120_000)]
    rows[27_000] = "27000,x"
    (tmp_path / "a.csv").write_text("\n".join(["id,n", *rows]) + "\n")
    done = elt(f"{tmp_path}/a.csv")
    assert done.returncode == 3
    assert "1 of 120,000 rows do not fit, 99.9991% do" in done.stdout
    assert "line 27002, column 'n': 'x'" in done.stdout
    assert "Remedy:" in done.stderr
    assert elt("--no-validate", f"{tmp_path}/a.csv").returncode == 0
    document = json.loads(elt("--json", f"{tmp_path}/a.csv").stdout)
    (shown,) = document["validation"]["shown"]
    assert (shown["line"], shown["column"], shown["value"]) == (27002, "n", "x")


def test_other_headers_and_no_file(tmp_path, elt):
    (tmp_path / "a.csv").write_text("id,n\n1,2\n")
    (tmp_path / "b.csv").write_text("n,id\n1,2\n")
    assert elt(f"{tmp_path}/*.csv").returncode == 0
    (tmp_path / "c.csv").write_text("id,m\n1,2\n")
    done = elt(f"{tmp_path}/*.csv")
    assert done.returncode == 3
    assert "c.csv: lacks 'n' and has 'm'" in done.stdout
    assert "1 of 3 files" in done.stderr
    done = elt(f"{tmp_path}/none.csv")
    assert (done.returncode, "No file matches" in done.stderr) == (2, True)
    (tmp_path / "e.csv").write_text("")
    assert elt(f"{tmp_path}/e.csv").returncode == 3


def test_a_bucket(elt, monkeypatch):
    with S3Server() as s3:
        bucket = s3.create_bucket(f"elt-{uuid.uuid4().hex}")
        s3.client().put_object(Bucket=bucket, Key="d/a.csv", Body="番号,名\n1,田中\n".encode("cp932"))
        monkeypatch.setenv("AIRFLOW_CONN_LAKE", s3.airflow_connection())
        done = elt("--conn-id", "lake", f"s3://{bucket}/d/*.csv")
    assert done.returncode == 0, done.stderr
    assert 'source_conn_id="lake"' in done.stdout
    assert '"charset": "cp932"' in done.stdout


def test_a_file_of_bytes_is_told_without_a_traceback(tmp_path):
    """Arrow cannot hand over rows that are not UTF-8, and says so on standard error by itself."""
    (tmp_path / "a.csv").write_bytes(b"name,b\n" + "é,x\n".encode("cp1252") * 99 + b"\x81\xe9,2,3\n")
    done = subprocess.run([ELT, "guess", f"{tmp_path}/a.csv"], capture_output=True, text=True, check=False)
    assert (done.returncode, "Traceback" in done.stderr) == (3, False), done.stderr
    assert "1 of 100 rows do not fit" in done.stdout


def test_lines_of_json_that_were_cut_off_are_no_csv(tmp_path, elt):
    (tmp_path / "a.jsonl").write_text('{"a": 1}\n{"a": ')
    done = elt(f"{tmp_path}/a.jsonl")
    assert '"type": "csv"' not in done.stdout
    assert (done.returncode, "line 2" in done.stdout + done.stderr) == (3, True), done
