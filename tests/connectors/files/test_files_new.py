"""New and changed files alone: what a load reads, what it leaves, and what a clear repeats."""

from __future__ import annotations

import json
import logging
import os
import time
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest

from airflow_elt_provider.connectors.files import merged, newest
from airflow_elt_provider.core.capture import NewFiles
from airflow_elt_provider.core.checkpoint import Position
from airflow_elt_provider.core.load import RunIdentity
from airflow_elt_provider.core.request import extraction, merging
from airflow_elt_provider.engine.planning import Planning
from airflow_elt_provider.errors import ConfigurationError, DataError, SchemaDriftError

NEW = {"capture": "new_files", "primary_key": ["id"], "column_types": {"n": "int"}}
APPEND = {"capture": "new_files", "mode": "append", "column_types": {"n": "int"}}


def rows(**values):
    return "id,n\n" + "".join(f"{key},{value}\n" for key, value in values.items())


@pytest.fixture(params=["folder", "bucket"])
def store(request):
    """The same stories with a folder and with a bucket."""
    return request.getfixturevalue({"folder": "files", "bucket": "bucket"}[request.param])


def target(store, name="orders"):
    return sorted(store.lake(f"SELECT id, n FROM {name}"))


def older(files, name, year=2001):
    """Give a file a time long ago."""
    stamp = time.mktime((year, 1, 1, 0, 0, 0, 0, 1, -1))
    os.utime(Path(files.path) / name, (stamp, stamp))


# --- what is new ---


@pytest.mark.lowest
def test_only_files_that_are_new_or_changed_are_read(store):
    store.write("a.csv", rows(a=1, b=2))
    store.write("b.csv.gz", rows(c=3))
    first = store.sync(path=f"{store.path}/*", **NEW)
    assert (first.extracted, first.inserted, first.checkpoint) == (3, 3, "2 files")
    store.write("c.csv", rows(d=4))
    assert store.sync(path=f"{store.path}/*", **NEW).extracted == 1
    store.write("a.csv", rows(a=1, b=7))
    result = store.sync(path=f"{store.path}/*", **NEW)
    assert (result.extracted, result.updated, result.checkpoint) == (2, 1, "3 files")
    assert target(store) == [("a", 1), ("b", 7), ("c", 3), ("d", 4)]


def test_a_run_without_new_files_writes_nothing(store):
    store.write("a.csv", rows(a=1))
    store.sync(run_id="monday", **NEW)
    before = store.destination.checkpoint("files->orders")
    result = store.sync(run_id="tuesday", **NEW)
    assert (result.extracted, result.inserted, result.checkpoint) == (0, 0, "1 files")
    assert store.destination.checkpoint("files->orders") == before
    assert store.destination.receipt(result.load_id) is None
    store.remove("a.csv")
    assert store.sync(**NEW).extracted == 0
    assert target(store) == [("a", 1)], "a file that is gone takes no row along"


def test_before_the_first_file_there_is_nothing(files, caplog):
    caplog.set_level(logging.INFO)
    for parameters in (NEW, APPEND):
        result = files.sync(**parameters)
        assert (result.extracted, result.checkpoint) == (0, None)
    assert "no file matches path=" in caplog.text
    assert files.destination.checkpoint("files->orders") is None
    with pytest.raises(ConfigurationError, match="No file matches"):
        files.sync(full_refresh=True, **NEW)
    files.write("a.csv", rows(a=1))
    assert files.sync(**NEW).inserted == 1


def test_a_file_replaced_in_place_with_its_old_size_and_time_is_read(files):
    file = files.write("a.csv", rows(a=1))
    files.sync(**NEW)
    about = file.stat()
    file.write_text(rows(a=2))
    os.utime(file, ns=(about.st_atime_ns, about.st_mtime_ns))
    assert file.stat().st_mtime_ns == about.st_mtime_ns
    files.sync(**NEW)
    assert target(files) == [("a", 2)]


def test_a_file_that_comes_late_with_an_old_time_is_read(files):
    files.write("b.csv", rows(b=2))
    files.sync(**NEW)
    files.write("a.csv", rows(a=1))
    older(files, "a.csv")
    assert files.sync(**NEW).inserted == 1


