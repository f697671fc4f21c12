"""The elt remote commands, run in this process against servers that answer as Airbyte does."""

from __future__ import annotations

import json
import logging
import os
import pty
import signal
import stat
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_elt_provider.cli.main import main
from airflow_elt_provider.cli.remote_secrets import from_environment
from airflow_elt_provider.cli.remote_words import coloured
from airflow_elt_provider.errors import ConfigurationError
from airflow_elt_provider.remotes.config_as_code import work
from airflow_elt_provider.remotes.config_as_code.schema_lock import Drift, spoken
from tests.fakes.airbyte import FakeAirbyte
from tests.fakes.airbyte_objects import Stream
from tests.fakes.fivetran import FakeFivetran
from tests.fakes.http_fake import Fault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PASSWORD, KEY = "pass-w0rd-of-the-shop", "pr1vate-key-of-the-lake"
TEXT, NUMBER = {"type": "string"}, {"type": "integer"}
ORDERS = Stream("orders", "app", {"id": NUMBER, "at": TEXT}, ["id"], "at", "incremental_deduped_history")
SOURCE, LAKE = "default-workspace/sources/shop.yaml", "default-workspace/destinations/lake.yaml"
CONNECTION = "default-workspace/connections/shop-to-lake.yaml"


@dataclass
class Outcome:
    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


@dataclass
class Shell:
    """A folder, two servers, and the command; every output is kept."""

    folder: Path
    old: FakeAirbyte
    new: FakeAirbyte
    captured: pytest.CaptureFixture[str]
    said: list[str]

    def elt(self, *words: str | Path) -> Outcome:
        code = main([str(word) for word in words])
        out, err = self.captured.readouterr()
        self.said += [out, err]
        return Outcome(code, out, err)

    def remote(self, command: str, *words: str | Path, conn_id: str = "old") -> Outcome:
        return self.elt("remote", command, self.folder, "--conn-id", conn_id, *words)

    def edit(self, path: str, old: str, new: str) -> None:
        file = self.folder / path
        assert old in file.read_text()
        file.write_text(file.read_text().replace(old, new, 1))

    def with_references(self) -> None:
        """Write where the secrets are, as a person does."""
        self.edit(SOURCE, "$secret: not exported", "$secret: conn:shop.password")
        self.edit(LAKE, "$secret: not exported", "$secret: var:lake_key")


@pytest.fixture
def shell(tmp_path, capsys, monkeypatch) -> Iterator[Shell]:
    said: list[str] = []
    with FakeAirbyte(config="current") as old, FakeAirbyte() as new:
        for server in (old, new):
            server.databases["shop.example/shop"] = [ORDERS]
        shop = old.add_source(
            "shop", configuration={"host": "shop.example", "database": "shop", "password": PASSWORD}, streams=[ORDERS]
        )
        lake = old.add_destination(
            "lake", configuration={"project_id": "p", "dataset_id": "raw", "credentials_json": KEY}
        )
        old.add_connection("shop to lake", [ORDERS], source_id=shop, destination_id=lake)
        for name, server in (("OLD", old), ("NEW", new)):
            monkeypatch.setenv(f"AIRFLOW_CONN_{name}", json.dumps({"conn_type": "eltairbyte", "host": server.url}))
        monkeypatch.setenv("AIRFLOW_CONN_SHOP", f"postgres://u:{PASSWORD}@h/d")
        monkeypatch.setenv("AIRFLOW_VAR_LAKE_KEY", KEY)
        yield Shell(tmp_path / "config", old, new, capsys, said)
    files = [path.read_text() for path in tmp_path.rglob("*") if path.is_file()]
    assert not [text for text in said + files if PASSWORD in text or KEY in text]


