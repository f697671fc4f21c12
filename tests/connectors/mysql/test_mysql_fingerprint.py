"""Fingerprint capture on MariaDB: what changed is found, deletes too."""

from __future__ import annotations

import pytest

from airflow_elt_provider.core.buckets import BucketKind
from airflow_elt_provider.core.capture import Fingerprint, Wal, Xmin
from airflow_elt_provider.errors import ConfigurationError

pytestmark = pytest.mark.heavy

BY_CONTENT = {"capture": Fingerprint(bucket_rows=16)}


@pytest.fixture
def numbered(sql):
    sql(
        "CREATE TABLE t (id int PRIMARY KEY, a varchar(20), b varchar(20))",
        "INSERT INTO t SELECT seq, seq, '' FROM seq_1_to_1000",
    )


def test_an_idle_run_reads_nothing_and_stays(numbered, follow):
    first = follow(**BY_CONTENT)
    assert (len(first.rows), first.changes.complete, first.changes.source_rows) == (1000, True, 1000)
    follow.idle(**BY_CONTENT)


def test_inserts_updates_and_deletes_are_in_changed_buckets(numbered, follow, sql):
    follow(**BY_CONTENT)
    sql("INSERT INTO t VALUES (-1, 'new', NULL)", "UPDATE t SET a = 'x' WHERE id = 100", "DELETE FROM t WHERE id = 500")
    found = follow(**BY_CONTENT)
    assert not found.changes.complete
    assert found.keys == [{"id": low, "_elt_op": "b"} for low in (-16, 96, 496)]
    assert found.ids == [-1, *range(96, 112), *(key for key in range(496, 512) if key != 500)]
    assert found.changes.source_rows == 1000
    follow.idle(**BY_CONTENT)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("NULL", "''"), ("''", "NULL"), ("'a'", "'A'"), ("'a'", "'a '"), ("'e'", "'é'"), ("'1'", "'01'"),
        ("'N'", "NULL"), ("'1:N'", "'N'"),
    ],
)  # fmt: skip
def test_values_that_look_alike_differ(numbered, follow, sql, before, after):
    sql(f"UPDATE t SET a = {before} WHERE id = 7")
    follow(**BY_CONTENT)
    sql(f"UPDATE t SET a = {after} WHERE id = 7")
    assert 7 in follow(**BY_CONTENT).ids


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("('ab', 'c')", "('a', 'bc')"),
        ("(NULL, 'x')", "('x', NULL)"),
        ("('1:a', '')", "('1', 'a')"),
        ("('#', '')", "('', '#')"),
    ],
)
def test_values_do_not_run_into_each_other(numbered, follow, sql, before, after):
    sql("DELETE FROM t WHERE id = 7", f"INSERT INTO t SELECT 7, x.* FROM (VALUES {before}) x")
    follow(**BY_CONTENT)
    sql("DELETE FROM t WHERE id = 7", f"INSERT INTO t SELECT 7, x.* FROM (VALUES {after}) x")
    assert 7 in follow(**BY_CONTENT).ids


def test_many_changes_are_one_scan(numbered, follow, sql):
    follow(**BY_CONTENT)
    sql("UPDATE t SET a = 'x' WHERE id > 300")
    found = follow(**BY_CONTENT)
    assert (found.changes.complete, len(found.rows), found.keys) == (True, 1000, [])
    follow.idle(**BY_CONTENT)


def test_a_truncated_table(numbered, follow, sql):
    follow(**BY_CONTENT)
    sql("TRUNCATE t")
    found = follow(**BY_CONTENT)
    assert (found.changes.complete, found.rows, found.changes.source_rows) == (True, [], 0)
    follow.idle(**BY_CONTENT)


def test_a_new_column_with_a_default_is_read(numbered, follow, sql):
    follow(**BY_CONTENT)
    sql("ALTER TABLE t ADD COLUMN c int NOT NULL DEFAULT 7")
    found = follow(**BY_CONTENT)
    assert found.changes.complete
    assert set(found.column("c")) == {7}
    assert "nothing to compare with" in found.notes
    follow.idle(**BY_CONTENT)


def test_a_lost_state_is_healed_by_reading_everything(numbered, follow):
    follow(**BY_CONTENT)
    follow.state = None
    assert follow(**BY_CONTENT).changes.complete
    follow.idle(**BY_CONTENT)


def test_long_values_are_compared_in_full(sql, follow):
    sql(
        "CREATE TABLE t (id int PRIMARY KEY, v longtext)",
        "INSERT INTO t SELECT seq, repeat('x', 1000000) FROM seq_1_to_20",
    )
    follow(**BY_CONTENT)
    sql("UPDATE t SET v = concat(left(v, 999999), 'y') WHERE id = 7")
    assert 7 in follow(**BY_CONTENT).ids
    follow.idle(**BY_CONTENT)


