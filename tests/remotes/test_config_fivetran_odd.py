"""Fivetran connections whose files are odd, whose servers cannot tell all, whose tables come, go and change."""

from __future__ import annotations

import pytest

from airflow_elt_provider.errors import ConfigurationError
from airflow_elt_provider.remotes.config_as_code.fivetran.schemas import modes_differ
from airflow_elt_provider.remotes.config_as_code.fivetran.selection import additions
from airflow_elt_provider.remotes.config_as_code.plan import PlanOptions
from airflow_elt_provider.remotes.config_as_code.schema_lock import Drift, LockedStream, SchemaLock, drift
from tests.remotes.fivetran_files import (
    PASSWORD,
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


# --- odd files ---


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("  frequency: 360\n", "", "schedule has no frequency"),
        ("  sensitivity: NORMAL\n", "  threshold: 5\n", "data_delay has no sensitivity"),
        ("user: fivetran", "user: null", "config.user is null"),
        ("paused: false", "paused: 'false'", "paused is 'false'. Remedy: write true or false"),
        ("LOW_ALL\n", "LOW_ALL\n  tables: {public.orders: {enabled: 'false'}}\n", "public.orders: enabled is 'false'"),
        (
            "LOW_ALL\n",
            "LOW_ALL\n  tables: {public.orders: {columns: {email: {hashed: 'false'}}}}\n",
            "public.orders.email: hashed is 'false'",
        ),
    ],
    ids=["frequency", "sensitivity", "null", "paused", "enabled", "hashed"],
)
def test_what_fivetran_could_never_take_over_is_refused(server, folder, work_of, old, new, said):
    rental(server)
    work_of(folder).export()
    edit(folder, old, new)
    (problem,) = work_of(folder).plan().problems
    assert said in problem


def test_no_null_is_sent_but_where_it_takes_something_away(server, folder, work_of):
    agent = server.add_agent(display_name="cellar")
    rental(server, sync_frequency=1440, daily_sync_time="13:00", hybrid_deployment_agent_id=agent,
           data_delay_sensitivity="CUSTOM", data_delay_threshold=9)  # fmt: skip
    work_of(folder).export()
    edit(folder, "  daily_at: '13:00'\n  frequency: 1440\n", "  frequency: 60\n")
    edit(folder, "  agent: cellar\n", "")
    edit(folder, "  sensitivity: CUSTOM\n  threshold: 9\n", "  sensitivity: LOW\n")
    applied(work_of(folder))
    (sent,) = [seen.json() for seen in server.asked("/v1/connections", "PATCH")]
    assert [name for name, value in sent.items() if value is None] == ["hybrid_deployment_agent_id"]


def test_a_source_that_cannot_be_reached_is_said_with_a_remedy(server, do):
    connection_id = rental(server)
    server.break_setup(connection_id)
    with pytest.raises(ConfigurationError, match=r"The source cannot be reached\. .*setup tests in the dashboard"):
        do("discover", connection_id)


# --- what cannot be told for the moment ---


@pytest.mark.parametrize("why", ["broken", "not captured"])
def test_an_export_keeps_what_a_server_cannot_tell_for_the_moment(server, folder, work_of, why):
    connection_id = rental(server)
    select(server, connection_id, schema_change_handling="BLOCK_ALL")
    work_of(folder).export()
    before = text_of(folder)
    assert "email:\n          enabled: true" in before
    if why == "broken":
        server.break_setup(connection_id)
    else:
        server.connections[connection_id].captured = False
    work_of(folder).export()
    assert text_of(folder) == before


def test_what_no_file_tells_is_said_once(server, folder, work_of, caplog):
    for number in range(7):
        server.add_connection(f"shop_{number}", networking_method="ProxyAgent", proxy_agent_id="proxy")
    work_of(folder).export(schemas="none")
    said = [one.getMessage() for one in caplog.records if "No file tells" in one.getMessage()]
    assert len(said) == 1
    assert "proxy agent of connection warehouse / shop_0, " in said[0]
    assert " and 2 more: " in said[0]


