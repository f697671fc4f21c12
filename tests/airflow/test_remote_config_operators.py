"""The operators of remote configuration, and the drift gate, in DAGs: against fake servers over sockets."""

from __future__ import annotations

import json
import re
import shutil
import threading
import time
from collections import defaultdict

import pytest

from airflow_elt_provider._compat import AirflowFailException
from airflow_elt_provider.errors import ConfigurationError, TransientError
from airflow_elt_provider.hooks.remotes import remote_hook
from airflow_elt_provider.operators._config_texts import names_of, plan_of
from airflow_elt_provider.operators.remote import AirbyteSyncOperator, FivetranSyncOperator
from airflow_elt_provider.operators.remote_config import (
    RemoteConfigApplyOperator,
    RemoteConfigDiffOperator,
    RemoteConfigExportOperator,
)
from airflow_elt_provider.remotes.config_as_code.opening import driver
from airflow_elt_provider.remotes.config_as_code.work import ConfigWork
from airflow_elt_provider.remotes.flow import Pause
from airflow_elt_provider.remotes.settings import RemoteSettings
from airflow_elt_provider.sensors.schema_drift import SchemaDriftSensor
from airflow_elt_provider.stages.folder_local import LocalFolder
from tests.airflow import in_process
from tests.fakes.airbyte import FakeAirbyte
from tests.fakes.digdag import FakeDigdag
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


@pytest.fixture(scope="module", autouse=True)
def quietly():
    with in_process.without_lineage():
        yield


@pytest.fixture
def airbyte():
    with FakeAirbyte(public=False, config="0.40") as server:
        server.run_seconds = 0.1
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
    if isinstance(server, FakeDigdag):
        extra = {"conn_type": "eltdigdag", "host": server.url}
    return in_process.environment(AIRFLOW_CONN_REMOTE=json.dumps(extra))


def run(server, folder, body, **environment):
    with known(server), in_process.environment(**environment):
        return in_process.run(IMPORTS + f'AT = dict(conn_id="remote", folder="file://{folder}")\n' + body)


class Context(dict):
    """What a try is given, and what it leaves, without a DAG around it."""

    def __init__(self, store=None):
        super().__init__(ti=self, dag_run=None, outlet_events=defaultdict(lambda: self))
        if store is not None:
            self["task_state_store"] = store
        self.xcoms, self.events = {}, []

    dag_id, run_id, task_id, map_index, try_number, max_tries, start_date = "dag", "run", "t", -1, 1, 0, None

    def xcom_push(self, key, value):
        self.xcoms[key] = json.loads(json.dumps(value))

    def add(self, _asset, extra):
        self.events += [extra] if "drift" in extra else []

    @property
    def drift(self):
        return self.xcoms.get("schema_drift")


class Store(dict):
    """As Airflow 3.3 keeps it from try to try."""

    set = dict.__setitem__


def executed(server, operator, context=None):
    """Return what an operator returns; it raises what Airflow would hear."""
    context = context or Context()
    context["task"] = operator
    with known(server):
        return operator.execute(context)


def at(folder, **parameters):
    return {"task_id": "t", "conn_id": "remote", "folder": f"file://{folder}", **parameters}


def gated(folder, connection_id, kind=AirbyteSyncOperator, **parameters):
    given = {"deferrable": False, "poll_interval": 0.05, "outage_tolerance": 5, **parameters}
    place = {"connection_id": connection_id, "schema_lock": f"file://{folder}"}
    return kind(task_id="t", conn_id="remote", **place, **given)


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


def test_an_empty_workspace_beside_others(airbyte, shop, folder):
    airbyte.add_workspace("New")
    export(airbyte, folder)
    result = executed(airbyte, RemoteConfigExportOperator(**at(folder, workspaces="New")))
    assert (result["objects"], result["removed"]) == ({}, [])


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


def test_before_the_first_export(airbyte, shop, folder):
    with pytest.raises(AirflowFailException, match="begin with `elt remote export`"):
        executed(airbyte, RemoteConfigDiffOperator(**at(folder)))


