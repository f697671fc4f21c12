"""An Airbyte server with something to configure, a folder, and work on both: each piece as by a new process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
import yaml

from airflow_elt_provider.core.secret import Secret
from airflow_elt_provider.errors import ConfigurationError
from airflow_elt_provider.remotes.airbyte import Airbyte, application_token
from airflow_elt_provider.remotes.config_as_code.airbyte.configuration import AirbyteConfiguration
from airflow_elt_provider.remotes.config_as_code.apply import Applied, ApplyOptions
from airflow_elt_provider.remotes.config_as_code.model import Key, Tree, silent
from airflow_elt_provider.remotes.config_as_code.opening import config_server
from airflow_elt_provider.remotes.config_as_code.plan import Plan, PlanOptions
from airflow_elt_provider.remotes.config_as_code.work import ConfigWork
from airflow_elt_provider.remotes.opening import open_session
from airflow_elt_provider.remotes.settings import RemoteSettings
from tests.fakes.airbyte import FakeAirbyte
from tests.fakes.airbyte_objects import Stream
from tests.remotes.driving import driven_by_httpx, settings_of
from tests.remotes.systems import quickly

HOME = "Default Workspace"
TEXT, NUMBER = {"type": "string"}, {"type": "integer"}
ORDERS = Stream("orders", "app", {"id": NUMBER, "at": TEXT, "note": TEXT}, ["id"], "at", "incremental_deduped_history")
USERS = Stream("users", "app", {"id": NUMBER, "mail": TEXT}, incremental=True)
ITEMS = Stream("items", "app", {"id": NUMBER, "sku": TEXT}, ["id"])
SHOP = {"host": "shop.example", "database": "shop", "password": "the shop's password"}
LAKE = {"project_id": "p", "dataset_id": "raw", "credentials_json": '{"private_key": "the lake\'s key"}'}
VAULT = {"conn:shop.password": Secret("the shop's password"), "conn:lake.extra.key": Secret("the lake's new key")}
SOURCE, DAILY = Key("source", HOME, "shop"), Key("connection", HOME, "shop to lake")
DIALECTS: Mapping[str, tuple[Mapping[str, Any], str]] = {
    "public": ({"public": True}, "auto"),
    "public with types": ({"public": True, "config": "current"}, "auto"),
    "config": ({"public": True, "config": "current"}, "config_v1"),
    "config 0.40": ({"public": False, "config": "0.40"}, "auto"),
}


class MemoryFolder:
    """Files in memory."""

    uri = "memory://elt"

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}

    def read(self) -> Mapping[str, bytes]:
        return dict(self.files)

    def read_one(self, path: str) -> bytes | None:
        return self.files.get(path)

    def write(self, path: str, content: bytes) -> None:
        self.files[path] = content

    def remove(self, path: str) -> None:
        self.files.pop(path, None)

    def edit(self, path: str, change: Callable[[dict[str, Any]], Any]) -> None:
        document = yaml.safe_load(self.files[path])
        change(document)
        self.files[path] = yaml.safe_dump(document).encode()

    def without_schemas(self) -> dict[str, bytes]:
        return {path: content for path, content in self.files.items() if not path.endswith(".lock.yaml")}


class Bench:
    """A server and a folder; each piece of work is done as by a new process."""

    def __init__(self, server: FakeAirbyte, settings: RemoteSettings, folder: MemoryFolder | None = None) -> None:
        self.server, self.settings, self.folder = server, settings, folder or MemoryFolder()

    def drive(self, flow: Any) -> Any:
        return driven_by_httpx(quickly(flow), self.settings)

    def configuration(self) -> AirbyteConfiguration:
        made = config_server(Airbyte(open_session(self.settings, token=application_token)))
        assert isinstance(made, AirbyteConfiguration)
        return made

    def work(self, *workspaces: str) -> ConfigWork:
        return ConfigWork(self.configuration(), self.drive, "there", self.folder, workspaces or None)

    def export(self) -> dict[str, bytes]:
        self.work().export(schemas="all")
        return self.folder.files

    def plan(self, **options: Any) -> Plan:
        return self.work().plan(PlanOptions(**options))

    def apply(self, options: ApplyOptions | None = None, **planned: Any) -> Applied:
        work = self.work()
        return work.apply(work.plan(PlanOptions(**planned)), lookup, options or ApplyOptions())

    def read(self) -> Tree:
        tree: Tree = self.drive(self.configuration().read(None, silent))
        return tree

    def written(self) -> list[str]:
        return [call for call, _ in self.server.changes]


def lookup(reference: str) -> Secret:
    if reference not in VAULT:
        raise ConfigurationError(f"{reference!r} leads nowhere.")
    return VAULT[reference]


def furnish(server: FakeAirbyte) -> None:
    """One source of three streams that two connections read, and what else a server has."""
    server.databases["shop.example/shop"] = [ORDERS, USERS, ITEMS]
    shop = server.add_source("shop", configuration=SHOP, streams=[ORDERS, USERS, ITEMS])
    lake = server.add_destination("lake", configuration=LAKE)
    cron = {"cron": {"cronExpression": "0 0 2 * * ?", "cronTimeZone": "UTC"}}
    server.add_connection(
        "shop to lake", [ORDERS, USERS], source_id=shop, destination_id=lake,
        settings={"scheduleType": "cron", "scheduleData": cron, "prefix": "shop_",
                  "nonBreakingChangesPreference": "disable"},
    )  # fmt: skip
    server.add_connection("items", [ITEMS], "inactive", source_id=shop, destination_id=lake)
    server.add_source("crm", "acme-crm", {"url": "https://crm.example", "api_key": "the crm's key"}, [USERS])


def bench_of(dialect: str, server: FakeAirbyte) -> Bench:
    return Bench(server, settings_of(server.url, api=DIALECTS[dialect][1]))


def document(bench: Bench, path: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(bench.folder.files[path])
    return found


def refer(folder: MemoryFolder) -> None:
    """Write references in the place of all secrets."""
    secrets = {FILE: ("password", "conn:shop.password"), LAKE_FILE: ("credentials_json", "conn:lake.extra.key")}
    for path, (name, reference) in secrets.items():
        folder.edit(path, lambda one, at=name, to=reference: one["configuration"].update({at: {"$secret": to}}))
    folder.edit(CRM_FILE, lambda one: one["configuration"].pop("api_key"))


CRM_FILE, LAKE_FILE = "default-workspace/sources/crm.yaml", "default-workspace/destinations/lake.yaml"
CONNECTION = "default-workspace/connections/shop-to-lake.yaml"
FILE = "default-workspace/sources/shop.yaml"


@pytest.fixture(params=["public", "config", "config 0.40"], ids=lambda name: name.replace(" ", "_"))
def dialect(request: pytest.FixtureRequest) -> str:
    """Go through the APIs that an Airbyte has."""
    return str(request.param)


@pytest.fixture
def bench(dialect: str) -> Iterator[Bench]:
    """Lend a furnished server of each, and an empty folder."""
    with FakeAirbyte(**DIALECTS[dialect][0]) as server:
        furnish(server)
        yield bench_of(dialect, server)


@pytest.fixture
def public() -> Iterator[Bench]:
    """Lend one that has the public API alone."""
    with FakeAirbyte(public=True) as server:
        furnish(server)
        yield bench_of("public", server)
