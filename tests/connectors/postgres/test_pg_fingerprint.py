"""Fingerprint capture of tables: every change, nothing more, from a real PostgreSQL into DuckDB and PostgreSQL."""

from __future__ import annotations

import pytest

from airflow_elt_provider.errors import DataError, DeleteRatioError
from tests.connectors.postgres.mirrors import KEYS, MERGE


@pytest.mark.parametrize("kind", list(KEYS))
@pytest.mark.parametrize("by", ["auto", "content"])
def test_every_change_of_every_key(mirror, kind, by):
    column, value = KEYS[kind]
    capture = {"fingerprint": {"by": by}}
    insert = f"INSERT INTO t (id, v, n) SELECT {value}, 'v' || g, g FROM generate_series({{}}, {{}}) g"
    mirror.sql(f"CREATE TABLE t ({column}, v text, n int); {insert.format(1, 1000)}")
    shown = "v, n" if kind in {"char", "bytea"} else "*"  # DuckDB writes those in other ways
    assert mirror.check(shown, capture=capture).inserted == 1000
    idle = mirror.check(shown, capture=capture)
    assert (idle.extracted, idle.inserted, idle.updated, idle.deleted) == (0, 0, 0, 0)
    mirror.sql(
        "UPDATE t SET v = 'changed' WHERE n IN (3, 500); DELETE FROM t WHERE n IN (7, 8, 900);"
        + insert.format(1001, 1004)
    )
    moved = mirror.check(shown, capture=capture)
    assert (moved.inserted, moved.updated, moved.deleted) == (4, 2, 3)
    if by == "auto":
        assert moved.extracted == 6
    mirror.sql("DELETE FROM t WHERE n = 10")
    assert mirror.check(shown, capture=capture).deleted == 1
    idle = mirror.check(shown, capture=capture)
    assert (idle.extracted, idle.deleted) == (0, 0)


def test_a_transaction_that_was_open_at_the_last_sync_is_found(table, postgres_server):
    late = postgres_server.connect(table.world.dbname)
    with late.cursor() as cursor:
        cursor.execute("INSERT INTO t VALUES (100000, 'late', 0); UPDATE t SET v = 'late' WHERE id = 5")
        cursor.execute("DELETE FROM t WHERE id = 6")
    table.sql("UPDATE t SET v = 'early' WHERE id = 4")
    assert table.check().extracted == 1
    for _ in range(3):
        table.sql("UPDATE t SET v = v || 'x' WHERE id = 1")
        table.check()
    late.commit()
    late.close()
    found = table.check()
    assert (found.inserted, found.updated, found.deleted) == (1, 1, 1)
    assert table.check().extracted == 0


@pytest.mark.parametrize(
    "what", ["VACUUM (FREEZE) t", "VACUUM FULL t", "CLUSTER t USING t_pkey", "VACUUM (FULL, FREEZE) t"]
)
def test_what_moves_rows_and_changes_none_costs_nothing(table, postgres_server, what):
    connection = postgres_server.connect(table.world.dbname)
    connection.autocommit = True
    connection.cursor().execute(what)
    connection.close()
    assert table.check().extracted == 0


def test_an_idle_run_writes_nothing(table):
    before = {file.uri for file in table.world.stage().list()}
    table.check()
    after = {file.uri for file in table.world.stage().list()} - before
    assert [uri.rsplit("/", 1)[1] for uri in after] == ["manifest-0.json"]


@pytest.mark.parametrize(("share", "update"), [(0.5, "id % 2 = 0"), (1, "true"), (0.06, "id % 16 = 0")])
def test_large_shares(table, share, update):
    table.sql(f"UPDATE t SET v = v || '!' WHERE {update}")
    table.sql("DELETE FROM t WHERE id = 17; INSERT INTO t VALUES (6000, 'new', 0)")
    result = table.check()
    assert (result.inserted, result.deleted) == (1, 1)
    assert abs(result.updated - share * 10000) < 30 + 400 * (share == 0.06)


def test_sixty_thousand_changes(mirror):
    mirror.sql(
        "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT g, 'v' FROM generate_series(1, 100000) g"
    )
    mirror.check()
    mirror.sql(
        "UPDATE t SET v = 'w' WHERE id % 5 < 2; DELETE FROM t WHERE id % 10 = 9; "
        "INSERT INTO t SELECT g, 'n' FROM generate_series(100001, 110000) g"
    )
    result = mirror.check()
    assert (result.inserted, result.updated, result.deleted) == (10000, 40000, 10000)


def test_truncate_needs_leave(table):
    table.sql("TRUNCATE t")
    with pytest.raises(DataError, match="no rows"):
        table.sync()
    assert table.check(allow_empty=True, max_delete_ratio=1).deleted == 10000
    table.sql("INSERT INTO t VALUES (1, 'again', 1)")
    assert table.check().inserted == 1


