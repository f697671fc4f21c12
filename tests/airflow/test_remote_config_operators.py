"""The operators of remote configuration, and the drift gate, in DAGs: against fake servers over sockets."""

from __future__ import annotations

import json
import shutil
import threading
import time

import pytest

from airflow_elt_provider.errors import TransientError
from airflow_elt_provider.hooks.remotes import remote_hook
from airflow_elt_provider.remotes.config_as_code.opening import driver
from airflow_elt_provider.remotes.config_as_code.work import ConfigWork
from airflow_elt_provider.remotes.flow import Pause
from airflow_elt_provider.remotes.settings import RemoteSettings
from airflow_elt_provider.stages.folder_local import LocalFolder
from tests.airflow import in_process
from tests.fakes.airbyte import FakeAirbyte
from tests.fakes.fivetran import FakeFivetran
from tests.fakes.http_fake import Fault
from tests.fakes.slack import FakeSlack, seen

pytestmark = pytest.mark.lowest

IMPORTS = """
from airflow_elt_provider.notifications.slack import EltSlackNotifier
from airflow_elt_provider.operators.remote import AirbyteSyncOperator, FivetranSyncOperator
from airflow_elt_provider.operators.remote_config import *
from airflow_elt_provider.sensors.schema_drift import SchemaDriftSensor
"""
ORDERS = {
    "name": "orders", "namespace": "public", "primary_key": ["id"],
    "fields": {"id": {"type": "integer"}, "note": {"type": "string"}},
}  # fmt: skip
WIDER = {**ORDERS, "fields": {**ORDERS["fields"], "total": {"type": "number"}}}
NARROWER = {**ORDERS, "fields": {"id": {"type": "integer"}}}
ADDED = {"change": "field_added", "stream": "public.orders", "field": "total", "old": "", "new": "number"}
REMOVED = {"change": "field_removed", "stream": "public.orders", "field": "note", "old": "string", "new": ""}
LOCK = "*/sources/*.lock.yaml"
BOTH = pytest.mark.parametrize("deferrable", [True, False], ids=["deferred", "here"])


@pytest.fixture
def airbyte():
    with FakeAirbyte(public=False, config="0.40") as server:
        server.run_seconds = 0.2
        yield server


@pytest.fixture
def shop(airbyte):
    return airbyte.add_connection("shop", [ORDERS])


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "config"


def known(server):
    extra = {"conn_type": "eltairbyte", "host": server.url}
    if isinstance(server, FakeFivetran):
        extra = {"conn_type": "eltfivetran", "host": server.url, "login": "key", "password": "secret"}
    return in_process.environment(AIRFLOW_CONN_REMOTE=json.dumps(extra))


def run(server, folder, body, **environment):
    with known(server), in_process.environment(**environment):
        return in_process.run(IMPORTS + f'AT = dict(conn_id="remote", folder="file://{folder}")\n' + body)


def export(server, folder, schemas="new"):
    """Export as the operator does, without a DAG."""
    with known(server):
        hook = remote_hook("remote")
        ConfigWork(hook.get_configuration(), hook.get_driver(), server.url, LocalFolder(folder)).export(schemas=schemas)


def said(caplog, capfd):
    return caplog.text + "".join(capfd.readouterr())


def file_of(folder, pattern):
    (found,) = folder.glob(pattern)
    return found


# --- export, diff ---


def test_what_was_exported_does_not_differ(airbyte, shop, folder):
    left = run(airbyte, folder, """
export = RemoteConfigExportOperator(task_id="export", **AT)
again = RemoteConfigExportOperator(task_id="again", workspaces="{{ [] }}", schemas="all", **AT)
export >> again >> RemoteConfigDiffOperator(task_id="diff", schemas=True, on_difference="fail", **AT)
""")  # fmt: skip
    assert left.state == "success"
    first, again = left.xcoms["export"], left.xcoms["again"]
    assert first["objects"] == {"connection": 1, "destination": 1, "source": 1}
    assert (first["schemas"], first["remote"], first["removed"]) == (1, "airbyte", [])
    assert first["folder"] == f"file://{folder}"
    assert len(first["written"]) == first["unchanged"] + 4
    assert (again["written"], again["removed"]) == ([], [])
    assert left.xcoms["diff"] == {"equal": True, "differences": [], "schemas": []}
    assert "the source's password" not in "".join(path.read_text() for path in folder.rglob("*.yaml"))


