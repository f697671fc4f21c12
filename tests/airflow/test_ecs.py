"""Workers on ECS: scaled out, waited for, and scaled in whatever happened; moto behind a front that lets time pass."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import closing

import duckdb
import pytest

from demo import film_rental
from servers.ecs_front import EcsServer
from servers.http_front import Fault
from tests.airflow import in_process
from tests.airflow.test_examples import EXAMPLES

pytestmark = pytest.mark.lowest

HEAD = "from airflow_elt_provider.operators.ecs import EcsServiceScaleOperator\n"
BOTH = pytest.mark.parametrize("deferrable", [True, False], ids=["deferred", "here"])
PULL = "CannotPullContainerError: pull image manifest has been retried 5 time(s): reg.example/elt:9: not found"
SCALE = """
out = EcsServiceScaleOperator(task_id="out", cluster="workers", service="celery", desired_count={count},
                              deferrable={deferrable}, poll_interval=0.1, timeout={timeout}, {more})
"""


@pytest.fixture(scope="module")
def moto():
    with EcsServer() as server:
        yield server


@pytest.fixture
def ecs(moto):
    moto.heal()
    moto.front.lag, moto.front.crash, moto.front.breaker = 0.1, "", None
    moto.create_service("workers", "celery")
    with in_process.environment(AIRFLOW_CONN_AWS_DEFAULT=moto.airflow_connection()):
        yield moto
        moto.heal()
        moto.front.crash, moto.front.lag = "", 0
        moto.ecs().update_service(cluster="workers", service="celery", desiredCount=0)


def scale(count, *, deferrable=False, timeout=30.0, more="", after=""):
    text = SCALE.format(count=count, deferrable=deferrable, timeout=timeout, more=more)
    return in_process.run(HEAD + text + after)


@BOTH
def test_it_waits_until_the_tasks_run(ecs, deferrable):
    began = time.monotonic()
    left = scale("'{{ 1 + 2 }}'", deferrable=deferrable)
    assert left.state == "success"
    result = left.xcoms["out"]
    assert {name: result[name] for name in ("cluster", "service", "desired", "running")} == {
        "cluster": "workers", "service": "celery", "desired": 3, "running": 3,
    }  # fmt: skip
    assert ecs.running("workers", "celery") == 3
    assert time.monotonic() - began >= 0.3, "three tasks, one each 0.1 s"
    assert scale(3, deferrable=deferrable).xcoms["out"]["running"] == 3, "again, and nothing happens"
    assert scale(1, deferrable=deferrable).xcoms["out"]["running"] == 1


@BOTH
def test_a_throttled_look_is_repeated(ecs, deferrable, monkeypatch):
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")  # botocore's own patience would hide ours, for seconds
    fault = ecs.front.inject(
        Fault("DescribeServices", "celery", status=400, code="ThrottlingException", times=1000, skip=1)
    )
    assert scale(2, deferrable=deferrable, timeout=5).state == "failed"
    assert fault.hits > 1
    ecs.heal()
    ecs.front.inject(Fault("DescribeServices", "celery", status=503, code="ServerException", times=2, skip=2))
    assert scale(2, deferrable=deferrable).state == "success"


@BOTH
def test_tasks_that_never_come_are_explained(ecs, deferrable, caplog, capfd):
    ecs.front.crash = PULL
    left = scale(2, deferrable=deferrable, timeout=0.5, more="retries=1, retry_delay=timedelta(0)")
    assert (left.state, left.tries["out"]) == ("failed", 2)
    said = caplog.text + "".join(capfd.readouterr())
    assert "0 of 2 tasks run" in said
    assert f"was unable to start tasks: {PULL}" in said
    assert f"Stopped: {PULL}" in said
    assert "container worker: OutOfMemoryError: container killed (exit code 137)" in said
    assert "Remedy: check the image's name and tag" in said
    assert ecs.scaled("workers", "celery") == 2, "left alone: nobody said otherwise"


@BOTH
def test_a_deployment_that_ecs_gave_up_fails_at_once(ecs, deferrable, caplog, capfd):
    ecs.front.crash, ecs.front.breaker = PULL, 0.2
    left = scale(2, deferrable=deferrable, more="retries=2, retry_delay=timedelta(0), count_on_failure=0")
    assert (left.state, left.tries["out"]) == ("failed", 1)
    assert "circuit breaker" in caplog.text + "".join(capfd.readouterr())
    assert ecs.scaled("workers", "celery") == 0


WRONG = {
    "no such service": ("service='nobody'", None, "ECS has no service 'workers/nobody'"),
    "no such cluster": ("cluster='nowhere'", None, "ECS has no cluster 'nowhere'"),
    "no such connection": ("aws_conn_id='nobody'", None, "no connection 'nobody'"),
    "denied to look": ("", ("DescribeServices", "AccessDeniedException"), "may not do ecs:DescribeServices"),
    "denied to change": ("", ("UpdateService", "AccessDeniedException"), "allow ecs:UpdateService in an IAM policy"),
    "denied to take the role": ("", ("UpdateService", "AccessDenied"), "Remedy: allow sts:AssumeRole"),
    "wrong key": ("", ("UpdateService", "UnrecognizedClientException"), "correct connection 'aws_default'"),
    "nothing": ("desired_count='{{ None }}'", None, "is no number of tasks"),
}


@pytest.mark.parametrize(("parameters", "refused", "message"), WRONG.values(), ids=WRONG.keys())
def test_what_a_retry_cannot_mend_is_said_at_once(ecs, parameters, refused, message, caplog, capfd):
    if refused:
        action = "sts:AssumeRole" if "AssumeRole" in message else f"ecs:{refused[0]}"
        told = f"User: arn:aws:iam::1:user/x is not authorized to perform: {action} on resource: y"
        ecs.front.inject(Fault(refused[0], "", status=400, code=refused[1], message=told))
    given = f"dict(cluster='workers', service='celery', desired_count=2) | dict({parameters})"
    left = in_process.run(
        HEAD + f"EcsServiceScaleOperator(task_id='out', retries=2, retry_delay=timedelta(0), **({given}))"
    )
    assert (left.state, left.tries["out"]) == ("failed", 1)
    said = caplog.text + "".join(capfd.readouterr())
    assert message in said
    assert ecs.secret_key not in said


def test_a_reason_that_may_not_be_read_hides_nothing(ecs, caplog, capfd):
    ecs.front.crash = PULL
    ecs.front.inject(Fault("ListTasks", "", status=400, code="AccessDeniedException", message="no"))
    assert scale(1, timeout=0.2).state == "failed"
    said = caplog.text + "".join(capfd.readouterr())
    assert "may not do ecs:ListTasks" in said
    assert f"was unable to start tasks: {PULL}" in said


LOAD = """
@task
def load(): {body}
out >> load() >> out.scale_in({more})
"""
BROKEN = "raise ValueError('the load failed')"


@BOTH
def test_workers_are_scaled_in_though_the_load_failed(ecs, deferrable):
    left = scale(2, deferrable=deferrable, after=LOAD.format(body=BROKEN, more=""))
    assert left.states == {"out": "success", "load": "failed", "out_end": "success"}
    assert left.state == "failed", "a teardown that succeeds makes no run good"
    assert ecs.running("workers", "celery") == 0
    assert left.xcoms["out_end"]["running"] == 0


@pytest.mark.parametrize("stays", ["1", "'{{ 3 - 2 }}'"])
def test_a_load_that_went_well(ecs, stays):
    left = scale(2, after=LOAD.format(body="return 1", more=f"{stays}, task_id='fewer'"))
    assert (left.state, left.states["fewer"]) == ("success", "success")
    assert ecs.running("workers", "celery") == 1


@BOTH
def test_a_scale_out_that_failed_leaves_no_workers(ecs, deferrable):
    """Airflow does not run a teardown whose setup failed."""
    ecs.front.crash = PULL
    load = LOAD.format(body="return 1", more="")
    left = scale(2, deferrable=deferrable, timeout=0.3, after=load, more="retries=1, retry_delay=timedelta(0)")
    assert left.states == {"out": "failed", "load": "upstream_failed", "out_end": "upstream_failed"}
    assert ecs.scaled("workers", "celery") == 0


def test_what_was_not_asked_for_is_not_taken_back(ecs):
    """Another run may be using the workers."""
    assert scale(3).state == "success"
    ecs.front.inject(Fault("DescribeServices", "celery", status=400, code="AccessDeniedException"))
    assert scale(3, after=LOAD.format(body="return 1", more="")).state == "failed"
    assert ecs.scaled("workers", "celery") == 3


def test_a_scale_in_that_failed_does_not_hide_behind_the_load(ecs):
    """Airflow's own default: the run is as good as its load; with a second leaf both count."""
    denied = Fault("UpdateService", "celery", status=400, code="AccessDeniedException", skip=1, times=9)
    ecs.front.inject(denied)
    left = scale(1, after=LOAD.format(body="return 1", more=""))
    assert (left.state, left.states["out_end"]) == ("success", "failed")


