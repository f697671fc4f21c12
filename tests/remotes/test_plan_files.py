"""Plan files that somebody edited, cut off, or took from elsewhere: a sentence, and no traceback."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_elt_provider.core.secret import Secret
from airflow_elt_provider.errors import ConfigurationError
from airflow_elt_provider.remotes.config_as_code.model import Key
from airflow_elt_provider.remotes.config_as_code.plan import Plan
from airflow_elt_provider.remotes.config_as_code.work import ConfigWork
from airflow_elt_provider.remotes.flow import run
from airflow_elt_provider.stages.folder_local import LocalFolder
from tests.remotes.config_memory import MemoryServer

PLAN: dict[str, Any] = {
    "format": 1, "remote": "airbyte", "server": "https://airbyte.example",
    "changes": [
        {
            "action": "update", "key": ["source", "Prod", "shop"],
            "fields": [{"path": "configuration.host", "new": "x"}],
            "before": {"configuration": {"host": "db"}}, "wanted": {"configuration": {"host": "x"}},
        },
    ],
    "left_alone": [["source", "Prod", "crm"]], "problems": [], "differing": [], "new_workspaces": [],
}  # fmt: skip
ODD: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "a newer format": (lambda plan: plan.update(format=2), "format is 2; this version reads 1"),
    "no format": (lambda plan: plan.pop("format"), "format is None"),
    "no server": (lambda plan: plan.pop("server"), "server is no text"),
    "changes are none": (lambda plan: plan.update(changes="abc"), "changes is no list"),
    "an action": (lambda plan: plan["changes"][0].update(action="destroy"), "changes[0].action"),
    "an action of a list": (lambda plan: plan["changes"][0].update(action=["update"]), "changes[0].action"),
    "a short key": (lambda plan: plan["changes"][0].update(key=["source"]), "changes[0].key"),
    "a key of lists": (lambda plan: plan["changes"][0].update(key=[[], [], []]), "changes[0].key"),
    "nothing wanted": (lambda plan: plan["changes"][0].update(wanted=None), "changes[0].wanted is no mapping"),
    "nothing before": (lambda plan: plan["changes"][0].pop("before"), "changes[0].before is no mapping"),
    "a create of before": (lambda plan: plan["changes"][0].update(action="create"), "changes[0].before is no null"),
    "fields": (lambda plan: plan["changes"][0].update(fields={"a": 1}), "changes[0].fields"),
    "a path": (lambda plan: plan["changes"][0].update(fields=[{"path": 5}]), "without a path"),
    "left alone": (lambda plan: plan.update(left_alone=["abc"]), "'abc' names no object"),
    "problems": (lambda plan: plan.update(problems=[None]), "problems are no texts"),
    "a secret": (
        lambda plan: plan["changes"][0].update(wanted={"configuration": {"x": {"$secret": "conn:hunter2"}}}),
        "the secret at configuration.x is no reference",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", sorted(ODD))
def test_an_edited_plan_is_refused(what: str) -> None:
    edit, said = ODD[what]
    plan = copy.deepcopy(PLAN)
    assert Plan.from_json(json.dumps(plan), "plan.json").to_json() == plan
    edit(plan)
    with pytest.raises(ConfigurationError) as caught:
        Plan.from_json(json.dumps(plan), "plan.json")
    assert "plan.json" in str(caught.value)
    assert said in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [b"", b"[]", b"null", json.dumps(PLAN).encode()[:-20], b"\xff\xfe", b"[" * 100_000],
    ids=["empty", "list", "null", "cut off", "no text", "deep"],
)
def test_what_is_no_plan_is_refused(text: bytes) -> None:
    with pytest.raises(ConfigurationError, match=r"plan.json is no plan: .*elt remote plan --out"):
        Plan.from_json(text, "plan.json")


def test_a_plan_of_a_kind_that_the_remote_has_not_is_refused(tmp_path: Path) -> None:
    server = MemoryServer()
    server.put(Key("source", "Prod", "shop"), connector="postgres")

    def drive(flow: Any) -> Any:
        return run(flow, None, lambda _: None)  # type: ignore[arg-type]

    work = ConfigWork(server, drive, PLAN["server"], LocalFolder(tmp_path))
    work.export()
    plan = copy.deepcopy(PLAN)
    plan["changes"][0].update(action="delete", key=["group", "Prod", "shop"], wanted=None)
    with pytest.raises(ConfigurationError, match="group Prod / shop; airbyte has no such kind"):
        work.apply(Plan.from_json(json.dumps(plan), "plan.json"), Secret)
