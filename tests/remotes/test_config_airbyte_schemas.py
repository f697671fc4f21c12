"""Schemas of Airbyte's sources: locks, discoveries, what is accepted of them, and resets."""

from __future__ import annotations

import logging

import pytest

from airflow_elt_provider.errors import ConfigurationError, TransientError
from airflow_elt_provider.remotes.config_as_code.apply import ApplyOptions
from airflow_elt_provider.remotes.config_as_code.model import silent
from airflow_elt_provider.remotes.config_as_code.schema_lock import drift
from tests.fakes.airbyte import FakeAirbyte
from tests.fakes.airbyte_objects import Stream
from tests.fakes.http_fake import Fault
from tests.remotes.config_airbyte_bench import (
    CONNECTION,
    DAILY,
    ITEMS,
    NUMBER,
    SHOP,
    SOURCE,
    TEXT,
    USERS,
    Bench,
    bench_of,
    furnish,
)  # fmt: skip


def test_discovery_and_what_is_accepted_of_it(bench: Bench, dialect: str) -> None:
    bench.export()
    lock = bench.work().files().locks[SOURCE]
    connection = next(iter(bench.server.catalogue.connections))
    some = dialect != "config 0.40"
    bench.folder.edit(
        CONNECTION, lambda one: one["streams"]["app.orders"].update({"fields": ["at", "id"]} if some else {})
    )
    bench.apply()
    orders = Stream("orders", "app", {"id": NUMBER, "at": TEXT, "paid": TEXT}, ["id"], "at")
    carts = Stream("carts", "app", {"id": NUMBER}, ["id"], "id")
    bench.server.set_source_streams(connection, [orders, ITEMS, carts])
    configuration = bench.configuration()
    found = bench.drive(configuration.discover(connection))
    assert (found.owner, found.selected) == (SOURCE, {"app.orders", "app.users"})
    drifts = drift(lock, found.schema, found.selected)
    assert [(one.kind, one.stream, one.field) for one in drifts] == [
        ("stream_added", "app.carts", ""), ("field_removed", "app.orders", "note"),
        ("field_added", "app.orders", "paid"), ("stream_removed", "app.users", ""),
    ]  # fmt: skip
    bench.drive(configuration.accept(connection, found, drifts))
    assert bench.read().objects[DAILY].values["streams"] == {
        "app.carts": {"sync_mode": "incremental_deduped_history", "cursor": "id", "primary_key": ["id"]},
        "app.orders": {"sync_mode": "incremental_deduped_history", "cursor": "at", "primary_key": ["id"],
                       **({"fields": ["at", "id", "paid"]} if some else {})},
    }  # fmt: skip
    assert not bench.server.resets
    with pytest.raises(ConfigurationError, match="no connection"):
        bench.drive(configuration.discover("0e11f2a3-0000-4000-8000-000000000000"))


def test_a_source_that_is_gone_by_now_does_not_cost_the_others_their_types() -> None:
    with FakeAirbyte(public=True, config="current") as server:
        furnish(server)
        gone = server.add_source("gone", configuration={**SHOP, "host": "other"}, streams=[USERS])
        server.add_connection("gone", source_id=gone, destination_id=server.add_destination("other"))
        bench = bench_of("public", server)
        configuration = bench.configuration()
        tree = bench.drive(configuration.read(None, silent))
        del server.catalogue.sources[gone]
        locks = bench.drive(configuration.schemas(sorted(tree.objects), silent))
        assert set(locks) == {SOURCE}
        assert locks[SOURCE].streams["app.users"].fields == {"id": "integer", "mail": "string"}


def test_a_source_that_has_nothing_left(public: Bench) -> None:
    connection = next(iter(public.server.catalogue.connections))
    public.export()
    lock = public.work().files().locks[SOURCE]
    public.server.set_source_streams(connection, [ITEMS])
    configuration = public.configuration()
    found = public.drive(configuration.discover(connection))
    with pytest.raises(ConfigurationError, match="streams is empty"):
        public.drive(configuration.accept(connection, found, drift(lock, found.schema, found.selected)))
    assert public.written() == []


@pytest.mark.parametrize(
    "dialect", ["public", "public with types", "config 0.40"], ids=lambda one: one.replace(" ", "_")
)
def test_a_source_that_cannot_be_discovered_is_left_out(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    server = bench.server
    second = server.add_source("second", configuration={**SHOP, "host": "other"}, streams=[USERS])
    server.add_connection("second", source_id=second, destination_id=server.add_destination("other"))
    path = r"/streams$" if bench.settings.api == "auto" and not server.config else "discover_schema$"
    server.inject(Fault("(GET|POST)", path, status=422, body={"message": "no such host"}, times=1))
    with caplog.at_level(logging.WARNING):
        files = bench.export()
    assert sum(path.endswith(".lock.yaml") for path in files) == 1
    assert "is left out" in caplog.text


def test_a_reset_happens_only_when_it_is_asked_for(bench: Bench) -> None:
    bench.export()
    rekeyed = {"sync_mode": "incremental_append", "cursor": "at"}
    bench.folder.edit(CONNECTION, lambda one: one["streams"].update({"app.orders": rekeyed}))
    assert bench.apply(ApplyOptions(reset=True)).done == [f"changed {DAILY}", f"reset {DAILY}"]
    assert len(bench.server.resets) == 1
    with pytest.raises(ConfigurationError, match="no data to reset"):
        bench.drive(bench.configuration().reset(SOURCE))


def test_a_job_that_runs_is_in_the_way_of_a_reset(bench: Bench) -> None:
    bench.server.begin(next(iter(bench.server.catalogue.connections)))
    configuration = bench.configuration()
    bench.drive(configuration.read(None, silent))
    with pytest.raises(TransientError):
        bench.drive(configuration.reset(DAILY))
