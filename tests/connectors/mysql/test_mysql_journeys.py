"""From MariaDB into DuckDB and PostgreSQL: every mode, then random histories."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from airflow_elt_provider.errors import DataError, DeleteRatioError

pytestmark = pytest.mark.heavy

TABLE = (
    """CREATE TABLE t (id int PRIMARY KEY, name varchar(40), amount decimal(12,2), at timestamp(6) NULL, ok bit(1),
    data blob, doc json, big bigint unsigned, spent time)""",
    """INSERT INTO t SELECT seq, concat('name ', seq), seq / 4, now(6) - INTERVAL 1 DAY + INTERVAL seq SECOND, seq % 2,
    concat(x'00', seq), '{"a": 1.0}', 18446744073709551615, '-30:00:00' FROM seq_1_to_500""",
)  # fmt: skip
INTO = ["to_duckdb", "to_postgres"]
FULL: dict[str, Any] = {"capture": "full", "mode": "merge", "deletes": "hard"}
FINGERPRINT: dict[str, Any] = {"capture": "fingerprint", "mode": "merge", "deletes": "hard"}
CURSOR: dict[str, Any] = {"capture": "cursor", "cursor_column": "at", "mode": "merge"}
CHANGES = (
    "INSERT INTO t (id, name, at) VALUES (-7, '', now(6)), (1000, NULL, now(6))", "DELETE FROM t WHERE id = 250",
    "UPDATE t SET name = '日本', at = now(6) WHERE id = 100", "UPDATE t SET id = 2000, at = now(6) WHERE id = 300",
)  # fmt: skip


@pytest.fixture(params=INTO)
def into(request):
    return request.getfixturevalue(request.param)


def rows(query, columns="id, name, amount"):
    return query(f"SELECT {columns} FROM raw.t ORDER BY id")


# --- modes ---


@pytest.mark.parametrize("how", [FULL, FINGERPRINT], ids=["full", "fingerprint"])
def test_a_mirror(sql, into, how):
    sync, query = into
    sql(*TABLE)
    assert sync(**how).inserted == 500
    again = sync(**how)
    assert (again.inserted, again.updated, again.deleted) == (0, 0, 0)
    sql(*CHANGES)
    found = sync(**how)
    assert (found.inserted, found.updated, found.deleted) == (3, 1, 2)
    assert rows(query) == sorted(sql("SELECT id, name, amount FROM t"))


def test_a_fingerprint_ships_little(sql, into):
    sync, _ = into
    sql(*TABLE)
    sync(**FINGERPRINT)
    assert sync(**FINGERPRINT).extracted == 0
    sql("UPDATE t SET name = 'x' WHERE id = 100")
    assert sync(**FINGERPRINT).extracted <= 64


def test_a_mirror_is_proven_equal_or_not(sql, into):
    """Reconcile reads and hashes what MySQL cannot be asked for in its own SQL."""
    sync, _ = into
    sql(*TABLE)
    sync(**FULL)
    same = sync.reconcile()
    assert (same.source_rows, same.target_rows, same.differences) == (500, 500, 0)
    sql("UPDATE t SET name = '日本' WHERE id = 100", "DELETE FROM t WHERE id = 250", "INSERT INTO t (id) VALUES (-7)")
    found = sync.reconcile()
    assert {(str(key), key.difference, key.columns) for key in found.keys} == {
        ("id=100", "different", ("name",)), ("id=250", "surplus", ()), ("id=-7", "missing", ()),
    }  # fmt: skip
    assert "doc" in found.not_compared


@pytest.mark.parametrize("key", ["varchar(20)", "bigint unsigned", "date", "binary(4)"])
def test_a_mirror_by_other_keys(sql, into, key):
    sync, query = into
    values = {"date": "date('2024-01-01') + INTERVAL seq DAY", "binary(4)": "unhex(lpad(hex(seq), 8, '0'))"}
    value = values.get(key, "18446744073709551615 - seq")
    sql(f"CREATE TABLE t (id {key} PRIMARY KEY, n int)", f"INSERT INTO t SELECT {value}, seq FROM seq_1_to_2000")
    sync(**FINGERPRINT)
    sql("DELETE FROM t WHERE n = 77", "UPDATE t SET n = -5 WHERE n = 5")
    found = sync(**FINGERPRINT)
    assert (found.inserted, found.updated, found.deleted) == (0, 1, 1)
    assert query("SELECT count(*), sum(n) FROM raw.t") == [(1999, sum(range(1, 2001)) - 77 - 10)]


def test_a_cursor(sql, into):
    sync, query = into
    sql(*TABLE)
    sync(**CURSOR)
    sql(*CHANGES)
    found = sync(**CURSOR)
    assert (found.inserted, found.updated) == (3, 1)
    assert {row[0] for row in rows(query)} >= {-7, 250, 300, 1000, 2000}  # what is gone is not seen


def test_append_and_replace(sql, into):
    sync, query = into
    sql("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1), (2)")
    append = {"capture": "cursor", "cursor_column": "id", "mode": "append"}
    assert (sync(**append).inserted, sync(**append).inserted) == (2, 0)
    sql("INSERT INTO t VALUES (3)", "DELETE FROM t WHERE id = 1")
    assert sync(**append).inserted == 1
    assert rows(query, "id") == [(1,), (2,), (3,)]


def test_replace(sql, into):
    sync, query = into
    sql(*TABLE)
    sync(capture="full", mode="replace")
    sql("DELETE FROM t WHERE id > 3")
    sync(capture="full", mode="replace")
    assert rows(query, "id") == [(1,), (2,), (3,)]


def test_soft_deletes_come_back(sql, into):
    sync, query = into
    sql(*TABLE)
    soft = {**FINGERPRINT, "deletes": "soft"}
    sync(**soft)
    sql("DELETE FROM t WHERE id = 5")
    assert sync(**soft).deleted == 1
    sql("INSERT INTO t (id) VALUES (5)")
    sync(**soft)
    assert query("SELECT count(*) FROM raw.t WHERE _elt_deleted_at IS NOT NULL") == [(0,)]


def test_a_mass_delete_is_stopped(sql, into):
    sync, _ = into
    sql(*TABLE)
    sync(**FINGERPRINT)
    sql("DELETE FROM t WHERE id > 100")
    with pytest.raises(DeleteRatioError):
        sync(**FINGERPRINT)
    sql("TRUNCATE t")
    with pytest.raises(DataError, match="allow_empty"):
        sync(**FINGERPRINT)
    assert sync(allow_empty=True, max_delete_ratio=1, **FINGERPRINT).deleted == 500


def test_a_new_column_with_a_default_is_filled_in(sql, into):
    for how in (CURSOR, FINGERPRINT):
        sync, query = into
        sql("DROP TABLE IF EXISTS t", *TABLE)
        sync(full_refresh=True, **how)
        name = f"n_{how['capture']}"
        sql(f"ALTER TABLE t ADD COLUMN {name} int NOT NULL DEFAULT 7")
        sync(**how)
        assert query(f"SELECT DISTINCT {name} FROM raw.t") == [(7,)]


def test_exceptional_values_are_null_and_counted(sql, into):
    sync, query = into
    sql(
        "SET sql_mode = 'ALLOW_INVALID_DATES'",
        "CREATE TABLE t (id int PRIMARY KEY, d date, m datetime, z timestamp NULL)",
        "INSERT INTO t VALUES (1, '0000-00-00', '2024-02-31 01:02:03', 0), (2, '2024-02-29', '2024-02-29', now())",
        "INSERT INTO t VALUES (3, '2024-00-10', '2024-00-10', NULL)",
    )  # fmt: skip
    found = sync(**FULL)
    assert found.nulled == {"d": 2, "m": 2, "z": 1}
    assert query("SELECT id, d IS NULL, m IS NULL, z IS NULL FROM raw.t ORDER BY 1") == [
        (1, True, True, True), (2, False, False, False), (3, True, True, True),
    ]  # fmt: skip


def test_values_as_the_target_shows_them(sql, into):
    sync, query = into
    sql(*TABLE)
    sync(**FULL)
    (row,) = query("SELECT amount, ok, CAST(doc AS varchar), big, CAST(spent AS varchar), data FROM raw.t WHERE id = 7")
    assert row[:5] == (Decimal("1.75"), True, '{"a": 1.0}', Decimal((1 << 64) - 1), row[4])
    assert row[4].startswith("-30:00:00")
    assert bytes(row[5]) == b"\x007"


# --- histories ---

QUICK = (Phase.explicit, Phase.generate)  # an example takes seconds: shrinking one would take an hour
_seeds = st.integers(0, 1000)
EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("insert"), st.integers(1, 4)), st.tuples(st.just("update"), _seeds),
        st.tuples(st.just("delete"), _seeds), st.tuples(st.just("change key"), _seeds),
        st.tuples(st.just("come back"), _seeds), st.tuples(st.just("truncate"), st.just(0)),
        st.tuples(st.just("add column"), st.sampled_from(["int DEFAULT 7", "text", "decimal(8,3) DEFAULT 1.5"])),
        st.tuples(st.just("storm"), _seeds), st.tuples(st.just("sync"), st.just(0)),
    ),
    min_size=4, max_size=14,
)  # fmt: skip


@dataclass
class Life:
    """Plays events against one table."""

    sql: Any
    sync: Any
    how: dict[str, Any]
    key: str
    columns: list[str] = field(default_factory=lambda: ["id", "name", "body"])
    number: int = 0

    def __post_init__(self) -> None:
        self.sql(
            "DROP TABLE IF EXISTS t",
            f"CREATE TABLE t (id {self.key} PRIMARY KEY, name text, body longtext, at datetime(6))",
        )
        self.play("insert", 3)
        self.play("sync", 0)

    def play(self, event: str, value: Any) -> None:
        now = "utc_timestamp(6)"
        match event:
            case "insert":
                for _ in range(value):
                    self.number += 1
                    self.sql(
                        f"INSERT INTO t (id, name, body, at) VALUES ({self.number * 37}, 'n{self.number}', NULL, {now})"
                    )
            case "update":
                values = f"name = IF(name = '', NULL, ''), body = repeat('{value}', 50), at = {now}"
                self.sql(f"UPDATE t SET {values} WHERE id % 3 = {value % 3}")
            case "delete":
                self.sql(f"DELETE FROM t WHERE id % 4 = {value % 4}")
            case "change key":
                self.number += 1
                self.sql(f"UPDATE t SET id = {self.number * 37}, at = {now} ORDER BY id LIMIT 1")
            case "come back":
                self.sql(f"REPLACE INTO t (id, name, at) VALUES ({(value % (self.number + 1)) * 37}, 'back', {now})")
            case "truncate":
                self.sql("TRUNCATE t")
            case "add column":
                name = f"c{len(self.columns)}"
                self.columns.append(name)
                self.sql(f"ALTER TABLE t ADD COLUMN {name} {value}")
            case "storm":
                self.sql(f"UPDATE t SET name = 'storm {value}', at = {now}")
            case _:
                self.sync(allow_empty=True, max_delete_ratio=1, primary_key=["id"], **self.how)


def live(sql, sync, how, key, events):
    """Play events against a new table and a new target; return the columns in the end, and the target."""
    target = sync.begin_anew()
    life = Life(sql, sync, how, key)
    for event, value in events:
        life.play(event, value)
    life.play("sync", 0)
    return ", ".join(life.columns), target


@pytest.mark.parametrize("key", ["int", "varchar(20)"])
@settings(max_examples=5, deadline=None, phases=QUICK, suppress_health_check=list(HealthCheck))
@given(events=EVENTS)
def test_any_history_by_fingerprint(sql, to_duckdb, key, events):
    sync, query = to_duckdb
    how = {"capture": {"fingerprint": {"bucket_rows": 4}}, "mode": "merge", "deletes": "hard"}
    columns, target = live(sql, sync, how, key, events)
    assert sorted(query(f"SELECT {columns} FROM {target}"), key=str) == sorted(sql(f"SELECT {columns} FROM t"), key=str)


@settings(max_examples=5, deadline=None, phases=QUICK, suppress_health_check=list(HealthCheck))
@given(events=EVENTS)
def test_any_history_by_cursor(sql, to_postgres, events):
    sync, query = to_postgres
    columns, target = live(sql, sync, CURSOR, "int", events)
    found = {row[0]: row for row in query(f"SELECT {columns} FROM {target}")}
    for row in sql(f"SELECT {columns} FROM t"):  # a cursor sees no deletes: the target may have more
        assert found[row[0]] == row