def test_a_difference_is_told_as_asked_for(airbyte, shop, folder, caplog, capfd):
    export(airbyte, folder)
    airbyte.connection(shop).settings |= {"prefix": "raw_"}
    airbyte.set_source_streams(shop, [NARROWER])
    airbyte.catalogue.source(airbyte.connection(shop).source_id).discover(fresh=True)
    body = "\n".join(
        f"RemoteConfigDiffOperator(task_id={word!r}, on_difference={word!r}, schemas=True, **AT, "
        "on_failure_callback=[EltSlackNotifier()], retries=2)"
        for word in ("ignore", "warn", "fail", "skip")
    )  # fmt: skip
    with FakeSlack() as slack:
        left = run(airbyte, folder, body, AIRFLOW_CONN_SLACK_DEFAULT=slack.connection())
    assert left.states == {"ignore": "success", "warn": "success", "fail": "failed", "skip": "skipped"}
    assert left.tries["fail"] == 1
    result = left.xcoms["warn"]
    assert {name: one for name, one in left.xcoms.items() if one != result} == {}
    (difference,) = result["differences"]
    assert (difference["change"], difference["kind"], difference["name"]) == ("changed", "connection", "shop")
    assert difference["fields"] == [{"path": "prefix", "old": "", "new": "raw_"}]
    assert result["schemas"][0]["drift"] == [REMOVED]
    (message,) = map(seen, slack.messages)
    assert "0 added, 1 changed, 0 removed, 1 schemas drifted" in message
    assert "/ shop: prefix" in message
    assert "field removed: public.orders.note (string)" in message
    assert "*Remedy:* export again" in message
    assert 'prefix = "" -> "raw_"' in said(caplog, capfd)


def test_before_the_first_export(airbyte, shop, folder, caplog, capfd):
    left = run(airbyte, folder, 'RemoteConfigDiffOperator(task_id="t", retries=2, **AT)')
    assert (left.state, left.tries["t"]) == ("failed", 1)
    assert "begin with `elt remote export`" in said(caplog, capfd)


# --- apply ---


def test_a_plan_is_made_shown_and_carried_out_once(airbyte, shop, folder):
    export(airbyte, folder)
    path = file_of(folder, "*/connections/shop.yaml")
    path.write_text(path.read_text().replace("status: active", "status: inactive"))
    left = run(airbyte, folder, """
plan = RemoteConfigApplyOperator(task_id="plan", dry_run=True, **AT)
apply = RemoteConfigApplyOperator(task_id="apply", plan=plan.output, **AT)
text = RemoteConfigApplyOperator(task_id="text", plan="{{ ti.xcom_pull('plan')['plan'] }}", **AT)
plan >> apply >> text >> RemoteConfigApplyOperator(task_id="more", **AT)
""")  # fmt: skip
    assert left.state == "success"
    planned, applied = left.xcoms["plan"], left.xcoms["apply"]
    (change,) = planned["plan"]["changes"]
    assert change["fields"] == [{"path": "status", "old": "active", "new": "inactive"}]
    assert (planned["done"], applied["plan"]) == ([], planned["plan"])
    assert [one.split()[:2] for one in applied["done"]] == [["changed", "connection"]]
    assert (applied["found_done"], applied["not_taken"]) == ([], [])
    assert (left.xcoms["text"]["done"], left.xcoms["text"]["found_done"][0]["name"]) == ([], "shop")
    assert left.xcoms["more"] == {
        "plan": {**planned["plan"], "changes": []}, "done": [], "found_done": [], "not_taken": [],
    }  # fmt: skip
    assert airbyte.connection(shop).status == "inactive"


def test_nothing_is_deleted_unless_that_is_allowed(airbyte, shop, folder, tmp_path, caplog, capfd):
    export(airbyte, folder)
    gone = airbyte.add_connection("gone", source_id=airbyte.connection(shop).source_id,
                                  destination_id=airbyte.connection(shop).destination_id)  # fmt: skip
    left = run(airbyte, folder, """
RemoteConfigApplyOperator(task_id="kept", **AT) >> RemoteConfigApplyOperator(
    task_id="plan", allow_delete=True, dry_run="true", **AT)
""")  # fmt: skip
    kept, plan = left.xcoms["kept"], left.xcoms["plan"]["plan"]
    assert ([one[2] for one in kept["plan"]["left_alone"]], kept["done"]) == (["gone"], [])
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    left = run(airbyte, folder, f"""
RemoteConfigApplyOperator(task_id="refused", plan="file://{tmp_path}/plan.json", **AT) >> RemoteConfigApplyOperator(
    task_id="missing", plan="file://{tmp_path}/nothing.json", trigger_rule="all_done", **AT
) >> RemoteConfigApplyOperator(
    task_id="done", plan="file://{tmp_path}/plan.json", allow_delete=True, trigger_rule="all_done", **AT)
""")  # fmt: skip
    assert left.states == {"refused": "failed", "missing": "failed", "done": "success"}
    log = said(caplog, capfd)
    assert "The plan deletes connection" in log
    assert "There is no plan at" in log
    assert [one.split()[:2] for one in left.xcoms["done"]["done"]] == [["deleted", "connection"]]
    assert airbyte.connection(gone).status == "deprecated"


