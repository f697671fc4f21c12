"""A PostgreSQL table in partitions, each with a snapshot of its own, while others write to it."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_elt_provider.connectors.postgres.first_load import PortionSizes
from airflow_elt_provider.connectors.postgres.source import PostgresSource
from airflow_elt_provider.core.secret import Secret
from airflow_elt_provider.errors import ConfigurationError, DataError, StaleLoadError
from tests.connectors.postgres.mirrors import KEYS, Place
from tests.contract.faults import PowerCutError
from tests.contract.partitioned import MIRROR, PartitionedRun

on_duckdb = pytest.mark.parametrize("mirror", ["duckdb"], indirect=True)
MOVES = (
    "UPDATE t SET n = n + 1 WHERE n % 97 = 0",
    "DELETE FROM t WHERE n % 101 = 0",
    "INSERT INTO t SELECT * FROM fresh WHERE n % 2 = 0",
    "UPDATE t SET id = (SELECT id FROM fresh WHERE n = 2001) WHERE n = (SELECT min(n) FROM t)",
)
"""Rows change, go, come, and move to another range by their key."""


def filled(mirror, kind: str = "int", rows: int = 2000, *, primary_key: str = "") -> None:
    column, value = KEYS[kind]
    new = f"SELECT {value}, 'v' || g, g FROM generate_series({{}}, {{}}) g"
    mirror.sql(
        f"CREATE TABLE t ({primary_key or column}, v text, n int); INSERT INTO t {new.format(1, rows)}; "
        f"CREATE TABLE fresh ({column}, v text, n int); INSERT INTO fresh {new.format(rows + 1, rows + 20)}; ANALYZE"
    )


def staged(run, plan):
    return [run.stage(run.extract(partition)) for partition in plan]


def test_what_moves_between_the_partitions_is_healed_by_the_next_run(mirror):
    filled(mirror)
    run = PartitionedRun(mirror.world, 4)
    plan = run.plan()
    refs = []
    for partition, move in zip(plan, MOVES, strict=True):
        refs.append(run.stage(run.extract(partition)))
        mirror.sql(move)
    result = run.merge(refs)
    assert result.consistent is False
    assert mirror.world.target_rows("id, v, n") != mirror.world.source_rows("id, v, n")
    healed = mirror.check(max_delete_ratio=1)
    assert healed.extracted > 0
    assert healed.consistent is True
    assert mirror.check().extracted == 0


@on_duckdb
@pytest.mark.parametrize("kind", ["int", "uuid", "text", "numeric", "char", "bytea"])
def test_keys_of_any_type_are_divided(mirror, kind):
    filled(mirror, kind)
    run = PartitionedRun(mirror.world, 5)
    plan = run.plan()
    refs = [run.extract(partition) for partition in plan]
    assert sum(ref.rows for ref in refs) == 2000
    assert [ref.rows for ref in refs] == [400] * 5
    assert run.merge([run.stage(ref) for ref in refs]).inserted == 2000
    shown = "v, n" if kind in {"char", "bytea"} else "*"  # DuckDB writes those in other ways
    assert mirror.check(shown).extracted == 0


@on_duckdb
def test_a_key_of_two_columns_is_divided(mirror):
    mirror.sql(
        "CREATE TABLE t (a int, b text, n int, PRIMARY KEY (a, b)); "
        "INSERT INTO t SELECT g / 900, 'b' || g, g FROM generate_series(1, 2000) g; ANALYZE"
    )
    run = PartitionedRun(mirror.world, 4)
    refs = [run.extract(partition) for partition in run.plan()]
    assert [ref.rows for ref in refs] == [500] * 4
    run.merge([run.stage(ref) for ref in refs])
    assert mirror.check().extracted == 0


@on_duckdb
def test_only_as_many_partitions_as_there_are_rows(mirror):
    mirror.sql("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1), (2); ANALYZE")
    assert [str(part) for part in PartitionedRun(mirror.world, 9).plan()] == ["1 of 2", "2 of 2"]
    mirror.sql("DELETE FROM t")
    assert PartitionedRun(mirror.world, 9).plan() == [None]
    assert PartitionedRun(mirror.world, 9).execute().inserted == 0


@on_duckdb
def test_rows_that_come_before_and_behind_all_others_are_read(mirror):
    filled(mirror)
    run = PartitionedRun(mirror.world, 2)
    plan = run.plan()
    mirror.sql("INSERT INTO t VALUES (-2147483648, 'first', 0), (2147483647, 'last', 0)")
    assert run.merge(staged(run, plan)).inserted == 2002
    assert mirror.check().extracted == 0


def test_a_partition_that_is_killed_goes_on_where_it_was(mirror):
    class LargePlace(Place):
        def source(self) -> PostgresSource:
            return PostgresSource(super().source()._settings, PortionSizes(rows=200, bytes=1))

    mirror.world.__class__ = LargePlace
    filled(mirror)
    run = PartitionedRun(mirror.world, 2)
    first, second = run.plan()
    ref = run.extract(first)
    with mirror.world.blowing_at(9), pytest.raises(PowerCutError):
        run.extract(second)
    read = {file.uri for file in mirror.world.stage().list() if "/portion-" in file.uri}
    mirror.sql("UPDATE t SET v = 'moved' WHERE n > 900")
    again = run.extract(second)
    assert read < {file.uri for file in mirror.world.stage().list() if "/portion-" in file.uri}
    assert run.merge([run.stage(ref), run.stage(again)]).inserted == 2000
    mirror.check()
    assert mirror.check().extracted == 0


def test_a_partition_that_is_cleared_before_the_merge_takes_its_own_place(mirror):
    filled(mirror)
    run = PartitionedRun(mirror.world)
    plan = run.plan()
    refs = staged(run, plan)
    mirror.sql("UPDATE t SET v = 'moved' WHERE n < 10")
    run.generations[1] = 1
    again = run.stage(run.extract(plan[0]))
    assert again.manifest.load_id != refs[0].manifest.load_id
    assert run.merge([refs[2], again, refs[1]]).inserted == 2000
    assert mirror.check().extracted == 0


def test_a_partition_that_is_cleared_after_the_merge_is_stale(mirror):
    filled(mirror)
    run = PartitionedRun(mirror.world)
    plan = run.plan()
    refs = staged(run, plan)
    merged = run.merge(refs)
    assert run.merge(refs).load_id == merged.load_id
    run.generations[1] = 1
    with pytest.raises(StaleLoadError, match=r"no longer the current one.*task that plans"):
        run.merge([run.stage(run.extract(plan[0])), *refs[1:]])
    run.plan()
    with pytest.raises(StaleLoadError, match="merged since it was planned"):
        run.extract(plan[1])


def test_clearing_the_merge_alone_does_nothing_even_once_all_files_are_gone(mirror):
    filled(mirror)
    run = PartitionedRun(mirror.world)
    refs = staged(run, run.plan())
    merged = run.merge(refs)
    stage = mirror.world.stage()
    stage.delete([file.uri for file in stage.list() if "/_state/" not in file.uri])
    again = run.merge(refs)
    assert (again.load_id, again.inserted, again.consistent) == (merged.load_id, 2000, False)
    with pytest.raises(DataError, match="gone from the stage"):
        run.merge(refs[:2])


@pytest.mark.heavy
def test_power_cuts_during_the_merge(mirror):
    filled(mirror, rows=300)
    run = PartitionedRun(mirror.world)
    refs = staged(run, run.plan())
    for moment in range(1, 60):
        with mirror.world.blowing_at(moment):
            try:
                result = run.merge(refs)
            except PowerCutError:
                continue
        break
    assert moment > 6
    assert result.inserted == 300
    mirror.same()
    assert mirror.check().extracted == 0


@on_duckdb
def test_partitions_that_do_not_go_together(mirror):
    filled(mirror)
    run, other = PartitionedRun(mirror.world), PartitionedRun(mirror.world, 4)
    refs, others = staged(run, run.plan()), staged(other, other.plan())
    with pytest.raises(ConfigurationError, match=r"misses partition 2 of 3"):
        run.merge([refs[0], refs[2]])
    with pytest.raises(ConfigurationError, match=r"has partition 2 twice of 3"):
        run.merge([*refs, refs[1]])
    with pytest.raises(StaleLoadError, match="not of one division"):
        run.merge([refs[0], *others[1:]])
    with pytest.raises(ConfigurationError, match="staged is empty"):
        run.merge([])
    whole = PartitionedRun(mirror.world, 1)
    alone = whole.stage(whole.extract(None))
    with pytest.raises(ConfigurationError, match="a load by itself"):
        run.merge([*refs, alone])


@on_duckdb
def test_a_table_that_was_altered_since_it_was_divided(mirror):
    filled(mirror)
    run = PartitionedRun(mirror.world)
    plan = run.plan()
    mirror.sql("ALTER TABLE t ADD COLUMN more int DEFAULT 3")
    with pytest.raises(StaleLoadError, match="was altered since"):
        run.extract(plan[0])


@on_duckdb
def test_with_a_checkpoint_one_task_compares_all_and_a_full_refresh_divides_again(mirror):
    filled(mirror)
    PartitionedRun(mirror.world).execute()
    mirror.sql("DELETE FROM t WHERE n = 7")
    later = PartitionedRun(mirror.world)
    assert later.plan() == [None]
    assert (later.execute().deleted, later.execute().consistent) == (1, True)
    mirror.sql("DELETE FROM t WHERE n = 8")
    refresh = PartitionedRun(mirror.world, parameters={"full_refresh": True})
    assert len(refresh.plan()) == 3
    assert refresh.execute().deleted == 1
    assert mirror.check().extracted == 0


@on_duckdb
@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"capture": "full"}, "needs capture='fingerprint', not 'full'"),
        ({"capture": "xmin", "deletes": "ignore"}, "needs capture='fingerprint', not 'xmin'"),
        ({"capture": {"fingerprint": {"consistent": True}}}, "wants one snapshot"),
        ({"max_quarantined_rows": 3}, "does not go with max_quarantined_rows"),
        ({"primary_key": ["n"]}, "no index that makes n unique"),
        ({"hash_columns": {"id": "k"}}, "column id of the key is masked"),
        ({"hash_columns": {"id": "k"}, "primary_key": ["id"]}, "column id of the key is masked"),
        ({"source_table": "v"}, "a view cannot be read range by range"),
    ],
)
def test_what_cannot_be_divided_is_refused(mirror, parameters, said):
    filled(mirror)
    mirror.sql("CREATE VIEW v AS TABLE t")
    keyed = {"primary_key": ["id"]} if "source_table" in parameters else {}
    secrets = {"keys": {"k": Secret("a key of thirty-two characters..")}}
    run = PartitionedRun(mirror.world, parameters={**keyed, **parameters, **secrets})
    with pytest.raises(ConfigurationError, match=said):
        run.plan()


@on_duckdb
def test_no_number_of_partitions(mirror):
    filled(mirror)
    with pytest.raises(ConfigurationError, match="partitions=0"):
        PartitionedRun(mirror.world, 0).plan()


@on_duckdb
def test_history_in_partitions(mirror):
    filled(mirror)
    parameters = {"mode": "history"}
    PartitionedRun(mirror.world, parameters=parameters).execute()
    mirror.sql("UPDATE t SET v = 'moved' WHERE n < 3")
    assert PartitionedRun(mirror.world, parameters=parameters).execute().inserted == 2
    assert mirror.world.target_rows("n", "_elt_is_current") == mirror.world.source_rows("n")


@on_duckdb
def test_partitions_of_a_partitioned_table_and_with_a_predicate(mirror):
    mirror.sql(
        "CREATE TABLE t (id int PRIMARY KEY, n int) PARTITION BY RANGE (id); "
        "CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (700); "
        "CREATE TABLE t2 PARTITION OF t FOR VALUES FROM (700) TO (9999); "
        "INSERT INTO t SELECT g, g FROM generate_series(0, 1999) g; ANALYZE"
    )
    even = {"where": "n % 2 = 0 -- even"}
    assert PartitionedRun(mirror.world, parameters=even).execute().inserted == 1000
    mirror.same(where="n % 2 = 0")
    assert mirror.sync(**even).extracted == 0


@on_duckdb
def test_keys_that_look_like_something_else_survive_the_way_through_json(mirror):
    mirror.sql(
        'CREATE TABLE t ("we""ird _elt_tile" text COLLATE "C" PRIMARY KEY); INSERT INTO t VALUES (\'{{ x }}\'), '
        "('it''s'), ('a\\b'), ('%s'), ('日本'), (''), (' '), ('null'); ANALYZE"
    )
    run = PartitionedRun(mirror.world, 8)
    plan = run.plan()
    assert len(plan) == 8
    assert json.dumps([part.to_json() for part in plan])
    refs = [run.extract(part) for part in plan]
    assert [ref.rows for ref in refs] == [1] * 8
    assert run.merge([run.stage(ref) for ref in refs]).inserted == 8


STEP = st.tuples(st.integers(0, 3), st.integers(-30, 60), st.integers(-30, 60))


@pytest.mark.heavy
@on_duckdb
@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.lists(STEP, max_size=4), min_size=1, max_size=4))
def test_whatever_moves_meanwhile_the_next_run_heals(mirror, steps):
    mirror.sql(
        "DROP TABLE IF EXISTS t; CREATE TABLE t (id int PRIMARY KEY, n int); "
        "INSERT INTO t SELECT g, g FROM generate_series(-20, 40) g; ANALYZE t"
    )
    fresh = {"full_refresh": True}
    run = PartitionedRun(mirror.world, len(steps), parameters=fresh)
    refs = []
    for partition, moves in zip(run.plan(), steps, strict=True):
        refs.append(run.extract(partition))
        for kind, one, other in moves:
            mirror.sql(
                (
                    f"UPDATE t SET n = n + 1 WHERE id >= {one}",
                    f"DELETE FROM t WHERE id = {one}",
                    f"INSERT INTO t VALUES ({one}, {other}) ON CONFLICT (id) DO UPDATE SET n = t.n + 1",
                    f"UPDATE t SET id = {other} WHERE id = {one} AND NOT EXISTS (SELECT FROM t WHERE id = {other})",
                )[kind]
            )
    run.merge([run.stage(ref) for ref in refs])
    mirror.check(**{**MIRROR, "allow_empty": True})
    assert mirror.check().extracted == 0
