"""Agents, private links and webhooks of Fivetran as files: read, made again elsewhere, and no secret on the way."""

from __future__ import annotations

import logging
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_elt_provider.core.secret import Secret
from airflow_elt_provider.errors import AnswerLostError, ConfigurationError
from airflow_elt_provider.remotes.config_as_code.fivetran.webhooks import name_of_url
from airflow_elt_provider.remotes.config_as_code.model import ConfigObject, Key, silent
from airflow_elt_provider.remotes.config_as_code.plan import PlanOptions
from airflow_elt_provider.remotes.config_as_code.work import restored
from tests.fakes.fivetran import FakeFivetran
from tests.fakes.http_fake import Fault
from tests.remotes.config_memory import PowerCut
from tests.remotes.driving import Driver
from tests.remotes.fivetran_accounts import HOOK, Account, everything, secrets_of, texts

VAULT = {"conn:hooks.password": Secret("hook-secret-1"), "var:url": Secret(f"{HOOK}?code=c0de-in-url")}
AWS: dict[str, Any] = {
    "region": "AWS_EU_WEST_1",
    "service": "SOURCE_AWS",
    "config": {"connection_service_name": "vpce-1"},
}
ON_SITE = Key("agent", "warehouse", "on site")
LINK = Key("private_link", "", "vpc")


@pytest.fixture
def account() -> Iterator[Account]:
    with FakeFivetran("key", "secret") as fake:
        made = Account(fake)
        yield made
        made.transport.close()


def lookup(reference: str) -> Secret:
    return VAULT[reference]


def test_what_is_read(account: Account, driver: Driver) -> None:
    everything(account.fake)
    secret = {"$secret": "not exported"}
    tree = driver(account.server().read(None, silent), account.settings)
    assert {one.key: one.values for one in tree} == {
        ON_SITE: {"env_type": "PODMAN"},
        Key("agent", "lake", "on site"): {"env_type": "KUBERNETES"},
        LINK: AWS,
        Key("webhook", "", HOOK): {"events": ["sync_end", "sync_start"], "active": True, "secret": secret},
        Key("webhook", "lake", HOOK): {"events": ["sync_end"], "active": False},
    }


def test_other_groups_are_left_out(account: Account) -> None:
    everything(account.fake)
    tree = account.drive(account.server().read(["warehouse"], silent))
    assert {key.workspace for key in tree.objects} == {"", "warehouse"}


def test_names_are_made_unique(account: Account) -> None:
    ids = [account.fake.add_private_link(name="vpc") for _ in range(2)]
    keys = {id_: Key("private_link", "", f"vpc [{id_}]") for id_ in ids}
    assert account.read().keys() == set(keys.values())
    server = account.server()
    account.drive(server.read(None, silent))
    account.drive(server.delete(keys[ids[0]]))
    assert account.fake.private_links.keys() == {ids[1]}
    assert account.drive(server.reread(keys[ids[1]])) is not None


