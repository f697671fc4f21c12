"""A Google, its Identity-Aware Proxy and an Airbyte behind it, and the sessions that go through."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_elt_provider.remotes.airbyte import application_token
from airflow_elt_provider.remotes.flow import Answer, Request
from airflow_elt_provider.remotes.opening import open_session
from airflow_elt_provider.remotes.settings import RemoteSettings
from tests.fakes.connect_proxy import GOOGLE_HOSTS, ConnectProxy
from tests.fakes.google import FakeGoogle
from tests.fakes.google_tokens import new_key, pem
from tests.fakes.iap import FakeIap
from tests.remotes.driving import Driver, settings_of
from tests.remotes.echo import Echo

ELT, MIDDLE, TARGET = (f"{name}@proj.iam.gserviceaccount.com" for name in ("elt", "middle", "target"))
AUDIENCE = "123-abc.apps.googleusercontent.com"
HEALTH = Request("GET", "/api/public/v1/health")
JOBS = Request("GET", "/api/public/v1/jobs")


@pytest.fixture(scope="module")
def one_google() -> Iterator[FakeGoogle]:
    """Run one Google for all of a file: making keys takes time."""
    with FakeGoogle() as running:
        yield running


@pytest.fixture
def google(one_google: FakeGoogle) -> FakeGoogle:
    """Lend it with nothing granted or shifted."""
    one_google.heal()
    one_google.mints.clear()
    one_google.impersonators.clear()
    one_google.metadata_account, one_google.token_seconds, one_google.clock_offset = None, 3600, 0
    return one_google


@pytest.fixture(scope="module")
def key_file(one_google: FakeGoogle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Lend the key of ELT."""
    return one_google.service_account(ELT, tmp_path_factory.mktemp("keys") / "key.json")


@pytest.fixture(scope="module")
def key(key_file: Path) -> str:
    """Lend it as text."""
    return key_file.read_text()


@pytest.fixture(scope="session")
def strange_key() -> str:
    """Make a private key that belongs to nobody."""
    return pem(new_key()[0])


@pytest.fixture(scope="module")
def one_echo() -> Iterator[Echo]:
    with Echo() as running:
        yield running


@pytest.fixture
def echo(one_echo: Echo) -> Echo:
    """Lend an application that says what reached it."""
    one_echo.requests.clear()
    return one_echo


@pytest.fixture
def iap(google: FakeGoogle, echo: Echo) -> Iterator[FakeIap]:
    """Stand in front of it, for two accounts."""
    with FakeIap(google, echo.url, AUDIENCE, members={ELT, TARGET}) as running:
        yield running


@pytest.fixture
def hosts(google: FakeGoogle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ConnectProxy]:
    """Lead everything for Google's hosts to the fake; nothing else gets out, and no metadata server is looked for."""
    with ConnectProxy(dict.fromkeys(GOOGLE_HOSTS, google.port), tmp_path) as running:
        for name, value in running.environment().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("NO_GCE_CHECK", "true")
        monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
        monkeypatch.delenv("GOOGLE_CLOUD_PROJECT", raising=False)
        yield running


def ask(driver: Driver, settings: RemoteSettings, request: Request = JOBS) -> Answer:
    """Ask through all guards, as an operator or a trigger would."""
    answer: Answer = driver(open_session(settings, token=application_token).ask(request), settings)
    return answer


def through(driver: Driver, iap: FakeIap, **fields: Any) -> str:
    """Ask the echo behind the proxy; return whom the proxy let in."""
    fields.setdefault("iap_mode", "id_token")
    answer = ask(driver, settings_of(iap.url, iap_audience=fields.pop("audience", iap.audience), **fields))
    name = answer.json()["headers"]["x-goog-authenticated-user-email"]
    return str(name).removeprefix("accounts.google.com:")
