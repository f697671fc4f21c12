"""A fake Fivetran with agents, private links and webhooks, and what a process does with their configuration."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from airflow_elt_provider.remotes.config_as_code.fivetran.configuration import FivetranConfiguration
from airflow_elt_provider.remotes.config_as_code.fivetran.credentials import CredentialsFolder
from airflow_elt_provider.remotes.config_as_code.model import ConfigObject, Key, silent
from airflow_elt_provider.remotes.config_as_code.work import ConfigWork
from airflow_elt_provider.remotes.fivetran import Fivetran
from airflow_elt_provider.remotes.flow import Answer, Flow, Request, run
from airflow_elt_provider.remotes.opening import open_session
from airflow_elt_provider.remotes.transports import RequestsTransport
from airflow_elt_provider.stages.folder_local import LocalFolder
from tests.fakes.fivetran import FakeFivetran
from tests.remotes.config_memory import PowerCut
from tests.remotes.driving import settings_of

HOOK = "https://hooks.example/fivetran"


class Cut:
    """Sends requests until the power is cut: before the first write, after it, before the second, ..."""

    def __init__(self, transport: RequestsTransport, number: int | None) -> None:
        self.transport, self.left = transport, number

    def send(self, request: Request) -> Answer:
        if request.method == "GET" or self.left is None:
            return self.transport.send(request)
        self._spend()
        answer = self.transport.send(request)
        self._spend()
        return answer

    def _spend(self) -> None:
        if self.left == 0:
            raise PowerCut
        self.left = (self.left or 0) - 1


class Account:
    """A fake Fivetran, and what a process does with it; `waited`: the seconds of its pauses, which move the clock."""

    cut: int | None = None

    def __init__(self, fake: FakeFivetran) -> None:
        self.fake = fake
        self.now, self.waited = 1_800_000_000.0, list[float]()
        fake.clock = lambda: self.now
        self.settings = settings_of(fake.url, conn_type="elt_fivetran", login="key", password="secret")
        self.transport = RequestsTransport(self.settings)

    def server(self) -> FivetranConfiguration:
        return FivetranConfiguration(Fivetran(open_session(self.settings)))

    def work(self, folder: Path) -> ConfigWork:
        return ConfigWork(self.server(), self.drive, self.fake.url, LocalFolder(folder))

    def drive(self, flow: Flow[Any]) -> Any:
        return run(flow, Cut(self.transport, self.cut), self._sleep)

    def read(self) -> dict[Key, dict[str, Any]]:
        tree = self.drive(self.server().read(None, silent))
        return {one.key: dict(one.values) for one in tree}

    def make(self, key: Key, *, folder: Path | None = None, **values: Any) -> FivetranConfiguration:
        server = self.server()
        server.account.credentials = CredentialsFolder(folder) if folder else None
        self.drive(server.create(ConfigObject(key, values)))
        return server

    def _sleep(self, seconds: float) -> None:
        self.waited += [seconds] if seconds else []
        self.now += seconds


def everything(fake: FakeFivetran) -> None:
    """Put one of each into an account."""
    other = fake.add_group("lake")
    fake.add_agent(display_name="on site", env_type="PODMAN")
    fake.add_agent(display_name="on site", env_type="KUBERNETES", group_id=other)
    fake.add_private_link(name="vpc", config={"connection_service_name": "vpce-1"})
    fake.add_webhook(HOOK, ("sync_start", "sync_end"), secret="hook-secret-1")
    fake.add_webhook(HOOK, ("sync_end",), group_id=other, active=False)


def texts(folder: Path) -> dict[str, str]:
    return {str(file.relative_to(folder)): file.read_text() for file in folder.rglob("*.yaml")}


def secrets_of(fake: FakeFivetran) -> list[str]:
    """Return what new agents were told, as it is and as it is sent."""
    plain = [agent.token for agent in fake.agents.values()]
    return [*plain, *(base64.b64encode(token.encode()).decode() for token in plain)]
