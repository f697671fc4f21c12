"""Plans: what is shown is what is done; nothing else, nothing twice, and to the end whatever happens on the way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_elt_provider.core.secret import Secret
from airflow_elt_provider.errors import ConfigurationError
from airflow_elt_provider.remotes.config_as_code.apply import ApplyOptions, RemoteChangedError
from airflow_elt_provider.remotes.config_as_code.model import ConfigObject, Key, Tree
from airflow_elt_provider.remotes.config_as_code.plan import Plan, PlanOptions
from airflow_elt_provider.remotes.config_as_code.work import ConfigWork, restored
from airflow_elt_provider.remotes.flow import run
from airflow_elt_provider.stages.folder_local import LocalFolder
from tests.remotes.config_memory import MemoryServer, PowerCut

SHOP, CRM = Key("source", "Prod", "shop"), Key("source", "Prod", "crm")
DAILY = Key("connection", "Prod", "daily")
VAULT = {"conn:shop.password": Secret("hunter2-of-shop"), "var:token": Secret("t0ken-of-crm")}


def lookup(reference: str) -> Secret:
    if reference not in VAULT:
        raise ConfigurationError(f"{reference!r} leads nowhere.")
    return VAULT[reference]


def work_on(server: MemoryServer, folder: Path) -> ConfigWork:
    return ConfigWork(server, _drive, "https://airbyte.example", LocalFolder(folder))


def _drive(flow: Any) -> Any:
    return run(flow, None, lambda _: None)  # type: ignore[arg-type]


@pytest.fixture
def server() -> MemoryServer:
    server = MemoryServer()
    server.put(SHOP, connector="postgres", configuration={"host": "db", "password": "**********"})
    server.put(DAILY, source="shop", status="active", streams={"public.orders": {"sync_mode": "full_refresh_append"}})
    return server


def edited(folder: Path, path: str, old: str, new: str) -> None:
    file = folder / path
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def test_what_was_exported_is_equal(server: MemoryServer, tmp_path: Path) -> None:
    exported = work_on(server, tmp_path).export()
    assert exported.to_json("x")["objects"] == {"connection": 1, "source": 1}
    assert work_on(server, tmp_path).diff().equal
    assert work_on(server, tmp_path).plan().empty
    again = work_on(server, tmp_path).export()
    assert (again.files.written, again.files.removed) == ([], [])


def test_a_plan_shows_and_makes_one_change_and_no_reset(server: MemoryServer, tmp_path: Path) -> None:
    work_on(server, tmp_path).export()
    edited(tmp_path, "prod/connections/daily.yaml", "type: manual", "type: cron\n  cron: 0 0 7 * * ?")
    work = work_on(server, tmp_path)
    plan = work.plan()
    assert plan.text().splitlines() == [
        "airbyte at https://airbyte.example: 0 to create, 1 to change, 0 to delete", "",
        "  ~ connection Prod / daily",
        '      schedule.cron = "0 0 7 * * ?"',
        '      schedule.type = "manual" -> "cron"',
    ]  # fmt: skip
    kept = Plan.from_json(__import__("json").dumps(plan.to_json()), "plan.json")
    assert kept.text() == plan.text()
    applied = work.apply(kept, lookup)
    assert applied.done == ["changed connection Prod / daily"]
    assert server.writes == ["update connection Prod / daily schedule"]
    assert not server.resets
    assert work_on(server, tmp_path).plan().empty
    assert work_on(server, tmp_path).apply(kept, lookup).found_done == [DAILY]
    assert len(server.writes) == 1


def test_a_reset_is_made_where_it_is_asked_for_and_only_for_modes_and_keys(server: MemoryServer, tmp_path: Path):
    work_on(server, tmp_path).export()
    edited(tmp_path, "prod/connections/daily.yaml", "full_refresh_append", "full_refresh_overwrite")
    work = work_on(server, tmp_path)
    work.apply(work.plan(), lookup, ApplyOptions(reset=True))
    assert server.resets == [DAILY]
    edited(tmp_path, "prod/connections/daily.yaml", "status: active", "status: inactive")
    work = work_on(server, tmp_path)
    work.apply(work.plan(), lookup, ApplyOptions(reset=True))
    assert server.resets == [DAILY]
    # It has nothing yet that could be reset.
    new = "streams:\n  public.cursor:\n    sync_mode: full_refresh_append\n    cursor: at\n"
    edited(tmp_path, "prod/connections/daily.yaml", "streams:\n", new)
    work = work_on(server, tmp_path)
    work.apply(work.plan(), lookup, ApplyOptions(reset=True))
    assert server.resets == [DAILY]


@pytest.mark.parametrize("what", ["planned field", "another field", "gone", "made by somebody"])
def test_it_stops_before_anything_is_written_when_the_server_changed(
    server: MemoryServer, tmp_path: Path, what: str
) -> None:
    work_on(server, tmp_path).export()
    edited(tmp_path, "prod/connections/daily.yaml", "status: active", "status: inactive")
    (tmp_path / "prod/sources/crm.yaml").write_text("kind: source\nworkspace: Prod\nname: crm\nconnector: mysql\n")
    work = work_on(server, tmp_path)
    plan = work.plan()
    if what == "planned field":
        server.put(DAILY, status="deprecated")
    elif what == "another field":
        server.put(DAILY, schedule={"type": "cron", "cron": "0 * * * * ?"})
    elif what == "gone":
        del server.objects[DAILY]
    else:
        server.put(CRM, connector="postgres")
    with pytest.raises(RemoteChangedError, match="make a new plan"):
        work.apply(plan, lookup)
    assert server.writes == []


def test_files_that_changed_since_the_plan_are_not_applied(server: MemoryServer, tmp_path: Path) -> None:
    work_on(server, tmp_path).export()
    edited(tmp_path, "prod/connections/daily.yaml", "status: active", "status: inactive")
    plan = work_on(server, tmp_path).plan()
    edited(tmp_path, "prod/connections/daily.yaml", "type: manual", "type: basic")
    with pytest.raises(ConfigurationError, match="not as it was when the plan was made"):
        work_on(server, tmp_path).apply(plan, lookup)


def test_nothing_is_deleted_without_leave_and_then_last_comes_first(server: MemoryServer, tmp_path: Path) -> None:
    work_on(server, tmp_path).export()
    (tmp_path / "prod/connections/daily.yaml").unlink()
    (tmp_path / "prod/sources/shop.yaml").unlink()
    (tmp_path / "prod/sources/crm.yaml").write_text("kind: source\nworkspace: Prod\nname: crm\nconnector: mysql\n")
    work = work_on(server, tmp_path)
    assert work.plan().left_alone == [SHOP, DAILY]
    plan = work.plan(PlanOptions(allow_delete=True))
    work.apply(plan, lookup)
    assert server.writes == ["create source Prod / crm", "delete connection Prod / daily", "delete source Prod / shop"]


@pytest.mark.parametrize(
    ("path", "old", "new", "said"),
    [
        ("prod/sources/shop.yaml", "connector: postgres", "connector: mysql", "cannot be changed on the server"),
        ("prod/connections/daily.yaml", "source: shop", "source: shopp", "there is no such source"),
        ("prod/sources/shop.yaml", "name: shop", "name: new", "the secret at configuration.password was not exported"),
        ("prod/sources/shop.yaml", "name: shop\nconnector: postgres", "name: new", "without connector"),
    ],
    ids=["fixed", "reference", "secret", "needed"],
)
def test_a_plan_that_cannot_be_carried_out_says_why(
    server: MemoryServer, tmp_path: Path, path: str, old: str, new: str, said: str
) -> None:
    work_on(server, tmp_path).export()
    edited(tmp_path, path, old, new)
    work = work_on(server, tmp_path)
    plan = work.plan()
    assert any(said in problem for problem in plan.problems), plan.problems
    with pytest.raises(ConfigurationError):
        work.apply(plan, lookup)
    assert server.writes == []


def test_a_source_in_use_is_not_deleted(server: MemoryServer, tmp_path: Path) -> None:
    work_on(server, tmp_path).export()
    (tmp_path / "prod/sources/shop.yaml").unlink()
    edited(tmp_path, "prod/connections/daily.yaml", "source: shop\n", "")
    plan = work_on(server, tmp_path).plan(PlanOptions(allow_delete=True))
    assert any("refers to it" in problem for problem in plan.problems)


def test_a_workspace_of_which_the_server_has_nothing_is_said_and_not_made_unseen(server: MemoryServer, tmp_path: Path):
    work_on(server, tmp_path).export()
    server.objects = {Key(key.kind, "Production", key.name): values for key, values in server.objects.items()}
    plan = work_on(server, tmp_path).plan()
    assert plan.new_workspaces == ["Prod"]
    assert "renamed there:\n    Prod" in plan.text()
    with pytest.raises(ConfigurationError, match="has nothing in 'Prod'"):
        plan.refuse_new_workspaces()


def test_a_restore_makes_what_is_missing_and_touches_nothing_else(server: MemoryServer, tmp_path: Path) -> None:
    work_on(server, tmp_path).export()
    edited(tmp_path, "prod/sources/shop.yaml", "not exported", "conn:shop.password")
    empty = MemoryServer()
    work = work_on(empty, tmp_path)
    restored(work, {"Prod": "New"}, disabled=True)
    work.apply(work.plan(PlanOptions(only_create=True)), lookup)
    assert empty.objects[Key("source", "New", "shop")]["configuration"]["password"] == "hunter2-of-shop"
    assert empty.objects[Key("connection", "New", "daily")]["status"] == "inactive"
    empty.objects[Key("connection", "New", "daily")]["status"] = "active"
    written = len(empty.writes)
    work = work_on(empty, tmp_path)
    restored(work, {"Prod": "New"}, disabled=True)
    assert work.plan(PlanOptions(only_create=True)).empty
    assert len(empty.writes) == written


def test_secrets_are_written_again_only_when_asked_for(server: MemoryServer, tmp_path: Path) -> None:
    work_on(server, tmp_path).export()
    edited(tmp_path, "prod/sources/shop.yaml", "not exported", "conn:shop.password")
    work = work_on(server, tmp_path)
    assert work.plan().empty
    plan = work.plan(PlanOptions(write_secrets=True))
    assert "hunter2" not in plan.text() + repr(plan) + str(plan.to_json())
    work.apply(plan, lookup)
    assert server.objects[SHOP]["configuration"] == {"host": "db", "password": "hunter2-of-shop"}


def test_a_reference_that_leads_nowhere_ends_it_before_anything_is_written(server: MemoryServer, tmp_path: Path):
    work_on(server, tmp_path).export()
    edited(tmp_path, "prod/sources/shop.yaml", "not exported", "conn:none.password")
    edited(tmp_path, "prod/connections/daily.yaml", "status: active", "status: inactive")
    work = work_on(server, tmp_path)
    with pytest.raises(ConfigurationError, match="leads nowhere"):
        work.apply(work.plan(PlanOptions(write_secrets=True)), lookup)
    assert server.writes == []


# --- any history ---

NAMES = st.sampled_from(["shop", "crm", "erp"])
WORDS = st.sampled_from(["a", "b", 1, True, None, [], ["x"], {"n": 1}])
SOURCES = st.dictionaries(
    NAMES, st.fixed_dictionaries({"host": WORDS, "port": WORDS}, optional={"password": st.just("**********")})
)
CONNECTIONS = st.dictionaries(
    st.sampled_from(["daily", "hourly", "weekly"]),
    st.fixed_dictionaries(
        {"status": st.sampled_from(["active", "inactive"]), "schedule": st.fixed_dictionaries({"type": WORDS})},
        optional={"streams": st.dictionaries(st.sampled_from(["s", "t.u"]), st.fixed_dictionaries({"k": WORDS}))},
    ),
)


def state(sources: dict[str, Any], connections: dict[str, Any]) -> MemoryServer:
    server = MemoryServer()
    for name, configuration in sources.items():
        server.put(Key("source", "W", name), connector="postgres", configuration=configuration)
    for name, values in connections.items():
        if sources:
            server.put(Key("connection", "W", name), source=min(sources), **values)
    return server


def wanted_of(server: MemoryServer) -> Tree:
    objects = {}
    for one in run(server.read(None, lambda *_: None), None):  # type: ignore[arg-type]
        values = _with_references(one.values)
        objects[one.key] = ConfigObject(one.key, values)
    return Tree("airbyte", objects)


def _with_references(values: Any) -> Any:
    return {
        name: {"$secret": "var:token"} if value == {"$secret": "not exported"} else _with_references(value)
        if isinstance(value, dict) else value
        for name, value in values.items()
    }  # fmt: skip


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(SOURCES, CONNECTIONS, SOURCES, CONNECTIONS, st.integers(0, 40))
def test_any_two_states_converge_in_one_pass_and_after_every_power_cut(
    tmp_path: Path, sources: Any, connections: Any, others: Any, other_connections: Any, cut: int
) -> None:
    """From any state of the server to any state of the files, with the power cut at any write on the way."""
    server, files = state(sources, connections), wanted_of(state(others, other_connections))

    def work() -> ConfigWork:
        made = work_on(server, tmp_path)
        made.use(files)
        return made

    plan = work().plan(PlanOptions(allow_delete=True))
    if plan.problems:  # a connection whose source is another one: it cannot be changed
        assert all("cannot be changed" in problem for problem in plan.problems)
        return
    scope = {key.workspace for key in files.objects}
    server.cut_at = cut
    try:
        work().apply(plan, lookup)
    except PowerCut:
        server.cut_at = None
        work().apply(plan, lookup)
    server.cut_at = None
    written = len(server.writes)
    assert len(set(server.writes)) == written  # none was made twice
    assert work().plan(PlanOptions(allow_delete=True)).empty
    assert {key for key in server.objects if key.workspace in scope} == set(files.objects) or not scope
    assert not work().apply(plan, lookup).done
    assert len(server.writes) == written
