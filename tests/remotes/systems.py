"""The three engines with one face, for tests that say the same of all of them."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, ClassVar, Self

from airflow_elt_provider.errors import EltError
from airflow_elt_provider.remotes.airbyte import Airbyte
from airflow_elt_provider.remotes.digdag import Digdag, DigdagOrder
from airflow_elt_provider.remotes.fivetran import Fivetran
from airflow_elt_provider.remotes.flow import Pause, Request, Step, Together
from airflow_elt_provider.remotes.model import Order, Remote
from airflow_elt_provider.remotes.opening import open_session
from airflow_elt_provider.remotes.settings import RemoteSettings
from tests.fakes.airbyte import FakeAirbyte
from tests.fakes.digdag import FakeDigdag
from tests.fakes.fivetran import FakeFivetran
from tests.fakes.http_fake import FakeServer
from tests.remotes.driving import settings_of

SESSION_TIME = datetime(2026, 11, 25, tzinfo=UTC)


@dataclass
class Kept:
    """Intents in memory."""

    mark: str | None = None
    written: list[str] = field(default_factory=list)

    def read(self) -> str | None:
        return self.mark

    def write(self, mark: str) -> None:
        self.mark = mark
        self.written.append(mark)


def quickly(
    flow: Generator[Any, Any, Any],
    *,
    timeout: float | None = None,
    before: Callable[[Step], None] = lambda step: None,
    longest: float = 0.02,
) -> Generator[Any, Any, Any]:
    """Drive a flow with pauses of at most `longest` and requests that wait `timeout`; `before` sees each step."""

    def hurried(step: Step) -> Step:
        before(step)
        if isinstance(step, Pause):
            return Pause(min(step.seconds, longest))
        if isinstance(step, Request):
            return replace(step, timeout=timeout) if timeout else step
        if isinstance(step, Together):
            return Together([quickly(one, timeout=timeout, before=before, longest=longest) for one in step.flows])
        return step

    try:
        step = next(flow)
        while True:
            try:
                given = yield hurried(step)
            except EltError as error:
                step = flow.throw(error)
            else:
                step = flow.send(given)
    except StopIteration as end:
        return end.value


class System:
    """An engine's fake server, and what a test wants to know of it or do there."""

    name: ClassVar[str]
    start_method: ClassVar[str] = "POST"
    start_path: ClassVar[str]
    fields: ClassVar[dict[str, str]] = {}
    server: FakeServer
    settings: RemoteSettings

    @classmethod
    def settings_at(cls, url: str) -> RemoteSettings:
        """The settings of a connection to this address: what another process needs to know is the address."""
        return settings_of(url, **cls.fields)

    def __enter__(self) -> Self:
        self.server.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.server.close()

    @staticmethod
    def remote_of(settings: RemoteSettings) -> Remote:
        """A remote as a new process has it."""
        raise NotImplementedError

    def remote(self) -> Any:
        """A remote as a new process has it."""
        return self.remote_of(self.settings)

    def target(self) -> str:
        """Something new to sync."""
        raise NotImplementedError

    def order(self, remote_id: str, key: str = "run", **fields: Any) -> Order:
        return Order(remote_id, key, **fields)

    def begin(self, remote_id: str) -> None:
        """Somebody else starts a sync."""
        raise NotImplementedError

    def end(self, remote_id: str, status: str = "succeeded") -> None:
        """The running sync ends."""
        raise NotImplementedError

    def outcomes(self, remote_id: str) -> list[str]:
        """What became of every sync so far, whoever started it: running, succeeded, failed, ..."""
        raise NotImplementedError

    def ends_by_itself(self, seconds: float | None, outcome: str = "succeeded") -> None:
        """Syncs that start from now on end by themselves."""
        self.server.run_seconds, self.server.outcome = seconds, outcome  # type: ignore[attr-defined]

    def healthy_cancelled(self) -> list[str]:
        """Syncs that we cancelled."""
        return []


class AirbyteSystem(System):
    server: FakeAirbyte

    def __init__(self, **options: Any) -> None:
        self.server = FakeAirbyte(**options)
        self.settings = self.settings_at(self.server.url)

    @staticmethod
    def remote_of(settings: RemoteSettings) -> Airbyte:
        return Airbyte(open_session(settings))

    def target(self) -> str:
        return self.server.add_connection("shop", ["orders", "users"])

    def begin(self, remote_id: str) -> None:
        self.server.begin(remote_id)

    def end(self, remote_id: str, status: str = "succeeded") -> None:
        job = self.server.connection(remote_id).running
        assert job is not None
        if status == "succeeded":
            self.server.finish(job, rows=7, bytes=70)
        else:
            self.server.fail(job)

    def outcomes(self, remote_id: str) -> list[str]:
        return [self.server.job(job).status for job in self.server.starts(remote_id)]

    def healthy_cancelled(self) -> list[str]:
        return [str(job) for job in self.server.cancelled_by_api]