def test_from_one_server_to_another(shell):
    exported = shell.remote("export", "--json")
    assert exported.code == 0, exported.err
    assert exported.document["objects"] == {"connection": 1, "destination": 1, "source": 1}
    assert exported.document["folder"] == f"file://{shell.folder}"
    assert shell.remote("diff", "--schemas").code == 0
    refused = shell.remote("restore", "--yes", conn_id="new")
    assert (refused.code, shell.new.catalogue.sources) == (1, {})
    assert "! source Default Workspace / shop cannot be created: the secret at configuration.password" in refused.err
    shell.with_references()
    words = ("restore", "--into", "Default Workspace=Team", "--disabled", "--yes")
    done = shell.remote(*words, "--json", conn_id="new")
    assert done.code == 0, done.err
    assert len(done.document["done"]) == 3
    assert [one.status for one in shell.new.catalogue.connections.values()] == ["inactive"]
    assert [one.configuration["password"] for one in shell.new.catalogue.sources.values()] == [PASSWORD]
    again = shell.remote(*words, conn_id="new")
    assert (again.code, "nothing to do" in again.out) == (0, True)


def test_files_of_one_workspace_are_meant_for_another_until_they_say_so_themselves(shell):
    shell.remote("export")
    shell.with_references()
    into = ("--into", "Default Workspace=Team")
    shell.remote("restore", *into, "--disabled", "--yes", conn_id="new")
    assert shell.remote("diff", *into, conn_id="new").code == 2
    plan = shell.folder.parent / "plan.json"
    shown = shell.remote("plan", *into, "--out", str(plan), conn_id="new")
    assert (shown.code, "0 to create, 1 to change" in shown.out) == (2, True)
    assert shell.remote("apply", *into, "--plan", str(plan), conn_id="new").code == 0
    assert [one.status for one in shell.new.catalogue.connections.values()] == ["active"]
    assert len(shell.new.catalogue.sources) == 1
    assert shell.remote("plan", "--into", "Defualt=Team", conn_id="new").code == 1


def test_diff_says_what_differs(shell):
    shell.remote("export")
    with shell.old.lock:
        next(iter(shell.old.catalogue.connections.values())).settings["prefix"] = "shop_"
    found = shell.remote("diff")
    assert found.code == 2
    assert "0 only on the server, 1 changed, 0 only in the files" in found.out
    assert '  ~ connection Default Workspace / shop to lake\n      prefix = "" -> "shop_"' in found.out
    document = shell.remote("diff", "--json").document
    assert (document["equal"], document["server"]) == (False, shell.old.url)
    assert [one["fields"] for one in document["differences"]] == [[{"path": "prefix", "old": "", "new": "shop_"}]]


def test_diff_of_schemas(shell):
    shell.remote("export")
    with shell.old.lock:
        (source,) = shell.old.catalogue.sources.values()
        source.cached = [replace(ORDERS, fields={"id": TEXT, "at": TEXT, "note": TEXT})]
    assert shell.remote("diff").code == 0
    found = shell.remote("diff", "--schemas")
    assert found.code == 2
    assert "1 with another schema" in found.out
    assert "  ~ schema of source Default Workspace / shop" in found.out
    assert "field added: app.orders.note (string)" in found.out
    assert len(shell.remote("diff", "--schemas", "--json").document["schemas"][0]["drift"]) >= 2
    assert shell.remote("export").code == 0
    assert shell.remote("diff", "--schemas").code == 2, "an export accepts no schema by itself"
    shell.remote("export", "--schemas", "all")
    assert shell.remote("diff", "--schemas").code == 0


def test_a_plan_is_kept_and_carried_out(shell, tmp_path):
    shell.remote("export")
    assert shell.remote("plan").code == 0
    shell.edit(CONNECTION, "prefix: ''", "prefix: mine_")
    kept = tmp_path / "plan.json"
    kept.write_text("an old one")
    planned = shell.remote("plan", "--out", kept, "--json")
    assert planned.code == 2
    assert planned.document == json.loads(kept.read_text())
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config", "plan.json"]
    done = shell.remote("apply", "--plan", kept)
    assert done.code == 0, done.err
    assert f"airbyte at {shell.old.url}: 1 done\n  changed connection" in done.out
    again = shell.remote("apply", "--plan", kept, "--json").document
    assert (again["done"], again["found_done"][0]["name"]) == ([], "shop to lake")
    assert shell.remote("plan").code == 0


