"""The operators under Airflow, on a real PostgreSQL and a real DuckDB."""

from __future__ import annotations

import json
from contextlib import closing

import pytest

from tests.airflow import in_process
from tests.airflow.in_process import dags_folder

pytestmark = pytest.mark.lowest

SYNC = """
SyncTableOperator(task_id="actor", source_conn_id="rds", source_table="public.actor", destination_conn_id="lake",
                  target_table="raw.actor", capture="cursor", cursor_column="last_update")
"""
STEPS = """
extract = ExtractOperator(task_id="extract", source_conn_id="rds", source_table="public.actor",
                          target_table="raw.actor", {origin}, {parameters})
stage = StageOperator(task_id="stage", manifest=extract.output, destination_conn_id="lake", target_table="raw.actor")
merge = MergeOperator(task_id="merge", staged=stage.output, destination_conn_id="lake")
"""
ACTORS = [(1, "actor 1"), (2, "actor 2"), (3, "actor 3")]
COUNTS = ("extracted", "inserted", "updated", "deleted")


def counts(result):
    return tuple(result[name] for name in COUNTS)


def test_sync_brings_what_is_new_and_then_nothing(place):
    result = in_process.run(SYNC).one()
    assert counts(result) == (3, 3, 0, 0)
    assert result["stream"] == "rds.public.actor->raw.actor"
    assert set(result["seconds"]) == {"extract", "stage", "merge"}
    assert result["checkpoint"].startswith("2026-01-04")
    assert json.loads(json.dumps(result)) == result
    assert place.lake("SELECT id, name FROM raw.actor ORDER BY id") == ACTORS
    assert counts(in_process.run(SYNC).one()) == (0, 0, 0, 0)
    place.sql(
        "INSERT INTO actor VALUES (4, 'actor 4', now()); UPDATE actor SET name = 'x', last_update = now() WHERE id = 1"
    )
    assert counts(in_process.run(SYNC).one())[1:] == (1, 1, 0)


@pytest.mark.parametrize(
    "parameters", ["capture='cursor', cursor_column='last_update'", "mode='replace'", "mode='append'"]
)
def test_three_steps_hand_over_by_reference(place, parameters):
    run = in_process.run(STEPS.format(origin="destination_conn_id='lake'", parameters=parameters))
    assert run.state == "success"
    assert set(run.xcoms["extract"]) >= {"manifest", "sha256", "load_id", "rows", "bytes"}
    assert run.xcoms["extract"]["rows"] == 3
    assert counts(run.xcoms["merge"]) == (3, 3, 0, 0)
    assert place.lake("SELECT id, name FROM raw.actor ORDER BY id") == ACTORS


def test_checkpoint_arrives_by_xcom_where_extract_cannot_ask(place):
    body = """
checkpoint = CheckpointOperator(task_id="checkpoint", destination_conn_id="lake", source_conn_id="rds",
                                source_table="public.actor", target_table="raw.actor")
""" + STEPS.format(origin="checkpoint=checkpoint.output", parameters="capture='cursor', cursor_column='last_update'")
    first, second = in_process.run(body), in_process.run(body)
    assert first.xcoms["checkpoint"]["checkpoint"] is None
    assert second.xcoms["checkpoint"]["checkpoint"]["version"] == 1
    assert counts(first.xcoms["merge"]) == (3, 3, 0, 0)
    assert counts(second.xcoms["merge"]) == (0, 0, 0, 0)


def test_full_extract_may_do_without_a_checkpoint(place):
    body = STEPS.format(origin="retries=0", parameters="mode='merge', deletes='hard'")
    in_process.run(body)
    place.sql("DELETE FROM actor WHERE id = 2")
    assert counts(in_process.run(body).xcoms["merge"]) == (2, 0, 0, 1)
    assert place.lake("SELECT id FROM raw.actor ORDER BY id") == [(1,), (3,)]


