"""Airbyte's configuration through its configuration API: that of 0.40, and today's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from airflow_elt_provider.core.secret import Secret
from airflow_elt_provider.errors import AnswerLostError, ConfigurationError, EltError, TransientError
from airflow_elt_provider.remotes.config_as_code.airbyte.api import Found, Kind
from tests.fakes.airbyte import INDEX
from tests.fakes.http_fake import Fault
from tests.remotes.config_airbyte_old import DEDUPED, ORDERS, USERS, WHOLE, Old, opened, served, shop

PASSWORD = "hunter2-of-the-shop"
LONG = "-----BEGIN PRIVATE KEY-----\n" + "Zm9vYmFy" * 80


@pytest.fixture(params=["0.40", "current"])
def old(request: pytest.FixtureRequest) -> Iterator[Old]:
    with served(request.param) as found:
        yield found


@pytest.fixture
def today() -> Iterator[Old]:
    with served("current") as found:
        yield found


@pytest.fixture
def ancient() -> Iterator[Old]:
    with served("0.40") as found:
        yield found


# --- reading ---


def test_objects_are_read_without_secrets(old: Old) -> None:
    source, destination, connection = shop(
        old, settings={"scheduleType": "cron", "scheduleData": {"cron": {
            "cronExpression": "0 0 7 * * ?", "cronTimeZone": "Europe/Vienna"}},
            "namespaceDefinition": "customformat", "namespaceFormat": "raw_${SOURCE_NAMESPACE}",
            "nonBreakingChangesPreference": "disable", "prefix": "shop_"},
    )  # fmt: skip
    assert old.run(old.api.workspaces()) == {old.workspace: "Default Workspace"}
    found = {kind: old.run(old.api.listed(kind, old.workspace)) for kind in ("source", "destination", "connection")}
    assert [(one.id, one.name, one.workspace_id) for one in found["source"]] == [(source, "shop", old.workspace)]
    assert found["source"][0].values == {
        "connector": "postgres",
        "definition": "decd338e-5647-4c0b-adf4-da0e75f5a750",
        "configuration": {
            "host": "db.example", "port": 5432, "database": "app", "username": "elt",
            "password": {"$secret": "not exported"},
        },
    }  # fmt: skip
    assert found["destination"][0].values["connector"] == "bigquery"
    assert found["destination"][0].values["configuration"]["credentials_json"] == {"$secret": "not exported"}
    assert found["connection"][0].values == {
        "source": source,
        "destination": destination,
        "status": "active",
        "schedule": {"type": "cron", "cron": "0 0 7 * * ?", "timezone": "Europe/Vienna"},
        "namespace": {"definition": "custom_format", "format": "raw_${SOURCE_NAMESPACE}"},
        "prefix": "shop_",
        "non_breaking_changes": "disable_connection",
        "streams": {"public.orders": DEDUPED},
    }
    assert old.get("connection", connection) == found["connection"][0]


def test_a_custom_connector_is_read_by_its_image_and_its_secrets_by_their_names(old: Old) -> None:
    id_ = old.server.add_source("crm", "acme-crm", {"url": "https://crm.example", "api_key": PASSWORD}, [USERS])
    found = old.get("source", id_)
    assert found.values["connector"] == "acme-crm"
    assert found.values["configuration"] == {"url": "https://crm.example", "api_key": {"$secret": "not exported"}}
    old.update("source", id_, configuration={"url": "https://new.example", "api_key": {"$secret": "not exported"}})
    assert old.server.stored_configuration(id_) == {"url": "https://new.example", "api_key": PASSWORD}


def test_definitions_come_from_the_whole_server_where_it_has_no_list_by_workspace(old: Old) -> None:
    old.server.inject(Fault("POST", r"/source_definitions/list_for_workspace$", status=200, body=INDEX, times=None))
    found = old.run(old.api.definitions("source", old.workspace))
    assert found["decd338e-5647-4c0b-adf4-da0e75f5a750"] == "postgres"
    old.server.inject(Fault("POST", r"/destination_definitions/list_for_workspace$", status=404, times=None))
    assert "bigquery" in old.run(old.api.definitions("destination", old.workspace)).values()


def test_what_is_not_there_is_none_and_is_deleted_in_peace(old: Old) -> None:
    source, destination, connection = shop(old)
    there: list[tuple[Kind, str]] = [("connection", connection), ("source", source), ("destination", destination)]
    for kind, id_ in there:
        old.run(old.api.delete(kind, id_))
        assert old.run(old.api.get(kind, id_)) is None
        assert old.run(old.api.listed(kind, old.workspace)) == []
        old.run(old.api.delete(kind, id_))
    old.server.inject(Fault("POST", r"/sources/delete$", status=422, body={"message": "it is in use"}))
    with pytest.raises(ConfigurationError, match="it is in use"):
        old.run(old.api.delete("source", source))
    with pytest.raises(ConfigurationError, match="any more"):
        old.run(old.api.update("source", source, {"configuration": {}}, {"configuration"}))


# --- sources and destinations ---


def test_an_update_is_sent_whole_and_leaves_secrets_as_they_are(old: Old) -> None:
    source, _, _ = shop(old)
    before = old.server.stored_configuration(source)
    old.update("source", source, configuration={"port": 6543, "password": {"$secret": "not exported"}})
    assert old.server.stored_configuration(source) == {**before, "port": 6543}
    (sent,) = old.bodies("/sources/update")
    assert sent["connectionConfiguration"]["password"] == "*" * 10
    old.update("source", source, configuration={"password": Secret(PASSWORD), "tunnel_method": {"tunnel_host": "b"}})
    stored = old.server.stored_configuration(source)
    assert stored == {**before, "port": 6543, "password": PASSWORD, "tunnel_method": {"tunnel_host": "b"}}


def test_a_source_and_a_connection_are_made(old: Old) -> None:
    old.server.databases["new"] = [ORDERS, USERS]
    workspace = old.run(old.api.create_workspace("Second"))
    postgres = "decd338e-5647-4c0b-adf4-da0e75f5a750"
    values = {"connector": "postgres", "definition": postgres, "configuration": {"host": "h", "password": Secret("x")}}
    source = old.run(old.api.create("source", workspace, "new", values))
    assert old.server.stored_configuration(source) == {"host": "h", "password": "x"}
    destination = old.server.add_destination("lake", workspace_id=workspace)
    wanted = {
        "source": source, "destination": destination, "status": "active",
        "schedule": {"type": "basic", "every": "6 hours"},
        "namespace": {"definition": "source"}, "prefix": "p_", "non_breaking_changes": "ignore",
        "streams": {"public.orders": DEDUPED, "public.users": WHOLE},
    }  # fmt: skip
    made = old.run(old.api.create("connection", workspace, "daily", wanted))
    assert old.get("connection", made) == Found(
        made, "connection", workspace, "daily", {**wanted, "status": "inactive"}
    )
    assert opened(old.server).get("connection", made).workspace_id == workspace
    old.update("connection", made, status="active")
    assert old.get("connection", made).values == wanted


# --- connections ---


def test_operations_are_read_made_and_shared_with_nobody(old: Old) -> None:
    _, _, connection = shop(old)
    wanted = [
        {"name": "Normalization", "normalization": "basic"},
        {"name": "models", "dbt": {"git_repo_url": "https://git.example/dbt", "dbt_arguments": "run"}},
    ]
    old.update("connection", connection, operations=wanted)
    assert old.get("connection", connection).values["operations"] == wanted
    assert {one.name: one.configuration for one in old.server.catalogue.operations.values()} == {
        "Normalization": {"operatorType": "normalization", "normalization": {"option": "basic"}},
        "models": {
            "operatorType": "dbt", "dbt": {"gitRepoUrl": "https://git.example/dbt", "dbtArguments": "run"},
        },
    }  # fmt: skip
    first = list(old.server.catalogue.operations)
    wanted[1] = {"name": "models", "dbt": {"git_repo_url": "https://git.example/dbt", "dbt_arguments": "build"}}
    old.update("connection", connection, operations=wanted)
    ids = old.server.connection(connection).settings["operationIds"]
    assert (ids[0], ids[1] in first) == (first[0], False)
    assert old.get("connection", connection).values["operations"] == wanted
    old.update("connection", connection, operations=[])
    assert "operations" not in old.get("connection", connection).values


def test_a_webhook_shows_no_url_and_keeps_it(old: Old) -> None:
    job = {"accountId": 1, "jobId": 7}
    hook = {"executionUrl": f"https://dbt.example/{PASSWORD}", "webhookConfigId": "6c8e", "dbtCloud": job}
    with old.server.lock:
        made = old.server.create_operation(old.workspace, "dbt", {"operatorType": "webhook", "webhook": hook})
    _, _, connection = shop(old, settings={"operationIds": [made.id]})
    found = old.get("connection", connection).values["operations"]
    wanted = {"execution_url": {"$secret": "not exported"}, "dbt_cloud": {"account_id": 1, "job_id": 7}}
    assert found == [{"name": "dbt", "webhook": wanted}]
    old.update("connection", connection, operations=[*found, {"name": "n", "normalization": "basic"}])
    assert old.server.connection(connection).settings["operationIds"][0] == made.id
    wanted["dbt_cloud"] = {"account_id": 1, "job_id": 8}
    old.update("connection", connection, operations=[{"name": "dbt", "webhook": wanted}])
    (new,) = old.server.connection(connection).settings["operationIds"]
    stored = old.server.catalogue.operations[new].configuration["webhook"]
    assert stored == {**hook, "dbtCloud": {"accountId": 1, "jobId": 8}}


def test_a_reset_wants_an_active_connection_with_no_job(old: Old) -> None:
    _, _, connection = shop(old)
    running = old.server.begin(connection)
    with pytest.raises(TransientError, match=r"409.*already running"):
        old.run(old.api.reset(connection))
    old.server.finish(running)
    old.run(old.api.reset(connection))
    assert len(old.server.resets) == 1
    old.server.connection(connection).status = "inactive"
    with pytest.raises(ConfigurationError, match="not active"):
        old.run(old.api.reset(connection))


@pytest.mark.parametrize(
    ("reason", "kind", "said"),
    [
        ({"externalMessage": "no pg_hba.conf entry"}, ConfigurationError, "no pg_hba.conf entry"),
        ({"internalMessage": "timeout", "retryable": True}, TransientError, "timeout"),
        ({"externalMessage": "cannot open jdbc://elt:hunter2@db"}, ConfigurationError, "may hold a secret"),
        (None, ConfigurationError, "does not say why"),
    ],
    ids=["refused", "retryable", "secret", "silent"],
)
def test_a_discovery_that_failed_is_an_error(ancient: Old, reason: Any, kind: type[EltError], said: str) -> None:
    source, _, connection = shop(ancient)
    job = {"id": "1", "succeeded": False, **({"failureReason": reason} if reason else {})}
    ancient.server.inject(Fault("POST", r"discover_schema$", status=200, body={"jobInfo": job}, times=None))
    with pytest.raises(kind, match=said):
        ancient.run(ancient.api.discovered(source, "", fresh=True))
    with pytest.raises(kind, match=said):
        ancient.update("connection", connection, streams={"public.users": WHOLE})
    assert ancient.server.changes == []


# --- refusals ---


@pytest.mark.parametrize("secret", [PASSWORD, LONG], ids=["short", "cut short"])
@pytest.mark.parametrize("status", [422, 500])
def test_no_error_repeats_a_secret_that_was_sent(ancient: Old, secret: str, status: int) -> None:
    source, _, _ = shop(ancient)
    said = {"message": "invalid", "validationErrors": [{"propertyPath": "password", "invalidValue": secret}]}
    ancient.server.inject(Fault("POST", r"/sources/update$", status=status, body=said, times=None))
    with pytest.raises(ConfigurationError if status == 422 else AnswerLostError) as caught:
        ancient.update("source", source, configuration={"password": Secret(secret)})
    assert secret[:14] not in str(caught.value)
    assert "invalid" in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("status", [422, 500])
def test_no_error_repeats_a_secret_that_the_server_itself_shows(ancient: Old, status: int) -> None:
    source = ancient.server.add_source("crm", "acme-crm", {"url": "u", "api_key": PASSWORD}, [USERS])
    ancient.server.inject(Fault("POST", r"/sources/update$", status=status, body={"message": f"no {PASSWORD}"}))
    with pytest.raises(EltError, match=r"no \*\*\*") as caught:
        ancient.update("source", source, configuration={"url": "v"})
    assert PASSWORD not in str(caught.value)


def test_what_the_server_refuses_is_told_in_its_words(old: Old) -> None:
    values = {"definition": "22f6c74f-5699-40ff-833c-4a879ea40133", "configuration": {"project_id": "p"}}
    with pytest.raises(ConfigurationError, match="dataset_id: is missing"):
        old.run(old.api.create("destination", old.workspace, "lake", values))


def test_an_old_server_objects_to_what_it_does_not_know(ancient: Old, today: Old) -> None:
    values = {
        "non_breaking_changes": "propagate_fully",
        "streams": {"a": {"sync_mode": "full_refresh_overwrite_deduped"}, "b": {**WHOLE, "fields": ["id"]}},
        "operations": [{"name": "x"}],
    }
    found: dict[Any, list[str]] = {}
    for one in (ancient, today):
        one.run(one.api.workspaces())
        found[one.server.config] = [text.partition(":")[0] for text in one.api.objections("connection", values)]
    assert found["current"] == ["operations[0] is none. Remedy"]
    assert found["0.40"] == [*found["current"], "non_breaking_changes", "streams.a", "streams.b"]