def test_an_object_that_comes_back_as_it_was_is_not_read_twice(bucket):
    bucket.write("a.csv", rows(a=1))
    bucket.sync(**APPEND)
    bucket.remove("a.csv")
    bucket.write("b.csv", rows(b=2))
    bucket.sync(**APPEND)
    bucket.write("a.csv", rows(a=1))
    bucket.write("b.csv", rows(b=2))
    assert bucket.sync(**APPEND).extracted == 0
    assert target(bucket) == [("a", 1), ("b", 2)]


def test_versioned_buckets_go_by_the_same(bucket):
    name = bucket.path.split("/")[2]
    bucket.server.client().put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    bucket.write("a.csv", rows(a=1))
    bucket.sync(**NEW)
    bucket.write("a.csv", rows(a=1))
    assert bucket.sync(**NEW).extracted == 0, "the same bytes are the same rows"
    bucket.write("a.csv", rows(a=2))
    assert bucket.sync(**NEW).updated == 1
    bucket.remove("a.csv")
    assert bucket.sync(**NEW).extracted == 0


def test_objects_of_google_go_by_their_generation(google):
    google.write("a.csv", rows(a=1))
    google.write("deep/b.csv", rows(b=2))
    assert google.sync(path=f"{google.path}/*.csv", **NEW).extracted == 1
    assert google.sync(path=f"{google.path}/**/*.csv", **NEW).extracted == 1
    google.write("a.csv", rows(a=7))
    assert google.sync(path=f"{google.path}/**/*.csv", **NEW).updated == 1
    google.remove("a.csv")
    assert google.sync(path=f"{google.path}/**/*.csv", **NEW).extracted == 0
    store = google.source._settings.open_folder(google.path)
    (listed,) = store.find("deep/b", deep=True)
    google.write("deep/b.csv", rows(b=3))
    with pytest.raises(FileNotFoundError):
        store.fetch_version(listed, google.folder / "b")


def test_another_path_of_the_stream_forgets_nothing(files):
    files.write("5/a.csv", rows(a=1))
    files.write("6/b.csv", rows(b=2))
    for day in (5, 6, 5):
        files.sync(path=f"{files.path}/{day}/*.csv", **APPEND)
    files.sync(path=f"{files.path}/**/*.csv", **APPEND)
    assert target(files) == [("a", 1), ("b", 2)]


def test_what_is_being_written_is_left_alone(store, caplog):
    caplog.set_level(logging.INFO)
    store.write("_success_rates.csv", rows(a=1))
    for name in (".b.csv", "_temporary/0/c.csv", "c.csv.tmp", "d.csv.part", "e.csv.filepart", "f.csv~", "_SUCCESS",
                 "_committed_17", "g.csv.crdownload", "h.csv._COPYING_", "x_$folder$"):  # fmt: skip
        store.write(name, "half")
    store.write("empty.csv", "")
    assert store.sync(path=f"{store.path}/**", **NEW).extracted == 1
    assert "10 files left alone: being written, or markers, by their names" in caplog.text
    assert "1 files left alone: empty, without even a header" in caplog.text
    store.write("empty.csv", rows(z=26))
    assert store.sync(path=f"{store.path}/", **NEW).extracted == 1


def test_files_that_changed_just_now_wait(files):
    files.write("a.csv", rows(a=1))
    older(files, "a.csv")  # as a copy that keeps times looks while it is written
    waiting = NewFiles(settle=timedelta(hours=1))
    assert files.sync(**{**NEW, "capture": waiting}).extracted == 0
    assert files.sync(**{**NEW, "capture": {"new_files": {"settle": 0.001}}}).extracted == 1


def test_an_upload_in_parts_that_is_not_complete_is_not_there(bucket):
    client, name = bucket.server.client(), bucket.path.split("/")[2]
    key = bucket.path.split("/", 3)[3] + "/a.csv"
    upload = client.create_multipart_upload(Bucket=name, Key=key)
    asked = {"Bucket": name, "Key": key, "UploadId": upload["UploadId"]}
    part = client.upload_part(**asked, PartNumber=1, Body=rows(a=1).encode())
    assert bucket.sync(**NEW).extracted == 0
    client.complete_multipart_upload(**asked, MultipartUpload={"Parts": [{"ETag": part["ETag"], "PartNumber": 1}]})
    assert bucket.sync(**NEW).extracted == 1


# --- append ---


