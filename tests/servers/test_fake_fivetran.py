"""The fake Fivetran: what it answers, and how its syncs begin and end."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests

from tests.fakes.http_fake import Fault
from tests.servers.fivetran_calls import Client, client, refusal, server

if TYPE_CHECKING:
    from tests.fakes.fivetran import FakeFivetran

__all__ = ["client", "server"]
CONNECTION = {
    "id", "service", "schema", "group_id", "paused", "schedule_type", "sync_frequency", "daily_sync_time", "created_at",
    "succeeded_at", "failed_at", "service_version", "connected_by", "networking_method", "private_link_id",
    "hybrid_deployment_agent_id", "pause_after_trial", "data_delay_sensitivity", "data_delay_threshold", "status",
}  # fmt: skip
STATUS = {
    "setup_state", "sync_state", "update_state", "is_historical_sync", "rescheduled_for", "schema_status", "tasks",
    "warnings",
}  # fmt: skip
AGENT = {
    "id", "version", "enabled", "online", "usage", "display_name", "group_id", "registered_at", "created_by",
    "deployment_type", "updated_at", "last_used_at",
}  # fmt: skip
LINK = {
    "id", "name", "region", "service", "cloud_provider", "state", "state_summary", "host", "created_at", "created_by",
    "config",
}  # fmt: skip


def test_a_connection_has_every_field(server: FakeFivetran, client: Client) -> None:
    connection = client.connection(server.add_connection("rental"))
    assert CONNECTION | {"config", "setup_tests", "source_sync_details"} <= connection.keys()
    assert connection["status"].keys() == STATUS
    assert connection["created_at"] == "2027-01-15T08:00:00.250000Z"
    assert client.data("/v1/connections")["items"][0].keys() >= CONNECTION


def test_strangers_are_refused(server: FakeFivetran, client: Client) -> None:
    client.auth = ("key", "wrong")
    assert refusal(client.call("GET", "/v1/groups")) == (401, "Unauthorized")
    client.auth = None
    assert refusal(client.call("GET", "/v1/groups")) == (401, "Unauthorized")


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/v1/connections/no", "NotFound_Connection"),
        ("/v1/connections/no/schemas", "NotFound_Connection"),
        ("/v1/groups/no", "NotFound_Group"),
        ("/v1/private-links/no", "NotFound_PrivateLink"),
        ("/v1/hybrid-deployment-agents/no", "NotFound_HybridDeploymentAgent"),
        ("/v1/connectors/no", "NotFound"),
    ],
)
def test_what_is_missing(client: Client, path: str, code: str) -> None:
    assert refusal(client.call("GET", path)) == (404, code)


def test_pages(server: FakeFivetran, client: Client) -> None:
    names = [server.add_connection(f"schema_{number}") for number in range(105)]
    first = client.data("/v1/connections")
    second = client.data("/v1/connections", cursor=first["next_cursor"])
    assert [row["id"] for row in first["items"] + second["items"]] == names
    assert "next_cursor" not in second
    assert len(client.data("/v1/connections", limit=1000)["items"]) == 105


@pytest.mark.parametrize("query", [{"limit": 0}, {"limit": 1001}, {"limit": "x"}, {"cursor": "?"}])
def test_wrong_pages(client: Client, query: dict[str, Any]) -> None:
    assert refusal(client.call("GET", "/v1/connections", **query)) == (400, "InvalidInput")


def test_filters_are_exact(server: FakeFivetran, client: Client) -> None:
    other = server.add_group("other")
    names = [
        server.add_connection("rental"),
        server.add_connection("rental_2"),
        server.add_connection("rental", group_id=other),
    ]

    def listed(**query: Any) -> list[str]:
        return [row["id"] for row in client.data("/v1/connections", **query)["items"]]

    assert listed(schema="rental") == [names[0], names[2]]
    assert listed(schema="rental", group_id=other) == [names[2]]
    assert listed(group_id=server.group_id) == names[:2]


@pytest.mark.parametrize("schedule_type", ["auto", "manual"])
def test_a_sync_that_succeeds(server: FakeFivetran, client: Client, schedule_type: str) -> None:
    name = server.add_connection("rental", schedule_type=schedule_type)
    server.run_seconds = 5
    response = client.call("POST", f"/v1/connections/{name}/sync", {"force": False})
    assert response.json().keys() == {"code", "message"}
    assert client.state(name) == ("syncing", None, None)
    assert client.connection(name)["status"]["is_historical_sync"]
    client.now += 60
    assert client.state(name) == ("scheduled", "2027-01-15T08:00:05.250000Z", None)
    assert not client.connection(name)["status"]["is_historical_sync"]


def test_a_list_shows_changes(server: FakeFivetran, client: Client) -> None:
    name = server.add_connection("rental")
    client.data("/v1/connections")
    server.begin(name)
    assert client.data("/v1/connections")["items"][0]["status"]["sync_state"] == "syncing"


def test_a_sync_that_fails(server: FakeFivetran, client: Client) -> None:
    name = server.add_connection("rental")
    client.sync(name)
    server.fail(name, "table_missing", "No such table")
    assert client.state(name) == ("scheduled", None, "2027-01-15T08:00:00.250000Z")
    assert client.connection(name)["status"]["tasks"] == [
        {"code": "table_missing", "message": "No such table", "details": "No such table"}
    ]
    server.outcome, server.run_seconds = "failed", 1
    client.sync(name)
    client.now += 1
    assert client.state(name) == ("scheduled", None, "2027-01-15T08:00:01.250000Z")
    server.outcome = "succeeded"
    client.sync(name)
    client.now += 1
    assert client.connection(name)["status"]["tasks"] == []


def test_without_force_a_running_sync_goes_on(server: FakeFivetran, client: Client) -> None:
    name = server.add_connection("rental")
    theirs = server.begin(name)
    assert client.sync(name) == 200
    assert server.syncs(name) == [theirs]
    assert server.interrupted == []


def test_with_force_it_is_stopped_and_run_again(server: FakeFivetran, client: Client) -> None:
    name = server.add_connection("rental")
    server.run_seconds = 10
    theirs = server.begin(name)
    client.now += 9
    assert client.sync(name, force=True) == 200
    client.now += 9
    assert client.state(name) == ("syncing", None, None)
    assert server.interrupted == [theirs]
    assert [(sync.by, sync.state) for sync in server.syncs(name)] == [("somebody", "stopped"), ("api", "running")]


def test_a_rescheduled_sync_resumes_by_itself(server: FakeFivetran, client: Client) -> None:
    name = server.add_connection("rental")
    client.sync(name)
    server.reschedule(name, 90)
    assert client.state(name) == ("rescheduled", None, None)
    assert client.connection(name)["status"]["rescheduled_for"] == "2027-01-15T08:01:30.250000Z"
    client.now += 90
    assert client.state(name) == ("syncing", None, None)
    assert client.connection(name)["status"]["rescheduled_for"] is None
    assert [sync.by for sync in server.syncs(name)] == ["api", "schedule"]


def test_on_a_manual_schedule_the_caller_resumes(server: FakeFivetran, client: Client) -> None:
    name = server.add_connection("rental", schedule_type="manual")
    client.sync(name)
    server.reschedule(name, 90)
    client.now += 1000
    assert client.state(name)[0] == "rescheduled"
    client.sync(name)
    assert client.state(name)[0] == "syncing"


def test_a_sync_asked_for_while_rescheduled_is_the_only_one(server: FakeFivetran, client: Client) -> None:
    name = server.add_connection("rental")
    client.sync(name)
    server.reschedule(name, 90)
    client.sync(name)
    client.now += 90
    client.state(name)
    assert [sync.by for sync in server.syncs(name)] == ["api", "api"]


def test_a_paused_connection_does_not_sync(server: FakeFivetran, client: Client) -> None:
    name = server.add_connection("rental", paused=True)
    assert client.sync(name) == 200
    assert client.state(name) == ("paused", None, None)
    client.call("PATCH", f"/v1/connections/{name}", {"paused": False, "run_setup_tests": False})
    assert client.state(name) == ("scheduled", None, None)
    client.sync(name)
    server.pause(name)
    assert client.state(name) == ("paused", None, None)
    assert server.syncs(name)[0].state == "stopped"
    assert server.interrupted == []


def test_words_that_are_new(server: FakeFivetran, client: Client) -> None:
    name = server.add_connection("rental")
    server.set_sync_state(name, "warming_up")
    assert client.state(name)[0] == "warming_up"


def test_setup_tests(server: FakeFivetran, client: Client) -> None:
    name = server.add_connection("rental")
    server.break_setup(name)
    client.sync(name)
    assert server.syncs(name) == []
    path = f"/v1/connections/{name}/test"
    tests = client.call("POST", path, {}).json()["data"]["setup_tests"]
    assert [test["status"] for test in tests] == ["PASSED", "FAILED"]
    server.repair(name)
    assert client.connection(name)["status"]["setup_state"] == "broken"
    assert client.call("POST", path, {}).json()["data"]["status"]["setup_state"] == "connected"
    assert server.setup_tests_of == [name, name]


def test_a_change_runs_setup_tests_unless_told_not_to(server: FakeFivetran, client: Client) -> None:
    name = server.add_connection("rental")
    path = f"/v1/connections/{name}"
    client.call("PATCH", path, {"schedule_type": "manual", "run_setup_tests": False})
    assert server.setup_tests_of == []
    assert client.call("PATCH", path, {"sync_frequency": 60}).json()["data"]["sync_frequency"] == 60
    assert server.setup_tests_of == [name]
    assert client.connection(name)["schedule_type"] == "manual"
    assert refusal(client.call("PATCH", path, {"sync_frequenzy": 60})) == (400, "InvalidInput")
    assert refusal(client.call("PATCH", path, {"sync_frequency": 61})) == (400, "InvalidInput")


def test_setup_tests_have_a_quota(server: FakeFivetran, client: Client) -> None:
    name = server.add_connection("rental")
    server.setup_test_quotas[0].limit = 1
    path = f"/v1/connections/{name}/test"
    client.call("POST", path, {})
    refused = client.call("POST", path, {})
    assert refusal(refused) == (429, "TooManyRequests")
    assert refused.headers["Retry-After"] == "60"
    client.now += 60
    assert client.call("POST", path, {}).status_code == 200


def test_calls_have_a_quota(server: FakeFivetran, client: Client) -> None:
    server.calls.limit = 2
    client.data("/v1/groups")
    client.now += 600
    client.data("/v1/groups")
    refused = client.call("GET", "/v1/groups")
    assert refusal(refused) == (429, "TooManyRequests")
    assert refused.json()["message"] == "Max 2 api calls allowed in one-hour rolling time period"
    assert refused.headers["Retry-After"] == "3000"
    client.now += 3000
    assert client.call("GET", "/v1/groups").status_code == 200
    assert client.call("GET", "/v1/groups").status_code == 429


def test_a_resync(server: FakeFivetran, client: Client) -> None:
    name = server.add_connection("rental")
    path = f"/v1/connections/{name}/resync"
    server.begin(name)
    server.hold(name)
    assert refusal(client.call("POST", path, {"scope": {"public": ["customer"]}})) == (409, "Conflict")
    server.hold(name, completable=True)
    assert client.call("POST", path, {"scope": {"public": ["customer"]}}).status_code == 200
    assert [sync.state for sync in server.syncs(name)] == ["succeeded", "running"]
    assert not client.connection(name)["status"]["is_historical_sync"]
    assert client.call("POST", path, {}).status_code == 200
    assert client.connection(name)["status"]["is_historical_sync"]


@pytest.mark.parametrize("scope", [{}, {"public": []}, ["public"]])
def test_a_resync_of_nothing(server: FakeFivetran, client: Client, scope: Any) -> None:
    name = server.add_connection("rental")
    assert refusal(client.call("POST", f"/v1/connections/{name}/resync", {"scope": scope})) == (400, "InvalidInput")


def test_a_resync_waits_for_a_paused_connection(server: FakeFivetran, client: Client) -> None:
    name = server.add_connection("rental", paused=True)
    client.call("POST", f"/v1/connections/{name}/resync", {})
    assert server.syncs(name) == []
    server.pause(name, paused=False)
    assert [sync.by for sync in server.syncs(name)] == ["resync"]


def test_a_historical_sync_by_change_stops_the_running_one(server: FakeFivetran, client: Client) -> None:
    name = server.add_connection("rental")
    theirs = server.begin(name)
    client.call("PATCH", f"/v1/connections/{name}", {"is_historical_sync": True, "run_setup_tests": False})
    assert server.interrupted == [theirs]
    assert server.syncs(name)[-1].historical


def test_schemas(server: FakeFivetran, client: Client) -> None:
    name = server.add_connection("rental", tables={"public": ["customer"]})
    path = f"/v1/connections/{name}/schemas"
    assert client.data(path).keys() == {"schema_change_handling", "enable_new_by_default", "schemas"}
    change = {
        "schema_change_handling": "BLOCK_ALL",
        "schemas": {"public": {"tables": {"customer": {"enabled": False}}}},
    }
    assert client.call("PATCH", path, change).status_code == 200
    changed = client.data(path)
    assert changed["schema_change_handling"] == "BLOCK_ALL"
    assert not changed["enable_new_by_default"]
    assert not changed["schemas"]["public"]["tables"]["customer"]["enabled"]
    reloaded = client.call("POST", path + "/reload", {"exclude_mode": "INCLUDE"}).json()["data"]
    assert reloaded["schemas"]["public"]["tables"]["customer"]["enabled"]
    assert refusal(client.call("PATCH", path, {"schemas": {"no": {}}})) == (404, "NotFound_Schema")


def test_agents(server: FakeFivetran, client: Client) -> None:
    agent = server.add_agent(online=False, usage=2)
    name = server.add_connection("rental", hybrid_deployment_agent_id=agent)
    seen = client.data(f"/v1/hybrid-deployment-agents/{agent}")
    assert seen.keys() == AGENT
    assert not seen["online"]
    assert [used["connection_id"] for used in seen["usage"]] == [name, "stranger_0", "stranger_1"]
    assert client.data("/v1/hybrid-deployment-agents", groupId=server.group_id)["items"] == [seen]
    assert client.data("/v1/hybrid-deployment-agents", groupId="other")["items"] == []


def test_private_links_and_groups(server: FakeFivetran, client: Client) -> None:
    link = server.add_private_link("FAIL", "the endpoint was rejected")
    seen = client.data(f"/v1/private-links/{link}")
    assert seen.keys() >= LINK
    assert (seen["state"], seen["state_summary"]) == ("FAIL", "the endpoint was rejected")
    assert client.data("/v1/private-links")["items"] == [seen]
    group = client.data(f"/v1/groups/{server.group_id}")
    assert group.keys() == {"id", "name", "created_at"}
    assert client.data("/v1/groups")["items"] == [group]


def test_bodies_must_be_json(server: FakeFivetran, client: Client) -> None:
    url = f"{server.url}/v1/connections/{server.add_connection('rental')}/sync"
    assert refusal(requests.post(url, auth=client.auth, timeout=10)) == (415, "UnsupportedMediaType")
    typed = {"Content-Type": "application/json"}
    assert refusal(requests.post(url, data="", headers=typed, auth=client.auth, timeout=10)) == (400, "InvalidInput")
    html = {"Accept": "text/html"}
    assert refusal(requests.post(url, json={}, headers=html, auth=client.auth, timeout=10)) == (406, "NotAcceptable")


def test_a_sync_starts_though_its_answer_is_lost(server: FakeFivetran, client: Client) -> None:
    name = server.add_connection("rental")
    server.inject(Fault("POST", r"/sync$", when="after", then="cut"))
    with pytest.raises(requests.ConnectionError):
        client.sync(name)
    assert [sync.by for sync in server.syncs(name)] == ["api"]


def test_as_a_process() -> None:
    command = [sys.executable, "-m", "tests.fakes.fivetran", "--connections", "1500", "--run-seconds", "0"]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        told = json.loads(process.stdout.readline())
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", told["url"])
        page = requests.get(told["url"] + "/v1/connections?limit=1000", auth=("key", "secret"), timeout=10).json()
        assert [row["id"] for row in page["data"]["items"]] == told["connections"][:1000]
        assert requests.get(told["url"] + "/_stats", timeout=10).json() == {"requests": 1, "most_in_flight": 1}
        process.stdin.close()
        assert process.wait(10) == 0