def test_secrets_come_from_airflow_and_are_seen_nowhere(airbyte, shop, folder, caplog, capfd):
    export(airbyte, folder)
    source = airbyte.connection(shop).source_id
    path = file_of(folder, "*/sources/shop-source.yaml")
    known = {
        "AIRFLOW_CONN_DB": json.dumps({"conn_type": "generic", "password": "hunter-33", "extra": {"a": {"b": "deep"}}}),
        "AIRFLOW_VAR_TOKEN": "hunter-44",
    }
    text, before = path.read_text(), airbyte.stored_configuration(source)["password"]
    references = ("conn:db.password", "var:TOKEN", "conn:db.extra.a.b", "var:nothing")
    body = ""
    for number, reference in enumerate(references):
        copy = folder.with_name(f"copy{number}")
        shutil.copytree(folder, copy)
        (copy / path.relative_to(folder)).write_text(text.replace("$secret: not exported", f"$secret: {reference}"))
        body += (
            f'a{number} = RemoteConfigApplyOperator(task_id="a{number}", write_secrets=True, trigger_rule="all_done", '
        )
        body += f'conn_id="remote", folder="file://{copy}")\n'
    left = run(airbyte, folder, body + "a0 >> a1 >> a2 >> a3", **known)
    assert left.states == {"a0": "success", "a1": "success", "a2": "success", "a3": "failed"}
    sent = [seen.json() for seen in airbyte.asked(r"sources/update$")]
    assert [one["connectionConfiguration"]["password"] for one in sent] == ["hunter-33", "hunter-44", "deep"]
    assert airbyte.stored_configuration(source)["password"] == "deep" != before
    assert all(left.xcoms[name]["done"] for name in ("a0", "a1", "a2"))
    log = said(caplog, capfd)
    assert "'var:nothing' leads to nothing" in log
    assert "hunter" not in log + json.dumps(left.xcoms)


# --- the gate ---


def sync(server, folder, connection_id, more="", *, deferrable=False, kind="Airbyte", **environment):
    body = f"""
{kind}SyncOperator(task_id="t", conn_id="remote", connection_id={connection_id!r}, schema_lock="file://{folder}",
                   deferrable={deferrable}, poll_interval=0.2, outage_tolerance=5, {more})
"""
    return run(server, folder, body, **environment)


def drift_of(left, task_id="t"):
    (ti,) = [one for one in left.run.get_task_instances() if one.task_id == task_id]
    return ti.xcom_pull(task_ids=task_id, key="schema_drift")


@BOTH
def test_drift_that_is_only_said(airbyte, shop, folder, deferrable, caplog, capfd):
    export(airbyte, folder)
    airbyte.set_source_streams(shop, [WIDER, "more"])
    left = sync(airbyte, folder, shop, "on_drift='propose', on_schema_drift={'stream_added': 'ignore'}",
                deferrable=deferrable)  # fmt: skip
    assert (left.state, drift_of(left), len(airbyte.starts(shop))) == ("success", [ADDED], 1)
    assert "field added  public.orders  total" in said(caplog, capfd)
    proposed = file_of(folder, "*/sources/*.proposed.yaml")
    assert "more:" in proposed.read_text()
    if not in_process.AIRFLOW_2:  # it wants aliases registered by a scheduler
        assert events_of(shop) == [{"drift": [ADDED], "proposed": f"file://{proposed}"}]
    proposed.replace(file_of(folder, LOCK))
    left = sync(airbyte, folder, shop, "on_schema_drift='fail'", deferrable=deferrable)
    assert (left.state, drift_of(left)) == ("success", [])


def events_of(connection_id):
    from airflow.models.asset import AssetEvent
    from airflow.utils.session import create_session

    with create_session() as session:
        uri = f"elt://remote/schema/{connection_id}"
        return [event.extra for event in session.query(AssetEvent) if event.uri == uri]


