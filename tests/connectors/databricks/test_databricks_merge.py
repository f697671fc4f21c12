"""Databricks: the stories of every destination, and what only Databricks has."""

from __future__ import annotations

from datetime import datetime, time, timedelta

import pytest

from airflow_elt_provider.errors import ConfigurationError
from tests.connectors.merge_stories import ONE, TWO, MergeStories
from tests.connectors.staged_loads import bring_in, column, odd, staged


class TestDatabricks(MergeStories):
    """Every story."""

    test_a_thousand_columns = None  # Sail takes minutes for it

    def test_null_and_empty_differ_and_nan_equals_itself(self, destination, loads, rows):
        """The driver shows NaN as None, text does not."""
        loads.columns = ("id bigint", "name text", "f double")
        loads.merge(destination, (1, None, 0.5), (2, "", 0.5), (3, "x", float("nan")))
        assert loads.merge(destination, (1, "", 0.5), (2, None, 0.5), (3, "x", float("nan"))).updated == 2
        assert rows("id, name, CAST(f AS string)") == [(1, "", "0.5"), (2, None, "0.5"), (3, "x", "NaN")]

    def test_replace_keeps_columns_that_users_added(self, destination, loads, rows, execute):
        loads.merge(destination, ONE, TWO, mode="replace")
        execute(f"ALTER TABLE {self.target} ADD COLUMN mine string")
        execute(f"UPDATE {self.target} SET mine = 'kept'")
        changed = [(at, "new", None) for at in (1, 2)]
        assert loads.merge(destination, *changed, mode="replace").updated == 2
        assert rows("id, name, mine") == [(1, "new", "kept"), (2, "new", "kept")]

    def test_odd_names(self, destination, loads, query):
        """Column mapping takes any name; the infinite has no equal and is counted."""
        names = [
            'Käse "1"',
            "a.b",
            "100%s",
            "日本",
            "it's",
            "back\\slash",
            "$.x",
            "select",
            "with space",
            "tick`",
            "a?",
        ]
        loads.columns, loads.key = [column(f"{name} date") for name in names] + [column("ID bigint")], ("ID",)
        loads.target = "raw.Ta%s日本"
        row = odd(*[None] * len(names), 1, **dict.fromkeys(names, "0044-03-15 BC"))
        assert loads.merge(destination, row).inserted == 1
        assert loads.merge(destination, row).updated == 0
        loads.merge(destination, row, mode="replace", version=None, interval=_interval(), cursor="ID")
        for name in names:
            found = query(f"SELECT CAST(`{name.replace('`', '``')}` AS string) FROM raw.`ta%s日本`")
            assert found == [("-0043-03-15",)], name
        infinite = odd(*[None] * len(names), 2, **dict.fromkeys(names, "infinity"))
        assert loads.merge(destination, infinite).nulled == dict.fromkeys(names, 1)


def _interval():
    from airflow_elt_provider.core.plan import Interval

    return Interval("0", "2")


@pytest.fixture
def loads(tmp_path):
    from tests.connectors.staged_loads import Loads

    return Loads(tmp_path, "raw.item")


def test_times_of_day_become_text(destination, loads, query):
    """Spark refuses their type in Parquet, so the worker writes them anew."""
    loads.columns = ("id bigint", "at time")
    rows = [(1, time(1, 2, 3)), (2, time(1, 2, 3, 400)), (3, time(0, 0)), (4, None)]
    loads.merge(destination, *rows, odd(5, None, at="24:00:00"))
    found = query("SELECT id, at FROM raw.item ORDER BY id")
    assert found == [(1, "01:02:03"), (2, "01:02:03.0004"), (3, "00:00:00"), (4, None), (5, "24:00:00")]
    assert loads.merge(destination, *rows, odd(5, None, at="24:00:00")).updated == 0


@pytest.mark.parametrize("target", ["raw.with space", 'raw."a.b"', "raw.a/b", "a.b.c.d", "raw.\x07"])
def test_names_that_unity_catalog_does_not_take(destination, loads, target):
    with pytest.raises(ConfigurationError, match=r"no name for a table|more parts"):
        bring_in(destination, loads.make(ONE, target=target), loads.stage)


def test_columns_that_only_case_tells_apart(destination, loads):
    with pytest.raises(ConfigurationError, match="one name in Databricks"):
        loads.merge(destination, (1, 2), columns=("id bigint", "ID bigint"))


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"cluster_by": "day"}, "no list of columns"),
        ({"partition_by": ["id"], "cluster_by": ["id"]}, "exclude each other"),
        ({"properties": ["x"]}, "no mapping"),
    ],
)
def test_options_that_no_table_can_have(destination, loads, options, problem):
    loads.settings = {"table_options": options}
    with pytest.raises(ConfigurationError, match=problem):
        loads.merge(destination, ONE)