def test_templates(place):
    (dags_folder() / "actors.sql").write_text("SELECT * FROM actor WHERE id <> {{ params.without }}")
    body = """
common = dict(source_conn_id="rds", destination_conn_id="lake", primary_key=["id"])
SyncTableOperator(task_id="table", source_table="public.{{ params.table }}", target_table="raw.{{ params.table }}",
                  where="id < {{ params.below }}", full_refresh="{{ params.again }}", **common)
SyncTableOperator(task_id="query", query="actors.sql", target_table="raw.some", **common)
SyncTableOperator(task_id="day", source_table="public.actor", target_table="raw.day", cursor_column="last_update",
                  interval=("{{ ds }}", "{{ macros.ds_add(ds, 1) }}"), mode="append", **common)
"""
    run = in_process.run(
        body,
        date=in_process.DATE.replace(day=3),
        params={"table": "actor", "below": 3, "again": True, "without": 2},
    )
    assert run.state == "success"
    assert counts(run.xcoms["table"]) == (2, 2, 0, 0)
    assert place.lake("SELECT id FROM raw.some ORDER BY id") == [(1,), (3,)]
    assert place.lake("SELECT id FROM raw.day") == [(2,)]


def test_expand(place):
    place.sql("CREATE TABLE film AS TABLE actor; ALTER TABLE film ADD PRIMARY KEY (id)")
    body = """
SyncTableOperator.partial(task_id="each", source_conn_id="rds", destination_conn_id="lake").expand_kwargs(
    [{"source_table": f"public.{name}", "target_table": f"raw.{name}"} for name in ("actor", "film")])
"""
    run = in_process.run(body)
    assert [counts(run.xcoms[f"each[{n}]"]) for n in (0, 1)] == [(3, 3, 0, 0)] * 2


def test_expand_three_steps(place):
    body = """
extract = ExtractOperator.partial(task_id="extract", source_conn_id="rds", destination_conn_id="lake", mode="replace",
    ).expand_kwargs([{"source_table": "public.actor", "target_table": "raw.actor"}])
stage = StageOperator.partial(task_id="stage", destination_conn_id="lake", target_table="raw.actor",
    ).expand(manifest=extract.output)
MergeOperator.partial(task_id="merge", destination_conn_id="lake").expand(staged=stage.output)
"""
    run = in_process.run(body)
    assert counts(run.xcoms["merge[0]"]) == (3, 3, 0, 0)


def test_sync_tables_names_its_tasks_by_table(place):
    place.sql(
        'CREATE TABLE "odd.na""me" AS TABLE actor; ALTER TABLE "odd.na""me" ADD PRIMARY KEY (id);'
        "CREATE TABLE tmp_1 (id int PRIMARY KEY)"
    )
    body = """
sync_tables(group_id="all", source_conn_id="rds", source_schema="public", exclude=["tmp_*"], destination_conn_id="lake",
            target_table="{prefix}{schema}.{table}", prefix="raw_", max_active_tables=1,
            overrides={"actor": {"capture": "cursor", "cursor_column": "last_update"}, "a*": {"where": "id > 1"}})
"""
    run = in_process.run(body)
    assert run.state == "success"
    assert [item["source_table"] for item in run.xcoms["all.tables"]] == ["public.actor", 'public."odd.na""me"']
    assert place.lake("SELECT count(*) FROM raw_public.actor") == [(2,)]
    assert place.lake('SELECT count(*) FROM raw_public."odd.na""me"') == [(3,)]
    assert run.xcoms["all.sync[0]"]["checkpoint"], "the override made it a cursor capture"
    labels = {ti.rendered_map_index for ti in run.run.get_task_instances() if ti.map_index >= 0}
    assert labels == {"public.actor", 'public."odd.na""me"'}


def test_sync_tables_says_when_nothing_fits(place):
    body = """
sync_tables(group_id="all", source_conn_id="rds", source_schema="pulbic", destination_conn_id="lake", retries=3)
"""
    run = in_process.run(body)
    assert run.states["all.tables"] == "failed"
    assert run.tries["all.tables"] == 1


def test_cleanup(place):
    in_process.run(SYNC)
    run = in_process.run("""
StageCleanupOperator(task_id="keep", destination_conn_id="lake") >> StageCleanupOperator(task_id="drop", older_than="0")
""")
    assert run.xcoms["keep"]["files"] == 0
    assert run.xcoms["drop"]["files"] == 2  # a part and its manifest