def test_drift_that_fails_starts_nothing(airbyte, shop, folder):
    export(airbyte, folder)
    airbyte.set_source_streams(shop, [NARROWER])
    with FakeSlack() as slack:
        more = "retries=2, on_failure_callback=[EltSlackNotifier()], on_drift='propose'"
        left = sync(airbyte, folder, shop, more, AIRFLOW_CONN_SLACK_DEFAULT=slack.connection())
    assert (left.state, left.tries["t"], airbyte.starts(shop), drift_of(left)) == ("failed", 1, [], [REMOVED])
    (message,) = map(seen, slack.messages)
    assert "field removed: public.orders.note (string)." in message
    assert "put file://" in message.split("*Remedy:*")[1]
    airbyte.set_source_streams(shop, [ORDERS])
    assert sync(airbyte, folder, shop, "on_drift='propose'").state == "success"
    assert list(folder.rglob("*.proposed.yaml")) == []


def test_drift_that_is_applied_is_quiet_the_next_time(airbyte, shop, folder):
    export(airbyte, folder)
    airbyte.set_source_streams(shop, [WIDER, "more"])
    more = "on_schema_drift={'field_added': 'apply', 'stream_added': 'apply'}"
    left = sync(airbyte, folder, shop, more)
    added = {"change": "stream_added", "stream": "more", "field": "", "old": "", "new": "1 fields"}
    assert (left.state, drift_of(left)) == ("success", [added, ADDED])
    assert {one.name for one in airbyte.connection(shop).streams} == {"orders", "more"}
    left = sync(airbyte, folder, shop, "on_schema_drift='fail'")
    assert (left.state, drift_of(left), len(airbyte.starts(shop))) == ("success", [], 2)


def test_nothing_is_applied_where_anything_fails(airbyte, shop, folder):
    export(airbyte, folder)
    lock = file_of(folder, LOCK)
    before = lock.read_bytes()
    airbyte.set_source_streams(shop, [NARROWER, "more"])
    left = sync(airbyte, folder, shop, "on_schema_drift={'stream_added': 'apply'}")
    assert (left.state, lock.read_bytes(), airbyte.starts(shop)) == ("failed", before, [])
    assert {one.name for one in airbyte.connection(shop).streams} == {"orders"}


def test_a_lock_that_is_not_there_or_not_of_this_source(airbyte, shop, folder, caplog, capfd):
    other = airbyte.add_connection("crm", [ORDERS])
    export(airbyte, folder, "none")
    assert sync(airbyte, folder, shop, "retries=2").tries["t"] == 1
    assert "There is no lock of source" in said(caplog, capfd)
    export(airbyte, folder)
    one = folder / file_of(folder, "*/sources/shop-source.lock.yaml")
    assert sync(airbyte, one, shop).state == "success"
    assert sync(airbyte, one, other).state == "failed"
    assert "is the lock of source / " in said(caplog, capfd)
    assert airbyte.starts(other) == []


def test_a_retry_that_finds_what_was_started_looks_at_no_schema(airbyte, shop, folder):
    export(airbyte, folder)
    source = airbyte.catalogue.source(airbyte.connection(shop).source_id)
    airbyte.run_seconds = 1.0
    before = source.discoveries
    airbyte.inject(Fault("POST", r"/jobs/get", status=500))
    left = run(airbyte, folder, f"""
AirbyteSyncOperator(task_id="t", conn_id="remote", connection_id={shop!r}, schema_lock="file://{folder}",
                    deferrable=False, poll_interval=0.2, outage_tolerance=0, retries=1, retry_delay=timedelta(0))
""")  # fmt: skip
    assert (left.state, left.tries["t"], len(airbyte.starts(shop))) == ("success", 2, 1)
    assert source.discoveries == before + 1


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("schema_lock='/x', on_drift='tell'", "on_drift='tell' is unknown"),
        ("schema_lock='/x', on_schema_drift='evolve'", "on_schema_drift has 'evolve'"),
        ("schema_lock='/x', on_schema_drift={'added': 'fail'}", "on_schema_drift has 'added'"),
    ],
)
def test_a_word_that_there_is_not(more, message):
    _, path = in_process.write(
        IMPORTS + f'AirbyteSyncOperator(task_id="t", conn_id="remote", connection_id="x", {more})'
    )
    with pytest.raises(AssertionError, match="ConfigurationError") as refused:
        in_process.load(path)
    assert message in str(refused.value)