def test_append_refuses_a_file_that_was_loaded_and_replaced(store):
    store.write("a.csv", rows(a=1))
    store.sync(**APPEND)
    store.write("a.csv", rows(a=1, b=2))
    with pytest.raises(DataError, match=r"a\.csv was loaded and replaced since; nothing was read") as caught:
        store.sync(**APPEND)
    assert "replaced='load'" in caught.value.hint
    assert store.sync(**{**APPEND, "capture": NewFiles(replaced="load")}).extracted == 2
    assert target(store) == [("a", 1), ("a", 1), ("b", 2)]
    store.sync(target="other", **NEW)
    store.write("a.csv", rows(a=8))
    with pytest.raises(DataError, match="loaded and replaced"):
        store.sync(**{**NEW, "target": "other", "capture": NewFiles(replaced="fail")})


def test_a_cleared_last_run_reads_its_files_as_they_are_now(store):
    store.write("a.csv", rows(a=1))
    store.sync(run_id="monday", **APPEND)
    store.write("b.csv", rows(b=2))
    store.sync(run_id="tuesday", **APPEND)
    store.write("b.csv", rows(b=22))
    store.write("c.csv", rows(c=3))
    assert store.sync(run_id="tuesday", generation=1, **APPEND).extracted == 2
    assert target(store) == [("a", 1), ("b", 22), ("c", 3)]
    assert store.sync(**APPEND).extracted == 0
    store.remove("b.csv")
    with pytest.raises(DataError, match=r"this run was cleared, .*b\.csv is gone or replaced; nothing was changed"):
        store.sync(run_id="tuesday", generation=2, **APPEND)


@pytest.mark.lowest
def test_a_cleared_first_run_reads_everything_again(files):
    files.write("a.csv", rows(a=1))
    files.sync(run_id="monday", **APPEND)
    files.write("b.csv", rows(b=2))
    files.sync(run_id="monday", generation=1, **APPEND)
    assert target(files) == [("a", 1), ("b", 2)]
    assert files.sync(**APPEND).extracted == 0


def test_a_cleared_run_that_others_overtook_repeats_its_own_files(store, monkeypatch):
    monkeypatch.setattr("airflow_elt_provider.engine.state_files.KEPT", timedelta(0))  # old states go at once
    for day, name in enumerate(["a", "b", "c"]):
        store.write(f"{name}.csv", rows(**{name: day}))
        store.sync(run_id=name, **APPEND)
    store.sync(**APPEND)
    store.write("d.csv", rows(d=4))
    for run in ("b", "a"):
        assert store.sync(run_id=run, generation=1, **APPEND).extracted == 1
    assert target(store) == [("a", 0), ("b", 1), ("c", 2)]
    assert store.sync(**APPEND).extracted == 1
    store.write("b.csv", rows(b=7))
    with pytest.raises(DataError, match=r"b\.csv is gone or replaced"):
        store.sync(run_id="b", generation=2, **APPEND)
    assert target(store) == [("a", 0), ("b", 1), ("c", 2), ("d", 4)]


def test_a_file_that_a_later_run_loaded_anew_keeps_an_earlier_run_from_being_repeated(files):
    again = {**APPEND, "capture": NewFiles(replaced="load")}
    files.write("a.csv", rows(a=1))
    files.sync(run_id="monday", **again)
    files.write("a.csv", rows(a=2))
    files.sync(run_id="tuesday", **again)
    with pytest.raises(DataError, match="is gone or replaced"):
        files.sync(run_id="monday", generation=1, **again)
    assert target(files) == [("a", 1), ("a", 2)]


def test_a_full_refresh_reads_everything_and_earlier_runs_have_nothing_to_repeat(files):
    for name in ("a", "b"):
        files.write(f"{name}.csv", rows(**{name: 1}))
        files.sync(run_id=name, **APPEND)
    files.write("b.csv", rows(b=2))
    files.remove("a.csv")
    assert files.sync(full_refresh=True, **APPEND).extracted == 1
    assert target(files) == [("b", 2)]
    assert files.sync(run_id="a", generation=1, **APPEND).extracted == 0
    assert target(files) == [("b", 2)]


# --- the state ---


def state_files(store):
    return sorted((store.folder / "stage" / "_state").rglob("*.state"), key=lambda path: path.stat().st_mtime_ns)


