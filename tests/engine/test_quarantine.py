"""Rows that cannot be read are set aside with their reason, and never count as deleted."""

from __future__ import annotations

import gzip
import hashlib
import hmac
import json
import logging
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_elt_provider.connectors.duckdb.destination import DuckdbDestination
from airflow_elt_provider.connectors.duckdb.settings import DuckdbSettings
from airflow_elt_provider.connectors.files.settings import FilesSettings
from airflow_elt_provider.connectors.files.source import FilesSource
from airflow_elt_provider.core.load import RunIdentity
from airflow_elt_provider.core.manifest import Manifest, ManifestRef
from airflow_elt_provider.core.quarantine import Quarantine, RefusedRow
from airflow_elt_provider.core.request import extraction, merging
from airflow_elt_provider.core.secret import Secret
from airflow_elt_provider.engine.extract import Extract
from airflow_elt_provider.engine.start import StreamState
from airflow_elt_provider.engine.sync import Sync
from airflow_elt_provider.errors import DataError, QuarantineExceededError
from airflow_elt_provider.stages.local import LocalStage
from tests.contract.world import World

pytestmark = pytest.mark.lowest

TYPED = {"primary_key": ["id"], "column_types": {"id": "int", "amount": "decimal(6,2)"}}
KEY = Secret("correct horse battery staple")


class Folder:
    """CSV files, read into a DuckDB."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.stage = folder, LocalStage(folder / "stage")
        self.runs = 0
        (folder / "csv").mkdir()

    def write(self, data: str | bytes, name: str = "orders.csv") -> None:
        data = data.encode() if isinstance(data, str) else data
        path = self.folder / "csv" / name
        path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)

    def sync(self, limit: int = 0, keys: Any = None, **parameters: Any) -> Any:
        self.runs += 1
        what = extraction(stream="files", path=f"{self.folder}/csv/*", max_quarantined_rows=limit,
                          **{**TYPED, **parameters})  # fmt: skip
        into = merging(target_table="orders", max_quarantined_rows=limit)
        lake = DuckdbDestination(DuckdbSettings(str(self.folder / "lake.duckdb")))
        source = FilesSource(FilesSettings("share", "file", LocalStage))
        return Sync(what, into, RunIdentity("d", str(self.runs), "t"), source, self.stage, lake, keys or {}).execute()

    def rows(self) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(self.folder / "lake.duckdb")) as lake:
            return lake.execute("SELECT id, name, amount::text FROM orders ORDER BY id").fetchall()


@pytest.fixture
def files(tmp_path):
    return Folder(tmp_path)


def set_aside(stage: Any) -> list[dict[str, Any]]:
    """Return the rows of the newest quarantine file."""
    newest = max((file for file in stage.list() if "/quarantine-" in file.uri), key=lambda file: file.modified)
    rows = pq.read_table(pa.BufferReader(stage.read(newest.uri))).to_pylist()
    return [{**row, "row": row["row"] and json.loads(row["row"])} for row in rows]


BAD = (
    'id,name,amount\n1,a,1.00\n2,b,much\n\n3,"two\nlines",3\n4\n5,e,5.005\n6,"f, or ""F""",six\n7,g,7,7\n,h,8\n'
    "x,i,9\n10,j,10\n"
)


# --- files ---


def test_bad_rows_of_a_file_are_set_aside_with_line_reason_and_values(files):
    files.write(BAD)
    result = files.sync(limit=7)
    assert (result.quarantined, result.inserted) == (7, 3)
    assert files.rows() == [(1, "a", "1.00"), (3, "two\nlines", "3.00"), (10, "j", "10.00")]
    uri = f"{files.folder}/csv/orders.csv"
    found = [
        (row["place"].replace("file://", ""), row["column"], row["reason"], row["row"])
        for row in set_aside(files.stage)
    ]
    assert found == [
        (f"{uri}, line 3", "amount", "is no decimal128(6, 2)", {"id": "2", "name": "b", "amount": "much"}),
        (f"{uri}, line 7", "", "1 fields instead of 3", "4"),
        (f"{uri}, line 8", "amount", "is no decimal128(6, 2)", {"id": "5", "name": "e", "amount": "5.005"}),
        (f"{uri}, line 9", "amount", "is no decimal128(6, 2)", {"id": "6", "name": 'f, or "F"', "amount": "six"}),
        (f"{uri}, line 10", "", "4 fields instead of 3", "7,g,7,7"),
        (f"{uri}, line 11", "id", "of the key is NULL", {"id": None, "name": "h", "amount": "8"}),
        (f"{uri}, line 12", "id", "is no int32", {"id": "x", "name": "i", "amount": "9"}),
    ]


