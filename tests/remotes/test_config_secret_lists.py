"""Secrets within lists: none is written to another's place, none is lost, and no mask is written for a value."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from airflow_elt_provider.core.secret import Secret
from airflow_elt_provider.errors import ConfigurationError
from airflow_elt_provider.remotes.config_as_code.model import Key
from airflow_elt_provider.remotes.config_as_code.plan import PlanOptions
from airflow_elt_provider.remotes.config_as_code.secret_values import settled, unkept, unmarked, with_references
from airflow_elt_provider.remotes.config_as_code.work import ConfigWork
from airflow_elt_provider.remotes.flow import run
from airflow_elt_provider.stages.folder_local import LocalFolder
from tests.remotes.config_memory import MemoryServer

MARK = {"$secret": "not exported"}
SHOP = Key("source", "Prod", "shop")


def user(name: str, password: Any = MARK, **more: Any) -> dict[str, Any]:
    return {"name": name, "password": password, **more}


def ref(name: str) -> dict[str, str]:
    return {"$secret": f"conn:{name}.password"}


A, B, C = user("a", ref("a")), user("b", ref("b")), user("c", ref("c"))


@pytest.mark.parametrize(
    ("now", "earlier", "found"),
    [
        pytest.param([user("a"), user("b")], [A, B], [A, B], id="the same"),
        pytest.param([user("b"), user("a")], [A, B], [B, A], id="another order"),
        pytest.param([user("b")], [A, B], [B], id="one is gone"),
        pytest.param([user("x"), user("a"), user("b")], [A, B], [user("x"), A, B], id="one is new"),
        pytest.param([user("a", host="x"), user("b")], [A, B], [user("a", ref("a"), host="x"), B], id="one changed"),
        pytest.param([user("x"), user("y")], [A, B], [user("x"), user("y")], id="two changed"),
        pytest.param([MARK, MARK], [ref("a"), ref("b")], [ref("a"), ref("b")], id="secrets alone"),
        pytest.param([MARK], [ref("a"), ref("b")], [MARK], id="secrets alone, and one is gone"),
        pytest.param([user("a"), user("a")], [user("a", ref("x"))], [user("a"), user("a")], id="twins"),
    ],
)
def test_references_follow_their_item(now: list[Any], earlier: list[Any], found: list[Any]) -> None:
    assert with_references({"users": now}, {"users": earlier}) == {"users": found}


@pytest.mark.parametrize(
    ("wanted", "present", "places"),
    [
        pytest.param([user("a"), user("b")], [user("a"), user("b")], [], id="the same"),
        pytest.param([user("b"), user("a")], [user("a"), user("b")], ["l[0].password", "l[1].password"], id="order"),
        pytest.param([user("b")], [user("a"), user("b")], ["l[0].password"], id="the first is gone"),
        pytest.param([user("a")], [user("a"), user("b")], [], id="the last is gone"),
        pytest.param([user("a"), user("b"), C], [user("a"), user("b")], [], id="one more, with a reference"),
        pytest.param([user("a"), user("c")], [user("a")], ["l[1].password"], id="one more, without"),
        pytest.param({"x": MARK}, None, ["l.x"], id="a mapping that is new"),
        pytest.param({"x": MARK}, {"x": "plain"}, [], id="what the server shows"),
    ],
)
def test_what_the_server_cannot_keep(wanted: Any, present: Any, places: list[str]) -> None:
    assert list(unkept(wanted, present, "l")) == places


@pytest.mark.parametrize(
    ("wanted", "present", "sent"),
    [
        pytest.param({"p": ref("a"), "h": "x"}, {"p": MARK, "h": "y"}, {"p": MARK, "h": "x"}, id="there already"),
        pytest.param({"p": ref("a")}, {"h": "y"}, {"p": ref("a")}, id="new"),
        pytest.param({"p": ref("a")}, {"p": None}, {"p": ref("a")}, id="empty"),
        pytest.param({"l": [A, B]}, {"l": [user("a"), user("b")]}, {"l": [user("a"), user("b")]}, id="a list"),
        pytest.param({"l": [B, A]}, {"l": [user("a"), user("b")]}, {"l": [B, A]}, id="another order"),
        pytest.param({"l": [A, B]}, {"l": [user("a")]}, {"l": [user("a"), B]}, id="one more"),
        pytest.param({"l": [A]}, {"l": [user("a"), user("b")]}, {"l": [user("a")]}, id="one less"),
        pytest.param({"l": {"p": ref("a")}}, {"l": MARK}, {"l": {"p": ref("a")}}, id="in a secret's place"),
    ],
)
def test_what_the_server_has_already_is_not_written(wanted: Any, present: Any, sent: Any) -> None:
    assert settled(wanted, present) == sent


def test_what_is_sent() -> None:
    present = {"users": [user("a", "***"), user("b", "***")]}
    wanted = {"users": [user("a"), user("b"), user("c", Secret("x"))]}
    assert unmarked(wanted, present) == {"users": [user("a", "***"), user("b", "***"), user("c", "x")]}
    with pytest.raises(ConfigurationError, match="not exported"):
        unmarked({"keys": [MARK, MARK]}, {"keys": ["***"]})


def test_a_change_beside_a_secret_writes_no_secret(tmp_path: Path) -> None:
    server = MemoryServer()
    server.put(SHOP, connector="postgres", configuration={"host": "db", "password": "**********"})
    work_on(server, tmp_path).export()
    file = tmp_path / "prod/sources/shop.yaml"
    file.write_text(file.read_text().replace("not exported", "conn:gone.password").replace("host: db", "host: new"))
    work = work_on(server, tmp_path)
    work.apply(work.plan(), nowhere)
    assert server.objects[SHOP]["configuration"] == {"host": "new", "password": "**********"}
    again = work_on(server, tmp_path)
    with pytest.raises(ConfigurationError, match="leads nowhere"):
        again.apply(again.plan(PlanOptions(write_secrets=True)), nowhere)


def nowhere(reference: str) -> Secret:
    raise ConfigurationError(f"{reference} leads nowhere.")


def work_on(server: MemoryServer, folder: Path) -> ConfigWork:
    def drive(flow: Any) -> Any:
        return run(flow, None, lambda _: None)  # type: ignore[arg-type]

    return ConfigWork(server, drive, "https://airbyte.example", LocalFolder(folder))


def test_a_plan_says_which_secret_would_be_lost(tmp_path: Path) -> None:
    server = MemoryServer()
    users = [user("a", "**********"), user("b", "**********")]
    server.put(SHOP, connector="postgres", configuration={"users": users})

    work_on(server, tmp_path).export()
    file = tmp_path / "prod/sources/shop.yaml"
    text = file.read_text()
    file.write_text(text.replace("name: a", "name: z"))
    (said,) = work_on(server, tmp_path).plan().problems
    assert said.startswith(
        "source Prod / shop: the secret at configuration.users[0].password was not exported, and the server has none "
        "at that place to keep. Remedy: write {$secret: 'conn:<conn_id>.password'}"
    )
    file.write_text(text.replace("name: a", "name: z").replace("$secret: not exported", "$secret: var:a", 1))
    assert work_on(server, tmp_path).plan().problems == []