def test_apply_goes_by_its_plan_alone(shell, tmp_path):
    shell.remote("export")
    shell.edit(CONNECTION, "prefix: ''", "prefix: mine_")
    kept = tmp_path / "plan.json"
    shell.remote("plan", "--out", kept)
    assert "another plan" in shell.remote("apply", "--plan", kept, "--write-secrets").err
    other = shell.remote("apply", "--plan", kept, conn_id="new")
    assert (other.code, "The plan is for airbyte at" in other.err) == (1, True)
    with shell.old.lock:
        next(iter(shell.old.catalogue.connections.values())).settings["prefix"] = "theirs_"
    moved = shell.remote("apply", "--plan", kept, "--json")
    assert (moved.code, moved.document["error"]["kind"]) == (1, "RemoteChangedError")
    kept.write_text("{}")
    assert "is no plan" in shell.remote("apply", "--plan", kept).err
    assert "cannot be read" in shell.remote("apply", "--plan", tmp_path / "none").err


def test_what_is_only_on_the_server_stays_unless_deleting_is_allowed(shell, tmp_path):
    shell.remote("export")
    for path in (CONNECTION, LAKE):
        (shell.folder / path).unlink()
    left = shell.remote("apply", "--yes")
    assert (left.code, "2 only on the server, left alone (see --allow-delete)" in left.out) == (0, True)
    kept = tmp_path / "plan.json"
    planned = shell.remote("plan", "--allow-delete", "--out", kept)
    assert "  - connection Default Workspace / shop to lake" in planned.out
    refused = shell.remote("apply", "--plan", kept)
    assert (refused.code, "give --allow-delete here too" in refused.err) == (1, True)
    gone = shell.remote("apply", "--plan", kept, "--allow-delete")
    assert gone.code == 0, gone.err
    assert shell.old.catalogue.destinations == {}


def test_a_value_that_the_server_ignores_makes_3(shell):
    shell.remote("export")
    shell.edit(CONNECTION, "prefix: ''", "prefix: mine_")
    shell.old.inject(Fault("PATCH", "/connections/", status=200, body={}))
    done = shell.remote("apply", "--yes", "--json")
    assert done.code == 3
    assert done.document["not_taken"] == ['connection Default Workspace / shop to lake: prefix is "", not "mine_"']
    assert "did not take over 1 values" in done.err


def test_a_server_that_is_away_makes_75(shell, monkeypatch):
    shell.remote("export")
    monkeypatch.setattr(work, "_TOLERANCE", 0.0)
    monkeypatch.setenv("AIRFLOW_CONN_OLD", json.dumps({"conn_type": "eltairbyte", "host": "http://127.0.0.1:9"}))
    assert shell.remote("diff").code == 75


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("remote",), "COMMAND"),
        (("remote", "frobnicate"), "frobnicate"),
        (("-q", "remote", "diff", "folder"), "--conn-id"),
        (("remote", "export", "folder", "--conn-id", "old", "--schemas", "some"), "some"),
        (("remote", "diff", "folder", "--conn-id", "nobody"), "AIRFLOW_CONN_NOBODY"),
        (("remote", "diff", "folder", "--conn-id", "shop"), "no remote sync engine"),
        (("remote", "diff", "/no/folder", "--conn-id", "old"), "no elt-remote.yaml"),
        (("remote", "diff", "ftp://x/y", "--conn-id", "old"), "ftp://x/y"),
        (("remote", "apply", "folder", "--conn-id", "old"), "give --yes or --plan"),
        (("remote", "restore", "folder", "--conn-id", "old"), "give --yes"),
        (("remote", "restore", "folder", "--conn-id", "old", "--yes", "--into", "a"), "NAME=VALUE"),
    ],
)
def test_what_cannot_be_meant_makes_1(shell, words, said):
    done = shell.elt(*words)
    assert (done.code, said in done.err) == (1, True), done.err
    assert shell.elt(*words, "--json").document["exit_code"] == 1