# --- data that is to be read anew ---

LIVE, OFF = {"sync_mode": "LIVE"}, {"enabled": False}
MODES = {
    "first listed": ({}, {"public.orders": LIVE}, True),
    "no longer listed": ({"public.orders": LIVE}, {}, True),
    "its columns": ({"public.orders": LIVE}, {"public.orders": {**LIVE, **columns(a={})}}, False),
    "no longer synced": ({"public.orders": LIVE}, {"public.orders": OFF}, False),
    "newly synced": ({"public.orders": OFF}, {"public.orders": LIVE}, False),
    "in a schema that is off": ({}, {"audit.log": LIVE}, False),
}  # fmt: skip


@pytest.mark.parametrize("case", MODES)
def test_only_tables_that_stay_and_change_their_mode_have_data_to_be_read_anew(case):
    before, wanted, expected = MODES[case]
    shape = {"changes": "ALLOW_ALL", "schemas": {"audit": {"enabled": False}}}
    assert modes_differ({"schema": {**shape, "tables": before}}, {"schema": {**shape, "tables": wanted}}) is expected


def test_a_table_that_is_taken_up_is_not_read_anew_with_all_others():
    before = {"schema": {"changes": "ALLOW_COLUMNS", "tables": {"public.orders": {"enabled": True}}}}
    more = {"public.users": {"enabled": True, "sync_mode": "HISTORY"}}
    wanted = {"schema": {"changes": "ALLOW_COLUMNS", "tables": {"public.orders": {"enabled": True}, **more}}}
    assert not modes_differ(before, wanted)
    assert modes_differ({"schema": {"changes": "ALLOW_ALL"}}, wanted)
    assert not modes_differ({}, wanted)


def test_a_reset_is_made_for_a_table_that_was_not_listed(server, folder, work_of):
    rental(server)
    work_of(folder).export()
    edit(folder, "changes: ALLOW_ALL", "changes: ALLOW_ALL\n  tables:\n    public.orders:\n      sync_mode: HISTORY")
    applied(work_of(folder), reset=True)
    assert len(server.asked("/resync$")) == 1


# --- the gate ---


def test_a_table_that_is_taken_up_is_new_to_the_lock_and_no_changed_key(server, folder, work_of, do):
    connection_id = rental(server)
    select(server, connection_id, **tables("public", users={"enabled": False}))
    work_of(folder).export()
    lock = next(iter(work_of(folder).files().locks.values()))
    select(server, connection_id, **tables("public", users={}))
    found = do("discover", connection_id)
    assert drift(lock, found.schema, found.selected) == [Drift("stream_added", "public.users", new="2 fields")]


def test_only_servers_without_types_tell_of_a_stream_by_its_name_alone():
    empty, full = SchemaLock({"a": LockedStream({})}), SchemaLock({"a": LockedStream({"id": "integer"})})
    assert [one.kind for one in drift(empty, full)] == ["field_added"]


def test_what_nobody_may_change_is_not_asked_for():
    fixed = {"enabled": False, "enabled_patch_settings": {"allowed": False, "reason_code": "SYSTEM_TABLE"}}
    free = {"enabled": True, "columns": {"x": fixed}}
    raw = {
        "schema_change_handling": "BLOCK_ALL",
        "schemas": {"public": {"enabled": True, "tables": {"sys": fixed, "orders": free}}},
    }
    assert additions(raw, [Drift("stream_added", "public.sys"), Drift("field_added", "public.orders", "x")]) == {}


def test_no_secret_of_a_list_is_sent_back_as_a_mask(server, folder, work_of):
    connection_id = rental(server)
    work_of(folder).export()
    refer(folder)
    work = work_of(folder)
    work.apply(work.plan(PlanOptions(write_secrets=True)), lookup)
    assert server.connections[connection_id].config["secrets_list"] == [{"key": "api", "value": PASSWORD}]
