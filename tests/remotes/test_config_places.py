"""Where objects are: which names and folders no file may have, and what an export looks at before it begins."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from airflow_elt_provider.errors import ConfigurationError
from airflow_elt_provider.remotes.config_as_code.airbyte.configuration import KINDS as OF_AIRBYTE
from airflow_elt_provider.remotes.config_as_code.digdag.configuration import DigdagConfiguration
from airflow_elt_provider.remotes.config_as_code.files import HEAD, files_of, read_tree, write_tree
from airflow_elt_provider.remotes.config_as_code.model import ConfigObject, Key, silent, tree_of
from airflow_elt_provider.remotes.config_as_code.plan import PlanOptions
from airflow_elt_provider.remotes.config_as_code.schema_lock import LockedStream, SchemaLock
from airflow_elt_provider.remotes.config_as_code.work import ConfigWork
from airflow_elt_provider.remotes.flow import run
from airflow_elt_provider.stages.folder_local import LocalFolder
from tests.remotes.config_memory import MemoryFolder, MemoryServer

HEADED = b"format: 1\nremote: %s\ncomplete: true\n"


class CountingFolder(MemoryFolder):
    def __init__(self) -> None:
        super().__init__()
        self.reads = 0

    def read(self) -> Mapping[str, bytes]:
        self.reads += 1
        return super().read()


class Untouched(MemoryServer):
    def read(self, *_: Any) -> Any:
        raise AssertionError


def drive(flow: Any) -> Any:
    return run(flow, None, lambda _: None)  # type: ignore[arg-type]


def test_no_name_makes_a_lock_or_a_proposal_of_an_object(tmp_path: Path) -> None:
    names = [
        "shop",
        "shop.lock",
        "shop.proposed",
        "shop.yaml",
        "elt-remote",
        "店" * 300,
        "𠮷" * 300,
        "x" * 300,
        "\ud800",
    ]
    objects = [ConfigObject(Key("source", "elt-remote.yaml", name), {"connector": "x"}) for name in names]
    lock = {one.key: SchemaLock({"t": LockedStream({"id": "integer"})}) for one in objects}
    tree = tree_of("airbyte", objects, lock)
    folder = LocalFolder(tmp_path)
    write_tree(folder, tree, MemoryServer.kinds, None)
    assert read_tree(folder, MemoryServer.kinds, "airbyte") == tree


def test_the_files_of_a_project_are_in_nobodys_way(tmp_path: Path) -> None:
    projects = [
        ConfigObject(Key("project", "", name), {"secrets": {}}, {"a.yaml": b"kind: x", "a.lock.yaml": b"?", "b/c": b""})
        for name in ("a", "a.yaml", "a.lock")
    ]
    tree = tree_of("digdag", projects)
    folder = LocalFolder(tmp_path)
    write_tree(folder, tree, DigdagConfiguration.kinds, None)
    assert read_tree(folder, DigdagConfiguration.kinds, "digdag") == tree
    assert write_tree(folder, tree, DigdagConfiguration.kinds, None).written == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("kind: source\nname: shop\n", "workspace is ''", id="left out"),
        pytest.param("kind: source\nworkspace: ' '\nname: shop\n", "workspace is ' '", id="blank"),
        pytest.param(
            "kind: project\nworkspace: Prod\nname: shop\n", "a project belongs to no workspace", id="too much"
        ),
    ],
)
def test_a_workspace_that_cannot_be_meant(text: str, said: str) -> None:
    remote, kinds = ("airbyte", OF_AIRBYTE) if "source" in text else ("digdag", DigdagConfiguration.kinds)
    folder = MemoryFolder()
    folder.files = {HEAD: HEADED % remote.encode(), "x/shop.yaml": text.encode()}
    with pytest.raises(ConfigurationError, match=said) as caught:
        read_tree(folder, kinds, remote)
    assert "x/shop.yaml" in str(caught.value)


@pytest.mark.parametrize(
    "files", [{"values.yaml": b"replicas: 3"}, {HEAD: HEADED % b"fivetran"}], ids=["of something", "of another remote"]
)
def test_a_folder_of_somebody_else_is_refused_before_the_server_is_asked(files: dict[str, bytes]) -> None:
    folder = MemoryFolder()
    folder.files = dict(files)
    with pytest.raises(ConfigurationError, match="memory://config"):
        ConfigWork(Untouched(), drive, "https://airbyte.example", folder).export()
    assert folder.files == files


def test_a_file_with_capital_letters_becomes_ours() -> None:
    one = ConfigObject(Key("source", "Prod", "shop"), {"connector": "x"})
    folder = MemoryFolder()
    write_tree(folder, tree_of("airbyte", [one]), MemoryServer.kinds, None)
    folder.files["prod/sources/Shop.yaml"] = folder.files.pop("prod/sources/shop.yaml")
    written = write_tree(folder, tree_of("airbyte", [one]), MemoryServer.kinds, None)
    assert (written.written, written.removed) == (["prod/sources/shop.yaml"], ["prod/sources/Shop.yaml"])
    assert sorted(folder.files) == [HEAD, "prod/sources/shop.yaml"]
    folder.files["prod/sources/crm.YAML"] = folder.files["prod/sources/shop.yaml"]
    with pytest.raises(ConfigurationError, match=r"crm.YAML: its name ends in capital letters"):
        read_tree(folder, MemoryServer.kinds, "airbyte")


def test_what_nobody_may_see_any_more_stays_in_its_files(caplog: pytest.LogCaptureFixture) -> None:
    server, folder = MemoryServer(), MemoryFolder()
    shop, crm = Key("source", "Prod", "shop"), Key("source", "Test", "crm")
    for key in (shop, crm):
        server.put(key, connector="postgres")

    def export(*workspaces: str) -> None:
        ConfigWork(server, drive, "https://airbyte.example", folder, workspaces or None).export()

    export()
    kept = server.objects.pop(shop)
    with pytest.raises(ConfigurationError, match="shows nothing of workspace 'Prod', and memory://config holds files"):
        export("Prod")
    del server.objects[crm]
    with pytest.raises(ConfigurationError, match="shows nothing of workspace"):
        export()
    assert len(folder.files) == 3
    server.objects[shop] = kept
    export()
    assert sorted(folder.files) == [HEAD, "prod/sources/shop.yaml"]
    assert "nothing of workspace 'Test' any more" in caplog.text


def test_what_belongs_to_the_account_is_not_deleted_with_a_workspace() -> None:
    server, folder = MemoryServer(), MemoryFolder()
    link, shop, crm = Key("source", "", "link"), Key("source", "Prod", "shop"), Key("source", "Prod", "crm")
    for key in (link, shop, crm):
        server.put(key, connector="postgres")
    ConfigWork(server, drive, "https://airbyte.example", folder).export()
    del folder.files["prod/sources/crm.yaml"], folder.files["sources/link.yaml"]
    server.read = lambda *_: MemoryServer.read(server, None, silent)  # type: ignore[method-assign]
    for workspaces, deleted in ((["Prod"], [crm]), (None, [crm, link])):
        work = ConfigWork(server, drive, "https://airbyte.example", folder, workspaces)
        plan = work.plan(PlanOptions(allow_delete=True))
        assert [change.key for change in plan.changes] == deleted
        assert set(plan.left_alone) == {link, crm} - set(deleted)


def test_comments_stay_while_nothing_changes() -> None:
    server, folder, path = MemoryServer(), MemoryFolder(), "prod/sources/shop.yaml"
    key = Key("source", "Prod", "shop")
    server.put(key, connector="postgres", configuration={"port": 1, "tls": True})

    def export() -> list[str]:
        return list(ConfigWork(server, drive, "https://airbyte.example", folder).export().files.written)

    export()
    mine = b"# ask Anna\r\nname: shop\r\nworkspace: 'Prod'\r\nkind: source\r\nconnector: postgres\r\nconfiguration:\r\n"
    mine += b"  tls: true\r\n  port: 1\r\n"
    folder.files[path] = mine
    assert export() == []
    assert folder.files[path] == mine
    folder.files[path] = mine.replace(b"port: 1", b"port: true")
    assert export() == [path]
    folder.files[path] = mine
    server.put(key, configuration={"port": 2, "tls": True})
    assert export() == [path]


def test_a_name_commands_no_terminal() -> None:
    assert str(Key("source", "Prod", "a\nb\x1b[31m 店")) == "source Prod / a\\nb\\x1b[31m 店"


def test_an_export_reads_all_files_once() -> None:
    server, folder = MemoryServer(), CountingFolder()
    server.put(Key("source", "Prod", "shop"), connector="postgres")
    ConfigWork(server, drive, "https://airbyte.example", folder).export()
    folder.reads = 0
    ConfigWork(server, drive, "https://airbyte.example", folder).export()
    assert folder.reads == 1


def test_all_of_somebody_elses_bucket_is_not_read() -> None:
    folder = CountingFolder()
    folder.files = {"lake/part-0.parquet": b"PAR1"}
    with pytest.raises(ConfigurationError, match=f"has no {HEAD}"):
        read_tree(folder, MemoryServer.kinds, "airbyte")
    assert folder.reads == 0


def test_files_come_in_one_order() -> None:
    objects = [ConfigObject(Key("source", "Prod", name), {"connector": "x"}) for name in ("b", "a")]
    assert list(files_of(tree_of("airbyte", objects), MemoryServer.kinds)) == [
        "prod/sources/a.yaml", "prod/sources/b.yaml",
    ]  # fmt: skip