def test_without_leave_the_first_bad_row_fails_the_load_as_ever(files):
    files.write(BAD)
    with pytest.raises(DataError, match=r"line \d+") as refused:
        files.sync()
    assert not isinstance(refused.value, QuarantineExceededError)
    assert not [file for file in files.stage.list() if "quarantine" in file.uri]


def test_too_many_fail_the_load_and_the_message_says_why_and_where(files):
    files.write(BAD)
    with pytest.raises(QuarantineExceededError) as refused:
        files.sync(limit=6)
    text = str(refused.value)
    assert "more than max_quarantined_rows=6" in text
    assert "line 3: column 'amount' is no decimal128(6, 2)" in text
    uri = text.rsplit("see ", maxsplit=1)[-1].rstrip(".")
    assert len(pq.read_table(pa.BufferReader(files.stage.read(uri)))) == 7
    assert not (files.folder / "lake.duckdb").exists() or "orders" not in repr(duckdb.connect(
        str(files.folder / "lake.duckdb")).execute("SHOW TABLES").fetchall())  # fmt: skip


def test_repaired_at_the_source_they_arrive_with_the_next_run(files):
    files.write(BAD)
    files.sync(limit=7)
    repaired = (
        BAD.replace("much", "2").replace("4\n5", "4,d,4\n5").replace("5.005", "5").replace("six", "6")
        .replace("7,g,7,7", "7,g,7").replace(",h,8", "8,h,8").replace("x,i", "9,i")
    )  # fmt: skip
    files.write(repaired)
    result = files.sync()
    assert (result.quarantined, result.inserted) == (0, 7)
    assert [row[0] for row in files.rows()] == list(range(1, 11))


@pytest.mark.parametrize("name", ["orders.csv", "orders.csv.gz"])
def test_many_blocks_and_bad_rows_everywhere(files, name):
    lines = ["id,name,amount"]
    for number in range(1, 200_001):
        bad = number % 1000
        lines.append(str(number) if bad == 1 else f"{number},{'x' * 30},{'bad' if bad == 2 else '1.5'}")
    files.write("\n".join(lines), name)
    result = files.sync(limit=400)
    assert (result.quarantined, result.inserted) == (400, 199_600)
    for row in set_aside(files.stage):
        number = int(row["row"]["id"] if isinstance(row["row"], dict) else row["row"])
        assert row["place"].endswith(f"line {number + 1}")


def test_text_that_is_not_utf_8(files):
    files.write(b"id,name,amount\n1,caf\xe9,1\n2,b,2\n")
    assert files.sync(limit=1).quarantined == 1
    (row,) = set_aside(files.stage)
    assert (row["column"], row["reason"], row["row"]["name"]) == ("name", "is not UTF-8", "caf\\xe9")


def test_a_file_that_is_no_csv_fails_whatever_may_be_set_aside(files):
    files.write('id,name,amount\n1,"never closed,1\n')
    with pytest.raises(DataError, match="quotes"):
        files.sync(limit=1000)


# --- rows that are there, but not staged, are not deleted ---

GOOD = "id,name,amount\n" + "".join(f"{at},n{at},{at}\n" for at in range(1, 6))


def test_a_row_set_aside_keeps_its_row_in_the_target(files):
    files.write(GOOD)
    files.sync(deletes="hard")
    files.write(GOOD.replace("2,n2,2", "2,n2,two").replace("4,n4,4\n", "").replace("5,n5,5", "5,new,5"))
    result = files.sync(limit=1, deletes="hard")
    assert (result.quarantined, result.updated, result.deleted) == (1, 1, 1)
    assert files.rows() == [(1, "n1", "1.00"), (2, "n2", "2.00"), (3, "n3", "3.00"), (5, "new", "5.00")]


def test_a_row_without_a_key_keeps_no_row(files):
    files.write(GOOD)
    files.sync(deletes="hard")
    files.write(GOOD.replace("2,n2,2", "?,n2,2"))
    assert files.sync(limit=1, deletes="hard").deleted == 1


def test_a_row_that_could_be_any_keeps_all(files, caplog):
    files.write(GOOD)
    files.sync(deletes="hard")
    files.write(GOOD.replace("2,n2,2", "2").replace("4,n4,4\n", "").replace("5,n5,5", "5,new,five"))
    result = files.sync(limit=2, deletes="hard")
    assert (result.quarantined, result.deleted) == (2, 0)
    assert len(files.rows()) == 5
    assert "nothing is deleted this time" in caplog.text


