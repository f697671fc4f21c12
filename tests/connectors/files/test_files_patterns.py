"""Which names a path means, what is asked of a store for them, and names of every kind."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from airflow_elt_provider.connectors.files.pattern import FilePattern
from airflow_elt_provider.errors import TransientError

MATCHES = [
    ("*.csv", "a.csv", True), ("*.csv", ".a.csv", False), ("*.csv", "x/a.csv", False), (".*.csv", ".a.csv", True),
    ("a?.csv", "ab.csv", True), ("a?.csv", "a/.csv", False), ("[ab].csv", "b.csv", True), ("[!ab].csv", "b.csv", False),
    ("[!ab].csv", "c.csv", True), ("[!ab].csv", "/.csv", False), ("x[+-9]y", "x/y", False), ("[]].csv", "].csv", True),
    ("[.csv", "[.csv", True), ("[[]1].csv", "[1].csv", True), ("{a,b}.csv", "b.csv", True),
    ("{a,b}.csv", "c.csv", False), ("{a}.csv", "{a}.csv", True), ("*.{csv,csv.gz}", "x.csv.gz", True),
    ("{2025,2026/01}/*.csv", "2026/01/a.csv", True), ("{,x}a.csv", "a.csv", True), ("**/*.csv", "a.csv", True),
    ("**/*.csv", "1/2/3/a.csv", True), ("**/*.csv", "1/.2/a.csv", False), ("x/**/y/*.csv", "x/y/a.csv", True),
    ("x/**/y/*.csv", "x/1/2/y/a.csv", True), ("x/**/y/*.csv", "x/1/y/2/a.csv", False), ("x/**", "x/1/2", True),
    ("x/", "x/1/2", True), ("x/", "x/.1", False), ("x/", "y", False),
    ("*/*.csv", "//a.csv", False),
    ("a\n*.csv", "a\nb.csv", True), ("*", "注文 %2F#?&.csv", True), ("a.csv", "axcsv", False),
]  # fmt: skip


@pytest.mark.lowest
@pytest.mark.parametrize(("pattern", "name", "fits"), MATCHES)
def test_patterns_mean_what_they_mean_in_a_shell(pattern, name, fits):
    known = FilePattern.parse(f"s3://b/in/{pattern}")
    folder = "/".join(known.folder) + "/"
    assert (f"in/{name}".startswith(folder) and known.matches(f"in/{name}".removeprefix(folder))) is fits


NARROW = [
    ("s3://b/in/orders-2026-*.csv", "s3://b/in", "orders-2026-", False), ("s3://b/*.csv", "s3://b/", "", False),
    ("s3://b/in/*/x.csv", "s3://b/in", "", True), ("s3://b/in/a*/x.csv", "s3://b/in", "a", True),
    ("s3://b/in/a/x.csv", "s3://b/in/a", "x.csv", False), ("s3://b/in/", "s3://b/in", "", True),
    ("s3://b/in/2026-{01,02}/*.csv", "s3://b/in", "2026-0", True), ("s3://b/", "s3://b/", "", True),
    ("s3://b/in//x.csv", "s3://b/in", "/x.csv", True), ("/in/**/x.csv", "/in", "", True),
]  # fmt: skip


@pytest.mark.parametrize(("path", "root", "prefix", "deep"), NARROW)
def test_the_store_is_asked_for_as_little_as_possible(path, root, prefix, deep):
    pattern = FilePattern.parse(path)
    assert (pattern.root, pattern.prefix, pattern.deep) == (root, prefix, deep)


ROW = "id,n\nx,1\n"
READ = {"column_types": {"n": "int"}, "mode": "append"}


def test_a_bucket_is_listed_by_prefix_and_not_below_it(bucket):
    for name in ("orders-1.csv", "others.csv", "orders-archive/x.csv"):
        bucket.write(name, ROW)
    begin = len(bucket.server.asked)
    assert bucket.sync(path=f"{bucket.path}/orders-*.csv", **READ).extracted == 1
    asked = [asked.query for asked in bucket.server.asked[begin:] if "list-type" in asked.query]
    assert [(query["prefix"], query["delimiter"]) for query in asked] == [("original data/注文/orders-", "/")]


ODD = ["注文 1.csv", "a%20b.csv", "a+b&c=d#e?.csv", "quote'\"\\.csv", "line\nbreak.csv", "tab\t.csv", "[1].csv",
       "ü.csv", "trailing .csv", "😀.csv", "{x,y}.csv", "s p/a ce/x.csv"]  # fmt: skip


@pytest.mark.lowest
@pytest.mark.parametrize("kind", ["files", "bucket"])
def test_names_of_every_kind(kind, request):
    store = request.getfixturevalue(kind)
    names = [name for name in ODD if kind == "files" or "\n" not in name]  # moto finds no place for it
    for name in names:
        store.write(name, ROW)
    assert store.sync(path=f"{store.path}/**/*.csv", capture="new_files", **READ).extracted == len(names)
    assert store.sync(path=f"{store.path}/**/*.csv", capture="new_files", **READ).extracted == 0
    assert store.sync(path=f"{store.path}/[[]1].csv", target="one", **READ).extracted == 1
    assert store.sync(path=f"{store.path}/{{注文 1,ü}}.csv", target="two", **READ).extracted == 2


def test_names_that_only_a_folder_or_only_a_bucket_has(files, bucket):
    files.write("x.csv", ROW)
    (Path(files.path) / "x.csv").rename(Path(files.path) / os.fsdecode(b"caf\xe9.csv"))
    assert files.sync(capture="new_files", **READ).extracted == 1
    for name in ("/empty.csv", "./dot.csv", "../up.csv", "a//b.csv", "n" * 700 + ".csv"):
        bucket.write(name, ROW)
    begin = len(bucket.server.asked)
    assert bucket.sync(path=f"{bucket.path}/", capture="new_files", target="all", **READ).extracted == 3
    assert bucket.sync(path=f"{bucket.path}/a//*.csv", target="one", **READ).extracted == 1
    assert bucket.sync(path=f"{bucket.path}/../*.csv", target="up", **READ).extracted == 1
    assert {asked.operation for asked in bucket.server.asked[begin:]} == {"GET"}


def test_thousands_of_objects_are_listed_page_by_page(bucket):
    for number in range(7):
        bucket.write(f"{number}.csv", ROW)
    settings = bucket.source._settings
    store = settings.open_folder(bucket.path)
    small = {"before-parameter-build.s3.ListObjectsV2": lambda params, **_: params.update(MaxKeys=2)}
    for event, change in small.items():
        store._client.meta.events.register(event, change)
    object.__setattr__(settings, "open_folder", lambda uri: store)
    begin = len(bucket.server.asked)
    assert bucket.sync(capture="new_files", **READ).extracted == 7
    assert sum("list-type" in asked.query for asked in bucket.server.asked[begin:]) == 4


def test_a_body_that_breaks_off_is_asked_for_again_and_ranges_are_put_together(bucket):
    text = "id,n\n" + "".join(f"{'x' * 200}{n},{n}\n" for n in range(90_000))  # 18 MB: two ranges
    bucket.write("a.csv", text)
    cut = bucket.server.cut("GET", r"a\.csv$", when="body", times=2)
    assert bucket.sync(**READ).extracted == 90_000
    assert cut.hits == 2
    assert bucket.lake("SELECT count(DISTINCT id), sum(n) FROM orders") == [(90_000, 90_000 * 89_999 // 2)]
    bucket.server.cut("GET", r"a\.csv$", when="body", times=50)
    with pytest.raises(TransientError):
        bucket.sync(**READ)


def test_cancelling_ends_the_fetching(bucket):
    for number in range(20):
        bucket.write(f"{number}.csv", ROW)
    settings = bucket.source._settings
    store = settings.open_folder(bucket.path)
    fetch, seen = store.fetch_version, []

    def counted(file, to):
        seen.append(file.uri)
        threading.Thread(target=bucket.source.cancel).run()
        return fetch(file, to)

    store.fetch_version = counted
    object.__setattr__(settings, "open_folder", lambda uri: store)
    with pytest.raises(TransientError, match="cancelled"):
        bucket.sync(**READ)
    assert len(seen) <= 8
