"""Cursor capture on MariaDB, one rule at a time."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from datetime import timedelta

import pytest

from airflow_elt_provider.core.capture import Cursor, Full
from airflow_elt_provider.core.modes import WriteMode
from airflow_elt_provider.core.plan import Interval
from airflow_elt_provider.errors import ConfigurationError, DataError

pytestmark = pytest.mark.heavy

APPEND = WriteMode.APPEND
AT = {"capture": Cursor("at")}


@pytest.fixture
def stamped(sql):
    """A table with three rows of an hour ago, and a way to add more."""
    sql(
        "CREATE TABLE t (id int PRIMARY KEY, at timestamp(6) NULL DEFAULT NULL, n int)",
        "INSERT INTO t SELECT seq, now(6) - INTERVAL 1 HOUR + INTERVAL seq SECOND, 0 FROM seq_1_to_3",
    )

    def add(number, at="now(6)"):
        sql(f"INSERT INTO t VALUES ({number}, {at}, 0)")

    return add


# --- merge ---


def test_an_idle_run_reads_nothing_and_stays(stamped, follow):
    assert follow(**AT).ids == [1, 2, 3]
    follow.idle(**AT)
    stamped(4, "now(6) - INTERVAL 30 MINUTE")
    assert follow(**AT).ids == [4]
    follow.idle(**AT)


def test_updates_arrive(stamped, follow, sql):
    follow(**AT)
    sql("UPDATE t SET n = 1, at = now(6) WHERE id = 2")
    assert {row["id"]: row["n"] for row in follow(**AT).rows}[2] == 1
    follow.idle(**AT)


def test_ties_at_the_boundary_and_one_that_joins_them(sql, follow):
    sql("CREATE TABLE t (id int, at datetime)", "INSERT INTO t SELECT seq, '2024-01-01' FROM seq_1_to_20000")
    assert len(follow(**AT).rows) == 20000
    follow.idle(**AT)
    sql("INSERT INTO t VALUES (1, '2024-01-01')")  # the very same row a second time
    again = follow(**AT)
    assert len(again.rows) == 20001
    assert "changed" in again.notes
    follow.idle(**AT)


def test_a_late_commit_is_found(stamped, follow, mariadb_server, dbname):
    with closing(mariadb_server.connect(dbname, autocommit=False)) as late:
        with late.cursor() as cursor:
            cursor.execute("INSERT INTO t VALUES (10, now(6) - INTERVAL 100 SECOND, 0)")
        stamped(11, "now(6) - INTERVAL 1 SECOND")
        assert follow(**AT).ids == [1, 2, 3, 11]
        late.commit()
        assert follow(**AT).ids == [10, 11]  # the window, five minutes
        follow.idle(**AT)
        with late.cursor() as cursor:
            cursor.execute("INSERT INTO t VALUES (12, now(6) - INTERVAL 1000 SECOND, 0)")
        late.commit()
    follow.idle(**AT)  # later than the lag: what the documentation says a cursor can miss
    assert 12 in follow(capture=Cursor("at", lag=timedelta(hours=1))).ids


def test_rows_without_a_cursor_value(stamped, follow, sql):
    follow(**AT)
    stamped(4, "NULL")
    assert follow(**AT).ids == [1, 2, 3, 4]  # with the rows of the last five minutes before the checkpoint
    follow.idle(**AT)
    sql("UPDATE t SET n = 7 WHERE id = 4")
    assert {row["id"]: row["n"] for row in follow(**AT).rows}[4] == 7
    sql("SET sql_mode = ''")
    stamped(5, "0")
    assert 5 in follow(**AT).ids
    follow.idle(**AT)


def test_only_rows_without_a_cursor_value(sql, follow):
    sql("CREATE TABLE t (id int, at datetime)", "INSERT INTO t VALUES (1, NULL)")
    assert follow(**AT).ids == [1]
    assert follow.position.cursor.value is None
    follow.idle(**AT)
    sql("INSERT INTO t VALUES (3, '2024-01-01')")
    assert 3 in follow(**AT).ids
    follow.idle(**AT)


def test_the_future_does_not_swallow_the_present(stamped, follow, sql):
    follow(**AT)
    stamped(4, "now(6) + INTERVAL 1 YEAR")
    stamped(6)
    assert follow(**AT).ids == [4, 6]
    assert follow.position.cursor.value < "2100"
    follow.idle(**AT)  # rows of the future that did not change are not read again
    stamped(7)
    assert set(follow(**AT).ids) >= {7}
    sql("UPDATE t SET n = 5 WHERE id = 4")
    assert 4 in follow(**AT).ids
    follow.idle(**AT)


def test_odd_days_are_read_and_become_no_checkpoint(sql, follow):
    sql(
        "SET sql_mode = 'ALLOW_INVALID_DATES'", "CREATE TABLE t (id int, at datetime)",
        "INSERT INTO t VALUES (1, '2024-01-01'), (2, '2024-02-00'), (3, '2024-02-31')",
    )  # fmt: skip
    assert follow(**AT).ids == [1, 2, 3]
    follow.idle(**AT)
    sql("INSERT INTO t VALUES (4, '2024-05-01')")
    assert 4 in follow(**AT).ids
    follow.idle(**AT)


@pytest.mark.parametrize(
    ("type_", "values", "more"),
    [
        ("int", ["9", "10"], "11"), ("int unsigned", ["0", "4294967294"], "4294967295"),
        ("bigint unsigned", ["1", "18446744073709551614"], "18446744073709551615"), ("bigint", ["-5", "-3"], "-2"),
        ("decimal(10,3)", ["1.5", "1.51"], "1.512"), ("double", ["0.1", "0.2"], "0.30000000000000004"),
        ("float", ["0.1", "1.1"], "16777216"), ("date", ["'2024-01-01'", "'2024-01-02'"], "'2024-01-03'"),
        ("datetime(3)", ["'2024-01-01 00:00:00.5'", "'2024-01-01 00:00:01'"], "'2024-01-01 00:10:00.001'"),
        ("varchar(9)", ["'B'", "'a'"], "'a '"), ("varchar(9) collate utf8mb4_general_ci", ["'Z'", "'ab'"], "'é'"),
        ("uuid", ["'00000000-0000-0000-0000-000000000001'"], "'00000000-0000-0000-0000-00000000000a'"),
        ("year", ["1999"], "2024"),
    ],
)  # fmt: skip
def test_every_type_that_grows(sql, follow, type_, values, more):
    sql(f"CREATE TABLE t (id int, at {type_})")
    for number, value in enumerate(values):
        sql(f"INSERT INTO t VALUES ({number}, {value})")
    assert len(follow(**AT).rows) == len(values)
    follow.idle(**AT)
    sql(f"INSERT INTO t VALUES (100, {more})")
    assert 100 in follow(**AT).ids
    follow.idle(**AT)


def test_what_does_not_grow_is_refused(sql, read):
    sql("CREATE TABLE t (id int, at time, flag bit, n int, name varchar(9))")
    for column in ("at", "flag"):
        with pytest.raises(ConfigurationError, match="does not grow"):
            read(capture=Cursor(column))
    with pytest.raises(ConfigurationError, match="did you mean 'at'"):
        read(capture=Cursor("At"))
    with pytest.raises(ConfigurationError, match="lag"):
        read(capture=Cursor("n", timedelta(1)))
    with pytest.raises(ConfigurationError, match="no distances"):
        read(capture=Cursor("name", 3))


# --- append ---


def test_append_holds_back_what_may_come_late(stamped, follow, sql):
    stamped(4)
    first = follow(mode=APPEND, **AT)
    assert first.ids == [1, 2, 3]
    assert "1 rows with at >= " in first.notes
    follow.idle(mode=APPEND, **AT)
    sql("UPDATE t SET at = now(6) - INTERVAL 6 MINUTE WHERE id = 4")
    assert follow(mode=APPEND, **AT).ids == [4]


def test_append_never_splits_equal_numbers(sql, follow):
    sql("CREATE TABLE t (id int, at int)", "INSERT INTO t VALUES (1, 1), (2, 2), (3, 2)")
    assert follow(mode=APPEND, **AT).ids == [1]  # another 2 may come
    sql("INSERT INTO t VALUES (4, 2), (5, 3)")
    assert follow(mode=APPEND, **AT).ids == [2, 3, 4]


def test_append_by_a_unique_number_waits_for_nobody(sql, follow):
    sql("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1), (2)")
    by_id = {"capture": Cursor("id"), "mode": APPEND}
    assert follow(**by_id).ids == [1, 2]
    follow.idle(**by_id)
    sql("INSERT INTO t VALUES (3)")
    assert follow(**by_id).ids == [3]


def test_append_reads_a_range_once_more(sql, read):
    sql("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1), (2)")
    first = read(capture=Cursor("id"), mode=APPEND)
    sql("INSERT INTO t VALUES (3)")
    second = read(capture=Cursor("id"), mode=APPEND, since=first.position)
    sql("INSERT INTO t VALUES (4)")
    again = read(capture=Cursor("id"), mode=APPEND, since=first.position, until=second.position)
    assert again.ids == [3]


def test_append_refuses_rows_without_a_place(stamped, read):
    stamped(4, "NULL")
    with pytest.raises(DataError, match="1 rows have NULL or the zero date"):
        read(mode=APPEND, **AT)


# --- intervals ---


def test_intervals_are_half_open(sql, read):
    sql(
        "CREATE TABLE t (id int, at timestamp)", "SET time_zone = '+00:00'",
        "INSERT INTO t VALUES (1, '2024-01-01'), (2, '2024-01-01 23:59:59'), (3, '2024-01-02')",
    )  # fmt: skip
    found = read(interval=Interval("2024-01-01T09:00:00+09:00", "2024-01-02"), mode=WriteMode.REPLACE, **AT)
    assert found.ids == [1, 2]
    assert found.changes.interval == ("2024-01-01 00:00:00+00", "2024-01-02 00:00:00+00")


def test_intervals_that_are_none(sql, read):
    sql("CREATE TABLE t (id int, at datetime)")
    with pytest.raises(ConfigurationError, match="does not fit cursor column"):
        read(interval=Interval("yesterday", "today"), **AT)
    with pytest.raises(ConfigurationError, match="holds nothing"):
        read(interval=Interval("2024-01-02", "2024-01-01"), **AT)
    with pytest.raises(ConfigurationError, match="needs its cursor column"):
        read(interval=Interval("2024-01-01", "2024-01-02"), exclude_columns=("at",), **AT)


# --- changes of the table ---


def test_a_new_column_with_one_value_is_filled_in_without_reading(stamped, follow, sql):
    follow(**AT)
    sql("ALTER TABLE t ADD COLUMN kind varchar(9) NOT NULL DEFAULT 'plain'")
    found = follow(**AT)
    assert found.changes.backfill == {"kind": "plain"}
    follow.idle(**AT)


def test_a_new_column_with_values_of_its_own_is_read(stamped, follow, sql):
    follow(**AT)
    sql("ALTER TABLE t ADD COLUMN doubled int AS (id * 2)")
    found = follow(**AT)
    assert found.ids == [1, 2, 3]
    assert "reading the whole table once" in found.notes
    follow.idle(**AT)


def test_another_type_is_read_again(stamped, follow, sql):
    follow(**AT)
    sql("ALTER TABLE t MODIFY n bigint")
    assert follow(**AT).ids == [1, 2, 3]
    follow.idle(**AT)


def test_another_checkpoint_is_refused(stamped, read):
    position = read(**AT).position
    with pytest.raises(ConfigurationError, match="cursor column"):
        read(since=position, capture=Cursor("id"))
    with pytest.raises(ConfigurationError, match="source"):
        read(since=replace(position, source="another/`db`.`t`"), **AT)
    with pytest.raises(ConfigurationError, match="capture"):
        read(since=position, capture=Full())