@pytest.mark.parametrize("damage", ["gone", "cut"])
def test_without_its_state_file_merge_reads_all_and_append_refuses(files, caplog, damage):
    caplog.set_level(logging.INFO)
    for name, parameters in (("merged", NEW), ("appended", APPEND)):
        files.write("a.csv", rows(a=1))
        files.sync(target=name, **parameters)
    for state in state_files(files):
        state.unlink() if damage == "gone" else state.write_bytes(state.read_bytes()[:-3])
    files.write("b.csv", rows(b=2))
    assert files.sync(target="merged", **NEW).extracted == 2
    assert "nobody knows any more which files were merged: reading all" in caplog.text
    assert files.sync(target="merged", **NEW).extracted == 0
    with pytest.raises(DataError, match=r"the list of the files that were merged .* is gone or damaged") as caught:
        files.sync(target="appended", **APPEND)
    assert "full_refresh=True" in caught.value.hint
    files.sync(target="appended", full_refresh=True, **APPEND)
    assert target(files, "appended") == target(files, "merged") == [("a", 1), ("b", 2)]
    assert files.sync(target="appended", **APPEND).extracted == 0


def test_files_that_are_gone_are_forgotten_only_when_there_are_too_many(bucket, monkeypatch):
    monkeypatch.setattr(merged, "KEPT", 3)
    for name in "abcde":
        bucket.write(f"{name}.csv", rows(**{name: 1}))
        bucket.sync(**APPEND)
        if name < "c":
            bucket.remove(f"{name}.csv")
    assert bucket.sync(**APPEND).checkpoint == "3 files"
    bucket.write("b.csv", rows(b=1))
    assert bucket.sync(**APPEND).extracted == 1, "forgotten, as the documentation says"
    assert bucket.sync(**APPEND).checkpoint == "4 files", "those that are there are never forgotten"


def test_a_checkpoint_from_before_new_files_reads():
    old = {"capture": "fingerprint", "source": "s", "key": ["id"], "columns": ["id"], "columns_seen": 0, "cursor": None,
           "appends": False, "shape": [], "log": None, "meanings": {}, "masks": {},
           "snapshot": {"epoch": "e", "xmin": 7, "by": "xmin", "buckets": None, "state": None, "rows": 3}}  # fmt: skip
    position = Position.from_json(old)
    assert (str(position), position.snapshot.loads) == ("xmin 7", 0)
    assert Position.from_json(json.loads(json.dumps(position.to_json()))) == position


def test_another_capture_is_refused_by_name(files):
    files.write("a.csv", rows(a=1))
    files.sync(primary_key=["id"])
    with pytest.raises(ConfigurationError, match="capture 'full', now it is 'new_files'"):
        files.sync(**NEW)


REFUSED = [
    ({"deletes": "hard"}, "does not see deletes"), ({"deletes": "soft"}, "does not see deletes"),
    ({"mode": "replace"}, "would throw away every row"), ({"where": "n > 1"}, "where is SQL"),
    ({"parallelism": 2}, "one after the other"), ({"interval": ("1", "2")}, "interval needs a cursor"),
]  # fmt: skip


@pytest.mark.parametrize(("parameters", "words"), REFUSED)
def test_what_does_not_go_with_new_files_is_refused(parameters, words):
    with pytest.raises(ConfigurationError, match=words):
        extraction(stream="s", path="/in/*.csv", **{**NEW, **parameters})


# --- columns ---


@pytest.mark.lowest
def test_files_whose_columns_differ(files, caplog):
    caplog.set_level(logging.INFO)
    files.write("a.csv", "id,n\na,1\n")
    files.write("b.csv", "id,name,n\nb,猫,2\n")
    files.write("c.csv", "name,id\n犬,c\n")
    files.sync(**NEW)
    assert sorted(files.lake("SELECT id, n, name FROM orders")) == [("a", 1, None), ("b", 2, "猫"), ("c", None, "犬")]
    assert "c.csv lacks 'n': NULL in its rows" in caplog.text
    files.write("d.csv", "id,price\nd,7\n")
    changes = files.sync(**NEW).schema_changes
    assert ("price", "added") in {(change["column"], change["class"]) for change in changes}
    assert files.lake("SELECT n, name, price FROM orders WHERE id = 'd'") == [(None, None, "7")]
    files.write("e.csv", "id,extra\ne,1\n")
    with pytest.raises(SchemaDriftError):
        files.sync(on_schema_drift="fail", **NEW)


