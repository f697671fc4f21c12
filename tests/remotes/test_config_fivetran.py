"""Fivetran's connections as code: what a file holds of them, how they change, and where secrets are not."""

from __future__ import annotations

import json
import logging
import re
from dataclasses import replace

import pytest

from airflow_elt_provider.errors import ConfigurationError, TransientError
from airflow_elt_provider.remotes.config_as_code.model import silent
from airflow_elt_provider.remotes.config_as_code.plan import PlanOptions
from airflow_elt_provider.remotes.flow import Pause
from tests.fakes.http_fake import Fault
from tests.remotes.driving import driven_by_requests
from tests.remotes.fivetran_files import (
    PASSWORD,
    RENTAL,
    applied,
    columns,
    do,
    edit,
    fivetran,
    folder,
    lookup,
    refer,
    rental,
    select,
    server,
    tables,
    text_of,
    work_of,
)

__all__ = ["do", "fivetran", "folder", "server", "work_of"]


def test_a_file_holds_what_somebody_chose(server, folder, work_of):
    connection_id = rental(server, sync_frequency=1440, daily_sync_time="13:00", networking_method="SshTunnel")
    select(
        server, connection_id, **tables("public", orders={"sync_mode": "HISTORY", **columns(email={"hashed": True})})
    )
    select(server, connection_id, **tables("public", users={"enabled": False}))
    work_of(folder).export()
    assert (
        text_of(folder)
        == """\
kind: connection
workspace: warehouse
name: rental
service: postgres
naming: FIVETRAN_NAMING
paused: false
schedule:
  daily_at: '13:00'
  frequency: 1440
  type: auto
networking:
  method: SshTunnel
data_delay:
  sensitivity: NORMAL
config:
  database: rental
  host: db.example
  password:
    $secret: not exported
  port: 5432
  secrets_list:
    - key: api
      value:
        $secret: not exported
  user: fivetran
schema:
  changes: ALLOW_ALL
  tables:
    public.orders:
      columns:
        email:
          hashed: true
      sync_mode: HISTORY
    public.users:
      enabled: false
"""
    )


def test_references_are_by_name(server, folder, work_of):
    link, agent = server.add_private_link(name="eu"), server.add_agent(display_name="in the cellar")
    rental(server, networking_method="PrivateLink", private_link_id=link, hybrid_deployment_agent_id=agent)
    work_of(folder).export()
    assert "networking:\n  agent: in the cellar\n  method: PrivateLink\n  private_link: eu\n" in text_of(folder)
    everything = b"".join(folder.files.values()).decode()
    assert not re.search("|".join([link, agent, server.group_id, *server.connections]), everything)


def test_only_wanted_groups_are_read(server, folder, work_of):
    rental(server)
    lake = server.add_group("lake")
    server.add_connection("shop", group_id=lake)
    work_of(folder, ["lake"]).export(schemas="none")
    assert [path for path in folder.files if path.endswith(("shop.yaml", "rental.yaml"))] == [
        "lake/connections/shop.yaml"
    ]
    assert all(seen.query.startswith(f"group_id={lake}") for seen in server.asked("/v1/connections$"))


def test_a_group_that_there_is_not_has_nothing(work_of, folder, server):
    rental(server)
    assert work_of(folder, ["lake"]).export().tree.objects == {}


def test_names_that_are_there_twice_are_told_apart(server, folder, work_of):
    lakes = [server.add_group("lake"), server.add_group("lake")]
    for group_id in lakes:
        server.add_connection("shop", group_id=group_id)
    found = work_of(folder).export(schemas="none").tree
    assert {key.workspace for key in found.objects} == {f"lake [{group_id}]" for group_id in lakes}


def test_a_connection_without_known_schemas_has_no_such_section(server, folder, work_of):
    with server.lock:
        server.connections[rental(server)].captured = False
    work_of(folder).export()
    assert "schema:" not in text_of(folder)
    assert "warehouse/connections/rental.lock.yaml" not in folder.files


