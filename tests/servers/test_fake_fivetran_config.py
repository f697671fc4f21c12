"""The fake Fivetran as something to be configured: what can be made, changed and deleted, and what is never told."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pytest

from tests.servers.fivetran_calls import Client, client, refusal, server

if TYPE_CHECKING:
    from tests.fakes.fivetran import FakeFivetran

__all__ = ["client", "server"]
CONFIG = {"schema_prefix": "rental", "host": "db", "database": "rental", "user": "u", "password": "pass-1"}


def made(client: Client, path: str, **body: Any) -> Any:
    """Make something, and return it as it is answered."""
    response = client.call("POST", path, body)
    assert response.status_code == (200 if "webhooks" in path else 201), response.text
    return response.json()["data"]


def connection_of(client: Client, **body: Any) -> Any:
    """Make a connection to a database."""
    group = client.server.group_id
    return made(client, "/v1/connections", **{"group_id": group, "service": "postgres", "config": CONFIG, **body})


def test_a_connection_is_made(server: FakeFivetran, client: Client) -> None:
    seen = connection_of(client, paused=True, sync_frequency=60, run_setup_tests=False)
    assert (seen["schema"], seen["paused"], seen["sync_frequency"]) == ("rental", True, 60)
    assert seen["status"]["setup_state"] == "incomplete"
    public_key = seen["config"].pop("public_key")
    assert public_key.startswith("ssh-rsa")
    assert seen["config"] == {"host": "db", "database": "rental", "user": "u", "password": "******"}
    assert server.connections[seen["id"]].config["password"] == "pass-1"
    assert server.setup_tests_of == []
    assert server.changes == [("POST", "/v1/connections")]
    assert client.connection(seen["id"])["id"] == seen["id"]


@pytest.mark.parametrize(
    ("service", "config", "name"),
    [
        ("postgres", {"schema_prefix": "a"}, "a"),
        ("github", {"schema": "a"}, "a"),
        ("google_sheets", {"schema": "a", "table": "b"}, "a.b"),
        ("s3", {"schema": "a", "table_group_name": "b"}, "a.b"),
        ("postgres", {"schema": "a"}, ""),
        ("google_sheets", {"schema": "a"}, ""),
        ("github", {"schema": "a", "table": "b"}, ""),
    ],
)
def test_how_a_connection_gets_its_name(client: Client, service: str, config: dict[str, Any], name: str) -> None:
    body = {"group_id": client.server.group_id, "service": service, "config": config}
    response = client.call("POST", "/v1/connections", body)
    if not name:
        assert refusal(response) == (400, "InvalidInput")
        assert client.server.changes == []
    else:
        assert response.json()["data"]["schema"] == name


def test_connections_that_cannot_be_made(server: FakeFivetran, client: Client) -> None:
    connection_of(client)
    good = {"group_id": server.group_id, "service": "postgres", "config": CONFIG}
    other = {**good, "config": {**CONFIG, "schema_prefix": "other"}}
    for wrong in (good, {**other, "sync_frequency": 7}, {**other, "private_link_id": "no"}, {**other, "shema": 1}):
        assert refusal(client.call("POST", "/v1/connections", wrong)) == (400, "InvalidInput")
    assert refusal(client.call("POST", "/v1/connections", {**other, "group_id": "no"})) == (404, "NotFound_Group")
    assert len(server.connections) == 1


def test_a_connected_one_begins_at_once(server: FakeFivetran, client: Client) -> None:
    one = connection_of(client)["id"]
    assert client.state(one)[0] == "syncing"
    assert client.connection(one)["status"]["is_historical_sync"]
    assert server.setup_tests_of == [one]
    manual = connection_of(client, config={**CONFIG, "schema_prefix": "m"}, schedule_type="manual")["id"]
    assert client.state(manual)[0] == "scheduled"


def test_an_incomplete_one_waits_for_its_tests(server: FakeFivetran, client: Client) -> None:
    one = connection_of(client, run_setup_tests=False, paused=True)["id"]
    client.call("PATCH", f"/v1/connections/{one}", {"paused": False, "run_setup_tests": False})
    assert client.sync(one) == 200
    assert server.syncs(one) == []
    client.call("POST", f"/v1/connections/{one}/test", {})
    assert [(sync.by, sync.historical) for sync in server.syncs(one)] == [("schedule", True)]


def test_setup_tests_of_new_connections_have_a_quota(server: FakeFivetran, client: Client) -> None:
    server.setup_test_quotas[0].limit = 0
    body = {"group_id": server.group_id, "service": "postgres", "config": CONFIG}
    assert refusal(client.call("POST", "/v1/connections", body)) == (429, "TooManyRequests")
    assert server.connections == {}
    assert client.call("POST", "/v1/connections", {**body, "run_setup_tests": False}).status_code == 201


def test_a_configuration_is_merged(server: FakeFivetran, client: Client) -> None:
    one = connection_of(client, config={**CONFIG, "secrets_list": [{"key": "k", "secret_value": "s-1"}]})["id"]
    path = f"/v1/connections/{one}"
    sent = {**client.connection(one)["config"], "host": "db2"}
    client.call("PATCH", path, {"config": sent, "run_setup_tests": False})
    kept = server.connections[one].config
    assert (kept["host"], kept["password"], kept["secrets_list"]) == (
        "db2", "pass-1", [{"key": "k", "secret_value": "s-1"}],
    )  # fmt: skip
    client.call("PATCH", path, {"config": {"password": "pass-2"}, "run_setup_tests": False})
    assert server.connections[one].config == {**kept, "password": "pass-2"}
    assert "pass-" not in client.call("GET", path).text
    assert refusal(client.call("PATCH", path, {"config": {"schema_prefix": "x"}})) == (400, "InvalidInput")
    assert refusal(client.call("PATCH", path, {"run_setup_tests": False})) == (400, "InvalidInput")


def test_a_connection_is_deleted_and_made_again(server: FakeFivetran, client: Client) -> None:
    name = server.add_connection("rental", tables={"public": {"film": ["film_id", "title"]}}, config={"host": "db"})
    server.begin(name)
    server.run_seconds = 5
    assert client.call("DELETE", f"/v1/connections/{name}").status_code == 200
    assert refusal(client.call("GET", f"/v1/connections/{name}")) == (404, "NotFound_Connection")
    again = connection_of(client)["id"]
    client.now += 5
    assert client.state(again)[0] == "scheduled"
    schemas = client.data(f"/v1/connections/{again}/schemas")
    assert list(schemas["schemas"]["public"]["tables"]) == ["film"]
    server.add_source("else", "where", {"crm": ["lead"]})
    config = {**CONFIG, "schema_prefix": "crm", "host": "else", "database": "where"}
    assert server.source_tables(connection_of(client, config=config)["id"]).keys() == {"crm"}


def test_schemas_are_read_at_the_first_look(server: FakeFivetran, client: Client) -> None:
    server.add_source("db", "rental", {"public": ["film", "actor"]})
    one = connection_of(client, paused=True)["id"]
    path = f"/v1/connections/{one}/schemas"
    assert refusal(client.call("GET", path)) == (404, "NotFound_SchemaConfig")
    assert refusal(client.call("PATCH", path, {"schema_change_handling": "BLOCK_ALL"})) == (
        404,
        "NotFound_SchemaConfig",
    )
    before = {
        "schema_change_handling": "ALLOW_COLUMNS",
        "schemas": {"public": {"enabled": True, "tables": {"film": {"enabled": True}, "gone": {"enabled": True}}}},
    }
    assert client.call("POST", path, before).json()["data"] == before
    seen = client.call("POST", path + "/reload", {}).json()["data"]
    assert seen["schema_change_handling"] == "ALLOW_COLUMNS"
    assert {name: one["enabled"] for name, one in seen["schemas"]["public"]["tables"].items()} == {
        "film": True, "actor": False,
    }  # fmt: skip
    assert refusal(client.call("POST", path, before)) == (400, "InvalidInput")


@pytest.mark.parametrize(
    ("handling", "table", "column"),
    [("ALLOW_ALL", True, True), ("ALLOW_COLUMNS", False, True), ("BLOCK_ALL", False, False)],
)
def test_what_is_new_in_the_source(
    server: FakeFivetran, client: Client, handling: str, table: bool, column: bool
) -> None:
    name = server.add_connection("rental", tables={"public": {"film": ["film_id", "title"], "old": ["id"]}})
    path = f"/v1/connections/{name}/schemas"
    client.call("PATCH", path, {"schema_change_handling": handling})
    server.set_source_tables(name, {"public": {"film": ["film_id", "title", "year"], "actor": ["id"]}})
    assert "actor" not in client.data(path)["schemas"]["public"]["tables"]
    tables = client.call("POST", path + "/reload", {"exclude_mode": "PRESERVE"}).json()["data"]["schemas"]["public"]
    assert (tables["tables"]["actor"]["enabled"], tables["tables"]["film"]["columns"]) == (table, {})
    assert tables["tables"]["old"]["enabled_patch_settings"] == {"allowed": False, "reason_code": "DELETED"}
    columns = client.data(path + "/public/tables/film/columns")["columns"]
    assert {key: one["enabled"] for key, one in columns.items()} == {"film_id": True, "title": True, "year": column}
    assert [key for key, one in columns.items() if one["is_primary_key"]] == ["film_id"]


def test_columns(server: FakeFivetran, client: Client) -> None:
    name = server.add_connection("rental", tables={"public": {"film": ["film_id", "title", "email"]}})
    path = f"/v1/connections/{name}/schemas"
    columns = {"title": {"enabled": False}, "email": {"enabled": True, "hashed": True}}
    change = {"schemas": {"public": {"enabled": True, "tables": {"film": {"enabled": True, "columns": columns}}}}}
    assert client.call("PATCH", path, change).status_code == 200
    seen = client.data(path + "/public/tables/film/columns")["columns"]
    assert {key: (one["enabled"], one["hashed"]) for key, one in seen.items()} == {
        "film_id": (True, False), "title": (False, False), "email": (True, True),
    }  # fmt: skip
    assert client.data(path)["schemas"]["public"]["tables"]["film"]["columns"].keys() == columns.keys()
    assert refusal(client.call("GET", path + "/public/tables/no/columns")) == (404, "NotFound_Table")
    wrong = {"schemas": {"public": {"tables": {"film": {"sync_mode": "TWICE"}}}}}
    assert refusal(client.call("PATCH", path, wrong)) == (400, "InvalidInput")
    server.break_setup(name)
    assert refusal(client.call("GET", path + "/public/tables/film/columns")) == (400, "InvalidInput")


def test_calls_that_ask_a_source_have_a_quota(server: FakeFivetran, client: Client) -> None:
    path = f"/v1/connections/{server.add_connection('rental')}/schemas"
    server.source_quotas[0].limit = 2
    assert client.call("POST", path + "/reload", {}).status_code == 200
    assert client.call("GET", path + "/public/tables/customer/columns").status_code == 200
    refused = client.call("POST", path + "/reload", {})
    assert (refusal(refused), refused.headers["Retry-After"]) == ((429, "TooManyRequests"), "60")
    assert client.call("GET", path).status_code == 200


def test_groups_are_made(server: FakeFivetran, client: Client) -> None:
    group = made(client, "/v1/groups", name="lake")
    assert client.data(f"/v1/groups/{group['id']}") == group
    for wrong in ("lake", "two words", ""):
        assert refusal(client.call("POST", "/v1/groups", {"name": wrong})) == (400, "InvalidInput")
    server.add_connection("rental", group_id=group["id"])
    assert refusal(client.call("DELETE", f"/v1/groups/{group['id']}")) == (409, "Conflict")


def test_an_agent_tells_its_credentials_once(server: FakeFivetran, client: Client) -> None:
    body = {"group_id": server.group_id, "display_name": "on site", "env_type": "PODMAN", "accept_terms": True}
    agents = "/v1/hybrid-deployment-agents"
    assert refusal(client.call("POST", agents, {**body, "accept_terms": False})) == (400, "InvalidInput")
    first = made(client, agents, **body, auth_type="MANUAL")
    assert first["files"].keys() == {"config_json", "auth_json", "docker_compose_yaml"}
    assert base64.b64decode(first["token"]).decode() == server.agents[first["id"]].token
    one = f"{agents}/{first['id']}"
    seen = client.data(one)
    assert (seen["display_name"], seen["deployment_type"], seen["usage"]) == ("on site", "PODMAN", [])
    assert not {"token", "files"} & seen.keys()
    anew = client.call("PATCH", f"{one}/re-auth", {"auth_type": "AUTO"}).json()["data"]
    assert anew["token"] != first["token"]
    assert "files" not in anew
    assert client.call("POST", f"{one}/reset-credentials", {}).json().keys() == {"code", "message"}
    assert client.call("DELETE", one).status_code == 200
    assert refusal(client.call("GET", one)) == (404, "NotFound_HybridDeploymentAgent")


def test_a_private_link_takes_its_time(server: FakeFivetran, client: Client) -> None:
    body = {
        "name": "vpc",
        "region": "AWS_EU_WEST_1",
        "service": "SOURCE_AWS",
        "config": {"connection_service_name": "a"},
    }
    server.link_seconds = 60
    link = made(client, "/v1/private-links", **body)
    path = f"/v1/private-links/{link['id']}"
    assert link["state"] == "CREATING"
    client.now += 60
    assert client.data(path)["state"] == "OK"
    server.link_seconds = None
    changed = client.call("PATCH", path, {"config": {"connection_service_name": "b"}}).json()["data"]
    assert (changed["state"], changed["config"]) == ("UPDATING", {"connection_service_name": "b"})
    server.settle_link(link["id"], "FAIL", "the endpoint was rejected")
    assert client.data(path)["state_summary"] == "the endpoint was rejected"
    assert refusal(client.call("PATCH", path, {"name": "x"})) == (400, "InvalidInput")
    assert refusal(client.call("POST", "/v1/private-links", {**body, "service": "MOON"})) == (400, "InvalidInput")
    assert client.call("DELETE", path).status_code == 200
    assert client.data("/v1/private-links")["items"] == []


def test_webhooks(server: FakeFivetran, client: Client) -> None:
    body = {"url": "https://hooks.example/a", "events": ["sync_end"], "secret": "hook-secret"}
    account = made(client, "/v1/webhooks/account", **body)
    group = made(client, f"/v1/webhooks/group/{server.group_id}", url="https://hooks.example/b", events=["sync_start"])
    assert (account["type"], account["secret"], account["active"]) == ("account", "******", True)
    assert "group_id" not in account
    assert (group["type"], group["group_id"]) == ("group", server.group_id)
    assert "secret" not in group
    assert client.data("/v1/webhooks")["items"] == [account, group]
    path = f"/v1/webhooks/{account['id']}"
    client.call("PATCH", path, {"active": False, "secret": "******"})
    assert (client.data(path)["active"], server.webhooks[account["id"]].secret) == (False, "hook-secret")
    for wrong in ({"url": "http://plain.example"}, {"events": ["moon"]}, {"name": "x"}):
        assert refusal(client.call("PATCH", path, wrong)) == (400, "InvalidInput")
    assert client.call("DELETE", path).status_code == 200
    assert refusal(client.call("GET", path)) == (404, "NotFound_Webhook")
    assert [method for method, _ in server.changes] == ["POST", "POST", "PATCH", "DELETE"]


def test_an_account_is_wiped(server: FakeFivetran, client: Client) -> None:
    server.run_seconds = 5
    server.begin(server.add_connection("rental", tables={"public": ["film"]}))
    server.wipe()
    client.now += 5
    assert client.data("/v1/connections")["items"] == client.data("/v1/groups")["items"] == []
    group = made(client, "/v1/groups", name="warehouse")
    config = {**CONFIG, "host": "db.example"}
    again = connection_of(client, group_id=group["id"], config=config)["id"]
    assert server.source_tables(again).keys() == {"public"}
    assert list(server.source_tables(again)["public"]) == ["film"]
