"""What no Airbyte server takes of a file: it is said before anything is sent, or without its secrets."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from airflow_elt_provider.errors import ConfigurationError
from tests.fakes.http_fake import Fault
from tests.remotes.config_airbyte_bench import (
    CONNECTION,
    CRM_FILE,
    FILE,
    HOME,
    Bench,
    document,
    refer,
)  # fmt: skip


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("schedule", {"type": "basic", "every": "24 hours"}, "cannot write type basic"),
        ("schedule", {"type": "cron", "cron": "0 0 2 * * ?", "timezone": "Europe/Rome"}, "timezone Europe/Rome"),
        ("streams", {}, "would take that for all"),
    ],
    ids=["basic", "zone", "none"],
)
def test_what_the_public_api_cannot_write_is_said_in_the_plan(
    public: Bench, field: str, value: Any, says: str
) -> None:  # fmt: skip
    public.export()
    public.folder.edit(CONNECTION, lambda one: one.update({field: value}))
    plan = public.plan()
    assert says in plan.problems[0]
    assert "Remedy" in plan.problems[0]
    assert ("0 0 0 * * ?" in plan.problems[0]) is ("basic" in says)
    with pytest.raises(ConfigurationError, match="cannot be carried out"):
        public.apply()
    assert public.written() == []


def test_a_schedule_that_the_public_api_shows_and_cannot_write_may_stay(public: Bench) -> None:
    basic = {"basicSchedule": {"units": 24, "timeUnit": "hours"}}
    connection = next(iter(public.server.catalogue.connections.values()))
    connection.settings |= {"scheduleType": "basic", "scheduleData": basic}
    public.export()
    assert document(public, CONNECTION)["schedule"] == {"type": "basic", "every": "24 hours"}
    public.folder.edit(CONNECTION, lambda one: one.update(prefix="p_"))
    public.apply()
    assert public.plan().empty


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"status": "paused"}, "status is 'paused'"),
        ({"schedule": {"type": "weekly"}}, "schedule.type is 'weekly'"),
        ({"schedule": {"type": "cron", "cron": "0 2 * * *"}}, "seconds first"),
        ({"schedule": {"type": "manual", "at": "noon"}}, "schedule has no 'at'"),
        ({"schedule": "daily"}, "schedule is 'daily'"),
        ({"prefix": None}, "prefix is None"),
        ({"schedule": {"type": "basic", "every": "daily"}}, "schedule.every is 'daily'"),
        ({"namespace": {"definition": "own"}}, "namespace.definition is 'own'"),
        ({"namespace": {"definition": "custom_format"}}, "namespace has no format"),
        ({"namespace": {"definition": "source", "format": "x"}}, "of no use with source"),
        ({"streams": {"app.users": {"sync_mode": "append"}}}, "sync_mode is 'append'"),
        ({"streams": {"app.users": {"sync_mode": "full_refresh_append", "key": ["id"]}}}, "has no 'key'"),
        ({"streams": {"app.users": {"sync_mode": "full_refresh_append", "cursor": "id"}}}, "of no use"),
        ({"streams": {"app.users": "full_refresh_append"}}, "write a mapping"),
        ({"streams": {"a.b.c": {"sync_mode": "full_refresh_append"}}}, "too many dots"),
        (
            {"streams": {"app.users": {"sync_mode": "incremental_append", "cursor": "id", "fields": ["mail"]}}},
            "not select",
        ),
    ],
    ids=lambda value: value.replace(" ", "_") if isinstance(value, str) else "",
)
def test_words_that_there_are_not(public: Bench, change: dict[str, Any], says: str) -> None:
    public.export()
    public.folder.edit(CONNECTION, lambda one: one.update(change))
    assert says in "".join(public.plan().problems)


def test_unknown_keys_and_connectors(bench: Bench) -> None:
    bench.export()
    bench.folder.edit(FILE, lambda one: one.update(colour="red"))
    with pytest.raises(ConfigurationError, match=r"a source has no 'colour'.*it has connector, definition"):
        bench.plan()
    new = {"kind": "source", "workspace": HOME, "name": "x", "connector": "postgre", "configuration": {"host": "h"}}
    bench.folder.write(FILE, yaml.safe_dump(new).encode())
    problem = bench.plan().problems[0]
    assert "no source connector 'postgre'" in problem
    assert "did you mean 'postgres'" in problem


def test_what_the_server_refuses_is_said_without_secrets(bench: Bench) -> None:
    bench.export()
    refer(bench.folder)
    fault = Fault("(PATCH|POST)", r"/sources(/update|/[0-9a-f-]+)$", times=None, status=422,
                  body={"message": "no login for the shop's password"})  # fmt: skip
    bench.server.inject(fault)
    with pytest.raises(ConfigurationError, match=r"no login for \*\*\*") as caught:
        bench.apply(write_secrets=True)
    assert "the shop's password" not in repr(caught.value) + str(caught.value)


def test_what_the_server_holds_in_the_open_is_not_repeated_either(bench: Bench) -> None:
    bench.export()
    bench.folder.edit(CRM_FILE, lambda one: one["configuration"].update(url="https://other.example"))
    fault = Fault("(PATCH|POST)", r"/sources(/update|/[0-9a-f-]+)$", status=422,
                  body={"message": "bad: {url: https://other.example, api_key: the crm's key}"})  # fmt: skip
    bench.server.inject(fault)
    with pytest.raises(ConfigurationError, match=r"api_key: \*\*\*"):
        bench.apply()
