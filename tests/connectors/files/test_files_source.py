"""Files of a folder and of a bucket, all the way into DuckDB and PostgreSQL."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from airflow_elt_provider.connectors.files.settings import FilesSettings
from airflow_elt_provider.connectors.files.source import FilesSource
from airflow_elt_provider.core.request import extraction
from airflow_elt_provider.errors import ConfigurationError, DataError, SchemaDriftError, TransientError

TYPES = {"user_id": "bigint", "book_id": "bigint", "order_cnt": "bigint", "order_amt": "bigint"}
KEY = {"primary_key": ["order_id"], "column_types": TYPES}
HEADER = "order_id,user_id,book_id,book_name,order_cnt,order_amt\n"
TITLES = ("吾輩は猫である", "坊っちゃん", "銀河鉄道の夜", "羅生門、他", "人間失格")


def orders(first, last, amount=100):
    return HEADER + "".join(
        f"注文-{n:05},{n % 97},{n % 11},{TITLES[n % 5]},{n % 7},{n * amount}\n" for n in range(first, last)
    )


def counts(result):
    return result.extracted, result.inserted, result.updated, result.deleted


@pytest.fixture(params=["folder", "bucket"])
def store(request):
    """The same stories with a folder and with a bucket."""
    return request.getfixturevalue({"folder": "files", "bucket": "bucket"}[request.param])


def test_files_are_merged_again_and_again(store):
    store.write("a.csv", orders(0, 3))
    store.write("b.csv.gz", orders(3, 5))
    store.write("other/c.csv", orders(5, 9))
    store.write(".elt-work.csv", "x")
    store.write(".hidden.csv", "x")
    assert counts(store.sync(path=f"{store.path}/*.csv*", **KEY)) == (5, 5, 0, 0)
    assert store.lake("SELECT * FROM orders ORDER BY order_id")[1] == ("注文-00001", 1, 1, "坊っちゃん", 1, 100)
    store.write("a.csv", orders(0, 3).replace("坊っちゃん", "ぼっちゃん"))
    assert counts(store.sync(path=f"{store.path}/*.csv*", **KEY)) == (5, 0, 1, 0)
    assert counts(store.sync(path=f"{store.path}/*/*.csv", **KEY)) == (4, 4, 0, 0)


def test_a_retried_run_merges_nothing_twice(store):
    store.write("a.csv", orders(0, 4))
    first = store.sync(mode="append", run_id="monday", **KEY)
    store.write("b.csv", orders(4, 6))
    assert store.sync(mode="append", run_id="monday", **KEY).load_id == first.load_id
    assert store.lake("SELECT count(*) FROM orders") == [(4,)]
    store.sync(mode="append", run_id="tuesday", **KEY)
    assert store.lake("SELECT count(*) FROM orders") == [(10,)]


@pytest.mark.parametrize("deletes", ["hard", "soft"])
def test_what_is_in_no_file_any_more_is_deleted(store, deletes):
    store.write("a.csv", orders(0, 4))
    store.sync(deletes=deletes, **KEY)
    store.write("a.csv", orders(0, 3))
    assert store.sync(deletes=deletes, **KEY).deleted == 1


def test_replace(store):
    store.write("a.csv", orders(0, 4))
    store.sync(mode="replace", column_types=TYPES)
    store.write("a.csv", orders(2, 3))
    store.sync(mode="replace", column_types=TYPES)
    assert store.lake("SELECT order_id FROM orders") == [("注文-00002",)]


def test_columns_are_chosen_and_renamed(store):
    store.write("a.csv", orders(1, 2))
    store.sync(columns=["book_name", "order_id", "user_id"], exclude_columns=["user_id"], rename={"order_id": "id"},
               primary_key=["order_id"])  # fmt: skip
    assert store.lake("SELECT * FROM orders") == [("坊っちゃん", "注文-00001")]
    assert [column for column, *_ in store.lake("DESCRIBE orders")] == ["book_name", "id"]


def test_columns_in_another_order_are_the_same_columns(store):
    store.write("a.csv", "id,name\n1,猫\n")
    store.write("b.csv", "name,id\n犬,2\n")
    store.sync(primary_key=["id"], column_types={"id": "int"})
    assert store.lake("SELECT id, name FROM orders ORDER BY id") == [(1, "猫"), (2, "犬")]


def test_another_header_is_refused_before_anything_is_read(store):
    store.write("a.csv", "id,name\nno number,猫\n")
    store.write("b.csv", "id,title\n2,犬\n")
    with pytest.raises(SchemaDriftError, match=r"b\.csv lacks 'name' and has 'title', unlike .*a\.csv; nothing"):
        store.sync(primary_key=["id"], column_types={"id": "int"})


def test_a_column_that_all_files_got_is_added(store):
    store.write("a.csv", "id,name\n1,猫\n")
    store.sync(primary_key=["id"])
    store.write("a.csv", "id,name,price\n1,猫,7\n")
    assert [change["column"] for change in store.sync(primary_key=["id"]).schema_changes] == ["price"]
    store.write("a.csv", "id,name,price,x\n1,猫,7,8\n")
    with pytest.raises(SchemaDriftError):
        store.sync(primary_key=["id"], on_schema_drift="fail")


def test_a_bad_row_is_refused_with_file_and_line_and_nothing_is_merged(store):
    store.write("a.csv", orders(0, 3))
    store.write("b.csv", orders(3, 6) + "注文-00006,1,2,x,many,3\n")
    with pytest.raises(DataError, match=r"b\.csv, line 5: column 'order_cnt' has 'many', which is no int64"):
        store.sync(**KEY)
    store.write("b.csv", orders(3, 6) + "注文-00006,1,2,x,3\n")
    with pytest.raises(DataError, match=r"b\.csv, line 5: 5 fields instead of 6"):
        store.sync(**KEY)
    store.write("b.csv", orders(3, 6))
    assert counts(store.sync(**KEY)) == (6, 6, 0, 0)


def test_a_key_that_comes_twice(store):
    store.write("a.csv", "id,name\n1,猫\n1,犬\n")
    with pytest.raises(DataError, match="1"):
        store.sync(primary_key=["id"])


MISTAKES = [
    ({"primary_key": ["Order_ID"]}, "did you mean 'order_id'"), ({"column_types": {"price": "int"}}, "'price'"),
    ({"columns": ["order_id", "amount"]}, "'amount'"), ({"rename": {"order_id": "user_id"}}, "both be named"),
    ({"exclude_columns": ["order_id"], **KEY}, "primary_key"), ({}, "no primary key"),
    ({"column_types": {"order_id": "bytea"}}, "type binary"), ({"column_types": {"order_id": "money"}}, "money"),
]  # fmt: skip


@pytest.mark.parametrize(("parameters", "words"), MISTAKES)
def test_mistakes_are_named(store, parameters, words):
    store.write("a.csv", orders(0, 1))
    with pytest.raises(ConfigurationError, match=words):
        store.sync(**parameters)


def test_no_file_matches(store):
    store.write("a.CSV", orders(0, 1))
    with pytest.raises(ConfigurationError, match=r"No file matches path='.*/\*\.csv'") as caught:
        store.sync(**KEY)
    assert "capitals" in caught.value.hint
    assert store.sync(path=f"{store.path}/*.CSV", **KEY).inserted == 1


def test_other_files_are_refused_and_not_left_out(store):
    store.write("a.csv", orders(0, 1))
    store.write("b.xlsx", b"PK")
    with pytest.raises(ConfigurationError, match=r"b\.xlsx matches path=.*its name does not say what it is") as caught:
        store.sync(path=f"{store.path}/*", **KEY)
    assert "narrow the path" in caught.value.hint
    store.write("c", orders(1, 2))
    assert store.sync(path=f"{store.path}/c", file_format="csv", **KEY).inserted == 1


def test_the_manifest_says_which_files_were_read(store):
    store.write("a.csv", orders(0, 1))
    store.write("b.csv", orders(1, 2))
    facts = store.sync(**KEY).manifest.source_facts
    read = json.loads(facts["files"])
    assert [file["uri"].rpartition("/")[2] for file in read] == ["a.csv", "b.csv"]
    assert {*read[0]} == {"uri", "bytes", "modified", "version"}
    assert facts["source"] == f"{store.path}/*.csv"


def reading(files, **parameters):
    """Open the source alone."""
    return files.source.changes(extraction(stream="s", path=f"{files.path}/*.csv", **parameters), None)


def test_a_file_that_is_written_to_while_it_is_read_is_refused(files):
    file = files.write("a.csv", orders(0, 3))
    with reading(files, mode="replace") as changes:
        about = file.stat()
        with file.open("a") as more:
            more.write("注文-9,1,1,x,1,1\n")
        os.utime(file, ns=(about.st_atime_ns, about.st_mtime_ns))
        with pytest.raises(TransientError, match=r"a\.csv changed while it was read"):
            list(changes.streams[0])


@dataclass
class Meddler:
    """Does something between the listing of a store and the first look at a file."""

    settings: FilesSettings
    meddle: Callable[[], object]

    def source(self):
        return FilesSource(replace(self.settings, open_folder=self.open_folder))

    def open_folder(self, uri):
        store = self.settings.open_folder(uri)
        fetch = store.fetch_version

        def late(file, to):
            self.meddle()
            return fetch(file, to)

        store.fetch_version = late
        return store


def test_a_file_that_is_replaced_between_listing_and_reading_is_refused(store):
    source, text = store.source, orders(0, 3)
    for again in (text.replace("1", "2"), text + "x", ""):
        store.write("a.csv", text)
        store.source = Meddler(source._settings, lambda again=again: store.write("a.csv", again)).source()
        with pytest.raises(TransientError, match=r"a\.csv changed"):
            store.sync(**KEY)
    store.source = source
    store.write("a.csv", text)
    assert store.sync(**KEY).inserted == 3


def test_a_file_that_is_gone_between_listing_and_reading_is_refused(store):
    store.write("a.csv", orders(0, 3))
    store.source = Meddler(store.source._settings, lambda: store.remove("a.csv")).source()
    with pytest.raises(TransientError, match=r"a\.csv changed"):
        store.sync(**KEY)


def test_nothing_is_written_to_the_folder_or_the_bucket(store):
    store.write("a.csv", orders(0, 3))
    begin = len(store.server.requests) if hasattr(store, "server") else 0
    store.sync(**KEY)
    if hasattr(store, "server"):
        asked = [method for method, _ in store.server.requests[begin:]]
        assert asked == ["GET", "GET"], "a list and a download"
    else:
        assert [file.name for file in (store.folder / "original-data").iterdir()] == ["a.csv"]


def test_cancelling_ends_it(files):
    files.write("a.csv", orders(0, 3))
    with reading(files, mode="replace") as changes:
        canceller = threading.Thread(target=files.source.cancel)
        canceller.start()
        canceller.join()
        with pytest.raises(TransientError, match="cancelled"):
            list(changes.streams[0])
    files.sync(**KEY)


DENIED = [(r"^/elt-[0-9a-f]+/?$", "s3:ListBucket on arn:aws:s3:::elt-"), (r"a\.csv", "s3:GetObject on arn:")]


@pytest.mark.parametrize(("key", "words"), DENIED)
def test_what_s3_denies_names_the_permission_and_the_connection(bucket, key, words):
    bucket.write("a.csv", orders(0, 1))
    bucket.server.refuse("GET", key, status=403, code="AccessDenied")
    with pytest.raises(ConfigurationError) as caught:
        bucket.sync(**KEY)
    assert words in caught.value.hint
    assert "connection 'aws_default'" in caught.value.hint


def test_a_table_or_a_query_is_no_file(files):
    for origin in ({"source_table": "public.actor"}, {"query": "SELECT 1"}):
        with (
            pytest.raises(ConfigurationError, match="leads to files"),
            files.source.changes(extraction(stream="s", **origin), None),
        ):
            pass
    with pytest.raises(ConfigurationError, match="no tables of schema 'public'"):
        files.source.tables("public")


def test_a_path_of_another_store_is_refused(files):
    with pytest.raises(ConfigurationError, match=r"leads to file:// files, and path='s3://b/\*\.csv' is elsewhere"):
        files.sync(path="s3://b/*.csv", **KEY)


PATHS = [
    ("original-data/*.csv", "does not name files"), ("ftp://host/*.csv", "does not name files"),
    ("s3://bucket", "does not name files"), ("s3:///x.csv", "does not name files"), ("s3://b*/x.csv", "bucket"),
    ("/data/x**.csv", r"\*\* stands for folders"), ("/a/../b.csv", "empty part"), ("/**/*.csv", "this machine"),
    ("/a//b.csv", "empty part"), ("file://host/x.csv", "name"), ("/a/" + "{1,2}" * 10 + "{1,2}.csv", "more than 1000"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "words"), PATHS)
def test_paths_that_cannot_be_meant(files, path, words):
    with pytest.raises(ConfigurationError, match=words):
        files.sync(path=path, **KEY)


REFUSED = [
    {"cursor_column": "user_id"}, {"where": "user_id = 1"}, {"parallelism": 2}, {"source_table": "t"},
    {"interval": ("1", "2")}, {"capture": "xmin"}, {"deletes": "hard", "mode": "append"},
]  # fmt: skip


@pytest.mark.parametrize("parameters", REFUSED, ids=str)
def test_what_files_do_not_do_is_refused_before_anything_is_listed(parameters):
    with pytest.raises(ConfigurationError):
        extraction(stream="s", path="/nowhere/*.csv", **parameters)


def test_a_folder_by_its_uri(files):
    files.write("注文 1.csv", orders(0, 1))
    folder = "file://" + files.path.replace("original-data", "original%2Ddata")
    assert files.sync(path=f"{folder}/%E6%B3%A8%E6%96%87 ?.csv", **KEY).inserted == 1
    assert files.sync(path=f"{files.path}/注文*[0-9].csv", **KEY).extracted == 1


def test_ten_thousand_orders_into_postgresql_with_a_kill_in_between(bucket, warehouse):
    bucket.destination, query = warehouse
    for part in range(4):
        bucket.write(f"{part}.csv", orders(part * 2500, (part + 1) * 2500))
    cut = bucket.server.cut("GET", r"3\.csv$", when="body", times=20)
    with pytest.raises(TransientError):
        bucket.sync(target="book.book_order", run_id="today", **KEY)
    assert cut.hits
    bucket.server.heal()
    assert counts(bucket.sync(target="book.book_order", run_id="today", **KEY)) == (10_000, 10_000, 0, 0)
    assert counts(bucket.sync(target="book.book_order", run_id="today", **KEY)) == (10_000, 10_000, 0, 0)
    assert counts(bucket.sync(target="book.book_order", **KEY)) == (10_000, 0, 0, 0)
    assert query("SELECT count(*), sum(order_amt), max(book_name) FROM book.book_order") == [
        (10_000, sum(n * 100 for n in range(10_000)), max(TITLES))
    ]
    columns = "SELECT string_agg(attname || ' ' || format_type(atttypid, NULL), ', ' ORDER BY attnum) FROM pg_attribute"
    assert query(f"{columns} WHERE attrelid = 'book.book_order'::regclass AND attnum > 0") == [
        ("order_id text, user_id bigint, book_id bigint, book_name text, order_cnt bigint, order_amt bigint",)
    ]


def test_every_type_arrives_in_postgresql(files, warehouse):
    files.destination, query = warehouse
    given = {
        "id": ("int", "1"), "amount": ("decimal(12,2)", "1.5"), "ratio": ("double", "0.1"), "paid": ("boolean", "t"),
        "day": ("date", "2026-02-28"), "at": ("time", "12:34"), "local": ("timestamp", "2026-02-28 12:34"),
        "moment": ("timestamptz", "2026-02-28 12:34+09"), "data": ("json", '"{""a"": [1]}"'),
        "code": ("uuid", "6b29fc40-ca47-1067-b31d-00dd010662da"), "note": ("text", '""'),
    }  # fmt: skip
    values = [value for _, value in given.values()]
    empty = ["2", *([""] * (len(given) - 1))]
    files.write("a.csv", "\n".join(map(",".join, [list(given), values, empty])))
    files.sync(target="raw.t", primary_key=["id"], column_types={name: kind for name, (kind, _) in given.items()})
    one, two = query("SELECT t::text FROM raw.t ORDER BY id")
    assert one[0].startswith('(1,1.50,0.1,t,2026-02-28,12:34:00,"2026-02-28 12:34:00",')
    assert one[0].endswith(',"{""a"": [1]}",6b29fc40-ca47-1067-b31d-00dd010662da,"")')
    assert two == ("(2" + "," * (len(given) - 1) + ")",)
    assert query("SELECT moment AT TIME ZONE 'UTC' = '2026-02-28 03:34' FROM raw.t WHERE id = 1") == [(True,)]