def test_names_of_workspaces():
    assert [names_of("workspaces", value) for value in (None, "", "None")] == [None] * 3
    for value, names in (("[]", []), ("Shop", ["Shop"]), ('["a"]', ["a"]), ("['a', 'b']", ["a", "b"]), (("a",), ["a"])):
        assert names_of("workspaces", value) == names


@pytest.mark.parametrize("value", ["['a'", [None], [""], 3, {}], ids=repr)
def test_what_is_no_list_of_names(value):
    with pytest.raises(ConfigurationError, match="is no list of names"):
        names_of("workspaces", value)


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


def test_nothing_is_deleted_unless_that_is_allowed(airbyte, shop, folder, tmp_path):
    export(airbyte, folder)
    gone = airbyte.add_connection("gone", source_id=airbyte.connection(shop).source_id,
                                  destination_id=airbyte.connection(shop).destination_id)  # fmt: skip

    def applied(**parameters):
        return executed(airbyte, RemoteConfigApplyOperator(**at(folder, **parameters)))

    kept = applied()
    assert ([one[2] for one in kept["plan"]["left_alone"]], kept["done"]) == (["gone"], [])
    plan = applied(allow_delete=True, dry_run="true")["plan"]
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    with pytest.raises(AirflowFailException, match="The plan deletes connection"):
        applied(plan=f"file://{tmp_path}/plan.json")
    with pytest.raises(AirflowFailException, match="There is no plan at"):
        applied(plan=f"file://{tmp_path}/nothing.json", allow_delete=True)
    done = applied(plan=f"file://{tmp_path}/plan.json", allow_delete=True)
    assert [one.split()[:2] for one in done["done"]] == [["deleted", "connection"]]
    assert airbyte.connection(gone).status == "deprecated"


@pytest.mark.parametrize("dry_run", [True, False], ids=["dry", "real"])
def test_a_plan_that_cannot_be_carried_out(airbyte, shop, folder, dry_run):
    export(airbyte, folder)
    path = file_of(folder, "*/sources/shop-source.yaml")
    path.with_name("new.yaml").write_text(path.read_text().replace("name: shop source", "name: new"))
    context = Context()
    with pytest.raises(AirflowFailException, match=r"the secret at configuration\.password was not exported"):
        executed(airbyte, RemoteConfigApplyOperator(**at(folder, dry_run=dry_run)), context)
    assert len(context.xcoms["return_value"]["plan"]["problems"]) == 1
    assert airbyte.asked(r"sources/create$") == []


@pytest.mark.parametrize("value", ["plan.json", "[1]", "{bad", [1], 5], ids=repr)
def test_what_is_no_plan(value):
    with pytest.raises(ConfigurationError, match="is neither a plan nor a URI"):
        plan_of(value)


def test_a_plan_in_all_its_forms():
    assert plan_of("gs://config/plan.json") == (None, "gs://config/plan.json")
    whole = {"plan": {"server": "https://x"}}
    for value in (whole, whole["plan"], str(whole), json.dumps(whole["plan"])):
        text, place = plan_of(value)
        assert (json.loads(text), place) == (whole["plan"], "")


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


def drift_of(left, task_id="t"):
    (ti,) = [one for one in left.run.get_task_instances() if one.task_id == task_id]
    return ti.xcom_pull(task_ids=task_id, key="schema_drift")


def events_of(connection_id):
    from airflow.models.asset import AssetEvent
    from airflow.utils.session import create_session

    with create_session() as session:
        uri = f"elt://remote/schema/{connection_id}"
        return [event.extra for event in session.query(AssetEvent) if event.uri == uri]


def refused(server, operator, context=None):
    with pytest.raises(AirflowFailException) as said:
        executed(server, operator, context)
    return str(said.value)


def proposals(folder):
    return [path.name for path in folder.rglob("*.proposed.yaml")]