@pytest.mark.parametrize(
    ("key", "kind", "values"),
    [
        ("bigint", BucketKind.RANGE, "CAST(seq AS SIGNED) * 1000003 - 500000000"),
        ("tinyint", BucketKind.RANGE, "CAST(seq AS SIGNED) - 120"),
        ("bigint unsigned", BucketKind.MD5, "18446744073709551615 - seq"),
        ("varchar(20) COLLATE utf8mb4_general_ci", BucketKind.MD5, "concat('日本 ', seq, IF(seq % 2, ' ', ''))"),
        ("varchar(20) CHARACTER SET latin1", BucketKind.MD5, "concat('é', seq)"),
        ("uuid", BucketKind.MD5, "concat('00000000-0000-0000-0000-', lpad(seq, 12, '0'))"),
        ("binary(4)", BucketKind.ALL, "unhex(lpad(hex(seq), 8, '0'))"),
        ("date", BucketKind.ALL, "date('2024-01-01') + INTERVAL seq DAY"),
    ],
)  # fmt: skip
def test_keys_of_every_type(sql, follow, key, kind, values):
    sql(f"CREATE TABLE t (id {key} PRIMARY KEY, n int)", f"INSERT INTO t SELECT {values}, 0 FROM seq_1_to_200")
    first = follow(**BY_CONTENT)
    assert len(first.rows) == 200
    assert first.position.snapshot.buckets.kind is kind
    follow.idle(**BY_CONTENT)
    sql("UPDATE t SET n = 1 ORDER BY id LIMIT 1")
    assert 1 in follow(**BY_CONTENT).column("n")
    sql("DELETE FROM t ORDER BY id LIMIT 1")
    found = follow(**BY_CONTENT)
    assert found.changes.source_rows == 199
    assert found.changes.complete or found.keys
    follow.idle(**BY_CONTENT)


def test_a_key_that_only_differs_in_case(sql, follow):
    sql(
        "CREATE TABLE t (id varchar(9) PRIMARY KEY, n int)",
        "INSERT INTO t SELECT concat('a', seq), 0 FROM seq_1_to_300",
    )
    follow(**BY_CONTENT)
    sql("UPDATE t SET id = 'A7' WHERE id = 'a7'")
    found = follow(**BY_CONTENT)
    names = {row["_elt_op"] for row in found.keys}
    assert "A7" in found.ids
    assert len(names) == 2  # the bucket that a7 left, and the one that A7 came to


def test_buckets_grow_with_the_table(sql, follow):
    sql("CREATE TABLE t (id varchar(9) PRIMARY KEY)", "INSERT INTO t SELECT seq FROM seq_1_to_100")
    follow(**BY_CONTENT)
    digits = follow.position.snapshot.buckets.size
    sql("INSERT INTO t SELECT concat('x', seq) FROM seq_1_to_5000")
    assert len(follow(**BY_CONTENT).rows) == 5100
    assert follow.position.snapshot.buckets.size > digits
    follow.idle(**BY_CONTENT)
    sql("DELETE FROM t WHERE id = 'x77'")
    found = follow(**BY_CONTENT)
    assert found.keys
    assert len(found.rows) < 200
    follow.idle(**BY_CONTENT)


def test_other_bucket_rows_need_no_new_start(numbered, follow, sql):
    follow(capture=Fingerprint(bucket_rows=16))
    sql("UPDATE t SET a = 'x' WHERE id = 100")
    wide = follow(capture=Fingerprint(bucket_rows=64))
    assert wide.keys == [{"id": 64, "_elt_op": "b"}]
    follow.idle(capture=Fingerprint(bucket_rows=64))
    sql("DELETE FROM t WHERE id = 200")
    narrow = follow(capture=Fingerprint(bucket_rows=16))
    assert narrow.keys == [{"id": 192, "_elt_op": "b"}]
    assert len(narrow.rows) == 63  # told in the wider ones, for once
    follow.idle(capture=Fingerprint(bucket_rows=16))


def test_a_view_by_a_key_that_is_named(sql, follow):
    sql(
        "CREATE TABLE base (id int, n int)",
        "INSERT INTO base SELECT seq, 0 FROM seq_1_to_100",
        "CREATE VIEW t AS SELECT id, n FROM base WHERE n >= 0",
    )
    by_key = {**BY_CONTENT, "primary_key": ("id",)}
    assert len(follow(**by_key).rows) == 100
    sql("UPDATE base SET n = -1 WHERE id = 5")
    found = follow(**by_key)
    assert 5 not in found.ids
    assert found.keys == [{"id": 0, "_elt_op": "b"}]


def test_only_what_is_read_counts(numbered, follow, sql):
    follow(exclude_columns=("b",), **BY_CONTENT)
    sql("UPDATE t SET b = 'unread'")
    follow.idle(exclude_columns=("b",), **BY_CONTENT)


@pytest.mark.parametrize("capture", [Xmin(), Wal(), Fingerprint(by="xmin")])
def test_what_only_postgresql_has(numbered, read, capture):
    with pytest.raises(ConfigurationError, match=r"PostgreSQL's|row versions"):
        read(capture=capture)
