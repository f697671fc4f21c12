"""Digdag's configuration as code: projects with their files, names of secrets, and schedules."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from email.utils import formatdate
from typing import Any

import pytest

from airflow_elt_provider.errors import ConfigurationError
from airflow_elt_provider.remotes.config_as_code.digdag.configuration import DigdagConfiguration
from airflow_elt_provider.remotes.config_as_code.model import Key, silent
from airflow_elt_provider.remotes.config_as_code.opening import config_server
from airflow_elt_provider.remotes.config_as_code.work import restored
from airflow_elt_provider.remotes.digdag import Digdag
from airflow_elt_provider.remotes.opening import open_session
from tests.fakes.digdag import FakeDigdag
from tests.fakes.http_fake import Fault
from tests.remotes.config_digdag_stories import FILES, NIGHTLY, PASSWORD, SAID, STORIES, Desk, Story, secret

LEAK = b"host: db\npassword: hunter2\n"


@pytest.fixture
def server() -> Iterator[FakeDigdag]:
    """A running Digdag."""
    with FakeDigdag() as server:
        yield server


@pytest.fixture
def desk(server: FakeDigdag) -> Desk:
    """A desk at the server."""
    return Desk(server.url)


@pytest.fixture
def configuration(desk: Desk) -> DigdagConfiguration:
    """What is asked without a folder."""
    return DigdagConfiguration(Digdag(open_session(desk.settings)))


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
def test_story(desk: Desk, story: Story) -> None:
    """What happens on the real one too: tests/heavy/test_digdag_configuration.py."""
    story(desk)


# --- what is withheld ---


@pytest.fixture
def leaky(desk: Desk) -> Desk:
    """A desk at a server with a project of which one file holds a password."""
    desk.push("rental", {**FILES, "config/db.yml": LEAK})
    desk.export()
    return desk


def test_a_file_with_a_password_is_withheld(leaky: Desk, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        leaky.export()
    assert "config/db.yml is not exported: line 2 sets 'password'" in caplog.text
    assert "hunter2" not in caplog.text
    assert not any(b"hunter2" in content for content in leaky.folder.files.values())
    assert leaky.document("projects/rental.yaml")["withheld"] == {"config/db.yml": {"$secret": "not exported"}}
    assert leaky.plan().empty


def test_a_push_keeps_what_is_withheld(leaky: Desk) -> None:
    leaky.folder.files["projects/rental/adhoc.dig"] = b"+say:\n  echo>: good day\n"
    leaky.apply()
    assert leaky.members("rental")["config/db.yml"] == (LEAK, 0o644)
    assert leaky.plan().empty
    leaky.edit("projects/rental.yaml", withheld=None)
    leaky.folder.files["projects/rental/adhoc.dig"] = b"+say:\n  echo>: good night\n"
    leaky.apply()
    assert "config/db.yml" in leaky.members("rental"), "a field that is left out is not managed"


def test_what_is_withheld_goes_with_its_line(leaky: Desk) -> None:
    leaky.edit("projects/rental.yaml", withheld={})
    assert leaky.changed() == ["withheld.config/db\\.yml"]
    leaky.apply()
    assert leaky.members("rental").keys() == FILES.keys()


def test_what_is_withheld_is_restored_by_reference(leaky: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    leaky.wipe()
    assert "config/db.yml was not exported" in leaky.plan().problems[0]
    with pytest.raises(ConfigurationError, match="cannot be carried out"):
        leaky.apply()
    leaky.edit("projects/rental.yaml", withheld={"config/db.yml": {"$secret": "var:db_yml"}})
    monkeypatch.setitem(SAID, "var:db_yml", LEAK.decode())
    leaky.apply()
    assert leaky.members("rental")["config/db.yml"] == (LEAK, 0o644)
    assert leaky.plan().empty


def test_a_file_with_a_password_is_not_pushed(leaky: Desk) -> None:
    leaky.folder.files["projects/rental/more.yml"] = LEAK
    with pytest.raises(ConfigurationError, match=r"more.yml holds a secret in the open: line 2") as caught:
        leaky.apply()
    assert "hunter2" not in str(caught.value)
    assert leaky.revisions("rental") == ["by-hand"]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"executable": ["bin/none.sh"]}, "executable names 'bin/none.sh'"),
        ({"executable": "bin/run.sh"}, "executable is 'bin/run.sh'"),
        ({"executable": [["bin/run.sh"]]}, "executable is "),
        ({"withheld": {"adhoc.dig": {"$secret": "var:other"}}}, "adhoc.dig is withheld, and in the folder"),
        ({"withheld": {"../adhoc.dig": {"$secret": "var:other"}}}, "leads out of the project"),
        ({"withheld": ["adhoc.dig"]}, "withheld are names, each with a reference"),
        ({"secrets": {"host": "db"}}, "secrets are names, each with a reference"),
        ({"secrets": {"a..b": {"$secret": "var:other"}}}, "'a..b' cannot be a secret's name"),
        ({"secrets": ["host"]}, "holds a secret in the open"),
    ],
    ids=["executable-missing", "executable-no-list", "executable-no-texts", "withheld-twice", "withheld-outside",
         "withheld-list", "secret-open", "secret-name", "secrets-list"],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused(desk: Desk, values: dict[str, Any], said: str) -> None:
    desk.stocked().edit("projects/rental.yaml", **values)
    with pytest.raises(ConfigurationError, match=said):
        desk.apply()
    assert desk.revisions("rental") == ["by-hand"]
    assert desk.secrets("rental") == ["pg.password"]


def test_hidden_files_stay(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    desk.push("rental", {**FILES, ".python-version": b"3.12\n", "lib/.cache/x": b"y"}, frozenset({"lib/.cache/x"}))
    desk.export()
    assert "hidden files are left alone: .python-version, lib/.cache/x" in caplog.text
    desk.folder.files["projects/rental/new.dig"] = b"+say:\n  echo>: hello\n"
    desk.apply()
    assert desk.members("rental").keys() == {*FILES, ".python-version", "lib/.cache/x", "new.dig"}
    assert desk.members("rental")["lib/.cache/x"] == (b"y", 0o755)
    assert desk.plan().empty


def test_a_project_written_by_hand(desk: Desk) -> None:
    desk.export()
    desk.folder.files |= {
        "projects/new.yaml": b"kind: project\nname: new\n",
        "projects/new/daily.dig": b"schedule:\n  daily>: 07:00:00\n+run:\n  sh>: ./run.sh\n",
        "projects/new/run.sh": b"#!/bin/sh\necho done\n",
    }
    assert desk.apply().done == ["created project new"]
    assert {path: mode for path, (_, mode) in desk.members("new").items()} == {"daily.dig": 0o644, "run.sh": 0o755}
    assert desk.schedule("daily")["disabledAt"] is None
    assert desk.plan().left_alone == [Key("schedule", "", "new/daily")]


# --- schedules ---


def test_a_new_project_begins_a_minute_later(desk: Desk, server: FakeDigdag) -> None:
    """By the server's clock: its secrets are set by then, and what is to rest is disabled."""
    desk.stocked().wipe()
    desk.edit("projects/rental.yaml", secrets={"pg.password": {"$secret": "var:pg_password"}})
    server.inject(Fault("GET", "/api/projects$", "before", headers={"Date": formatdate(86_400 * 365, usegmt=True)},
                        status=200, body={"projects": []}, skip=3, times=1))  # fmt: skip
    desk.apply()
    (pushed,) = [seen for seen in server.asked("/api/projects$", "PUT") if "by-hand" not in seen.query]
    assert "schedule_from=1971-01-01T00:01:00Z" in pushed.query
    assert "clear_schedule" not in pushed.query