@BOTH
def test_drift_that_is_only_said(airbyte, shop, folder, deferrable, caplog, capfd):
    export(airbyte, folder)
    airbyte.set_source_streams(shop, [WIDER, "more"])
    left = run(airbyte, folder, f"""
AirbyteSyncOperator(task_id="t", conn_id="remote", connection_id={shop!r}, schema_lock="file://{folder}",
                    deferrable={deferrable}, poll_interval=0.2, on_drift="propose",
                    on_schema_drift={{"stream_added": "ignore"}})
""")  # fmt: skip
    assert (left.state, drift_of(left), len(airbyte.starts(shop))) == ("success", [ADDED], 1)
    assert "field added  public.orders  total" in said(caplog, capfd)
    proposed = file_of(folder, "*/sources/*.proposed.yaml")
    assert "more:" in proposed.read_text()
    if not in_process.AIRFLOW_2:  # it wants aliases registered by a scheduler
        assert events_of(shop) == [{"drift": [ADDED], "proposed": f"file://{proposed}"}]
    proposed.replace(file_of(folder, LOCK))
    context = Context()
    executed(airbyte, gated(folder, shop, on_schema_drift="fail"), context)
    assert (context.drift, context.events) == ([], [])


def test_drift_that_fails_starts_nothing(airbyte, shop, folder):
    export(airbyte, folder)
    airbyte.set_source_streams(shop, [NARROWER])
    with FakeSlack() as slack:
        left = run(airbyte, folder, f"""
AirbyteSyncOperator(task_id="t", conn_id="remote", connection_id={shop!r}, schema_lock="file://{folder}", retries=2,
                    on_failure_callback=[EltSlackNotifier()], on_drift="propose")
""", AIRFLOW_CONN_SLACK_DEFAULT=slack.connection())  # fmt: skip
    assert (left.state, left.tries["t"], airbyte.starts(shop), drift_of(left)) == ("failed", 1, [], [REMOVED])
    (message,) = map(seen, slack.messages)
    assert "field removed: public.orders.note (string)." in message
    assert "put file://" in message.split("*Remedy:*")[1]
    airbyte.set_source_streams(shop, [ORDERS])
    executed(airbyte, gated(folder, shop, on_drift="propose"))
    assert proposals(folder) == []


def test_a_proposal_outlives_a_look_of_another_connection_of_the_source(airbyte, folder):
    shop = airbyte.add_connection("shop", [ORDERS, "more"])
    other = airbyte.add_connection("other", ["more"], source_id=airbyte.connection(shop).source_id)
    export(airbyte, folder)
    airbyte.set_source_streams(shop, [NARROWER, "more"])
    refused(airbyte, gated(folder, shop, on_drift="propose"))
    context = Context()
    executed(airbyte, gated(folder, other, on_drift="propose"), context)
    assert (context.drift, proposals(folder)) == ([], ["shop-source.proposed.yaml"])
    airbyte.set_source_streams(shop, [ORDERS, "more"])
    executed(airbyte, gated(folder, other, on_drift="propose"))
    assert proposals(folder) == []


def test_drift_that_is_applied_is_quiet_the_next_time(airbyte, shop, folder):
    export(airbyte, folder)
    airbyte.set_source_streams(shop, [WIDER, "more"])
    context, added = Context(), {"change": "stream_added", "stream": "more", "field": "", "old": "", "new": "1 fields"}
    executed(airbyte, gated(folder, shop, on_schema_drift={"field_added": "apply", "stream_added": "apply"}), context)
    assert context.drift == [added, ADDED]
    assert {one.name for one in airbyte.connection(shop).streams} == {"orders", "more"}
    executed(airbyte, gated(folder, shop, on_schema_drift="fail"), context)
    assert (context.drift, len(airbyte.starts(shop))) == ([], 2)


