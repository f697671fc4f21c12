"""Cursor capture, one rule at a time."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta

import pytest

from airflow_elt_provider.core.capture import Cursor, Full
from airflow_elt_provider.core.modes import WriteMode
from airflow_elt_provider.core.plan import Interval
from airflow_elt_provider.errors import ConfigurationError, DataError

APPEND = WriteMode.APPEND
AT = Cursor("at")


@pytest.fixture
def follow(read):
    """Read again and again, each time from where the last read ended."""

    class Follow:
        position = None

        def __call__(self, **parameters):
            found = read(since=self.position, **{"capture": AT, **parameters})
            self.position = found.position
            return found

        def idle(self, **parameters):
            before = self.position
            found = self(**parameters)
            assert (found.rows, found.position) == ([], before)

    return Follow()


@pytest.fixture
def stamped(sql):
    """A table with three rows of an hour ago, and a way to add more."""
    sql(
        "CREATE TABLE t (id int PRIMARY KEY, at timestamptz, n int)",
        "INSERT INTO t SELECT i, now() - '1 h'::interval + i * '1 s'::interval, 0 FROM generate_series(1, 3) i",
    )

    def add(number, at="now()"):
        sql(f"INSERT INTO t VALUES ({number}, {at})")

    return add


# --- merge ---


def test_an_idle_run_reads_nothing_and_stays(stamped, follow):
    assert follow().ids == [1, 2, 3]
    follow.idle()
    stamped(4, "now() - interval '30 minutes'")
    assert follow().ids == [4]
    follow.idle()


def test_updates_arrive(stamped, follow, sql):
    follow()
    sql("UPDATE t SET n = 1, at = now() WHERE id = 2")
    assert {row["id"]: row["n"] for row in follow().rows}[2] == 1
    follow.idle()


def test_a_million_ties_at_the_boundary_and_one_that_joins_them(sql, follow):
    sql(
        "CREATE TABLE t (id int, at timestamptz)",
        "INSERT INTO t SELECT i, '2024-01-01' FROM generate_series(1, 200000) i",
    )
    assert len(follow(columns=("id",)).rows) == 200000
    follow.idle(columns=("id",))
    sql("INSERT INTO t VALUES (0, '2024-01-01')")
    again = follow(columns=("id",))
    assert len(again.rows) == 200001
    assert "changed" in again.notes
    follow.idle(columns=("id",))


def test_a_late_commit_is_found(stamped, follow, sql, postgres_server, dbname):
    late = postgres_server.connect(dbname)
    with late.cursor() as cursor:
        cursor.execute("INSERT INTO t VALUES (10, now() - interval '100 s')")
    stamped(11, "now() - interval '1 s'")
    assert follow().ids == [1, 2, 3, 11]
    late.commit()
    assert follow().ids == [10, 11]  # the window, five minutes
    follow.idle()
    with late.cursor() as cursor:
        cursor.execute("INSERT INTO t VALUES (12, now() - interval '1000 s')")
    late.commit()
    late.close()
    follow.idle()  # later than the lag: what the documentation says a cursor can miss
    assert 12 in follow(capture=Cursor("at", lag=timedelta(hours=1))).ids


def test_rows_without_a_cursor_value(stamped, follow, sql):
    follow()
    stamped(4, "NULL")
    assert follow().ids == [1, 2, 3, 4]  # with the rows of the last five minutes before the checkpoint
    follow.idle()
    sql("UPDATE t SET n = 7 WHERE id = 4")
    assert {row["id"]: row["n"] for row in follow().rows}[4] == 7
    stamped(5, "'-infinity'")
    assert 5 in follow().ids
    follow.idle()


def test_only_rows_without_a_cursor_value(sql, follow):
    sql("CREATE TABLE t (id int, at timestamptz)", "INSERT INTO t VALUES (1, NULL), (2, '-infinity')")
    assert follow().ids == [1, 2]
    assert follow.position.cursor.value is None
    follow.idle()
    sql("INSERT INTO t VALUES (3, '2024-01-01')")
    assert 3 in follow().ids
    follow.idle()


def test_the_future_does_not_swallow_the_present(stamped, follow, sql):
    follow()
    stamped(4, "now() + interval '1 year'")
    stamped(5, "'infinity'")
    stamped(6)
    assert follow().ids == [4, 5, 6]
    assert follow.position.cursor.value < "2100"
    follow.idle()  # rows of the future that did not change are not read again
    stamped(7)
    assert set(follow().ids) >= {7}
    sql("UPDATE t SET n = 5 WHERE id = 5")
    assert 5 in follow().ids
    follow.idle()


def test_no_number_is_no_maximum(sql, follow):
    for type_ in ("float8", "numeric"):
        sql(
            "DROP TABLE IF EXISTS t",
            f"CREATE TABLE t (id int, at {type_})",
            "INSERT INTO t VALUES (1, 1.5), (2, 'NaN'), (3, 'Infinity')",
        )
        follow.position = None
        assert follow().ids == [1, 2, 3]
        assert follow.position.cursor.value == "1.5"
        follow.idle()
        sql("INSERT INTO t VALUES (4, 1.6)")
        assert 4 in follow().ids
        follow.idle()


@pytest.mark.parametrize(("type_", "values", "added"), [
    ("int4", ["9", "8"], "10"), ("int2", ["-5", "-32768"], "9"), ("int8", ["9007199254740992"], "9007199254740993"),
    ("numeric", ["9.5"], "10"), ("float4", ["1.1"], "1.2"), ("text", ["'a'", "'B'", "'é'"], "'日'"),
    ("varchar(9)", ["'9'", "'10'"], "'91'"), ("char(3)", ["'a'"], "'b'"), ("date", ["'2024-01-01'"], "'2024-01-02'"),
    ("timestamp", ["'2024-01-01'"], "'2024-01-01 00:10'"),
    ("uuid", ["'01890000-0000-7000-8000-000000000000'"], "'018a0000-0000-7000-8000-000000000000'"),
])  # fmt: skip
@pytest.mark.parametrize("mode", [WriteMode.MERGE, APPEND])
def test_every_cursor_type(sql, follow, type_, values, added, mode):
    sql(f"CREATE TABLE t (id int, at {type_} UNIQUE)")
    for at, value in enumerate(values):
        sql(f"INSERT INTO t VALUES ({at}, {value})")
    assert follow(mode=mode).ids == list(range(len(values)))
    follow.idle(mode=mode)
    if mode is APPEND and type_ in {"date", "timestamp"}:
        added = "now() - interval '2 days'"  # what is older than the lag counts as read
        sql("UPDATE t SET at = now() - interval '10 days'")
        follow.position = replace(follow.position, cursor=replace(follow.position.cursor, value="2024-02-01"))
    sql(f"INSERT INTO t VALUES (99, {added})")
    assert 99 in follow(mode=mode).ids
    follow.idle(mode=mode)


def test_views_and_queries_have_windows_too(stamped, follow, sql, read):
    sql("CREATE VIEW v AS SELECT * FROM t")
    for parameters in ({"table": "v"}, {"query": "SELECT * FROM t WHERE id % 100 < 50"}):
        follow.position = None
        assert follow(**parameters).ids == [1, 2, 3]
        follow.idle(**parameters)
        sql("UPDATE t SET n = n + 1 WHERE id = 3")
        assert follow(**parameters).ids == [1, 2, 3]
        follow.idle(**parameters)


@pytest.mark.parametrize(("capture", "said"), [
    (Cursor("nope"), "did you mean|there are"), (Cursor("doc"), "does not grow"),
    (Cursor("name", lag=5), "leave lag out"),
    (Cursor("id", lag=timedelta(seconds=5)), "as a number"),
])  # fmt: skip
def test_what_cannot_be_a_cursor(sql, read, capture, said):
    sql("CREATE TABLE t (id int, name text, doc jsonb)")
    with pytest.raises(ConfigurationError, match=said):
        read(capture=capture)


def test_a_checkpoint_of_another_load_is_refused(stamped, follow, read, sql):
    position = follow().position
    sql("CREATE TABLE other (id int PRIMARY KEY, at timestamptz)")
    for parameters in ({"table": "other"}, {"capture": Cursor("id")}, {"capture": Full()}, {"primary_key": ("n",)}):
        with pytest.raises(ConfigurationError, match="full_refresh=True"):
            read(**{"table": "t", "capture": AT, "since": position, **parameters})
    sql("ALTER TABLE t ALTER at TYPE text")
    with pytest.raises(ConfigurationError, match="was timestamptz"):
        read(since=position, capture=AT)


# --- append ---


def test_append_holds_the_lag_back(stamped, follow, sql):
    stamped(4, "now() - interval '6 minutes'")
    stamped(5, "now() - interval '2 minutes'")
    stamped(6, "'infinity'")
    first = follow(mode=APPEND)
    assert first.ids == [1, 2, 3, 4]
    assert "2 rows" in first.notes
    follow.idle(mode=APPEND)
    assert follow(mode=APPEND, capture=Cursor("at", lag=60)).ids == [5]


def test_append_and_an_open_transaction(stamped, follow, postgres_server, dbname):
    late = postgres_server.connect(dbname)
    with late.cursor() as cursor:
        cursor.execute("INSERT INTO t VALUES (10, now())")
    assert 10 not in follow(mode=APPEND).ids
    late.commit()
    late.close()
    assert follow(mode=APPEND, capture=Cursor("at", lag=0)).ids == [10]


def test_append_of_days(sql, follow):
    sql("CREATE TABLE t (id int, at date)", "INSERT INTO t SELECT i, current_date - i FROM generate_series(0, 3) i")
    assert set(follow(mode=APPEND).ids) >= {2, 3}
    assert 0 not in follow(mode=APPEND).ids  # today is not over


@pytest.mark.parametrize(("unique", "first"), [(True, [1, 2, 3]), (False, [1, 2])])
def test_append_of_numbers_never_splits_ties(sql, follow, unique, first):
    sql("CREATE TABLE t (id int, at int)", *(["CREATE UNIQUE INDEX ON t (at)"] if unique else []),
        "INSERT INTO t SELECT i, i FROM generate_series(1, 3) i")  # fmt: skip
    assert follow(mode=APPEND).ids == first
    follow.idle(mode=APPEND)
    sql(f"INSERT INTO t VALUES (30, {4 if unique else 3}), (50, 5)")
    assert follow(mode=APPEND).ids == ([30, 50] if unique else [3, 30])


def test_append_when_the_column_stops_being_unique(sql, follow):
    sql("CREATE TABLE t (id int, at int CONSTRAINT one UNIQUE)", "INSERT INTO t VALUES (1, 1), (2, 2)")
    assert follow(mode=APPEND).ids == [1, 2]
    sql("ALTER TABLE t DROP CONSTRAINT one", "INSERT INTO t VALUES (3, 3), (4, 4)")
    assert follow(mode=APPEND).ids == [3]
    sql("ALTER TABLE t ADD CONSTRAINT one UNIQUE (at)")
    assert follow(mode=APPEND).ids == [4]
    follow.idle(mode=APPEND)


def test_append_needs_a_value_in_every_row(stamped, follow):
    stamped(4, "NULL")
    with pytest.raises(DataError, match=r"1 rows have NULL.*is not null"):
        follow(mode=APPEND)
    assert follow(mode=APPEND, where="at is not null").ids == [1, 2, 3]


def test_append_with_lag_on_numbers(sql, follow):
    sql("CREATE TABLE t (id int, at int PRIMARY KEY)", "INSERT INTO t SELECT i, i FROM generate_series(1, 20) i")
    assert follow(mode=APPEND, capture=Cursor("at", lag=5)).ids == list(range(1, 16))


def test_a_cleared_append_reads_its_range_again(stamped, follow, read):
    assert read(mode=APPEND, capture=AT).ids == [1, 2, 3]
    start = follow(mode=APPEND).position
    stamped(4, "now() - interval '4 minutes'")
    end = follow(mode=APPEND, capture=Cursor("at", lag=0)).position
    stamped(5, "now() - interval '3 minutes'")
    stamped(6)
    again = read(mode=APPEND, capture=AT, since=start, until=end)
    assert again.ids == [4]
    assert again.position == end
    # The bound is the last value that was read, not the clock: 5, which came late, is left to the next run.
    assert read(mode=APPEND, capture=Cursor("at", lag=0), since=end).ids == [5, 6]
    assert read(mode=APPEND, capture=AT, until=start).ids == [1, 2, 3]


def test_append_does_not_go_on_from_a_merge(stamped, follow, read):
    merged = follow().position
    with pytest.raises(ConfigurationError, match="mode 'merge or replace'"):
        read(mode=APPEND, capture=AT, since=merged)


def test_an_empty_table(sql, follow):
    for mode in (WriteMode.MERGE, APPEND):
        sql("DROP TABLE IF EXISTS t", "CREATE TABLE t (id int, at timestamptz)")
        follow.position = None
        assert follow(mode=mode).rows == []
        follow.idle(mode=mode)
        sql("INSERT INTO t VALUES (1, '2024-01-01')")
        assert follow(mode=mode).ids == [1]


# --- interval ---


@pytest.mark.parametrize(("type_", "bounds", "canonical"), [
    ("timestamptz", ("2024-01-01T09:00:00+09:00", "2024-01-02T00:00:00Z"),
     ("2024-01-01 00:00:00+00", "2024-01-02 00:00:00+00")),
    ("timestamp", ("2024-01-01T09:00:00+09:00", "2024-01-02"), ("2024-01-01 00:00:00", "2024-01-02 00:00:00")),
    ("date", ("2024-01-01T00:00:00+00:00", "2024-01-02T00:00:00+00:00"), ("2024-01-01", "2024-01-02")),
    ("text", ("2024-01-01", "2024-01-02"), ("2024-01-01", "2024-01-02")),
])  # fmt: skip
def test_interval(sql, read, type_, bounds, canonical):
    sql(f"CREATE TABLE t (id int, at {type_})",
        "INSERT INTO t VALUES (0, '2023-12-31'), (1, '2024-01-01'), (2, '2024-01-02'), (3, NULL)")  # fmt: skip
    found = read(capture=AT, interval=Interval(*bounds))
    assert found.ids == [1]
    assert found.changes.interval == canonical
    assert not found.changes.complete
    assert found.changes.cursor == "at"


@pytest.mark.parametrize("bounds", [("soon", "2024-01-01"), ("2024-01-02", "2024-01-01")])
def test_interval_that_makes_no_sense(stamped, read, bounds):
    with pytest.raises(ConfigurationError, match="interval="):
        read(capture=AT, interval=Interval(*bounds))
    with pytest.raises(ConfigurationError, match="needs its cursor column"):
        read(capture=AT, interval=Interval("2024-01-01", "2024-01-02"), exclude_columns=("at",))


# --- columns that were added since ---


@pytest.mark.parametrize("partitioned", [False, True])
def test_an_added_column_with_a_default(sql, follow, partitioned):
    sql(
        f"CREATE TABLE t (id int, at timestamptz) {'PARTITION BY HASH (id)' if partitioned else ''}",
        *(
            [f"CREATE TABLE t{i} PARTITION OF t FOR VALUES WITH (MODULUS 2, REMAINDER {i})" for i in (0, 1)]
            if partitioned
            else []
        ),
        "INSERT INTO t SELECT i, '2024-01-01' FROM generate_series(1, 9) i",
    )
    follow()
    sql("ALTER TABLE t ADD c text DEFAULT 'it''s'")
    found = follow(rename={"c": "C new"})
    assert (found.rows, dict(found.changes.backfill)) == ([], {"C new": "it's"})
    assert found.position.columns == ("id", "at", "c")
    follow.idle(rename={"c": "C new"})


def test_an_added_column_with_values_of_its_own(stamped, follow, sql):
    follow()
    sql("ALTER TABLE t ADD c int", "ALTER TABLE t ADD d int")
    assert follow(exclude_columns=("c", "d")).rows == []
    follow.idle(exclude_columns=("c", "d"))
    assert follow().ids == [1, 2, 3]  # they may have had values that are NULL again
    sql("ALTER TABLE t ADD e int", "UPDATE t SET e = id")
    found = follow()
    assert found.column("e") == [1, 2, 3]
    assert "whole table once" in found.notes
    follow.idle()


def test_an_excluded_column_comes_back(stamped, follow):
    follow(exclude_columns=("n",))
    assert follow().column("n") == [0, 0, 0]
    follow.idle()


def test_a_column_dropped_and_added_again_has_nothing_of_the_old_one(stamped, follow, sql):
    follow()
    sql("ALTER TABLE t DROP n", "ALTER TABLE t ADD n int")
    found = follow()
    assert (found.rows, found.changes.backfill) == ([], {"n": None})
    sql("ALTER TABLE t DROP n", "ALTER TABLE t ADD n int DEFAULT 7")
    assert follow().changes.backfill == {"n": "7"}
    follow.idle()


def test_other_names_types_and_labels_mean_reading_everything(sql, follow):
    sql(
        "CREATE TYPE mood AS ENUM ('sad', 'glad')",
        "CREATE TABLE t (id int, at timestamptz, m mood[])",
        "INSERT INTO t SELECT i, '2024-01-01', '{sad}' FROM generate_series(1, 3) i",
    )
    follow()
    sql("ALTER TYPE mood ADD VALUE 'mad'")
    assert follow().rows == []
    sql("ALTER TYPE mood RENAME VALUE 'sad' TO 'blue'")
    found = follow()
    assert (found.ids, "enumeration was renamed" in found.notes) == ([1, 2, 3], True)
    assert follow(rename={"m": "w"}).ids == [1, 2, 3]
    found = follow(rename={"m": "w"}, column_types={"id": "int64"})
    assert ("column id has another name or type" in found.notes, len(found.rows)) == (True, 3)
    follow.idle(rename={"m": "w"}, column_types={"id": "int64"})


def test_everything_is_of_one_moment(stamped, settings, read, sql):
    """Rows that are committed after the facts were read are not in the rows either: they come with the next run."""
    stop = threading.Event()

    def write():
        number = 100
        while not stop.is_set():
            number += 1
            stamped(number, "clock_timestamp()")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        position, seen = None, []
        for _ in range(15):
            found = read(capture=AT, since=position)
            seen += found.ids
            position = found.position
    finally:
        stop.set()
        writer.join()
    seen += read(capture=AT, since=position).ids
    assert set(seen) == {row[0] for row in sql("SELECT id FROM t")}
