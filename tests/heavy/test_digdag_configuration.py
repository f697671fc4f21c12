"""Configuration as code on the real Digdag server: the stories that the fake one is told too."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from servers.digdag import DigdagServer, unavailable
from tests.remotes.config_digdag_stories import STORIES, Desk, Story

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(600)]


def no_story(desk: Desk) -> None:
    """Stand for all the stories where there is no server: one skip, with the reason."""


def told() -> list[Story]:
    """Return the stories that can be told here."""
    return [no_story] if unavailable() else STORIES


@pytest.fixture(scope="module")
def server() -> Iterator[DigdagServer]:
    """A running server, or a skip with the reason."""
    if reason := unavailable():
        pytest.skip(f"configuration as code is not tried on the real Digdag: {reason}")
    with DigdagServer() as server:
        yield server


@pytest.fixture
def desk(server: DigdagServer) -> Desk:
    """A desk at the server, which is empty."""
    desk = Desk(server.url)
    desk.wipe()
    return desk


@pytest.mark.parametrize("story", told(), ids=lambda story: story.__name__)
def test_story(desk: Desk, story: Story) -> None:
    story(desk)