def test_other_commands_keep_their_codes(shell):
    assert shell.elt("gc", "--stage", "remote").code == 2


def test_a_workspace_that_no_file_names_is_refused(shell):
    shell.remote("export")
    done = shell.remote("restore", "--yes", "--into", "Defualt=Team", conn_id="new")
    assert (done.code, "one of Default Workspace" in done.err) == (1, True)


def test_a_workspace_that_is_not_there_is_not_made_unseen(shell):
    shell.remote("export")
    shell.with_references()
    done = shell.remote("apply", "--yes", conn_id="new")
    assert (done.code, "all of it would be made" in done.err) == (1, True)
    assert shell.new.changes == []


def test_a_missing_secret_is_named_before_anything_is_made(shell, monkeypatch):
    shell.remote("export")
    shell.with_references()
    monkeypatch.delenv("AIRFLOW_VAR_LAKE_KEY")
    done = shell.remote("restore", "--yes", conn_id="new")
    assert (done.code, "export AIRFLOW_VAR_LAKE_KEY" in done.err) == (1, True)
    assert shell.new.changes == []


def test_credentials_of_new_agents_are_kept(shell, tmp_path, monkeypatch):
    shell.remote("export")
    assert "is for Fivetran" in shell.remote("apply", "--yes", "--agent-credentials", tmp_path / "k").err
    folder = tmp_path / "fivetran"
    with FakeFivetran() as first, FakeFivetran() as second:
        first.add_agent(group_id=first.add_group("lab"), display_name="agent")
        for name, server in (("F1", first), ("F2", second)):
            connection = {"conn_type": "eltfivetran", "host": server.url, "login": "key", "password": "secret"}
            monkeypatch.setenv(f"AIRFLOW_CONN_{name}", json.dumps(connection))
        assert shell.elt("remote", "export", folder, "--conn-id", "f1").code == 0
        words = ("remote", "restore", folder, "--conn-id", "f2", "--yes", "--agent-credentials", tmp_path / "kept")
        done = shell.elt(*words)
    assert done.code == 0, done.err
    assert (tmp_path / "kept/lab/agent/token").exists()


# --- on a terminal ---


@contextmanager
def terminal(monkeypatch: pytest.MonkeyPatch, answer: str, seen: Callable[[str], None] = lambda text: None):
    """Let standard input and error be a terminal on which a person has typed an answer already."""
    ours, theirs = pty.openpty()
    text: list[str] = []

    def read() -> None:
        try:
            while data := os.read(ours, 4096):
                text.append(data.decode())
                seen("".join(text))
        except OSError:  # the other side is closed
            pass

    reader = threading.Thread(target=read)
    with os.fdopen(os.dup(theirs)) as stdin, os.fdopen(theirs, "w") as stderr:
        monkeypatch.setattr("sys.stdin", stdin)
        monkeypatch.setattr("sys.stderr", stderr)
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.delenv("NO_COLOR", raising=False)
        os.write(ours, answer.encode())
        reader.start()
        yield text
        monkeypatch.undo()
    reader.join()
    os.close(ours)


@pytest.mark.parametrize(("answer", "code", "said"), [("yes\n", 0, "1 done"), ("no\n", 1, "Nothing was changed")])
def test_a_person_is_asked(shell, answer, code, said):
    shell.remote("export")
    shell.edit(CONNECTION, "prefix: ''", "prefix: mine_")
    with pytest.MonkeyPatch.context() as patch, terminal(patch, answer) as text:
        done = shell.remote("apply")
    assert (done.code, said in done.out) == (code, True)
    shown = "".join(text)
    assert "\x1b[33m  ~ connection Default Workspace / shop to lake\x1b[0m" in shown
    assert f"Change {shell.old.url} so? Only 'yes' is taken for one: " in shown
    prefixes = [one.settings.get("prefix", "") for one in shell.old.catalogue.connections.values()]
    assert prefixes == (["mine_"] if code == 0 else [""])