@pytest.fixture
def other(place):
    """Lend a PostgreSQL as the destination, known as `pg`."""
    with place.server.database() as name, in_process.environment(AIRFLOW_CONN_PG=place.server.airflow_connection(name)):
        yield type(place)(place.server, name, place.folder)


@pytest.mark.parametrize("mode", ["merge", "append", "replace"])
def test_into_postgres(place, other, mode):
    body = SYNC.replace('"lake"', '"pg"').replace('cursor_column="last_update"', "mode=" + repr(mode))
    body = body.replace('capture="cursor"', 'capture="full"')
    assert counts(in_process.run(body).one()) == (3, 3, 0, 0)
    assert other.sql("SELECT id, name FROM raw.actor ORDER BY id") == ACTORS


def test_three_steps_into_postgres_by_a_literal_uri(place, other):
    literal = "\"{{ ti.xcom_pull('extract')['manifest'] }}\""
    body = STEPS.format(origin="destination_conn_id='pg'", parameters="cursor_column='last_update'") + "stage >> merge"
    run = in_process.run(body.replace('"lake"', '"pg"').replace("staged=stage.output", f"staged={literal}"))
    assert run.xcoms["stage"]["staging"], "PostgreSQL has a staging table"
    assert counts(run.xcoms["merge"]) == (3, 3, 0, 0)


def test_a_timeout_cancels_the_merge_too(place, other):
    body = SYNC.replace('"lake"', '"pg"')
    in_process.run(body)
    place.sql("UPDATE actor SET name = 'x', last_update = now() WHERE id = 1")
    with closing(place.server.connect(other.dbname)) as holder, holder.cursor() as cursor:
        cursor.execute("LOCK TABLE raw.actor")
        with in_process.airflow_2_raises_timeouts():
            run = in_process.run(body.replace("target_table", "execution_timeout=timedelta(seconds=3), target_table"))
            assert run.state == "failed"
        waiting = other.sql(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
    assert waiting == [(0,)]
    assert counts(in_process.run(body).one()) == (1, 0, 1, 0)


FAILURES = {
    "no such table": ("source_table='public.nothing'", 1),
    "no such connection": ("source_table='public.actor', source_conn_id='nobody'", 1),
    "unknown connection type": ("source_table='public.actor', source_conn_id='odd'", 1),
    "wrong password": ("source_table='public.actor', source_conn_id='wrong'", 1),
    "no stage": ("source_table='public.actor', stage='None'", 1),
    "unknown stage": ("source_table='public.actor', stage='ftp://x/y'", 1),
    "stage of another type": ("source_table='public.actor', stage='s3://bucket/x', stage_conn_id='rds'", 1),
    "no key": ("query='SELECT * FROM actor'", 1),
    "failed check": ("source_table='public.actor', checks=['row_count(min=4)']", 1),
    "rendered to nothing": ("source_table='{{ None }}'", 1),
    "server away": ("source_table='public.actor', source_conn_id='away'", 3),
}


@pytest.mark.parametrize(("parameters", "tries"), FAILURES.values(), ids=FAILURES.keys())
def test_only_what_a_retry_can_mend_is_retried(place, parameters, tries, capfd, caplog):
    connections = {
        "AIRFLOW_CONN_ODD": "http://host",
        "AIRFLOW_CONN_WRONG": place.server.airflow_connection(place.dbname).replace(place.server.password, "hunter2"),
        "AIRFLOW_CONN_AWAY": "postgres://u:hunter2@127.0.0.1:1/db",
    }
    given = f"dict(source_conn_id='rds') | dict({parameters})"
    body = f"""
SyncTableOperator(task_id="actor", destination_conn_id="lake", target_table="raw.actor", retries=2,
                  retry_delay=timedelta(0), **({given}))
"""
    with in_process.environment(**connections):
        run = in_process.run(body)
    assert run.state == "failed"
    assert run.tries["actor"] == tries
    said = "".join(capfd.readouterr()) + caplog.text
    assert "Remedy: " in said
    assert "hunter2" not in said
    if place.folder.joinpath("lake.duckdb").exists():
        tables = place.lake("SELECT table_name FROM information_schema.tables WHERE table_schema = 'raw'")
        assert not tables or place.lake("SELECT count(*) FROM raw.actor") == [(0,)]
