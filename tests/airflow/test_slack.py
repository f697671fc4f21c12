"""What Slack hears of a task and a DAG: real callbacks, real HTTP, and a fake that is as strict as Slack."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.util import find_spec
from types import SimpleNamespace

import pytest

from airflow_elt_provider.notifications import _slack_text
from airflow_elt_provider.notifications._ending import Ending
from tests.airflow import in_process
from tests.fakes.http_fake import Fault
from tests.fakes.slack import API_TOKEN, TOKEN, FakeSlack, seen

pytestmark = pytest.mark.lowest

HEAD = "from airflow_elt_provider.notifications.slack import EltSlackNotifier\n"
SYNC = """
SyncTableOperator(task_id="actor", source_conn_id="rds", source_table="public.{table}", destination_conn_id="lake",
                  target_table="raw.actor", {more})
"""
FAIL = "on_failure_callback=[EltSlackNotifier({})]"
WITH_PROVIDER = find_spec("airflow.providers.slack") is not None


@pytest.fixture
def slack():
    with FakeSlack() as server, in_process.environment(AIRFLOW_CONN_SLACK_DEFAULT=server.connection()):
        yield server


def sync(table="nothing", more="", **arguments):
    return in_process.run(HEAD + SYNC.format(table=table, more=more), **arguments)


def said(caplog, capfd):
    return caplog.text + "".join(capfd.readouterr())


@pytest.mark.parametrize("conn_type", ["slackwebhook", "http"])
def test_a_failing_table_is_told_with_reason_remedy_and_link(place, slack, conn_type, caplog, capfd):
    with in_process.environment(AIRFLOW_CONN_SLACK_DEFAULT=slack.connection(conn_type)):
        left = sync(more="retries=2, " + FAIL.format("note='see {{ dag.dag_id }} & co', mention='<!here>'"))
    assert left.state == "failed"
    (message,) = slack.messages
    text = seen(message)
    assert text.startswith("<!here> :red_circle: *actor* failed")
    assert "*Table:* public.nothing → raw.actor" in text
    assert "*Stream:* rds.public.nothing->raw.actor" in text
    assert "public.nothing" in text.split("*Reason:*")[1]
    assert "*Remedy:* " in text
    assert "Remedy:" not in text.split("*Reason:*")[1].split("*Remedy:*")[0]
    assert f"*Note:* see {left.run.dag_id} & co" in text
    assert f"DAG {left.run.dag_id} · run {left.run.run_id} · try 1 of 3 · <http" in text
    assert "tasks/actor" in text or "task_id=actor" in text
    assert message["text"].startswith("actor failed: ")
    heard = said(caplog, capfd)
    assert TOKEN not in heard + json.dumps(slack.messages)
    assert place.server.password not in json.dumps(slack.messages)


def test_a_broken_template_keeps_nothing_back(place, slack, caplog, capfd):
    sync(more=FAIL.format("note='see {{ dag.', mention='<!{{ dag and \"here\" }}>'"))
    text = seen(slack.messages[0])
    assert text.startswith("<!here> :red_circle: *actor* failed")
    assert "*Note:*" not in text
    assert "cannot be rendered, Slack is told without it: TemplateSyntaxError" in said(caplog, capfd)


@pytest.mark.parametrize("conn_type", ["slackwebhook", "http"])
def test_a_webhook_without_its_secret(place, slack, conn_type, caplog, capfd):
    with in_process.environment(AIRFLOW_CONN_SLACK_DEFAULT=slack.connection(conn_type, password="")):
        sync(more=FAIL.format(""))
    assert "'slack_default' has no password. Remedy: put the webhook's URL" in said(caplog, capfd)


def test_a_success_is_told_with_counts(place, slack):
    sync("actor", "on_success_callback=[EltSlackNotifier()]")
    text = seen(slack.messages[0])
    assert ":white_check_mark: *actor* succeeded" in text
    assert "*Counts:* 3 extracted, 3 inserted" in text
    assert "*Stream:* rds.public.actor->raw.actor" in text


def test_another_try_is_no_end(place, slack):
    with in_process.environment(AIRFLOW_CONN_RDS="postgres://u:hunter33@127.0.0.1:1/db"):
        retries = "retries=1, retry_delay=timedelta(0), on_retry_callback=[EltSlackNotifier()], "
        assert sync("actor", retries + FAIL.format("")).tries == {"actor": 2}
    first, last = map(seen, slack.messages)
    assert ":hourglass_flowing_sand: *actor* failed; it will be tried again" in first
    assert ":red_circle: *actor* failed\n" in last
    assert "try 2 of 2" in last
    assert "hunter33" not in json.dumps(slack.messages)


def test_one_failing_table_of_many(place, slack):
    place.sql("CREATE TABLE bare (id int)")
    body = """
sync_tables(group_id="all", source_conn_id="rds", source_schema="public", destination_conn_id="lake",
            target_table="raw.{table}", on_failure_callback=[EltSlackNotifier()])
"""
    left = in_process.run(HEAD + body)
    assert left.state == "failed"
    (text,) = [text for text in map(seen, slack.messages) if "all.sync" in text]
    assert "*all.sync[1]* failed" in text
    assert "*Table:* public.bare → raw.bare" in text


def test_an_unknown_exception_is_named_and_masked(slack):
    body = """
@task(on_failure_callback=[EltSlackNotifier()])
def load():
    try:
        from airflow.sdk import BaseHook
    except ImportError:
        from airflow.hooks.base import BaseHook
    raise ValueError("<b> & this " + BaseHook.get_connection("odd").password)