def test_another_connection_of_the_source_follows_what_the_lock_has_already(airbyte, shop, folder):
    other = airbyte.add_connection("other", [ORDERS], source_id=airbyte.connection(shop).source_id)
    export(airbyte, folder)
    airbyte.set_source_streams(shop, [WIDER])
    context, found = Context(), []
    for connection in (shop, other, other):
        executed(airbyte, gated(folder, connection, on_schema_drift={"field_added": "apply"}), context)
        found.append(context.drift)
    assert found == [[ADDED], [ADDED], []]
    sent = [one.json() for one in airbyte.asked(r"connections/update$")]
    assert [one["connectionId"] for one in sent] == [shop, other]
    for one in sent:
        assert "total" in one["syncCatalog"]["streams"][0]["stream"]["jsonSchema"]["properties"]


def test_nothing_is_applied_where_anything_fails(airbyte, shop, folder):
    export(airbyte, folder)
    lock = file_of(folder, LOCK)
    before = lock.read_bytes()
    airbyte.set_source_streams(shop, [NARROWER, "more"])
    refused(airbyte, gated(folder, shop, on_schema_drift={"stream_added": "apply"}))
    assert (lock.read_bytes(), airbyte.starts(shop)) == (before, [])
    assert {one.name for one in airbyte.connection(shop).streams} == {"orders"}


def test_what_was_applied_is_told_by_the_try_that_succeeds(airbyte, shop, folder):
    export(airbyte, folder)
    airbyte.set_source_streams(shop, [WIDER])
    context, applies = Context(Store()), {"on_schema_drift": {"field_added": "apply"}}
    fault = airbyte.inject(Fault("POST", r"/jobs/get", status=500, times=None))
    with pytest.raises(TransientError):
        executed(airbyte, gated(folder, shop, outage_tolerance=0, **applies), context)
    assert airbyte.starts(shop) != []
    fault.times = 0
    context.xcoms.clear()
    context.try_number = 2
    executed(airbyte, gated(folder, shop, **applies), context)
    assert (context.drift, len(airbyte.starts(shop))) == ([ADDED], 1)
    if not in_process.AIRFLOW_2:
        assert context.events[-1] == {"drift": [ADDED], "proposed": ""}


def test_a_try_that_is_stopped_while_the_source_is_read_changes_nothing(airbyte, shop, folder):
    export(airbyte, folder)
    lock = file_of(folder, LOCK)
    before = lock.read_bytes()
    airbyte.set_source_streams(shop, [WIDER])
    fault = airbyte.inject(Fault("POST", r"discover_schema", then="pass", delay=0.7))
    operator, over = gated(folder, shop, on_schema_drift="apply"), threading.Event()

    def kill():
        while not fault.hits and not over.wait(0.02):
            pass
        operator.on_kill()

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        with pytest.raises(TransientError, match="told to stop"):
            executed(airbyte, operator)
    finally:
        over.set()
        thread.join()
    assert (lock.read_bytes(), airbyte.starts(shop)) == (before, [])
    assert airbyte.asked(r"connections/update$") == []


def test_a_lock_that_is_not_there_or_not_of_this_source(airbyte, shop, folder):
    other = airbyte.add_connection("crm", [ORDERS])
    export(airbyte, folder, "none")
    assert "There is no lock of source" in refused(airbyte, gated(folder, shop))
    export(airbyte, folder)
    one = file_of(folder, "*/sources/shop-source.lock.yaml")
    executed(airbyte, gated(one, shop))
    assert "is the lock of source / " in refused(airbyte, gated(one, other))
    assert "is the configuration of source / " in refused(airbyte, gated(one.with_name("shop-source.yaml"), shop))
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
        ({"on_drift": "tell"}, "on_drift='tell' is unknown"),
        ({"on_schema_drift": "evolve"}, "on_schema_drift has 'evolve'"),
        ({"on_schema_drift": {"added": "fail"}}, "on_schema_drift has 'added'"),
    ],
)
def test_a_word_that_there_is_not(folder, more, message):
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        gated(folder, "x", **more)
    with pytest.raises(ConfigurationError, match="schemas='News' is unknown"):
        RemoteConfigExportOperator(**at(folder, schemas="News"))