def test_there_and_back(account: Account, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    everything(account.fake)
    account.work(tmp_path / "a").export()
    hook = next(file for file in (tmp_path / "a").rglob("*.yaml") if "not exported" in file.read_text())
    hook.write_text(hook.read_text().replace("not exported", "conn:hooks.password"))
    account.fake.wipe()
    work = account.work(tmp_path / "a")
    restored(work, {}, disabled=False)
    plan = work.plan(PlanOptions(only_create=True))
    assert not plan.problems
    assert len(work.apply(plan, lookup).done) == 5
    assert account.work(tmp_path / "a").plan().empty
    account.work(tmp_path / "b").export()
    there, back = (texts(tmp_path / one) for one in "ab")
    assert {name: text.replace("conn:hooks.password", "not exported") for name, text in there.items()} == back
    assert [one.secret for one in account.fake.webhooks.values() if not one.group_id] == ["hook-secret-1"]
    told = caplog.text + "".join(back.values())
    assert not [word for word in ("hook-secret-1", *secrets_of(account.fake)) if word in told]
    assert "/re-auth` gives new ones" in caplog.text


@pytest.mark.parametrize("when", ["before", "after"])
def test_answers_that_are_lost_make_nothing_twice(account: Account, tmp_path: Path, when: Any) -> None:
    everything(account.fake)
    account.work(tmp_path).export()
    hook = next(file for file in tmp_path.rglob("*.yaml") if "not exported" in file.read_text())
    hook.write_text(hook.read_text().replace("not exported", "conn:hooks.password"))
    account.fake.wipe()
    for group in ("warehouse", "lake"):
        account.fake.add_group(group)
    for path in ("agents$", "private-links$", "/account$", "/group/"):
        account.fake.inject(Fault("POST", path, when=when, then="cut"))
    work = account.work(tmp_path)
    work.apply(work.plan(), lookup)
    assert account.work(tmp_path).plan().empty
    fake = account.fake
    assert [len(things) for things in (fake.agents, fake.private_links, fake.webhooks)] == [2, 1, 2]


@pytest.mark.parametrize("number", range(14))
def test_a_restore_that_is_killed_is_finished_by_a_repeat(account: Account, tmp_path: Path, number: int) -> None:
    everything(account.fake)
    account.work(tmp_path).export()
    hook = next(file for file in tmp_path.rglob("*.yaml") if "not exported" in file.read_text())
    hook.write_text(hook.read_text().replace("not exported", "conn:hooks.password"))
    account.fake.wipe()
    account.cut = number
    work = account.work(tmp_path)
    with pytest.raises(PowerCut):
        work.apply(work.plan(PlanOptions(only_create=True)), lookup)
    account.cut = None
    again = account.work(tmp_path)
    again.apply(again.plan(PlanOptions(only_create=True)), lookup)
    assert account.work(tmp_path).plan().empty
    fake = account.fake
    assert [len(one) for one in (fake.groups, fake.agents, fake.private_links, fake.webhooks)] == [2, 2, 1, 2]


# --- agents ---


def test_credentials_go_to_the_folder_alone(account: Account, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    server = account.make(ON_SITE, folder=tmp_path / "kept", env_type="PODMAN")
    agent = next(iter(account.fake.agents.values()))
    place = tmp_path / "kept" / "warehouse" / "on-site"
    files = {file.name: file for file in place.iterdir()}
    assert files.keys() == {"token", "config.json", "auth.json", "docker-compose.yaml"}
    assert files["token"].read_text() == agent.token
    assert {stat.S_IMODE(file.stat().st_mode) for file in files.values()} == {0o600}
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    assert not [word for word in secrets_of(account.fake) if word in caplog.text]
    assert account.drive(server.reread(ON_SITE)) == ConfigObject(ON_SITE, {"env_type": "PODMAN"})


def test_credentials_that_cannot_be_kept_are_not_made(account: Account, tmp_path: Path) -> None:
    occupied = tmp_path / "kept" / "warehouse" / "on-site"
    occupied.mkdir(parents=True)
    (occupied / "token").write_text("of another")
    with pytest.raises(ConfigurationError, match="holds credentials already"):
        account.make(ON_SITE, folder=tmp_path / "kept", env_type="PODMAN")
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match=r"cannot be made|holds credentials"):
        account.make(ON_SITE, folder=tmp_path / "file", env_type="PODMAN")
    assert account.fake.agents == {}
    assert account.fake.changes == []


def test_an_answer_with_credentials_that_is_lost(account: Account, caplog: pytest.LogCaptureFixture) -> None:
    account.fake.inject(Fault("POST", "/hybrid-deployment-agents$", when="after", then="cut"))
    server = account.server()
    with pytest.raises(AnswerLostError):
        account.drive(server.create(ConfigObject(ON_SITE, {"env_type": "DOCKER"})))
    assert "credentials of agent warehouse / on site is lost" in caplog.text
    assert account.drive(server.reread(ON_SITE)) == ConfigObject(ON_SITE, {"env_type": "DOCKER"})


def test_an_agent_is_deleted(account: Account) -> None:
    server = account.make(ON_SITE, env_type="DOCKER")
    account.drive(server.delete(ON_SITE))
    account.drive(server.delete(ON_SITE))
    assert account.fake.agents == {}
    assert account.drive(server.reread(ON_SITE)) is None


# --- private links ---


def test_a_link_is_waited_for(account: Account) -> None:
    account.fake.link_seconds = 600
    server = account.make(LINK, **AWS)
    assert 600 <= sum(account.waited) <= 630
    assert account.drive(server.reread(LINK)) == ConfigObject(LINK, AWS)
    assert server.account.id_of("private_link", "warehouse", "vpc") in account.fake.private_links


def test_a_link_that_fails(account: Account) -> None:
    account.fake.link_outcome = ("FAIL", "the endpoint was rejected")
    with pytest.raises(ConfigurationError, match=r"is FAIL\. the endpoint was rejected"):
        account.make(LINK, **AWS)


def test_a_link_that_nobody_accepts(account: Account) -> None:
    account.fake.link_seconds = None
    with pytest.raises(ConfigurationError, match=r"is CREATING after 3\d minutes\. waiting for the cloud"):
        account.make(LINK, **AWS)
    server = account.server()
    account.drive(server.read(None, silent))
    account.fake.settle_link(server.account.id_of("private_link", "", "vpc"))
    account.waited.clear()
    account.drive(server.account.link_ready("vpc"))
    assert account.waited == []


def test_a_link_is_changed_and_not_made_anew(account: Account, tmp_path: Path) -> None:
    link = account.fake.add_private_link(name="vpc", config={"connection_service_name": "a", "zone": "z"})
    account.work(tmp_path).export()
    file = next(tmp_path.rglob("*vpc*.yaml"))
    file.write_text(file.read_text().replace("connection_service_name: a", "connection_service_name: b"))
    work = account.work(tmp_path)
    assert work.apply(work.plan(), lookup).done == ["changed private_link vpc"]
    assert account.fake.private_links[link].config == {"connection_service_name": "b", "zone": "z"}
    assert account.fake.changes == [("PATCH", f"/v1/private-links/{link}")]
    file.write_text(file.read_text().replace("SOURCE_AWS", "SNOWFLAKE_AWS"))
    assert "cannot be changed on the server" in account.work(tmp_path).plan().problems[0]


# --- webhooks ---


@pytest.mark.parametrize(
    ("url", "name"),
    [
        (HOOK, HOOK),
        (f"{HOOK}?team=data&code=abc", f"{HOOK}?team=data&code=***"),
        (f"{HOOK}?api_key=abc&code=", f"{HOOK}?api_key=***&code="),
        ("https://user:pw@h.example/", "https://***@h.example/"),
        ("https://[broken", "https://[broken"),
    ],
    ids=["plain", "code", "key", "user", "broken"],
)
def test_a_url_is_a_name_without_its_secrets(url: str, name: str) -> None:
    assert name_of_url(url) == name


def test_a_url_that_holds_a_secret(account: Account, tmp_path: Path) -> None:
    account.fake.add_webhook(f"{HOOK}?code=c0de-in-url")
    account.work(tmp_path).export()
    file = next(tmp_path.rglob("*hooks.example*.yaml"))
    assert "c0de-in-url" not in file.read_text() + file.name
    account.fake.webhooks.clear()
    assert "the secret at url was not exported" in account.work(tmp_path).plan().problems[0]
    file.write_text(file.read_text().replace("not exported", "var:url"))
    work = account.work(tmp_path)
    work.apply(work.plan(), lookup)
    assert [one.url for one in account.fake.webhooks.values()] == [f"{HOOK}?code=c0de-in-url"]
    assert account.work(tmp_path).plan().empty
    other = account.work(tmp_path)
    account.fake.webhooks.clear()
    with pytest.raises(ConfigurationError, match="is another URL"):
        other.apply(other.plan(), lambda _: Secret("https://else.example"))
    assert account.fake.webhooks == {}


def test_a_webhook_is_changed(account: Account, tmp_path: Path) -> None:
    hook = account.fake.add_webhook(HOOK, ("sync_end",), secret="kept")
    account.work(tmp_path).export()
    file = next(tmp_path.rglob("*hooks.example*.yaml"))
    file.write_text(file.read_text().replace("active: true", "active: false"))
    work = account.work(tmp_path)
    work.apply(work.plan(), lookup)
    assert (account.fake.webhooks[hook].active, account.fake.webhooks[hook].secret) == (False, "kept")
    file.write_text(file.read_text().replace("not exported", "conn:hooks.password"))
    assert account.work(tmp_path).plan().empty
    work = account.work(tmp_path)
    work.apply(work.plan(PlanOptions(write_secrets=True)), lookup)
    assert account.fake.webhooks[hook].secret == "hook-secret-1"
    assert len(account.fake.webhooks) == 1


def test_what_is_refused_is_said_without_secrets(account: Account) -> None:
    body = {"code": "InvalidInput", "message": "word 'hook-secret-1' is too short"}
    for status in (400, 403, 500):
        account.fake.inject(Fault("POST", "/webhooks/account$", then="answer", status=status, body=body))
        with pytest.raises(Exception, match=r"word '\*\*\*' is too short") as raised:
            account.make(Key("webhook", "", HOOK), events=["sync_end"], secret=VAULT["conn:hooks.password"])
        assert "hook-secret-1" not in str(raised.value)


def test_what_cannot_be_is_said_beforehand(account: Account) -> None:
    wanted = [
        ConfigObject(Key("webhook", "", "http://plain.example"), {"events": "sync_end"}),
        ConfigObject(Key("webhook", "", f"{HOOK}?code=***"), {"events": ["sync_end"]}),
        ConfigObject(Key("webhook", "", HOOK), {"events": ["sync_start", "sync_end"]}),
        ConfigObject(ON_SITE, {"env_type": "ABACUS"}),
        ConfigObject(LINK, {**AWS, "config": "vpce-1"}),
        ConfigObject(Key("webhook", "", HOOK), {"events": ["sync_end"]}),
    ]
    said = account.server().account.objections(wanted)
    assert [text.partition("Remedy: ")[0] for text in said] == [
        "webhook http://plain.example: Fivetran calls https:// only. ",
        "webhook http://plain.example: events is 'sync_end'. ",
        f"webhook {HOOK}?code=***: its URL holds a secret, and its file has no url. ",
        f"webhook {HOOK}: events are not in order. ",
        "agent warehouse / on site: env_type is 'ABACUS'. ",
        "private_link vpc: config is no mapping. ",
    ]
    assert account.fake.changes == []


def test_what_there_is_not(account: Account) -> None:
    server = account.server()
    account.fake.add_private_link(name="vpc")
    account.read()
    account.drive(server.read(None, silent))
    with pytest.raises(
        ConfigurationError, match=r"Fivetran has no private_link warehouse / vpn\. Remedy: use one of vpc"
    ):
        server.account.id_of("private_link", "warehouse", "vpn")
    assert server.account.name_of("agent", "no") is None
    with pytest.raises(ConfigurationError, match=r"Fivetran refuses webhook .* \(400\): Unknown event 'moon'"):
        account.make(Key("webhook", "", HOOK), events=["moon"])