def test_all_rows_set_aside_delete_nothing(files):
    files.write(GOOD)
    files.sync(deletes="hard")
    files.write("id,name,amount\n" + "".join(f"{at},n{at},bad\n" for at in range(1, 6)))
    assert files.sync(limit=5, deletes="hard").deleted == 0
    assert len(files.rows()) == 5


# --- privacy ---


def test_masked_columns_are_masked_in_the_file_too(files, caplog):
    caplog.set_level(logging.DEBUG)
    files.write("id,name,amount\n1,secret,bad\n2,secret\n3,ok,3\n4,secr\xe9t,4\n".encode("latin-1"))
    result = files.sync(limit=3, hash_columns={"name": "privacy"}, keys={"privacy": KEY})
    assert result.quarantined == 3
    hashed = hmac.new(KEY.reveal().encode(), b"secret", hashlib.sha256).hexdigest()
    rows = set_aside(files.stage)
    assert rows[0]["row"] == {"id": "1", "name": hashed, "amount": "bad"}
    assert rows[1]["row"] is None
    assert "secr" not in repr(rows) + caplog.text
    with pytest.raises(DataError) as refused:
        files.sync(hash_columns={"name": "privacy"}, keys={"privacy": KEY}, full_refresh=True)
    assert "secr" not in str(refused.value)


# --- PostgreSQL ---

SALES = """
CREATE TABLE sale (id int PRIMARY KEY, amount numeric, note text, updated_at timestamptz DEFAULT now());
INSERT INTO sale SELECT g, g, 'n' || g, now() - interval '1 day' + g * interval '1 minute'
FROM generate_series(1, 6) g;
UPDATE sale SET amount = 3.14159 WHERE id = 3;
UPDATE sale SET amount = 1e30 WHERE id = 5
"""
CURSOR = {"capture": "cursor", "cursor_column": "updated_at"}
EXACT = {"column_types": {"amount": "decimal(8,2)"}}


@pytest.fixture
def sales(world: World) -> World:
    world.run_at_source(SALES)
    world.table = "sale"
    return world


@pytest.mark.parametrize("world", ["duckdb", "postgres"], indirect=True)
def test_values_that_do_not_fit_the_type_a_user_chose(sales):
    with pytest.raises(DataError, match="cannot hold exactly"):
        sales.sync(**EXACT, **CURSOR)
    result = sales.sync(max_quarantined_rows=2, **EXACT, **CURSOR)
    assert (result.quarantined, result.inserted) == (2, 4)
    rows = set_aside(sales.stage())
    assert [(row["column"], row["place"], row["row"]["id"], row["row"]["amount"]) for row in rows] == [
        ("amount", "sale", "3", "3.14159"), ("amount", "sale", "5", "1" + "0" * 30),
    ]  # fmt: skip
    assert rows[0]["reason"] == "does not fit decimal128(8, 2) exactly"


def test_a_row_repaired_at_the_source_is_a_change(sales):
    """The cursor has passed it, and passes it again once it is repaired."""
    sales.sync(max_quarantined_rows=2, **EXACT, **CURSOR)
    sales.run_at_source("UPDATE sale SET amount = 3.14, updated_at = now() WHERE id = 3")
    result = sales.sync(max_quarantined_rows=1, **EXACT, **CURSOR)  # the other may lie within the cursor's lag
    assert result.inserted == 1
    assert ("3", "3.14") in sales.target_rows("id, amount")


def test_a_wider_type_and_the_interval_replay_what_was_set_aside(sales):
    """Nobody touches the source: the setting was wrong. The rows' own interval is read again."""
    sales.sync(max_quarantined_rows=2, **EXACT, **CURSOR)
    result = sales.sync(interval=("2000-01-01", "2100-01-01"), column_types={"amount": "decimal(38,5)"}, **CURSOR)
    assert result.inserted == 2
    assert len(sales.target_rows("id")) == 6


@pytest.mark.parametrize("world", ["duckdb", "postgres"], indirect=True)
def test_a_row_set_aside_by_a_full_load_is_not_deleted(sales):
    mirror = {"deletes": "hard", **EXACT}
    sales.run_at_source("UPDATE sale SET amount = id")
    sales.sync(**mirror)
    sales.run_at_source("UPDATE sale SET amount = 0.001 WHERE id = 2; DELETE FROM sale WHERE id = 4")
    result = sales.sync(max_quarantined_rows=1, **mirror)
    assert (result.quarantined, result.deleted) == (1, 1)
    assert [row[0] for row in sales.target_rows("id, amount")] == ["1", "2", "3", "5", "6"]


