"""Xmin capture, one rule at a time, and into DuckDB."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from airflow_elt_provider.core.capture import Xmin
from airflow_elt_provider.errors import ConfigurationError
from tests.contract.candidates import DESTINATIONS
from tests.contract.world import World

XMIN = Xmin()


@pytest.fixture
def follow(read):
    """Read again and again, each time from where the last read ended."""

    class Follow:
        position = None
        notes = ""

        def __call__(self, **parameters):
            found = read(since=self.position, capture=XMIN, **parameters)
            self.position, self.notes = found.changes.outcome().position, found.notes
            return found.ids

        def of_epoch(self, **changes):
            snapshot = self.position.snapshot
            epoch = json.dumps({**json.loads(snapshot.epoch), **changes})
            self.position = replace(self.position, snapshot=replace(snapshot, epoch=epoch))

        def of_xmin(self, moved):
            snapshot = self.position.snapshot
            self.position = replace(self.position, snapshot=replace(snapshot, xmin=snapshot.xmin + moved))

    return Follow()


@pytest.fixture
def table(sql):
    sql("CREATE TABLE t (id int PRIMARY KEY, v text)", "INSERT INTO t SELECT g, 'v' FROM generate_series(1, 5) g")


def test_inserts_and_updates_arrive_and_an_idle_run_stays(table, follow, sql):
    assert follow() == [1, 2, 3, 4, 5]
    before = follow.position
    assert follow() == []
    assert follow.position == before
    sql("INSERT INTO t VALUES (6, 'new')", "UPDATE t SET v = 'w' WHERE id = 2", "DELETE FROM t WHERE id = 3")
    assert follow() == [2, 6]
    assert follow() == []


def test_a_late_commit_is_found(table, follow, sql, postgres_server, dbname):
    late = postgres_server.connect(dbname)
    with late.cursor() as cursor:
        cursor.execute("INSERT INTO t VALUES (10, 'late')")
    sql("INSERT INTO t VALUES (11, 'early')")
    assert follow() == [1, 2, 3, 4, 5, 11]
    assert follow() == [11]  # later than the oldest transaction that is not over
    late.commit()
    late.close()
    assert follow() == [10, 11]
    assert follow() == []


def test_vacuum_changes_nothing(table, follow, sql):
    follow()
    sql("VACUUM (FULL, FREEZE) t")
    assert follow() == []


def test_an_added_column_with_a_default_is_filled_in(table, follow, sql, read):
    follow()
    sql("ALTER TABLE t ADD COLUMN c int DEFAULT 7", "UPDATE t SET c = 8 WHERE id = 1")
    found = read(since=follow.position, capture=XMIN)
    assert found.changes.backfill == {"c": "7"}
    assert found.ids == [1]


def test_a_column_whose_old_values_are_not_known_means_reading_everything(table, follow):
    follow(exclude_columns=("v",))
    assert follow() == [1, 2, 3, 4, 5]
    assert "reading the whole table once" in follow.notes
    assert follow() == []


def test_other_names_types_and_labels_mean_reading_everything(follow, sql):
    sql(
        "CREATE TYPE mood AS ENUM ('sad', 'glad')",
        "CREATE TABLE t (id int PRIMARY KEY, m mood)",
        "INSERT INTO t VALUES (1, 'sad'), (2, 'glad')",
    )
    assert follow() == [1, 2]
    sql("ALTER TYPE mood RENAME VALUE 'sad' TO 'blue'")
    assert (follow(), "enumeration was renamed" in follow.notes) == ([1, 2], True)
    assert (follow(rename={"m": "w"}), "column m has another name" in follow.notes) == ([1, 2], True)
    assert follow(rename={"m": "w"}) == []


@pytest.mark.parametrize(
    "part", [{"timeline": 99}, {"relation": 1}, {"server": 9}, {"database": 1}], ids=lambda part: next(iter(part))
)
def test_another_epoch_means_reading_everything(table, follow, part):
    follow()
    follow.of_epoch(**part)
    assert follow() == [1, 2, 3, 4, 5]
    assert "reading everything once; rows that are gone stay" in follow.notes
    assert follow() == []


@pytest.mark.parametrize("moved", [-(1 << 31), 1 << 20])
def test_transactions_out_of_reach_mean_reading_everything(table, follow, moved):
    follow()
    follow.of_xmin(moved)
    assert follow() == [1, 2, 3, 4, 5]


def test_an_old_snapshot_is_renewed_although_nothing_changed(table, follow, sql):
    sql("TRUNCATE t")
    follow()
    follow.of_xmin(-200_000_000)
    before = follow.position
    assert follow() == []
    assert follow.position.snapshot.xmin > before.snapshot.xmin + 100_000_000


def test_a_partition_that_was_filled_before_it_was_attached(follow, sql):
    sql(
        "CREATE TABLE t (id int PRIMARY KEY) PARTITION BY RANGE (id)",
        "CREATE TABLE p PARTITION OF t FOR VALUES FROM (0) TO (10)",
        "CREATE TABLE q (id int PRIMARY KEY)",
        "INSERT INTO p VALUES (1), (2)",
        "INSERT INTO q VALUES (11), (12)",
    )
    assert follow() == [1, 2]
    sql("ALTER TABLE t ATTACH PARTITION q FOR VALUES FROM (10) TO (20)")
    assert follow() == [11, 12]
    assert follow() == []


def test_what_has_no_row_versions_is_refused(sql, follow):
    sql("CREATE TABLE b (id int)", "CREATE VIEW t AS SELECT * FROM b")
    with pytest.raises(ConfigurationError, match="compares by content"):
        follow()
    sql("DROP VIEW t", "CREATE MATERIALIZED VIEW t AS SELECT * FROM b")
    with pytest.raises(ConfigurationError, match="materialized view"):
        follow()


def test_a_predicate_and_several_streams(sql, follow):
    sql(
        "CREATE TABLE t (id int PRIMARY KEY, v text)",
        "INSERT INTO t SELECT g, repeat('x', 500) FROM generate_series(1, 9000) g",
    )
    assert len(follow(where="id % 2 = 0", parallelism=3)) == 4500
    sql("UPDATE t SET v = 'w' WHERE id IN (5, 6, 8000)")
    assert follow(where="id % 2 = 0", parallelism=3) == [6, 8000]


@pytest.mark.parametrize("mode", ["merge", "history"])
def test_into_a_target(servers, postgres_server, tmp_path, mode):
    with postgres_server.database() as dbname, DESTINATIONS["duckdb"].open(servers, tmp_path) as destination:
        world = World(postgres_server, dbname, tmp_path, destination, "public.t", "raw.t")
        world.run_at_source("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'a'), (2, 'b')")
        parameters = {"capture": "xmin", "mode": mode}
        assert world.sync(**parameters).inserted == 2
        assert world.sync(**parameters).extracted == 0
        world.run_at_source("UPDATE t SET v = 'c' WHERE id = 2; INSERT INTO t VALUES (3, 'd')")
        assert world.sync(**parameters).extracted == 2
        current = "_elt_is_current" if mode == "history" else "true"
        assert world.target_rows("id, v", current) == [("1", "a"), ("2", "c"), ("3", "d")]