def test_ctrl_c_at_the_question(shell):
    shell.remote("export")
    shell.edit(CONNECTION, "prefix: ''", "prefix: mine_")
    heard, sent = list[str](), list[str]()

    def interrupt(text: str) -> None:
        heard.append(text)
        if "taken for one" in "".join(heard) and not sent:
            sent.append(text)
            os.kill(os.getpid(), signal.SIGINT)

    # A shell lets what it starts in the background ignore it, tests too.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.MonkeyPatch.context() as patch, terminal(patch, "", interrupt) as text:
            done = shell.remote("apply")
    finally:
        signal.signal(signal.SIGINT, before)
    assert done.code == 130
    assert "interrupted; the same command goes on from here" in "".join(text)
    assert shell.old.changes == []


# --- stopped ---


class At(logging.Handler):
    """Does something when a line is logged."""

    def __init__(self, begin: str, do: Callable[[], Any]) -> None:
        super().__init__()
        self.addFilter(lambda record: record.getMessage().startswith(begin))
        self._do = do

    def emit(self, record: logging.LogRecord) -> None:
        self._do()


def test_a_command_that_was_terminated_goes_on(shell):
    shell.remote("export")
    shell.with_references()
    stopping = threading.Event()

    def terminate() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        stopping.wait(10)

    handlers = [At("Created source", terminate), At("Stopping", stopping.set)]
    for handler in handlers:
        logging.getLogger().addHandler(handler)
    try:
        done = shell.remote("restore", "--yes", conn_id="new")
    finally:
        for handler in handlers:
            logging.getLogger().removeHandler(handler)
    assert done.code == 143
    assert "terminated; the same command goes on from here" in done.err
    assert len(shell.new.catalogue.sources) == 1
    assert shell.new.catalogue.connections == {}
    again = shell.remote("restore", "--yes", conn_id="new")
    assert again.code == 0, again.err
    assert "created source" not in again.out
    assert len(shell.new.catalogue.connections) == 1


# --- secrets and words ---


def test_references_lead_to_the_environment(monkeypatch):
    extra = {"key": {"a.b": 1, "deep": {"er": "x"}}, "dotted.name": "y"}
    connection = {"conn_type": "http", "host": "h", "login": "l", "password": "p", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_X", json.dumps(connection))
    monkeypatch.setenv("AIRFLOW_VAR_A_B", "v")
    wanted = {
        "conn:x.password": "p", "conn:X.host": "h", "conn:x.login": "l", "conn:x.extra.key.deep.er": "x",
        "conn:x.extra.dotted.name": "y", "conn:x.extra.key.a.b": "1", "var:a_b": "v",
        "conn:x.extra": json.dumps(extra),
    }  # fmt: skip
    assert {text: from_environment(text).reveal() for text in wanted} == wanted
    monkeypatch.setenv("AIRFLOW_CONN_X", "http://h")
    for text in ("conn:x.password", "conn:x.login", "conn:x.extra.key", "conn:x.extra"):
        with pytest.raises(ConfigurationError, match="export AIRFLOW_CONN_X"):
            from_environment(text)
    monkeypatch.setenv("AIRFLOW_VAR_EMPTY", "")
    missing = (("conn:y.password", "CONN_Y"), ("var:none", "VAR_NONE"), ("var:empty", "VAR_EMPTY"))
    for text, name in missing:
        with pytest.raises(ConfigurationError, match=f"export AIRFLOW_{name}"):
            from_environment(text)


def test_signs_have_colours_on_a_terminal_alone(monkeypatch, capsys):
    monkeypatch.setenv("TERM", "xterm")
    assert coloured("head\n\n  + source shop\n      a = 1", sys.stdout) == "head\n\n  + source shop\n      a = 1"


def test_a_drift_is_one_line():
    drift = Drift("type_changed", "app.orders", "id", "integer", "string")
    assert spoken(drift) == "type changed: app.orders.id (integer -> string)"
    gone = Drift("stream_removed", "app.orders", old="2 fields")
    assert spoken(gone) == "stream removed: app.orders (2 fields)"
