"""Many tables in one group, some of them broken, and one table in many parts, under Airflow."""

from __future__ import annotations

import json

import pytest

from airflow_elt_provider.errors import DataError
from airflow_elt_provider.operators._table_outcomes import COUNTS, reason
from airflow_elt_provider.operators.summary import _SILENT, Summary
from tests.airflow import in_process

pytestmark = pytest.mark.lowest

ALL = """
sync_tables(group_id="all", source_conn_id="rds", source_schema="public", destination_conn_id="lake", retries=0,
            target_table="raw.{{table}}", {parameters})
"""
PARTS = """
from airflow_elt_provider.task_groups import sync_partitioned_table
sync_partitioned_table(group_id="big", source_conn_id="rds", source_table="public.actor", destination_conn_id="lake",
                       target_table="raw.actor", deletes="hard", max_delete_ratio=1, partitions=3, {parameters})
"""


def group(parameters: str = "") -> str:
    return ALL.format(parameters=parameters)


def parts(parameters: str = "") -> str:
    return PARTS.format(parameters=parameters)


def reasons(summary):
    return {failed["table"]: failed["reason"] for failed in summary["failed"]}


def test_the_summary_adds_up(place):
    place.sql("CREATE TABLE film (id int PRIMARY KEY); INSERT INTO film SELECT generate_series(1, 5)")
    run = in_process.run(group())
    assert run.state == "success"
    summary = run.xcoms["all.summary"]
    assert summary == json.loads(json.dumps(summary))
    assert (summary["tables"], summary["succeeded"], summary["failed"], summary["inserted"]) == (2, 2, [], 8)
    assert summary["bytes_staged"] > 0
    place.sql("DROP TABLE film; CREATE TABLE category (id int PRIMARY KEY); INSERT INTO category VALUES (1)")
    later = in_process.run(group())
    assert later.state == "success"
    assert [item["source_table"] for item in later.xcoms["all.tables"]] == ["public.actor", "public.category"]
    assert place.lake("SELECT count(*) FROM raw.film") == [(5,)]


def test_one_table_that_fails_stops_no_other_and_makes_the_run_red(place):
    place.sql(
        "CREATE TABLE keyless (id int); CREATE TABLE odd (id int PRIMARY KEY); CREATE TABLE last (id int PRIMARY KEY); "
        "CREATE TABLE sad (id int PRIMARY KEY, v int); INSERT INTO last VALUES (1); INSERT INTO sad VALUES (1, NULL)"
    )
    overrides = {"odd": {"pool": "x", "captrue": "full"}, "sad": {"checks": ["not_null(v)"]}}
    run = in_process.run(group(f"overrides={overrides!r}"))
    assert run.state == "failed"
    assert run.states["all.summary"] == "failed"
    assert run.tries["all.summary"] == 1
    summary = run.xcoms["all.summary"]
    assert (summary["tables"], summary["succeeded"], summary["inserted"]) == (5, 2, 4)
    told = reasons(summary)
    assert list(told) == ["public.keyless", "public.odd", "public.sad"]
    assert "public.keyless has no primary key" in told["public.keyless"]
    assert "captrue, pool, which a table cannot have of its own" in told["public.odd"]
    assert "raw.sad: check NotNull(column='v'): 1 violations" in told["public.sad"]
    assert place.lake("SELECT count(*) FROM raw.last") == [(1,)]


def outcome(at, table, **told):
    return {"map_index": at, "table": table, **dict.fromkeys(COUNTS, 1), **told}


def test_what_the_summary_says():
    names = [f"s.t{at}" for at in range(20)]
    whole = Summary.of(names[:2], [outcome(at, name) for at, name in enumerate(names)])
    assert str(whole) == "2 of 2 tables synced: 2 inserted, 2 updated, 2 deleted, 2 quarantined"
    assert whole.to_json()["failed"] == []
    # Instance 3 is left over from before a table was dropped and the group cleared.
    mixed = Summary.of(names[:3], [outcome(0, "s.t0"), outcome(1, "s.t1", reason="no"), outcome(3, "s.t2")])
    assert str(mixed).splitlines() == [
        "1 of 3 tables synced: 1 inserted, 1 updated, 1 deleted, 1 quarantined",
        "failed  reason",
        "------  " + "-" * len(_SILENT),
        "s.t1    no",
        f"s.t2    {_SILENT}",
    ]
    error = Summary.of(names, []).error()
    assert error.message.endswith("20 of 20 tables failed: " + ", ".join(names[:10]) + " and 10 more.")