def test_options_of_the_table(server, destination, loads, query):
    loads.settings = {
        "table_options": {"cluster_by": ["id"], "properties": {"delta.logRetentionDuration": "interval 60 days"}}
    }
    loads.merge(destination, ONE)
    created = next(sql for sql in reversed(server.statements()) if "CREATE TABLE IF NOT EXISTS `main`.`raw`" in sql)
    assert "CLUSTER BY (`id`)" in created
    assert "'delta.logRetentionDuration' = 'interval 60 days'" in created
    assert query("SELECT id FROM raw.item") == [(1,)]


def test_uploads_do_not_stay(server, destination, loads, work, settings):
    loads.merge(destination, ONE, TWO)
    dead = staged(destination, loads.make(ONE), loads.stage)
    assert work.staging_tables() == [dead.staging]
    assert list(destination.collect_garbage(timedelta(days=1))) == []
    assert destination.staged(dead.load_id) == dead.staging
    assert list(destination.collect_garbage(timedelta(0))) == [dead.staging]
    assert destination.staged(dead.load_id) is None
    assert uploads(server, settings) == []


def uploads(server, settings):
    folder = server.volumes / settings["volume"].removeprefix("/Volumes/")
    return [path for path in folder.rglob("*") if path.is_file()]


def test_uploads_of_a_killed_task_are_removed(server, destination, loads, settings, seen, work):
    class KilledError(BaseException):
        pass

    def die(sql):
        if sql.startswith("COPY INTO"):
            raise KilledError

    with pytest.raises(KilledError):
        staged(work.open(die), loads.make(ONE, TWO), loads.stage)
    removed = list(destination.collect_garbage(timedelta(0)))
    assert len([name for name in removed if name.startswith("/Volumes/")]) == 2
    assert uploads(server, settings) == []


def test_a_change_of_type_that_died_is_finished(destination, loads, query, work):
    """Whichever of its six statements was the last."""
    for dies_before in range(6):
        loads.target, loads.stream, loads.version = f"raw.item{dies_before}", f"stream{dies_before}", 0
        loads.merge(destination, ONE)
        text = ("id bigint", "name text", "amount text")
        load = loads.make((2, "b", "many"), columns=text)
        statements = [0]

        class KilledError(BaseException):
            pass

        def die(sql, statements=statements, dies_before=dies_before, error=KilledError):
            statements[0] += "_elt_new_" in sql or "_elt_old_" in sql
            if statements[0] > dies_before:
                raise error

        with pytest.raises(KilledError):
            work.open(die).prepare(staged(destination, load, loads.stage))
        bring_in(destination, load, loads.stage)
        found = query(f"SELECT id, name, amount FROM {loads.target} ORDER BY 1")
        assert found == [(1, "a", "1.10"), (2, "b", "many")], dies_before
        assert set(work.columns(loads.target)) == {"id", "name", "amount"}


def test_rows_that_come_during_a_change_of_type_keep_their_values(destination, loads, query, work):
    """Somebody writes after the new column was filled, and before it takes the old one's name."""
    loads.merge(destination, ONE)

    def meanwhile(sql):
        if "RENAME COLUMN `amount` TO" in sql:
            work.run("INSERT INTO raw.item (id, name, amount) VALUES (7, 'g', 7.5)")

    load = loads.make((2, "b", "many"), columns=("id bigint", "name text", "amount text"))
    work.open(meanwhile).prepare(staged(destination, load, loads.stage))
    assert query("SELECT id, amount FROM raw.item ORDER BY 1") == [(1, "1.10"), (7, "7.50")]


def test_a_column_without_a_time_zone_is_added(server, destination, loads, query):
    loads.merge(destination, ONE)
    before = len(server.statements())
    columns = ("id bigint", "name text", "amount decimal(12,2)", "at timestamp")
    loads.merge(destination, (2, "b", None, datetime(2026, 1, 2, 3, 4, 5)), columns=columns)
    assert query("SELECT id, CAST(at AS string) FROM raw.item ORDER BY 1") == [(1, None), (2, "2026-01-02 03:04:05")]
    altered = [sql for sql in server.statements()[before:] if "ALTER TABLE `main`.`raw`.`item`" in sql]
    assert "'delta.feature.timestampNtz' = 'supported'" in altered[0]


def test_statements_carry_their_task(server, settings, loads):
    from airflow_elt_provider.connectors.databricks.destination import DatabricksDestination
    from airflow_elt_provider.connectors.databricks.settings import DatabricksSettings
    from airflow_elt_provider.core.secret import Secret

    tagged = {**settings, "token": Secret(settings["token"]), "tags": {"dag": "elt */ drop", "task": "actor"}}
    destination = DatabricksDestination(DatabricksSettings(**tagged))
    before = len(server.statements())
    loads.merge(destination, ONE)
    destination.close()
    ours = [sql for sql in server.statements()[before:] if "`main`" in sql]
    assert ours
    assert all(sql.startswith('/* {"dag": "elt * / drop", "task": "actor"} */ ') for sql in ours)
