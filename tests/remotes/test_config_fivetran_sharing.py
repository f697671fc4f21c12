"""Fivetran accounts that are not as one would draw them: agents of other groups, twins, secrets that nothing marks."""

from __future__ import annotations

import json
import logging

import pytest

from airflow_elt_provider.errors import ConfigurationError
from airflow_elt_provider.remotes.config_as_code.fivetran.account import AccountObjects
from airflow_elt_provider.remotes.config_as_code.fivetran.api import FivetranApi
from airflow_elt_provider.remotes.config_as_code.fivetran.credentials import CredentialsFolder
from airflow_elt_provider.remotes.config_as_code.model import Key
from airflow_elt_provider.remotes.config_as_code.plan import PlanOptions
from airflow_elt_provider.remotes.opening import open_session
from tests.remotes.driving import driven_by_httpx
from tests.remotes.fivetran_files import (
    applied,
    edit,
    fivetran,
    folder,
    rental,
    server,
    text_of,
    work_of,
)

__all__ = ["fivetran", "folder", "server", "work_of"]
SHOP_FILE = "lake/connections/shop.yaml"


# --- agents of another group ---


@pytest.fixture
def shared(server):
    """Let a connection of one group run on an agent of another."""
    agent = server.add_agent(display_name="cellar")
    lake = server.add_group("lake")
    server.add_connection("shop", group_id=lake, hybrid_deployment_agent_id=agent)
    return agent


def test_an_agent_of_another_group_comes_back_with_its_connection(server, shared, folder, work_of):
    work_of(folder).export()
    assert "  agent: cellar\n" in text_of(folder, SHOP_FILE)
    before = dict(folder.files)
    server.wipe()
    applied(work_of(folder))
    (agent,) = server.agents
    assert [one.settings["hybrid_deployment_agent_id"] for one in server.connections.values()] == [agent]
    assert work_of(folder).plan().empty
    work_of(folder).export(schemas="all")
    assert folder.files == before


def test_an_agent_of_a_group_that_is_not_read_is_known(server, shared, folder, work_of, caplog):
    work_of(folder, ["lake"]).export()
    assert "  agent: cellar\n" in text_of(folder, SHOP_FILE)
    assert "cannot be seen" not in caplog.text
    assert sorted(path for path in folder.files if "agents" in path) == []
    assert work_of(folder, ["lake"]).plan().empty


def test_agents_of_one_name_are_told_apart_by_their_group(server, shared, folder, work_of):
    other = server.add_agent(display_name="cellar", group_id=server.add_group("pond"))
    work_of(folder).export()
    assert "  agent: warehouse / cellar\n" in text_of(folder, SHOP_FILE)
    edit(folder, "warehouse / cellar", "cellar", SHOP_FILE)
    assert "'pond / cellar', 'warehouse / cellar'" in " ".join(work_of(folder).plan().problems)
    edit(folder, "agent: cellar", "agent: pond / cellar", SHOP_FILE)
    applied(work_of(folder))
    assert [one.settings["hybrid_deployment_agent_id"] for one in server.connections.values()] == [other]


def test_an_agent_that_there_is_not_is_refused_and_one_that_is_used_is_not_deleted(shared, folder, work_of):
    work_of(folder).export()
    del folder.files["warehouse/agents/cellar.yaml"]
    (problem,) = work_of(folder, ["lake", "warehouse"]).plan(PlanOptions(allow_delete=True)).problems
    assert "agent warehouse / cellar cannot be deleted" in problem
    edit(folder, "agent: cellar", "agent: attic", SHOP_FILE)
    (problem,) = work_of(folder).plan().problems
    assert problem.endswith("Fivetran has no agent lake / attic. Remedy: use one of cellar")


# --- twins ---


def test_webhooks_of_one_url_are_not_made_again_and_again(server, folder, work_of):
    for event in ("sync_start", "sync_end"):
        server.add_webhook("https://hooks.example/f", (event,))
    work_of(folder).export()
    assert work_of(folder).plan().empty
    server.wipe()
    problems = work_of(folder).plan().problems
    assert ["name https://hooks.example/f, with the events of all" in problem for problem in problems] == [True, True]


def test_a_name_of_several_groups_is_refused_before_anything_is_made(server, folder, work_of):
    lake = server.add_group("lake")
    server.add_connection("shop", group_id=lake)
    work_of(folder).export(schemas="none")
    server.add_group("lake")
    (problem,) = work_of(folder).plan().problems
    assert problem == "Fivetran has several groups 'lake'. Remedy: rename all but one in the dashboard"


# --- secrets ---


def test_secrets_that_the_server_would_show_are_in_no_file(server, folder, work_of):
    config = {
        "sasl_plain_key": "s-1",
        "client_key": "s-2",
        "secrets_list": [{"key": "api", "value": "s-3"}, {"key": "x"}],
    }
    rental(server, config=config)
    server.add_private_link(config={"account_key": "s-4", "host": None})
    work_of(folder).export()
    shown = b"".join(folder.files.values()).decode()
    assert [secret for secret in ("s-1", "s-2", "s-3", "s-4", "null") if secret in shown] == []
    assert work_of(folder).plan().empty


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        ("user: fivetran", "client_key: open-secret", "config.client_key"),
        ("value:\n        $secret: not exported", "value: open-secret", r"config.secrets_list\[0\].value"),
    ],
    ids=["key", "list"],
)
def test_a_secret_in_the_open_is_refused_where_the_file_is_read(server, folder, work_of, old, new, place):
    rental(server)
    work_of(folder).export()
    edit(folder, old, new)
    with pytest.raises(ConfigurationError, match=rf"rental.yaml: {place} holds a secret in the open") as refused:
        work_of(folder).plan()
    assert "open-secret" not in str(refused.value)


def test_a_url_that_is_a_secret_is_told_by_a_reference(server, folder, work_of):
    path = "services/T01/B02/9xYzABCDEFGHIJKLMNOPqrst"
    server.add_webhook(f"https://hooks.example/{path}")
    server.add_webhook("https://hooks.example/123e4567-e89b-12d3-a456-426614174000/receiver-of-fivetran-v2")
    work_of(folder).export()
    names = {key.name for key in work_of(folder).files().objects}
    assert names == {"https://hooks.example/services/T01/B02/***", "https://hooks.example/***/receiver-of-fivetran-v2"}
    assert "9xYz" not in json.dumps([*folder.files]) + b"".join(folder.files.values()).decode()


def test_credentials_that_were_lost_in_a_crash_are_missed(server, fivetran, tmp_path, caplog):
    server.add_agent(display_name="cellar")
    account = AccountObjects(FivetranApi(open_session(fivetran.settings)), CredentialsFolder(tmp_path))
    driven_by_httpx(account.read({server.group_id: "warehouse"}), fivetran.settings)
    key = Key("agent", "warehouse", "cellar")
    caplog.set_level(logging.WARNING)
    driven_by_httpx(account.reread(key), fivetran.settings)
    assert caplog.text == ""
    account.credentials.prepare(key)
    driven_by_httpx(account.reread(key), fivetran.settings)
    assert "holds no credentials of it" in caplog.text
    assert "re-auth" in caplog.text