def test_a_file_without_the_key_is_refused(files):
    files.write("a.csv", rows(a=1))
    files.write("b.csv", "name,n\nx,1\n")
    with pytest.raises(SchemaDriftError, match=r"b\.csv lacks 'id' of primary_key; nothing was read"):
        files.sync(**NEW)


def test_columns_that_only_earlier_files_had_may_still_be_named(files):
    named = {**NEW, "columns": ["id", "n", "name"], "rename": {"name": "title"}}
    files.write("a.csv", "id,n,name\na,1,猫\n")
    files.sync(**named)
    files.write("b.csv", rows(b=2))
    files.sync(**named)
    assert files.lake("SELECT title FROM orders ORDER BY id") == [("猫",), (None,)]
    files.write("c.csv", rows(c=2))
    with pytest.raises(ConfigurationError, match="'nmae'"):
        files.sync(**{**named, "columns": ["id", "nmae"]})


# --- which row of a key wins ---


def test_the_newest_file_wins(files):
    files.write("b.csv", rows(x=1, y=1, z=1))
    files.write("a.csv", rows(x=2, y=2))
    files.write("c.csv", rows(x=3))
    for year, name in enumerate(["c.csv", "b.csv", "a.csv"]):
        older(files, name, 2001 + year)
    assert files.sync(**NEW).extracted == 3
    assert target(files) == [("x", 2), ("y", 2), ("z", 1)]


def test_of_files_of_one_time_the_last_name_wins(files):
    for number, name in enumerate(["a.csv", "c.csv", "b.csv"]):
        files.write(name, rows(x=number))
        older(files, name)
    files.sync(**NEW)
    assert target(files) == [("x", 1)]


@pytest.mark.parametrize(
    ("kind", "old", "new"), [("uuid", str(UUID(int=10)), str(UUID(int=10)).upper()), ("double", "0.0", "-0.0")]
)
def test_a_key_is_one_key_however_it_is_spelled(files, kind, old, new):
    files.write("a.csv", f"id,n\n{old},1\n")
    files.write("b.csv", f"id,n\n{new},2\n")
    older(files, "a.csv")
    assert files.sync(**{**NEW, "column_types": {"id": kind, "n": "int"}}).extracted == 1
    assert [n for _, n in target(files)] == [2]


def test_a_key_twice_in_one_file_is_refused_as_ever(files):
    files.write("a.csv", rows(x=1))
    files.write("b.csv", "id,n\nx,1\nx,2\n")
    with pytest.raises(DataError, match="x"):
        files.sync(**NEW)


@pytest.mark.lowest
@pytest.mark.parametrize(("mode", "size"), [("merge", 50), ("merge", 160), ("history", 160), ("merge", 500_000)])
def test_keys_that_do_not_fit_into_memory_go_to_the_disk(files, monkeypatch, mode, size):
    monkeypatch.setattr(newest, "IN_MEMORY", size)
    for number in range(6):
        values = {f"k{key}": number for key in range(number * 7, 150)}
        files.write(f"{number}.csv", rows(**values))
        older(files, f"{number}.csv", 2001 + number)
    files.sync(**{**NEW, "mode": mode})
    assert target(files) == sorted((f"k{key}", min(key // 7, 5)) for key in range(150))


def test_append_takes_all_rows(files):
    files.write("a.csv", rows(x=1))
    files.write("b.csv", rows(x=2))
    files.sync(**APPEND)
    assert target(files) == [("x", 1), ("x", 2)]


# --- plans ---


def test_a_plan_says_what_is_new(files):
    files.write("a.csv", rows(a=1))
    files.sync(**NEW)
    files.write("b.csv", rows(b=1))
    what = extraction(stream="files->orders", path=f"{files.path}/*.csv", **NEW)
    into = merging(target_table="orders")
    planning = Planning(what, into, RunIdentity("d", "r", "t"), files.source, files.stage, files.destination)
    plan = planning.execute()
    assert any("1 files of" in note and note.endswith(": b.csv") for note in plan.notes)
    assert plan.predicate == ""
    assert files.sync(**NEW).extracted == 1
    assert planning.execute().predicate == "none"