class PublicAirbyte(AirbyteSystem):
    name = "airbyte public"
    start_path = r"^/api/public/v1/jobs$"

    def __init__(self) -> None:
        super().__init__(public=True, config=None)


class OldAirbyte(AirbyteSystem):
    name = "airbyte config 0.40"
    start_path = r"/connections/sync$"

    def __init__(self) -> None:
        super().__init__(public=False, config="0.40")


class ConfigAirbyte(AirbyteSystem):
    name = "airbyte config current"
    start_path = r"/connections/sync$"
    fields: ClassVar[dict[str, str]] = {"api": "config_v1"}

    def __init__(self) -> None:
        super().__init__(public=True, config="current")


class FivetranSystem(System):
    name = "fivetran"
    start_path = r"/sync$"
    fields: ClassVar[dict[str, str]] = {"conn_type": "elt_fivetran", "login": "key", "password": "secret"}
    server: FakeFivetran

    def __init__(self, **options: Any) -> None:
        self.server = FakeFivetran("key", "secret", **options)
        self.settings = self.settings_at(self.server.url)

    @staticmethod
    def remote_of(settings: RemoteSettings) -> Fivetran:
        return Fivetran(open_session(settings))

    def target(self) -> str:
        return self.server.add_connection("rental")

    def begin(self, remote_id: str) -> None:
        self.server.begin(remote_id)

    def end(self, remote_id: str, status: str = "succeeded") -> None:
        self.server.finish(remote_id) if status == "succeeded" else self.server.fail(remote_id)

    def outcomes(self, remote_id: str) -> list[str]:
        return [sync.state for sync in self.server.syncs(remote_id)]

    def healthy_cancelled(self) -> list[str]:
        return [sync.connection_id for sync in self.server.interrupted]


class DigdagSystem(System):
    name = "digdag"
    start_method = "PUT"
    start_path = r"^/api/attempts$"
    fields: ClassVar[dict[str, str]] = {"conn_type": "elt_digdag"}
    server: FakeDigdag

    def __init__(self, **options: Any) -> None:
        self.server = FakeDigdag(**options)
        self.server.most_running = 10_000
        self.settings = self.settings_at(self.server.url)
        self._count = 0

    @staticmethod
    def remote_of(settings: RemoteSettings) -> Digdag:
        return Digdag(open_session(settings))

    def target(self) -> str:
        self._count += 1
        self.server.add_workflow("rental", f"load_{self._count}", ["+extract", "+load"])
        return f"rental/load_{self._count}"

    def order(self, remote_id: str, key: str = "run", **fields: Any) -> DigdagOrder:
        return DigdagOrder(remote_id, key, **{"session_time": SESSION_TIME, **fields})

    def begin(self, remote_id: str) -> None:
        _, name = remote_id.split("/")
        workflow = next(one for one in self.server.workflows.values() if one.name == name)
        self.server.begin(workflow.id, SESSION_TIME, "somebody's")

    def end(self, remote_id: str, status: str = "succeeded") -> None:
        attempt = next(one for one in self._starts(remote_id) if one.status == "running")
        self.server.finish(attempt.id) if status == "succeeded" else self.server.fail(attempt.id)

    def outcomes(self, remote_id: str) -> list[str]:
        words = {"success": "succeeded", "error": "failed"}
        return [words.get(attempt.status, attempt.status) for attempt in self._starts(remote_id)]

    def ends_by_itself(self, seconds: float | None, outcome: str = "succeeded") -> None:
        self.server.run_seconds = seconds
        self.server.outcome = "success" if outcome == "succeeded" else "error"

    def healthy_cancelled(self) -> list[str]:
        return list(self.server.killed)

    def _starts(self, remote_id: str) -> list[Any]:
        return list(self.server.starts(*remote_id.split("/")))


SYSTEMS: list[type[System]] = [PublicAirbyte, OldAirbyte, FivetranSystem, DigdagSystem]
"""One of each conversation; of today's Airbyte the configuration API starts and lists as that of 0.40 does."""