def test_a_hashed_key_set_aside_is_not_deleted_either(sales):
    mirror = {"deletes": "hard", "hash_columns": {"id": "privacy"}, "keys": {"privacy": KEY}, **EXACT}
    sales.run_at_source("UPDATE sale SET amount = id")
    sales.sync(**mirror)
    sales.run_at_source("UPDATE sale SET amount = 0.001 WHERE id = 2; DELETE FROM sale WHERE id = 4")
    assert sales.sync(max_quarantined_rows=1, **mirror).deleted == 1
    assert len(sales.target_rows("id")) == 5


def test_a_row_set_aside_by_a_fingerprint_is_not_deleted_and_comes_when_it_is_repaired(sales):
    mirror = {"capture": "fingerprint", "deletes": "hard", **EXACT}
    sales.run_at_source("UPDATE sale SET amount = id")
    sales.sync(**mirror)
    sales.run_at_source("UPDATE sale SET amount = 0.001 WHERE id = 2; DELETE FROM sale WHERE id = 4")
    result = sales.sync(max_quarantined_rows=1, **mirror)
    assert (result.quarantined, result.deleted) == (1, 1)
    assert [row[0] for row in sales.target_rows("id, amount")] == ["1", "2", "3", "5", "6"]
    assert sales.sync(**mirror).extracted == 0
    sales.run_at_source("UPDATE sale SET amount = 2.22 WHERE id = 2")
    assert sales.sync(**mirror).updated == 1
    assert ("2", "2.22") in sales.target_rows("id, amount")


@pytest.mark.parametrize("world", ["duckdb", "postgres"], indirect=True)
def test_null_in_a_key_that_nobody_guards(sales):
    query = {"query": "SELECT nullif(id, 3) AS id, nullif(id, 4) AS other, amount FROM sale",
             "primary_key": ["id", "other"], "rename": {"other": "second"}}  # fmt: skip
    with pytest.raises(DataError, match="NULL in the key"):
        sales.sync(**query)
    result = sales.sync(max_quarantined_rows=2, **query)
    assert (result.quarantined, result.inserted) == (2, 4)
    found = {row["column"]: (row["reason"], row["row"]["other"]) for row in set_aside(sales.stage())}
    assert found == {"id": ("of the key is NULL", "3"), "other": ("of the key is NULL", None)}  # fmt: skip


def test_readers_at_once_share_the_limit(sales):
    sales.run_at_source(
        "INSERT INTO sale SELECT g, CASE WHEN g % 1000 = 0 THEN 0.001 ELSE 1 END, 'n' "
        "FROM generate_series(10, 40000) g; ANALYZE sale"
    )
    assert sales.sync(max_quarantined_rows=42, parallelism=3, **EXACT).quarantined == 42
    assert len(set_aside(sales.stage())) == 42
    with pytest.raises(QuarantineExceededError):
        sales.sync(max_quarantined_rows=41, parallelism=3, full_refresh=True, **EXACT)


# --- the load ---


def test_a_retry_uses_the_file_and_one_without_it_is_made_anew(sales):
    job = sales.job(run_id="same", max_quarantined_rows=2, **EXACT)

    def ref():
        return Extract(job.extraction, job.run, sales.source(), job.stage, StreamState()).execute()

    first = ref()
    assert ref().uri == first.uri
    manifest = Manifest.from_bytes(job.stage.read(first.uri), ManifestRef(first.uri))
    assert (manifest.quarantined, manifest.rows) == (2, 4)
    job.stage.delete([file.uri for file in manifest.quarantine])
    assert ref().uri != first.uri


def test_the_limit_counts_from_several_threads_and_the_first_reasons_are_told():
    quarantine = Quarantine("orders", 4)
    quarantine.refuse([RefusedRow(f"is bad {at}", "c", f"f, line {at}", {"c": "x"}) for at in range(4)])
    with pytest.raises(QuarantineExceededError, match=r"f, line 0: column 'c' is bad 0; .*; f, line 2") as refused:
        quarantine.refuse([RefusedRow("one more", text="x")])
    assert "bad 3" not in str(refused.value)
    assert len(quarantine.take()) == 5
    assert quarantine.take() == []