def test_a_truncated_and_filled_table(table):
    table.sql("TRUNCATE t; INSERT INTO t SELECT g, 'v' || g, g FROM generate_series(-4000, 5000) g")
    result = table.check()
    assert (result.inserted, result.updated, result.deleted) == (0, 0, 999)


def test_a_mass_delete_is_refused(table):
    table.sql("DELETE FROM t WHERE id > -3000")
    with pytest.raises(DeleteRatioError, match=r"8,999 of 10,000"):
        table.sync()


def test_keys_that_move_within_and_between_buckets(table):
    table.sql("UPDATE t SET id = id + 20000 WHERE id BETWEEN 0 AND 9; UPDATE t SET id = -id WHERE id = 4500")
    result = table.check()
    assert (result.inserted, result.deleted) == (10, 10) if result.updated else (11, 11)


def test_soft_deletes_come_and_go(table):
    soft = {"deletes": "soft"}
    gone = "_elt_deleted_at IS NOT NULL"
    table.sql("DELETE FROM t WHERE id = 3")
    table.sync(**soft)
    assert table.world.target_rows("id", gone) == [("3",)]
    table.sql("INSERT INTO t VALUES (3, 'back', 3)")
    table.sync(**soft)
    assert table.world.target_rows("id", gone) == []
    table.same()


def test_deletes_that_do_not_matter_are_not_looked_for(table):
    table.sql("DELETE FROM t WHERE id = 3; UPDATE t SET v = 'x' WHERE id = 4")
    job = table.world.job(**{**MERGE, "deletes": "ignore"})
    assert job.execute().deleted == 0
    assert len(table.world.target_rows("id")) == 10000
    assert table.check().deleted == 1  # once they matter, everything is compared
    assert table.check().extracted == 0


def test_bucket_width_follows_growth_without_reading_anew(mirror):
    capture = {"fingerprint": {"bucket_rows": 4}}
    mirror.sql(
        "CREATE TABLE t (id text PRIMARY KEY, n int); INSERT INTO t SELECT 'k' || g, g FROM generate_series(1, 300) g"
    )
    mirror.sync(capture=capture)
    mirror.sql(
        "INSERT INTO t SELECT 'k' || g, g FROM generate_series(301, 20000) g; "
        "UPDATE t SET n = -1 WHERE n = 7; DELETE FROM t WHERE n = 8"
    )
    mirror.sql("ANALYZE t")
    result = mirror.check(capture=capture)
    assert (result.extracted, result.inserted, result.updated, result.deleted) == (19701, 19700, 1, 1)
    mirror.sql("UPDATE t SET n = -2 WHERE n = 9; DELETE FROM t WHERE n = 10")
    result = mirror.check(capture=capture)
    assert (result.extracted, result.updated, result.deleted) == (1, 1, 1)


# --- columns that come and go ---


def test_an_added_column_with_a_default_is_filled_in_without_reading_rows(table):
    table.sql("ALTER TABLE t ADD COLUMN c int DEFAULT 7")
    result = table.check()
    assert result.extracted == 0
    table.sql("ALTER TABLE t ADD COLUMN d text DEFAULT 'x'; UPDATE t SET d = 'y', c = 8 WHERE id = 5")
    assert table.check().extracted == 1


def test_columns_without_known_old_values_are_read_once(table):
    table.sync(exclude_columns=["n"])
    assert table.check().extracted == 10000  # n is read again, and may have changed meanwhile
    assert table.check().extracted == 0
    table.sql("ALTER TABLE t ADD COLUMN r int; UPDATE t SET r = id")
    table.check()
    table.sql("ALTER TABLE t DROP COLUMN n; ALTER TABLE t ADD COLUMN n int DEFAULT 5")
    assert table.check().extracted == 0  # all rows have the one value
    table.sql("ALTER TABLE t ALTER COLUMN n TYPE bigint")
    table.check()
    assert table.check().extracted == 0


@pytest.mark.parametrize("default", ["", "DEFAULT 'd'"])
def test_a_column_dropped_and_added_again_has_nothing_of_the_old_one(table, default):
    table.sql("ALTER TABLE t DROP v")
    table.check()
    table.sql(f"ALTER TABLE t ADD v text {default}; UPDATE t SET n = 0 WHERE id = 1")
    assert table.check().extracted == 1
    table.sql("UPDATE t SET v = 'w' WHERE id = 2")
    assert table.check().extracted == 1


def test_a_column_left_out_for_a_while_is_read_whole(table):
    table.sync(exclude_columns=["v"])
    table.sql("UPDATE t SET v = NULL")
    table.sync(exclude_columns=["v"])
    assert table.check().extracted == 10000


