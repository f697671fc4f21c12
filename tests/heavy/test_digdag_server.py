"""The real Digdag server over REST: the stories that the fake one is told too."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from servers.digdag import DigdagServer, unavailable
from tests.servers.digdag_api import Api
from tests.servers.digdag_stories import STORIES, Story

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(600)]


def no_story(api: Api) -> None:
    """Stand for all the stories where there is no server: one skip, with the reason."""


def told() -> list[Story]:
    """Return the stories that can be told here."""
    return [no_story] if unavailable() else STORIES


@pytest.fixture(scope="module")
def api() -> Iterator[Api]:
    """A running server with the project, or a skip with the reason."""
    if reason := unavailable():
        pytest.skip(f"the fake Digdag is not compared with the real one: {reason}")
    with DigdagServer() as server:
        api = Api(server.url, DigdagServer)
        api.push("one")
        yield api


@pytest.mark.parametrize("story", told(), ids=lambda story: story.__name__)
def test_story(api: Api, story: Story) -> None:
    story(api)