def test_words_that_come_when_tasks_are_mapped(airbyte, shop, folder):
    """Without a lock those of other operators do no harm; what is no word does not accept all schemas."""
    left = run(airbyte, folder, f"""
AirbyteSyncOperator.partial(task_id="t", conn_id="remote", on_schema_drift="evolve", poll_interval=0.2).expand(
    connection_id=[{shop!r}])
RemoteConfigExportOperator.partial(task_id="e", **AT).expand(schemas=["News"])
""")  # fmt: skip
    assert left.states == {"t[0]": "success", "e[0]": "failed"}
    assert not folder.exists()


def test_fivetran(folder):
    with FakeFivetran() as server:
        server.run_seconds = 0.1
        tables = {"public": {"actor": ["id", "name"], "film": ["id"]}}
        shop = server.add_connection("shop", tables=tables)
        export(server, folder)
        tables["public"] |= {"actor": ["id", "name", "born"], "added": ["id"]}
        server.set_source_tables(shop, tables)

        def synced(**parameters):
            context = Context()
            executed(server, gated(folder, shop, FivetranSyncOperator, **parameters), context)
            return context.drift

        drift = synced(on_schema_drift={"field_added": "apply", "stream_added": "apply"})
        assert [(one["change"], one["stream"], one["field"]) for one in drift] == [
            ("field_added", "public.actor", "born"), ("stream_added", "public.added", ""),
        ]  # fmt: skip
        assert synced(on_schema_drift="fail") == []
        tables["public"] |= {"actor": ["id"]}
        server.set_source_tables(shop, tables)
        with pytest.raises(AirflowFailException, match=r"field removed: public\.actor\.born"):
            synced()
        assert len(server.syncs(shop)) == 2


# --- the sensor ---


def sensor(folder, connection_id, **parameters):
    place = {"connection_id": connection_id, "schema_lock": f"file://{folder}"}
    given = {"poke_interval": 0.1, "timeout": 20, **place, **parameters}
    return SchemaDriftSensor(task_id="t", conn_id="remote", **given)


def test_the_sensor_tells_what_is_only_new(airbyte, shop, folder):
    export(airbyte, folder)
    airbyte.set_source_streams(shop, [WIDER])
    context = Context()
    assert executed(airbyte, sensor(folder, shop), context) == [ADDED]
    if not in_process.AIRFLOW_2:
        assert context.events == [{"drift": [ADDED], "proposed": ""}]


def test_the_sensor_of_drift_that_fails(airbyte, shop, folder):
    export(airbyte, folder)
    airbyte.set_source_streams(shop, [NARROWER])
    place = f'conn_id="remote", connection_id={shop!r}, schema_lock="file://{folder}", poke_interval=0.1, retries=2'
    left = run(airbyte, folder, f"""
SchemaDriftSensor(task_id="fail", {place})
SchemaDriftSensor(task_id="soft", soft_fail=True, {place})
SchemaDriftSensor(task_id="wait", on_fail="wait", timeout=0.3, soft_fail=True, mode="reschedule", {place})
""")  # fmt: skip
    assert left.states == {"fail": "failed", "soft": "skipped", "wait": "skipped"}
    assert set(left.tries.values()) == {1}
    assert left.xcoms["fail"] == left.xcoms["soft"] == [REMOVED]


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
        found = executed(airbyte, sensor(folder, shop, on_fail="wait"))
    finally:
        over.set()
        thread.join()
    assert found == []
    assert source.discoveries > before + 1


def test_the_sensor_bears_an_outage(airbyte, shop, folder):
    export(airbyte, folder)
    airbyte.inject(Fault("POST", r"discover_schema", status=503))
    assert executed(airbyte, sensor(folder, shop)) == []


def test_digdag_has_no_schemas(folder):
    with FakeDigdag() as server:
        assert "the drift gate is for Airbyte and Fivetran" in refused(server, sensor(folder, "elt/daily"))


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
