"""What configuration as code does on every Digdag server: told of the fake one and of the real one (tests/heavy)."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Mapping
from typing import Any

import requests
import yaml

from airflow_elt_provider.core.secret import Secret
from airflow_elt_provider.remotes.config_as_code.apply import Applied
from airflow_elt_provider.remotes.config_as_code.digdag.configuration import DigdagConfiguration
from airflow_elt_provider.remotes.config_as_code.plan import Plan, PlanOptions
from airflow_elt_provider.remotes.config_as_code.work import ConfigWork
from airflow_elt_provider.remotes.digdag import Digdag
from airflow_elt_provider.remotes.flow import Step
from airflow_elt_provider.remotes.opening import open_session
from tests.remotes.config_memory import MemoryFolder
from tests.remotes.driving import driven_by_requests, settings_of
from tests.remotes.systems import quickly

NIGHTLY = b"timezone: Asia/Tokyo\nschedule:\n  daily>: 07:00:00\n+load:\n  sh>: ./bin/run.sh\n"
ADHOC = b"timezone: UTC\n+say:\n  echo>: hello\n"
FILES: Mapping[str, bytes] = {
    "adhoc.dig": ADHOC,
    "bin/run.sh": b"#!/bin/sh\necho $PGPASSWORD | wc -c\n",
    "logo.png": bytes(range(256)),
    "nightly.dig": NIGHTLY,
    "sql/new orders.sql": b"select 1;\n",
}
RUN = frozenset({"bin/run.sh"})
PASSWORD = "correct horse"
SAID = {"var:pg_password": PASSWORD, "var:other": "another"}


def secret(text: str) -> Secret:
    """Return the value of a reference."""
    return Secret(SAID[text])


def packed(files: Mapping[str, bytes], executable: frozenset[str] = frozenset()) -> bytes:
    """Return a tar.gz as ``tar czf`` makes it: with folders, owners and times of its own."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as tar:
        folder = tarfile.TarInfo("./bin")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        for path, content in files.items():
            member = tarfile.TarInfo(f"./{path}")
            member.size, member.mtime, member.uid, member.uname = len(content), 1_700_000_000, 1000, "somebody"
            member.mode = 0o775 if path in executable else 0o640
            tar.addfile(member, io.BytesIO(content))
    return made.getvalue()