def test_restored_to_rest(desk: Desk) -> None:
    desk.push("rental", {"nightly.dig": NIGHTLY})
    desk.export()
    desk.wipe()
    work = desk.work()
    restored(work, {}, disabled=True)
    work.apply(work.plan(), pytest.fail)
    assert desk.schedule("nightly")["disabledAt"]


def test_a_schedule_of_a_workflow_without_one(desk: Desk) -> None:
    desk.stocked()
    desk.folder.files["schedules/adhoc.yaml"] = b"kind: schedule\nname: rental/adhoc\ndisabled: true\n"
    with pytest.raises(ConfigurationError, match="the workflow 'adhoc' has no schedule") as caught:
        desk.apply()
    assert "write schedule: into adhoc.dig" in str(caught.value)
    desk.folder.files["schedules/adhoc.yaml"] = b"kind: schedule\nname: none/adhoc\n"
    with pytest.raises(ConfigurationError, match="the server has no project 'none'"):
        desk.apply()
    desk.folder.files["schedules/adhoc.yaml"] = b"kind: schedule\nname: rental/nightly\ndisabled: 1\n"
    del desk.folder.files["schedules/rental-nightly.yaml"]
    assert "disabled is 1. Remedy: write true or false" in desk.plan().problems[0]
    desk.folder.files["schedules/adhoc.yaml"] = b"kind: schedule\nname: adhoc\n"
    with pytest.raises(ConfigurationError, match="no name of a schedule"):
        desk.apply()


def test_a_schedule_that_comes_with_a_push(desk: Desk) -> None:
    desk.stocked()
    desk.folder.files["projects/rental/adhoc.dig"] = b"schedule:\n  hourly>: 30:00\n+say:\n  echo>: hello\n"
    desk.folder.files["schedules/adhoc.yaml"] = b"kind: schedule\nname: rental/adhoc\ndisabled: true\n"
    desk.apply()
    assert desk.schedule("adhoc")["disabledAt"]
    assert desk.plan().empty