def test_reasons_hold_no_values_of_foreign_errors_and_are_short():
    assert reason(ValueError("password=hunter2")) == "ValueError; see the log of its task"
    assert reason(DataError("a\n  b", hint="c")) == "a b Remedy: c"
    assert len(reason(DataError("x" * 5000))) < 600


def test_a_table_that_said_nothing_counts_as_failed(place):
    place.sql("CREATE TABLE film (id int PRIMARY KEY)")
    run = in_process.run("""
from airflow_elt_provider.operators.summary import SyncSummaryOperator
@task
def tables():
    return [{"source_table": "public.actor"}, {"source_table": "public.film"}]
@task
def sync(source_table):
    if source_table == "public.actor":
        raise SystemExit(9)
found = tables()
moved = sync.expand_kwargs(found)
[found, moved] >> SyncSummaryOperator(task_id="summary", tables_task_id="tables", sync_task_id="sync")
""")
    assert run.state == "failed"
    assert all(reason == _SILENT for reason in reasons(run.xcoms["summary"]).values())
    assert len(reasons(run.xcoms["summary"])) == 2


def test_when_no_table_is_found_the_summary_fails_and_when_the_group_is_skipped_it_is_skipped(place):
    run = in_process.run(group('include=["none"]'))
    assert run.state == "failed"
    assert (run.states["all.tables"], run.states["all.summary"]) == ("failed", "failed")
    skipped = in_process.run(
        """
@task.short_circuit(ignore_downstream_trigger_rules=False)
def no():
    return False
"""
        + group().strip().replace("sync_tables(", "no() >> sync_tables(", 1)
    )
    assert (skipped.states["all.tables"], skipped.states["all.summary"]) == ("skipped", "skipped")
    assert skipped.state == "success"


def test_skipped_tables_are_neither_synced_nor_failed(place):
    place.sql("CREATE TABLE film (id int PRIMARY KEY)")
    run = in_process.run(
        """
from airflow.exceptions import AirflowSkipException
def skip(context):
    if context["ti"].map_index == 1:
        raise AirflowSkipException("not today")
"""
        + group("pre_execute=skip")
    )
    assert (run.state, run.states["all.sync[1]"]) == ("success", "skipped")
    summary = run.xcoms["all.summary"]
    assert [summary[name] for name in ("tables", "succeeded", "skipped", "failed")] == [2, 1, 1, []]


def test_what_a_table_is_called_is_no_template(place):
    """Whoever may create a table at the source must not be able to ask Airflow for its secrets."""
    place.sql(
        'CREATE TABLE "{{ conn.private.password }}" (id int PRIMARY KEY); CREATE TABLE "{{ 1/0 }}" (id int);'
        'INSERT INTO "{{ 1/0 }}" VALUES (1)'
    )
    private = json.dumps({"conn_type": "http", "host": "x", "password": "TopSecret42"})
    overrides = {"{{ 1/0 }}": {"mode": "replace", "where": "'{{ ds }}' = '2026-01-05'"}}
    with in_process.environment(AIRFLOW_CONN_PRIVATE=private):
        run = in_process.run(group(f"""overrides={overrides!r}, where="'{{{{ ds_nodash }}}}' = '20260105'" """))
    assert (run.state, run.xcoms["all.summary"]["inserted"]) == ("success", 4), run.xcoms["all.summary"]
    created = {name for (name,) in place.lake("SELECT table_name FROM duckdb_tables() WHERE schema_name = 'raw'")}
    assert created == {"{{ conn.private.password }}", "{{ 1/0 }}", "actor"}
    instances = [ti for ti in run.run.get_task_instances() if ti.task_id == "all.sync"]
    names = {ti.rendered_map_index for ti in instances}
    told = [ti.xcom_pull(task_ids=ti.task_id, map_indexes=ti.map_index, key="elt_outcome") for ti in instances]
    assert "TopSecret42" not in f"{names}{told}{run.xcoms}"
    if not in_process.AIRFLOW_2:
        assert names == {"public.actor", 'public."{{ conn.private.password }}"', "public.{{ 1/0 }}"}


