"""Whatever a Digdag server and its files hold: one apply makes them the same, and one that broke off goes on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from airflow_elt_provider.remotes.flow import Request, Step
from tests.fakes.digdag import FakeDigdag
from tests.remotes.config_digdag_stories import SAID, Desk
from tests.remotes.config_memory import PowerCut

PLAIN = "+load:\n  echo>: a\n"
PLANNED = f"schedule:\n  daily>: 07:00:00\n{PLAIN}"
LEAK = "password: hunter2\n"
WRITES = {"PUT", "POST", "DELETE"}


@dataclass(frozen=True)
class State:
    """A project: what is in its files, which of its secrets are there, and which workflows have a schedule.

    `schedules`: by workflow, whether it is disabled; None: it has none.
    """

    files: dict[str, str] = field(default_factory=dict)
    schedules: dict[str, bool | None] = field(default_factory=dict)
    secrets: frozenset[str] = frozenset()
    executable: bool = False
    leak: bool = False

    def archive(self) -> dict[str, bytes]:
        digs = {f"{name}.dig": PLAIN if one is None else PLANNED for name, one in self.schedules.items()}
        leak = {"db.yml": LEAK} if self.leak else {}
        return {name: text.encode() for name, text in {**self.files, **digs, **leak, "run.sh": "#!/bin/sh\n"}.items()}

    def run(self) -> frozenset[str]:
        return frozenset({"run.sh"} if self.executable else ())


STATES = st.builds(
    State,
    st.dictionaries(st.sampled_from(["a.sql", "lib/b.sql", "c.bin"]), st.sampled_from(["1", "2", "3"])),
    st.dictionaries(st.sampled_from(["nightly", "hourly"]), st.sampled_from([True, False, None])),
    st.frozensets(st.sampled_from(["pg.password", "api"])),
    st.booleans(),
    st.booleans(),
)
SERVERS = st.dictionaries(st.sampled_from(["rental", "crm"]), STATES)


def by_hand(desk: Desk, wanted: dict[str, State]) -> None:
    for name, state in wanted.items():
        desk.push(name, state.archive(), state.run())
        for secret in state.secrets:
            desk.secret(name, secret, "x")
        for row in desk.call("GET", "schedules")["schedules"]:
            if row["project"]["name"] == name and state.schedules[row["workflow"]["name"]]:
                desk.call("POST", f"schedules/{row['id']}/disable", json={})


def by_files(desk: Desk, wanted: dict[str, State]) -> None:
    for name, state in wanted.items():
        write(desk, f"projects/{name}", "project", name, {
            "executable": sorted(state.run()),
            "secrets": {secret: {"$secret": "var:other"} for secret in state.secrets},
            "withheld": {"db.yml": {"$secret": "var:leak"}} if state.leak else {},
        })  # fmt: skip
        archive = {path: data for path, data in state.archive().items() if path != "db.yml"}
        desk.folder.files |= {f"projects/{name}/{path}": data for path, data in archive.items()}
        for workflow, disabled in state.schedules.items():
            if disabled is not None:
                one = {"disabled": disabled}
                write(desk, f"schedules/{name}-{workflow}", "schedule", f"{name}/{workflow}", one)


def write(desk: Desk, path: str, kind: str, name: str, values: dict[str, Any]) -> None:
    desk.folder.files[f"{path}.yaml"] = yaml.safe_dump({"kind": kind, "name": name, **values}).encode()


def found(desk: Desk) -> dict[str, State]:
    states = {}
    for row in desk.call("GET", "projects")["projects"]:
        members = {path: data.decode() for path, (data, _) in desk.members(row["name"]).items()}
        digs = [path.removesuffix(".dig") for path in members if path.endswith(".dig")]
        planned = desk.call("GET", f"projects/{row['id']}/schedules")["schedules"]
        disabled = {one["workflow"]["name"]: one["disabledAt"] is not None for one in planned}
        others = {path: text for path, text in members.items() if path in {"a.sql", "lib/b.sql", "c.bin"}}
        states[row["name"]] = State(
            others, {dig: disabled.get(dig) for dig in digs}, frozenset(desk.secrets(row["name"])),
            bool(desk.members(row["name"])["run.sh"][1] & 0o111), "db.yml" in members,
        )  # fmt: skip
    return states


class Cut:
    """Ends the conversation before its n-th write (2n) or right after it (2n + 1)."""

    def __init__(self, at: int) -> None:
        self.at, self.writes = at, 0

    def __call__(self, step: Step) -> None:
        if self.at == 2 * self.writes - 1:
            raise PowerCut
        if isinstance(step, Request) and step.method in WRITES:
            if self.at == 2 * self.writes:
                raise PowerCut
            self.writes += 1


ONE = State({"a.sql": "1"}, {"nightly": True}, frozenset({"api"}), executable=True, leak=True)
OTHER = State({"a.sql": "2"}, {"nightly": None, "hourly": False}, frozenset({"pg.password"}))


@settings(max_examples=25, deadline=None)
@given(SERVERS, SERVERS, st.integers(0, 12))
@example({}, {"rental": ONE}, 1)
@example({"rental": ONE}, {"rental": OTHER}, 3)
@example({"rental": OTHER, "crm": ONE}, {"rental": ONE}, 5)
def test_apply_converges(there: dict[str, State], wanted: dict[str, State], cut: int) -> None:
    SAID["var:leak"] = LEAK
    with FakeDigdag() as server:
        desk = Desk(server.url)
        desk.export()
        by_hand(desk, there)
        by_files(desk, wanted)
        desk.before = Cut(cut)
        try:
            desk.apply(allow_delete=True)
        except PowerCut:
            desk.before = lambda step: None
            desk.apply(allow_delete=True)
        assert found(desk) == wanted
        desk.before = lambda step: None
        assert desk.plan(allow_delete=True).empty
        assert not any(b"hunter2" in content for content in desk.folder.files.values())
