"""Airbyte's APIs: the one that is there is found, the wrong one is named with its remedy."""

from __future__ import annotations

import pytest

from airflow_elt_provider.errors import AnswerLostError, ConfigurationError
from airflow_elt_provider.remotes.airbyte import Airbyte, application_token
from airflow_elt_provider.remotes.model import Order
from airflow_elt_provider.remotes.opening import open_session
from tests.fakes.airbyte import FakeAirbyte
from tests.fakes.http_fake import Fault
from tests.remotes.driving import settings_of
from tests.remotes.systems import Kept

pytestmark = pytest.mark.lowest

PUBLIC = {"public": True, "config": None}
OLD = {"public": False, "config": "0.40"}
BOTH = {"public": True, "config": "current"}


def dialect_of(driver, server, api="auto"):
    settings = settings_of(server.url, api=api)
    return driver(Airbyte(open_session(settings)).dialect(), settings).name


@pytest.mark.parametrize(
    ("served", "api", "found"),
    [
        (PUBLIC, "auto", "public_v1"),
        (OLD, "auto", "config_v1"),
        (BOTH, "auto", "public_v1"),
        (BOTH, "config_v1", "config_v1"),
        (BOTH, "public_v1", "public_v1"),
    ],
)
def test_the_dialect_that_is_there_is_found(driver, served, api, found):
    with FakeAirbyte(**served) as server:
        assert dialect_of(driver, server, api) == found


@pytest.mark.parametrize(("served", "api"), [(PUBLIC, "config_v1"), (OLD, "public_v1")])
def test_a_dialect_that_is_not_there_is_named_with_its_remedy(driver, served, api):
    with FakeAirbyte(**served) as server, pytest.raises(ConfigurationError, match="is a web page") as raised:
        dialect_of(driver, server, api)
    assert "set api to auto" in raised.value.hint


def test_a_server_without_any_dialect_is_named_as_such(driver):
    with FakeAirbyte(public=False, config=None) as server, pytest.raises(ConfigurationError, match="neither"):
        dialect_of(driver, server)


def test_a_server_that_is_down_has_not_the_wrong_dialect(driver):
    with FakeAirbyte(**OLD) as server:
        server.inject(Fault("GET", "health", status=503, times=None))
        with pytest.raises(AnswerLostError):
            dialect_of(driver, server)


def test_the_dialect_is_asked_for_once(driver):
    with FakeAirbyte(**BOTH) as server:
        settings = settings_of(server.url)
        remote = Airbyte(open_session(settings))
        for _ in range(3):
            driver(remote.dialect(), settings)
        assert len(server.asked("health")) == 1


@pytest.mark.parametrize("served", [PUBLIC, OLD, BOTH], ids=["public", "old", "both"])
def test_check_counts_the_workspaces(driver, served):
    with FakeAirbyte(**served) as server:
        settings = settings_of(server.url)
        said = driver(Airbyte(open_session(settings)).check(), settings)
    assert said.startswith("Airbyte's")
    assert said.endswith("; workspaces: 1")


@pytest.mark.parametrize("served", [PUBLIC, OLD], ids=["public", "old"])
def test_a_client_id_and_its_secret_open_the_door(driver, served):
    with FakeAirbyte(auth="client_credentials", **served) as server:
        connection = server.add_connection("shop")
        settings = settings_of(server.url, auth="client_credentials", login="client", password="secret")
        remote = Airbyte(open_session(settings, token=application_token))
        started = driver(remote.start(Order(connection), Kept()), settings)
        assert started.how == "started"
        server.revoke_tokens()
        driver(remote.look([started.watch]), settings)
        assert server.token_mints == 2