class Desk:
    """Somebody who keeps a server's configuration in a folder, and somebody who works on the server by hand.

    `before`: sees each step of a conversation, and may end it.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.folder = MemoryFolder()
        self.before: Callable[[Step], None] = lambda step: None
        self.settings = settings_of(url, conn_type="elt_digdag")

    # --- by files ---

    def work(self) -> ConfigWork:
        server = DigdagConfiguration(Digdag(open_session(self.settings)))
        return ConfigWork(server, self.drive, self.url, self.folder)

    def drive(self, flow: Any) -> Any:
        return driven_by_requests(quickly(flow, before=self.before), self.settings)

    def export(self) -> list[str]:
        """Return the paths of what was not in the folder before, or not so."""
        return list(self.work().export().files.written)

    def plan(self, **options: bool) -> Plan:
        return self.work().plan(PlanOptions(**options))

    def apply(self, **options: bool) -> Applied:
        work = self.work()
        return work.apply(work.plan(PlanOptions(**options)), secret)

    def document(self, path: str) -> dict[str, Any]:
        return dict(yaml.safe_load(self.folder.files[path]))

    def edit(self, path: str, **values: Any) -> None:
        """Change values of a YAML file; None removes one."""
        found = {**self.document(path), **values}
        kept = {name: value for name, value in found.items() if value is not None}
        self.folder.files[path] = yaml.safe_dump(kept, sort_keys=False).encode()

    def changed(self) -> list[str]:
        """Return what a plan would change, by path."""
        return [one.path for change in self.plan().changes for one in change.fields]

    # --- by hand ---

    def call(self, method: str, path: str, **options: Any) -> Any:
        answer = requests.request(method, f"{self.url}/api/{path}", timeout=30, **options)
        assert answer.status_code == 200, answer.text
        return answer.json() if "json" in answer.headers["Content-Type"] else answer.content

    def push(
        self, project: str, files: Mapping[str, bytes], executable: frozenset[str] = RUN, revision: str = "by-hand"
    ) -> None:
        query, kind = {"project": project, "revision": revision}, {"Content-Type": "application/gzip"}
        self.call("PUT", "projects", params=query, headers=kind, data=packed(files, executable))

    def project(self, name: str) -> Any:
        return self.call("GET", "project", params={"name": name})

    def secret(self, project: str, name: str, value: str) -> None:
        self.call("PUT", f"projects/{self.project(project)['id']}/secrets/{name}", json={"value": value})

    def secrets(self, project: str) -> list[str]:
        rows = self.call("GET", f"projects/{self.project(project)['id']}/secrets")["secrets"]
        return sorted(row["key"] for row in rows)

    def members(self, project: str) -> dict[str, tuple[bytes, int]]:
        """Return the files of the newest revision and their modes."""
        content = self.call("GET", f"projects/{self.project(project)['id']}/archive")
        with tarfile.open(fileobj=io.BytesIO(content)) as tar:
            return {
                one.name.removeprefix("./"): (data.read(), one.mode) for one in tar if (data := tar.extractfile(one))
            }

    def revisions(self, project: str) -> list[str]:
        rows = self.call("GET", f"projects/{self.project(project)['id']}/revisions")["revisions"]
        return [row["revision"] for row in rows]

    def schedule(self, workflow: str) -> Any:
        rows = self.call("GET", "schedules")["schedules"]
        return next((row for row in rows if row["workflow"]["name"] == workflow), None)

    def switch(self, workflow: str, word: str) -> None:
        self.call("POST", f"schedules/{self.schedule(workflow)['id']}/{word}", json={})

    def wipe(self) -> None:
        for row in self.call("GET", "projects")["projects"]:
            self.call("DELETE", f"projects/{row['id']}")

    def stocked(self) -> Desk:
        """Return the same, with a project whose schedule is disabled, and its files in the folder."""
        self.push("rental", FILES)
        self.secret("rental", "pg.password", PASSWORD)
        self.switch("nightly", "disable")
        self.export()
        return self


def an_export_restored_elsewhere_is_the_same(desk: Desk) -> None:
    """Files, modes, names of secrets, and the schedule that rests."""
    desk.stocked()
    assert desk.document("projects/rental.yaml") == {
        "kind": "project",
        "name": "rental",
        "executable": ["bin/run.sh"],
        "secrets": {"pg.password": {"$secret": "not exported"}},
        "withheld": {},
    }
    assert {path.removeprefix("projects/rental/") for path in desk.folder.files if "rental/" in path} == FILES.keys()
    assert desk.document("schedules/rental-nightly.yaml")["disabled"] is True
    assert not any(PASSWORD.encode() in content for content in desk.folder.files.values())
    desk.edit("projects/rental.yaml", secrets={"pg.password": {"$secret": "var:pg_password"}})
    desk.export()
    before = dict(desk.folder.files)
    desk.wipe()
    assert [change.action for change in desk.plan().changes] == ["create", "create"]
    assert desk.apply(only_create=True).not_taken == []
    assert desk.plan().empty
    assert desk.export() == []
    assert desk.folder.files == before
    assert {path: data for path, (data, _) in desk.members("rental").items()} == FILES
    assert {path: mode for path, (_, mode) in desk.members("rental").items()} == {
        path: 0o755 if path in RUN else 0o644 for path in FILES
    }
    assert desk.schedule("nightly")["disabledAt"]
    assert desk.secrets("rental") == ["pg.password"]


def what_is_equal_is_not_pushed(desk: Desk) -> None:
    desk.stocked()
    desk.edit("projects/rental.yaml", secrets={"pg.password": {"$secret": "var:other"}})
    assert desk.apply(write_secrets=True).done == ["changed project rental"]
    assert desk.revisions("rental") == ["by-hand"]
    assert desk.plan().empty


def a_push_leaves_a_schedule_disabled(desk: Desk) -> None:
    """And a revision that was there once is made again under another name."""
    desk.stocked()
    before = desk.folder.files["projects/rental/adhoc.dig"]
    for content in (b"+say:\n  echo>: good day\n", before, b"+say:\n  echo>: good day\n", before):
        desk.folder.files["projects/rental/adhoc.dig"] = content
        assert desk.changed() == ["files.adhoc\\.dig"]
        desk.apply()
        assert desk.members("rental")["adhoc.dig"][0] == content
        assert desk.plan().empty
    newest, *older = desk.revisions("rental")
    assert len(newest.removesuffix("-2")) == 12
    assert newest == f"{older[1]}-2"
    assert desk.schedule("nightly")["disabledAt"]


def a_schedule_is_switched_by_its_file(desk: Desk) -> None:
    desk.stocked()
    desk.edit("schedules/rental-nightly.yaml", disabled=False)
    desk.apply()
    assert desk.schedule("nightly")["disabledAt"] is None
    desk.edit("schedules/rental-nightly.yaml", disabled=True)
    desk.apply()
    assert desk.schedule("nightly")["disabledAt"]


def a_secret_goes_with_its_line(desk: Desk) -> None:
    desk.stocked()
    desk.secret("rental", "by.hand", "x")
    assert desk.changed() == ["secrets.by\\.hand"]
    desk.edit("projects/rental.yaml", secrets={"new.one": {"$secret": "var:other"}})
    assert sorted(desk.changed()) == ["secrets.by\\.hand", "secrets.new\\.one", "secrets.pg\\.password"]
    desk.apply()
    assert desk.secrets("rental") == ["new.one"]


def a_project_is_deleted_where_that_is_allowed(desk: Desk) -> None:
    desk.stocked()
    desk.folder.files = {path: one for path, one in desk.folder.files.items() if "/" not in path}
    assert [key.kind for key in desk.plan().left_alone] == ["project", "schedule"]
    desk.apply(allow_delete=True)
    assert desk.call("GET", "projects") == {"projects": []}
    assert desk.schedule("nightly") is None


Story = Callable[[Desk], None]
STORIES: list[Story] = [
    an_export_restored_elsewhere_is_the_same,
    what_is_equal_is_not_pushed,
    a_push_leaves_a_schedule_disabled,
    a_schedule_is_switched_by_its_file,
    a_secret_goes_with_its_line,
    a_project_is_deleted_where_that_is_allowed,
]