# --- servers ---


def test_archives_in_a_storage(desk: Desk, server: FakeDigdag) -> None:
    server.storage = "https://bucket.s3.example"
    assert "projects/rental/nightly.dig" in desk.stocked().folder.files
    server.knows_direct_download = False
    with pytest.raises(ConfigurationError, match=r"is in Digdag's s3 storage: .* redirects to https://bucket"):
        desk.export()


def test_more_projects_than_are_listed(desk: Desk, server: FakeDigdag) -> None:
    for number in range(104):
        server.add_workflow(
            f"project_{number:03}", "load", schedule="2027-01-16T00:00:00+00:00" if number % 2 else None
        )
    heard: list[tuple[str, int, int]] = []
    work = desk.work()
    work.tell = lambda *told: heard.append(told)
    exported = work.export()
    assert exported.to_json("x")["objects"] == {"project": 104, "schedule": 52}
    assert heard[-1] == ("projects", 104, 104)
    assert desk.plan().empty


def test_a_project_that_goes_while_it_is_read(desk: Desk, server: FakeDigdag) -> None:
    desk.stocked()
    server.inject(Fault("GET", "/archive$", status=404, body={"message": "gone", "status": 404}))
    server.inject(Fault("GET", "/api/projects$", status=200, body={"projects": []}, skip=1))
    desk.export()
    assert "projects/rental.yaml" not in desk.folder.files


def test_an_archive_that_is_lost_is_not_exported_as_none(desk: Desk, server: FakeDigdag) -> None:
    before = dict(desk.stocked().folder.files)
    server.inject(Fault("GET", "/archive$", status=404, body={"message": "Archive file not found", "status": 404}))
    with pytest.raises(ConfigurationError, match=r"lost the archive of project 'rental'.*file not found"):
        desk.export()
    assert desk.folder.files == before


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_push_whose_answer_is_lost(desk: Desk, server: FakeDigdag, when: Any) -> None:
    desk.stocked().edit("projects/rental.yaml", secrets={"pg.password": {"$secret": "var:pg_password"}})
    desk.wipe()
    server.inject(Fault("PUT", "/api/projects$", when=when, then="cut"))
    desk.apply()
    assert len(desk.revisions("rental")) == 1
    assert desk.secrets("rental") == ["pg.password"]
    assert desk.plan().empty


@pytest.mark.parametrize("path", ["/secrets/", "/disable$"])
def test_a_restore_that_broke_off_goes_on(desk: Desk, server: FakeDigdag, path: str) -> None:
    """With the same plan."""
    desk.stocked().edit("projects/rental.yaml", secrets={"pg.password": {"$secret": "var:pg_password"}})
    desk.wipe()
    work, plan = desk.work(), desk.plan()
    server.inject(Fault("PUT|POST", path, status=400, body={"message": PASSWORD, "status": 400}))
    with pytest.raises(ConfigurationError) as caught:
        work.apply(plan, secret)
    assert path == "/disable$" or PASSWORD not in str(caught.value)
    work.apply(plan, secret)
    assert len(desk.revisions("rental")) == 1
    assert desk.plan().empty


def test_a_wrong_dig_file_is_told(desk: Desk, server: FakeDigdag) -> None:
    desk.stocked().folder.files["projects/rental/adhoc.dig"] = b"+say: [\n"
    server.inject(
        Fault("PUT", "/api/projects$", status=400, body={"message": "workflow adhoc.dig: bad", "status": 400})
    )
    with pytest.raises(ConfigurationError, match=r"refused the files of project 'rental' \(400\).*adhoc.dig: bad"):
        desk.apply()


def test_there_are_no_workspaces(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    work = desk.stocked().work()
    work.workspaces = ["team"]
    assert work.export().to_json("x")["objects"] == {"project": 1, "schedule": 1}
    assert "Digdag has no workspaces" in caplog.text


def test_it_is_opened_by_its_remote(desk: Desk) -> None:
    assert isinstance(config_server(Digdag(open_session(desk.settings))), DigdagConfiguration)


def test_what_digdag_has_not(desk: Desk, configuration: DigdagConfiguration) -> None:
    key = Key("project", "", "rental")
    assert desk.drive(configuration.schemas([key], silent)) == {}
    for refused in (
        lambda: configuration.reset(key),
        lambda: configuration.discover("1"),
        lambda: configuration.delete(Key("schedule", "", "rental/nightly")),
    ):
        with pytest.raises(ConfigurationError):
            desk.drive(refused())
    assert desk.drive(configuration.delete(key)) is None, "gone already"
    assert desk.drive(configuration.reread(key)) is None
    assert desk.drive(configuration.reread(Key("schedule", "", "rental/nightly"))) is None