def test_what_another_task_found_out_is_no_template_of_a_mapped_step(place):
    run = in_process.run("""
@task
def found():
    return [{"manifest": "/nowhere/{{ 1/0 }}/manifest-0.json", "target_table": "raw.{{ 1/0 }}"}]
@task
def carried():
    return [{"checkpoint": {"stream": "{{ 1/0 }}", "checkpoint": None}}]
@task(trigger_rule="all_done")
def reason(found):
    return found
def told(context):
    context["ti"].xcom_push(key="return_value", value=str(context["exception"]))
stage = StageOperator.partial(task_id="stage", destination_conn_id="lake", stage="/tmp/{{ ds }}", retries=0,
    on_failure_callback=told).expand_kwargs(found())
dag.default_args["source_table"] = "public.{{ 'actor' }}"
extract = ExtractOperator.partial(task_id="extract", source_conn_id="rds", target_table="raw.{{ ds }}",
    retries=0, on_failure_callback=told).expand_kwargs(carried())
literal = ExtractOperator.partial(task_id="literal", source_conn_id="rds", destination_conn_id="lake",
    target_table="raw.x").expand_kwargs([{"source_table": "public.{{ 'actor' }}"}])
""")
    assert "{{ 1/0 }}" in run.xcoms["stage[0]"]
    assert "division by zero" not in run.xcoms["stage[0]"]
    assert "stream '{{ 1/0 }}', this task reads stream 'rds.public.actor->raw.2026-01-05'" in run.xcoms["extract[0]"]
    assert run.xcoms["literal[0]"]["rows"] == 3


def test_no_two_tables_have_one_target(place):
    place.sql('CREATE TABLE "Actor" (id int PRIMARY KEY); INSERT INTO "Actor" VALUES (1)')
    both = in_process.run(group())
    assert (both.state, both.states["all.tables"]) == ("failed", "failed")
    assert "all.tables" not in both.xcoms
    apart = in_process.run(group("overrides={'Actor': {'target_table': 'raw.other_{{ ds_nodash }}'}}"))
    assert apart.state == "success"
    assert place.lake("SELECT (SELECT count(*) FROM raw.other_20260105), (SELECT count(*) FROM raw.actor)") == [(1, 3)]


def test_more_tables_than_airflow_maps_over(place):
    place.sql("CREATE TABLE film (id int PRIMARY KEY)")
    with in_process.environment(AIRFLOW__CORE__MAX_MAP_LENGTH="1"):
        run = in_process.run(group())
    assert run.states["all.tables"] == "failed"
    assert "all.tables" not in run.xcoms


def test_a_group_that_cannot_be_meant_fails_while_it_is_parsed(place):
    with pytest.raises(AssertionError, match="overrides of actor are 'cursor'"):
        in_process.run(group("overrides={'actor': 'cursor'}"))
    with pytest.raises(AssertionError, match="max_active_tables=0: nothing would ever run"):
        in_process.run(group("max_active_tables=0"))
    with pytest.raises(AssertionError, match="max_active_partitions=-1: nothing would ever run"):
        in_process.run(parts("max_active_partitions=-1"))
    with pytest.raises(AssertionError, match="sync_partitioned_table has no query"):
        in_process.run(parts("query='SELECT 1'"))
    with pytest.raises(AssertionError, match="needs capture='fingerprint', not 'full'"):
        in_process.run(parts("capture='full'"))
    with pytest.raises(AssertionError, match="does not go with max_quarantined_rows"):
        in_process.run(parts("max_quarantined_rows=1"))


def test_a_table_in_partitions(place):
    place.sql("INSERT INTO actor SELECT g, 'actor ' || g, now() FROM generate_series(4, 300) g; ANALYZE actor")
    run = in_process.run(parts("max_active_partitions=1"))
    assert run.state == "success"
    assert [run.xcoms[f"big.extract[{at}]"]["rows"] for at in range(3)] == [100, 100, 100]
    assert (run.xcoms["big.merge"]["inserted"], run.xcoms["big.merge"]["consistent"]) == (300, False)
    if not in_process.AIRFLOW_2:
        names = {ti.rendered_map_index for ti in run.run.get_task_instances() if ti.task_id == "big.extract"}
        assert names == {"1 of 3", "2 of 3", "3 of 3"}
    place.sql("DELETE FROM actor WHERE id = 7")
    later = in_process.run(parts())
    assert later.state == "success"
    assert "big.extract[1]" not in later.states
    assert (later.xcoms["big.merge"]["deleted"], later.xcoms["big.merge"]["consistent"]) == (1, True)
    assert place.lake("SELECT count(*) FROM raw.actor") == [(299,)]