def test_without_a_lock_the_words_of_other_operators_do_no_harm(airbyte, shop, folder):
    left = run(airbyte, folder, f"""
AirbyteSyncOperator.partial(task_id="t", conn_id="remote", on_schema_drift="evolve", poll_interval=0.2).expand(
    connection_id=[{shop!r}])
""")  # fmt: skip
    assert left.state == "success"


def test_fivetran(folder):
    with FakeFivetran() as server:
        server.run_seconds = 0.2
        tables = {"public": {"actor": ["id", "name"], "film": ["id"]}}
        shop = server.add_connection("shop", tables=tables)
        export(server, folder)
        tables["public"] |= {"actor": ["id", "name", "born"], "added": ["id"]}
        server.set_source_tables(shop, tables)
        more = "on_schema_drift={'field_added': 'apply', 'stream_added': 'apply'}"
        left = sync(server, folder, shop, more, kind="Fivetran")
        assert left.state == "success"
        assert [(one["change"], one["stream"], one["field"]) for one in drift_of(left)] == [
            ("field_added", "public.actor", "born"), ("stream_added", "public.added", ""),
        ]  # fmt: skip
        left = sync(server, folder, shop, "on_schema_drift='fail'", kind="Fivetran")
        assert (left.state, drift_of(left)) == ("success", [])
        tables["public"] |= {"actor": ["id"]}
        server.set_source_tables(shop, tables)
        left = sync(server, folder, shop, kind="Fivetran")
        assert (left.state, len(server.syncs(shop))) == ("failed", 2)


# --- the sensor ---


def sensed(server, folder, connection_id, more=""):
    return run(server, folder, f"""
SchemaDriftSensor(task_id="t", conn_id="remote", connection_id={connection_id!r}, schema_lock="file://{folder}",
                  poke_interval=0.1, timeout=20, {more})
""")  # fmt: skip


def test_the_sensor_tells_what_is_only_new(airbyte, shop, folder):
    export(airbyte, folder)
    airbyte.set_source_streams(shop, [WIDER])
    left = sensed(airbyte, folder, shop)
    assert (left.state, left.one()) == ("success", [ADDED])
    if not in_process.AIRFLOW_2:
        assert events_of(shop) == [{"drift": [ADDED], "proposed": ""}]


@pytest.mark.parametrize(
    ("more", "state"),
    [("retries=2", "failed"), ("soft_fail=True", "skipped"),
     ("on_fail='wait', timeout=0.3, soft_fail=True, mode='reschedule'", "skipped")],
    ids=["fail", "soft_fail", "wait-reschedule"],
)  # fmt: skip
def test_the_sensor_of_drift_that_fails(airbyte, shop, folder, more, state):
    export(airbyte, folder)
    airbyte.set_source_streams(shop, [NARROWER])
    body = more if "timeout" in more else f"{more}, timeout=20"
    left = run(airbyte, folder, f"""
SchemaDriftSensor(task_id="t", conn_id="remote", connection_id={shop!r}, schema_lock="file://{folder}",
                  poke_interval=0.1, {body})
""")  # fmt: skip
    assert (left.states["t"], left.tries["t"]) == (state, 1)


def test_the_sensor_waits_until_the_source_is_mended(airbyte, shop, folder):
    export(airbyte, folder)
    airbyte.set_source_streams(shop, [NARROWER])
    source = airbyte.catalogue.source(airbyte.connection(shop).source_id)
    before, over = source.discoveries, threading.Event()

    def mend():
        while source.discoveries == before and not over.wait(0.02):
            pass
        airbyte.set_source_streams(shop, [ORDERS])

    thread = threading.Thread(target=mend)
    thread.start()
    try:
        left = sensed(airbyte, folder, shop, "on_fail='wait'")
    finally:
        over.set()
        thread.join()
    assert (left.state, left.one()) == ("success", [])
    assert source.discoveries > before + 1


# --- stopping ---


def test_a_long_conversation_can_be_stopped():
    drive = driver(RemoteSettings("http://127.0.0.1:1"))

    def endless():
        yield Pause(600)

    timer = threading.Timer(0.1, drive.stop)
    timer.start()
    began = time.monotonic()
    with pytest.raises(TransientError, match="told to stop"):
        drive(endless())
    with pytest.raises(TransientError, match="told to stop"):
        drive(endless())
    assert time.monotonic() - began < 60
