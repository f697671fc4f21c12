"""Fivetran's connections that are made of files: paused until all is set, and once, whatever is lost on the way."""

from __future__ import annotations

import pytest

from airflow_elt_provider.errors import ConfigurationError
from airflow_elt_provider.remotes.config_as_code.plan import PlanOptions
from airflow_elt_provider.remotes.config_as_code.work import restored
from airflow_elt_provider.remotes.flow import Request
from tests.fakes.http_fake import Fault
from tests.remotes.config_memory import PowerCut
from tests.remotes.fivetran_files import (
    PASSWORD,
    SCHEMAS,
    applied,
    fivetran,
    folder,
    lookup,
    refer,
    rental,
    select,
    server,
    tables,
    work_of,
)

__all__ = ["fivetran", "folder", "server", "work_of"]


def test_everything_is_made_anew_after_a_wipe_and_a_sync_runs(server, folder, work_of):
    agent = server.add_agent(display_name="in the cellar")
    first = rental(server, hybrid_deployment_agent_id=agent, sync_frequency=60)
    select(server, first, schema_change_handling="ALLOW_COLUMNS", **tables("public", users={"enabled": False}))
    work_of(folder).export()
    refer(folder)
    before = dict(folder.files)
    server.wipe()
    work = work_of(folder)
    restored(work, {}, disabled=False)
    work.apply(work.plan(PlanOptions(only_create=True)), lookup)
    work_of(folder).export(schemas="all")
    assert folder.files == before
    (made,) = server.connections.values()
    assert made.config["password"] == PASSWORD
    assert [sync.by for sync in server.syncs(made.id)] != []
    posted = server.asked("/v1/connections$", "POST")[-1].json()
    assert (posted["paused"], posted["run_setup_tests"]) == (True, False)


def test_a_connection_syncs_only_when_all_is_set(server, folder, work_of):
    connection_id = rental(server)
    select(server, connection_id, **tables("public", users={"enabled": False}))
    work_of(folder).export()
    refer(folder)
    del server.connections[connection_id]
    applied(work_of(folder))
    lines = [(method, path.rpartition("/")[2]) for method, path in server.changes]
    made = next(iter(server.connections))
    assert lines == [
        ("POST", "connections"),
        ("POST", "test"),
        ("POST", "reload"),
        ("PATCH", "schemas"),
        ("PATCH", made),
    ]
    assert len(server.setup_tests_of) == 1


def test_another_group_is_made_where_it_is_missing_and_nothing_runs_there(server, folder, work_of):
    rental(server)
    work_of(folder).export()
    refer(folder)
    work = work_of(folder)
    restored(work, {"warehouse": "lake"}, disabled=True)
    work.apply(work.plan(PlanOptions(only_create=True)), lookup)
    copy = next(one for one in server.connections.values() if server.groups[one.group_id].name == "lake")
    assert (copy.paused, copy.config["password"], server.syncs(copy.id)) == (True, PASSWORD, [])


@pytest.mark.parametrize("service", ["postgres", "github", "google_sheets", "s3"])
def test_a_service_gets_its_name_as_it_wants_it(server, folder, work_of, service):
    name = "plan.budget" if service in {"google_sheets", "s3"} else "plan"
    connection_id = server.add_connection(name, service=service)
    work_of(folder).export()
    del server.connections[connection_id]
    applied(work_of(folder))
    assert [one.schema for one in server.connections.values()] == [name]
    assert work_of(folder).plan().empty


def test_a_connection_that_does_not_connect_stays_paused_and_the_others_go_on(server, folder, work_of, caplog):
    for connection_id in (rental(server), server.add_connection("shop")):
        select(server, connection_id, schema_change_handling="BLOCK_ALL")
    work_of(folder).export()
    refer(folder)
    server.connections.clear()
    server.inject(Fault("POST", "/test$", then="answer", status=200, body={"data": {
        "status": {"setup_state": "incomplete"},
        "setup_tests": [{"title": "Validate Login", "status": "FAILED", "message": f"no user with {PASSWORD}"}],
    }}))  # fmt: skip
    done = applied(work_of(folder))
    assert [one.partition(": ")[2] for one in done.not_taken if "paused" in one] == ["paused is true, not false"]
    assert "Validate Login: no user with *** Remedy: correct its config" in caplog.text
    assert [(one.schema, one.paused) for one in server.connections.values()] == [("rental", True), ("shop", False)]
    applied(work_of(folder))
    assert [one.paused for one in server.connections.values()] == [False, False]
    assert work_of(folder).plan().empty


WRITES = [
    ("POST", "/v1/groups$"), ("POST", "/v1/connections$"), ("POST", "/test$"), ("POST", "/reload$"),
    ("PATCH", SCHEMAS), ("PATCH", r"/connections/[^/]+$"),
]  # fmt: skip


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(("method", "path"), WRITES, ids=[path.strip("/$") for _, path in WRITES])
def test_an_answer_that_is_lost_is_looked_for(server, folder, work_of, method, path, when):
    select(server, rental(server), **tables("public", users={"enabled": False}))
    work_of(folder).export()
    refer(folder)
    server.wipe()
    fault = server.inject(Fault(method, path, when=when, then="cut"))
    applied(work_of(folder))
    assert fault.hits == 1
    assert (len(server.groups), len(server.connections)) == (1, 1)
    assert work_of(folder).plan().empty


@pytest.mark.parametrize(("method", "path"), WRITES, ids=[path.strip("/$") for _, path in WRITES])
def test_a_creation_that_broke_off_is_finished_by_a_repeat(server, folder, work_of, method, path):
    select(server, rental(server), **tables("public", users={"enabled": False}))
    work_of(folder).export()
    refer(folder)
    server.wipe()
    work = work_of(folder)
    plan = work.plan()
    server.inject(Fault(method, path, when="after", then="answer", status=400, body={"message": "no"}, times=2))
    with pytest.raises(ConfigurationError):
        work.apply(plan, lookup)
    server.heal()
    work_of(folder).apply(plan, lookup)
    assert (len(server.groups), len(server.connections)) == (1, 1)
    assert work_of(folder).plan().empty


def test_a_power_cut_between_any_two_changes_is_mended_by_the_same_plan(server, folder, work_of):
    agent = server.add_agent(display_name="in the cellar")
    select(server, rental(server, hybrid_deployment_agent_id=agent), **tables("public", users={"enabled": False}))
    work_of(folder).export()
    refer(folder)

    def cut(step):
        if isinstance(step, Request) and step.method != "GET":
            if len(server.changes) == lasts:
                raise PowerCut
            assert step.method != "DELETE"

    for lasts in range(20):
        server.wipe()
        server.changes.clear()
        plan = work_of(folder).plan()
        try:
            work_of(folder, before=cut).apply(plan, lookup)
        except PowerCut:
            work_of(folder).apply(plan, lookup)
        assert [len(things) for things in (server.groups, server.agents, server.connections)] == [1, 1, 1]
        assert [one.paused for one in server.connections.values()] == [False]
        assert work_of(folder).plan().empty
        if len(server.changes) <= lasts:
            return
    raise AssertionError("it never ends")


def test_a_group_whose_answer_was_lost_is_not_made_twice(server, folder, work_of):
    server.add_agent(display_name="in the cellar")
    work_of(folder).export()
    server.wipe()
    server.inject(Fault("POST", "/v1/groups$", when="after", then="cut"))
    applied(work_of(folder))
    assert [group.name for group in server.groups.values()] == ["warehouse"]
    assert work_of(folder).plan().empty