def test_five_hundred_connections_are_read_within_the_quota(server, folder, work_of):
    for number in range(500):
        server.add_connection(f"shop_{number:03d}", tables={"public": {"orders": ["id"]}})
    server.calls.limit, told = 1010, []
    work_of(folder, tell=lambda *step: told.append(step)).export(schemas="none")
    assert sum(path.endswith(".yaml") for path in folder.files) == 501
    assert told[0] == ("connections", 8, 500)
    assert told[-1] == ("connections", 500, 500)
    assert len(server.requests) <= 1010


def test_a_few_connections_are_read_at_once(server, folder, work_of):
    for number in range(20):
        server.add_connection(f"shop_{number:03d}")
    server.latency = 0.005
    work_of(folder).export(schemas="none")
    assert 4 < server.most_in_flight <= 8


def test_a_quota_that_is_spent_is_waited_for_and_nothing_is_read_twice(server, folder, work_of):
    for number in range(40):
        server.add_connection(f"shop_{number:03d}")
    now = [1e9]
    server.clock, server.calls.limit = lambda: now[0], 30

    def hour_goes_by(step):
        if isinstance(step, Pause) and step.seconds > 60:
            now[0] += step.seconds

    work_of(folder, before=hour_goes_by).export(schemas="none")
    assert sum(path.endswith(".yaml") for path in folder.files) == 41
    asked = [(seen.path, seen.query) for seen in server.asked("/v1/connections")]
    assert len(asked) - len(set(asked)) <= 8 * (len(set(asked)) // 30 + 1)  # at most those in flight at each refusal


def test_a_connection_that_goes_while_it_is_read_is_left_out(server, folder, work_of):
    rental(server)
    server.inject(Fault("GET", r"/connections/[^/]+$", status=404, body={"code": "NotFound"}))
    assert work_of(folder).export().tree.objects == {}


# --- apply ---


def test_a_second_plan_is_empty(server, folder, work_of):
    rental(server)
    work_of(folder).export()
    assert work_of(folder).plan().empty
    assert server.changes == []


@pytest.mark.parametrize(
    ("old", "new", "sent"),
    [
        ("frequency: 360", "frequency: 60", {"sync_frequency": 60}),
        ("type: auto", "type: manual", {"schedule_type": "manual"}),
        ("sensitivity: NORMAL", "sensitivity: LOW", {"data_delay_sensitivity": "LOW"}),
        ("port: 5432", "port: 5433", {"config": {"port": 5433}}),
        ("method: Directly", "method: SshTunnel", {"networking_method": "SshTunnel"}),
    ],
    ids=["frequency", "manual", "delay", "port", "method"],
)
def test_only_what_differs_is_sent_and_no_setup_test_runs(server, folder, work_of, old, new, sent):
    connection_id = rental(server)
    work_of(folder).export()
    edit(folder, old, new)
    applied(work_of(folder))
    bodies = [seen.json() for seen in server.asked("/v1/connections", "POST|PATCH")]
    assert len(bodies) == 1
    assert bodies[0].pop("run_setup_tests") is False
    assert {key: value for key, value in bodies[0].items() if key in sent} == sent
    assert server.setup_tests_of == []
    assert server.syncs(connection_id) == []
    assert server.connections[connection_id].config["password"] == PASSWORD
    assert work_of(folder).plan().empty


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("frequency: 360", "frequency: 1440\n  daily_at: 13", r"daily_at is 13\..*quotes"),
        ("frequency: 360", "every: 360", r"'every'.*frequency"),
        ("database: rental", "schema_prefix: rental", r"config.schema_prefix.*the file's name"),
        ("changes: ALLOW_ALL", "changes: ALL", r"'ALL'.*ALLOW_ALL"),
    ],
    ids=["hour", "section", "naming", "policy"],
)
def test_what_cannot_be_meant_is_refused_before_anything_moves(server, folder, work_of, do, old, new, said):
    rental(server)
    work_of(folder).export()
    edit(folder, old, new)
    (objection,) = do("objections", list(work_of(folder).files()))
    assert re.search(said, objection)
    with pytest.raises(ConfigurationError, match=said):
        applied(work_of(folder))
    assert server.changes == []