def test_both_count_with_a_second_leaf(ecs):
    """What the documentation shows for those who want a failed scale-in to fail the run."""
    after = """
@task
def load(bad): return 1 / (not bad)
@task
def loaded(): pass
done = load({bad})
done >> loaded()
end = out.scale_in()
end.on_failure_fail_dagrun = True
out >> done >> end
"""
    assert scale(1, after=after.format(bad=True)).state == "failed"
    assert scale(1, after=after.format(bad=False)).state == "success"
    ecs.front.inject(Fault("UpdateService", "celery", status=400, code="AccessDeniedException", skip=1, times=9))
    assert scale(1, after=after.format(bad=False)).state == "failed"


def test_a_trigger_keeps_the_loop_free_and_holds_no_secret(ecs):
    from airflow_elt_provider.triggers.ecs import EcsServiceTrigger

    ecs.ecs().update_service(cluster="workers", service="celery", desiredCount=2)
    trigger = EcsServiceTrigger("workers", "celery", 2, time.time() + 20, poll_interval=0.1, told={"a": 1})
    path, arguments = trigger.serialize()
    assert path == "airflow_elt_provider.triggers.ecs.EcsServiceTrigger"
    assert ecs.secret_key not in json.dumps(arguments)
    again = EcsServiceTrigger(**arguments)
    fault = ecs.front.inject(Fault("DescribeServices", "celery", when="before", times=1))

    async def drive():
        beats = 0

        async def beat():
            nonlocal beats
            while True:
                await asyncio.sleep(0.01)
                beats += 1

        beating = asyncio.create_task(beat())
        event = await anext(again.run())
        beating.cancel()
        return event.payload, beats

    payload, beats = asyncio.run(drive())
    assert (payload["status"], payload["state"]["running"], payload["told"]) == ("stable", 2, {"a": 1})
    assert fault.hits == 1, "a cut connection was looked past"
    assert beats >= 5