def test_a_partition_that_fails_leaves_the_target_alone(place):
    place.sql("INSERT INTO actor SELECT g, 'actor ' || g, now() FROM generate_series(4, 300) g; ANALYZE actor")
    dag_id, path = in_process.write(parts("retries=0, where='1 / (length(name) - 1) IS NOT NULL'"))
    path.write_text(f"""{path.read_text()}
    @task
    def spoil():
        import psycopg2
        with psycopg2.connect({place.server.dsn(place.dbname)!r}) as connection:
            connection.cursor().execute("UPDATE actor SET name = 'x' WHERE id = 150")
    dag.get_task("big.plan") >> spoil() >> dag.get_task("big.extract")
""")
    run = in_process.run_file(path, dag_id)
    assert run.state == "failed"
    assert [run.states[f"big.extract[{at}]"] for at in range(3)] == ["success", "failed", "success"]
    assert run.states["big.merge"] == "upstream_failed"
    assert place.lake("SELECT count(*) FROM duckdb_tables() WHERE table_name = 'actor'") == [(0,)]


def test_the_merge_takes_a_list_and_its_text(place):
    place.sql("INSERT INTO actor SELECT g, 'actor ' || g, now() FROM generate_series(4, 90) g; ANALYZE actor")
    dag = """
from airflow_elt_provider.operators.partitions import PlanPartitionsOperator
common = dict(source_conn_id="rds", source_table="public.actor", target_table="raw.actor", capture="fingerprint")
origin = CheckpointOperator(task_id="origin", destination_conn_id="lake", source_conn_id="rds",
                            source_table="public.actor", target_table="raw.actor")
plan = PlanPartitionsOperator(task_id="plan", partitions=2, checkpoint=origin.output, **common)
extract = ExtractOperator.partial(task_id="extract", **common).expand_kwargs(plan.output)
stage = StageOperator.partial(task_id="stage", destination_conn_id="lake", target_table="raw.actor").expand(
    manifest=extract.output)
merge = MergeOperator(task_id="merge", destination_conn_id="lake",
                      staged="{{ ti.xcom_pull(task_ids='stage', map_indexes=[0, 1]) | list | tojson }}")
again = MergeOperator(task_id="again", destination_conn_id="lake",
                      staged=["{{ ti.xcom_pull(task_ids='stage', map_indexes=1) | tojson }}",
                              "{{ ti.xcom_pull(task_ids='stage', map_indexes=0) | tojson }}"])
lacking = MergeOperator(task_id="lacking", destination_conn_id="lake", retries=0,
                        staged="{{ ti.xcom_pull(task_ids='stage', map_indexes=1) | tojson }}")
stage >> merge >> again >> lacking
"""
    run = in_process.run(dag)
    assert run.xcoms["merge"]["inserted"] == 90
    assert run.xcoms["again"] == {**run.xcoms["merge"], "seconds": run.xcoms["again"]["seconds"]}
    assert run.states["lacking"] == "failed"
    assert place.lake("SELECT count(*) FROM raw.actor") == [(90,)]


def test_what_an_earlier_plan_left_is_left_out(place):
    """Airflow keeps the XComs of instances that it removes when a run is cleared from its plan on."""
    place.sql("INSERT INTO actor SELECT g, 'actor ' || g, now() FROM generate_series(4, 90) g; ANALYZE actor")
    dag = """
from airflow_elt_provider.operators.partitions import PlanPartitionsOperator
common = dict(source_conn_id="rds", source_table="public.actor", target_table="raw.actor", capture="fingerprint")
origin = CheckpointOperator(task_id="origin", destination_conn_id="lake", source_conn_id="rds",
                            source_table="public.actor", target_table="raw.actor")
@task
def both(later, earlier, left_from):
    return [*later, *list(earlier)[left_from:]]
def staged(name, partitions, before):
    plan = PlanPartitionsOperator(task_id=f"plan_{name}", partitions=partitions, checkpoint=origin.output, **common)
    before >> plan
    extract = ExtractOperator.partial(task_id=f"extract_{name}", **common).expand_kwargs(plan.output)
    return StageOperator.partial(task_id=f"stage_{name}", destination_conn_id="lake", target_table="raw.actor").expand(
        manifest=extract.output)
four = staged("four", 3, origin)
two = staged("two", 2, four)
def merge(name, left_from):
    return MergeOperator(task_id=name, destination_conn_id="lake", retries=0,
                         staged=both(two.output, four.output, left_from))
merge("mixed", 1) >> merge("merge", 2)
dag.get_task("merge").trigger_rule = "all_done"
"""
    run = in_process.run(dag.replace("four", "three"))
    assert run.states["mixed"] == "failed", "a range that the last plan has too is no leftover"
    assert (run.xcoms["merge"]["inserted"], run.xcoms["merge"]["consistent"]) == (90, False)
    assert place.lake("SELECT count(*) FROM raw.actor") == [(90,)]