def test_a_virtual_column_with_another_expression_changes_its_rows(mirror):
    if mirror.sql("SHOW server_version_num")[0][0] < "180000":
        pytest.skip("virtual columns came with PostgreSQL 18")
    mirror.sql(
        "CREATE TABLE t (id int PRIMARY KEY, n int, g int GENERATED ALWAYS AS (n * 2) VIRTUAL);"
        "INSERT INTO t (id, n) SELECT g, g FROM generate_series(1, 300) g"
    )
    mirror.check()
    assert mirror.sync(exclude_columns=["g"], where="g > 300").deleted == 150
    mirror.sql("ALTER TABLE t ALTER COLUMN g SET EXPRESSION AS (n * 3)")
    assert mirror.sync(exclude_columns=["g"], where="g > 300").inserted == 50
    mirror.same("id, n", where="g > 300")
    mirror.check()
    mirror.sql("ALTER TABLE t ALTER COLUMN g SET EXPRESSION AS (n * 4)")
    assert mirror.check().updated == 300
    assert mirror.check().extracted == 0


def test_a_composite_type_with_another_attribute_changes_its_rows(mirror):
    mirror.sql(
        "CREATE TYPE pair AS (a int, b int); CREATE TABLE t (id int PRIMARY KEY, x pair);"
        "INSERT INTO t SELECT g, (g, g)::pair FROM generate_series(1, 30) g"
    )
    mirror.check()
    mirror.sql("ALTER TYPE pair ADD ATTRIBUTE c int CASCADE")
    assert mirror.check().updated == 30
    assert mirror.check().extracted == 0


def test_a_value_of_an_enumeration_that_is_renamed_changes_its_rows(mirror):
    mirror.sql(
        "CREATE TYPE mood AS ENUM ('sad', 'glad'); CREATE DOMAIN feeling AS mood;"
        "CREATE TYPE felt AS (f feeling, n int); CREATE TABLE t (id int PRIMARY KEY, m mood, n mood[], f felt);"
        "INSERT INTO t VALUES (1, 'sad', '{glad}'), (2, 'glad', NULL)"
    )
    mirror.check("id, m")
    mirror.sql("ALTER TYPE mood ADD VALUE 'mad'")
    assert mirror.check("id, m").extracted == 0
    mirror.sql("ALTER TYPE mood RENAME VALUE 'sad' TO 'blue'")
    assert mirror.check("id, m").updated == 1
    assert mirror.check("id, m").extracted == 0
    mirror.sql("UPDATE t SET m = NULL, n = NULL, f = ('glad', 1) WHERE id = 1")
    mirror.check("id, f")
    mirror.sql("DELETE FROM t WHERE id = 2; ALTER TYPE mood RENAME VALUE 'glad' TO 'merry'")
    assert mirror.check("id, f").updated == 1


def test_a_column_renamed_in_the_target_is_read_once(table):
    result = table.sync(rename={"v": "w"})
    assert result.extracted == 10000
    assert table.world.target_rows("w") == table.world.source_rows("v")
    assert table.sync(rename={"v": "w"}).extracted == 0


def test_renamed_keys_are_told_apart_in_the_target(mirror):
    rename = {"rename": {"id": "key", "b": "other"}}
    mirror.sql(
        "CREATE TABLE t (id uuid, b int, v int, PRIMARY KEY (id, b)); "
        "INSERT INTO t SELECT md5(g::text)::uuid, g % 7 - 3, g FROM generate_series(1, 3000) g"
    )
    mirror.sync(**rename)
    mirror.sql("DELETE FROM t WHERE v IN (1, 100, 2000); UPDATE t SET v = -1 WHERE v = 5")
    result = mirror.sync(**rename)
    assert (result.extracted, result.updated, result.deleted) == (1, 1, 3)
    assert mirror.world.target_rows("key, other, v") == mirror.world.source_rows("id, b, v")


# --- predicates ---


def test_rows_that_leave_a_predicate_are_gone_and_those_that_enter_arrive(mirror):
    mirror.sql(
        "CREATE TABLE t (id int PRIMARY KEY, v text, n int); "
        "INSERT INTO t SELECT g, 'v' || g, g FROM generate_series(-500, 500) g"
    )
    where = {"where": "n >= 0 AND \"v\" <> 'v3'"}
    mirror.sync(**where)
    mirror.sql("UPDATE t SET n = -1 WHERE id = 10; UPDATE t SET n = 1 WHERE id = -5")
    result = mirror.sync(**where)
    assert (result.extracted, result.inserted, result.deleted) == (1, 1, 1)
    mirror.same(where="n >= 0 AND v <> 'v3'")


def test_a_predicate_that_comes_true_with_time(mirror):
    mirror.sql(
        "CREATE TABLE t (id int PRIMARY KEY, at timestamptz); CREATE TABLE clock AS SELECT now() AS at;"
        "INSERT INTO t SELECT g, now() + g * interval '1 hour' FROM generate_series(-500, 500) g"
    )
    where = {"where": "at < (SELECT max(at) FROM clock)"}
    mirror.sync(**where)
    mirror.sql("INSERT INTO clock SELECT at + interval '3 hours' FROM clock")
    result = mirror.sync(**where)
    assert (result.inserted, result.deleted) == (3, 0)
    mirror.same("id", where=where["where"])
    result = mirror.sync(where="at < (SELECT max(at) FROM clock) - interval '5 hours'")
    assert result.deleted == 5