def test_a_secret_beside_a_changed_value_is_never_overwritten_with_its_mask(server, folder, work_of):
    connection_id = rental(server, config={"tunnel": {"host": "a", "password": "of the tunnel"}})
    work_of(folder).export()
    edit(folder, "host: a", "host: b")
    with pytest.raises(ConfigurationError, match=r"config.tunnel.password is a secret"):
        applied(work_of(folder))
    assert server.connections[connection_id].config["tunnel"]["password"] == "of the tunnel"


def test_pausing_is_the_first_thing_and_waking_the_last(server, folder, work_of):
    rental(server)
    work_of(folder).export()
    edit(folder, "paused: false", "paused: true")
    edit(folder, "changes: ALLOW_ALL", "changes: ALLOW_COLUMNS")
    applied(work_of(folder))
    first, second = server.asked("/v1/connections", "PATCH")
    assert first.json() == {"paused": True, "run_setup_tests": False}
    assert second.path.endswith("/schemas")
    edit(folder, "paused: true", "paused: false")
    edit(folder, "changes: ALLOW_COLUMNS", "changes: ALLOW_ALL")
    applied(work_of(folder))
    *_, schemas, last = server.asked("/v1/connections", "PATCH")
    assert schemas.path.endswith("/schemas")
    assert last.json() == {"paused": False, "run_setup_tests": False}
    assert work_of(folder).plan().empty


def test_a_connection_is_deleted_only_when_that_is_allowed(server, folder, work_of):
    rental(server)
    work_of(folder).export()
    other = server.add_connection("other")
    assert work_of(folder).plan().left_alone == [replace(RENTAL, name="other")]
    work = work_of(folder)
    work.apply(work.plan(PlanOptions(allow_delete=True)), lookup)
    assert other not in server.connections
    assert work_of(folder).plan().empty


def test_what_a_connection_has_read_is_reset_only_when_that_is_asked(server, folder, work_of):
    select(server, rental(server), **tables("public", orders={"sync_mode": "HISTORY"}))
    work_of(folder).export()
    edit(folder, "sync_mode: HISTORY", "sync_mode: LIVE")
    applied(work_of(folder))
    assert server.asked("/resync$") == []
    edit(folder, "sync_mode: LIVE", "sync_mode: HISTORY")
    applied(work_of(folder), reset=True)
    assert len(server.asked("/resync$")) == 1


def test_a_reset_waits_for_a_sync_that_cannot_be_cut_short(server, do):
    connection_id = rental(server)
    server.begin(connection_id)
    server.hold(connection_id)
    do("read", None, silent)
    with pytest.raises(TransientError, match="syncing"):
        do("reset", RENTAL)


# --- secrets ---


def test_no_secret_is_anywhere(server, folder, work_of, caplog):
    """Neither in files, plans and logs, nor in what Fivetran says when it refuses one."""
    caplog.set_level(logging.DEBUG)
    connection_id = rental(server)
    work_of(folder).export()
    refer(folder)
    work = work_of(folder)
    work.apply(work.plan(PlanOptions(write_secrets=True)), lookup)
    assert server.asked("/v1/connections", "PATCH")[-1].json()["config"] == {
        "password": PASSWORD, "secrets_list": [{"key": "api", "value": PASSWORD}],
    }  # fmt: skip
    del server.connections[connection_id]
    body = {"message": f"'{PASSWORD}' is no password"}
    server.inject(Fault("POST", "/v1/connections$", then="answer", status=400, body=body, times=2))
    work = work_of(folder)
    plan = work.plan()
    with pytest.raises(ConfigurationError, match=r"'\*\*\*' is no password") as refused:
        work.apply(plan, lookup)
    shown = [
        plan.text(),
        json.dumps(plan.to_json()),
        repr(refused.value),
        caplog.text,
        *map(repr, folder.files.values()),
    ]
    assert PASSWORD not in "".join(shown)


def test_one_call_after_the_other_finds_the_same(server, folder, work_of):
    rental(server)
    work_of(folder).export()
    assert work_of(folder, drive=driven_by_requests).plan().empty