@pytest.fixture
def business(postgres_server, tmp_path):
    with postgres_server.database() as name:
        with closing(postgres_server.connect(name)) as connection:
            film_rental.create(connection, scale=0.05)
        with in_process.environment(
            AIRFLOW_CONN_FILM_RENTAL=postgres_server.airflow_connection(name),
            AIRFLOW_CONN_WAREHOUSE=json.dumps({"conn_type": "duckdb", "host": str(tmp_path / "warehouse.duckdb")}),
            AIRFLOW__ELT__STAGE=f"file://{tmp_path}/stage",
        ):
            yield tmp_path


def test_the_example(ecs, business):
    copied = in_process.dags_folder() / "elt_scaled_workers.py"
    text = (EXAMPLES / copied.name).read_text()
    copied.write_text(text.replace("poll_interval=15", "poll_interval=0.1").replace('"retries": 2', '"retries": 0'))
    (dag,) = in_process.load(copied).values()
    first = dag.timetable
    assert "Asia/Tokyo" in str(first.serialize())
    left = in_process.run_file(copied, "elt_scaled_workers")
    assert left.state == "success"
    assert (left.xcoms["scale_out"]["running"], left.xcoms["scale_in"]["running"]) == (4, 0)
    tables = left.xcoms["film_rental.tables"]
    with duckdb.connect(str(business / "warehouse.duckdb"), read_only=True) as warehouse:
        found = warehouse.execute("SELECT count(*) FROM information_schema.tables WHERE table_schema = 'scaled'")
        assert found.fetchone() == (len(tables),)
    assert ecs.running("workers", "celery") == 0
