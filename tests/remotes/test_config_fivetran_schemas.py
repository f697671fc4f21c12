"""What a Fivetran connection takes of its source, as a file says it, and how the source drifts away from its lock."""

from __future__ import annotations

import pytest

from airflow_elt_provider.errors import ConfigurationError
from airflow_elt_provider.remotes.config_as_code.model import silent
from airflow_elt_provider.remotes.config_as_code.schema_lock import Drift, LockedStream, drift
from tests.fakes.http_fake import Fault
from tests.remotes.fivetran_files import (
    RENTAL,
    SCHEMAS,
    SHOP,
    applied,
    columns,
    do,
    edit,
    fivetran,
    folder,
    refer,
    rental,
    select,
    server,
    tables,
    text_of,
    work_of,
)

__all__ = ["do", "fivetran", "folder", "server", "work_of"]


def test_a_table_that_there_is_not_is_named_with_its_neighbours(server, folder, work_of):
    rental(server)
    work_of(folder).export()
    edit(folder, "changes: ALLOW_ALL\n", "changes: ALLOW_ALL\n  tables:\n    public.order:\n      enabled: false\n")
    with pytest.raises(ConfigurationError, match=r"no table 'public.order'.*public\.orders"):
        applied(work_of(folder))


def test_a_table_that_fivetran_did_not_know_yet_is_looked_for_in_the_source(server, folder, work_of):
    connection_id = rental(server)
    work_of(folder).export()
    server.set_source_tables(connection_id, {**SHOP, "public": {**SHOP["public"], "visits": ["id"]}})
    edit(folder, "changes: ALLOW_ALL\n", "changes: ALLOW_ALL\n  tables:\n    public.visits:\n      enabled: false\n")
    applied(work_of(folder))
    assert server.connections[connection_id].schemas["schemas"]["public"]["tables"]["visits"]["enabled"] is False
    assert work_of(folder).plan().empty


def test_a_restored_connection_blocks_the_columns_that_the_old_one_blocked(server, folder, work_of):
    """Fivetran blocked `card` by itself: `GET /schemas` does not tell it, and a new connection would sync it."""
    connection_id = rental(server)
    select(server, connection_id, schema_change_handling="BLOCK_ALL")
    more = {**SHOP, "public": {**SHOP["public"], "orders": [*SHOP["public"]["orders"], "card"]}}
    server.set_source_tables(connection_id, more)
    work_of(folder).export()
    refer(folder)
    assert "card" not in text_of(folder)
    before = text_of(folder)
    del server.connections[connection_id]
    applied(work_of(folder))
    work_of(folder).export()
    assert text_of(folder) == before
    (made,) = server.connections.values()
    assert made.schemas["schemas"]["public"]["tables"]["orders"]["columns"]["card"]["enabled"] is False


def test_columns_that_cannot_be_asked_for_stop_no_export_but_a_change(server, folder, work_of, caplog):
    connection_id = rental(server)
    select(server, connection_id, schema_change_handling="BLOCK_ALL", **tables("public", orders=columns(total={})))
    server.inject(Fault("GET", "/columns$", then="answer", status=400, body={"message": "not now"}, times=None))
    work_of(folder).export()
    assert "public.orders:\n      columns:\n        total:\n          enabled: true\n" in text_of(folder)
    assert "email" not in text_of(folder)
    assert "Not all columns that connection warehouse / rental syncs can be told" in caplog.text
    edit(folder, "audit.log:\n", "audit.log:\n      sync_mode: HISTORY\n")
    with pytest.raises(ConfigurationError, match="not now"):
        applied(work_of(folder))
    assert server.asked(SCHEMAS, "PATCH") == []


def test_a_lock_holds_columns_of_what_is_synced(server, do):
    connection_id = rental(server)
    select(server, connection_id, **tables("public", users={"enabled": False}))
    do("read", None, silent)
    found = do("schemas", [RENTAL], silent)[RENTAL].streams
    assert found["public.orders"] == LockedStream({"id": "unknown", "total": "unknown", "email": "unknown"}, ("id",))
    assert found["public.users"] == LockedStream({})


def test_a_broken_connection_has_no_lock_and_stops_no_export(server, folder, work_of):
    server.break_setup(rental(server))
    server.add_connection("shop")
    work_of(folder).export()
    assert [path for path in folder.files if path.endswith("lock.yaml")] == ["warehouse/connections/shop.lock.yaml"]


def test_drift_is_found_and_taken_in(server, do):
    connection_id = rental(server)
    select(server, connection_id, schema_change_handling="BLOCK_ALL")
    do("read", None, silent)
    lock = do("schemas", [RENTAL], silent)[RENTAL]
    server.set_source_tables(connection_id, {
        "public": {"orders": ["id", "total", "email", "card"], "visits": ["id"]}, "audit": SHOP["audit"],
    })  # fmt: skip
    found = do("discover", connection_id)
    drifts = drift(lock, found.schema, found.selected)
    assert found.owner == RENTAL
    assert [(one.kind, one.stream, one.field) for one in drifts] == [
        ("field_added", "public.orders", "card"),
        ("stream_removed", "public.users", ""),
        ("stream_added", "public.visits", ""),
    ]
    do("accept", connection_id, found, drifts)
    orders, visits = (
        server.connections[connection_id].schemas["schemas"]["public"]["tables"][name] for name in ("orders", "visits")
    )
    assert orders["columns"]["card"]["enabled"]
    assert visits["enabled"]
    sent = len(server.changes)
    do("accept", connection_id, found, drifts)
    assert len(server.changes) == sent


def test_what_is_taken_in_already_is_not_sent(server, do):
    connection_id = rental(server)
    found = do("discover", connection_id)
    do(
        "accept",
        connection_id,
        found,
        [Drift("stream_added", "public.users"), Drift("field_added", "public.users", "id")],
    )
    assert server.asked(SCHEMAS, "PATCH") == []


def test_a_connection_that_there_is_not_is_not_discovered(do):
    with pytest.raises(ConfigurationError, match="'nowhere'"):
        do("discover", "nowhere")
