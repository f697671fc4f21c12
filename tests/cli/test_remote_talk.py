"""A conversation of the command line: what it says, and where it ends when it was told to stop."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest

from airflow_elt_provider.cli import remote_talk
from airflow_elt_provider.cli.remote_talk import StoppedError, Talk, WatchedFolder
from airflow_elt_provider.core.connection import ConnectionParts
from airflow_elt_provider.errors import TransientError
from airflow_elt_provider.remotes.config_as_code.opening import driver
from airflow_elt_provider.remotes.flow import Call, Pause
from airflow_elt_provider.remotes.settings import parse_settings
from airflow_elt_provider.stages.folder_local import LocalFolder

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def talk() -> Iterator[Talk]:
    level = logging.getLogger("httpx").level
    yield Talk(driver(parse_settings(ConnectionParts("c", "eltdigdag", "http://127.0.0.1:9"))), "digdag")
    logging.getLogger("httpx").setLevel(level)


def changes(talk: Talk, made: list[int], stop_at: int) -> Any:
    for number in range(3):
        talk.tell_change("changes", number, 3)
        if number == stop_at:
            yield Call(talk.cancel)
        yield Pause(0)
        made.append(number)
    return "all"


def test_reading_ends_at_once(talk):
    def reading() -> Any:
        yield Call(talk.cancel)
        yield Pause(600)

    with pytest.raises(TransientError, match="told to stop"):
        talk(reading())


@pytest.mark.parametrize(("stop_at", "made"), [(0, [0]), (1, [0, 1])])
def test_changing_ends_between_two_changes(talk, stop_at, made):
    found: list[int] = []
    with pytest.raises(StoppedError):
        talk(changes(talk, found, stop_at))
    assert found == made


def test_the_last_change_is_made_and_that_is_all(talk):
    found: list[int] = []
    assert talk(changes(talk, found, 2)) == "all"
    assert found == [0, 1, 2]


def test_nothing_is_changed_by_a_command_that_was_stopped_before(talk):
    talk.cancel()
    with pytest.raises(StoppedError):
        talk.tell_change("changes", 0, 3)


def test_how_far_it_is_stands_in_the_log_where_there_is_no_terminal(talk, caplog, monkeypatch):
    caplog.set_level(logging.INFO)
    talk.tell("connections", 1, 500)
    assert caplog.messages == []
    monkeypatch.setattr(remote_talk, "EVERY_SECONDS", 0.0)
    talk.tell("connections", 1200, 5000)
    assert caplog.messages == ["connections: 1,200 of 5,000"]


def test_an_export_ends_before_the_next_file(talk, tmp_path):
    folder = WatchedFolder(LocalFolder(tmp_path), talk)
    folder.write("a", b"1")
    folder.write("b", b"1")
    folder.remove("b")
    assert (folder.read_one("a"), folder.read(), folder.uri) == (b"1", {"a": b"1"}, f"file://{tmp_path}")
    talk.cancel()
    for use in (lambda: folder.write("c", b"1"), lambda: folder.remove("a")):
        with pytest.raises(StoppedError):
            use()
    assert folder.read() == {"a": b"1"}