load()
"""
    with in_process.environment(AIRFLOW_CONN_ODD="http://u:hunter22@host"):
        in_process.run(HEAD + body)
    text = seen(slack.messages[0])
    assert "*Reason:* ValueError: <b> & this ***" in text
    assert "hunter22" not in json.dumps(slack.messages)


def test_slack_asks_for_patience(place, slack):
    fault = slack.inject(Fault("POST", "/services", status=429, headers={"Retry-After": "0"}, times=2))
    sync(more=FAIL.format(""))
    assert (fault.hits, len(slack.messages)) == (2, 1)


TROUBLE = {
    "patience without end": Fault("POST", "/services", status=429, headers={"Retry-After": "0"}, times=None),
    "an error": Fault("POST", "/services", status=500, times=None),
    "a refusal": Fault("POST", "/services", status=403, body="invalid_token", times=None),
    "a cut": Fault("POST", "/services", then="cut", times=None),
}


@pytest.mark.parametrize(
    ("conn_type", "trouble"),
    [*(("http", name) for name in TROUBLE), ("slackwebhook", "a cut"), ("slackwebhook", "an error")],
)
def test_a_broken_slack_fails_nothing_and_is_said(place, slack, conn_type, trouble, caplog, capfd):
    slack.inject(replace(TROUBLE[trouble]))
    with in_process.environment(AIRFLOW_CONN_SLACK_DEFAULT=slack.connection(conn_type)):
        left = sync("actor", "on_success_callback=[EltSlackNotifier()]")
    slack.heal()
    assert (left.state, slack.messages) == ("success", [])
    heard = said(caplog, capfd)
    assert "Slack was not told: " in heard
    assert TOKEN not in heard


@pytest.mark.parametrize(
    ("connection", "message"),
    [({"password": ""}, "has no password"), ({"password": "T/B/wrong"}, "404 no_service"),
     ({"host": "http://127.0.0.1:1/services"}, "could not be reached")],
)  # fmt: skip
def test_a_connection_that_cannot_be_meant_is_said(place, slack, connection, message, caplog, capfd):
    with in_process.environment(AIRFLOW_CONN_SLACK_DEFAULT=slack.connection("http", **connection)):
        sync("actor", "on_success_callback=[EltSlackNotifier()]")
    assert message in said(caplog, capfd)


def test_the_address_may_be_the_password(place, slack):
    with in_process.environment(AIRFLOW_CONN_SLACK_DEFAULT=slack.connection("http", password=slack.webhook, host="")):
        sync("actor", "on_success_callback=[EltSlackNotifier()]")
    assert len(slack.messages) == 1


def test_the_api(place, slack, caplog, capfd):
    extra = {"base_url": f"{slack.url}/api/"}
    for token in (API_TOKEN, "xoxb-wrong"):
        connection = slack.connection("slack", host="", password=token, extra=extra)
        with in_process.environment(AIRFLOW_CONN_SLACK_DEFAULT=connection):
            sync("actor", "on_success_callback=[EltSlackNotifier(channel='#elt')]")
    heard = said(caplog, capfd)
    if WITH_PROVIDER:
        assert [message["channel"] for message in slack.messages] == ["#elt"]
        assert "invalid_auth" in heard
    else:
        assert "pip install apache-airflow-providers-slack" in heard
    assert API_TOKEN not in heard


def test_a_dag_is_told_too(slack):
    body = """
@task
def load(): {body}
load()
dag.on_failure_callback = dag.on_success_callback = EltSlackNotifier()
dag.has_on_failure_callback = dag.has_on_success_callback = True
"""
    bad = in_process.run(HEAD + body.format(body="raise ValueError('no')"))
    in_process.run(HEAD + body.format(body="pass"))
    first, second = map(seen, slack.messages)
    assert f":red_circle: *DAG {bad.run.dag_id}* failed\n*Reason:* task_failure" in first
    assert f"run {bad.run.run_id}" in first
    assert "succeeded" in second


def context_of(dag, **more):
    """What Airflow's DAG processor hands over: of the failure nothing but that it is one."""
    ti = SimpleNamespace(
        task_id="load", dag_id=dag.dag_id, run_id="r", map_index=-1, try_number=1, max_tries=0,
        log_url="http://airflow/log?a=1&b=2", task=dag.get_task("load"),
    )  # fmt: skip
    return {"dag": dag, "run_id": "r", "ti": ti, "task": ti.task, **more}


def test_a_task_whose_worker_was_killed_is_no_success(slack):
    _, path = in_process.write(HEAD + "@task(on_failure_callback=[EltSlackNotifier()])\ndef load(): pass\nload()")
    (dag,) = in_process.load(path).values()
    (callback,) = dag.get_task("load").on_failure_callback
    callback(context_of(dag))
    callback(context_of(dag, exception="Detected zombie job"))
    first, second = map(seen, slack.messages)
    assert ":red_circle: *load* failed\n*Reason:* the task ended without a word" in first
    assert "<http://airflow/log?a=1&b=2|log>" in first
    assert "*Reason:* Detected zombie job" in second


@pytest.mark.parametrize("reason", ["&" * 5000, "word " * 5000, "<" * 599 + "x" * 3000, "語" * 4000, "x" * 2990])
def test_a_long_reason_is_cut_where_slack_takes_it(slack, reason):
    from airflow_elt_provider.notifications import _slack_post

    ending = Ending("t" * 400, "d" * 3000, "r", failed=True, reason=reason, remedy=reason, stream=reason, table=reason)
    _slack_post.deliver("slack_default", None, _slack_text.message(ending, reason), 10)
    (message,) = slack.messages
    assert "(cut; the whole text is in the log)" in json.dumps(message, ensure_ascii=False)
